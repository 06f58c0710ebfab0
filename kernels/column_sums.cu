/* out_c = Σ_r in_rc over a narrow matrix (experts, router outputs): a block per column, its threads over the rows in strides,
 * sums in double, so that the result does not depend on anything but the shape. */
#include "common.cuh"

enum { THREADS = 256 };

__global__ void __launch_bounds__(THREADS) column_sums(float *out, const float *in, int64_t rows, int64_t columns) {
    double sum = 0;
    for (int64_t r = threadIdx.x; r < rows; r += THREADS) sum += (double)in[r * columns + blockIdx.x];
    sum = gm_block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = (float)sum;
}

extern "C" void gm_cuda_column_sums(gm_backend *backend, float *out, const float *in, int64_t rows, int64_t columns) {
    GM_LAUNCH(backend, column_sums, columns, THREADS, 0, out, in, rows, columns);
}
