/* Mixtral's balance: ℓ = N Σ_e f_e P_e of one layer; dπ_te = gradient_scale · f_e.      f, P: N   dπ: T×N */
#include "common.cuh"

enum { THREADS = 256 };

__global__ void __launch_bounds__(THREADS) balance(float *dweight, const float *share, int64_t count, int n, float scale, bool accumulate) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < count) dweight[i] = (accumulate ? dweight[i] : 0) + scale * share[i % n];
}

__global__ void __launch_bounds__(GM_WARP) balance_loss(double *loss, const float *share, const float *mean, int n, double scale) {
    double sum = 0;
    for (int e = threadIdx.x; e < n; e += GM_WARP) sum += (double)share[e] * (double)mean[e];
    sum = gm_warp_sum(sum);
    if (threadIdx.x == 0) *loss += sum * n * scale;
}

extern "C" void gm_cuda_balance(gm_backend *backend, const gm_balance_args *a) {
    const int64_t count = a->tokens * a->experts;
    GM_LAUNCH(backend, balance_loss, 1, GM_WARP, 0, a->loss, a->share, a->mean, (int)a->experts, a->loss_scale);
    GM_LAUNCH(backend, balance, gm_parts(count, THREADS), THREADS, 0, a->dweight, a->share, count, (int)a->experts, a->gradient_scale,
              a->accumulate);
}
