#include "data/order.h"
#include "base/random.h"

#include <stdlib.h>

gm_status gm_order_init(gm_order *order, uint32_t count, uint32_t batch_size, uint64_t seed, gm_shuffle shuffle) {
    GM_CHECK(count > 0 && batch_size > 0, "an order of %u samples in batches of %u", count, batch_size);
    *order = (gm_order){.count = count, .batch_size = batch_size, .seed = seed, .shuffle = shuffle, .epoch = -1};
    GM_ALLOC(order->indices, count);
    for (uint32_t i = 0; i < count; i++) order->indices[i] = i;
    return GM_OK;
}

void gm_order_free(gm_order *order) {
    free(order->indices);
    *order = (gm_order){0};
}

int64_t gm_order_batches(const gm_order *order) { return ((int64_t)order->count + order->batch_size - 1) / order->batch_size; }

const uint32_t *gm_order_batch(gm_order *order, int64_t step, uint32_t *count) {
    int64_t batches = gm_order_batches(order), epoch = step / batches;
    GM_CHECK(step >= 0, "batch %lld", (long long)step);
    int64_t drawn = order->shuffle == GM_SHUFFLE_ONCE ? 0 : epoch; /* the epoch whose order it is */
    if (order->shuffle != GM_SHUFFLE_NEVER && drawn != order->epoch) {
        gm_random random = gm_random_begin(order->seed, GM_RANDOM_ORDER, (uint32_t)drawn);
        gm_random_permutation(&random, order->indices, order->count);
    }
    order->epoch = drawn;
    uint32_t first = (uint32_t)(step % batches) * order->batch_size, left = order->count - first;
    *count = left < order->batch_size ? left : order->batch_size;
    return order->indices + first;
}
