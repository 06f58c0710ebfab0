/* The memory plan is made at the run's largest micro-batch, and must do for every smaller one: whatever a backend's kernels make of
 * a number of tokens, what they need never falls as the tokens grow. */
#include "op_test.h"

#include "base/log.h"
#include "model/decoder.h"
#include "train/batch.h"
#include "train/config.h"

enum { TOKENS = 330, SEQUENCES = 7 };

typedef struct shape {
    int64_t hidden, ffn, vocabulary;
    const char *experts, *top_k, *rank, *router, *layers;
    gm_type type;
} shape;

static gm_config config; /* large: not on the stack */

static void open_adapted(gm_model **model, gm_adapter **adapter, const shape *s) {
    gm_model_config base = {.model_type = "llama",
                            .hidden_size = s->hidden,
                            .ffn_size = s->ffn,
                            .layers = 2,
                            .heads = s->hidden / 8,
                            .kv_heads = s->hidden / 16,
                            .head_dim = 8,
                            .vocabulary = s->vocabulary,
                            .max_positions = TOKENS,
                            .norm_eps = 1e-5,
                            .rope_theta = 10000,
                            .eos_token = -1,
                            .bos_token = -1};
    const gm_setting settings[] = {{"test", "adapter.num_experts", s->experts},
                                   {"test", "adapter.top_k", s->top_k},
                                   {"test", "adapter.rank", s->rank},
                                   {"test", "adapter.router.hidden_size", s->router},
                                   {"test", "adapter.router.layers", s->layers}};
    assert_int_equal(gm_config_load(&config, NULL, settings, sizeof settings / sizeof *settings), GM_OK);
    assert_int_equal(gm_model_open_random(model, backend, &base, s->type, 1), GM_OK);
    assert_int_equal(gm_adapter_create(adapter, *model, &config.adapter, 1), GM_OK);
    assert_int_equal(gm_adapter_prepare_training(*adapter), GM_OK);
}

static gm_step_plan plan_of(gm_model *model, gm_type type, int32_t tokens, int32_t sequences, bool training) {
    static int32_t zeros[TOKENS], positions[TOKENS], rows[TOKENS], starts[SEQUENCES + 1];
    gm_pack pack = {.tokens = tokens,
                    .sequences = sequences,
                    .loss_rows = tokens - 1,
                    .ids = zeros,
                    .positions = positions,
                    .starts = starts,
                    .loss_row = rows,
                    .loss_target = zeros};
    for (int32_t s = 0; s <= sequences; s++) starts[s] = tokens * s / sequences;
    for (int32_t s = 0; s < sequences; s++)
        for (int32_t t = starts[s]; t < starts[s + 1]; t++) positions[t] = t - starts[s], rows[t] = t;
    gm_batch batch = gm_batch_of(&pack);
    gm_random dropout = gm_random_begin(0, GM_RANDOM_DROPOUT, 0);
    gm_step_share share = {.step_tokens = tokens, .step_loss_tokens = tokens, .dropout = &dropout};
    gm_step step;
    gm_step_init(&step, backend, type);
    assert_int_equal(gm_step_measure(&step), GM_OK);
    gm_step_reset(&step, training);
    gm_model_begin_step(model);
    if (training)
        gm_model_loss(model, &step, &batch, &share), gm_step_backward(&step);
    else
        gm_model_hidden(model, &step, &batch, NULL, NULL, NULL);
    gm_step_plan plan = gm_step_planned(&step);
    gm_step_free(&step);
    gm_backend_measure(backend, false);
    return plan;
}

static void check_shape(const shape *s, bool training, bool checkpointed) {
    gm_model *model;
    gm_adapter *adapter;
    open_adapted(&model, &adapter, s);
    gm_model_checkpoint_activations(model, checkpointed);
    for (int32_t sequences = 1; sequences <= SEQUENCES; sequences += SEQUENCES - 1) {
        gm_step_plan before = {0};
        for (int32_t tokens = sequences + 1; tokens <= TOKENS; tokens++) {
            gm_step_plan now = plan_of(model, s->type, tokens, sequences, training);
            if (now.activations < before.activations || now.scratch < before.scratch || now.host < before.host)
                fail_msg("hidden %lld, FFN %lld, %s experts, %s: %d tokens need %zu, %zu, %zu bytes, %d more: %zu, %zu, %zu",
                         (long long)s->hidden, (long long)s->ffn, s->experts, training ? "training" : "evaluating", tokens - 1,
                         before.activations, before.scratch, before.host, 1, now.activations, now.scratch, now.host);
            before = now;
        }
    }
    gm_adapter_close(adapter);
    gm_model_close(model);
}

static void needs_never_fall(void **state) {
    (void)state;
    static const shape shapes[] = {
        {32, 96, 40, "8", "2", "2", "16", "2", GM_F32},     {16, 200, 9000, "64", "2", "2", "24", "3", GM_BF16},
        {48, 40, 100, "3", "3", "9", "8", "2", GM_F32},     {16, 1100, 50, "8", "2", "1", "64", "1", GM_BF16},
        {64, 640, 30, "16", "4", "17", "12", "2", GM_BF16},
    };
    gm_log_set_level(GM_LOG_ERROR);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(&shapes[i], true, false);
        check_shape(&shapes[i], true, true);
        check_shape(&shapes[i], false, false);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(needs_never_fall)};
    return op_main("plan grows", tests);
}
