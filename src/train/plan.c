/* The memory plan: the run's largest micro-batch goes once through the real code on the measuring backend.
 *
 * Which samples meet in a micro-batch changes with every epoch's order, so the largest is a bound: no micro-batch has
 * more tokens than micro_batch_tokens, than the batch_size longest samples together, or, alone, than the longest sample
 * (by samples: than the micro_batch_samples longest together); its loss tokens and sequences are bounded likewise. In a mixture a
 * sample can be in a micro-batch more than once, and counts as often. It is measured twice, as few long sequences and as many short
 * ones, because the attention's memory may depend on either. */
#include "train/batch.h"
#include "train/trainer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MICRO_BATCH_TOKENS = 1 << 30 }; /* places in a micro-batch are 32-bit numbers; train.micro_batch_tokens ends there too */

typedef struct gm_bound {
    int64_t tokens, loss_rows, sequences;
} gm_bound;

typedef struct gm_sized { /* a sample's tokens, and how often it may be in a batch */
    int64_t value, times;
} gm_sized;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static int larger_first(const void *a, const void *b) {
    int64_t left = ((const gm_sized *)a)->value, right = ((const gm_sized *)b)->value;
    return (left < right) - (left > right);
}

/* Sum of the `places` largest values, which are sorted by it. */
static int64_t sum_of_largest(gm_sized *samples, size_t count, int64_t places) {
    int64_t sum = 0;
    qsort(samples, count, sizeof *samples, larger_first);
    for (size_t i = 0; i < count && places > 0; i++) {
        int64_t times = least(samples[i].times, places);
        sum += times * samples[i].value;
        places -= times;
    }
    return sum;
}

/* An epoch's share of a part lies in so many of its passes, and each pass has the sample once. */
static int64_t times_in_epoch(const gm_order *order, size_t index) {
    for (int i = 0; i < order->parts; i++) {
        const gm_order_part *part = &order->part[i];
        if (index - part->first < part->count) return ((int64_t)part->share - 1) / part->count + 2;
    }
    return 1;
}

static gm_status bound_micro_batch(const gm_trainer *t, gm_bound *bound) {
    const gm_dataset *data = t->data;
    int64_t samples = t->config->train.micro_batch_samples, tokens = t->config->train.micro_batch_tokens;
    int64_t batch = least(t->config->train.batch_size, samples ? samples : INT64_MAX);
    size_t count = data->count;
    gm_sized *sized;
    GM_ALLOC(sized, count);
    for (size_t i = 0; i < count; i++) sized[i] = (gm_sized){gm_dataset_sample(data, i).length, times_in_epoch(&t->order, i)};
    bound->tokens = sum_of_largest(sized, count, batch);
    if (!samples) bound->tokens = most(data->longest, least(tokens, bound->tokens));
    if (bound->tokens > MICRO_BATCH_TOKENS) {
        free(sized);
        return gm_error(GM_USAGE, "train.micro_batch_samples: the %" PRId64 " longest samples have %" PRId64 " tokens; take fewer", samples,
                        bound->tokens);
    }
    for (size_t i = 0; i < count; i++) {
        gm_sample sample = gm_dataset_sample(data, i);
        sized[i] = (gm_sized){gm_sample_loss_tokens(&sample, data->loss_on_all), times_in_epoch(&t->order, i)};
    }
    bound->loss_rows = least(bound->tokens - 1, sum_of_largest(sized, count, batch));
    free(sized);
    bound->sequences = least(least((int64_t)count, batch), bound->tokens);
    return GM_OK;
}

/* A micro-batch of the bound's size in `sequences` of about one length; what is in it does not matter. */
static void fill_bound(gm_pack *pack, const gm_bound *bound, int64_t sequences) {
    pack->tokens = (int32_t)bound->tokens;
    pack->loss_rows = (int32_t)bound->loss_rows;
    pack->sequences = (int32_t)sequences;
    for (int64_t s = 0; s <= sequences; s++) pack->starts[s] = (int32_t)(bound->tokens * s / sequences);
    for (int64_t s = 0; s < pack->sequences; s++)
        for (int32_t p = pack->starts[s]; p < pack->starts[s + 1]; p++) pack->ids[p] = 0, pack->positions[p] = p - pack->starts[s];
    for (int32_t i = 0; i < pack->loss_rows; i++) pack->loss_row[i] = i, pack->loss_target[i] = 0;
}

static void measure_micro_batch(gm_trainer *t) {
    gm_batch batch = gm_batch_of(&t->pack);
    gm_random dropout = gm_random_begin(0, GM_RANDOM_DROPOUT, 0);
    gm_step_share share = {.step_tokens = batch.tokens, .step_loss_tokens = batch.loss_rows, .dropout = &dropout};
    gm_step_reset(&t->step, true);
    gm_model_begin_step(t->model);
    gm_model_loss(t->model, &t->step, &batch, &share);
    gm_step_backward(&t->step);
}

gm_status gm_trainer_measure(gm_trainer *t, gm_eval_set *test, int tests) {
    gm_bound bound = {0};
    GM_TRY(bound_micro_batch(t, &bound));
    GM_TRY(gm_pack_reserve(&t->pack, (size_t)bound.tokens, (size_t)bound.sequences));
    GM_TRY(gm_step_measure(&t->step));
    const int64_t sequences[] = {least(bound.sequences, (bound.tokens + t->data->longest - 1) / t->data->longest), bound.sequences};
    for (int i = 0; i < 2; i++) {
        fill_bound(&t->pack, &bound, sequences[i]);
        measure_micro_batch(t);
    }
    for (int i = 0; i < t->validations; i++) GM_TRY(gm_eval_set_measure(&t->validation[i], t->model, &t->step));
    for (int i = 0; i < tests; i++) GM_TRY(gm_eval_set_measure(&test[i], t->model, &t->step));
    t->plan = gm_step_planned(&t->step);
    return GM_OK;
}
