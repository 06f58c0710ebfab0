/* Normal balance (method.md §4), all layers l at once, u = count / Σ count sorted descending:
 *     ℓ = 1/L Σ_l Σ_p n_lp f(log n_lp − log(u_lp + 1e-8)),   n = softmax(a) over p (joint: over l and p),
 *     a_lp = −d_p² / 2σ_l² − log σ_l,   d_p: the distances |i − N/2|, i = 0…N−1, ascending
 *     du_p = −f' n_p / (u_p + 1e-8),   dcount_e = (du_e − Σ_j du_j u_j) / Σ count,
 *     da_p = n_p (f_p + f'_p − Σ_j n_j (f_j + f'_j)),   da_p/dσ = d_p² / σ³ − 1/σ
 * A warp has a layer. Three launches, because the joint target and Σ n (f + f') go over all layers. */
#include "divergence.cuh"

struct layer_sums {     /* of one layer */
    double log_sum;     /* log Σ_p exp(a_p)              */
    double loss;        /* Σ n f                         */
    double mean;        /* Σ n (f + f')                  */
    double pull, along; /* Σ n (f + f') da/dσ, Σ n da/dσ */
};

struct problem {
    const float *count;        /* layers×N */
    const float *const *width; /* layers, on the device */
    int layers, experts;
    gm_divergence kind;
    bool joint;
};

/* d_p: the p-th smallest of |i − N/2|, i = 0…N−1: 0 1 1 2 2 … for even N, ½ ½ 1½ 1½ … for odd. */
__device__ static double distance(int experts, int p) { return experts % 2 ? (double)(p / 2) + 0.5 : (double)((p + 1) / 2); }
/* |σ|, kept off zero */
__device__ static double sigma_of(double width) { return fabs(width) < 1e-6 ? 1e-6 : fabs(width); }

__device__ static double log_density(int experts, double sigma, int p) {
    const double d = distance(experts, p) / sigma;
    return -0.5 * d * d - log(sigma);
}

__global__ void __launch_bounds__(GM_WARP) normal_densities(layer_sums *sums, problem n) {
    const double sigma = sigma_of((double)*n.width[blockIdx.x]), most = log_density(n.experts, sigma, 0);
    double sum = 0;
    for (int p = threadIdx.x; p < n.experts; p += GM_WARP) sum += exp(log_density(n.experts, sigma, p) - most);
    sum = gm_warp_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x].log_sum = most + log(sum);
}

/* log of the sum over all layers: what the joint target is normalised by. */
__device__ static double joint_log_sum(const layer_sums *sums, int layers) {
    double most = -INFINITY, sum = 0;
    for (int l = 0; l < layers; l++) most = fmax(most, sums[l].log_sum);
    for (int l = 0; l < layers; l++) sum += exp(sums[l].log_sum - most);
    return most + log(sum);
}

/* Σ over the layer's experts */
__device__ static double total_of(const float *count, int experts) {
    double total = 0;
    for (int e = threadIdx.x; e < experts; e += GM_WARP) total += (double)count[e];
    return gm_warp_sum(total);
}

/* The layer's terms, and du in the place of dcount. */
__global__ void __launch_bounds__(GM_WARP) normal_terms(layer_sums *all, float *dcount, problem n) {
    layer_sums *mine = all + blockIdx.x;
    const float *count = n.count + (int64_t)blockIdx.x * n.experts;
    const double s = sigma_of((double)*n.width[blockIdx.x]), log_sum = n.joint ? joint_log_sum(all, n.layers) : mine->log_sum;
    const double total = total_of(count, n.experts);
    layer_sums sums = {};
    for (int e = threadIdx.x; e < n.experts; e += GM_WARP) {
        const int p = gm_place(count, n.experts, e);
        const double d = distance(n.experts, p), u = (total == 0 ? 0 : (double)count[e] / total) + 1e-8;
        const double log_n = log_density(n.experts, s, p) - log_sum, weight = exp(log_n), da = (d * d / (s * s) - 1) / s;
        const gm_diverged f = gm_diverge(n.kind, log_n - log(u));
        sums.loss += weight * f.value;
        sums.mean += weight * (f.value + f.slope);
        sums.pull += weight * (f.value + f.slope) * da;
        sums.along += weight * da;
        if (dcount) dcount[(int64_t)blockIdx.x * n.experts + e] = (float)(-f.slope * weight / u);
    }
    sums.loss = gm_warp_sum(sums.loss);
    sums.mean = gm_warp_sum(sums.mean);
    sums.pull = gm_warp_sum(sums.pull);
    sums.along = gm_warp_sum(sums.along);
    if (threadIdx.x == 0) mine->loss = sums.loss, mine->mean = sums.mean, mine->pull = sums.pull, mine->along = sums.along;
}

/* The loss, dσ, and from du to dcount through u = count / Σ count. */
__global__ void __launch_bounds__(GM_WARP) normal_gradients(double *loss, double loss_scale, float *dcount, float *const *dwidth,
                                                            const layer_sums *all, problem n, double count_scale, double width_scale) {
    const layer_sums mine = all[blockIdx.x];
    double loss_sum = 0, mean = 0;
    for (int l = 0; l < n.layers; l++) loss_sum += all[l].loss, mean += all[l].mean;
    if (blockIdx.x == 0 && threadIdx.x == 0) *loss += loss_sum / n.layers * loss_scale;
    if (!dcount) return;
    const float *count = n.count + (int64_t)blockIdx.x * n.experts;
    float *d = dcount + (int64_t)blockIdx.x * n.experts;
    double along = 0;
    for (int e = threadIdx.x; e < n.experts; e += GM_WARP) along += (double)d[e] * (double)count[e];
    along = gm_warp_sum(along);
    const double total = total_of(count, n.experts);
    for (int e = threadIdx.x; e < n.experts; e += GM_WARP)
        d[e] = total == 0 ? 0 : (float)(((double)d[e] - along / total) / total * count_scale / n.layers);
    if (threadIdx.x > 0) return;
    const double dsigma = mine.pull - (n.joint ? mean : mine.mean) * mine.along, sign = *n.width[blockIdx.x] < 0 ? -1 : 1;
    *dwidth[blockIdx.x] += (float)(dsigma * sign * width_scale / n.layers);
}

extern "C" void gm_cuda_normal(gm_backend *backend, const gm_normal_args *a) {
    const size_t mark = gm_arena_mark(&backend->scratch), bytes = (size_t)a->layers * sizeof(float *);
    layer_sums *sums = (layer_sums *)gm_cuda_scratch(backend, (size_t)a->layers * sizeof *sums);
    const float *const *width = (const float *const *)gm_cuda_upload(backend, a->width, bytes);
    float *const *dwidth = a->dcount ? (float *const *)gm_cuda_upload(backend, a->dwidth, bytes) : NULL;
    const problem n = {a->count, width, (int)a->layers, (int)a->experts, a->divergence, a->joint};
    GM_LAUNCH(backend, normal_densities, a->layers, GM_WARP, 0, sums, n);
    GM_LAUNCH(backend, normal_terms, a->layers, GM_WARP, 0, sums, a->dcount, n);
    GM_LAUNCH(backend, normal_gradients, a->layers, GM_WARP, 0, a->loss, a->loss_scale, a->dcount, dwidth, sums, n,
              (double)a->gradient_scale, (double)a->width_scale);
    gm_arena_release(&backend->scratch, mark);
}
