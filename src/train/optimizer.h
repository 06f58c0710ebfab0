/* AdamW over the adapter's flat buffers. */
#ifndef GM_TRAIN_OPTIMIZER_H
#define GM_TRAIN_OPTIMIZER_H

#include "model/model.h"

typedef struct gm_optimizer {
    double beta1, beta2, eps, weight_decay;
    double lora_plus_ratio; /* learning rate of every B over that of the others */
    double max_grad_norm;   /* 0: no clipping */
} gm_optimizer;

/* L2 norm over all trainable tensors. */
double gm_optimizer_grad_norm(const gm_adapter *adapter, gm_backend *backend);
/* Step `step` (from 1) at `learning_rate`; `grad_norm` as above, for clipping. */
void gm_optimizer_step(const gm_optimizer *optimizer, gm_adapter *adapter, gm_backend *backend, int64_t step, double learning_rate,
                       double grad_norm);

#endif
