/* Linear layer with LoRA (Hu et al. 2021): y = W x + bias + B (s u),  u = A x̃.      x: T×I act   W: O×I   u: T×R f32
 * x̃ is x after dropout. Saved: x, s·u, dropout's key. W and bias are frozen.
 * Backward: du = s dy B,  dA += duᵀ x̃,  dB += dyᵀ (s u),  dx += dy W + mask ∘ du A.
 * Small ranks without dropout have a kernel of their own; products as thin as that wait for memory (kernels/lora.c). */
#include "ops/lora.h"

typedef struct saved_linear {
    const gm_linear *linear;
    gm_tensor *x, *y, *residual;
    float *u; /* T×R: s·u */
    gm_dropout dropout;
} saved_linear;

static bool has_kernel(const gm_linear *linear, const gm_dropout *dropout) { return linear->a->rows <= GM_LORA_RANK && dropout->rate == 0; }

static gm_lora_args kernel_args(const gm_linear *linear, const gm_tensor *x, float *u) {
    return (gm_lora_args){.tokens = x->rows,
                          .inputs = linear->a->columns,
                          .outputs = linear->b->columns,
                          .rank = linear->a->rows,
                          .scale = linear->scale,
                          .type = x->type,
                          .x = x->data,
                          .a = linear->a->data,
                          .b = linear->b->data,
                          .u = u};
}

static void products_backward(gm_step *step, const saved_linear *s, const void *dy) {
    const gm_linear *linear = s->linear;
    const gm_kernels *kernels = step->backend->kernels;
    int64_t tokens = s->x->rows, rank = linear->a->rows, outputs = linear->b->columns;
    gm_type type = s->x->type;
    const void *u_act = gm_step_as(step, s->u, GM_F32, type, tokens * rank);
    kernels->gemm(step->backend, &(gm_gemm){.out = linear->b->grad,
                                            .a = u_act,
                                            .b = dy,
                                            .m = rank,
                                            .n = outputs,
                                            .k = tokens,
                                            .type = type,
                                            .out_type = GM_F32,
                                            .transpose_a = true,
                                            .accumulate = true});
    float *du = gm_step_scratch(step, (size_t)(tokens * rank) * sizeof *du);
    const void *b_act = gm_step_as(step, linear->b->data, GM_F32, type, rank * outputs);
    kernels->gemm(
        step->backend,
        &(gm_gemm){
            .out = du, .a = dy, .b = b_act, .m = tokens, .n = rank, .k = outputs, .type = type, .out_type = GM_F32, .transpose_b = true});
    kernels->scale(step->backend, du, linear->scale, tokens * rank);
    gm_lora_down_backward(step, s->x, linear->a, du, rank, &s->dropout);
}

static void branch_backward(gm_step *step, const saved_linear *s, const void *dy) {
    const gm_linear *linear = s->linear;
    if (!has_kernel(linear, &s->dropout)) {
        products_backward(step, s, dy);
        return;
    }
    gm_lora_args args = kernel_args(linear, s->x, s->u);
    args.dy = dy, args.da = linear->a->grad, args.db = linear->b->grad;
    if (s->x->needs_grad) args.dx = s->x->grad, args.dx_type = s->x->grad_type; /* dy W is there already */
    step->backend->kernels->lora_backward(step->backend, &args);
}

static void linear_backward(gm_step *step, const void *saved) {
    const saved_linear *s = saved;
    size_t mark = gm_step_mark(step);
    const void *dy = gm_step_as(step, s->y->grad, s->y->grad_type, s->x->type, s->y->rows * s->y->columns);
    gm_apply_weight_transposed(step, s->x, dy, &s->linear->weight);
    if (s->linear->a) branch_backward(step, s, dy);
    gm_step_unscratch(step, mark);
    if (s->residual && s->residual->needs_grad) gm_grad_pass(step, s->y, s->residual);
}

static void products_forward(gm_step *step, const gm_linear *linear, const gm_tensor *x, float *u, gm_tensor *y,
                             const gm_dropout *dropout) {
    const gm_kernels *kernels = step->backend->kernels;
    int64_t count = x->rows * linear->a->rows;
    gm_lora_down(step, u, 0, x, linear->a, dropout);
    kernels->scale(step->backend, u, linear->scale, count);
    size_t mark = gm_step_mark(step);
    const void *u_act = gm_step_as(step, u, GM_F32, x->type, count);
    const void *b_act = gm_step_as(step, linear->b->data, GM_F32, x->type, linear->b->rows * linear->b->columns);
    kernels->gemm(step->backend, &(gm_gemm){.out = y->data,
                                            .a = u_act,
                                            .b = b_act,
                                            .m = x->rows,
                                            .n = y->columns,
                                            .k = linear->a->rows,
                                            .type = x->type,
                                            .out_type = y->type,
                                            .accumulate = true});
    gm_step_unscratch(step, mark);
}

static float *branch_forward(gm_step *step, const gm_linear *linear, const gm_tensor *x, gm_tensor *y, const gm_dropout *dropout) {
    float *u = gm_step_memory(step, (size_t)(x->rows * linear->a->rows) * sizeof *u);
    if (has_kernel(linear, dropout)) {
        gm_lora_args args = kernel_args(linear, x, u);
        args.y = y->data, args.y_type = y->type;
        step->backend->kernels->lora_forward(step->backend, &args);
    } else {
        products_forward(step, linear, x, u, y, dropout);
    }
    return u;
}

gm_tensor *gm_lora_linear(gm_step *step, const gm_linear *linear, gm_tensor *x, gm_tensor *residual) {
    GM_CHECK(x->columns == linear->weight.columns && x->type == step->type, "input of %lld for a weight of %lld columns",
             (long long)x->columns, (long long)linear->weight.columns);
    gm_tensor *y = residual ? gm_residual_sum(step, residual) : gm_step_tensor(step, step->type, x->rows, linear->weight.rows);
    gm_apply_weight(step, y->data, y->type, x->data, &linear->weight, x->rows, residual ? residual->data : NULL);
    if (linear->bias.data)
        step->backend->kernels->add_rows(step->backend, y->data, y->type, linear->bias.data, linear->bias.type, y->rows, y->columns);
    saved_linear saved = {.linear = linear, .x = x, .y = y, .residual = residual};
    if (linear->a) {
        saved.dropout = gm_step_next_dropout(step);
        saved.u = branch_forward(step, linear, x, y, &saved.dropout);
    }
    if (linear->a || x->needs_grad || (residual && residual->needs_grad))
        gm_step_record(step, linear_backward, &saved, sizeof saved, y, NULL);
    return y;
}
