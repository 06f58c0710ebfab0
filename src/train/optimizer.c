/* Parameters, gradients and moments are flat, so that a step is one pass over them; LoRA+ cuts the pass into runs.
 * Clipping is torch.nn.utils.clip_grad_norm_'s: factor max / (norm + 1e-6) where that is below 1. */
#include "train/optimizer.h"

#include <math.h>

typedef struct gm_update {
    const gm_optimizer *optimizer;
    const gm_adapter_buffers *buffers;
    gm_backend *backend;
    int64_t step;
    double learning_rate;
    float gradient_scale;
} gm_update;

static void update_run(void *context, int64_t begin, int64_t count, bool is_b) {
    const gm_update *update = context;
    const gm_optimizer *o = update->optimizer;
    const gm_adapter_buffers *b = update->buffers;
    gm_adamw_args args = {.parameter = b->value + begin,
                          .moment1 = b->moment1 + begin,
                          .moment2 = b->moment2 + begin,
                          .gradient = b->gradient + begin,
                          .count = count,
                          .learning_rate = update->learning_rate * (is_b ? o->lora_plus_ratio : 1),
                          .beta1 = o->beta1,
                          .beta2 = o->beta2,
                          .eps = o->eps,
                          .weight_decay = o->weight_decay,
                          .gradient_scale = update->gradient_scale,
                          .step = update->step};
    update->backend->kernels->adamw(update->backend, &args);
}

double gm_optimizer_grad_norm(const gm_adapter *adapter, gm_backend *backend) {
    const gm_adapter_buffers *buffers = gm_adapter_buffers_of(adapter);
    double squares = 0;
    backend->kernels->sum_squares(backend, &squares, buffers->gradient, buffers->count);
    return sqrt(squares);
}

void gm_optimizer_step(const gm_optimizer *optimizer, gm_adapter *adapter, gm_backend *backend, int64_t step, double learning_rate,
                       double grad_norm) {
    double scale = optimizer->max_grad_norm > 0 ? optimizer->max_grad_norm / (grad_norm + 1e-6) : 1;
    gm_update update = {.optimizer = optimizer,
                        .buffers = gm_adapter_buffers_of(adapter),
                        .backend = backend,
                        .step = step,
                        .learning_rate = learning_rate,
                        .gradient_scale = (float)(scale < 1 ? scale : 1)};
    if (optimizer->lora_plus_ratio == 1)
        update_run(&update, 0, update.buffers->count, false);
    else
        gm_adapter_each_group(adapter, update_run, &update);
}
