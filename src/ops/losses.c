/* The losses on the router: Poisson distinction (method.md §3), Normal balance (§4) and Mixtral's load balance (§6).
 * A loss is the end of a path: its kernel computes value and gradients together, so nothing needs recording; the
 * gradients lie ready when the router's record runs backward. The kernels' files have the formulas. */
#include "ops/ops.h"

#include <stddef.h>

void gm_poisson_loss(gm_step *step, gm_routing *routing, gm_tensor *rate, gm_divergence divergence, gm_loss_scale scale, double *loss) {
    bool accumulate = step->training && gm_grad_begin(step, routing->weight);
    gm_poisson_args args = {.tokens = routing->weight->rows,
                            .experts = routing->experts,
                            .weight = routing->weight->data,
                            .rate = rate->data,
                            .divergence = divergence,
                            .loss = loss,
                            .loss_scale = scale.value,
                            .gradient_scale = scale.gradient,
                            .dweight = step->training ? routing->weight->grad : NULL,
                            .drate = step->training ? rate->grad : NULL,
                            .accumulate = accumulate};
    step->backend->kernels->poisson(step->backend, &args);
}

void gm_balance_loss(gm_step *step, gm_routing *routing, const float *share, const float *mean, gm_loss_scale scale, double *loss) {
    GM_CHECK(step->training, "the balance loss outside of training");
    bool accumulate = gm_grad_begin(step, routing->weight);
    gm_balance_args args = {.tokens = routing->weight->rows,
                            .experts = routing->experts,
                            .share = share,
                            .mean = mean,
                            .loss = loss,
                            .loss_scale = scale.value,
                            .gradient_scale = scale.gradient,
                            .dweight = routing->weight->grad,
                            .accumulate = accumulate};
    step->backend->kernels->balance(step->backend, &args);
}

void gm_normal_loss(gm_step *step, int64_t layers, int64_t experts, const float *count, float *dcount, gm_tensor *const *width,
                    gm_divergence divergence, bool joint, gm_normal_scale scale, double *loss) {
    const float **values = gm_arena_take(&step->host, (size_t)layers * sizeof *values);
    float **gradients = gm_arena_take(&step->host, (size_t)layers * sizeof *gradients);
    for (int64_t l = 0; l < layers; l++) values[l] = width[l]->data, gradients[l] = width[l]->grad;
    gm_normal_args args = {.layers = layers,
                           .experts = experts,
                           .count = count,
                           .width = values,
                           .divergence = divergence,
                           .joint = joint,
                           .loss = loss,
                           .loss_scale = scale.value,
                           .gradient_scale = scale.count,
                           .width_scale = scale.width,
                           .dcount = step->training ? dcount : NULL,
                           .dwidth = gradients};
    step->backend->kernels->normal(step->backend, &args);
}
