/* The graph router (method.md §2; Bai et al. 2024, eqs. 3-5): N expert nodes and the token's node exchange features
 * over a fixed graph Â, and each expert's last features are read out as its score. Always f32; where x is bf16, which has
 * fewer bits than TF32, products over tokens may take their factors in TF32 (a GPU's f32 ones would be a tenth of its step).
 *     t = silu(t0), t0 = W_t x;   E = silu(W_s X), or free features;   Y⁰ = [E; t]
 *     Yˡ = silu(Â Yˡ⁻¹ C_lᵀ), l = 1..L;   score_i = p · Y^L_i, i = 1..N
 * Here: the two projections and their gradients, by matrix products over all tokens. The layers run in the kernel
 * router_graph, block by block of tokens (its file has the algebra). Saved: x, t0 (T×G), Z^L (T×N×G), E (N×G) and W_s X.
 * Backward: dW_t += dt0ᵀ x,  dx += dt0 W_t,  dW_s += (dE ∘ silu'(W_s X))ᵀ X. */
#include "ops/route.h"

typedef struct saved_router {
    const gm_router_graph *router;
    gm_tensor *x;
    gm_routing *routing;
    float *token, *structure, *features; /* T×G: t0;  N×G: W_s X;  N×G: E */
    float *last;                         /* T×N×G: Z^L, or NULL           */
} saved_router;

static gm_router_graph_args kernel_args(const saved_router *s) {
    const gm_router_graph *router = s->router;
    gm_router_graph_args args = {.tokens = s->x->rows,
                                 .experts = router->experts,
                                 .size = router->size,
                                 .layers = router->layers,
                                 .tf32 = s->x->type == GM_BF16,
                                 .adjacency = router->adjacency,
                                 .features = s->features,
                                 .token = s->token,
                                 .last = s->last,
                                 .readout = router->readout->data};
    for (int64_t l = 0; l < router->layers; l++) args.conv[l] = router->conv[l]->data;
    return args;
}

static void features_backward(gm_step *step, const saved_router *s, float *dfeatures) {
    const gm_router_graph *router = s->router;
    const gm_kernels *kernels = step->backend->kernels;
    int64_t count = router->experts * router->size;
    if (router->features) {
        kernels->add(step->backend, router->features->grad, dfeatures, GM_F32, count);
        return;
    }
    kernels->silu_backward(step->backend, dfeatures, dfeatures, s->structure, count);
    kernels->gemm(step->backend, &(gm_gemm){.out = router->structure->grad,
                                            .a = dfeatures,
                                            .b = router->nodes->data,
                                            .m = router->size,
                                            .n = router->nodes->columns,
                                            .k = router->experts,
                                            .transpose_a = true,
                                            .accumulate = true});
}

static void router_backward(gm_step *step, const void *saved) {
    const saved_router *s = saved;
    const gm_router_graph *router = s->router;
    const gm_kernels *kernels = step->backend->kernels;
    int64_t tokens = s->x->rows, width = s->x->columns, size = router->size;
    size_t mark = gm_step_mark(step);
    float *dscore = gm_step_scratch(step, (size_t)(tokens * router->experts) * sizeof *dscore);
    gm_route_scores_backward(step, s->routing, dscore);
    gm_router_graph_args args = kernel_args(s);
    args.dscore = dscore;
    args.dtoken = gm_step_scratch(step, (size_t)(tokens * size) * sizeof(float));
    args.dfeatures = gm_step_scratch(step, (size_t)(router->experts * size) * sizeof(float));
    args.dreadout = router->readout->grad;
    for (int64_t l = 0; l < router->layers; l++) args.dconv[l] = router->conv[l]->grad;
    kernels->router_graph_backward(step->backend, &args);
    const float *x = gm_step_as(step, s->x->data, s->x->type, GM_F32, tokens * width);
    kernels->gemm(step->backend, &(gm_gemm){.out = router->token->grad,
                                            .a = args.dtoken,
                                            .b = x,
                                            .m = size,
                                            .n = width,
                                            .k = tokens,
                                            .transpose_a = true,
                                            .accumulate = true,
                                            .tf32 = args.tf32});
    if (s->x->needs_grad) {
        bool accumulate = gm_grad_begin(step, s->x);
        kernels->gemm(step->backend, &(gm_gemm){.out = s->x->grad,
                                                .a = args.dtoken,
                                                .b = router->token->data,
                                                .m = tokens,
                                                .n = width,
                                                .k = size,
                                                .accumulate = accumulate,
                                                .tf32 = args.tf32});
    }
    features_backward(step, s, args.dfeatures);
    gm_step_unscratch(step, mark);
}

static void expert_features(gm_step *step, const gm_router_graph *router, saved_router *saved) {
    const gm_kernels *kernels = step->backend->kernels;
    if (router->features) {
        saved->features = router->features->data;
        return;
    }
    int64_t count = router->experts * router->size;
    saved->structure = gm_step_memory(step, (size_t)count * sizeof(float));
    saved->features = gm_step_memory(step, (size_t)count * sizeof(float));
    kernels->gemm(step->backend, &(gm_gemm){.out = saved->structure,
                                            .a = router->nodes->data,
                                            .b = router->structure->data,
                                            .m = router->experts,
                                            .n = router->size,
                                            .k = router->nodes->columns,
                                            .transpose_b = true});
    kernels->silu_forward(step->backend, saved->features, saved->structure, count);
}

gm_routing *gm_route_graph(gm_step *step, const gm_router_graph *router, gm_tensor *x, int64_t slots, float *count, float *share) {
    const gm_kernels *kernels = step->backend->kernels;
    int64_t tokens = x->rows;
    saved_router saved = {.router = router, .x = x, .token = gm_step_memory(step, (size_t)(tokens * router->size) * sizeof(float))};
    if (step->training && router->layers > 1)
        saved.last = gm_step_memory(step, (size_t)(tokens * router->experts * router->size) * sizeof(float));
    expert_features(step, router, &saved);
    size_t mark = gm_step_mark(step);
    const float *input = gm_step_as(step, x->data, x->type, GM_F32, tokens * x->columns);
    kernels->gemm(step->backend, &(gm_gemm){.out = saved.token,
                                            .a = input,
                                            .b = router->token->data,
                                            .m = tokens,
                                            .n = router->size,
                                            .k = x->columns,
                                            .transpose_b = true,
                                            .tf32 = x->type == GM_BF16});
    float *score = gm_step_scratch(step, (size_t)(tokens * router->experts) * sizeof *score);
    gm_router_graph_args args = kernel_args(&saved);
    args.score = score;
    kernels->router_graph_forward(step->backend, &args);
    saved.routing = gm_route(step, score, tokens, router->experts, slots, count, share);
    gm_step_unscratch(step, mark);
    gm_step_record(step, router_backward, &saved, sizeof saved, saved.routing->gate, saved.routing->weight);
    return saved.routing;
}
