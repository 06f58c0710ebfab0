#include "train/own_files.h"
#include "train/run_parts.h"

#include "base/log.h"
#include "io/weights.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

gm_status gm_run_making(gm_status status, const char *what, const char *remedy) {
    if (status == GM_NO_MEMORY) gm_error(status, "%s: %s%s%s", what, gm_error_text(), remedy ? "; " : "", remedy ? remedy : "");
    return status;
}

/* What eval.scoring is for one task. */
static gm_status scoring_of(const gm_config *config, const gm_task *task, gm_scoring *scoring) {
    const char *usual = gm_task_default_scoring(task, config->eval.prompt);
    *scoring = config->eval.scoring;
    if (!usual) {
        gm_buffer known = {0};
        for (int i = 0; i < gm_task_prompt_count(task); i++) gm_buffer_format(&known, "%s%s", i ? ", " : "", gm_task_prompt_name(task, i));
        gm_status status = gm_error(GM_USAGE, "eval.prompt: the task %s has no prompt \"%s\"; it has %s", gm_task_name(task),
                                    config->eval.prompt, gm_buffer_string(&known));
        gm_buffer_free(&known);
        return status;
    }
    if (*scoring == GM_SCORING_AUTO && !gm_scoring_parse(usual, scoring))
        return gm_error(GM_USAGE, "%s: scoring %s", gm_task_name(task), usual);
    return GM_OK;
}

gm_status gm_run_resolve_scoring(gm_config *config, gm_task *const *tasks) {
    gm_scoring first = GM_SCORING_AUTO, scoring;
    for (int i = 0; i < config->task.count; i++) {
        GM_TRY(scoring_of(config, tasks[i], &scoring));
        if (i == 0) first = scoring;
        if (scoring != first) return GM_OK;
    }
    config->eval.scoring = first;
    return GM_OK;
}

/* Two files of one name would be told apart by nothing in what the run writes. */
static gm_status refuse_same_name(gm_task *const *tasks, int count) {
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(gm_task_name(tasks[i]), gm_task_name(tasks[k])) == 0)
                return gm_error(GM_USAGE, "two tasks are called %s; rename a task file", gm_task_name(tasks[i]));
    return GM_OK;
}

gm_status gm_run_open_tasks(const gm_config *config, gm_task *tasks[GM_TASKS]) {
    gm_status status = GM_OK;
    for (int i = 0; i < config->task.count && status == GM_OK; i++) status = gm_task_open(&tasks[i], config->task.name[i]);
    if (status == GM_OK) status = refuse_same_name(tasks, config->task.count);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "task");
}

void gm_run_close_tasks(gm_task *tasks[GM_TASKS]) {
    for (int i = 0; i < GM_TASKS; i++) {
        gm_task_close(tasks[i]);
        tasks[i] = NULL;
    }
}

gm_status gm_run_open_output(gm_output *output, const gm_config *config, const gm_run_options *options) {
    const struct {
        const char *key, *path;
    } read[] = {{"base_model", config->base_model}, {"data_dir", config->data_dir}, {"--init-adapter", options->init_adapter}};
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (read[i].path) GM_TRY(gm_own_spare(config->output_dir, read[i].key, read[i].path));
    return (options->dry_run ? gm_output_look : gm_output_open)(output, config->output_dir, options->existing);
}

/* A split that is not there is no fault; one that is there and bad is. */
static gm_status load_evaluation(gm_run_state *run, const gm_task *task, const char *split, gm_eval_set *set, bool *there) {
    const gm_config *c = &run->config;
    bool unlabelled;
    GM_TRY(gm_task_look_for(task, c->data_dir, split, there));
    if (!*there) return GM_OK;
    gm_eval_source source = {.task = task,
                             .data_dir = c->data_dir,
                             .split = split,
                             .prompt = c->eval.prompt,
                             .shots_name = "eval.shots",
                             .skip_bad = run->options->skip_bad};
    gm_eval_options options = {.batch_tokens = c->eval.batch_tokens,
                               .max_length = c->train.max_length,
                               .limit = c->eval.limit,
                               .shots = c->eval.shots,
                               .append_eos = gm_dataset_append_eos(task, c)};
    gm_chat *chat = NULL;
    GM_TRY(scoring_of(c, task, &options.scoring));
    GM_TRY(gm_chat_open(&chat, c->base_model, run->tokenizer, gm_task_chat(task)));
    options.chat = chat;
    gm_status status = gm_eval_set_load(set, &source, run->tokenizer, &options, &unlabelled);
    gm_chat_close(chat);
    if (status == GM_BAD_FILE && unlabelled) { /* a run needs no such split; it only is not evaluated */
        gm_log(GM_LOG_WARN, "%s", gm_error_text());
        *there = false;
        return GM_OK;
    }
    return status;
}

static gm_status load_evaluations(gm_run_state *run, const char *split, gm_eval_set *sets, int *count) {
    for (int i = 0; i < run->config.task.count; i++) {
        bool there;
        gm_eval_set *set = &sets[*count];
        gm_status status = load_evaluation(run, run->task[i], split, set, &there);
        if (status != GM_OK) gm_eval_set_free(set);
        GM_TRY(status);
        *count += there;
    }
    return GM_OK;
}

/* A likelihood can be divided by a choice's length; a label's probability cannot. */
static gm_status check_metric(const gm_run_state *run) {
    gm_metric metric = run->config.eval.metric;
    for (int i = 0; i < run->validations && metric != GM_METRIC_ACCURACY; i++)
        if (run->validation[i].count && run->validation[i].options.scoring != GM_SCORING_LIKELIHOOD)
            return gm_error(GM_USAGE, "eval.metric: %s is of whole choices, and %s is scored by label; set eval.scoring likelihood",
                            gm_metric_name(metric), run->validation[i].task);
    return GM_OK;
}

static const char less_data[] = "a smaller file or a lower train.max_length needs less";

gm_status gm_run_load_inputs(gm_run_state *run) {
    const gm_config *c = &run->config;
    GM_TRY(gm_run_open_tasks(c, run->task));
    GM_TRY(gm_run_resolve_scoring(&run->config, run->task));
    if (!gm_directory_exists(c->base_model))
        return gm_error(GM_USAGE, "base_model: %s: is no directory; it is the base model's, as Hugging Face publishes it", c->base_model);
    GM_TRY(gm_run_making(gm_tokenizer_open(&run->tokenizer, c->base_model), "the tokenizer", NULL));
    gm_status status = gm_dataset_load(&run->data, run->task, c->task.count, run->tokenizer, c, run->options->skip_bad);
    GM_TRY(gm_run_making(status, "the training split", less_data));
    if (c->train.eval_every > 0) status = load_evaluations(run, "validation", run->validation, &run->validations);
    GM_TRY(gm_run_making(status, "the validation split", less_data));
    GM_TRY(check_metric(run));
    return gm_run_making(load_evaluations(run, "test", run->test, &run->tests), "the test split", less_data);
}

/* 0: there is none. */
static uint32_t checksum_of(const gm_eval_set *sets, int count) {
    uint32_t checksums[GM_TASKS];
    for (int i = 0; i < count; i++) checksums[i] = sets[i].checksum;
    return count ? gm_combine_checksums(checksums, count) : 0;
}

gm_status gm_run_identify(const gm_run_state *run, uint64_t base, gm_run_identity *identity) {
    *identity = (gm_run_identity){.base = base,
                                  .dataset = gm_dataset_checksum(&run->data),
                                  .samples = (int64_t)run->data.count,
                                  .validation = checksum_of(run->validation, run->validations),
                                  .test = checksum_of(run->test, run->tests),
                                  .threads = run->backend && run->backend->host_memory ? omp_get_max_threads() : 0};
    return gm_tokenizer_checksum(run->config.base_model, &identity->tokenizer);
}

gm_status gm_run_identify_inputs(const gm_config *config, const gm_run_options *options, gm_run_identity *identity) {
    gm_run_state *run;
    gm_safetensors *file = NULL;
    gm_model_config model;
    GM_ALLOC(run, 1);
    run->config = *config;
    run->options = options;
    gm_status status = gm_run_load_inputs(run);
    if (status == GM_OK) status = gm_model_config_read(&model, config->base_model);
    if (status == GM_OK) status = gm_safetensors_open_model(&file, config->base_model);
    if (status == GM_OK) status = gm_run_identify(run, gm_weights_hash(file, &model), identity);
    gm_safetensors_close(file);
    gm_run_free_inputs(run);
    free(run);
    return status;
}

void gm_run_free_inputs(gm_run_state *run) {
    for (int i = 0; i < run->validations; i++) gm_eval_set_free(&run->validation[i]);
    for (int i = 0; i < run->tests; i++) gm_eval_set_free(&run->test[i]);
    gm_dataset_free(&run->data);
    gm_tokenizer_close(run->tokenizer);
    gm_run_close_tasks(run->task);
}

static void note_evaluation(gm_log_level level, const gm_eval_set *set) {
    char limited[80] = "";
    if (set->left_out) snprintf(limited, sizeof limited, ", the first %zu of %zu (eval.limit)", set->total, set->total + set->left_out);
    if (set->count == 0)
        gm_log(level, "%s %s: %zu samples without choices of %s%s: their loss is the result", set->task, set->split, set->total, set->file,
               limited);
    else
        gm_log(level, "%s %s: %zu items of %s%s%s", set->task, set->split, set->count, set->file, limited,
               set->count < set->total ? " (those that have choices)" : "");
    gm_eval_set_warn(set, "train.max_length", "eval.scoring");
}

/* Of several tasks: those that have no part in what best/ is chosen by. */
static void note_left_out(const gm_run_state *run) {
    const gm_config *c = &run->config;
    bool choices = false;
    if (c->task.count < 2 || run->validations == 0) return;
    for (int i = 0; i < run->validations; i++) choices = choices || run->validation[i].count > 0;
    for (int i = 0; i < c->task.count; i++) {
        const char *name = gm_task_name(run->task[i]);
        const gm_eval_set *set = NULL;
        for (int k = 0; k < run->validations && !set; k++)
            if (strcmp(run->validation[k].task, name) == 0) set = &run->validation[k];
        if (!set)
            gm_log(GM_LOG_WARN, "%s: has no validation split with labels: best/ is chosen without it", name);
        else if (choices && set->count == 0)
            gm_log(GM_LOG_WARN, "%s: has no choices: its loss is reported, and best/ is chosen by the other tasks' %s", name,
                   gm_metric_name(c->eval.metric));
    }
}

static void note_evaluations(gm_log_level level, const gm_run_state *run) {
    const bool never = run->config.train.eval_every == 0;
    for (int i = 0; i < run->validations; i++) note_evaluation(level, &run->validation[i]);
    if (run->validations == 0)
        gm_log(level, "validation: %s, no best/",
               never ? "not evaluated (train.eval_every 0)" : "the split is absent or has no labels: no evaluation during training");
    note_left_out(run);
    for (int i = 0; i < run->tests; i++) note_evaluation(level, &run->test[i]);
    if (run->tests == 0) gm_log(level, "test: the split is absent or has no labels: no evaluation at the end");
    for (int i = 0; i < run->validations; i++)
        for (int k = 0; k < run->tests; k++)
            if (strcmp(run->validation[i].file, run->test[k].file) == 0)
                gm_log(GM_LOG_WARN,
                       "%s test: the same items as validation, since no others have labels: the score of best/ is of items it was chosen "
                       "by; the final adapter's is not",
                       run->test[k].task);
}

/* A template whose end of a turn is no token of the tokenizer is a usual mistake; roles of a task file end as they say. */
static void warn_of_unended(const gm_dataset_part *part) {
    if (part->unended && strcmp(part->chat, "the task file's") != 0)
        gm_log(GM_LOG_WARN,
               "%s train: in %zu of %zu conversations no token ends the assistant's turn: what the chat template writes behind it is no "
               "token of this tokenizer; EOS is learnt behind the last answer alone",
               part->task, part->unended, part->conversations);
}

static void note_training(gm_log_level level, const gm_run_state *run) {
    const gm_dataset *data = &run->data;
    for (int i = 0; i < data->parts; i++) {
        const gm_order_part *share = run->trainer.order.parts ? &run->trainer.order.part[i] : NULL;
        gm_buffer text = {0};
        gm_buffer_format(&text, "%s train: %zu samples of %s", data->part[i].task, data->part[i].count, data->part[i].file);
        if (share) gm_buffer_format(&text, ", %" PRIu32 " of an epoch's (train.mix)", share->share);
        if (data->part[i].conversations)
            gm_buffer_format(&text, ", %zu of them conversations, rendered by the chat template %s", data->part[i].conversations,
                             data->part[i].chat);
        gm_log(level, "%s", gm_buffer_string(&text));
        gm_buffer_free(&text);
        warn_of_unended(&data->part[i]);
    }
    gm_log(level, "train: %zu samples, %" PRId64 " tokens, %" PRId64 " of them with loss, the longest sample has %" PRId64, data->count,
           data->tokens, data->loss_tokens, data->longest);
}

gm_status gm_run_describe_inputs(const gm_run_state *run) {
    const gm_dataset *data = &run->data;
    gm_log_level level = run->options->dry_run ? GM_LOG_DEBUG : GM_LOG_INFO; /* the plan shows the same */
    note_training(level, run);
    if (data->cut)
        gm_log(GM_LOG_WARN, "train: %" PRId64 " samples are longer than train.max_length (%" PRId64 ") and lost their beginning", data->cut,
               run->config.train.max_length);
    int64_t positions = gm_model_config_of(run->model)->max_positions;
    if (data->longest > positions)
        gm_log(GM_LOG_WARN,
               "train: samples of up to %" PRId64 " tokens; the base model was made for %" PRId64 "; train.max_length %" PRId64
               " would cut prompts to that",
               data->longest, positions, positions);
    note_evaluations(level, run);
    gm_buffer text = {0};
    gm_status status = gm_dataset_show(&text, data, run->tokenizer, 0);
    if (status == GM_OK) {
        gm_log(level, "sample 1 (line %" PRId64 "), what carries loss in ⟦ ⟧:", data->part[0].first_line);
        gm_log(level, "%s", gm_buffer_string(&text));
    }
    gm_buffer_free(&text);
    return status;
}
