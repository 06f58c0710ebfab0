/* The order in which samples are trained on: a function of (seed, epoch) only, so that the step's number is the whole
 * state of the data cursor. */
#ifndef GM_DATA_ORDER_H
#define GM_DATA_ORDER_H

#include "base/memory.h"

typedef enum gm_shuffle {
    GM_SHUFFLE_NEVER, /* the file's order, every epoch         */
    GM_SHUFFLE_EACH,  /* a new order each epoch                */
    GM_SHUFFLE_ONCE,  /* the first epoch's order, every epoch  */
} gm_shuffle;

typedef struct gm_order {
    uint32_t *indices; /* count: the current epoch's permutation, owned */
    uint32_t count, batch_size;
    uint64_t seed;
    gm_shuffle shuffle;
    int64_t epoch; /* whose order `indices` holds; −1: none yet */
} gm_order;

/* count samples, at least one. */
gm_status gm_order_init(gm_order *order, uint32_t count, uint32_t batch_size, uint64_t seed, gm_shuffle shuffle);
void gm_order_free(gm_order *order);

int64_t gm_order_batches(const gm_order *order); /* of an epoch; its last one may be smaller */

/* Indices of the samples of batch `step` (from 0, on over the epochs); valid until the next call. */
const uint32_t *gm_order_batch(gm_order *order, int64_t step, uint32_t *count);

#endif
