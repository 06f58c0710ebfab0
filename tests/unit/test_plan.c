/* The memory plan holds whatever samples meet in a micro-batch: random data sets, batch sizes and limits through real steps.
 * A plan that is too small aborts in the arena; one that is too large is not reached by the largest micro-batch that there may be. */
#include "base/log.h"
#include "base/random.h"
#include "train/trainer.h"

#include "test_support.h"

static gm_config config; /* large: not on the stack */

typedef struct world {
    gm_backend *backend;
    gm_model *model;
    gm_adapter *adapter;
    gm_random random;
    gm_dataset data;
} world;

static int64_t pick(world *w, int64_t low, int64_t high) { return low + gm_random_below(&w->random, (uint32_t)(high - low + 1)); }

static void make_data(world *w, int64_t samples, int64_t longest, int64_t vocabulary) {
    w->data = (gm_dataset){.loss_on_all = pick(w, 0, 1) == 1};
    w->data.parts = 1;
    w->data.part[0].count = w->data.count = (size_t)samples;
    w->data.part[0].samples = gm_region_alloc(&w->data.part[0].region, (size_t)samples, sizeof *w->data.part[0].samples);
    for (int64_t i = 0; i < samples; i++) {
        gm_sample *sample = &w->data.part[0].samples[i];
        sample->length = (int32_t)pick(w, 2, pick(w, 2, longest));
        sample->prompt_length = (int32_t)pick(w, 1, sample->length - 1);
        sample->ids = gm_region_alloc(&w->data.part[0].region, (size_t)sample->length, sizeof *sample->ids);
        for (int32_t t = 0; t < sample->length; t++) sample->ids[t] = (int32_t)pick(w, 0, vocabulary - 1);
        if (sample->length > w->data.longest) w->data.longest = sample->length;
    }
}

/* reaches: some micro-batch is the bound itself. */
static void run_steps(world *w, int64_t steps, bool reaches) {
    gm_metrics metrics = {.file = -1, .adapter = &config.adapter, .total_steps = steps};
    gm_trainer trainer = {
        .config = &config, .data = &w->data, .backend = w->backend, .model = w->model, .adapter = w->adapter, .metrics = &metrics};
    assert_int_equal(gm_trainer_open(&trainer, NULL, 0), GM_OK);
    assert_int_equal(gm_trainer_place(&trainer), GM_OK);
    for (int64_t i = 0; i < steps; i++) assert_int_equal(gm_trainer_step(&trainer), GM_OK);
    if (reaches) {
        assert_int_equal(trainer.step.activations.peak, trainer.plan.activations);
        assert_int_equal(w->backend->scratch.peak, trainer.plan.scratch);
        assert_int_equal(trainer.step.host.peak, trainer.plan.host);
    }
    gm_trainer_close(&trainer);
    gm_metrics_close(&metrics);
    gm_region_free(&w->data.part[0].region);
}

static void open_world(world *w, int64_t vocabulary) {
    gm_model_config shape = {.model_type = "llama",
                             .hidden_size = 16,
                             .ffn_size = 24,
                             .layers = 2,
                             .heads = 2,
                             .kv_heads = 1,
                             .head_dim = 8,
                             .vocabulary = vocabulary,
                             .max_positions = 512,
                             .norm_eps = 1e-5,
                             .rope_theta = 10000,
                             .eos_token = -1,
                             .bos_token = -1};
    assert_int_equal(gm_config_load(&config, NULL,
                                    (const gm_setting[]){{"test", "adapter.num_experts", "3"},
                                                         {"test", "adapter.router.hidden_size", "8"},
                                                         {"test", "dtype", "f32"}},
                                    3),
                     GM_OK);
    assert_int_equal(gm_backend_open_cpu(&w->backend, 1), GM_OK);
    assert_int_equal(gm_model_open_random(&w->model, w->backend, &shape, GM_F32, 1), GM_OK);
    assert_int_equal(gm_adapter_create(&w->adapter, w->model, &config.adapter, 1), GM_OK);
    assert_int_equal(gm_adapter_prepare_training(w->adapter), GM_OK);
}

static void close_world(world *w) {
    gm_adapter_close(w->adapter);
    gm_model_close(w->model);
    gm_backend_close(w->backend);
}

static void random_data_sets(void **state) {
    (void)state;
    world w = {.random = gm_random_begin(11, GM_RANDOM_TEST, 0)};
    open_world(&w, 50);
    for (int i = 0; i < 60; i++) {
        config.train.batch_size = pick(&w, 1, 9);
        config.train.micro_batch_tokens = pick(&w, 1, 300);
        config.train.micro_batch_samples = pick(&w, 0, 1) * pick(&w, 1, 12);
        config.train.activation_checkpointing = pick(&w, 0, 1) == 1;
        config.train.loss_mean = config.train.micro_batch_samples && pick(&w, 0, 1) ? GM_LOSS_MEAN_MICRO_BATCH : GM_LOSS_MEAN_STEP;
        make_data(&w, pick(&w, 1, 20), pick(&w, 2, 150), 50);
        run_steps(&w, 8, false);
    }
    close_world(&w);
}

/* Many short samples of a step: nearly as many sequences as there may be, of a length that does not divide the tokens. */
static void many_sequences(void **state) {
    (void)state;
    world w = {.random = gm_random_begin(15, GM_RANDOM_TEST, 0)};
    open_world(&w, 50);
    for (int i = 0; i < 20; i++) {
        config.train.batch_size = pick(&w, 17, 90);
        config.train.micro_batch_tokens = 100000;
        config.train.activation_checkpointing = i % 2 == 1;
        make_data(&w, pick(&w, 17, 90), pick(&w, 4, 30), 50);
        run_steps(&w, 4, false);
    }
    close_world(&w);
}

/* A few long samples that a mixture draws many times an epoch, so that they meet themselves in a micro-batch. */
static void mixtures(void **state) {
    (void)state;
    world w = {.random = gm_random_begin(16, GM_RANDOM_TEST, 0)};
    open_world(&w, 50);
    for (int i = 0; i < 20; i++) {
        config.train.batch_size = pick(&w, 2, 20);
        config.train.micro_batch_tokens = pick(&w, 100, 100000);
        config.train.micro_batch_samples = pick(&w, 0, 1) * pick(&w, 1, 12);
        config.train.mix.count = 2;
        config.train.mix.weight[0] = (double)pick(&w, 1, 9);
        config.train.mix.weight[1] = (double)pick(&w, 1, 9);
        make_data(&w, 40, 9, 50);
        size_t longer = (size_t)pick(&w, 1, 3);
        for (size_t s = 0; s < longer; s++) {
            gm_sample *sample = &w.data.part[0].samples[s];
            sample->length = (int32_t)pick(&w, 60, 90);
            sample->ids = gm_region_alloc(&w.data.part[0].region, (size_t)sample->length, sizeof *sample->ids);
            if (sample->length > w.data.longest) w.data.longest = sample->length;
        }
        w.data.parts = 2;
        w.data.part[1] = (gm_dataset_part){.samples = w.data.part[0].samples + longer, .count = 40 - longer};
        w.data.part[0].count = longer;
        run_steps(&w, 12, false);
    }
    config.train.mix.count = 0;
    close_world(&w);
}

/* Samples of one length: the batch of all of them is the bound. */
static void the_plan_is_reached(void **state) {
    (void)state;
    world w = {.random = gm_random_begin(14, GM_RANDOM_TEST, 0)};
    open_world(&w, 50);
    for (int i = 0; i < 12; i++) {
        int64_t samples = pick(&w, 1, 9);
        config.train.batch_size = samples;
        config.train.micro_batch_tokens = 100000;
        config.train.activation_checkpointing = i % 2 == 1;
        make_data(&w, samples, 40, 50);
        w.data.loss_on_all = true;
        for (int64_t s = 0; s < samples; s++) w.data.part[0].samples[s] = w.data.part[0].samples[0];
        w.data.longest = w.data.part[0].samples[0].length;
        run_steps(&w, 2, true);
    }
    close_world(&w);
}

/* So large a vocabulary that the head's chunks have 64 rows: 65 rows make two chunks of 33, and 64 make one. */
static void chunks_of_the_head(void **state) {
    (void)state;
    world w = {.random = gm_random_begin(12, GM_RANDOM_TEST, 0)};
    open_world(&w, 400000);
    make_data(&w, 2, 40, 50);
    w.data.loss_on_all = true;
    w.data.longest = 66;
    for (int i = 0; i < 2; i++) {
        gm_sample *sample = &w.data.part[0].samples[i];
        sample->length = 66 - i; /* 65 and 64 targets */
        sample->ids = gm_region_alloc(&w.data.part[0].region, 66, sizeof *sample->ids);
    }
    config.train.batch_size = 1;
    config.train.shuffle = false;
    run_steps(&w, 2, true);
    close_world(&w);
}

/* Micro-batches of samples that have more tokens than there are places are refused before anything is allocated. */
static void too_many_tokens(void **state) {
    (void)state;
    world w = {.random = gm_random_begin(13, GM_RANDOM_TEST, 0)};
    open_world(&w, 50);
    make_data(&w, 8, 40, 50);
    for (int i = 0; i < 8; i++) w.data.part[0].samples[i].length = 1 << 28;
    config.train.batch_size = 16;
    config.train.micro_batch_samples = 6;
    gm_trainer trainer = {.config = &config, .data = &w.data, .backend = w.backend, .model = w.model, .adapter = w.adapter};
    assert_int_equal(gm_trainer_open(&trainer, NULL, 0), GM_USAGE);
    assert_string_equal(gm_error_text(), "train.micro_batch_samples: the 6 longest samples have 1610612736 tokens; take fewer");
    gm_trainer_close(&trainer);
    gm_region_free(&w.data.part[0].region);
    close_world(&w);
}

int main(void) {
    gm_log_set_level(GM_LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_data_sets),   cmocka_unit_test(many_sequences),
                                       cmocka_unit_test(mixtures),           cmocka_unit_test(the_plan_is_reached),
                                       cmocka_unit_test(chunks_of_the_head), cmocka_unit_test(too_many_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
