/* kernels/mma.cuh: a product 16×8×16 whose operands come through shared memory by copies and matrix loads, against loops; on a
 * GPU the same layouts hold, so that a kernel that passes here moves the right elements there. */
#include "mma.cuh"

#include <cstdio>

enum { M = 16, N = 8, K = 16 };

/* a: M×K rows, b: K×N rows (loaded transposed) or N×K rows */
template <bool B_ROWS> __global__ void multiply(float *out, const gm_bf16 *a, const gm_bf16 *b) {
    GM_SHARED(gm_bf16, at, [M][K]);
    GM_SHARED(gm_bf16, bt, [K * N]);
    const int lane = threadIdx.x;
    gm_copy_async(&at[lane / 2][lane % 2 * 8], a + lane * 8, true);
    gm_copy_async_commit();
    gm_copy_async(&bt[lane % 16 * 8], b + lane % 16 * 8, true);
    gm_copy_async_commit();
    gm_copy_async_wait<0>();
    __syncthreads();
    unsigned af[4], bf[2];
    float c[4] = {0, 0, 0, 0};
    gm_load_matrices<false>(af, &at[lane % 16][lane / 16 * 8]);
    if (B_ROWS)
        gm_load_matrices<true>(bf, &bt[lane % 16 * 8]);
    else
        gm_load_matrices<false>(bf, &bt[lane % 8 * K + lane / 8 % 2 * 8]);
    gm_mma_bf16(c, af, bf);
    for (int i = 0; i < 4; i++) out[(lane / 4 + i / 2 * 8) * N + lane % 4 * 2 + i % 2] = c[i];
}

/* A copy that is not waited for is not there. */
__global__ void early(float *out, const gm_bf16 *a) {
    GM_SHARED(gm_bf16, at, [32][8]);
    gm_copy_async(at[threadIdx.x], a + threadIdx.x * 8, threadIdx.x != 3);
    gm_copy_async_commit();
    out[threadIdx.x] = gm_load(&at[threadIdx.x][1]);
    gm_copy_async_wait<0>();
    out[32 + threadIdx.x] = gm_load(&at[threadIdx.x][1]);
}

int main() {
    cudaStream_t stream;
    gm_bf16 *a, *b, values[2][M * K];
    float *out, got[M * N], want[M * N];
    int failed = 0;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaMalloc((void **)&a, sizeof values[0]), cudaMalloc((void **)&b, sizeof values[1]), cudaMalloc((void **)&out, sizeof got);
    for (int i = 0; i < M * K; i++)
        values[0][i] = __float2bfloat16_rn((float)(i * 7 % 11 - 5)), values[1][i] = __float2bfloat16_rn((float)(i * 5 % 13 - 6));
    cudaMemcpyAsync(a, values[0], sizeof values[0], cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(b, values[1], sizeof values[1], cudaMemcpyHostToDevice, stream);
    for (int rows = 0; rows < 2; rows++) {
        if (rows)
            GM_START(multiply<true>, dim3(1), dim3(32), 0, stream, out, a, b);
        else
            GM_START(multiply<false>, dim3(1), dim3(32), 0, stream, out, a, b);
        cudaMemcpyAsync(got, out, sizeof got, cudaMemcpyDeviceToHost, stream);
        cudaStreamSynchronize(stream);
        for (int i = 0; i < M * N; i++) {
            want[i] = 0;
            for (int k = 0; k < K; k++)
                want[i] += __bfloat162float(values[0][i / N * K + k]) * __bfloat162float(values[1][rows ? k * N + i % N : i % N * K + k]);
            failed += got[i] != want[i];
        }
    }
    GM_START(early, dim3(1), dim3(32), 0, stream, out, a);
    cudaMemcpyAsync(got, out, 64 * sizeof *got, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    for (int i = 0; i < 32; i++) failed += !(got[i] != got[i]) + (got[32 + i] != (i == 3 ? 0 : __bfloat162float(values[0][i * 8 + 1])));
    printf("%d wrong\n", failed);
    return failed > 0;
}
