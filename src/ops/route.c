/* π = softmax(score), top-K by π (ties: as torch.topk, backend/top_k.h), g = π / Σ_topK π; method.md §2. Always f32.
 * Backward: dπ_e += (dg_e − Σ_j g_j dg_j) / Σ_topK π for the chosen, dπ_e += K dcount_e for the chosen,
 * dscore = π ∘ (dπ − ⟨π, dπ⟩). */
#include "ops/route.h"

gm_routing *gm_route(gm_step *step, const float *score, int64_t tokens, int64_t experts, int64_t slots, float *count, float *share) {
    GM_CHECK(slots >= 1 && slots <= experts, "top-%lld of %lld experts", (long long)slots, (long long)experts);
    gm_routing *routing = gm_arena_take(&step->host, sizeof *routing);
    int32_t *expert = gm_step_memory(step, (size_t)(tokens * slots) * sizeof *expert);
    *routing = (gm_routing){.weight = gm_step_tensor(step, GM_F32, tokens, experts),
                            .gate = gm_step_tensor(step, GM_F32, tokens, slots),
                            .expert = expert,
                            .count = count,
                            .share = share,
                            .experts = experts,
                            .slots = slots};
    gm_route_args args = {.tokens = tokens,
                          .experts = experts,
                          .slots = slots,
                          .score = score,
                          .weight = routing->weight->data,
                          .expert = expert,
                          .gate = routing->gate->data,
                          .count = count,
                          .share = share};
    step->backend->kernels->route_forward(step->backend, &args);
    return routing;
}

void gm_route_scores_backward(gm_step *step, const gm_routing *routing, float *dscore) {
    gm_route_args args = {.tokens = routing->weight->rows,
                          .experts = routing->experts,
                          .slots = routing->slots,
                          .weight = routing->weight->data,
                          .expert = (int32_t *)routing->expert,
                          .gate = routing->gate->data,
                          .dgate = routing->gate->grad,
                          .dweight = routing->weight->grad,
                          .dcount = routing->dcount,
                          .dscore = dscore};
    step->backend->kernels->route_backward(step->backend, &args);
}
