/* The order in which samples are trained on: a function of (seed, epoch) only, so that the step's number is the whole
 * state of the data cursor.
 *
 * Samples of several parts (tasks) stand one behind the other. An epoch has as many samples as all parts together: each of
 * them once, or, mixed, a share of each part. A part's share is taken from its own passes, one after the other and each in an
 * order of its own, so that a part smaller than its share is seen several times an epoch and a larger one goes on in the next
 * epoch where it stopped: no sample comes twice more often than another of its part. */
#ifndef GM_DATA_ORDER_H
#define GM_DATA_ORDER_H

#include "base/memory.h"

typedef enum gm_shuffle {
    GM_SHUFFLE_NEVER, /* the file's order, every epoch         */
    GM_SHUFFLE_EACH,  /* a new order each epoch                */
    GM_SHUFFLE_ONCE,  /* the first epoch's order, every epoch  */
} gm_shuffle;

enum { GM_ORDER_PARTS = 16 };

typedef struct gm_order_part {
    uint32_t first, count; /* its samples                      */
    uint32_t share;        /* how many of an epoch's are its   */
} gm_order_part;

typedef struct gm_order {
    uint32_t *indices; /* count: the current epoch's permutation, owned */
    gm_order_part part[GM_ORDER_PARTS];
    int parts;                /* 0: not mixed                                              */
    uint32_t *drawn, *passes; /* mixed: the epoch's samples, part by part; one pass's order */
    uint32_t count, batch_size;
    uint64_t seed;
    gm_shuffle shuffle;
    int64_t epoch; /* whose order `indices` holds; −1: none yet */
} gm_order;

/* count samples, at least one. */
gm_status gm_order_init(gm_order *order, uint32_t count, uint32_t batch_size, uint64_t seed, gm_shuffle shuffle);
void gm_order_free(gm_order *order);

/* Before the first batch: `parts` parts of counts[i] samples, `count` together, whose shares of an epoch are as weights[i], each
 * above 0. GM_USAGE where a part would get no sample. */
gm_status gm_order_mix(gm_order *order, const uint32_t *counts, const double *weights, int parts);

int64_t gm_order_batches(const gm_order *order); /* of an epoch; its last one may be smaller */

/* Indices of the samples of batch `step` (from 0, on over the epochs); valid until the next call. */
const uint32_t *gm_order_batch(gm_order *order, int64_t step, uint32_t *count);

#endif
