/* The same run for several seeds. A seed that is done (its result.json is there, of this configuration, base model and data) is
 * not run again on --resume: its score is read back, so that an interrupted series goes on where it stopped. */
#include "train/config_keys.h"
#include "train/own_files.h"
#include "train/run_names.h"
#include "train/run_parts.h"

#include "base/json.h"
#include "base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES = 1 << 24 };

typedef struct gm_seed_value { /* of one adapter on the test split; NaN where there is none */
    double value, error;       /* error: standard error over the items; none of a loss */
} gm_seed_value;

enum { FINAL, BEST, ADAPTERS };

typedef struct gm_seed_task { /* one task's test split, or the mean over all of them */
    char name[256];
    bool by_loss;
    gm_seed_value of[ADAPTERS]; /* best: the final one's where they are the same, none where no evaluation chose one */
    double n;
} gm_seed_task;

typedef struct gm_seed_score {
    int64_t seed;
    bool done;                   /* before this program began */
    gm_seed_task task[GM_TASKS]; /* those that have a test split */
    int tasks;
    gm_seed_task mean; /* over them; of a single one itself */
    double trainable, seconds;
    char directory[GM_PATH];
} gm_seed_score;

/* ---- one seed --------------------------------------------------------------------------------------------------- */

static gm_status seed_config(gm_config *config, const gm_config *base, int64_t seed) {
    char name[GM_RUN_NAME];
    *config = *base;
    config->seed = seed;
    gm_seed_name(name, seed);
    return gm_path_join(config->output_dir, base->output_dir, name);
}

/* The entry of a task, made where it is the first of its name; NULL where there are too many. */
static gm_seed_task *task_called(gm_seed_score *score, const char *name) {
    for (int i = 0; i < score->tasks; i++)
        if (strcmp(score->task[i].name, name) == 0) return &score->task[i];
    if (score->tasks == GM_TASKS) return NULL;
    gm_seed_task *task = &score->task[score->tasks++];
    *task = (gm_seed_task){.of = {{NAN, NAN}, {NAN, NAN}}};
    snprintf(task->name, sizeof task->name, "%s", name);
    return task;
}

/* As gm_mean_of_results: of the accuracies, or, where no task has one, of the losses. */
static gm_seed_task mean_over_tasks(const gm_seed_score *score) {
    gm_seed_task mean = {.by_loss = true};
    int count = 0;
    for (int i = 0; i < score->tasks; i++) mean.by_loss = mean.by_loss && score->task[i].by_loss;
    for (int i = 0; i < score->tasks; i++) count += score->task[i].by_loss == mean.by_loss;
    for (int i = 0; i < score->tasks; i++) {
        const gm_seed_task *task = &score->task[i];
        if (task->by_loss != mean.by_loss) continue;
        mean.n += task->n;
        for (int a = 0; a < ADAPTERS; a++) {
            mean.of[a].value += task->of[a].value / count;
            mean.of[a].error = hypot(mean.of[a].error, task->of[a].error / count);
        }
    }
    return mean;
}

static void read_tree(const cJSON *result, gm_seed_score *score) {
    const cJSON *tasks = gm_json_member(result, "tasks"), *tree;
    bool same = gm_json_number_at(result, "best.step") == gm_json_number_at(result, "steps");
    score->trainable = gm_json_number_at(result, "trainable_parameters");
    score->seconds = gm_json_number_at(result, "train_seconds");
    score->tasks = 0;
    cJSON_ArrayForEach(tree, tasks) {
        double accuracy = gm_json_number_at(tree, "accuracy"), loss = gm_json_number_at(tree, "loss");
        bool best = strcmp(gm_json_text_at(tree, "adapter"), "best") == 0;
        gm_seed_task *task = task_called(score, gm_json_text_at(tree, "task"));
        if (!task) break;
        task->by_loss = !isfinite(accuracy);
        task->of[best ? BEST : FINAL] = (gm_seed_value){task->by_loss ? loss : accuracy, gm_json_number_at(tree, "stderr")};
        task->n = gm_json_number_at(tree, "n");
        if (same && !best) task->of[BEST] = task->of[FINAL];
    }
    score->mean = score->tasks == 1 ? score->task[0] : mean_over_tasks(score);
}

static bool read_score(const char *directory, gm_seed_score *score) {
    cJSON *tree = NULL;
    char path[GM_PATH];
    bool read = gm_path_join(path, directory, "result.json") == GM_OK && gm_file_exists(path) &&
                gm_json_parse_file(path, FILE_BYTES, GM_FAIL, &tree) == GM_OK;
    if (read) read_tree(tree, score);
    snprintf(score->directory, sizeof score->directory, "%s", directory);
    cJSON_Delete(tree);
    return read;
}

/* What the series is made from, found out when the first seed that is done has to be compared. */
typedef struct gm_series {
    const gm_config *config;
    const gm_run_options *options;
    gm_task *const *tasks;
    bool known;
    gm_run_identity identity;
} gm_series;

/* The scores of another base model, or of other data, must not be part of this mean. */
static gm_status check_made_from(gm_series *series, const gm_config *config, const char *result) {
    cJSON *tree = NULL;
    if (!series->known) GM_TRY(gm_run_identify_inputs(config, series->options, &series->identity));
    series->known = true;
    gm_status status = gm_json_parse_file(result, FILE_BYTES, GM_FAIL, &tree);
    if (status == GM_OK)
        status = gm_identity_check(&series->identity, gm_json_member(tree, "made_from"), result, config->output_dir,
                                   config->train.eval_every > 0, true);
    cJSON_Delete(tree);
    return status;
}

/* A seed that ended is done if it would end the same way now; told to go on for longer, it is resumed as any run. Another
 * configuration's is refused. */
static gm_status find_done(gm_series *series, gm_seed_score *score) {
    gm_config *config;
    char result[GM_PATH];
    GM_ALLOC(config, 1);
    gm_status status = seed_config(config, series->config, score->seed);
    if (status == GM_OK) status = gm_run_resolve_scoring(config, series->tasks);
    if (status == GM_OK) status = gm_path_join(result, config->output_dir, "result.json");
    if (status == GM_OK && gm_file_exists(result)) {
        status = gm_state_check_config(config, config->output_dir, &score->done);
        if (status == GM_OK && score->done) status = check_made_from(series, config, result);
        if (status == GM_OK && score->done) score->done = read_score(config->output_dir, score);
    }
    free(config);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "seed %" PRId64, score->seed);
}

static gm_status find_all_done(const gm_config *config, const gm_run_options *options, gm_seed_score *scores, size_t count) {
    gm_task *tasks[GM_TASKS] = {NULL};
    gm_series series = {.config = config, .options = options, .tasks = tasks};
    gm_status status = gm_run_open_tasks(config, tasks);
    for (size_t i = 0; i < count && status == GM_OK; i++) status = find_done(&series, &scores[i]);
    gm_run_close_tasks(tasks);
    return status;
}

/* The summary of an earlier series is replaced, another file of that name is not. */
static gm_status check_summary(const char *path) {
    bool ours;
    GM_TRY(gm_own_summary(path, &ours));
    if (ours || !gm_file_exists(path)) return GM_OK;
    return gm_error(GM_USAGE, "output_dir: %s: is not of gmoe-train, and would be replaced; take another output_dir, or move it away",
                    path);
}

/* What is wrong with any seed's directory, or with the summary's name, is known before the first seed trains. */
static gm_status check_outputs(const gm_config *base, const gm_run_options *options, const gm_seed_score *scores, size_t count) {
    gm_config *config;
    char summary[GM_PATH];
    struct stat info;
    bool single;
    GM_TRY(gm_own_run(base->output_dir, &single));
    if (single)
        return gm_error(GM_USAGE, "output_dir: %s: holds a run; give --seeds another output_dir, for a folder of each seed",
                        base->output_dir);
    GM_TRY(gm_path_join(summary, base->output_dir, "summary.json"));
    if (lstat(summary, &info) == 0 && !S_ISREG(info.st_mode))
        return gm_error(GM_FAIL, "output_dir: %s: is no regular file; remove it, or take another output_dir", summary);
    GM_TRY(check_summary(summary));
    if (!options->dry_run) GM_TRY(gm_file_remove_drafts(summary));
    GM_ALLOC(config, 1);
    gm_status status = GM_OK;
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        gm_output output = {.lock = -1};
        status = seed_config(config, base, scores[i].seed);
        if (status == GM_OK) status = gm_run_open_output(&output, config, options);
        if (!options->dry_run) gm_output_close(&output);
        if (status != GM_OK) gm_error_prefix(status, "seed %" PRId64, scores[i].seed);
    }
    free(config);
    return status;
}

static gm_status run_seed(const gm_config *base, const gm_run_options *options, gm_seed_score *score) {
    gm_config *config;
    GM_ALLOC(config, 1);
    gm_status status = seed_config(config, base, score->seed);
    if (status == GM_OK && score->done) {
        gm_log(GM_LOG_INFO, "seed %" PRId64 ": is done", score->seed);
    } else if (status == GM_OK) {
        gm_log(GM_LOG_INFO, "seed %" PRId64 ": %s", score->seed, config->output_dir);
        status = gm_run(config, options);
        if (status == GM_OK && !options->dry_run) read_score(config->output_dir, score);
    }
    free(config);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "seed %" PRId64, score->seed);
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

typedef struct gm_seed_mean {
    double mean, std, error; /* over the seeds, n − 1; error: std/√n; NaN where a seed has no value */
} gm_seed_mean;

enum { OVER_TASKS = -1 };

/* Of one task, or the mean over them. */
static const gm_seed_task *task_of(const gm_seed_score *score, int task) { return task == OVER_TASKS ? &score->mean : &score->task[task]; }

static gm_seed_mean mean_of(const gm_seed_score *scores, size_t count, int task, int adapter) {
    gm_seed_mean m = {0};
    double squares = 0, n = (double)count;
    for (size_t i = 0; i < count; i++) m.mean += task_of(&scores[i], task)->of[adapter].value / n;
    for (size_t i = 0; i < count; i++) squares += pow(task_of(&scores[i], task)->of[adapter].value - m.mean, 2);
    m.std = count > 1 ? sqrt(squares / (n - 1)) : squares; /* a single seed's is 0, or NaN */
    m.error = m.std / sqrt(n);
    return m;
}

static void write_pair(gm_buffer *out, const char *name, double final, double best) {
    gm_buffer_format(out, "\"%s\": {\"final\": ", name);
    gm_json_write_double(out, final);
    gm_json_write_number(out, "best", best);
    gm_buffer_char(out, '}');
}

static void write_value(gm_buffer *out, const gm_seed_task *task) {
    write_pair(out, "score", task->of[FINAL].value, task->of[BEST].value);
    gm_buffer_text(out, ", ");
    write_pair(out, "stderr", task->of[FINAL].error, task->of[BEST].error);
    gm_json_write_number(out, "n", task->n);
}

static void write_seed(gm_buffer *out, const gm_seed_score *score) {
    gm_buffer_format(out, "{\"seed\": %" PRId64 ", ", score->seed);
    write_value(out, &score->mean);
    gm_json_write_number(out, "trainable_parameters", score->trainable);
    gm_json_write_number(out, "train_seconds", score->seconds);
    gm_buffer_text(out, ", \"directory\": ");
    gm_json_write_string(out, score->directory, strlen(score->directory));
    gm_buffer_char(out, '}');
}

static void write_means(gm_buffer *out, const gm_seed_score *scores, size_t count, int task) {
    gm_seed_mean final = mean_of(scores, count, task, FINAL), best = mean_of(scores, count, task, BEST);
    write_pair(out, "mean", final.mean, best.mean);
    gm_buffer_text(out, ", ");
    write_pair(out, "std", final.std, best.std);
    gm_buffer_text(out, ", ");
    write_pair(out, "stderr", final.error, best.error);
}

static const char *metric_of(const gm_seed_task *task) { return task->by_loss ? "loss" : "accuracy"; }

/* "tasks": each with its seeds' scores and their mean; the members beside it are of the mean over tasks. */
static void write_tasks(gm_buffer *out, const gm_seed_score *scores, size_t count) {
    gm_buffer_text(out, ",\n \"tasks\": [");
    for (int t = 0; t < scores[0].tasks; t++) {
        const gm_seed_task *first = &scores[0].task[t];
        gm_buffer_text(out, t ? ",\n  {\"task\": " : "\n  {\"task\": ");
        gm_json_write_string(out, first->name, strlen(first->name));
        gm_buffer_format(out, ", \"metric\": \"%s\", ", metric_of(first));
        write_means(out, scores, count, t);
        gm_buffer_text(out, ", \"seeds\": [");
        for (size_t i = 0; i < count; i++) {
            gm_buffer_format(out, "%s{\"seed\": %" PRId64 ", ", i ? ", " : "", scores[i].seed);
            write_value(out, &scores[i].task[t]);
            gm_buffer_char(out, '}');
        }
        gm_buffer_text(out, "]}");
    }
    gm_buffer_char(out, ']');
}

static gm_status write_summary(const gm_config *config, const gm_seed_score *scores, size_t count) {
    gm_buffer text = {0};
    char path[GM_PATH];
    gm_buffer_text(&text, "{\"task\": ");
    gm_config_write_value(&text, config, gm_config_find_key("task"));
    gm_buffer_format(&text, ", \"method\": \"%s\", \"split\": \"test\", \"metric\": \"%s\"", gm_config_method_name(config),
                     metric_of(&scores[0].mean));
    gm_json_write_number(&text, "n", scores[0].mean.n);
    gm_json_write_number(&text, "trainable_parameters", scores[0].trainable);
    gm_buffer_text(&text, ",\n \"seeds\": [");
    for (size_t i = 0; i < count; i++) {
        gm_buffer_text(&text, i ? ",\n  " : "\n  ");
        write_seed(&text, &scores[i]);
    }
    gm_buffer_text(&text, "],\n ");
    write_means(&text, scores, count, OVER_TASKS);
    if (scores[0].tasks > 1) write_tasks(&text, scores, count);
    gm_buffer_text(&text, "}\n");
    gm_status status = gm_buffer_status(&text);
    if (status == GM_OK) status = gm_path_join(path, config->output_dir, "summary.json");
    if (status == GM_OK) status = gm_file_replace(path, text.bytes, text.length);
    gm_buffer_free(&text);
    return status;
}

static void print_value(gm_seed_value value) {
    char error[32] = "";
    if (isfinite(value.error)) snprintf(error, sizeof error, "± %.4f", value.error);
    printf("   %8.4f %*s", value.value, isfinite(value.error) ? 9 : 8, error); /* ± is two bytes */
}

static void print_summary(const char *name, double final, double best) {
    printf("%-10s   %8.4f", name, final);
    if (isfinite(best)) printf("            %8.4f", best);
    putchar('\n');
}

/* The best adapter's column stands where every seed has one. */
static void print_table(const gm_seed_score *scores, size_t count, int task) {
    const gm_seed_task *first = task_of(&scores[0], task);
    gm_seed_mean final = mean_of(scores, count, task, FINAL), best = mean_of(scores, count, task, BEST);
    bool has_best = isfinite(best.mean);
    char duration[32];
    printf("\n%s%s%s on test, n = %.0f, with %.0f trainable parameters\n%-10s   %-17s", scores[0].tasks == 1 ? "" : first->name,
           scores[0].tasks == 1 || !first->name[0] ? "" : ": ", first->by_loss ? "loss" : "accuracy ± standard error", first->n,
           scores[0].trainable, "seed", "   final");
    if (has_best) printf("   %-17s", "    best");
    printf("       time\n");
    for (size_t i = 0; i < count; i++) {
        printf("%-10" PRId64, scores[i].seed);
        for (int adapter = 0; adapter <= (has_best ? BEST : FINAL); adapter++) print_value(task_of(&scores[i], task)->of[adapter]);
        gm_format_duration(duration, scores[i].seconds);
        printf("   %8s   %s\n", duration, scores[i].directory);
    }
    print_summary("mean", final.mean, best.mean);
    print_summary("Std", final.std, best.std);
    print_summary("Std error", final.error, best.error);
}

static gm_status summarise(const gm_config *config, gm_seed_score *scores, size_t count) {
    int tasks = scores[0].tasks;
    for (size_t i = 0; i < count; i++)
        if (scores[i].tasks == 0 || scores[i].tasks != tasks)
            return gm_log(GM_LOG_INFO, tasks ? "the seeds have not the same test splits: no summary" : "no test split: no summary"), GM_OK;
    for (int task = 0; tasks > 1 && task < tasks; task++) print_table(scores, count, task);
    for (size_t i = 0; tasks > 1 && i < count; i++) snprintf(scores[i].mean.name, sizeof scores[i].mean.name, "mean of %d tasks", tasks);
    print_table(scores, count, OVER_TASKS);
    return write_summary(config, scores, count);
}

gm_status gm_run_seeds(const gm_config *config, const gm_run_options *options, const int64_t *seeds, size_t count) {
    gm_seed_score *scores;
    GM_ALLOC(scores, count);
    for (size_t i = 0; i < count; i++) scores[i].seed = seeds[i];
    gm_status status = check_outputs(config, options, scores, count);
    if (status == GM_OK && options->existing == GM_EXISTING_RESUME) status = find_all_done(config, options, scores, count);
    for (size_t i = 0; i < count && status == GM_OK; i++) status = run_seed(config, options, &scores[i]);
    if (status == GM_OK && !options->dry_run) status = summarise(config, scores, count);
    free(scores);
    return status;
}
