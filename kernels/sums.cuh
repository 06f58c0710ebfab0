/* Sums over parts that blocks left in scratch, added in a fixed order, so that a second run gives the same bits. The size of a part
 * depends on the shape alone. */
#ifndef GM_BACKEND_CUDA_KERNELS_SUMS_CUH
#define GM_BACKEND_CUDA_KERNELS_SUMS_CUH

#include "common.cuh"

enum { GM_PARTS_MOST = 64, GM_PART_TOKENS = 64 };

/* Tokens of a part; there are gm_parts(tokens, size) of them, at most GM_PARTS_MOST. */
static inline int64_t gm_part_size(int64_t tokens) { return gm_most(gm_parts(tokens, GM_PARTS_MOST), (int64_t)GM_PART_TOKENS); }
/* How many there are at most, with fewer tokens too. Scratch is planned at the largest number of tokens and must do for every
 * smaller one: where what is needed does not grow with the tokens alone, a bound that does is taken. */
static inline int64_t gm_part_bound(int64_t tokens) { return gm_least((int64_t)GM_PARTS_MOST, gm_parts(tokens, GM_PART_TOKENS)); }

/* out (count) = Σ_p parts[p·stride + i], or out +=. */
void gm_sum_all_parts(gm_backend *backend, float *out, const float *part, int64_t parts, int64_t stride, int64_t count, bool accumulate);

/* out (experts×count) += Σ_p parts[p·experts·count + i] over the parts that have the expert: touched[p·experts + e]. */
void gm_sum_touched_parts(gm_backend *backend, float *out, const float *part, const int32_t *touched, int64_t parts, int64_t experts,
                          int64_t count);

#endif
