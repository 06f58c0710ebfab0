/* The whole model against finite differences: every trainable tensor's gradient, for random tiny models and every
 * router, loss and site; and what must hold exactly: B = 0 changes nothing, packing equals one by one, two
 * micro-batches equal one in CE and Poisson. */
#include "test_support.h"

#include "base/random.h"
#include "model/decoder.h"

#include <math.h>

enum { TOKENS = 23, SEQUENCES = 3, LOSS_ROWS = 12 };

typedef struct fixture {
    gm_backend *backend;
    gm_model *model;
    gm_adapter *adapter;
    gm_step step;
    int32_t ids[TOKENS], positions[TOKENS], starts[SEQUENCES + 1], loss_row[LOSS_ROWS], loss_target[LOSS_ROWS];
    gm_batch batch;
} fixture;

static gm_model_config tiny_model(void) {
    return (gm_model_config){.model_type = "llama",
                             .hidden_size = 24,
                             .ffn_size = 40,
                             .layers = 2,
                             .heads = 4,
                             .kv_heads = 2,
                             .head_dim = 6,
                             .vocabulary = 50,
                             .max_positions = 64,
                             .norm_eps = 1e-5,
                             .rope_theta = 10000,
                             .eos_token = -1,
                             .bos_token = -1};
}

static void fill_batch(fixture *f) {
    gm_random random = gm_random_begin(5, GM_RANDOM_TEST, 0);
    const int32_t starts[] = {0, 9, 10, TOKENS};
    memcpy(f->starts, starts, sizeof starts);
    for (int s = 0; s < SEQUENCES; s++)
        for (int32_t t = starts[s]; t < starts[s + 1]; t++) f->positions[t] = t - starts[s];
    for (int t = 0; t < TOKENS; t++) f->ids[t] = (int32_t)gm_random_below(&random, 50);
    for (int i = 0; i < LOSS_ROWS; i++) {
        f->loss_row[i] = i + 2;
        f->loss_target[i] = (int32_t)gm_random_below(&random, 50);
    }
    f->batch = (gm_batch){TOKENS, SEQUENCES, f->ids, f->positions, f->starts, LOSS_ROWS, f->loss_row, f->loss_target, NULL};
}

/* B takes small random values, so that every gradient is there; a linear router large ones, so that no step of the
 * finite differences changes a token's experts. */
static void fill_adapter(gm_adapter *adapter, float scale) {
    gm_random random = gm_random_begin(9, GM_RANDOM_TEST, 1);
    for (size_t i = 0; i < adapter->parameters.count; i++) {
        const gm_parameter *p = adapter->parameters.list[i];
        float factor = strstr(p->name, "gate.weight") ? 8.0f : 1.0f;
        for (int64_t j = 0; j < p->tensor.rows * p->tensor.columns; j++) ((float *)p->tensor.data)[j] *= factor;
        if (p->kind != GM_PARAMETER_LORA_B) continue;
        for (int64_t j = 0; j < p->tensor.rows * p->tensor.columns; j++) ((float *)p->tensor.data)[j] = scale * gm_random_normal(&random);
    }
}

/* Measures a step and makes room for it; returns its bytes of activations. */
static size_t place(fixture *f) {
    assert_int_equal(gm_step_measure(&f->step), GM_OK);
    gm_model_begin_step(f->model);
    gm_random dropout = gm_random_begin(4, GM_RANDOM_DROPOUT, 2);
    gm_model_loss(f->model, &f->step, &f->batch,
                  &(gm_step_share){.step_tokens = TOKENS, .step_loss_tokens = LOSS_ROWS, .dropout = &dropout});
    gm_step_backward(&f->step);
    gm_step_plan plan = gm_step_planned(&f->step);
    assert_int_equal(gm_step_place(&f->step, &plan), GM_OK);
    return plan.activations;
}

static void open_fixture(fixture *f, const gm_model_config *model, const gm_adapter_config *adapter, float b_scale) {
    memset(f, 0, sizeof *f);
    assert_int_equal(gm_backend_open_cpu(&f->backend, 0), GM_OK);
    assert_int_equal(gm_model_open_random(&f->model, f->backend, model, GM_F32, 3), GM_OK);
    if (gm_adapter_create(&f->adapter, f->model, adapter, 11) != GM_OK) fail_msg("%s", gm_error_text());
    assert_int_equal(gm_adapter_prepare_training(f->adapter), GM_OK);
    fill_adapter(f->adapter, b_scale);
    fill_batch(f);
    gm_step_init(&f->step, f->backend, GM_F32);
    place(f);
}

static void close_fixture(fixture *f) {
    gm_step_free(&f->step);
    gm_model_close(f->model);
    gm_backend_close(f->backend);
}

static gm_losses run(fixture *f, bool backward) {
    gm_random dropout = gm_random_begin(4, GM_RANDOM_DROPOUT, 2); /* the same masks each time */
    gm_model_begin_step(f->model);
    gm_step_reset(&f->step, true);
    gm_model_loss(f->model, &f->step, &f->batch,
                  &(gm_step_share){.step_tokens = TOKENS, .step_loss_tokens = LOSS_ROWS, .dropout = &dropout});
    if (backward) gm_step_backward(&f->step);
    return gm_model_end_step(f->model);
}

static double loss_at(fixture *f, float *value, float x) {
    float kept = *value;
    int64_t count;
    double *past = gm_adapter_counts(f->adapter, &count);
    for (int64_t i = 0; i < count; i++) past[i] = 3.0 + (double)(i % 5); /* what end_step adds must not stay */
    *value = x;
    double loss = run(f, false).total;
    *value = kept;
    return loss;
}

/* Central difference. The step is short: over a longer one tokens change their experts. */
static double slope_at(fixture *f, float *value) {
    const float h = 1e-3f, x = *value;
    return (loss_at(f, value, x + h) - loss_at(f, value, x - h)) / (2 * (double)h);
}

static void check_gradients(const gm_model_config *model, const gm_adapter_config *config, const char *what) {
    fixture f;
    open_fixture(&f, model, config, 0.3f);
    int64_t count;
    double *past = gm_adapter_counts(f.adapter, &count);
    for (int64_t i = 0; i < count; i++) past[i] = 3.0 + (double)(i % 5);
    run(&f, true);
    const gm_adapter_buffers *buffers = gm_adapter_buffers_of(f.adapter);
    float *gradients = malloc((size_t)buffers->count * sizeof *gradients); /* the next forward pass zeroes the buffer */
    memcpy(gradients, buffers->gradient, (size_t)buffers->count * sizeof *gradients);
    const double NOISE = 6e-4; /* f32's, of six slopes together */
    int tensors = 0, seen = 0;
    gm_random random = gm_random_begin(21, GM_RANDOM_TEST, 2);
    for (size_t i = 0; i < f.adapter->parameters.count; i++) {
        const gm_parameter *p = f.adapter->parameters.list[i];
        if (p->kind == GM_PARAMETER_FROZEN) continue;
        int64_t size = p->tensor.rows * p->tensor.columns;
        double norm = 0, error = 0;
        int samples = size < 6 ? (int)size : 6;
        for (int s = 0; s < samples; s++) {
            int64_t j = size <= samples ? s : (int64_t)gm_random_below(&random, (uint32_t)size);
            double gradient = gradients[p->offset + j], slope = slope_at(&f, (float *)p->tensor.data + j);
            norm += gradient * gradient + slope * slope;
            error += (gradient - slope) * (gradient - slope);
        }
        tensors++;
        seen += sqrt(norm) > 2 * NOISE; /* of the others, experts without a token among them, nothing can be said */
        if (sqrt(error) > NOISE + 0.02 * sqrt(norm))
            fail_msg("%s: %s: gradients differ by %g of %g", what, p->name, sqrt(error), sqrt(norm));
    }
    if (2 * seen < tensors) fail_msg("%s: only %d of %d tensors have gradients to speak of", what, seen, tensors);
    free(gradients);
    close_fixture(&f);
}

static gm_adapter_config small_gmoe(void) {
    gm_adapter_config config = gm_method_gmoe.defaults;
    config.num_experts = 5;
    config.rank = 3;
    config.router.hidden_size = 10;
    config.router.edge_density = 0.4;
    config.losses.poisson = 0.7;
    config.losses.normal = 0.9;
    return config;
}

static void test_gmoe(void **state) {
    (void)state;
    gm_model_config model = tiny_model();
    gm_adapter_config config = small_gmoe();
    check_gradients(&model, &config, "gmoe");
    config.top_k = 5;
    check_gradients(&model, &config, "all experts active");
    config.top_k = 3;
    config.router.layers = 3;
    config.router.expert_features = GM_FEATURES_EMBEDDING;
    config.losses.divergence = GM_DIVERGENCE_ABS;
    config.losses.count = GM_COUNT_BATCH;
    config.rslora = true;
    check_gradients(&model, &config, "three layers, free features, abs, batch counts");
    config.router.layers = 1;
    config.top_k = 1;
    config.losses.normal_target = GM_NORMAL_JOINT;
    config.losses.count = GM_COUNT_EMA;
    check_gradients(&model, &config, "one layer, one expert, joint target, moving counts");
}

static void test_linear_router_and_balance(void **state) {
    (void)state;
    gm_model_config model = tiny_model();
    gm_adapter_config config = small_gmoe();
    config.router.type = GM_ROUTER_LINEAR;
    config.losses.balance = 0.5;
    check_gradients(&model, &config, "linear router with balance loss");
}

static void test_lora_and_subsets(void **state) {
    (void)state;
    gm_model_config model = tiny_model();
    model.attention_bias = model.mlp_bias = model.output_bias = true;
    model.qk_norm = true;
    model.sliding_window = 4;
    gm_adapter_config config = gm_method_lora.defaults;
    config.rank = 2;
    check_gradients(&model, &config, "lora");
    config.rank = GM_LORA_RANK + 1;
    check_gradients(&model, &config, "lora of a rank that goes through products");
    config.rank = 2;
    for (int target = 0; target < GM_TARGETS; target++) {
        memset(config.target, 0, sizeof config.target);
        config.target[target] = true;
        check_gradients(&model, &config, "lora on one target");
    }
    config = small_gmoe();
    config.target[GM_TARGET_GATE] = config.target[GM_TARGET_Q] = false;
    check_gradients(&model, &config, "gmoe without gate and q");
}

static void test_dropout(void **state) {
    (void)state;
    gm_model_config model = tiny_model();
    gm_adapter_config config = small_gmoe();
    config.dropout = 0.3;
    check_gradients(&model, &config, "gmoe with dropout");
    config.rank = 2; /* without dropout this rank has a way of its own */
    check_gradients(&model, &config, "rank 2 with dropout");
    fixture f;
    open_fixture(&f, &model, &config, 0.3f);
    double dropped = run(&f, false).ce;
    f.adapter->config.dropout = 0;
    assert_true(fabs(run(&f, false).ce - dropped) > 1e-4);
    close_fixture(&f);
}

static double score_of(fixture *f, int32_t row, int32_t token) {
    float logit, log_sum;
    int32_t which = 0;
    gm_step_reset(&f->step, false);
    gm_model_score(f->model, &f->step, &f->batch, &(gm_score_request){&row, 1, &which, &token, 1, &logit, &log_sum});
    return (double)logit - (double)log_sum;
}

static void test_zero_b_changes_nothing(void **state) {
    (void)state;
    gm_model_config model = tiny_model();
    gm_adapter_config config = small_gmoe();
    fixture f;
    open_fixture(&f, &model, &config, 0.0f);
    double with = score_of(&f, 8, 3);
    gm_adapter_close(f.adapter);
    double without = score_of(&f, 8, 3);
    assert_true(fabs(with - without) < 1e-5 && with < 0);
    close_fixture(&f);
}

static void test_packing_equals_one_by_one(void **state) {
    (void)state;
    gm_model_config model = tiny_model();
    gm_adapter_config config = small_gmoe();
    fixture f;
    open_fixture(&f, &model, &config, 0.3f);
    double packed = score_of(&f, 15, 7);
    const int32_t starts[] = {0, 13};
    f.batch = (gm_batch){13, 1, f.ids + 10, f.positions + 10, starts, 0, NULL, NULL, NULL};
    assert_true(fabs(score_of(&f, 5, 7) - packed) < 1e-5);
    close_fixture(&f);
}

/* The fixture's tokens as two micro-batches. */
static void split_batch(fixture *f, gm_batch parts[2], int32_t second_rows[LOSS_ROWS], const int32_t first_starts[3],
                        const int32_t second_starts[2]) {
    int first = 0;
    while (f->loss_row[first] < 10) first++;
    for (int i = first; i < LOSS_ROWS; i++) second_rows[i - first] = f->loss_row[i] - 10;
    parts[0] = (gm_batch){10, 2, f->ids, f->positions, first_starts, first, f->loss_row, f->loss_target, NULL};
    parts[1] =
        (gm_batch){13, 1, f->ids + 10, f->positions + 10, second_starts, LOSS_ROWS - first, second_rows, f->loss_target + first, NULL};
}

static void test_two_micro_batches_equal_one(void **state) {
    (void)state;
    gm_model_config model = tiny_model();
    gm_adapter_config config = small_gmoe();
    config.losses.normal = 0;
    fixture f;
    open_fixture(&f, &model, &config, 0.3f);
    gm_losses whole = run(&f, true);
    int64_t count = gm_adapter_buffers_of(f.adapter)->count;
    float *gradient = gm_adapter_buffers_of(f.adapter)->gradient, *kept = malloc((size_t)count * sizeof *kept);
    memcpy(kept, gradient, (size_t)count * sizeof *kept);
    const int32_t first_starts[] = {0, 9, 10}, second_starts[] = {0, 13};
    int32_t second_rows[LOSS_ROWS];
    gm_batch parts[2];
    split_batch(&f, parts, second_rows, first_starts, second_starts);
    gm_model_begin_step(f.model);
    for (int i = 0; i < 2; i++) {
        gm_step_reset(&f.step, true);
        gm_model_loss(f.model, &f.step, &parts[i], &(gm_step_share){.step_tokens = TOKENS, .step_loss_tokens = LOSS_ROWS});
        gm_step_backward(&f.step);
    }
    gm_losses split = gm_model_end_step(f.model);
    assert_true(fabs(split.ce - whole.ce) < 1e-6 && fabs(split.poisson - whole.poisson) < 1e-6);
    for (int64_t i = 0; i < count; i++) assert_true(fabsf(gradient[i] - kept[i]) < 1e-5f);
    free(kept);
    close_fixture(&f);
}

/* The same bits, and less memory for more layers. */
static void check_checkpointed(const gm_adapter_config *config) {
    gm_model_config model = tiny_model();
    model.layers = 5;
    fixture f;
    open_fixture(&f, &model, config, 0.3f);
    size_t whole = place(&f);
    gm_losses kept_losses = run(&f, true);
    size_t bytes = (size_t)gm_adapter_buffers_of(f.adapter)->count * sizeof(float);
    float *gradient = gm_adapter_buffers_of(f.adapter)->gradient, *kept = malloc(bytes);
    memcpy(kept, gradient, bytes);
    int64_t count;
    double *past = gm_adapter_counts(f.adapter, &count);
    if (count) memset(past, 0, (size_t)count * sizeof *past); /* what the first run added */
    gm_model_checkpoint_activations(f.model, true);
    assert_true(place(&f) < whole / 2);
    gm_losses losses = run(&f, true);
    assert_memory_equal(&losses, &kept_losses, sizeof losses);
    assert_memory_equal(gradient, kept, bytes);
    free(kept);
    close_fixture(&f);
}

static void test_checkpointed_activations(void **state) {
    (void)state;
    gm_adapter_config config = small_gmoe();
    config.dropout = 0.2;
    check_checkpointed(&config);
    config.router.type = GM_ROUTER_LINEAR;
    config.losses.balance = 0.5;
    check_checkpointed(&config);
    config = gm_method_lora.defaults;
    check_checkpointed(&config);
    memset(config.target, 0, sizeof config.target); /* the first layer's input needs no gradient, nor does that of o */
    config.target[GM_TARGET_O] = true;
    check_checkpointed(&config);
}

/* One step of the given micro-batches, each a count of its own; means: over their means. */
static gm_losses run_parts(fixture *f, const gm_batch *parts, int count, bool means) {
    gm_model_begin_step(f->model);
    for (int i = 0; i < count; i++) {
        gm_step_share share = {.step_tokens = parts[i].tokens, .step_loss_tokens = parts[i].loss_rows}; /* not looked at with means */
        if (means) share = (gm_step_share){.micro_batches = count};
        gm_step_reset(&f->step, true);
        gm_model_loss(f->model, &f->step, &parts[i], &share);
        gm_step_backward(&f->step);
    }
    return gm_model_end_step(f->model);
}

static bool is_mean(double have, double a, double b) { return fabs(have - (a + b) / 2) < 1e-6; }

/* Two steps of one micro-batch each, and one step that is their mean: the same losses, gradients and counts. */
static void check_means(gm_count mode) {
    gm_model_config model = tiny_model();
    gm_adapter_config config = small_gmoe();
    config.losses.count = mode, config.losses.ema_decay = 0.7, config.losses.balance = 0.3;
    config.losses.count_at = GM_COUNT_AT_MICRO_BATCH;
    fixture f;
    open_fixture(&f, &model, &config, 0.3f);
    const gm_adapter_buffers *buffers = gm_adapter_buffers_of(f.adapter);
    const int32_t first_starts[] = {0, 9, 10}, second_starts[] = {0, 13};
    int32_t second_rows[LOSS_ROWS];
    gm_batch parts[2];
    split_batch(&f, parts, second_rows, first_starts, second_starts);
    int64_t cells;
    double *past = gm_adapter_counts(f.adapter, &cells), *counts = malloc((size_t)cells * sizeof *counts);
    float *mean = calloc((size_t)buffers->count, sizeof *mean);
    gm_losses apart[2];
    for (int64_t i = 0; i < cells; i++) past[i] = 3.0 + (double)i;
    for (int i = 0; i < 2; i++) {
        apart[i] = run_parts(&f, &parts[i], 1, false);
        for (int64_t j = 0; j < buffers->count; j++) mean[j] += buffers->gradient[j] / 2;
    }
    memcpy(counts, past, (size_t)cells * sizeof *counts);
    for (int64_t i = 0; i < cells; i++) past[i] = 3.0 + (double)i;
    gm_losses both = run_parts(&f, parts, 2, true);
    assert_true(is_mean(both.ce, apart[0].ce, apart[1].ce) && is_mean(both.poisson, apart[0].poisson, apart[1].poisson));
    assert_true(is_mean(both.normal, apart[0].normal, apart[1].normal) && is_mean(both.balance, apart[0].balance, apart[1].balance));
    for (int64_t i = 0; i < cells; i++) assert_true(fabs(past[i] - counts[i]) < 1e-4);
    for (int64_t i = 0; i < buffers->count; i++) assert_true(fabsf(buffers->gradient[i] - mean[i]) < 1e-5f);
    free(mean), free(counts);
    close_fixture(&f);
}

static void test_means_of_micro_batches(void **state) {
    (void)state;
    check_means(GM_COUNT_CUMULATIVE);
    check_means(GM_COUNT_EMA);
    check_means(GM_COUNT_BATCH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gmoe),
        cmocka_unit_test(test_linear_router_and_balance),
        cmocka_unit_test(test_lora_and_subsets),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_zero_b_changes_nothing),
        cmocka_unit_test(test_packing_equals_one_by_one),
        cmocka_unit_test(test_two_micro_batches_equal_one),
        cmocka_unit_test(test_checkpointed_activations),
        cmocka_unit_test(test_means_of_micro_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
