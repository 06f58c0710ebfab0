/* Feed-forward layer with N LoRA experts that share the frozen W1 (gate), W3 (up), W2 (down); method.md §1.
 * Slot k of a token is expert e with gate g. Frozen products run once a token, whatever K is, since W2 is linear:
 *     h1 = W1 x,  h3 = W3 x,  u = [A1 x; A3 x] of all experts
 *     h1_k = h1 + s B1_e u1_e,  h3_k alike,  a_k = silu(h1_k) ∘ h3_k,  u2_k = A2_e a_k
 *     y = residual + W2 Σ_k g_k a_k + Σ_k g_k s B2_e u2_k
 * Saved: x, h1, h3 (T×F act), u (T×2NR), u2 (T×KR). Per-slot values are recomputed in backward, in which
 *     dz = W2ᵀ dy,  w_k = B2_eᵀ dy,  dg_k = ⟨a_k, dz⟩ + s ⟨u2_k, w_k⟩        (expert outputs are never needed)
 *     da_k = g_k (dz + s A2_eᵀ w_k),  dh3_k = da_k ∘ silu(h1_k),  dh1_k = da_k ∘ h3_k ∘ silu'(h1_k)
 *     dx = W1ᵀ Σ dh1_k + W3ᵀ Σ dh3_k + Aᵀ du,  du1_e = s B1_eᵀ dh1_k,  dA += duᵀ x
 *     dB1_e += s dh1_k u1_eᵀ,  dA2_e += g_k s w_k a_kᵀ,  dB2_e += g_k s dy u2_kᵀ
 * Dropout, where there is one, is on x on its way into A1 and A3 of all experts, and on a_k on its way into A2.
 * The plain FFN and plain LoRA are the case of one expert with weight 1. */
#include "ops/lora.h"

typedef struct saved_ffn {
    const gm_expert_ffn *ffn;
    gm_tensor *x, *y, *residual;
    gm_routing *routing;
    gm_dropout dropout; /* of x */
    gm_expert_ffn_args args;
} saved_ffn;

static gm_expert_lora site(const gm_tensor *a, const gm_tensor *b) {
    return a ? (gm_expert_lora){a->data, b->data, a->grad, b->grad} : (gm_expert_lora){0};
}

/* A1 and A3 over all experts are one product where they lie side by side in the adapter's memory. */
static bool side_by_side(const gm_expert_ffn *ffn) {
    return ffn->a1 && ffn->a3 && (const float *)ffn->a3->data == (const float *)ffn->a1->data + ffn->a1->rows * ffn->a1->columns;
}

static gm_tensor both_down(const gm_expert_ffn *ffn) {
    gm_tensor both = *ffn->a1;
    both.rows *= 2;
    return both;
}

static void down_forward(gm_step *step, const gm_expert_ffn *ffn, const gm_tensor *x, float *u, const gm_dropout *dropout) {
    int64_t half = ffn->experts * ffn->rank;
    if (side_by_side(ffn)) {
        gm_tensor both = both_down(ffn);
        gm_lora_down(step, u, 0, x, &both, dropout);
        return;
    }
    if (ffn->a1) gm_lora_down(step, u, 2 * half, x, ffn->a1, dropout);
    if (ffn->a3) gm_lora_down(step, u + half, 2 * half, x, ffn->a3, dropout);
}

static void down_backward(gm_step *step, const gm_expert_ffn *ffn, gm_tensor *x, const float *du, const gm_dropout *dropout) {
    int64_t half = ffn->experts * ffn->rank;
    if (side_by_side(ffn)) {
        gm_tensor both = both_down(ffn);
        gm_lora_down_backward(step, x, &both, du, 2 * half, dropout);
        return;
    }
    if (ffn->a1) gm_lora_down_backward(step, x, ffn->a1, du, 2 * half, dropout);
    if (ffn->a3) gm_lora_down_backward(step, x, ffn->a3, du + half, 2 * half, dropout);
}

static void ffn_backward(gm_step *step, const void *saved) {
    const saved_ffn *s = saved;
    const gm_expert_ffn *ffn = s->ffn;
    gm_expert_ffn_args args = s->args;
    int64_t tokens = args.tokens;
    size_t mark = gm_step_mark(step);
    const void *dy = gm_step_as(step, s->y->grad, GM_F32, s->x->type, tokens * args.hidden);
    void *dz = gm_step_scratch(step, (size_t)(tokens * args.ffn) * gm_type_size(args.type));
    step->backend->kernels->gemm(step->backend, &(gm_gemm){.out = dz,
                                                           .a = dy,
                                                           .b = ffn->w2.data,
                                                           .m = tokens,
                                                           .n = args.ffn,
                                                           .k = args.hidden,
                                                           .type = args.type,
                                                           .out_type = args.type,
                                                           .narrow_b = gm_is_narrow(step, &ffn->w2)});
    args.dz = dz;
    args.dy = s->y->grad;
    if (ffn->a1 || ffn->a3) args.du = gm_step_scratch(step, (size_t)(tokens * 2 * ffn->experts * ffn->rank) * sizeof(float));
    if (s->routing) {
        bool used = gm_grad_begin(step, s->routing->gate);
        GM_CHECK(!used, "the gates have one use");
        args.dgate = s->routing->gate->grad;
    }
    step->backend->kernels->expert_ffn_backward(step->backend, &args);
    gm_apply_weight_transposed(step, s->x, args.h1, &ffn->w1);
    gm_apply_weight_transposed(step, s->x, args.h3, &ffn->w3);
    if (args.du) down_backward(step, ffn, s->x, args.du, &s->dropout);
    gm_step_unscratch(step, mark);
    if (s->residual->needs_grad) gm_grad_pass(step, s->y, s->residual);
}

static void frozen_hidden(gm_step *step, const gm_tensor *x, const gm_tensor *weight, const gm_tensor *bias, gm_tensor *h) {
    gm_apply_weight(step, h->data, h->type, x->data, weight, x->rows, NULL);
    if (bias->data) step->backend->kernels->add_rows(step->backend, h->data, h->type, bias->data, bias->type, h->rows, h->columns);
}

gm_tensor *gm_expert_ffn_op(gm_step *step, const gm_expert_ffn *ffn, gm_tensor *x, gm_routing *routing, gm_tensor *residual) {
    const gm_kernels *kernels = step->backend->kernels;
    int64_t tokens = x->rows, hidden = x->columns, size = ffn->w1.rows, slots = routing ? routing->slots : 1;
    GM_CHECK_SHAPE(&ffn->w3, size, hidden);
    GM_CHECK_SHAPE(&ffn->w2, hidden, size);
    GM_CHECK_SHAPE(residual, tokens, hidden);
    GM_CHECK(routing || ffn->experts == 1, "%lld experts without a router", (long long)ffn->experts);
    gm_tensor *y = gm_residual_sum(step, residual);
    gm_tensor *h1 = gm_step_tensor(step, x->type, tokens, size), *h3 = gm_step_tensor(step, x->type, tokens, size);
    frozen_hidden(step, x, &ffn->w1, &ffn->bias1, h1);
    frozen_hidden(step, x, &ffn->w3, &ffn->bias3, h3);
    saved_ffn saved = {ffn,
                       x,
                       y,
                       residual,
                       routing,
                       gm_step_next_dropout(step),
                       {.tokens = tokens,
                        .hidden = hidden,
                        .ffn = size,
                        .experts = ffn->experts,
                        .slots = slots,
                        .rank = ffn->rank,
                        .scale = ffn->scale,
                        .type = x->type,
                        .h1 = h1->data,
                        .h3 = h3->data,
                        .w1 = site(ffn->a1, ffn->b1),
                        .w3 = site(ffn->a3, ffn->b3),
                        .w2 = site(ffn->a2, ffn->b2),
                        .dropout = gm_step_next_dropout(step)}};
    gm_expert_ffn_args *args = &saved.args;
    if (routing) args->expert = routing->expert, args->gate = routing->gate->data;
    if (ffn->a1 || ffn->a3) {
        float *u = gm_step_memory(step, (size_t)(tokens * 2 * ffn->experts * ffn->rank) * sizeof *u);
        down_forward(step, ffn, x, u, &saved.dropout);
        args->u = u;
    }
    if (ffn->a2) args->u2 = gm_step_memory(step, (size_t)(tokens * slots * ffn->rank) * sizeof(float));
    args->y = y->data;
    size_t mark = gm_step_mark(step);
    args->z = gm_step_scratch(step, (size_t)(tokens * size) * gm_type_size(x->type));
    kernels->expert_ffn_forward(step->backend, args);
    gm_apply_weight(step, y->data, GM_F32, args->z, &ffn->w2, tokens, residual->data);
    if (ffn->bias2.data) kernels->add_rows(step->backend, y->data, GM_F32, ffn->bias2.data, ffn->bias2.type, tokens, hidden);
    gm_step_unscratch(step, mark);
    args->z = NULL;
    if (ffn->a2) kernels->expert_ffn_output(step->backend, args);
    if (ffn->a1 || ffn->a2 || ffn->a3 || routing || x->needs_grad || residual->needs_grad)
        gm_step_record(step, ffn_backward, &saved, sizeof saved, y, NULL);
    return y;
}
