/* Linear router: score = x Wᵀ in f32, W: N×D (MixLoRA's, and GMoE's ablation without the graph).
 * Backward: dW += dscoreᵀ x, dx += dscore W. */
#include "ops/route.h"

typedef struct saved_router {
    gm_tensor *weight, *x;
    gm_routing *routing;
} saved_router;

static void router_backward(gm_step *step, const void *saved) {
    const saved_router *s = saved;
    const gm_kernels *kernels = step->backend->kernels;
    int64_t tokens = s->x->rows, size = s->x->columns, experts = s->weight->rows;
    size_t mark = gm_step_mark(step);
    float *dscore = gm_step_scratch(step, (size_t)(tokens * experts) * sizeof *dscore);
    gm_route_scores_backward(step, s->routing, dscore);
    const float *x = gm_step_as(step, s->x->data, s->x->type, GM_F32, tokens * size);
    kernels->gemm(
        step->backend,
        &(gm_gemm){
            .out = s->weight->grad, .a = dscore, .b = x, .m = experts, .n = size, .k = tokens, .transpose_a = true, .accumulate = true});
    if (s->x->needs_grad) {
        bool accumulate = gm_grad_begin(step, s->x);
        kernels->gemm(
            step->backend,
            &(gm_gemm){
                .out = s->x->grad, .a = dscore, .b = s->weight->data, .m = tokens, .n = size, .k = experts, .accumulate = accumulate});
    }
    gm_step_unscratch(step, mark);
}

gm_routing *gm_route_linear(gm_step *step, gm_tensor *weight, gm_tensor *x, int64_t slots, float *count, float *share) {
    GM_CHECK(weight->columns == x->columns, "a router of %lld columns for inputs of %lld", (long long)weight->columns,
             (long long)x->columns);
    int64_t tokens = x->rows;
    size_t mark = gm_step_mark(step);
    const float *input = gm_step_as(step, x->data, x->type, GM_F32, tokens * x->columns);
    float *score = gm_step_scratch(step, (size_t)(tokens * weight->rows) * sizeof *score);
    step->backend->kernels->gemm(
        step->backend,
        &(gm_gemm){.out = score, .a = input, .b = weight->data, .m = tokens, .n = weight->rows, .k = x->columns, .transpose_b = true});
    gm_routing *routing = gm_route(step, score, tokens, weight->rows, slots, count, share);
    gm_step_unscratch(step, mark);
    saved_router saved = {weight, x, routing};
    gm_step_record(step, router_backward, &saved, sizeof saved, routing->gate, routing->weight);
    return routing;
}
