/* Poisson distinction (method.md §3), one layer, per token with v = π sorted descending (ties: the lower index first):
 *     ℓ = Σ_p q_p f(log q_p − log(v_p + 1e-16)),   q_p = w_p / Σ w,   w_p = λ^p / p!,   p = 1…N,   w_p = w_32 for p > 32
 *     dv_p = −f' q_p / (v_p + 1e-16),   dq_p/dλ = q_p (min(p,32) − Σ_j q_j min(j,32)) / λ,   dℓ/dλ = Σ_p (f + f') dq_p/dλ
 *     λ is clamped to [1, 2]; outside no gradient reaches it. π: T×N.
 * A thread has an element at a time; a block's part of the tokens depends on T and N alone. */
#include "divergence.cuh"

enum { THREADS = 256, BLOCKS_MOST = GM_CUDA_SUMS / 2, TOKENS_LEAST = 64, FACTORIALS = GM_WARP };

struct poisson_target {
    double q[FACTORIALS], log_q[FACTORIALS], slope[FACTORIALS]; /* slope: dq/dλ; places from 32 on are the last */
};

/* Lane p makes place p; the block's first warp calls it. */
__device__ static void make_target(poisson_target *target, double rate, int experts) {
    const int p = threadIdx.x, count = gm_least(experts, (int)FACTORIALS);
    const double lambda = rate < 1 ? 1 : rate > 2 ? 2 : rate;
    double log_w = log(lambda / (double)(p + 1)); /* then their running sum */
#pragma unroll
    for (int distance = 1; distance < GM_WARP; distance *= 2) {
        const double before = __shfl_up_sync(0xffffffffu, log_w, distance);
        if (p >= distance) log_w += before;
    }
    const double times = p == FACTORIALS - 1 ? (double)(experts - p) : 1, w = p < count ? times * exp(log_w) : 0;
    const double sum = gm_warp_sum(w), mean = gm_warp_sum(w * (double)(p + 1)) / sum;
    target->log_q[p] = log_w - log(sum);
    target->q[p] = exp(log_w - log(sum));
    target->slope[p] = rate < 1 || rate > 2 ? 0 : target->q[p] * ((double)(p + 1) - mean) / lambda;
}

struct sums { /* a block each */
    double *loss, *drate;
};

__global__ void __launch_bounds__(THREADS) poisson(sums parts, float *dweight, const float *weight, const float *rate, int64_t tokens,
                                                   int64_t part, int n, gm_divergence kind, float scale, bool accumulate) {
    GM_SHARED(poisson_target, target, [1]);
    if (threadIdx.x < GM_WARP) make_target(target, (double)*rate, n);
    __syncthreads();
    const int64_t begin = blockIdx.x * part * n, end = gm_least((blockIdx.x + 1) * part, tokens) * n;
    double loss = 0, drate = 0;
    for (int64_t at = begin + threadIdx.x; at < end; at += THREADS) {
        const int i = (int)(at % n), p = gm_least(gm_place(weight + (at - i), n, i), (int)FACTORIALS - 1);
        const float v = weight[at] + 1e-16f;
        const gm_diverged f = gm_diverge(kind, target->log_q[p] - (double)logf(v));
        loss += target->q[p] * f.value;
        drate += target->slope[p] * (f.value + f.slope);
        if (!dweight) continue;
        const float d = (float)(-f.slope * target->q[p] / (double)v * (double)scale);
        dweight[at] = accumulate ? dweight[at] + d : d;
    }
    loss = gm_block_sum(loss);
    drate = gm_block_sum(drate);
    if (threadIdx.x == 0) parts.loss[blockIdx.x] = loss, parts.drate[blockIdx.x] = drate;
}

__global__ void __launch_bounds__(GM_WARP)
    add_poisson(double *loss, float *drate, sums parts, int number, double loss_scale, float gradient_scale) {
    double loss_sum = 0, drate_sum = 0;
    for (int i = threadIdx.x; i < number; i += GM_WARP) loss_sum += parts.loss[i], drate_sum += parts.drate[i];
    loss_sum = gm_warp_sum(loss_sum);
    drate_sum = gm_warp_sum(drate_sum);
    if (threadIdx.x > 0) return;
    *loss += loss_sum * loss_scale;
    if (drate) *drate += (float)(drate_sum * (double)gradient_scale);
}

extern "C" void gm_cuda_poisson(gm_backend *backend, const gm_poisson_args *a) {
    const int64_t part = gm_most(gm_parts(a->tokens, BLOCKS_MOST), (int64_t)TOKENS_LEAST), number = gm_parts(a->tokens, part);
    const sums parts = {gm_cuda_sums(backend), gm_cuda_sums(backend) + BLOCKS_MOST};
    GM_LAUNCH(backend, poisson, number, THREADS, 0, parts, a->dweight, a->weight, a->rate, a->tokens, part, (int)a->experts, a->divergence,
              a->gradient_scale, a->accumulate);
    GM_LAUNCH(backend, add_poisson, 1, GM_WARP, 0, a->loss, a->dweight ? a->drate : NULL, parts, (int)number, a->loss_scale,
              a->gradient_scale);
}
