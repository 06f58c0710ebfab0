/* Streams, copies and launches. A stream's work is queued, arguments copied, and done when somebody waits or the queue is full:
 * host memory that changes too early, and results that are looked at too early, show as wrong results. */
#include "internal.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

struct gm_emulated_stream {
    int unused;
};
struct gm_emulated_event {
    uint64_t ticket; /* work queued when it was recorded */
};

namespace {

enum { QUEUE = 256, MOST_KERNELS = 256 };

struct work {
    gm_emulated_host_function *function; /* NULL: a kernel */
    bool faulty;                         /* touches memory that is not there, when it runs */
    gm_emulated_launch launch;
};

struct copy {
    void *out;
    const void *in;
    size_t bytes;
    int value; /* of a fill */
};

work *queue;
int queued;
uint64_t tickets;
bool flushing;
cudaError_t last_error = cudaSuccess;
cudaError_t fault = cudaSuccess; /* of a kernel that ran: nothing runs after it, and everything says so */
uint64_t random_state;
int64_t launches_to_fault = -1; /* −1: none is to come, or nobody has asked */

struct {
    const void *kernel;
    int bytes;
} allowed[MOST_KERNELS];
int allowed_count;

cudaError_t fail(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

void do_copy(const void *arguments) {
    const copy *c = static_cast<const copy *>(arguments);
    memmove(c->out, c->in, c->bytes);
}

void do_fill(const void *arguments) {
    const copy *c = static_cast<const copy *>(arguments);
    memset(c->out, c->value, c->bytes);
}

work *next_work() {
    if (!queue) queue = static_cast<work *>(gm_emulated_pages(QUEUE * sizeof *queue));
    if (queued == QUEUE) gm_emulated_flush();
    tickets++;
    queue[queued].faulty = false;
    return &queue[queued++];
}

/* Bytes of dynamic shared memory, and whether somebody asked for them. */
size_t shared_limit(const void *kernel, bool *leave) {
    for (int i = 0; i < allowed_count; i++)
        if (allowed[i].kernel == kernel) return *leave = true, static_cast<size_t>(allowed[i].bytes);
    return *leave = false, 48 << 10;
}

} // namespace

uint32_t gm_emulated_random(uint32_t below) { /* xorshift, high bits */
    if (!random_state) random_state = gm_emulation_seed() * 0x9e3779b97f4a7c15u + 1;
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return static_cast<uint32_t>((random_state >> 32) * below >> 32);
}

void gm_emulated_flush() {
    if (flushing) return;
    flushing = true;
    for (int i = 0; i < queued && fault == cudaSuccess; i++) {
        if (queue[i].faulty) {
            fault = cudaErrorIllegalAddress;
        } else if (queue[i].function) {
            gm_emulated_enter_device(false);
            queue[i].function(queue[i].launch.arguments);
            gm_emulated_leave_device();
        } else {
            gm_emulated_run(&queue[i].launch);
        }
    }
    queued = 0;
    flushing = false;
}

void gm_emulated_enqueue(const char *name, gm_emulated_host_function *function, const void *arguments, size_t bytes) {
    work *w = next_work();
    w->function = function;
    w->launch.name = name;
    if (bytes > sizeof w->launch.arguments) gm_emulated_fail("%s: arguments of %zu bytes", name, bytes);
    memcpy(w->launch.arguments, arguments, bytes);
}

gm_emulated_launch *gm_emulated_begin_launch(cudaStream_t stream) {
    if (!stream) gm_emulated_fail("a launch on no stream");
    work *w = next_work();
    w->function = nullptr;
    return &w->launch;
}

/* GMOE_EMULATION_FAULT counts from the first launch on. As on a device, what notices the fault is a later call, or with
 * CUDA_LAUNCH_BLOCKING=1 the launch. */
static bool is_fault() {
    static bool asked;
    const char *text = asked ? nullptr : getenv("GMOE_EMULATION_FAULT");
    asked = true;
    if (text) launches_to_fault = strtoll(text, nullptr, 10);
    return launches_to_fault > 0 && --launches_to_fault == 0;
}

static bool is_blocking() {
    const char *text = getenv("CUDA_LAUNCH_BLOCKING");
    return text && strcmp(text, "1") == 0;
}

void gm_emulated_end_launch(gm_emulated_launch *launch) {
    queue[queued - 1].faulty = is_fault();
    const dim3 &g = launch->grid, &b = launch->block;
    uint64_t threads = static_cast<uint64_t>(b.x) * b.y * b.z;
    bool valid =
        g.x > 0 && g.x < 1u << 31 && g.y > 0 && g.y < 65536 && g.z > 0 && g.z < 65536 && threads > 0 && threads <= 1024 && b.z <= 64;
    if (threads % 32)
        gm_emulated_fail("%s: a block of %llu threads: not whole warps", launch->name, static_cast<unsigned long long>(threads));
    if (valid && launch->shared <= shared_limit(launch->kernel, &launch->leave)) {
        if (is_blocking()) gm_emulated_flush();
        return;
    }
    queued--;
    fail(cudaErrorInvalidConfiguration);
}

cudaError_t gm_emulated_fault() { return fault; }

void gm_emulated_check_pointer(const char *kernel, const void *pointer) {
    if (pointer && !gm_emulated_is_device(pointer, 0)) gm_emulated_fail("%s is given %p, which is not device memory", kernel, pointer);
}

cudaError_t gm_emulated_allow(const void *kernel, int attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > GM_EMULATED_SHARED_MOST)
        return fail(cudaErrorInvalidValue);
    for (int i = 0; i < allowed_count; i++)
        if (allowed[i].kernel == kernel) return allowed[i].bytes = value, cudaSuccess;
    if (allowed_count == MOST_KERNELS) gm_emulated_fail("too many kernels");
    allowed[allowed_count].kernel = kernel;
    allowed[allowed_count++].bytes = value;
    return cudaSuccess;
}

extern "C" {

uint64_t gm_emulation_seed() {
    const char *text = getenv("GMOE_EMULATION_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    default: return "invalid argument";
    }
}

cudaError_t cudaGetLastError() {
    cudaError_t error = fault != cudaSuccess ? fault : last_error;
    last_error = cudaSuccess;
    return error;
}

static cudaError_t set(int *value, int to) { return *value = to, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *version) { return set(version, 13000); }
cudaError_t cudaRuntimeGetVersion(int *version) { return set(version, 13000); }
cudaError_t cudaGetDeviceCount(int *count) { return set(count, 1); }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

/* GMOE_EMULATION_CAPABILITY is another one: 75 is 7.5. */
static int capability() {
    const char *text = getenv("GMOE_EMULATION_CAPABILITY");
    return text ? atoi(text) : 90;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount: return set(value, 4);
    case cudaDevAttrComputeCapabilityMajor: return set(value, capability() / 10);
    case cudaDevAttrComputeCapabilityMinor: return set(value, capability() % 10);
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return set(value, GM_EMULATED_SHARED_MOST);
    }
    return cudaErrorInvalidValue;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int) {
    *properties = {};
    strcpy(properties->name, "emulation");
    properties->major = capability() / 10, properties->multiProcessorCount = 4;
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned) {
    return (*memory = malloc(bytes)) ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void *memory) { return gm_emulated_flush(), free(memory), cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) { return *stream = new gm_emulated_stream(), cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return gm_emulated_flush(), delete stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return gm_emulated_flush(), fault; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) { return *event = new gm_emulated_event(), cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) { return event->ticket = tickets, fault; }

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (tickets - event->ticket < static_cast<uint64_t>(queued)) gm_emulated_flush(); /* it stands for work in the queue */
    return fault;
}

cudaError_t cudaMemcpyAsync(void *out, const void *in, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    bool to = kind != cudaMemcpyDeviceToHost, from = kind != cudaMemcpyHostToDevice;
    if (bytes == 0) return cudaSuccess;
    if (gm_emulated_is_device(out, bytes) != to || gm_emulated_is_device(in, bytes) != from)
        gm_emulated_fail("a copy of %zu bytes from %p to %p that are not where it says (kind %d)", bytes, in, out, kind);
    copy c = {out, in, bytes, 0};
    gm_emulated_enqueue("a copy", do_copy, &c, sizeof c);
    return fault;
}

cudaError_t cudaMemsetAsync(void *out, int value, size_t bytes, cudaStream_t) {
    if (bytes == 0) return cudaSuccess;
    if (!gm_emulated_is_device(out, bytes)) gm_emulated_fail("a fill of %zu bytes at %p, which is not device memory", bytes, out);
    copy c = {out, nullptr, bytes, value};
    gm_emulated_enqueue("a fill", do_fill, &c, sizeof c);
    return fault;
}
}
