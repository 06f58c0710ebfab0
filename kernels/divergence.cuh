/* What the router losses share: places in descending order, and f with its slope: f(x) = x (KL) or |x| (abs; f'(0) = 0). */
#ifndef GM_BACKEND_CUDA_KERNELS_DIVERGENCE_CUH
#define GM_BACKEND_CUDA_KERNELS_DIVERGENCE_CUH

#include "common.cuh"

/* Place of v[i] in descending order, equal values in order of index. */
__device__ static inline int gm_place(const float *v, int n, int i) {
    const float value = v[i];
    int before = 0;
    for (int j = 0; j < i; j++) before += v[j] >= value;
    for (int j = i + 1; j < n; j++) before += v[j] > value;
    return before;
}

struct gm_diverged {
    double value, slope; /* f(x), f'(x) */
};

__device__ static inline gm_diverged gm_diverge(gm_divergence kind, double x) {
    if (kind == GM_DIVERGENCE_KL) return {x, 1};
    return {fabs(x), x > 0 ? 1 : x < 0 ? -1 : x * 0};
}

#endif
