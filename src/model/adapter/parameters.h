/* The adapter's tensors: a list of named parts of a few flat buffers.
 *
 * Tensors are first declared (gm_parameters_add), then placed all at once. The trainable ones lie in one f32 buffer, with
 * gradients and both moments in buffers of the same layout, so that zeroing, clipping and AdamW are one pass each; frozen
 * ones (expert features, edges) lie in another, with a copy on the host. Parts declared one after the other lie side by
 * side: experts' matrices stack to one tensor (gm_parameters_stack). B matrices are kept transposed (R×O): their file
 * form is O×R. */
#ifndef GM_MODEL_ADAPTER_PARAMETERS_H
#define GM_MODEL_ADAPTER_PARAMETERS_H

#include "base/memory.h"
#include "tensor/tensor.h"

typedef enum gm_parameter_kind { GM_PARAMETER_TRAINED, GM_PARAMETER_LORA_B, GM_PARAMETER_FROZEN } gm_parameter_kind;

/* Values before training (method.md §1-4); rows×columns is O×I as kept. */
typedef enum gm_initial {
    GM_INITIAL_ZERO,
    GM_INITIAL_KAIMING, /* LoRA's A: uniform in ±1/√I                            */
    GM_INITIAL_GLOROT,  /* uniform in ±√(6 / (O + I))                            */
    GM_INITIAL_TOKEN,   /* the same times the router's token_gain                */
    GM_INITIAL_NORMAL,  /* a linear router: normal, deviation 0.02               */
    GM_INITIAL_RATE,    /* λ = 1.5                                               */
    GM_INITIAL_WIDTH    /* σ = N/2                                               */
} gm_initial;

typedef struct gm_parameter {
    const char *name; /* in adapter files */
    gm_parameter_kind kind;
    gm_initial initial;
    int file_rank;    /* 0 for scalars, else 2 */
    int64_t offset;   /* in its flat buffer */
    gm_tensor tensor; /* rows×columns as kept; data and grad set by gm_parameters_place */
} gm_parameter;

typedef struct gm_parameters {
    gm_region region; /* names, parameters, views */
    gm_parameter **list;
    size_t count, capacity;
    struct gm_parameter_view *views;
    int64_t trained, frozen;                                    /* elements of the flat buffers, padding included */
    float *value, *gradient, *moment1, *moment2, *frozen_value; /* backend memory */
    float *frozen_host;                                         /* host copy of frozen_value */
} gm_parameters;

/* The next part, with what `like` says of it: kind, initial, file_rank, and the tensor's rows and columns (of B matrices as
 * kept, R×O). NULL when out of memory. */
gm_parameter *gm_parameters_add(gm_parameters *parameters, gm_parameter like, const char *format, ...) GM_PRINTF(3, 4);
/* Starts the next part at a multiple of 64 bytes. */
void gm_parameters_align(gm_parameters *parameters);
/* One tensor over `count` parts from `first` on (same columns, no padding between). NULL when out of memory. */
gm_tensor *gm_parameters_stack(gm_parameters *parameters, const gm_parameter *first, int64_t count);

gm_status gm_parameters_place(gm_parameters *parameters, gm_backend *backend);          /* values, zeroed */
gm_status gm_parameters_place_training(gm_parameters *parameters, gm_backend *backend); /* gradients and moments, zeroed */
void gm_parameters_free(gm_parameters *parameters, gm_backend *backend);

#endif
