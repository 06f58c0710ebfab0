/* The model's inside: what the files of src/model share. */
#ifndef GM_MODEL_DECODER_H
#define GM_MODEL_DECODER_H

#include "io/safetensors.h"
#include "model/adapter/adapter.h"
#include "model/model.h"

typedef struct gm_block {                               /* one decoder layer */
    gm_tensor attention_norm, ffn_norm, q_norm, k_norm; /* q_norm, k_norm: data NULL where the family has none */
    gm_linear q, k, v, o;
    gm_expert_ffn ffn;
    int64_t window;                  /* 0: attends to everything before */
    const gm_layer_adapter *adapter; /* NULL: none */
} gm_block;

/* Values of the losses and counts of the optimiser step at hand; backend memory, one block. */
typedef struct gm_objective {
    void *memory; /* owned */
    size_t bytes;
    double *loss;          /* 4: ce, poisson, normal, balance                               */
    float *count, *share;  /* layers×N: of the step's micro-batches so far                  */
    float *mean;           /* layers×N: Σ π of the step so far                              */
    float *past;           /* layers×N: counts of earlier steps                             */
    float *host;           /* 2×layers×N: count and share, read back; owned                 */
    int64_t tokens;        /* of the step so far                                            */
    int64_t micro_batches; /* likewise                                                     */
} gm_objective;

struct gm_model {
    gm_backend *backend;
    gm_model_config config;
    gm_type type;
    gm_safetensors *file; /* stays open: weights are used in its mapping; NULL for random weights */
    void *copies;         /* weights that had to be converted or moved, owned */
    size_t copy_bytes;
    uint64_t hash;
    gm_tensor embedding, final_norm, head;
    gm_block *blocks; /* owned */
    gm_rope rope;
    void *frequencies;   /* owned backend memory */
    gm_adapter *adapter; /* NULL: the bare base */
    gm_objective objective;
    bool checkpointed; /* activations of blocks are computed twice */
};

typedef struct gm_pass { /* one micro-batch on its way through the layers */
    gm_model *model;
    gm_step *step;
    gm_layout layout;
    float *count, *share; /* layers×N each, of the routings */
} gm_pass;

/* src/model/weights.c: every tensor of the structure from the file, or filled by `random`. */
gm_status gm_model_load_weights(gm_model *model);
gm_status gm_model_random_weights(gm_model *model, uint64_t seed);
void gm_model_free_weights(gm_model *model);

/* src/model/rope.c: rotation frequencies of the configuration, C/2 radians a position. */
void gm_rope_frequencies(float *frequencies, const gm_model_config *config);

/* Points the layers at the adapter's tensors. */
gm_status gm_model_attach(gm_model *model, gm_adapter *adapter);
void gm_model_detach(gm_model *model, gm_adapter *adapter);

/* src/model/forward.c: one decoder layer; its routing (NULL without a router) goes to `routing` where that is not NULL. */
gm_tensor *gm_block_forward(const gm_pass *pass, int64_t layer, gm_tensor *x, gm_routing **routing);
/* src/model/checkpoint_activations.c: the same, but only the output and the router's weights stay in memory. */
gm_tensor *gm_block_checkpointed(const gm_pass *pass, int64_t layer, gm_tensor *x, gm_routing **routing);

/* src/model/forward.c: the last hidden states, normalised (T×D act). With `routings` (an array of the layers' number)
 * each layer's routing goes there; counts and shares of layer l go to count + l·N and share + l·N. */
gm_tensor *gm_model_hidden(gm_model *model, gm_step *step, const gm_batch *batch, gm_routing **routings, float *count, float *share);

/* A host array of the micro-batch in the step's memory. */
const int32_t *gm_batch_upload(gm_step *step, const int32_t *host, int64_t count);

/* src/model/objective.c */
gm_status gm_objective_open(gm_objective *objective, const gm_adapter *adapter);
void gm_objective_close(gm_objective *objective, gm_backend *backend);

#endif
