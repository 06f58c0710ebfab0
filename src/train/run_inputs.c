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

gm_status gm_run_resolve_scoring(gm_config *config, const gm_task *task) {
    const char *scoring = gm_task_default_scoring(task, config->eval.prompt);
    if (!scoring) {
        gm_buffer known = {0};
        for (int i = 0; i < gm_task_prompt_count(task); i++) gm_buffer_format(&known, "%s%s", i ? ", " : "", gm_task_prompt_name(task, i));
        gm_status status = gm_error(GM_USAGE, "eval.prompt: the task %s has no prompt \"%s\"; it has %s", gm_task_name(task),
                                    config->eval.prompt, gm_buffer_string(&known));
        gm_buffer_free(&known);
        return status;
    }
    if (config->eval.scoring == GM_SCORING_AUTO && !gm_scoring_parse(scoring, &config->eval.scoring))
        return gm_error(GM_USAGE, "%s: scoring %s", gm_task_name(task), scoring);
    return GM_OK;
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
static gm_status load_evaluation(gm_run_state *run, const char *split, gm_eval_set *set, bool *there) {
    const gm_config *c = &run->config;
    gm_item_set items = {0};
    GM_TRY(gm_task_look_for(run->task, c->data_dir, split, there));
    if (!*there) return GM_OK;
    gm_eval_options options = {.scoring = c->eval.scoring,
                               .batch_tokens = c->eval.batch_tokens,
                               .max_length = c->train.max_length,
                               .limit = c->eval.limit,
                               .append_eos = gm_dataset_append_eos(run->task, c),
                               .chat = run->chat};
    gm_status status = gm_task_load(run->task, c->data_dir, split, c->eval.prompt, run->options->skip_bad, &items);
    if (status == GM_BAD_FILE && items.unlabelled) { /* a run needs no such split; it only is not evaluated */
        gm_log(GM_LOG_WARN, "%s", gm_error_text());
        *there = false;
        return GM_OK;
    }
    if (status == GM_OK) status = gm_eval_set_build(set, &items, split, run->tokenizer, &options);
    gm_item_set_free(&items);
    return status;
}

static const char less_data[] = "a smaller file or a lower train.max_length needs less";

gm_status gm_run_load_inputs(gm_run_state *run) {
    const gm_config *c = &run->config;
    gm_status status = gm_task_open(&run->task, c->task);
    if (status != GM_OK) return gm_error_prefix(status, "task");
    GM_TRY(gm_run_resolve_scoring(&run->config, run->task));
    if (!gm_directory_exists(c->base_model))
        return gm_error(GM_USAGE, "base_model: %s: is no directory; it is the base model's, as Hugging Face publishes it", c->base_model);
    GM_TRY(gm_run_making(gm_tokenizer_open(&run->tokenizer, c->base_model), "the tokenizer", NULL));
    GM_TRY(gm_chat_open(&run->chat, c->base_model, run->tokenizer, gm_task_chat(run->task)));
    status = gm_dataset_load(&run->data, run->task, run->tokenizer, run->chat, c, run->options->skip_bad);
    GM_TRY(gm_run_making(status, "the training split", less_data));
    if (c->train.eval_every > 0) status = load_evaluation(run, "validation", &run->validation, &run->has_validation);
    GM_TRY(gm_run_making(status, "the validation split", less_data));
    return gm_run_making(load_evaluation(run, "test", &run->test, &run->has_test), "the test split", less_data);
}

gm_status gm_run_identify(const gm_run_state *run, uint64_t base, gm_run_identity *identity) {
    *identity = (gm_run_identity){.base = base,
                                  .dataset = run->data.checksum,
                                  .samples = (int64_t)run->data.items.count,
                                  .validation = run->has_validation ? run->validation.checksum : 0,
                                  .test = run->has_test ? run->test.checksum : 0,
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
    gm_eval_set_free(&run->validation);
    gm_eval_set_free(&run->test);
    gm_dataset_free(&run->data);
    gm_chat_close(run->chat);
    gm_tokenizer_close(run->tokenizer);
    gm_task_close(run->task);
}

static void note_evaluation(gm_log_level level, const char *split, bool there, const gm_eval_set *set, const char *absent) {
    char limited[80] = "";
    if (there && set->left_out)
        snprintf(limited, sizeof limited, ", the first %zu of %zu (eval.limit)", set->total, set->total + set->left_out);
    if (!there)
        gm_log(level, "%s: %s", split, absent);
    else if (set->count == 0)
        gm_log(level, "%s: %zu samples without choices of %s%s: their loss is the result", split, set->total, set->file, limited);
    else
        gm_log(level, "%s: %zu items of %s%s%s", split, set->count, set->file, limited,
               set->count < set->total ? " (those that have choices)" : "");
    if (there) gm_eval_set_warn(set, "train.max_length", "eval.scoring");
}

gm_status gm_run_describe_inputs(const gm_run_state *run) {
    const gm_dataset *data = &run->data;
    gm_log_level level = run->options->dry_run ? GM_LOG_DEBUG : GM_LOG_INFO; /* the plan shows the same */
    gm_log(level, "train: %zu samples of %s, %" PRId64 " tokens, %" PRId64 " of them with loss, the longest sample has %" PRId64,
           data->items.count, data->items.file, data->tokens, data->loss_tokens, data->longest);
    if (data->items.conversations)
        gm_log(level, "train: %zu conversations, rendered by the chat template %s", data->items.conversations,
               gm_chat_family_name(run->chat));
    if (data->cut)
        gm_log(GM_LOG_WARN, "train: %" PRId64 " %s are longer than train.max_length (%" PRId64 ") and lost their beginning", data->cut,
               data->items.conversations ? "samples" : "prompts", run->config.train.max_length);
    int64_t positions = gm_model_config_of(run->model)->max_positions;
    if (data->longest > positions)
        gm_log(GM_LOG_WARN,
               "train: samples of up to %" PRId64 " tokens; the base model was made for %" PRId64 "; train.max_length %" PRId64
               " would cut prompts to that",
               data->longest, positions, positions);
    note_evaluation(level, "validation", run->has_validation, &run->validation,
                    run->config.train.eval_every > 0 ? "the split is absent or has no labels: no evaluation during training, no best/"
                                                     : "not evaluated (train.eval_every 0), no best/");
    note_evaluation(level, "test", run->has_test, &run->test, "the split is absent or has no labels: no evaluation at the end");
    if (run->has_validation && run->has_test && strcmp(run->validation.file, run->test.file) == 0)
        gm_log(GM_LOG_WARN,
               "test: the same items as validation, since no others have labels: the score of best/ is of items it was chosen by; "
               "the final adapter's is not");
    gm_buffer text = {0};
    gm_status status = gm_dataset_show(&text, data, run->tokenizer, 0);
    if (status == GM_OK) {
        gm_log(level, "sample 1 (line %" PRId64 "), what carries loss in ⟦ ⟧:", data->items.items[0].line);
        gm_log(level, "%s", gm_buffer_string(&text));
    }
    gm_buffer_free(&text);
    return status;
}
