#include "ops/lora.h"

gm_tensor *gm_residual_sum(gm_step *step, gm_tensor *residual) {
    GM_CHECK(residual->type == GM_F32, "the residual stream is f32");
    return step->training ? gm_step_tensor(step, GM_F32, residual->rows, residual->columns) : residual;
}

void gm_apply_weight(gm_step *step, void *y, gm_type y_type, const void *x, const gm_tensor *weight, int64_t tokens, const void *addend) {
    step->backend->kernels->gemm(step->backend, &(gm_gemm){.out = y,
                                                           .a = x,
                                                           .b = weight->data,
                                                           .addend = addend,
                                                           .m = tokens,
                                                           .n = weight->rows,
                                                           .k = weight->columns,
                                                           .type = step->type,
                                                           .narrow_b = gm_is_narrow(step, weight),
                                                           .out_type = y_type,
                                                           .transpose_b = true});
}

void gm_apply_weight_transposed(gm_step *step, gm_tensor *x, const void *dy, const gm_tensor *weight) {
    if (!x->needs_grad) return;
    bool accumulate = gm_grad_begin(step, x);
    step->backend->kernels->gemm(step->backend, &(gm_gemm){.out = x->grad,
                                                           .a = dy,
                                                           .b = weight->data,
                                                           .m = x->rows,
                                                           .n = weight->columns,
                                                           .k = weight->rows,
                                                           .type = step->type,
                                                           .narrow_b = gm_is_narrow(step, weight),
                                                           .out_type = x->grad_type,
                                                           .accumulate = accumulate});
}

/* mask ∘ x: x itself without dropout, else in scratch */
static const void *dropped(gm_step *step, const gm_tensor *x, const gm_dropout *dropout) {
    if (dropout->rate == 0) return x->data;
    void *out = gm_step_scratch(step, gm_tensor_bytes(x));
    step->backend->kernels->dropout(
        step->backend,
        &(gm_dropout_args){
            .out = out, .in = x->data, .out_type = x->type, .in_type = x->type, .count = x->rows * x->columns, .dropout = *dropout});
    return out;
}

void gm_lora_down(gm_step *step, float *u, int64_t u_stride, const gm_tensor *x, const gm_tensor *a, const gm_dropout *dropout) {
    size_t mark = gm_step_mark(step);
    const void *in = dropped(step, x, dropout), *a_act = gm_step_as(step, a->data, GM_F32, x->type, a->rows * a->columns);
    step->backend->kernels->gemm(step->backend, &(gm_gemm){.out = u,
                                                           .a = in,
                                                           .b = a_act,
                                                           .m = x->rows,
                                                           .n = a->rows,
                                                           .k = a->columns,
                                                           .type = x->type,
                                                           .out_type = GM_F32,
                                                           .transpose_b = true,
                                                           .out_stride = u_stride});
    gm_step_unscratch(step, mark);
}

/* dx += mask ∘ du A */
static void input_gradient(gm_step *step, gm_tensor *x, const gm_tensor *a, const void *du, int64_t du_stride, const gm_dropout *dropout) {
    const gm_kernels *kernels = step->backend->kernels;
    bool accumulate = gm_grad_begin(step, x), direct = dropout->rate == 0;
    void *product = direct ? x->grad : gm_step_scratch(step, (size_t)(x->rows * x->columns) * sizeof(float));
    const void *a_act = gm_step_as(step, a->data, GM_F32, x->type, a->rows * a->columns);
    kernels->gemm(step->backend, &(gm_gemm){.out = product,
                                            .a = du,
                                            .b = a_act,
                                            .m = x->rows,
                                            .n = a->columns,
                                            .k = a->rows,
                                            .type = x->type,
                                            .out_type = direct ? x->grad_type : GM_F32,
                                            .accumulate = direct && accumulate,
                                            .a_stride = du_stride});
    if (direct) return;
    kernels->dropout(step->backend, &(gm_dropout_args){.out = x->grad,
                                                       .in = product,
                                                       .out_type = x->grad_type,
                                                       .in_type = GM_F32,
                                                       .count = x->rows * x->columns,
                                                       .accumulate = accumulate,
                                                       .dropout = *dropout});
}

void gm_lora_down_backward(gm_step *step, gm_tensor *x, gm_tensor *a, const float *du, int64_t du_stride, const gm_dropout *dropout) {
    size_t mark = gm_step_mark(step);
    const void *du_act = gm_step_as(step, du, GM_F32, x->type, (x->rows - 1) * du_stride + a->rows);
    step->backend->kernels->gemm(step->backend, &(gm_gemm){.out = a->grad,
                                                           .a = du_act,
                                                           .b = dropped(step, x, dropout),
                                                           .m = a->rows,
                                                           .n = a->columns,
                                                           .k = x->rows,
                                                           .type = x->type,
                                                           .out_type = GM_F32,
                                                           .transpose_a = true,
                                                           .accumulate = true,
                                                           .a_stride = du_stride});
    if (x->needs_grad) input_gradient(step, x, a, du_act, du_stride, dropout);
    gm_step_unscratch(step, mark);
}
