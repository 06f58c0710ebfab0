/* The emulation must see what it is there for: each of these kernels has one fault, and the same without it passes. */
#include "common.cuh"

#include <cstdio>
#include <cstdlib>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 64, BLOCKS = 16 };

/* Reverses each block's values through shared memory; without the barrier a thread may read what is not there yet. */
template <bool BARRIER> __global__ void reverse(float *x) {
    GM_SHARED(float, kept, [THREADS]);
    x += blockIdx.x * THREADS;
    kept[threadIdx.x] = x[threadIdx.x];
    if (BARRIER) __syncthreads();
    x[threadIdx.x] = kept[THREADS - 1 - threadIdx.x];
}

/* Sums over the block twice; without a barrier between, a warp that is ahead writes what others still read. */
template <bool BARRIER> __global__ void sum_twice(float *x) {
    GM_SHARED(float, part, [THREADS / GM_WARP]);
    x += blockIdx.x * THREADS;
    for (int round = 1; round < 3; round++) {
        float sum = gm_warp_sum((float)round);
        if (threadIdx.x % GM_WARP == 0) part[threadIdx.x / GM_WARP] = sum;
        __syncthreads();
        x[threadIdx.x] = part[0] + part[1] + (round == 1 ? 0 : x[threadIdx.x]);
        if (BARRIER) __syncthreads();
    }
}

__global__ void diverge(float *x, int from) {
    if ((int)threadIdx.x < from)
        __syncthreads();
    else
        gm_emulated_barrier("elsewhere", 1);
    x[threadIdx.x] = 0;
}

__global__ void leave(float *x, int from) {
    if ((int)threadIdx.x >= from) return;
    x[threadIdx.x] = gm_warp_sum(x[threadIdx.x]);
}

__global__ void write_at(float *x, int64_t at) { x[at] = 1; }
__global__ void read_through(float *x, float *const *pointers) { x[threadIdx.x] = pointers[0][threadIdx.x]; }

static cudaStream_t stream;
static float *device;
enum { COUNT = THREADS * BLOCKS };

static void put(const float *values) {
    cudaMemcpyAsync(device, values, COUNT * sizeof *values, cudaMemcpyHostToDevice, stream);
    cudaStreamSynchronize(stream);
}

static void get(float *values) {
    cudaMemcpyAsync(values, device, COUNT * sizeof *values, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
}

template <bool BARRIER> static bool reverses() {
    float values[COUNT], got[COUNT];
    for (int i = 0; i < COUNT; i++) values[i] = (float)i;
    put(values);
    GM_START(reverse<BARRIER>, dim3(BLOCKS), dim3(THREADS), 0, stream, device);
    get(got);
    for (int i = 0; i < COUNT; i++)
        if (got[i] != values[i / THREADS * THREADS + THREADS - 1 - i % THREADS]) return false;
    return true;
}

template <bool BARRIER> static bool sums_twice() {
    float got[COUNT];
    GM_START(sum_twice<BARRIER>, dim3(BLOCKS), dim3(THREADS), 0, stream, device);
    get(got);
    for (int i = 0; i < COUNT; i++)
        if (got[i] != 3 * THREADS) return false;
    return true;
}

static void diverging() { GM_START(diverge, dim3(1), dim3(THREADS), 0, stream, device, 32); }
static void together() { GM_START(diverge, dim3(1), dim3(THREADS), 0, stream, device, THREADS); }
static void leaving() { GM_START(leave, dim3(1), dim3(THREADS), 0, stream, device, 40); }
static void leaving_whole() { GM_START(leave, dim3(1), dim3(THREADS), 0, stream, device, 32); }
static void past_the_end() { GM_START(write_at, dim3(1), dim3(32), 0, stream, device, COUNT); }
static void before_the_start() { GM_START(write_at, dim3(1), dim3(32), 0, stream, device, -1); }
static void at_the_end() { GM_START(write_at, dim3(1), dim3(32), 0, stream, device, COUNT - 1); }
static void host_array() {
    static float *pointers[1];
    pointers[0] = device;
    GM_START(read_through, dim3(1), dim3(32), 0, stream, device, pointers);
}
static void host_pointer() {
    float **pointers, *host = (float *)malloc(COUNT * sizeof(float));
    cudaMalloc((void **)&pointers, sizeof *pointers);
    cudaMemcpyAsync(pointers, &host, sizeof host, cudaMemcpyHostToDevice, stream);
    GM_START(read_through, dim3(1), dim3(32), 0, stream, device, pointers);
    cudaStreamSynchronize(stream);
}
static void host_touches() { *(volatile float *)device = 1; }

/* Whether the program ends with `f`. */
static bool ends(void (*f)()) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        f();
        cudaStreamSynchronize(stream);
        _exit(0);
    }
    int status;
    return waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main() {
    const struct {
        const char *what;
        bool right;
    } results[] = {
        {"opens", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess &&
                      cudaMalloc((void **)&device, COUNT * sizeof *device) == cudaSuccess},
        {"a barrier orders threads", reverses<true>()},
        {"a missing barrier gives a wrong result", !reverses<false>()},
        {"shared memory is used again behind a barrier", sums_twice<true>()},
        {"without it the result is wrong", !sums_twice<false>()},
        {"one barrier for all passes", !ends(together)},
        {"different barriers are refused", ends(diverging)},
        {"a warp without a lane is refused", ends(leaving)},
        {"whole warps may leave", !ends(leaving_whole)},
        {"a write inside passes", !ends(at_the_end)},
        {"a write past the end is seen", ends(past_the_end)},
        {"a write before the start is seen", ends(before_the_start)},
        {"an array of the host's is refused", ends(host_array)},
        {"a pointer to the host's memory is seen", ends(host_pointer)},
        {"the host touching device memory is seen", ends(host_touches)},
    };
    int failed = 0;
    printf("seed %llu\n", (unsigned long long)gm_emulation_seed());
    for (const auto &r : results) {
        printf("%s: %s\n", r.right ? "ok" : "FAILED", r.what);
        failed += !r.right;
    }
    return failed > 0;
}
