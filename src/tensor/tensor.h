/* A tensor: a matrix of rows×columns in the backend's memory, row-major and contiguous. Heads, experts and slots are
 * folded into columns (T×H×C is T rows of H·C) or rows; each operation says how. */
#ifndef GM_TENSOR_TENSOR_H
#define GM_TENSOR_TENSOR_H

#include "backend/backend.h"

typedef struct gm_tensor {
    void *data;
    void *grad; /* of grad_type, same shape; NULL until something is written to it */
    gm_type type, grad_type;
    int64_t rows, columns;
    bool needs_grad; /* a trainable tensor is among what it was made from */
    bool parameter;  /* trainable: grad is there from the start and is only ever added to */
} gm_tensor;

static inline size_t gm_tensor_bytes(const gm_tensor *tensor) {
    return (size_t)tensor->rows * (size_t)tensor->columns * gm_type_size(tensor->type);
}

/* A tensor over memory that is there already and needs no gradient: a frozen weight, an input. */
static inline gm_tensor gm_tensor_frozen(void *data, gm_type type, int64_t rows, int64_t columns) {
    return (gm_tensor){.data = data, .type = type, .grad_type = type, .rows = rows, .columns = columns};
}

#define GM_CHECK_SHAPE(tensor, want_rows, want_columns)                                                                                    \
    GM_CHECK((tensor)->rows == (want_rows) && (tensor)->columns == (want_columns), #tensor " is %lld×%lld, not %lld×%lld",                 \
             (long long)(tensor)->rows, (long long)(tensor)->columns, (long long)(want_rows), (long long)(want_columns))

#endif
