/* RMSNorm: y = x · inv_rms ∘ w,  inv_rms = 1 / sqrt(mean(x²) + eps)      (Zhang & Sennrich 2019, eq. 4)
 * x: rows of w's size; y: act. Saved: inv_rms. w is frozen in every method: dw is not computed.
 * Backward: dx = inv_rms · (w∘dy − x · inv_rms² · mean(x∘w∘dy)). */
#include "ops/ops.h"

typedef struct saved_rmsnorm {
    gm_tensor *x, *y;
    gm_rmsnorm_args args;
} saved_rmsnorm;

static void rmsnorm_backward(gm_step *step, const void *saved) {
    const saved_rmsnorm *s = saved;
    if (!s->x->needs_grad) return;
    gm_rmsnorm_args args = s->args;
    args.accumulate = gm_grad_begin(step, s->x);
    args.dx = s->x->grad;
    args.dy = s->y->grad;
    args.dy_type = s->y->grad_type;
    step->backend->kernels->rmsnorm_backward(step->backend, &args);
}

gm_tensor *gm_rmsnorm(gm_step *step, gm_tensor *x, const gm_tensor *w, float eps) {
    GM_CHECK(x->columns % w->columns == 0, "rows of %lld are not made of %lld", (long long)x->columns, (long long)w->columns);
    int64_t rows = x->rows * (x->columns / w->columns);
    gm_tensor *y = gm_step_tensor(step, step->type, x->rows, x->columns);
    y->grad_type = x->type; /* what is normalised again (queries, keys) stays act; the residual stream's is f32 */
    saved_rmsnorm saved = {x,
                           y,
                           {.y = y->data,
                            .inv_rms = gm_step_memory(step, (size_t)rows * sizeof(float)),
                            .x = x->data,
                            .w = w->data,
                            .x_type = x->type,
                            .y_type = y->type,
                            .w_type = w->type,
                            .rows = rows,
                            .columns = w->columns,
                            .eps = eps}};
    step->backend->kernels->rmsnorm_forward(step->backend, &saved.args);
    if (x->needs_grad) gm_step_record(step, rmsnorm_backward, &saved, sizeof saved, y, NULL);
    return y;
}
