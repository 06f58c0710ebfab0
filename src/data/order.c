#include "data/order.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>

gm_status gm_order_init(gm_order *order, uint32_t count, uint32_t batch_size, uint64_t seed, gm_shuffle shuffle) {
    GM_CHECK(count > 0 && batch_size > 0, "an order of %u samples in batches of %u", count, batch_size);
    *order = (gm_order){.count = count, .batch_size = batch_size, .seed = seed, .shuffle = shuffle, .epoch = -1};
    GM_ALLOC(order->indices, count);
    return GM_OK;
}

void gm_order_free(gm_order *order) {
    free(order->indices);
    free(order->drawn);
    free(order->passes);
    *order = (gm_order){0};
}

static void permute(const gm_order *order, gm_random *random, uint32_t *places, uint32_t count) {
    if (order->shuffle != GM_SHUFFLE_NEVER)
        gm_random_permutation(random, places, count);
    else
        for (uint32_t i = 0; i < count; i++) places[i] = i;
}

/* ---- parts ------------------------------------------------------------------------------------------------------ */

/* Shares are rounded down, and what is left goes to those that lost most, the first of equals first. */
static void divide(gm_order *order, const double *weights) {
    double sum = 0, lost[GM_ORDER_PARTS];
    uint32_t left = order->count;
    for (int i = 0; i < order->parts; i++) sum += weights[i];
    for (int i = 0; i < order->parts; i++) {
        double exact = order->count * (weights[i] / sum);
        order->part[i].share = (uint32_t)fmin(floor(exact), left);
        lost[i] = exact - order->part[i].share;
        left -= order->part[i].share;
    }
    for (; left > 0; left--) {
        int next = 0;
        for (int i = 1; i < order->parts; i++)
            if (lost[i] > lost[next]) next = i;
        order->part[next].share++;
        lost[next] -= 1;
    }
}

gm_status gm_order_mix(gm_order *order, const uint32_t *counts, const double *weights, int parts) {
    uint32_t first = 0, largest = 0;
    GM_CHECK(parts > 0 && parts <= GM_ORDER_PARTS && order->epoch < 0, "a mixture of %d parts", parts);
    order->parts = parts;
    for (int i = 0; i < parts; i++) {
        order->part[i] = (gm_order_part){.first = first, .count = counts[i]};
        first += counts[i];
        if (counts[i] > largest) largest = counts[i];
    }
    GM_CHECK(first == order->count, "parts of %u samples in an order of %u", first, order->count);
    divide(order, weights);
    for (int i = 0; i < parts; i++)
        if (order->part[i].share == 0)
            return gm_error(GM_USAGE, "weight %d is too small: it gives none of an epoch's %u samples", i + 1, first);
    GM_ALLOC(order->drawn, order->count);
    GM_ALLOC(order->passes, largest);
    return GM_OK;
}

/* The epoch's share of a part, appended at `drawn`. */
static void draw_part(gm_order *order, int index, int64_t epoch, uint32_t *drawn) {
    const gm_order_part *part = &order->part[index];
    uint64_t begin = (uint64_t)epoch * part->share, end = begin + part->share;
    for (uint64_t at = begin; at < end;) {
        uint64_t pass = at / part->count, stop = (pass + 1) * part->count;
        gm_random random = gm_random_begin(order->seed, GM_RANDOM_MIXTURE, (uint32_t)(pass * GM_ORDER_PARTS + (uint64_t)index));
        permute(order, &random, order->passes, part->count);
        for (; at < end && at < stop; at++) *drawn++ = part->first + order->passes[at % part->count];
    }
}

/* `indices`, a permutation of the epoch's places, becomes the samples at these places. */
static void take_drawn(gm_order *order, int64_t epoch) {
    uint32_t *drawn = order->drawn;
    for (int i = 0; i < order->parts; drawn += order->part[i++].share) draw_part(order, i, epoch, drawn);
    for (uint32_t i = 0; i < order->count; i++) order->indices[i] = order->drawn[order->indices[i]];
}

/* ---- batches ---------------------------------------------------------------------------------------------------- */

int64_t gm_order_batches(const gm_order *order) { return ((int64_t)order->count + order->batch_size - 1) / order->batch_size; }

static void begin_epoch(gm_order *order, int64_t epoch) {
    gm_random random = gm_random_begin(order->seed, GM_RANDOM_ORDER, (uint32_t)epoch);
    permute(order, &random, order->indices, order->count);
    if (order->parts) take_drawn(order, epoch);
    order->epoch = epoch;
}

const uint32_t *gm_order_batch(gm_order *order, int64_t step, uint32_t *count) {
    int64_t batches = gm_order_batches(order), epoch = step / batches;
    GM_CHECK(step >= 0, "batch %lld", (long long)step);
    if (order->shuffle == GM_SHUFFLE_ONCE) epoch = 0;
    if (epoch != order->epoch) begin_epoch(order, epoch);
    uint32_t first = (uint32_t)(step % batches) * order->batch_size, left = order->count - first;
    *count = left < order->batch_size ? left : order->batch_size;
    return order->indices + first;
}
