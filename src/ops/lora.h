/* The two products of a LoRA branch and their gradients, shared by the linear layer and the expert FFN. */
#ifndef GM_OPS_LORA_H
#define GM_OPS_LORA_H

#include "ops/ops.h"

/* The tensor that residual + a branch goes to. Outside training it is the residual itself, which nothing needs again. */
gm_tensor *gm_residual_sum(gm_step *step, gm_tensor *residual);

/* y (T×O of y_type) = x Wᵀ, or addend + x Wᵀ, which may be y */
void gm_apply_weight(gm_step *step, void *y, gm_type y_type, const void *x, const gm_tensor *weight, int64_t tokens, const void *addend);
/* dx (gradient of x) += dy W; dy: T×O of the weight's type */
void gm_apply_weight_transposed(gm_step *step, gm_tensor *x, const void *dy, const gm_tensor *weight);

/* u (T×R f32, row stride u_stride) = (mask ∘ x) Aᵀ; the mask is dropout's */
void gm_lora_down(gm_step *step, float *u, int64_t u_stride, const gm_tensor *x, const gm_tensor *a, const gm_dropout *dropout);
/* dA += duᵀ (mask ∘ x),  dx += mask ∘ du A;  du: T×R f32 contiguous in rows of du_stride */
void gm_lora_down_backward(gm_step *step, gm_tensor *x, gm_tensor *a, const float *du, int64_t du_stride, const gm_dropout *dropout);

#endif
