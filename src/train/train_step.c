/* One optimiser step: its samples, packed into micro-batches of at most micro_batch_tokens tokens (a longer sample
 * stands alone) or of micro_batch_samples samples, forward and backward for each, then clipping and AdamW. Means are over the
 * whole step, so that the split into micro-batches changes nothing but rounding, dropout's masks, and the gradient of the Normal
 * loss (objective.c); but for loss_mean and count_at "micro_batch", which are what the split makes them and so take it by samples. */
#include "base/clock.h"
#include "train/batch.h"
#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>

static void micro_batch(gm_trainer *t, const gm_step_share *share) {
    gm_batch batch = gm_batch_of(&t->pack);
    gm_step_reset(&t->step, true);
    gm_model_loss(t->model, &t->step, &batch, share);
    gm_step_backward(&t->step);
    gm_pack_clear(&t->pack);
}

static bool fits(const gm_trainer *t, const gm_sample *sample) {
    int64_t samples = t->config->train.micro_batch_samples;
    return samples ? t->pack.sequences < samples : gm_pack_fits(&t->pack, sample, t->config->train.micro_batch_tokens);
}

static gm_status forward_backward(gm_trainer *t, const uint32_t *indices, uint32_t count, const gm_step_share *share) {
    gm_pack_clear(&t->pack);
    for (uint32_t i = 0; i < count; i++) {
        const gm_sample sample = gm_dataset_sample(t->data, indices[i]);
        if (!fits(t, &sample)) micro_batch(t, share);
        GM_TRY(gm_pack_add(&t->pack, &sample, t->data->loss_on_all));
    }
    micro_batch(t, share);
    return GM_OK;
}

/* What the micro-batches of a step of `count` samples share. */
static gm_step_share share_of(const gm_trainer *t, const uint32_t *indices, uint32_t count, gm_random *dropout) {
    int64_t samples = t->config->train.micro_batch_samples;
    bool means = t->config->train.loss_mean == GM_LOSS_MEAN_MICRO_BATCH;
    gm_step_share share = {.micro_batches = means ? (count + samples - 1) / samples : 0, .dropout = dropout};
    for (uint32_t i = 0; i < count; i++) {
        const gm_sample sample = gm_dataset_sample(t->data, indices[i]);
        share.step_tokens += sample.length;
        share.step_loss_tokens += gm_sample_loss_tokens(&sample, t->data->loss_on_all);
    }
    return share;
}

/* A device's fault comes before the numbers that it left. */
static gm_status check_device(const gm_trainer *t, int64_t step) {
    gm_status status = gm_backend_check(t->backend);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "step %" PRId64, step);
}

static gm_status check_finite(int64_t step, const gm_losses *losses, double grad_norm) {
    const struct {
        const char *name;
        double value;
    } terms[] = {{"ce", losses->ce},           {"poisson", losses->poisson}, {"normal", losses->normal},
                 {"balance", losses->balance}, {"loss", losses->total},      {"grad_norm", grad_norm}};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++)
        if (!isfinite(terms[i].value))
            return gm_error(GM_DIVERGED, "step %" PRId64 ": %s is %s; try a lower train.learning_rate, or train.max_grad_norm 1", step,
                            terms[i].name, isnan(terms[i].value) ? "not a number" : "infinite");
    return GM_OK;
}

gm_status gm_trainer_check_values(const gm_trainer *t) {
    const gm_adapter_buffers *buffers = gm_adapter_buffers_of(t->adapter);
    double squares = 0; /* of f32, in double: finite where all of them are */
    t->backend->kernels->sum_squares(t->backend, &squares, buffers->value, buffers->count);
    GM_TRY(check_device(t, t->state.step));
    if (isfinite(squares)) return GM_OK;
    return gm_error(GM_DIVERGED,
                    "step %" PRId64 ": its update leaves values of the adapter that are not finite; try a lower train.learning_rate",
                    t->state.step);
}

gm_status gm_trainer_step(gm_trainer *t) {
    double begin = gm_clock_seconds();
    uint32_t count;
    const uint32_t *indices = gm_order_batch(&t->order, t->state.step, &count);
    gm_random dropout = gm_random_begin((uint64_t)t->config->seed, GM_RANDOM_DROPOUT, (uint32_t)t->state.step);
    gm_step_share share = share_of(t, indices, count, &dropout);
    gm_model_begin_step(t->model);
    GM_TRY(forward_backward(t, indices, count, &share));
    gm_losses losses = gm_model_end_step(t->model);
    double grad_norm = gm_optimizer_grad_norm(t->adapter, t->backend);
    int64_t step = t->state.step + 1;
    GM_TRY(check_device(t, step));
    GM_TRY(check_finite(step, &losses, grad_norm)); /* before the update: what is in memory stays good */
    double rate = gm_schedule_rate(&t->schedule, step);
    gm_optimizer_step(&t->optimizer, t->adapter, t->backend, step, rate, grad_norm);
    double seconds = gm_clock_seconds() - begin;
    t->state.step = step;
    t->state.tokens += share.step_tokens;
    t->state.seconds += seconds;
    gm_metrics_step(t->metrics, &(gm_step_report){.step = step,
                                                  .tokens = share.step_tokens,
                                                  .loss_tokens = share.step_loss_tokens,
                                                  .epoch = (double)step / (double)t->steps_an_epoch,
                                                  .learning_rate = rate,
                                                  .grad_norm = grad_norm,
                                                  .seconds = seconds,
                                                  .losses = losses});
    return GM_OK;
}
