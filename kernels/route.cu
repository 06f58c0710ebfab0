/* Routing (method.md §2, §4): π = softmax(score), the K largest π of each token (ties: backend/top_k.h), their gates
 * g_k = π_k / Σ_topK π, and what the losses count:
 *     count_e = K · Σ_t π_te [e ∈ topK(t)]        share_e = Σ_t [e ∈ topK(t)]
 *     score, weight: T×N   expert, gate: T×K   count, share: N
 * Backward, with S = Σ_topK π:
 *     dπ_e = dweight_e + [e ∈ topK] ((dgate_k − Σ_j dgate_j g_j) / S + K dcount_e)
 *     dscore_e = π_e (dπ_e − Σ_j π_j dπ_j)
 * A warp has a token, its lanes the experts in strides. A row that is not a number keeps valid, distinct experts. */
#include "common.cuh"

extern "C" {
#include "backend/top_k.h"
}

enum { WARPS = 4, THREADS = WARPS * GM_WARP, COUNTERS = 1024 /* few blocks wait for many loads */, TIED_MOST = 256 };

__device__ static void softmax(float *weight, const float *score, int n, int lane) {
    float most = -INFINITY, sum = 0;
    for (int e = lane; e < n; e += GM_WARP) most = fmaxf(most, score[e]);
    most = gm_warp_most(most);
    for (int e = lane; e < n; e += GM_WARP) sum += weight[e] = expf(score[e] - most);
    const float inverse = 1.0f / gm_warp_sum(sum);
    for (int e = lane; e < n; e += GM_WARP) weight[e] *= inverse;
}

/* The first after (value, index) in descending order of weight, ties by ascending index; −1 if there is none. */
__device__ static int next_best(const float *weight, int n, float value, int index, int lane) {
    int best = -1;
    float best_weight = -1.0f;
    for (int e = lane; e < n; e += GM_WARP) {
        const bool later = weight[e] < value || (weight[e] == value && e > index);
        if (later && weight[e] > best_weight) best = e, best_weight = weight[e];
    }
#pragma unroll
    for (int distance = GM_WARP / 2; distance > 0; distance /= 2) {
        const int other = __shfl_xor_sync(0xffffffffu, best, distance);
        const float other_weight = __shfl_xor_sync(0xffffffffu, best_weight, distance);
        if (other >= 0 && (other_weight > best_weight || (other_weight == best_weight && other < best)))
            best = other, best_weight = other_weight;
    }
    return best;
}

/* Some that were left out weigh as much as the last chosen (experts in descending order, ties by index): choose again among
 * the equal ones. Over TIED_MOST experts the lower index stays. */
__device__ static void choose_tied(int32_t *expert, gm_candidate *candidates, const float *weight, int n, int slots, float value,
                                   int lane) {
    for (int e = lane; e < n; e += GM_WARP) candidates[e] = {weight[e], e};
    __syncwarp();
    if (lane > 0) return;
    gm_candidates_select(candidates, n, slots);
    int first_tied = 0;
    while (weight[expert[first_tied]] > value) first_tied++;
    for (int k = 0; k < slots; k++)
        if (candidates[k].weight == value) expert[first_tied++] = candidates[k].index;
}

__global__ void __launch_bounds__(THREADS)
    route_forward(float *weights, int32_t *experts, float *gates, const float *score, int64_t tokens, int n, int slots) {
    GM_SHARED(gm_candidate, candidates, [WARPS][TIED_MOST]);
    const int lane = threadIdx.x % GM_WARP, warp = threadIdx.x / GM_WARP;
    const int64_t token = (int64_t)blockIdx.x * WARPS + warp;
    if (token >= tokens) return; /* the whole warp */
    float *weight = weights + token * n, *gate = gates + token * slots, value = INFINITY, sum = 0;
    int32_t *expert = experts + token * slots;
    int index = -1;
    softmax(weight, score + token * n, n, lane);
    __syncwarp();
    for (int k = 0; k < slots; k++) {
        const int best = next_best(weight, n, value, index, lane);
        index = best < 0 ? k : best;
        value = weight[index];
        if (lane == 0) expert[k] = index;
    }
    if (slots < n && n <= TIED_MOST && value == value) {
        const int left = next_best(weight, n, value, index, lane);
        if (left >= 0 && weight[left] == value) choose_tied(expert, candidates[warp], weight, n, slots, value, lane);
    }
    __syncwarp();
    for (int k = 0; k < slots; k++) sum += weight[expert[k]];
    for (int k = lane; k < slots; k += GM_WARP) gate[k] = weight[expert[k]] / sum;
}

/* count and share of expert blockIdx.x: threads over the tokens in strides, then the threads in a fixed order. */
__global__ void __launch_bounds__(COUNTERS)
    count_expert(float *counts, float *shares, const float *weight, const int32_t *expert, int64_t tokens, int n, int slots) {
    const int mine = blockIdx.x;
    double count = 0, share = 0;
    for (int64_t i = threadIdx.x; i < tokens * slots; i += COUNTERS)
        if (expert[i] == mine) count += (double)weight[i / slots * n + mine], share += 1;
    count = gm_block_sum(count);
    share = gm_block_sum(share);
    if (threadIdx.x == 0) counts[mine] = (float)(count * slots), shares[mine] = (float)share;
}

static void check(const gm_route_args *a) {
    GM_CHECK(a->slots >= 1 && a->slots <= a->experts && a->experts < 1 << 16, "%lld of %lld experts", (long long)a->slots,
             (long long)a->experts);
}

extern "C" void gm_cuda_route_forward(gm_backend *backend, const gm_route_args *a) {
    const int n = (int)a->experts, slots = (int)a->slots;
    check(a);
    GM_LAUNCH(backend, route_forward, gm_parts(a->tokens, WARPS), THREADS, 0, a->weight, a->expert, a->gate, a->score, a->tokens, n, slots);
    GM_LAUNCH(backend, count_expert, a->experts, COUNTERS, 0, a->count, a->share, a->weight, a->expert, a->tokens, n, slots);
}

struct gradients { /* NULL: zero */
    const float *dgate, *dweight, *dcount;
};

/* What reaches one token's top-K through gates and counts. */
struct chosen {
    const int32_t *expert;
    const float *dgate, *dcount;
    int slots;
    float sum, along; /* Σ_topK π, Σ_k dgate_k g_k */
};

__device__ static float gradient_of(const chosen &c, int e, float from_losses) {
    for (int k = 0; k < c.slots; k++) {
        if (c.expert[k] != e) continue;
        if (c.dgate) from_losses += (c.dgate[k] - c.along) / c.sum;
        if (c.dcount) from_losses += (float)c.slots * c.dcount[e];
    }
    return from_losses;
}

__global__ void __launch_bounds__(THREADS) route_backward(float *dscores, const float *weights, const int32_t *experts, const float *gates,
                                                          gradients g, int64_t tokens, int n, int slots) {
    const int lane = threadIdx.x % GM_WARP;
    const int64_t token = (int64_t)blockIdx.x * WARPS + threadIdx.x / GM_WARP;
    if (token >= tokens) return;
    const float *weight = weights + token * n, *gate = gates + token * slots, *dweight = g.dweight ? g.dweight + token * n : NULL;
    chosen c = {experts + token * slots, g.dgate ? g.dgate + token * slots : NULL, g.dcount, slots, 0, 0};
    for (int k = 0; k < slots; k++) {
        c.sum += weight[c.expert[k]];
        if (c.dgate) c.along += c.dgate[k] * gate[k];
    }
    float along = 0;
    for (int e = lane; e < n; e += GM_WARP) along += weight[e] * gradient_of(c, e, dweight ? dweight[e] : 0);
    along = gm_warp_sum(along);
    for (int e = lane; e < n; e += GM_WARP) dscores[token * n + e] = weight[e] * (gradient_of(c, e, dweight ? dweight[e] : 0) - along);
}

extern "C" void gm_cuda_route_backward(gm_backend *backend, const gm_route_args *a) {
    check(a);
    const gradients g = {a->dgate, a->dweight, a->dcount};
    GM_LAUNCH(backend, route_backward, gm_parts(a->tokens, WARPS), THREADS, 0, a->dscore, a->weight, a->expert, a->gate, g, a->tokens,
              (int)a->experts, (int)a->slots);
}
