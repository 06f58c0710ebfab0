/* Sums over parts (sums.cuh). Few columns have too few threads to wait for memory with, so GROUPS runs of parts are added side by
 * side, and then the runs in order. */
#include "sums.cuh"

enum { GROUPS = 32, THREADS = 256 };

__global__ void __launch_bounds__(GM_WARP *GROUPS)
    add_parts(float *out, const float *part, int64_t parts, int64_t stride, int64_t count, bool accumulate) {
    GM_SHARED(float, group_sum, [GROUPS][GM_WARP]);
    const int lane = threadIdx.x % GM_WARP, group = threadIdx.x / GM_WARP;
    const int64_t column = (int64_t)blockIdx.x * GM_WARP + lane, each = (parts + GROUPS - 1) / GROUPS;
    float sum = 0;
    for (int64_t p = group * each; p < gm_least((group + 1) * each, parts) && column < count; p++) sum += part[p * stride + column];
    group_sum[group][lane] = sum;
    __syncthreads();
    if (group > 0 || column >= count) return;
    for (int g = 1; g < GROUPS; g++) sum += group_sum[g][lane];
    out[column] = accumulate ? out[column] + sum : sum;
}

__global__ void __launch_bounds__(THREADS)
    add_touched(float *out, const float *part, const int32_t *touched, int64_t parts, int64_t experts, int64_t count) {
    const int64_t column = (int64_t)blockIdx.x * THREADS + threadIdx.x, expert = blockIdx.y;
    if (column >= count) return;
    float sum = 0;
    for (int64_t p = 0; p < parts; p++)
        if (touched[p * experts + expert]) sum += part[(p * experts + expert) * count + column];
    out[expert * count + column] += sum;
}

void gm_sum_all_parts(gm_backend *backend, float *out, const float *part, int64_t parts, int64_t stride, int64_t count, bool accumulate) {
    GM_LAUNCH(backend, add_parts, gm_parts(count, GM_WARP), GM_WARP * GROUPS, 0, out, part, parts, stride, count, accumulate);
}

void gm_sum_touched_parts(gm_backend *backend, float *out, const float *part, const int32_t *touched, int64_t parts, int64_t experts,
                          int64_t count) {
    const dim3 grid((unsigned)gm_parts(count, THREADS), (unsigned)experts);
    GM_LAUNCH(backend, add_touched, grid, THREADS, 0, out, part, touched, parts, experts, count);
}
