#include "cli/run_directory.h"

#include "base/json.h"
#include "data/line_reader.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/own_files.h"
#include "train/run_names.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 24 };

/* ---- what is there ---------------------------------------------------------------------------------------------- */

static bool has_file(const char *directory, const char *name) {
    char path[GM_PATH];
    return gm_path_join(path, directory, name) == GM_OK && gm_file_exists(path);
}

static bool has_directory(const char *directory, const char *name) {
    char path[GM_PATH];
    return gm_path_join(path, directory, name) == GM_OK && gm_directory_exists(path);
}

/* The seed of a directory's name seed-N, −1 where it is none. */
static int64_t seed_of(const char *name) {
    int64_t seed;
    return gm_seed_name_read(name, &seed) ? seed : -1;
}

static int is_seed(const struct dirent *entry) { return seed_of(entry->d_name) >= 0; }

static int by_seed(const struct dirent **a, const struct dirent **b) {
    int64_t left = seed_of((*a)->d_name), right = seed_of((*b)->d_name);
    return (left > right) - (left < right);
}

/* The seeds' directories, by seed; free each and *entries. None where there are none. */
static int list_seeds(const char *directory, struct dirent ***entries) {
    *entries = NULL;
    int count = scandir(directory, entries, is_seed, by_seed);
    return count > 0 ? count : 0;
}

static void free_list(struct dirent **entries, int count) {
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
}

static bool holds_run(const char *directory) {
    bool is_run;
    return gm_own_run(directory, &is_run) == GM_OK && is_run;
}

static bool holds_seeds(const char *directory) {
    char path[GM_PATH];
    bool ours;
    if (gm_path_join(path, directory, "summary.json") == GM_OK && gm_own_summary(path, &ours) == GM_OK && ours) return true;
    return gm_own_seed(directory, path) == GM_OK && path[0];
}

bool gm_is_run_directory(const char *path) {
    if (!gm_directory_exists(path) || has_file(path, "adapter_config.json") || has_file(path, "adapter_model.safetensors")) return false;
    return holds_run(path) || holds_seeds(path);
}

gm_status gm_check_adapter_path(const char *option, const char *path) {
    if (!gm_is_run_directory(path)) return GM_OK;
    if (!holds_run(path)) return gm_error(GM_USAGE, "%s: %s: is a run for several seeds; use %s/seed-N/adapter", option, path, path);
    if (has_directory(path, "adapter"))
        return gm_error(GM_USAGE, "%s: %s: is the output directory of a run; use %s/adapter%s", option, path, path,
                        has_directory(path, "best") ? " (the last) or best" : "");
    if (has_directory(path, "best"))
        return gm_error(GM_USAGE, "%s: %s: is the output directory of a run that is not finished; use %s/best", option, path, path);
    return gm_error(GM_USAGE, "%s: %s: is the output directory of a run that is not finished; use one of %s/checkpoints", option, path,
                    path);
}

/* ---- description ------------------------------------------------------------------------------------------------ */

static gm_status read_tree(cJSON **tree, const char *directory, const char *name) {
    char path[GM_PATH];
    GM_TRY(gm_path_join(path, directory, name));
    if (!gm_file_exists(path)) return GM_OK; /* *tree stays NULL */
    return gm_json_parse_file(path, FILE_BYTES, GM_BAD_FILE, tree);
}

/* The last step that metrics.jsonl tells of; 0: none. */
static gm_status last_step(const char *directory, int64_t *last) {
    gm_line_reader reader;
    char path[GM_PATH], *line;
    size_t length;
    *last = 0;
    if (!has_file(directory, "metrics.jsonl")) return GM_OK;
    GM_TRY(gm_path_join(path, directory, "metrics.jsonl"));
    GM_TRY(gm_line_reader_open(&reader, path, GM_BAD_FILE));
    gm_status status;
    while ((status = gm_line_reader_next(&reader, &line, &length)) == GM_OK && line) {
        cJSON *event = NULL;
        int64_t step;
        if (gm_json_parse(path, line, length, &event) == GM_OK && strcmp(gm_json_text_at(event, "event"), "step") == 0 &&
            gm_json_is_integer(gm_json_member(event, "step"), &step))
            *last = step;
        cJSON_Delete(event);
    }
    gm_line_reader_close(&reader);
    return status;
}

static gm_status describe_unfinished(gm_buffer *out, const char *directory) {
    char checkpoints[GM_PATH], newest[GM_PATH] = "";
    int64_t step, saved;
    GM_TRY(last_step(directory, &step));
    GM_TRY(gm_path_join(checkpoints, directory, GM_RUN_CHECKPOINTS));
    if (gm_directory_exists(checkpoints)) GM_TRY(gm_checkpoint_newest(checkpoints, newest, &saved));
    gm_buffer_format(out, "state: not finished, at step %" PRId64 "\n", step);
    if (newest[0])
        gm_buffer_format(out, "newest checkpoint: %s; gmoe-train with the same options and --resume goes on from it\n", newest);
    else
        gm_buffer_text(out, "newest checkpoint: none\n");
    return GM_OK;
}

/* "arc-c", or "arc-c, boolq" of a list; cut where it is long. */
static const char *task_names(const cJSON *tree, char names[256]) {
    const cJSON *given = gm_json_member(tree, "task"), *task;
    size_t length = 0;
    snprintf(names, 256, "%s", cJSON_IsString(given) ? given->valuestring : "");
    cJSON_ArrayForEach(task, given) {
        if (!cJSON_IsString(task) || length >= 256) break;
        length += (size_t)snprintf(names + length, 256 - length, "%s%s", length ? ", " : "", task->valuestring);
    }
    return names;
}

static void describe_score(gm_buffer *out, const cJSON *task) {
    gm_buffer_format(out, "result: %s %s, %s adapter: ", gm_json_text_at(task, "task"), gm_json_text_at(task, "split"),
                     gm_json_text_at(task, "adapter"));
    if (isfinite(gm_json_number_at(task, "accuracy")))
        gm_buffer_format(out, "accuracy %.4f ± %.4f (%.0f of %.0f, %s)\n", gm_json_number_at(task, "accuracy"),
                         gm_json_number_at(task, "stderr"), gm_json_number_at(task, "correct"), gm_json_number_at(task, "n"),
                         gm_json_text_at(task, "scoring"));
    else
        gm_buffer_format(out, "loss %.4f over %.0f samples\n", gm_json_number_at(task, "loss"), gm_json_number_at(task, "n"));
}

/* How unevenly experts are used: the extremes over all layers. */
static void describe_load(gm_buffer *out, const cJSON *load) {
    const cJSON *layer, *share;
    double least = 1, most = 0;
    if (!cJSON_IsArray(load)) return;
    cJSON_ArrayForEach(layer, load) cJSON_ArrayForEach(share, layer) {
        least = fmin(least, share->valuedouble);
        most = fmax(most, share->valuedouble);
    }
    gm_buffer_format(out, "expert load: %.1f to %.1f %% of a layer's slots, over %d layers\n", 100 * least, 100 * most,
                     cJSON_GetArraySize(load));
}

static void describe_finished(gm_buffer *out, const cJSON *result) {
    char duration[32];
    const cJSON *task;
    gm_format_duration(duration, gm_json_number_at(result, "train_seconds"));
    gm_buffer_format(out, "state: finished, %.0f steps in %s, %.0f tokens/s, %.0f trainable parameters, peak memory %.2f GiB\n",
                     gm_json_number_at(result, "steps"), duration, gm_json_number_at(result, "train_tokens_per_s"),
                     gm_json_number_at(result, "trainable_parameters"), gm_json_number_at(result, "peak_memory_bytes") / (1 << 30));
    cJSON_ArrayForEach(task, gm_json_member(result, "tasks")) describe_score(out, task);
    if (gm_json_member(result, "best")) {
        gm_metric metric = GM_METRIC_ACCURACY;
        char place[64];
        do snprintf(place, sizeof place, "best.%s", gm_metric_name(metric));
        while (!isfinite(gm_json_number_at(result, place)) && metric++ < GM_METRIC_LOSS);
        gm_buffer_format(out, "best: step %.0f, %s %.4f on validation\n", gm_json_number_at(result, "best.step"), place + strlen("best."),
                         gm_json_number_at(result, place));
    }
    describe_load(out, gm_json_member(result, "expert_load"));
}

static void describe_series(gm_buffer *out, const cJSON *summary, const char *directory) {
    const cJSON *seed;
    char names[256];
    double best;
    gm_buffer_format(out, "kind: runs of %s on %s for several seeds, finished\n", gm_json_text_at(summary, "method"),
                     task_names(summary, names));
    cJSON_ArrayForEach(seed, gm_json_member(summary, "seeds")) {
        gm_buffer_format(out, "result: seed %.0f: %s %.4f on test with the final adapter", gm_json_number_at(seed, "seed"),
                         gm_json_text_at(summary, "metric"), gm_json_number_at(seed, "score.final"));
        if (isfinite(best = gm_json_number_at(seed, "score.best"))) gm_buffer_format(out, ", %.4f with the best", best);
        gm_buffer_char(out, '\n');
    }
    gm_buffer_format(out, "mean: %.4f ± %.4f", gm_json_number_at(summary, "mean.final"), gm_json_number_at(summary, "std.final"));
    if (isfinite(best = gm_json_number_at(summary, "mean.best")))
        gm_buffer_format(out, ", best %.4f ± %.4f", best, gm_json_number_at(summary, "std.best"));
    gm_buffer_format(out, " (Std)\neach: gmoe-inspect %s/seed-N\n", directory);
}

/* Seeds without a summary: some of them are still to be run, or none had a test split. */
static gm_status describe_seeds(gm_buffer *out, const char *directory) {
    struct dirent **entries;
    int count = list_seeds(directory, &entries), done = 0;
    gm_status status = GM_OK;
    gm_buffer_text(out, "kind: runs for several seeds, without a summary\n");
    for (int i = 0; i < count && status == GM_OK; i++) {
        char path[GM_PATH];
        int64_t step = 0;
        status = gm_path_join(path, directory, entries[i]->d_name);
        bool finished = status == GM_OK && has_file(path, "result.json");
        if (status == GM_OK && !finished) status = last_step(path, &step);
        if (finished)
            gm_buffer_format(out, "state: %s: finished\n", entries[i]->d_name);
        else
            gm_buffer_format(out, "state: %s: not finished, at step %" PRId64 "\n", entries[i]->d_name, step);
        done += finished;
    }
    free_list(entries, count);
    gm_buffer_format(out,
                     done == count ? "each: gmoe-inspect %s/seed-N\n"
                                   : "gmoe-train with the same options, --seeds too, and --resume goes on with them; each: "
                                     "gmoe-inspect %s/seed-N\n",
                     directory);
    return status;
}

static gm_status describe_one(gm_buffer *out, const char *directory) {
    cJSON *config = NULL, *result = NULL;
    char names[256];
    gm_status status = read_tree(&config, directory, "config.json");
    if (status == GM_OK && !config) status = gm_error(GM_BAD_FILE, "%s: looks like a run, but has no config.json", directory);
    if (status == GM_OK) status = read_tree(&result, directory, "result.json");
    if (status == GM_OK) {
        gm_buffer_format(out, "kind: run of %s on %s, base model %s, seed %.0f, %s\n", gm_json_text_at(config, "method"),
                         task_names(config, names), gm_json_text_at(config, "base_model"), gm_json_number_at(config, "seed"),
                         gm_json_text_at(config, "dtype"));
        if (result)
            describe_finished(out, result);
        else
            status = describe_unfinished(out, directory);
    }
    cJSON_Delete(config);
    cJSON_Delete(result);
    GM_TRY(status);
    if (has_file(directory, "report.html")) gm_buffer_format(out, "report: %s/report.html\n", directory);
    static const char *const adapters[] = {"adapter", "best"};
    for (int i = 0; i < 2; i++)
        if (has_directory(directory, adapters[i])) gm_buffer_format(out, "adapter: %s/%s\n", directory, adapters[i]);
    return gm_buffer_status(out);
}

gm_status gm_describe_run(gm_buffer *out, const char *directory) {
    cJSON *summary = NULL;
    if (holds_run(directory)) return describe_one(out, directory);
    gm_status status = read_tree(&summary, directory, "summary.json");
    if (status == GM_OK && summary)
        describe_series(out, summary, directory);
    else if (status == GM_OK)
        status = describe_seeds(out, directory);
    cJSON_Delete(summary);
    return status == GM_OK ? gm_buffer_status(out) : status;
}
