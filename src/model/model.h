/* A frozen decoder of the Llama family with a trainable adapter: what the trainer and the evaluation see.
 *
 * A model is opened (weights mapped or loaded), gets an adapter, and then computes micro-batches within a gm_step:
 * gm_model_loss records forward and losses; gm_step_backward then leaves gradients in the adapter's flat buffer. */
#ifndef GM_MODEL_MODEL_H
#define GM_MODEL_MODEL_H

#include "io/model_config.h"
#include "model/adapter/adapter_config.h"
#include "ops/ops.h"

typedef struct gm_model gm_model;
typedef struct gm_adapter gm_adapter;

/* ---- the frozen base ---- */

gm_status gm_model_open(gm_model **model, gm_backend *backend, const char *directory, gm_type type);
/* Random weights of a given shape in memory (gmoe-bench). */
gm_status gm_model_open_random(gm_model **model, gm_backend *backend, const gm_model_config *config, gm_type type, uint64_t seed);
void gm_model_close(gm_model *model);
const gm_model_config *gm_model_config_of(const gm_model *model);
uint64_t gm_model_hash(const gm_model *model);      /* of the base: config, names, all bytes */
int64_t gm_model_parameters(const gm_model *model); /* frozen parameters that take part in products, head included */
size_t gm_model_memory(const gm_model *model);      /* bytes of weights copied (not mapped) */

/* ---- the adapter: trainable tensors in one flat f32 buffer, gradients and both moments beside it ---- */

/* Makes an adapter for the model with initial values drawn from `seed` and attaches it. A model has one at most. */
gm_status gm_adapter_create(gm_adapter **adapter, gm_model *model, const gm_adapter_config *config, uint64_t seed);
/* For evaluation: shapes and method from DIR/adapter_config.json, values from DIR/adapter_model.safetensors. */
gm_status gm_adapter_open(gm_adapter **adapter, gm_model *model, const char *directory);
void gm_adapter_close(gm_adapter *adapter); /* detaches */

typedef struct gm_adapter_buffers {
    float *value, *gradient, *moment1, *moment2; /* count each, backend memory; gradient and moments NULL until training */
    int64_t count;
} gm_adapter_buffers;
gm_status gm_adapter_prepare_training(gm_adapter *adapter); /* allocates gradient and moments, zeroed */
const gm_adapter_buffers *gm_adapter_buffers_of(const gm_adapter *adapter);
/* LoRA+: elements of the flat buffer whose learning rate takes the ratio (every B): calls per contiguous run. */
void gm_adapter_each_group(const gm_adapter *adapter, void (*visit)(void *context, int64_t begin, int64_t count, bool is_b), void *context);
int64_t gm_adapter_trainable(const gm_adapter *adapter); /* trainable parameters, without padding */

/* Writes DIR/adapter_model.safetensors and DIR/adapter_config.json (DIR exists). `step` goes to the metadata. */
gm_status gm_adapter_save(const gm_adapter *adapter, const char *directory, int64_t step, const char *base_name);
/* Values of every tensor from a directory or .safetensors file; names and shapes must be exactly this adapter's. */
gm_status gm_adapter_load(gm_adapter *adapter, const char *path);
/* The same as initial values: an adapter_config.json beside them is refused where it has what is not supported, and warned of where
 * it has another alpha, rslora or top_k than this adapter. */
gm_status gm_adapter_begin_with(gm_adapter *adapter, const char *path);

/* ---- routing state: what the Normal loss remembers between steps ---- */

/* Past activation counts, layers×N, host (double); 0 elements without a router. Part of a checkpoint. */
double *gm_adapter_counts(gm_adapter *adapter, int64_t *count);
/* Expert load in training since the last reset: layers×N numbers of slots given to each expert, host; for result.json.
 * NULL without a router. Part of a checkpoint. */
double *gm_adapter_expert_load(const gm_adapter *adapter, int64_t *layers, int64_t *experts);

/* ---- computing ---- */

/* Activations of a layer are dropped after forward and computed again in backward: less memory, one more forward pass. */
void gm_model_checkpoint_activations(gm_model *model, bool on);

typedef struct gm_batch { /* one micro-batch, packed; all host memory, valid during the call */
    int64_t tokens, sequences;
    const int32_t *ids, *positions; /* T */
    const int32_t *starts;          /* S+1 */
    int64_t loss_rows;
    const int32_t *loss_row, *loss_target; /* loss_rows */
    const int32_t *prefix; /* S: the sequence before it, one without a prefix; −1: none. NULL: none has one. Evaluation alone */
} gm_batch;

typedef struct gm_step_share {             /* what a step's micro-batches share */
    int64_t step_tokens, step_loss_tokens; /* of all of them */
    int64_t micro_batches;                 /* number of them, where each term is the mean of theirs; 0: it is the mean over the tokens */
    gm_random *dropout;                    /* draws the masks' keys through the step; NULL: no dropout */
} gm_step_share;

typedef struct gm_losses {
    double total, ce, poisson, normal, balance; /* total with the coefficients, the others without */
} gm_losses;

/* Starts an optimiser step: gradients, sums of losses and this step's counts are zeroed. */
void gm_model_begin_step(gm_model *model);
/* Forward and losses of a micro-batch, recorded on the tape (`step` was reset with training true). */
void gm_model_loss(gm_model *model, gm_step *step, const gm_batch *batch, const gm_step_share *share);
/* After the last micro-batch: the step's losses; the step's counts join the past. Waits for the device. */
gm_losses gm_model_end_step(gm_model *model);
/* Σ −log p over a batch's loss rows, without training (validation loss of data without choices). */
double gm_model_evaluate_loss(gm_model *model, gm_step *step, const gm_batch *batch);
/* Evaluation: forward (`step` was reset with training false) and the requested logits. */
void gm_model_score(gm_model *model, gm_step *step, const gm_batch *batch, const gm_score_request *request);

#endif
