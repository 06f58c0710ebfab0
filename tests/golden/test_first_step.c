/* Logits and every gradient of step 1 against the oracle's (tests/golden/CASE/step1.safetensors). Steps, final tensors
 * and scores are test_golden.sh's. */
#include "test_support.h"

#include "base/json.h"
#include "io/safetensors.h"
#include "model/decoder.h"
#include "train/batch.h"
#include "train/dataset.h"

#include <dirent.h>
#include <math.h>

typedef struct golden {
    char folder[512];
    gm_config config;
    gm_task *task;
    gm_tokenizer *tokenizer;
    gm_dataset data;
    gm_backend *backend;
    gm_model *model;
    gm_adapter *adapter;
    gm_safetensors *want;
    double logits_bound, each_bound, all_bound;
    bool parity;
    gm_step step;
    gm_pack pack;
} golden;

#define OK(expression)                                                                                                                     \
    do {                                                                                                                                   \
        if ((expression) != GM_OK) fail_msg("%s: %s: %s", g->folder, #expression, gm_error_text());                                        \
    } while (0)

static const char *in_case(const golden *g, const char *name) {
    static char path[4][1024];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", g->folder, name);
    return out;
}

static double bound(const cJSON *expected, const char *name) {
    const cJSON *item = gm_json_member(gm_json_member(expected, "bound"), name);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static void read_expected(golden *g) {
    gm_buffer text = {0};
    cJSON *expected;
    OK(gm_file_read(&text, in_case(g, "expected.json"), 1 << 24, GM_FAIL));
    OK(gm_json_parse("expected.json", gm_buffer_string(&text), text.length, &expected));
    g->parity = cJSON_IsTrue(gm_json_member(expected, "parity"));
    g->logits_bound = bound(expected, "logits");
    g->each_bound = bound(expected, "gradient_each");
    g->all_bound = bound(expected, "gradient_all");
    cJSON_Delete(expected);
    gm_buffer_free(&text);
}

/* narrow: matrices of a bf16 file stay so in f32, small as they are here. */
static void open_golden(golden *g, bool narrow) {
    read_expected(g);
    OK((g->parity ? gm_config_load_parity : gm_config_load)(&g->config, in_case(g, "config.json"), NULL, 0));
    snprintf(g->config.data_dir, sizeof g->config.data_dir, "%s", g->folder);
    OK(gm_task_open(&g->task, g->config.task.name[0]));
    OK(gm_tokenizer_open(&g->tokenizer, in_case(g, "base")));
    OK(gm_dataset_load(&g->data, &g->task, 1, g->tokenizer, &g->config, false));
    OK(gm_backend_open_cpu(&g->backend, 0));
    if (narrow && g->backend->narrow_least > 0) g->backend->narrow_least = 2;
    OK(gm_model_open(&g->model, g->backend, in_case(g, "base"), g->config.dtype));
    OK(gm_adapter_create(&g->adapter, g->model, &g->config.adapter, 1));
    OK(gm_adapter_load(g->adapter, in_case(g, "init")));
    OK(gm_adapter_prepare_training(g->adapter));
    OK(gm_safetensors_open(&g->want, in_case(g, "step1.safetensors")));
}

static void fill_pack(golden *g, int64_t begin, int64_t end) {
    gm_pack_clear(&g->pack);
    for (int64_t i = begin; i < end; i++) {
        gm_sample sample = gm_dataset_sample(&g->data, (size_t)i);
        OK(gm_pack_add(&g->pack, &sample, g->data.loss_on_all));
    }
}

static void close_golden(golden *g) {
    gm_step_free(&g->step);
    gm_pack_free(&g->pack);
    gm_safetensors_close(g->want);
    gm_model_close(g->model);
    gm_backend_close(g->backend);
    gm_dataset_free(&g->data);
    gm_tokenizer_close(g->tokenizer);
    gm_task_close(g->task);
}

static void forward_backward(golden *g, const gm_batch *batch) {
    gm_model_begin_step(g->model);
    gm_step_reset(&g->step, true);
    gm_model_loss(g->model, &g->step, batch, &(gm_step_share){.step_tokens = batch->tokens, .step_loss_tokens = batch->loss_rows});
    gm_step_backward(&g->step);
}

/* The first step in the micro-batches that make its loss. */
static void forward_backward_in_parts(golden *g) {
    int64_t size = g->config.train.micro_batch_samples, samples = g->config.train.batch_size;
    gm_model_begin_step(g->model);
    for (int64_t i = 0; i < samples; i += size) {
        fill_pack(g, i, i + size < samples ? i + size : samples);
        gm_batch batch = gm_batch_of(&g->pack);
        gm_step_reset(&g->step, true);
        gm_model_loss(g->model, &g->step, &batch, &(gm_step_share){.micro_batches = (samples + size - 1) / size});
        gm_step_backward(&g->step);
    }
}

/* The oracle's values; the caller frees. */
static float *wanted(const golden *g, const char *name, int64_t count) {
    const gm_file_tensor *tensor = gm_safetensors_find(g->want, name);
    if (!tensor) fail_msg("%s: no %s", g->folder, name);
    assert_int_equal(tensor->byte_count, (size_t)count * sizeof(float));
    float *values = malloc((size_t)count * sizeof *values);
    memcpy(values, tensor->bytes, (size_t)count * sizeof *values);
    return values;
}

static void check_logits(golden *g, const gm_batch *batch) {
    int64_t vocabulary = g->model->config.vocabulary, count = batch->loss_rows * vocabulary;
    int32_t *which = malloc((size_t)count * sizeof *which), *token = malloc((size_t)count * sizeof *token);
    float *logit = malloc((size_t)count * sizeof *logit), *log_sum = malloc((size_t)batch->loss_rows * sizeof *log_sum),
          *want = wanted(g, "logits", count);
    for (int64_t i = 0; i < count; i++) which[i] = (int32_t)(i / vocabulary), token[i] = (int32_t)(i % vocabulary);
    gm_score_request request = {batch->loss_row, batch->loss_rows, which, token, count, logit, log_sum};
    assert_int_equal(gm_step_measure(&g->step), GM_OK);
    forward_backward(g, batch);
    gm_step_reset(&g->step, false);
    gm_model_score(g->model, &g->step, batch, &request);
    gm_step_plan plan = gm_step_planned(&g->step);
    plan.scratch += (size_t)count * 16; /* the measuring run does not look at the request's tokens */
    OK(gm_step_place(&g->step, &plan));
    gm_model_score(g->model, &g->step, batch, &request);
    double error = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) error += pow((double)logit[i] - (double)want[i], 2), norm += pow((double)want[i], 2);
    printf("  logits %.1e (bound %.0e)", sqrt(error / norm), g->logits_bound);
    assert_true(sqrt(error / norm) <= g->logits_bound);
    free(which), free(token), free(logit), free(log_sum), free(want);
}

static void check_gradients(golden *g) {
    double all_error = 0, all_norm = 0, worst = 0;
    for (size_t i = 0; i < g->adapter->parameters.count; i++) {
        const gm_parameter *p = g->adapter->parameters.list[i];
        if (p->kind == GM_PARAMETER_FROZEN) continue;
        char name[512];
        snprintf(name, sizeof name, "grad.%s", p->name);
        int64_t rows = p->tensor.rows, columns = p->tensor.columns;
        float *want = wanted(g, name, rows * columns);
        const float *have = p->tensor.grad;
        double error = 0, norm = 0;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++) { /* B lies transposed in memory */
                double w = (double)want[p->kind == GM_PARAMETER_LORA_B ? c * rows + r : r * columns + c], h = (double)have[r * columns + c];
                error += (h - w) * (h - w), norm += w * w;
            }
        if (norm == 0 && error > 0) fail_msg("%s: %s: gradient %g where none should be", g->folder, p->name, sqrt(error));
        if (norm > 0 && sqrt(error / norm) > g->each_bound) fail_msg("%s: %s: gradient off by %g", g->folder, p->name, sqrt(error / norm));
        if (norm > 0 && sqrt(error / norm) > worst) worst = sqrt(error / norm);
        all_error += error, all_norm += norm;
        free(want);
    }
    printf("  gradients %.1e, worst tensor %.1e (bounds %.0e, %.0e)\n", sqrt(all_error / all_norm), worst, g->all_bound, g->each_bound);
    assert_true(sqrt(all_error / all_norm) <= g->all_bound);
}

static void check_case(const char *name, bool narrow) {
    golden opened = {0}, *g = &opened;
    snprintf(g->folder, sizeof g->folder, "tests/golden/%s", name);
    printf("%-14s%s", name, narrow ? " again" : "");
    open_golden(g, narrow);
    fill_pack(g, 0, g->config.train.batch_size);
    gm_batch batch = gm_batch_of(&g->pack);
    gm_step_init(&g->step, g->backend, g->config.dtype);
    check_logits(g, &batch);
    if (g->config.train.loss_mean == GM_LOSS_MEAN_MICRO_BATCH)
        forward_backward_in_parts(g);
    else
        forward_backward(g, &batch);
    check_gradients(g);
    close_golden(g);
}

static void test_every_case(void **state) {
    (void)state;
    int cases = 0;
    DIR *directory = opendir("tests/golden");
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "tests/golden/%.200s/step1.safetensors", entry->d_name);
        if (access(path, R_OK) != 0) continue;
        check_case(entry->d_name, false);
        check_case(entry->d_name, true);
        cases++;
    }
    closedir(directory);
    assert_true(cases >= 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_case)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
