/* Rotary position embedding (Su et al. 2021), in place: in every head the pair (i, i + C/2) turns by the angle
 * position · frequency_i. Backward: the gradient turns back. */
#include "ops/ops.h"

typedef struct saved_rotate {
    gm_tensor *x;
    gm_rope_args args;
} saved_rotate;

static void rotate_backward(gm_step *step, const void *saved) {
    const saved_rotate *s = saved;
    if (!s->x->grad) return;
    gm_rope_args args = s->args;
    args.x = s->x->grad;
    args.type = s->x->grad_type;
    args.inverse = true;
    step->backend->kernels->rope(step->backend, &args);
}

void gm_rotate(gm_step *step, gm_tensor *x, const gm_rope *rope, const gm_layout *layout) {
    saved_rotate saved = {x,
                          {.x = x->data,
                           .positions = layout->positions,
                           .frequencies = rope->frequencies,
                           .amplitude = rope->amplitude,
                           .type = x->type,
                           .tokens = x->rows,
                           .heads = x->columns / rope->head_size,
                           .head_size = rope->head_size}};
    step->backend->kernels->rope(step->backend, &saved.args);
    if (x->needs_grad) gm_step_record(step, rotate_backward, &saved, sizeof saved, NULL, NULL);
}
