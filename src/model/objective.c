/* What a step minimises (method.md §5): CE + c_P Poisson + c_N Normal (+ c_B balance), each the mean over the whole
 * optimiser step, however it was split into micro-batches.
 *
 * CE and Poisson are sums whose denominators are known beforehand. Normal and balance depend on the step's counts as a
 * whole: a micro-batch takes their gradient at the counts so far, scaled up to the step's size, which is exact for one
 * micro-batch and an estimate for the earlier of several; the values logged are those of the last, where the counts are
 * complete. Counts of earlier steps are constants.
 *
 * The reference program's readings, m = 1…M the step's micro-batches:
 *   train.loss_mean micro_batch            term = 1/M Σ_m term_m, each term_m the mean over its own tokens, balance's f and P too;
 *   adapter.losses.count_at micro_batch    Normal = Σ_m w_m Normal(c_m), c_m = ρ c_(m−1) + the counts of m, in which c_(m−1) is a
 *                                          constant; w_m = 1/M, or, with means over the step, its share of the tokens.
 * ρ: 1 for count cumulative, ema_decay for ema, 0 for batch. */
#include "model/decoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS_CE, LOSS_POISSON, LOSS_NORMAL, LOSS_BALANCE, LOSSES };

static int64_t cells_of(const gm_adapter *adapter) {
    return adapter->config.router.type == GM_ROUTER_NONE ? 0 : adapter->layer_count * adapter->config.num_experts;
}

/* ρ: what becomes of the past when a count joins it. */
static double decay_of(const gm_adapter *adapter) {
    static const double fixed[] = {[GM_COUNT_CUMULATIVE] = 1, [GM_COUNT_BATCH] = 0};
    gm_count count = adapter->config.losses.count;
    return count == GM_COUNT_EMA ? adapter->config.losses.ema_decay : fixed[count];
}

static bool counts_micro_batches(const gm_adapter *adapter) { return adapter->config.losses.count_at == GM_COUNT_AT_MICRO_BATCH; }

gm_status gm_objective_open(gm_objective *objective, const gm_adapter *adapter) {
    gm_backend *backend = adapter->backend;
    size_t cells = (size_t)cells_of(adapter);
    objective->bytes = LOSSES * sizeof(double) + 4 * cells * sizeof(float);
    GM_TRY(backend->allocate(backend, &objective->memory, objective->bytes, "loss values"));
    objective->loss = objective->memory;
    objective->count = (float *)(objective->loss + LOSSES);
    objective->share = objective->count + cells;
    objective->mean = objective->share + cells;
    objective->past = objective->mean + cells;
    GM_ALLOC(objective->host, 2 * cells);
    return GM_OK;
}

void gm_objective_close(gm_objective *objective, gm_backend *backend) {
    if (objective->memory) backend->release(backend, objective->memory, objective->bytes);
    free(objective->host);
    *objective = (gm_objective){0};
}

void gm_model_begin_step(gm_model *model) {
    gm_backend *backend = model->backend;
    const gm_adapter *adapter = model->adapter;
    gm_objective *objective = &model->objective;
    int64_t cells = cells_of(adapter);
    backend->kernels->zero(backend, objective->memory, objective->bytes);
    backend->kernels->zero(backend, adapter->buffers.gradient, (size_t)adapter->buffers.count * sizeof(float));
    objective->tokens = objective->micro_batches = 0;
    double decay = decay_of(adapter);
    if (cells == 0 || decay == 0 || gm_backend_measures(backend)) return;
    float past[256];
    for (int64_t done = 0; done < cells; done += 256) {
        int64_t n = cells - done < 256 ? cells - done : 256;
        for (int64_t i = 0; i < n; i++) past[i] = (float)(decay * adapter->past[done + i]);
        backend->write(backend, objective->past + done, past, (size_t)n * sizeof *past);
    }
}

static void accumulate(gm_backend *backend, float *sum, const float *part, int64_t count) {
    backend->kernels->add(backend, sum, part, GM_F32, count);
}

/* A mean over tokens is their sum times this: `all` of the step, `own` of the micro-batch. */
static double mean_factor(const gm_step_share *share, int64_t all, int64_t own) {
    int64_t count = share->micro_batches ? share->micro_batches * own : all;
    return count ? 1.0 / (double)count : 0;
}

/* w_m: what a micro-batch's own value counts for. They sum to 1 over the step. */
static double weight_of(const gm_step_share *share, int64_t tokens) {
    return share->micro_batches ? 1.0 / (double)share->micro_batches : (double)tokens / (double)share->step_tokens;
}

static void poisson_losses(gm_model *model, gm_step *step, gm_routing **routings, const gm_step_share *share) {
    const gm_adapter *adapter = model->adapter;
    double coefficient = adapter->config.losses.poisson;
    if (coefficient == 0) return;
    double mean = mean_factor(share, share->step_tokens, routings[0]->weight->rows) / (double)adapter->layer_count;
    gm_loss_scale scale = {mean, (float)(coefficient * mean)};
    for (int64_t l = 0; l < adapter->layer_count; l++)
        gm_poisson_loss(step, routings[l], adapter->layers[l].rate, adapter->config.losses.divergence, scale,
                        &model->objective.loss[LOSS_POISSON]);
}

/* The counts at which the Normal loss is taken, with the past. */
static void counts_now(gm_model *model, float *count, const gm_step_share *share) {
    const gm_objective *objective = &model->objective;
    gm_backend *backend = model->backend;
    int64_t cells = cells_of(model->adapter);
    backend->kernels->copy(backend, count, objective->count, (size_t)cells * sizeof *count);
    if (!counts_micro_batches(model->adapter))
        backend->kernels->scale(backend, count, (float)((double)share->step_tokens / (double)objective->tokens), cells);
    accumulate(backend, count, objective->past, cells);
}

static void normal_loss(gm_model *model, gm_step *step, gm_routing **routings, const gm_step_share *share) {
    const gm_adapter *adapter = model->adapter;
    gm_backend *backend = model->backend;
    double coefficient = adapter->config.losses.normal;
    if (coefficient == 0) return;
    int64_t cells = cells_of(adapter), experts = adapter->config.num_experts;
    float *count = gm_step_memory(step, (size_t)cells * sizeof *count), *dcount = gm_step_memory(step, (size_t)cells * sizeof *dcount);
    double *loss = &model->objective.loss[LOSS_NORMAL], weight = weight_of(share, routings[0]->weight->rows);
    counts_now(model, count, share);
    gm_tensor **width = gm_arena_take(&step->host, (size_t)adapter->layer_count * sizeof *width);
    for (int64_t l = 0; l < adapter->layer_count; l++) {
        width[l] = adapter->layers[l].width;
        routings[l]->dcount = dcount + l * experts;
    }
    gm_normal_scale scale = {1.0, (float)coefficient, (float)(coefficient * weight)}; /* σ sees the whole step's counts in each */
    if (counts_micro_batches(adapter))
        scale = (gm_normal_scale){weight, (float)(coefficient * weight), (float)(coefficient * weight)};
    else
        backend->kernels->zero(backend, loss, sizeof *loss); /* the last one's stays */
    gm_normal_loss(step, adapter->layer_count, experts, count, dcount, width, adapter->config.losses.divergence,
                   adapter->config.losses.normal_target == GM_NORMAL_JOINT, scale, loss);
}

/* `chosen`: the micro-batch's own share of slots (layers×N). */
static void balance_losses(gm_model *model, gm_step *step, gm_routing **routings, const gm_step_share *share, const float *chosen) {
    const gm_adapter *adapter = model->adapter;
    gm_backend *backend = model->backend;
    gm_objective *objective = &model->objective;
    double coefficient = adapter->config.losses.balance, *loss = &objective->loss[LOSS_BALANCE];
    if (coefficient == 0) return;
    int64_t experts = adapter->config.num_experts, cells = cells_of(adapter), own = routings[0]->weight->rows;
    float *shares = gm_step_memory(step, (size_t)cells * sizeof *shares), *mean = gm_step_memory(step, (size_t)experts * sizeof *mean);
    double tokens = (double)(share->micro_batches ? own : objective->tokens), layers = (double)adapter->layer_count;
    backend->kernels->copy(backend, shares, share->micro_batches ? chosen : objective->share, (size_t)cells * sizeof *shares);
    backend->kernels->scale(backend, shares, (float)(1.0 / tokens), cells);
    if (share->micro_batches)
        backend->kernels->zero(backend, objective->mean, (size_t)cells * sizeof *objective->mean);
    else
        backend->kernels->zero(backend, loss, sizeof *loss);
    gm_loss_scale scale = {(share->micro_batches ? weight_of(share, own) : 1.0) / layers,
                           (float)(coefficient * (double)experts * mean_factor(share, share->step_tokens, own) / layers)};
    for (int64_t l = 0; l < adapter->layer_count; l++) {
        float *sum = objective->mean + l * experts;
        backend->kernels->column_sums(backend, mean, routings[l]->weight->data, routings[l]->weight->rows, experts);
        accumulate(backend, sum, mean, experts);
        backend->kernels->copy(backend, mean, sum, (size_t)experts * sizeof *mean);
        backend->kernels->scale(backend, mean, (float)(1.0 / tokens), experts);
        gm_balance_loss(step, routings[l], shares + l * experts, mean, scale, loss);
    }
}

/* A micro-batch's counts join the step's; where each is a count of its own, what is before it is the past. */
static void join_counts(gm_model *model, const float *count) {
    gm_objective *objective = &model->objective;
    gm_backend *backend = model->backend;
    int64_t cells = cells_of(model->adapter);
    double decay = decay_of(model->adapter);
    if (counts_micro_batches(model->adapter) && objective->micro_batches > 0 && decay != 1) {
        backend->kernels->scale(backend, objective->count, (float)decay, cells);
        backend->kernels->scale(backend, objective->past, (float)decay, cells);
    }
    objective->micro_batches++;
    accumulate(backend, objective->count, count, 2 * cells); /* count and share lie side by side */
}

void gm_model_loss(gm_model *model, gm_step *step, const gm_batch *batch, const gm_step_share *share) {
    const gm_adapter *adapter = model->adapter;
    gm_objective *objective = &model->objective;
    GM_CHECK(adapter && adapter->buffers.gradient, "training needs an adapter with gradients");
    int64_t cells = cells_of(adapter);
    step->dropout = share->dropout, step->dropout_rate = (float)adapter->config.dropout;
    gm_routing **routings = gm_arena_take(&step->host, (size_t)adapter->layer_count * sizeof *routings);
    float *count = gm_step_memory(step, 2 * (size_t)cells * sizeof *count);
    const int32_t *row = gm_batch_upload(step, batch->loss_row, batch->loss_rows),
                  *target = gm_batch_upload(step, batch->loss_target, batch->loss_rows);
    gm_tensor *hidden = gm_model_hidden(model, step, batch, routings, count, count + cells);
    objective->tokens += batch->tokens;
    gm_step_enter(step, GM_PART_ROUTER);
    if (cells) {
        join_counts(model, count);
        poisson_losses(model, step, routings, share);
        normal_loss(model, step, routings, share);
        balance_losses(model, step, routings, share, count + cells);
    }
    gm_step_enter(step, GM_PART_HEAD);
    double mean = mean_factor(share, share->step_loss_tokens, batch->loss_rows);
    gm_cross_entropy_loss(step, hidden, &model->head, row, target, batch->loss_rows, (gm_loss_scale){mean, (float)mean},
                          &objective->loss[LOSS_CE]);
    gm_step_enter(step, GM_PART_OTHER);
}

static void remember_counts(gm_model *model, const float *count, const float *share) {
    gm_adapter *adapter = model->adapter;
    double decay = pow(decay_of(adapter), counts_micro_batches(adapter) ? (double)model->objective.micro_batches : 1.0);
    for (int64_t i = 0; i < cells_of(adapter); i++) {
        adapter->past[i] = decay * adapter->past[i] + count[i];
        adapter->load[i] += share[i];
    }
}

gm_losses gm_model_end_step(gm_model *model) {
    gm_adapter *adapter = model->adapter;
    gm_objective *objective = &model->objective;
    double loss[LOSSES];
    model->backend->read(model->backend, loss, objective->loss, sizeof loss);
    size_t cells = (size_t)cells_of(adapter);
    if (cells) {
        model->backend->read(model->backend, objective->host, objective->count, 2 * cells * sizeof *objective->host);
        remember_counts(model, objective->host, objective->host + cells);
    }
    const gm_adapter_config *config = &adapter->config;
    return (gm_losses){.ce = loss[LOSS_CE],
                       .poisson = loss[LOSS_POISSON],
                       .normal = loss[LOSS_NORMAL],
                       .balance = loss[LOSS_BALANCE],
                       .total = loss[LOSS_CE] + config->losses.poisson * loss[LOSS_POISSON] + config->losses.normal * loss[LOSS_NORMAL] +
                                config->losses.balance * loss[LOSS_BALANCE]};
}

static gm_tensor *hidden_for_evaluation(gm_model *model, gm_step *step, const gm_batch *batch) {
    int64_t cells = model->adapter ? cells_of(model->adapter) : 0;
    float *count = gm_step_memory(step, 2 * (size_t)cells * sizeof *count); /* of this batch, for nobody */
    return gm_model_hidden(model, step, batch, NULL, count, count + cells);
}

double gm_model_evaluate_loss(gm_model *model, gm_step *step, const gm_batch *batch) {
    double *sum = gm_step_memory(step, sizeof *sum), value = 0;
    const int32_t *row = gm_batch_upload(step, batch->loss_row, batch->loss_rows),
                  *target = gm_batch_upload(step, batch->loss_target, batch->loss_rows);
    model->backend->kernels->zero(model->backend, sum, sizeof *sum);
    gm_tensor *hidden = hidden_for_evaluation(model, step, batch);
    gm_cross_entropy_loss(step, hidden, &model->head, row, target, batch->loss_rows, (gm_loss_scale){1.0, 0.0f}, sum);
    if (!gm_backend_measures(model->backend)) model->backend->read(model->backend, &value, sum, sizeof value);
    return value;
}

void gm_model_score(gm_model *model, gm_step *step, const gm_batch *batch, const gm_score_request *request) {
    gm_score_rows(step, hidden_for_evaluation(model, step, batch), &model->head, request);
}
