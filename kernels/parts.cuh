/* Sums over tokens: every block sums a part of them, and the parts are added in order, so that a second run gives the same bits.
 * The size of a part depends on the number of tokens alone. */
#ifndef GM_BACKEND_CUDA_KERNELS_PARTS_CUH
#define GM_BACKEND_CUDA_KERNELS_PARTS_CUH

#include "common.cuh"

enum { GM_PARTS_MOST = 64, GM_PART_TOKENS = 64, GM_PARTS_THREADS = 256 };

/* Tokens of a part; there are gm_parts(tokens, size) of them, at most GM_PARTS_MOST. */
static inline int64_t gm_part_size(int64_t tokens) { return gm_most(gm_parts(tokens, GM_PARTS_MOST), (int64_t)GM_PART_TOKENS); }

/* out_i += Σ_p parts[p·count + i] */
static __global__ void __launch_bounds__(GM_PARTS_THREADS) gm_sum_parts(float *out, const float *parts, int64_t number, int64_t count) {
    const int64_t i = (int64_t)blockIdx.x * GM_PARTS_THREADS + threadIdx.x;
    if (i >= count) return;
    float sum = 0;
    for (int64_t p = 0; p < number; p++) sum += parts[p * count + i];
    out[i] += sum;
}

static inline void gm_add_parts(gm_backend *backend, float *out, const float *parts, int64_t number, int64_t count) {
    GM_LAUNCH(backend, gm_sum_parts, gm_parts(count, GM_PARTS_THREADS), GM_PARTS_THREADS, 0, out, parts, number, count);
}

#endif
