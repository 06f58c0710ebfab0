/* Routing (method.md §2, §4): π = softmax(score), the K largest π of each token (ties: backend/top_k.h), their gates
 * g_k = π_k / Σ_topK π, and what the losses count:
 *     count_e = K · Σ_t π_te [e ∈ topK(t)]        share_e = Σ_t [e ∈ topK(t)]
 *     score, weight: T×N   expert, gate: T×K   count, share: N
 * Backward, with S = Σ_topK π:
 *     dπ_e = dweight_e + [e ∈ topK] ((dgate_k − Σ_j dgate_j g_j) / S + K dcount_e)
 *     dscore_e = π_e (dπ_e − Σ_j π_j dπ_j)
 * A row that is not a number keeps valid, distinct experts. */
#include "backend/cpu/kernels/kernel.h"
#include "backend/top_k.h"

enum { SMALL = 1 << 12, /* scores below which one thread does it all */ EXPERTS = 16 /* counted together */, TIED_MOST = 256 };

static void softmax_row(float *restrict weight, const float *restrict score, int64_t n) {
    float max = score[0], sum = 0;
#pragma omp simd reduction(max : max)
    for (int64_t i = 1; i < n; i++) max = score[i] > max ? score[i] : max;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        weight[i] = gm_exp(score[i] - max);
        sum += weight[i];
    }
    float inverse = 1.0f / sum;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) weight[i] *= inverse;
}

/* The first after (value, index) in descending order of weight, ties by ascending index; −1 if there is none. */
static int64_t next_best(const float *weight, int64_t n, float value, int64_t index) {
    int64_t best = -1;
    float best_weight = -1.0f;
    for (int64_t i = 0; i < n; i++) {
        bool later = weight[i] < value || (weight[i] == value && i > index);
        if (later && weight[i] > best_weight) best = i, best_weight = weight[i];
    }
    return best;
}

/* Some that were left out weigh as much as the last chosen (experts in descending order, ties by index): choose again among
 * the equal ones. Over TIED_MOST experts the lower index stays. */
static void choose_tied(const gm_route_args *a, const float *weight, int32_t *expert) {
    gm_candidate candidates[TIED_MOST];
    float value = weight[expert[a->slots - 1]];
    if (a->experts > TIED_MOST || next_best(weight, a->experts, value, expert[a->slots - 1]) < 0) return;
    if (weight[next_best(weight, a->experts, value, expert[a->slots - 1])] != value) return;
    for (int64_t i = 0; i < a->experts; i++) candidates[i] = (gm_candidate){weight[i], (int32_t)i};
    gm_candidates_select(candidates, a->experts, a->slots);
    int64_t first_tied = 0;
    while (weight[expert[first_tied]] > value) first_tied++;
    for (int64_t i = 0; i < a->slots; i++)
        if (candidates[i].weight == value) expert[first_tied++] = candidates[i].index;
}

static void choose(const gm_route_args *a, int64_t token) {
    const float *weight = a->weight + token * a->experts;
    int32_t *expert = a->expert + token * a->slots;
    float *gate = a->gate + token * a->slots;
    float sum = 0, value = INFINITY;
    int64_t index = -1;
    for (int64_t k = 0; k < a->slots; k++) {
        int64_t best = next_best(weight, a->experts, value, index);
        index = best < 0 ? k : best;
        value = weight[index];
        expert[k] = (int32_t)index;
    }
    if (a->slots < a->experts && value == value) choose_tied(a, weight, expert);
    for (int64_t k = 0; k < a->slots; k++) sum += gate[k] = weight[expert[k]];
    for (int64_t k = 0; k < a->slots; k++) gate[k] /= sum;
}

/* count and share of experts first … first + EXPERTS, over all tokens in order. */
static void count_experts(const gm_route_args *a, int64_t first) {
    double count[EXPERTS] = {0};
    int64_t share[EXPERTS] = {0}, n = gm_least(EXPERTS, a->experts - first);
    for (int64_t t = 0; t < a->tokens; t++)
        for (int64_t k = 0; k < a->slots; k++) {
            int64_t e = a->expert[t * a->slots + k] - first;
            if (e < 0 || e >= n) continue;
            count[e] += a->weight[t * a->experts + first + e];
            share[e]++;
        }
    for (int64_t e = 0; e < n; e++) {
        a->count[first + e] = (float)(count[e] * (double)a->slots);
        a->share[first + e] = (float)share[e];
    }
}

void GM_KERNEL(gm_cpu_route_forward)(gm_backend *backend, const gm_route_args *args) {
    (void)backend;
    GM_CHECK(args->slots >= 1 && args->slots <= args->experts, "%lld of %lld experts", (long long)args->slots, (long long)args->experts);
    bool parallel = args->tokens * args->experts > SMALL;
#pragma omp parallel for schedule(static) if (parallel)
    for (int64_t t = 0; t < args->tokens; t++) {
        softmax_row(args->weight + t * args->experts, args->score + t * args->experts, args->experts);
        choose(args, t);
    }
#pragma omp parallel for schedule(static) if (parallel && args->experts > EXPERTS)
    for (int64_t e = 0; e < args->experts; e += EXPERTS) count_experts(args, e);
}

/* Adds the gradient that reaches the top-K of one token: through its gates and through the counts. */
static void chosen_backward(const gm_route_args *a, int64_t token, const float *weight, float *dweight) {
    const int32_t *expert = a->expert + token * a->slots;
    const float *gate = a->gate + token * a->slots, *dgate = a->dgate ? a->dgate + token * a->slots : NULL;
    float sum = 0, along = 0;
    for (int64_t k = 0; k < a->slots; k++) {
        sum += weight[expert[k]];
        if (dgate) along += dgate[k] * gate[k];
    }
    for (int64_t k = 0; k < a->slots; k++) {
        float d = dgate ? (dgate[k] - along) / sum : 0;
        if (a->dcount) d += (float)a->slots * a->dcount[expert[k]];
        dweight[expert[k]] += d;
    }
}

void GM_KERNEL(gm_cpu_route_backward)(gm_backend *backend, const gm_route_args *args) {
    (void)backend;
    int64_t n = args->experts;
#pragma omp parallel for schedule(static) if (args->tokens * n > SMALL)
    for (int64_t t = 0; t < args->tokens; t++) {
        const float *weight = args->weight + t * n;
        float *d = args->dscore + t * n, along = 0; /* d: dπ, then dscore */
        if (args->dweight)
            memmove(d, args->dweight + t * n, (size_t)n * sizeof *d);
        else
            memset(d, 0, (size_t)n * sizeof *d);
        chosen_backward(args, t, weight, d);
#pragma omp simd reduction(+ : along)
        for (int64_t i = 0; i < n; i++) along += weight[i] * d[i];
#pragma omp simd
        for (int64_t i = 0; i < n; i++) d[i] = weight[i] * (d[i] - along);
    }
}
