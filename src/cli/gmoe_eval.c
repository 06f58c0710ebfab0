/* gmoe-eval: scores a base model, with or without an adapter, on tasks. */
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/options.h"
#include "cli/run_directory.h"
#include "cli/spinning.h"
#include "io/mapped_guard.h"
#include "io/safetensors.h"
#include "train/dataset.h"
#include "train/device.h"
#include "train/score.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_SHOTS = 1000 }; /* as eval.shots */

typedef struct arguments {
    const char *base_model, *adapter, *like, *tasks, *data_dir, *split, *output, *items, *scoring, *prompt, *device, *dtype, *log_level;
    int64_t batch_tokens, max_length, limit, shots; /* max_length and shots −1: not given */
    bool texts, skip_bad, quiet;
} arguments;

typedef struct evaluation { /* what all tasks share */
    const arguments *arguments;
    gm_config *run;               /* of the run that made the adapter, or of --like, whose choices are defaults; NULL: not known */
    gm_task *run_tasks[GM_TASKS]; /* run->task; NULL where its task file is gone: then nothing is known of it */
    int64_t max_length;
    gm_backend *backend;
    gm_model *model;
    gm_type type;
    gm_adapter *adapter;
    gm_tokenizer *tokenizer;
    gm_buffer output, items; /* as written at the end */
    int tasks;
    bool several;
    double samples, seconds;
} evaluation;

static gm_status parse(arguments *a, int argc, char **argv, bool *done) {
    const gm_option options[] = {
        {"base-model", "DIR", GM_OPTION_TEXT, &a->base_model, "Hugging Face directory of the base model"},
        {"adapter", "DIR", GM_OPTION_TEXT, &a->adapter,
         "adapter directory (adapter/, best/ or a checkpoint), with its run's config.json for defaults; without it the base model alone"},
        {"like", "DIR", GM_OPTION_TEXT, &a->like,
         "defaults of the run that this is, or holds this adapter, for a base model to be compared with: dtype, max-length, prompt, "
         "scoring"},
        {"task", "NAME[,NAME…]", GM_OPTION_TEXT, &a->tasks, "tasks by name, or paths of task files"},
        {"data-dir", "DIR", GM_OPTION_TEXT, &a->data_dir, "the data set's folder, or one that holds it (default data)"},
        {"split", "train|validation|test", GM_OPTION_TEXT, &a->split, "part of the data set (default test)"},
        {"scoring", "label|likelihood", GM_OPTION_TEXT, &a->scoring,
         "default: the adapter's run's on its own task, else as the task's prompt says"},
        {"prompt", "NAME", GM_OPTION_TEXT, &a->prompt,
         "the task's prompt of this name (default: the adapter's run's on its own task, else paper)"},
        {"shots", "N", GM_OPTION_INTEGER, &a->shots,
         "solved examples before each question, the first N that the task names (default: the adapter's run's on its own task, else 0)"},
        {"output", "FILE.json", GM_OPTION_TEXT, &a->output, "results"},
        {"items", "FILE.jsonl", GM_OPTION_TEXT, &a->items, "scores and predictions of every item"},
        {"texts", NULL, GM_OPTION_FLAG, &a->texts, "with --items: each item's prompt, shots and all, and choices, as they are scored"},
        {"limit", "N", GM_OPTION_INTEGER, &a->limit, "only the first N items of each task (0: all)"},
        {"batch-tokens", "T", GM_OPTION_INTEGER, &a->batch_tokens, "tokens computed at once (default 16384)"},
        {"max-length", "T", GM_OPTION_INTEGER, &a->max_length,
         "tokens of a prompt with its choice; longer prompts lose their beginning (default: the adapter's run's, else 4096)"},
        {"dtype", "f32|bf16", GM_OPTION_TEXT, &a->dtype,
         "type of the products (default: the adapter's run's, else f32 for an F32 base model and bf16 for others)"},
        {"device", "auto|cpu|cuda[:N]", GM_OPTION_TEXT, &a->device, "where to compute (default auto)"},
        {"skip-bad", NULL, GM_OPTION_FLAG, &a->skip_bad, "leave bad data lines out, counted, instead of stopping"},
        {"quiet", NULL, GM_OPTION_FLAG, &a->quiet, "only warnings and errors"},
        {"log-level", GM_LOG_LEVELS, GM_OPTION_TEXT, &a->log_level, "what is said: least to most (default info)"},
    };
    const gm_program program = {.name = "gmoe-eval",
                                .summary = "Scores a language model, with or without an adapter, on multiple-choice tasks.",
                                .options = options,
                                .count = sizeof options / sizeof *options,
                                .computes = true,
                                .reads_tasks = true};
    return gm_options_parse(&program, argc, argv, done);
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

/* A file that cannot be written is found before hours of scoring. */
static gm_status check_writable(const char *option, const char *path) {
    char directory[GM_PATH];
    if (!path) return GM_OK;
    const char *slash = strrchr(path, '/');
    if ((size_t)snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".") >= sizeof directory)
        return gm_error(GM_USAGE, "%s: the path is too long", option);
    if (access(directory, W_OK) == 0 && !gm_directory_exists(path)) return GM_OK;
    return gm_error(GM_FAIL, "%s %s: cannot be written: %s", option, path, gm_directory_exists(path) ? "is a directory" : strerror(errno));
}

/* What a model or an adapter is made of; results may lie beside it. */
static bool is_part_of_model(const char *name) {
    static const char *const names[] = {"config.json",
                                        "generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "adapter_config.json",
                                        "evaluation.json",
                                        "state.json",
                                        "MANIFEST"};
    static const char *const endings[] = {".safetensors", ".safetensors.index.json", ".gz", ".bin", ".model", ".txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (gm_text_ends_with(name, endings[i])) return true;
    return false;
}

/* The file that `path` leads to would be replaced: under another name, or through a link, too. */
static gm_status spare_directory(const char *option, const char *path, const char *input, const char *directory) {
    DIR *opened = directory ? opendir(directory) : NULL;
    bool found = directory && !opened && gm_file_exists(path) && gm_same_file(directory, path);
    for (struct dirent *entry; opened && !found && (entry = readdir(opened)) != NULL;) {
        char file[GM_PATH];
        found = is_part_of_model(entry->d_name) && gm_path_join(file, directory, entry->d_name) == GM_OK && gm_file_exists(file) &&
                gm_same_file(file, path);
    }
    if (opened) closedir(opened);
    return found ? gm_error(GM_USAGE, "%s %s: is a file of %s, %s, and would be replaced", option, path, input, directory) : GM_OK;
}

static gm_status spare_task(evaluation *e, const gm_task *task) {
    const arguments *a = e->arguments;
    const char *const outputs[][2] = {{"--output", a->output}, {"--items", a->items}};
    for (int i = 0; i < 2; i++)
        if (outputs[i][1] && gm_task_reads(task, a->data_dir, outputs[i][1]))
            return gm_error(GM_USAGE, "%s %s: is a file of the task %s, and would be replaced", outputs[i][0], outputs[i][1],
                            gm_task_name(task));
    return GM_OK;
}

static gm_status spare_inputs(const arguments *a) {
    const char *const outputs[][2] = {{"--output", a->output}, {"--items", a->items}};
    for (int i = 0; i < 2; i++) {
        if (!outputs[i][1]) continue;
        GM_TRY(spare_directory(outputs[i][0], outputs[i][1], "--base-model", a->base_model));
        GM_TRY(spare_directory(outputs[i][0], outputs[i][1], "--adapter", a->adapter));
        GM_TRY(spare_directory(outputs[i][0], outputs[i][1], "--like", a->like));
    }
    return GM_OK;
}

static gm_status check_arguments(const arguments *a) {
    gm_scoring scoring;
    if (!a->base_model) return gm_error(GM_USAGE, "--base-model DIR is missing; --help says more");
    if (!gm_directory_exists(a->base_model)) return gm_error(GM_USAGE, "--base-model: %s: is no directory", a->base_model);
    if (!a->tasks) return gm_error(GM_USAGE, "--task NAME is missing; --help says more");
    if (a->scoring && (!gm_scoring_parse(a->scoring, &scoring) || scoring == GM_SCORING_AUTO))
        return gm_error(GM_USAGE, "--scoring: \"%.40s\" is none of label, likelihood", a->scoring);
    if (a->dtype && strcmp(a->dtype, "f32") != 0 && strcmp(a->dtype, "bf16") != 0)
        return gm_error(GM_USAGE, "--dtype: \"%.40s\" is none of f32, bf16", a->dtype);
    if (a->batch_tokens < 1) return gm_error(GM_USAGE, "--batch-tokens: must be at least 1");
    if (a->max_length >= 0 && a->max_length < 2) return gm_error(GM_USAGE, "--max-length: must be at least 2");
    if (a->shots > MOST_SHOTS) return gm_error(GM_USAGE, "--shots: must be 0 to %d", MOST_SHOTS);
    if (a->output && a->items && gm_same_file(a->output, a->items))
        return gm_error(GM_USAGE, "--output and --items: name the same file, %s", a->output);
    if (a->texts && !a->items) return gm_error(GM_USAGE, "--texts: stands without --items FILE, which they would be written to");
    if (a->adapter) GM_TRY(gm_check_adapter_path("--adapter", a->adapter));
    if (a->like && a->adapter) return gm_error(GM_USAGE, "--like and --adapter exclude each other: an adapter is scored like its own run");
    GM_TRY(check_writable("--output", a->output));
    GM_TRY(check_writable("--items", a->items));
    GM_TRY(spare_inputs(a));
    return gm_device_check(a->device);
}

/* The base model's own type where nothing else is asked for: f32 weights give f32 scores. */
static gm_status choose_type(const evaluation *e, gm_type *type) {
    const arguments *a = e->arguments;
    gm_safetensors *file;
    *type = a->dtype ? strcmp(a->dtype, "bf16") == 0 ? GM_BF16 : GM_F32 : e->run ? e->run->dtype : GM_F32;
    if (a->dtype || e->run) return GM_OK;
    GM_TRY(gm_safetensors_open_model(&file, a->base_model));
    for (size_t i = 0; i < gm_safetensors_count(file); i++)
        if (gm_safetensors_at(file, i)->rank == 2 && gm_safetensors_at(file, i)->type != GM_F32) *type = GM_BF16;
    gm_safetensors_close(file);
    return GM_OK;
}

/* ---- the run that made the adapter ------------------------------------------------------------------------------ */

/* DIRECTORY/config.json (a checkpoint's), or ../config.json (that of adapter/ and best/). Another program's is none. */
static gm_status find_run(evaluation *e, const char *adapter, char path[GM_PATH]) {
    static const char *const places[] = {"config.json", "../config.json"};
    for (size_t i = 0; i < sizeof places / sizeof *places && !e->run; i++) {
        gm_buffer text = {0};
        GM_TRY(gm_path_join(path, adapter, places[i]));
        if (!gm_file_exists(path)) continue;
        GM_ALLOC(e->run, 1);
        gm_status status = gm_file_read(&text, path, 1 << 22, GM_FAIL);
        if (status == GM_OK) status = gm_config_parse(e->run, path, gm_buffer_string(&text), text.length);
        gm_buffer_free(&text);
        if (status == GM_OK && e->run->task.count) return GM_OK;
        free(e->run);
        e->run = NULL;
        if (status == GM_NO_MEMORY) return status;
        gm_log(GM_LOG_DEBUG, "%s: is no configuration of a run: %s", path, status == GM_OK ? "no task" : gm_error_text());
    }
    return GM_OK;
}

/* What is taken from it in one line; nothing where every option was given. */
static void say_defaults(const evaluation *e, const char *path) {
    const arguments *a = e->arguments;
    gm_buffer text = {0};
    if (!a->dtype) gm_buffer_format(&text, ", dtype %s", e->run->dtype == GM_F32 ? "f32" : "bf16");
    if (a->max_length < 0) gm_buffer_format(&text, ", max-length %" PRId64, e->run->train.max_length);
    for (int i = 0; i < e->run->task.count; i++) {
        if (!e->run_tasks[i]) continue;
        const char *name = gm_task_name(e->run_tasks[i]);
        if (!a->prompt)
            gm_buffer_format(&text, ", for %s prompt %s%s%s", name, e->run->eval.prompt, a->scoring ? "" : " and scoring ",
                             a->scoring ? "" : gm_scoring_name(e->run->eval.scoring));
        if (a->shots < 0 && e->run->eval.shots) gm_buffer_format(&text, ", for %s %" PRId64 " shots", name, e->run->eval.shots);
    }
    if (text.length)
        gm_log(GM_LOG_INFO, "%s: defaults of the run%s: %s", path, a->like ? "" : " that made the adapter", gm_buffer_string(&text) + 2);
    gm_buffer_free(&text);
}

/* An adapter is scored as its run scored it, unless options say otherwise: two numbers of one adapter should be one number. */
static gm_status take_run(evaluation *e) {
    const arguments *a = e->arguments;
    char path[GM_PATH];
    if (a->adapter || a->like) GM_TRY(find_run(e, a->like ? a->like : a->adapter, path));
    if (a->like && !e->run)
        return gm_error(
            GM_USAGE, "--like %s: is no run's output directory, adapter/, best/ or checkpoint: there is no config.json of a run", a->like);
    e->max_length = a->max_length >= 0 ? a->max_length : e->run ? e->run->train.max_length : 4096;
    if (!e->run) return GM_OK;
    for (int i = 0; i < e->run->task.count; i++)
        if (gm_task_open(&e->run_tasks[i], e->run->task.name[i]) == GM_NO_MEMORY) return GM_NO_MEMORY;
    say_defaults(e, path);
    return GM_OK;
}

/* The run's choices for a prompt are meant for its own tasks. */
static const gm_config *run_on(const evaluation *e, const gm_task *task) {
    for (int i = 0; e->run && i < e->run->task.count; i++)
        if (e->run_tasks[i] && strcmp(gm_task_name(task), gm_task_name(e->run_tasks[i])) == 0) return e->run;
    return NULL;
}

static const char *prompt_for(const evaluation *e, const gm_task *task) {
    if (e->arguments->prompt) return e->arguments->prompt;
    return run_on(e, task) ? run_on(e, task)->eval.prompt : "paper";
}

static int64_t shots_for(const evaluation *e, const gm_task *task) {
    if (e->arguments->shots >= 0) return e->arguments->shots;
    return run_on(e, task) ? run_on(e, task)->eval.shots : 0;
}

static gm_status open_model(evaluation *e) {
    const arguments *a = e->arguments;
    GM_TRY(choose_type(e, &e->type));
    GM_TRY(gm_model_open(&e->model, e->backend, a->base_model, e->type));
    if (gm_tokenizer_vocabulary(e->tokenizer) > gm_model_config_of(e->model)->vocabulary)
        return gm_error(GM_BAD_FILE, "%s: the tokenizer has %d tokens, the model %" PRId64, a->base_model,
                        gm_tokenizer_vocabulary(e->tokenizer), gm_model_config_of(e->model)->vocabulary);
    if (!a->adapter) return GM_OK;
    gm_status status = gm_adapter_open(&e->adapter, e->model, a->adapter);
    return e->type == GM_F32 ? gm_error_remedy(status, "--dtype bf16 leaves more beside the base model") : status;
}

/* ---- one task --------------------------------------------------------------------------------------------------- */

static void write_strings(gm_buffer *out, const char *name, const char **strings, int count) {
    gm_buffer_format(out, ",\"%s\":[", name);
    for (int i = 0; i < count; i++) {
        if (i) gm_buffer_char(out, ',');
        gm_json_write_string(out, strings[i], strlen(strings[i]));
    }
    gm_buffer_char(out, ']');
}

/* The prompt once where the choices share it. */
static void write_texts(gm_buffer *out, const gm_eval_item *item) {
    if (item->prompts[item->choices - 1] == item->prompts[0]) {
        gm_buffer_text(out, ",\"prompt\":");
        gm_json_write_string(out, item->prompts[0], strlen(item->prompts[0]));
    } else {
        write_strings(out, "prompts", item->prompts, item->choices);
    }
    write_strings(out, "choices", item->texts, item->choices);
}

static void write_item(gm_buffer *out, const gm_eval_item *item, bool likelihood) {
    gm_buffer_format(out, "\"index\":%" PRId64 ",\"answer\":%d,\"prediction\":%d,\"scores\":[", item->index, item->answer,
                     item->prediction);
    for (int c = 0; c < item->choices; c++) {
        if (c) gm_buffer_char(out, ',');
        gm_json_write_double(out, item->scores[c]);
    }
    gm_buffer_char(out, ']');
    if (likelihood) gm_buffer_format(out, ",\"prediction_norm\":%d,\"prediction_bytes\":%d", item->prediction_norm, item->prediction_bytes);
    if (item->texts) write_texts(out, item);
}

static void write_items(evaluation *e, const char *task, const gm_eval_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        gm_buffer_char(&e->items, '{');
        if (e->several) {
            gm_buffer_text(&e->items, "\"task\":");
            gm_json_write_string(&e->items, task, strlen(task));
            gm_buffer_char(&e->items, ',');
        }
        write_item(&e->items, &set->items[i], set->options.scoring == GM_SCORING_LIKELIHOOD);
        gm_buffer_text(&e->items, "}\n");
    }
}

static gm_status show_progress(void *context, double done) {
    char line[128];
    snprintf(line, sizeof line, "%.60s  %3.0f %%", (const char *)context, 100 * done);
    gm_log_progress(line);
    return GM_OK;
}

static gm_status score_set(evaluation *e, gm_eval_set *set, const char *task, gm_eval_result *result) {
    gm_step step;
    int64_t positions = gm_model_config_of(e->model)->max_positions;
    if (set->longest > positions)
        gm_log(GM_LOG_WARN,
               "%s %s: sequences of up to %" PRId64 " tokens; the base model was made for %" PRId64 "; --max-length %" PRId64
               " would cut prompts to that",
               set->task, set->split, set->longest, positions, positions);
    gm_step_init(&step, e->backend, e->type);
    gm_status status = gm_step_measure(&step);
    if (status == GM_OK) status = gm_eval_set_measure(set, e->model, &step);
    gm_step_plan plan = gm_step_planned(&step);
    if (status == GM_OK) status = gm_error_remedy(gm_step_place(&step, &plan), "a lower --batch-tokens or --max-length needs less");
    if (status == GM_OK) status = gm_evaluate_items(set, e->model, &step, result, show_progress, (void *)(uintptr_t)task);
    gm_log_progress(NULL);
    gm_step_free(&step);
    return status;
}

static const char *type_name(gm_type type) { return type == GM_F32 ? "f32" : "bf16"; }

static gm_status report(evaluation *e, const char *task, const gm_eval_set *set, const char *prompt, const gm_eval_result *result) {
    const char *scoring = gm_scoring_name(set->options.scoring);
    gm_log(GM_LOG_INFO, "%s %s: dtype %s, max-length %" PRId64 ", prompt %s, scoring %s", task, set->split, type_name(e->type),
           e->max_length, prompt, result->by_loss ? "by loss" : scoring);
    gm_score_print(task, set->split, e->adapter ? "adapter" : "base", scoring, result);
    gm_buffer_text(&e->output, e->tasks++ ? ",\n  " : "\n  ");
    gm_score_write(&e->output, task, set->split, NULL, prompt, scoring, result);
    write_items(e, task, set);
    e->samples += (double)result->n;
    e->seconds += result->seconds;
    return gm_buffer_status(&e->items);
}

static gm_status score_task(evaluation *e, const gm_task *task) {
    const arguments *a = e->arguments;
    const gm_config *as_run = run_on(e, task);
    const char *prompt = prompt_for(e, task), *scoring = gm_task_default_scoring(task, prompt);
    gm_eval_options options = {.batch_tokens = a->batch_tokens,
                               .max_length = e->max_length,
                               .limit = a->limit,
                               .shots = shots_for(e, task),
                               .keep_texts = a->texts,
                               .append_eos = as_run ? gm_dataset_append_eos(task, as_run) : gm_task_append_eos(task)};
    gm_eval_source source = {
        .task = task, .data_dir = a->data_dir, .split = a->split, .prompt = prompt, .shots_name = "--shots", .skip_bad = a->skip_bad};
    bool unlabelled;
    gm_eval_set set = {0};
    gm_eval_result result;
    gm_chat *chat = NULL;
    if (!scoring) return gm_error(GM_USAGE, "--prompt: the task %s has no prompt \"%.40s\"", gm_task_name(task), prompt);
    if (as_run && !a->scoring && !a->prompt && as_run->eval.scoring != GM_SCORING_AUTO)
        scoring = gm_scoring_name(as_run->eval.scoring); /* it suits the run's prompt */
    gm_scoring_parse(a->scoring ? a->scoring : scoring, &options.scoring);
    gm_status status = gm_chat_open(&chat, a->base_model, e->tokenizer, gm_task_chat(task));
    options.chat = chat;
    if (status == GM_OK) status = gm_eval_set_load(&set, &source, e->tokenizer, &options, &unlabelled);
    if (status == GM_OK) gm_eval_set_warn(&set, "--max-length", "--scoring");
    gm_chat_close(chat);
    if (status == GM_OK && a->items && set.count == 0)
        status = gm_error(GM_USAGE, "--items: the split %s of %s has no choices, and so no scores of items; leave the option out", a->split,
                          gm_task_name(task));
    if (status == GM_OK && !e->model) status = open_model(e);
    if (status == GM_OK) status = score_set(e, &set, gm_task_name(task), &result);
    if (status == GM_OK) status = report(e, gm_task_name(task), &set, prompt, &result);
    gm_eval_set_free(&set);
    return status;
}

/* ---- all tasks -------------------------------------------------------------------------------------------------- */

static gm_status for_each_task(evaluation *e, gm_status (*visit)(evaluation *, const gm_task *)) {
    for (const char *name = e->arguments->tasks;;) {
        char one[GM_PATH];
        size_t length = strcspn(name, ",");
        gm_task *task = NULL;
        if (length >= sizeof one) return gm_error(GM_USAGE, "--task: a name is too long");
        memcpy(one, name, length);
        one[length] = '\0';
        gm_status status = gm_task_open(&task, one);
        if (status == GM_OK) status = visit(e, task);
        gm_task_close(task);
        GM_TRY(status);
        name += length;
        if (!*name++) return GM_OK;
    }
}

/* Adds those that are there to the message. */
static gm_status name_splits(const arguments *a, const gm_task *task, gm_status status) {
    static const char *const splits[] = {"train", "validation", "test"};
    char message[GM_ERROR_TEXT];
    gm_buffer found = {0};
    snprintf(message, sizeof message, "%s", gm_error_text());
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        bool there = false;
        if (gm_task_look_for(task, a->data_dir, splits[i], &there) == GM_OK && there)
            gm_buffer_format(&found, "%s--split %s", found.length ? ", " : "", splits[i]);
    }
    gm_error(status, "%s%s%s", message, found.length ? "; there is " : "", gm_buffer_string(&found));
    gm_buffer_free(&found);
    return status;
}

/* The split's file is there; else what loading it says. */
static gm_status check_split(evaluation *e, const gm_task *task, const char *split) {
    const arguments *a = e->arguments;
    gm_item_set items = {0};
    bool there;
    GM_TRY(gm_task_look_for(task, a->data_dir, split, &there));
    if (there) return GM_OK;
    gm_status status = gm_task_load(task, a->data_dir, split, prompt_for(e, task), a->skip_bad, &items);
    gm_item_set_free(&items);
    return status;
}

static gm_status check_task(evaluation *e, const gm_task *task) {
    const char *shots = gm_task_shots_of(task)->split;
    gm_status status = check_split(e, task, e->arguments->split);
    if (status == GM_BAD_FILE) return name_splits(e->arguments, task, status);
    if (status != GM_OK || !shots || !shots_for(e, task)) return status;
    status = check_split(e, task, shots);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "--shots");
}

/* A file that the last task lacks is found before the first one is scored. */
static gm_status score_all(evaluation *e) {
    e->several = strchr(e->arguments->tasks, ',') != NULL;
    if (e->arguments->output || e->arguments->items) GM_TRY(for_each_task(e, spare_task));
    GM_TRY(for_each_task(e, check_task));
    return for_each_task(e, score_task);
}

static gm_status write_files(evaluation *e) {
    const arguments *a = e->arguments;
    gm_buffer_text(&e->output, "],\n \"base_model\": ");
    gm_json_write_string(&e->output, a->base_model, strlen(a->base_model));
    gm_buffer_text(&e->output, ", \"adapter\": ");
    if (a->adapter)
        gm_json_write_string(&e->output, a->adapter, strlen(a->adapter));
    else
        gm_buffer_text(&e->output, "null");
    gm_buffer_format(&e->output, ", \"dtype\": \"%s\",\n \"samples_per_s\": ", type_name(e->type));
    gm_json_write_double(&e->output, e->samples / fmax(e->seconds, 1e-9));
    gm_buffer_format(&e->output, ", \"peak_memory_bytes\": %" PRId64 ", \"device_memory_bytes\": %zu}\n", gm_peak_memory(),
                     gm_backend_device_peak(e->backend));
    GM_TRY(gm_buffer_status(&e->output));
    if (a->output) GM_TRY(gm_file_replace(a->output, e->output.bytes, e->output.length));
    return a->items ? gm_file_replace(a->items, gm_buffer_string(&e->items), e->items.length) : GM_OK;
}

static gm_status run(const arguments *a) {
    evaluation e = {.arguments = a};
    GM_TRY(gm_set_verbosity(a->quiet, a->log_level));
    GM_TRY(check_arguments(a));
    GM_TRY(gm_tokenizer_open(&e.tokenizer, a->base_model));
    gm_buffer_text(&e.output, "{\"tasks\": [");
    gm_status status = take_run(&e);
    if (status == GM_OK) status = gm_device_open(&e.backend, a->device);
    if (status == GM_OK) status = score_all(&e);
    if (status == GM_OK) status = write_files(&e);
    gm_adapter_close(e.adapter);
    gm_model_close(e.model);
    gm_backend_close(e.backend);
    gm_tokenizer_close(e.tokenizer);
    for (int i = 0; i < GM_TASKS; i++) gm_task_close(e.run_tasks[i]);
    free(e.run);
    gm_buffer_free(&e.output);
    gm_buffer_free(&e.items);
    return status;
}

int main(int argc, char **argv) {
    arguments a = {.data_dir = "data", .split = "test", .device = "auto", .batch_tokens = 16384, .max_length = -1, .shots = -1};
    bool done;
    gm_file_hold_standard();
    gm_bound_spinning(argv);
    gm_mapped_guard_install("gmoe-eval");
    gm_status status = parse(&a, argc, argv, &done);
    if (status == GM_OK && !done) status = run(&a);
    return gm_program_end("gmoe-eval", status);
}
