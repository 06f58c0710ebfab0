/* Causal attention over packed sequences (Vaswani et al. 2017, eq. 1; packing and log-sums after Dao 2023):
 * out = softmax(q kᵀ / √C) v within each sequence; H query heads share Hkv key/value heads in groups of H/Hkv.
 * Saved: q, k, v, out and the log-sum of each query's scores, from which backward recomputes the probabilities. */
#include "ops/ops.h"

#include <math.h>

typedef struct saved_attention {
    gm_tensor *q, *k, *v, *out;
    gm_attention_args args;
} saved_attention;

static void attention_backward(gm_step *step, const void *saved) {
    const saved_attention *s = saved;
    gm_attention_args args = s->args;
    bool q_used = gm_grad_begin(step, s->q), k_used = gm_grad_begin(step, s->k), v_used = gm_grad_begin(step, s->v);
    GM_CHECK(!q_used && !k_used && !v_used, "attention is the only use of q, k, v");
    args.dq = s->q->grad, args.dk = s->k->grad, args.dv = s->v->grad;
    args.dout = s->out->grad;
    step->backend->kernels->attention_backward(step->backend, &args);
}

gm_tensor *gm_attention(gm_step *step, gm_tensor *q, gm_tensor *k, gm_tensor *v, const gm_layout *layout, int64_t head_size,
                        int64_t window) {
    GM_CHECK_SHAPE(v, k->rows, k->columns);
    GM_CHECK(!layout->prefix || !step->training, "attention with prefixes has no gradient");
    gm_tensor *out = gm_step_tensor(step, q->type, q->rows, q->columns);
    int64_t heads = q->columns / head_size;
    saved_attention saved = {q,
                             k,
                             v,
                             out,
                             {.out = out->data,
                              .log_sum = gm_step_memory(step, (size_t)(q->rows * heads) * sizeof(float)),
                              .q = q->data,
                              .k = k->data,
                              .v = v->data,
                              .starts = layout->starts,
                              .prefix = layout->prefix,
                              .type = q->type,
                              .tokens = layout->tokens,
                              .sequences = layout->sequences,
                              .heads = heads,
                              .kv_heads = k->columns / head_size,
                              .head_size = head_size,
                              .window = window,
                              .scale = 1.0f / sqrtf((float)head_size)}};
    step->backend->kernels->attention_forward(step->backend, &saved.args);
    if (q->needs_grad || k->needs_grad || v->needs_grad) gm_step_record(step, attention_backward, &saved, sizeof saved, out, NULL);
    return out;
}
