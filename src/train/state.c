#include "train/state.h"

#include "base/json.h"
#include "base/log.h"
#include "io/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { FILE_BYTES = 1 << 22, OPTIMIZER_TENSORS = 4 };

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static gm_status write_optimizer(const gm_snapshot *s, const char *directory) {
    const gm_adapter_buffers *buffers = gm_adapter_buffers_of(s->adapter);
    size_t bytes = (size_t)buffers->count * sizeof(float);
    int64_t counts;
    double *count = gm_adapter_counts(s->adapter, &counts);
    int64_t layers = 0, experts = 0;
    double *load = gm_adapter_expert_load(s->adapter, &layers, &experts);
    float *host = gm_alloc(2 * (size_t)buffers->count, sizeof *host);
    char path[GM_PATH];
    if (!host) return GM_NO_MEMORY;
    s->backend->read(s->backend, host, buffers->moment1, bytes);
    s->backend->read(s->backend, host + buffers->count, buffers->moment2, bytes);
    gm_write_tensor tensors[OPTIMIZER_TENSORS] = {
        {.name = "moment1", .type = GM_F32, .rank = 1, .dim = {buffers->count}, .data = host},
        {.name = "moment2", .type = GM_F32, .rank = 1, .dim = {buffers->count}, .data = host + buffers->count},
        {.name = "counts", .type = GM_F64, .rank = 1, .dim = {counts}, .data = count},
        {.name = "expert_load", .type = GM_F64, .rank = 1, .dim = {load ? layers * experts : 0}, .data = load}};
    gm_status status = gm_backend_check(s->backend);
    if (status == GM_OK) status = gm_path_join(path, directory, "optimizer.safetensors");
    if (status == GM_OK) status = gm_safetensors_write(path, tensors, OPTIMIZER_TENSORS, NULL, 0);
    free(host);
    return status;
}

static gm_status write_text_file(gm_buffer *text, const char *directory, const char *name) {
    char path[GM_PATH];
    gm_status status = gm_buffer_status(text);
    if (status == GM_OK) status = gm_path_join(path, directory, name);
    if (status == GM_OK) status = gm_file_write(path, text->bytes, text->length);
    gm_buffer_free(text);
    return status;
}

void gm_identity_write(gm_buffer *out, const gm_run_identity *identity) {
    gm_buffer_format(out,
                     "\"base\": \"%016" PRIx64 "\", \"tokenizer\": \"%08" PRIx32 "\", \"dataset\": \"%08" PRIx32
                     "\", \"validation\": \"%08" PRIx32 "\", \"test\": \"%08" PRIx32 "\", \"samples\": %" PRId64 ", \"threads\": %d",
                     identity->base, identity->tokenizer, identity->dataset, identity->validation, identity->test, identity->samples,
                     identity->threads);
}

static gm_status write_state(const gm_snapshot *s, const char *directory) {
    const gm_train_state *state = s->state;
    gm_buffer text = {0};
    gm_buffer_format(&text, "{\"step\": %" PRId64 ", \"tokens\": %" PRId64 ", \"seconds\": ", state->step, state->tokens);
    gm_json_write_double(&text, state->seconds);
    gm_buffer_format(&text, ",\n \"evaluated_step\": %" PRId64 ", \"best_step\": %" PRId64 ", \"best\": ", state->evaluated_step,
                     state->best_step);
    gm_json_write_double(&text, state->best);
    gm_buffer_format(&text, ", \"stale\": %" PRId64 ",\n ", state->stale);
    gm_identity_write(&text, s->identity);
    gm_buffer_text(&text, "}\n");
    return write_text_file(&text, directory, "state.json");
}

gm_status gm_state_write_adapter(void *snapshot, const char *directory) {
    const gm_snapshot *s = snapshot;
    return gm_adapter_save(s->adapter, directory, s->state->step, s->config->base_model);
}

gm_status gm_state_write(void *snapshot, const char *directory) {
    const gm_snapshot *s = snapshot;
    gm_buffer config = {0};
    GM_TRY(gm_state_write_adapter(snapshot, directory));
    GM_TRY(write_optimizer(s, directory));
    GM_TRY(write_state(s, directory));
    gm_config_write(&config, s->config);
    return write_text_file(&config, directory, "config.json");
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static gm_status read_text_file(gm_buffer *text, const char *directory, const char *name, char path[GM_PATH]) {
    GM_TRY(gm_path_join(path, directory, name));
    return gm_file_read(text, path, FILE_BYTES, GM_BAD_FILE);
}

gm_status gm_state_check_config(const gm_config *config, const char *directory, bool *same_length) {
    gm_buffer text = {0}, difference = {0};
    char path[GM_PATH];
    gm_config *saved = gm_alloc(1, sizeof *saved);
    gm_status status = saved ? read_text_file(&text, directory, "config.json", path) : GM_NO_MEMORY;
    if (status == GM_OK) status = gm_config_parse(saved, path, gm_buffer_string(&text), text.length);
    if (status == GM_OK && !gm_config_same_run(saved, config, &difference))
        status = difference.failed
                     ? gm_buffer_status(&difference)
                     : gm_error(GM_USAGE, "%s: was made with another configuration: %s; resume with the same, or take another output_dir",
                                directory, gm_buffer_string(&difference));
    if (status == GM_OK && same_length)
        *same_length = saved->train.epochs == config->train.epochs && saved->train.max_steps == config->train.max_steps &&
                       saved->eval.patience == config->eval.patience;
    free(saved);
    gm_buffer_free(&text);
    gm_buffer_free(&difference);
    return status;
}

static bool read_integer(const cJSON *tree, const char *name, int64_t *value) {
    const cJSON *item = gm_json_member(tree, name);
    return item && gm_json_is_integer(item, value);
}

static bool read_number(const cJSON *tree, const char *name, double *value) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);
    *value = cJSON_IsNumber(item) ? item->valuedouble : 0; /* a number that was not finite is null */
    return cJSON_IsNumber(item) || cJSON_IsNull(item);
}

static bool read_hash(const cJSON *tree, const char *name, uint64_t *value) {
    const cJSON *item = gm_json_member(tree, name);
    return cJSON_IsString(item) && sscanf(item->valuestring, "%16" SCNx64, value) == 1;
}

static gm_status differs(const char *directory, const char *what) {
    return gm_error(GM_USAGE, "%s: was made with another %s; resume with the same, or take another output_dir", directory, what);
}

gm_status gm_identity_check(const gm_run_identity *now, const cJSON *tree, const char *path, const char *directory, bool validates,
                            bool scored) {
    uint64_t base, tokenizer, dataset, validation, test;
    int64_t samples;
    if (!read_hash(tree, "base", &base) || !read_hash(tree, "tokenizer", &tokenizer) || !read_hash(tree, "dataset", &dataset) ||
        !read_hash(tree, "validation", &validation) || !read_hash(tree, "test", &test) || !read_integer(tree, "samples", &samples))
        return gm_error(GM_BAD_FILE, "%s: lacks what it was made from", path);
    if (base != now->base) return differs(directory, "base model (its weights or config.json differ)");
    if (tokenizer != now->tokenizer) return differs(directory, "tokenizer (tokenizer.json or tokenizer_config.json differ)");
    if (samples != now->samples)
        return gm_error(GM_USAGE,
                        "%s: was made with %" PRId64 " training samples; there are %" PRId64
                        " now; resume with the same data, or take another output_dir",
                        directory, samples, now->samples);
    if (dataset != now->dataset)
        return differs(directory, "data set (the training split's contents differ, or how the task file makes samples of them)");
    if (validation && validates && validation != now->validation)
        return differs(directory, "data set (the validation split, which chooses best/, differs or is gone)");
    if (scored && test != now->test) return differs(directory, "data set (the test split, which is scored, differs or is gone)");
    return GM_OK;
}

/* Resuming on another number is no fault: a run may have moved to another machine. */
static void note_threads(const gm_snapshot *s, const cJSON *tree, const char *directory) {
    int64_t threads, now = s->identity->threads;
    if (!read_integer(tree, "threads", &threads) || threads == now) return;
    if (threads == 0 || now == 0)
        gm_log(GM_LOG_WARN, "%s: was made on another device: the last bits of what follows differ", directory);
    else
        gm_log(GM_LOG_WARN, "%s: was made with %" PRId64 " threads, there are %" PRId64 " now: the last bits of what follows differ",
               directory, threads, now);
}

static uint32_t read_validation(const cJSON *tree) {
    uint64_t validation = 0;
    return read_hash(tree, "validation", &validation) ? (uint32_t)validation : 0;
}

static gm_status read_state(const gm_snapshot *s, const char *directory) {
    cJSON *tree = NULL;
    char path[GM_PATH];
    gm_train_state state;
    GM_TRY(gm_path_join(path, directory, "state.json"));
    gm_status status = gm_json_parse_file(path, FILE_BYTES, GM_BAD_FILE, &tree);
    if (status == GM_OK && !(read_integer(tree, "step", &state.step) && read_integer(tree, "tokens", &state.tokens) &&
                             read_number(tree, "seconds", &state.seconds) && read_integer(tree, "evaluated_step", &state.evaluated_step) &&
                             read_integer(tree, "best_step", &state.best_step) && read_number(tree, "best", &state.best) &&
                             read_integer(tree, "stale", &state.stale)))
        status = gm_error(GM_BAD_FILE, "%s: lacks a part of the run's state", path);
    if (status == GM_OK) status = gm_identity_check(s->identity, tree, path, directory, s->config->train.eval_every > 0, false);
    if (status == GM_OK && s->config->train.eval_every == 0) s->identity->validation = read_validation(tree);
    if (status == GM_OK) note_threads(s, tree, directory);
    if (status == GM_OK) *s->state = state;
    cJSON_Delete(tree);
    return status;
}

static gm_status read_tensor(const gm_safetensors *file, const char *path, const char *name, gm_type type, int64_t count,
                             const unsigned char **bytes) {
    const gm_file_tensor *tensor = gm_safetensors_find(file, name);
    if (!tensor || tensor->type != type || tensor->rank != 1 || tensor->dim[0] != count)
        return gm_error(GM_BAD_FILE, "%s: %s: is not a tensor of %" PRId64 " %s", path, name, count, gm_type_name(type));
    *bytes = tensor->bytes;
    return GM_OK;
}

static gm_status read_optimizer(const gm_snapshot *s, const char *directory) {
    const gm_adapter_buffers *buffers = gm_adapter_buffers_of(s->adapter);
    const unsigned char *moment1 = NULL, *moment2 = NULL, *saved_counts = NULL, *saved_load = NULL;
    int64_t counts, layers = 0, experts = 0;
    double *count = gm_adapter_counts(s->adapter, &counts), *load = gm_adapter_expert_load(s->adapter, &layers, &experts);
    int64_t loads = load ? layers * experts : 0;
    gm_safetensors *file = NULL;
    char path[GM_PATH];
    gm_status status = GM_OK;
    GM_TRY(gm_path_join(path, directory, "optimizer.safetensors"));
    GM_TRY(gm_safetensors_open(&file, path));
    GM_TRY_GOTO(read_tensor(file, path, "moment1", GM_F32, buffers->count, &moment1));
    GM_TRY_GOTO(read_tensor(file, path, "moment2", GM_F32, buffers->count, &moment2));
    GM_TRY_GOTO(read_tensor(file, path, "counts", GM_F64, counts, &saved_counts));
    GM_TRY_GOTO(read_tensor(file, path, "expert_load", GM_F64, loads, &saved_load));
    s->backend->write(s->backend, buffers->moment1, moment1, (size_t)buffers->count * sizeof(float));
    s->backend->write(s->backend, buffers->moment2, moment2, (size_t)buffers->count * sizeof(float));
    if (counts) memcpy(count, saved_counts, (size_t)counts * sizeof *count);
    if (loads) memcpy(load, saved_load, (size_t)loads * sizeof *load);
done:
    gm_safetensors_close(file);
    return status;
}

gm_status gm_state_read(const gm_snapshot *snapshot, const char *directory) {
    GM_TRY(gm_state_check_config(snapshot->config, directory, NULL));
    GM_TRY(read_state(snapshot, directory));
    GM_TRY(gm_adapter_load(snapshot->adapter, directory));
    return read_optimizer(snapshot, directory);
}

/* ---- the tokenizer's files -------------------------------------------------------------------------------------- */

gm_status gm_tokenizer_checksum(const char *directory, uint32_t *checksum) {
    static const char *const names[] = {"tokenizer.json", "tokenizer.json.gz", "tokenizer_config.json"};
    uLong crc = crc32_z(0, NULL, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[GM_PATH];
        gm_mapped_file file;
        GM_TRY(gm_path_join(path, directory, names[i]));
        if (!gm_file_exists(path)) continue;
        GM_TRY(gm_file_map(&file, path, GM_BAD_FILE));
        if (file.length) crc = crc32_z(crc, file.bytes, file.length);
        gm_file_unmap(&file);
    }
    *checksum = (uint32_t)crc;
    return GM_OK;
}
