/* The router losses, each with its gradients. f is the divergence: f(x) = x (KL) or |x| (abs; f'(0) = 0).
 *
 * Poisson distinction (method.md §3), one layer, per token with v = π sorted descending (ties: the lower index first):
 *     ℓ = Σ_p q_p f(log q_p − log(v_p + 1e-16)),   q_p = w_p / Σ w,   w_p = λ^p / p!,   p = 1…N,   w_p = w_32 for p > 32
 *     dv_p = −f' q_p / (v_p + 1e-16),   dq_p/dλ = q_p (min(p,32) − Σ_j q_j min(j,32)) / λ,   dℓ/dλ = Σ_p (f + f') dq_p/dλ
 *     λ is clamped to [1, 2]; outside no gradient reaches it. π: T×N.
 *
 * Normal balance (§4), all layers l, u = count / Σ count sorted descending:
 *     ℓ = 1/L Σ_l Σ_p n_lp f(log n_lp − log(u_lp + 1e-8)),   n = softmax(a) over p (joint: over l and p),
 *     a_lp = −d_p² / 2σ_l² − log σ_l,   d_p: the distances |i − N/2|, i = 0…N−1, ascending
 *     du_p = −f' n_p / (u_p + 1e-8),   dcount_e = (du_e − Σ_j du_j u_j) / Σ count,
 *     da_p = n_p (f_p + f'_p − Σ_j n_j (f_j + f'_j)),   da_p/dσ = d_p² / σ³ − 1/σ
 *
 * Mixtral's balance: ℓ = N Σ_e f_e P_e; dπ_te = gradient_scale · f_e. */
#include "backend/cpu/kernels/kernel.h"

enum { CHUNKS = 64, CHUNK = 256, FACTORIALS = 32 };

/* Place of v[i] in descending order, equal values in order of index. */
static int64_t place(const float *v, int64_t n, int64_t i) {
    float value = v[i];
    int32_t before = 0;
#pragma omp simd reduction(+ : before)
    for (int64_t j = 0; j < i; j++) before += v[j] >= value;
#pragma omp simd reduction(+ : before)
    for (int64_t j = i + 1; j < n; j++) before += v[j] > value;
    return before;
}

typedef struct divergence {
    double value, slope; /* f(x), f'(x) */
} divergence;

static divergence diverge(gm_divergence kind, double x) {
    if (kind == GM_DIVERGENCE_KL) return (divergence){x, 1};
    return (divergence){fabs(x), x > 0 ? 1 : x < 0 ? -1 : x * 0};
}

typedef struct poisson_target {
    double q[FACTORIALS], log_q[FACTORIALS], slope[FACTORIALS]; /* slope: dq/dλ; places from 32 on are the last */
} poisson_target;

static void make_poisson_target(poisson_target *target, double rate, int64_t experts) {
    double lambda = rate < 1 ? 1 : rate > 2 ? 2 : rate, log_w = 0, sum = 0, mean = 0;
    int64_t count = gm_least(experts, FACTORIALS);
    for (int64_t p = 0; p < count; p++) {
        log_w += log(lambda / (double)(p + 1));
        double times = p == FACTORIALS - 1 ? (double)(experts - p) : 1;
        target->log_q[p] = log_w;
        sum += times * exp(log_w);
        mean += times * exp(log_w) * (double)(p + 1);
    }
    mean /= sum;
    for (int64_t p = 0; p < count; p++) {
        target->log_q[p] -= log(sum);
        target->q[p] = exp(target->log_q[p]);
        target->slope[p] = rate < 1 || rate > 2 ? 0 : target->q[p] * ((double)(p + 1) - mean) / lambda;
    }
}

static void poisson_token(const gm_poisson_args *a, const poisson_target *target, int64_t token, double *loss, double *drate) {
    const float *weight = a->weight + token * a->experts;
    for (int64_t i = 0; i < a->experts; i++) {
        int64_t p = gm_least(place(weight, a->experts, i), FACTORIALS - 1);
        float v = weight[i] + 1e-16f;
        divergence f = diverge(a->divergence, target->log_q[p] - (double)logf(v));
        *loss += target->q[p] * f.value;
        *drate += target->slope[p] * (f.value + f.slope);
        if (!a->dweight) continue;
        float *dweight = a->dweight + token * a->experts + i, d = (float)(-f.slope * target->q[p] / (double)v * (double)a->gradient_scale);
        *dweight = a->accumulate ? *dweight + d : d;
    }
}

/* Tokens go in at most CHUNKS chunks whose size depends on T alone; their sums are added in order. */
void GM_KERNEL(gm_cpu_poisson)(gm_backend *backend, const gm_poisson_args *args) {
    (void)backend;
    poisson_target target;
    make_poisson_target(&target, (double)*args->rate, args->experts);
    double loss[CHUNKS] = {0}, drate[CHUNKS] = {0}, loss_sum = 0, drate_sum = 0;
    int64_t chunk = (args->tokens + CHUNKS - 1) / CHUNKS;
    if (chunk < CHUNK) chunk = CHUNK;
#pragma omp parallel for schedule(static, 1) if (args->tokens > CHUNK)
    for (int64_t c = 0; c < CHUNKS; c++)
        for (int64_t t = c * chunk; t < gm_least(args->tokens, (c + 1) * chunk); t++) poisson_token(args, &target, t, &loss[c], &drate[c]);
    for (int64_t c = 0; c < CHUNKS; c++) loss_sum += loss[c], drate_sum += drate[c];
    *args->loss += loss_sum * args->loss_scale;
    if (args->dweight) *args->drate += (float)(drate_sum * (double)args->gradient_scale);
}

/* d_p: the p-th smallest of |i − N/2|, i = 0…N−1: 0 1 1 2 2 … for even N, ½ ½ 1½ 1½ … for odd. */
static double distance(int64_t experts, int64_t p) { return experts % 2 ? (double)(p / 2) + 0.5 : (double)((p + 1) / 2); }

typedef struct normal_target {
    double sigma, sign; /* |σ|, kept off zero, and its sign */
    double log_sum;     /* n_p = exp(a_p − log_sum) */
} normal_target;

static double log_density(const gm_normal_args *a, double sigma, int64_t p) {
    double d = distance(a->experts, p) / sigma;
    return -0.5 * d * d - log(sigma);
}

static normal_target layer_target(const gm_normal_args *a, int64_t layer) {
    double width = (double)*a->width[layer], sigma = fabs(width) < 1e-6 ? 1e-6 : fabs(width), sum = 0;
    double most = log_density(a, sigma, 0);
    for (int64_t p = 0; p < a->experts; p++) sum += exp(log_density(a, sigma, p) - most);
    return (normal_target){sigma, width < 0 ? -1 : 1, most + log(sum)};
}

/* log of the sum over all layers: what the joint target is normalised by. */
static double joint_log_sum(const gm_normal_args *a) {
    double most = -INFINITY, sum = 0;
    for (int64_t l = 0; l < a->layers; l++) most = fmax(most, layer_target(a, l).log_sum);
    for (int64_t l = 0; l < a->layers; l++) sum += exp(layer_target(a, l).log_sum - most);
    return most + log(sum);
}

typedef struct normal_sums { /* over a layer, or all of them */
    double loss;             /* Σ n f                        */
    double mean;             /* Σ n (f + f')                 */
    double pull, along;      /* Σ n (f + f') da/dσ, Σ n da/dσ */
} normal_sums;

/* One layer's terms, and du in the place of dcount. */
static normal_sums normal_layer(const gm_normal_args *a, const normal_target *target, int64_t layer) {
    const float *count = a->count + layer * a->experts;
    double total = 0;
    for (int64_t e = 0; e < a->experts; e++) total += (double)count[e];
    normal_sums sums = {0};
    for (int64_t e = 0; e < a->experts; e++) {
        int64_t p = place(count, a->experts, e);
        double d = distance(a->experts, p), s = target->sigma, u = (total == 0 ? 0 : (double)count[e] / total) + 1e-8;
        double log_n = log_density(a, s, p) - target->log_sum, n = exp(log_n), da = (d * d / (s * s) - 1) / s;
        divergence f = diverge(a->divergence, log_n - log(u));
        sums.loss += n * f.value;
        sums.mean += n * (f.value + f.slope);
        sums.pull += n * (f.value + f.slope) * da;
        sums.along += n * da;
        if (a->dcount) a->dcount[layer * a->experts + e] = (float)(-f.slope * n / u);
    }
    return sums;
}

/* From du to dcount, through u = count / Σ count. */
static void count_backward(const gm_normal_args *a, int64_t layer) {
    const float *count = a->count + layer * a->experts;
    float *d = a->dcount + layer * a->experts;
    double total = 0, along = 0, scale = (double)a->gradient_scale / (double)a->layers;
    for (int64_t e = 0; e < a->experts; e++) total += (double)count[e], along += (double)d[e] * (double)count[e];
    for (int64_t e = 0; e < a->experts; e++) d[e] = total == 0 ? 0 : (float)(((double)d[e] - along / total) / total * scale);
}

void GM_KERNEL(gm_cpu_normal)(gm_backend *backend, const gm_normal_args *args) {
    (void)backend;
    double loss = 0, mean = 0, joint = args->joint ? joint_log_sum(args) : 0;
    for (int64_t l = 0; l < args->layers; l++) {
        normal_target target = layer_target(args, l);
        if (args->joint) target.log_sum = joint;
        normal_sums sums = normal_layer(args, &target, l);
        loss += sums.loss;
        mean += sums.mean;
    }
    *args->loss += loss / (double)args->layers * args->loss_scale;
    if (!args->dcount) return;
    for (int64_t l = 0; l < args->layers; l++) {
        normal_target target = layer_target(args, l);
        if (args->joint) target.log_sum = joint;
        normal_sums sums = normal_layer(args, &target, l);
        double dsigma = sums.pull - (args->joint ? mean : sums.mean) * sums.along;
        *args->dwidth[l] += (float)(dsigma * target.sign * (double)args->width_scale / (double)args->layers);
        count_backward(args, l);
    }
}

void GM_KERNEL(gm_cpu_balance)(gm_backend *backend, const gm_balance_args *args) {
    (void)backend;
    int64_t n = args->experts;
    double loss = 0;
    for (int64_t e = 0; e < n; e++) loss += (double)args->share[e] * (double)args->mean[e];
    *args->loss += loss * (double)n * args->loss_scale;
#pragma omp parallel for schedule(static) if (args->tokens * n > (1 << 14))
    for (int64_t t = 0; t < args->tokens; t++) {
        if (!args->accumulate) memset(args->dweight + t * n, 0, (size_t)n * sizeof *args->dweight);
        gm_axpy(args->dweight + t * n, args->gradient_scale, args->share, n);
    }
}
