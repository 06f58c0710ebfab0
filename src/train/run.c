/* The order of things: what is cheap and likely to be wrong comes first (output directory, device, task, tokenizer, data),
 * weights later, and nothing is written to the output directory before all of it is known to be good. */
#include "train/checkpoint.h"
#include "train/device.h"
#include "train/own_files.h"
#include "train/run_names.h"
#include "train/run_parts.h"
#include "train/signals.h"

#include "base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- beginning -------------------------------------------------------------------------------------------------- */

static const char smaller_adapter[] = "a lower adapter.rank, adapter.num_experts or adapter.router.hidden_size needs less";
static const char smaller_batches[] =
    "a lower train.micro_batch_tokens, eval.batch_tokens or train.max_length needs less, or train.activation_checkpointing";

static gm_status open_model(gm_run_state *run) {
    const gm_config *c = &run->config;
    GM_TRY(gm_run_making(gm_model_open(&run->model, run->backend, c->base_model, c->dtype), "the base model", NULL));
    int64_t vocabulary = gm_model_config_of(run->model)->vocabulary;
    if (gm_tokenizer_vocabulary(run->tokenizer) > vocabulary)
        return gm_error(GM_BAD_FILE, "%s: the tokenizer has %d tokens, the model %" PRId64, c->base_model,
                        gm_tokenizer_vocabulary(run->tokenizer), vocabulary);
    GM_TRY(gm_run_making(gm_adapter_create(&run->adapter, run->model, &c->adapter, (uint64_t)c->seed), "the adapter", smaller_adapter));
    if (run->options->init_adapter && !run->checkpoint[0]) {
        gm_status status = gm_adapter_begin_with(run->adapter, run->options->init_adapter);
        if (status != GM_OK) return gm_error_prefix(status, "--init-adapter");
    }
    return gm_run_making(gm_adapter_prepare_training(run->adapter), "the adapter", smaller_adapter);
}

static gm_status open_trainer(gm_run_state *run) {
    run->trainer = (gm_trainer){.config = &run->config,
                                .data = &run->data,
                                .validation = run->validation,
                                .validations = run->validations,
                                .backend = run->backend,
                                .model = run->model,
                                .adapter = run->adapter,
                                .output = &run->output,
                                .metrics = &run->metrics};
    GM_TRY(gm_run_identify(run, gm_model_hash(run->model), &run->trainer.identity));
    return gm_run_making(gm_trainer_open(&run->trainer, run->test, run->tests), "the memory plan", smaller_batches);
}

/* Which checkpoint a resumed run begins with, and whether its configuration is this run's: known before weights are read. */
static gm_status find_checkpoint(gm_run_state *run) {
    char folder[GM_PATH];
    GM_TRY(gm_output_path(&run->output, folder, GM_RUN_CHECKPOINTS));
    if (!run->options->dry_run) GM_TRY(gm_checkpoint_clean(folder));
    GM_TRY(gm_checkpoint_newest(folder, run->checkpoint, &run->checkpoint_step));
    if (run->checkpoint[0] && run->options->init_adapter)
        gm_log(GM_LOG_INFO, "--init-adapter: %s: is not used: the run goes on from %s", run->options->init_adapter, run->checkpoint);
    if (run->checkpoint[0]) return gm_state_check_config(&run->config, run->checkpoint, NULL);
    char result[GM_PATH];
    GM_TRY(gm_output_path(&run->output, result, "result.json"));
    if (gm_file_exists(result)) /* finished: starting over would replace it, whatever its configuration was */
        return gm_error(GM_USAGE, "%s: holds a finished run without a checkpoint to resume from; --overwrite replaces it",
                        run->output.directory);
    gm_log(run->options->dry_run ? GM_LOG_DEBUG : GM_LOG_WARN, "%s: has no %s: the run starts from the beginning", run->output.directory,
           run->output.run_exists ? "checkpoint yet" : "run to resume");
    return GM_OK;
}

/* Scores that result.json holds are not lost because the split that they are of is gone. */
static gm_status check_tests(const gm_run_state *run) {
    for (int i = 0; i < run->earlier.score_count; i++) {
        const char *task = run->earlier.scores[i].task;
        bool there = false;
        for (int k = 0; k < run->tests && !there; k++) there = strcmp(run->test[k].task, task) == 0;
        if (!there)
            return gm_error(GM_USAGE,
                            "%s/result.json: has scores of the test split of %s, which is gone: put it back, or move result.json away to "
                            "go on without",
                            run->output.directory, task);
    }
    return GM_OK;
}

/* Changes nothing in the output directory: a dry run does it too. */
static gm_status read_checkpoint(gm_run_state *run) {
    gm_trainer *t = &run->trainer;
    gm_snapshot snapshot = gm_trainer_snapshot(t);
    GM_TRY(gm_state_read(&snapshot, run->checkpoint));
    if (t->state.step != run->checkpoint_step) return gm_error(GM_BAD_FILE, "%s: holds step %" PRId64, run->checkpoint, t->state.step);
    if (t->state.step > t->total_steps)
        return gm_error(GM_USAGE, "%s: is past the run's end at step %" PRId64 "; raise train.epochs or train.max_steps", run->checkpoint,
                        t->total_steps);
    run->resumed_step = t->saved_step = t->state.step;
    GM_TRY(gm_run_read_earlier(run));
    return check_tests(run);
}

static gm_status restore(gm_run_state *run) {
    char folder[GM_PATH];
    gm_trainer *t = &run->trainer;
    GM_TRY(read_checkpoint(run));
    gm_log(GM_LOG_INFO, "resumed from %s", run->checkpoint);
    GM_TRY(gm_trainer_find_best(t));
    GM_TRY(gm_output_path(&run->output, folder, GM_RUN_CHECKPOINTS));
    GM_TRY(gm_checkpoint_set_aside(folder, t->state.step));
    return gm_checkpoint_prune(folder, run->config.train.keep_checkpoints); /* an interrupted run may not have come to it */
}

static gm_status write_config(const gm_run_state *run) {
    gm_buffer text = {0};
    char path[GM_PATH];
    gm_config_write(&text, &run->config);
    gm_status status = gm_buffer_status(&text);
    if (status == GM_OK) status = gm_output_path(&run->output, path, "config.json");
    if (status == GM_OK) status = gm_file_replace(path, text.bytes, text.length);
    gm_buffer_free(&text);
    return status;
}

/* From here on the output directory holds this run. */
static gm_status begin_output(gm_run_state *run) {
    char path[GM_PATH];
    GM_TRY(gm_output_check(&run->output)); /* reading the base model may have taken long */
    bool anew = run->options->existing == GM_EXISTING_OVERWRITE || (run->output.run_exists && !run->checkpoint[0]);
    if (anew) GM_TRY(gm_output_clear(&run->output)); /* nothing of the earlier run stays beside the new one */
    if (!anew && run->trainer.state.step < run->trainer.total_steps) GM_TRY(gm_output_reopen(&run->output));
    GM_TRY(write_config(run));
    GM_TRY(gm_output_path(&run->output, path, "metrics.jsonl"));
    return gm_metrics_open(&run->metrics, path, run->resumed_step, run->trainer.state.evaluated_step, &run->config.adapter,
                           run->trainer.total_steps);
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

/* The earlier end's score of the adapter of this step, and of the same items; all else that matters, a resumed run has unchanged. */
static const gm_run_score *find_earlier(const gm_run_state *run, const gm_eval_set *test, const char *adapter, int64_t step) {
    const gm_run_result *earlier = &run->earlier;
    bool best = strcmp(adapter, "best") == 0;
    for (int i = 0; i < earlier->score_count; i++) {
        const gm_run_score *score = &earlier->scores[i];
        if (strcmp(score->adapter, adapter) == 0 && (best ? earlier->best_step : earlier->steps) == step &&
            strcmp(score->task, test->task) == 0 && score->result.checksum == test->checksum)
            return score;
    }
    return NULL;
}

static void take_earlier(gm_run_state *run, const gm_run_score *earlier, gm_run_score *score) {
    const gm_trainer *t = &run->trainer;
    gm_log(GM_LOG_INFO, "%s test with the %s adapter: scored already, in result.json", earlier->task, earlier->adapter);
    gm_metrics_eval(t->metrics, t->state.step, earlier->task, "test", earlier->adapter, &earlier->result);
    score->result = earlier->result;
}

/* Of `adapter`, which is that of `step`, on every task that has the split. */
static gm_status evaluate_test(gm_run_state *run, const char *adapter, int64_t step, gm_run_result *result) {
    for (int i = 0; i < run->tests; i++) {
        gm_eval_set *test = &run->test[i];
        gm_run_score *score = &result->scores[result->score_count];
        const gm_run_score *earlier = find_earlier(run, test, adapter, step);
        *score = (gm_run_score){.adapter = adapter, .scoring = test->options.scoring};
        snprintf(score->task, sizeof score->task, "%s", test->task);
        if (earlier) {
            take_earlier(run, earlier, score);
        } else {
            gm_log(GM_LOG_INFO, "evaluating %s test with the %s adapter: %zu items", test->task, adapter,
                   test->count ? test->count : test->total);
            GM_TRY(gm_trainer_evaluate(&run->trainer, test, adapter, &score->result));
        }
        result->score_count++;
    }
    return GM_OK;
}

/* Published first, because an evaluation may take long; an adapter whose scores are not finite does not stay. */
static gm_status evaluate_final(gm_run_state *run, gm_run_result *result) {
    gm_status status = evaluate_test(run, "final", result->steps, result);
    if (status != GM_DIVERGED) return status;
    char text[GM_ERROR_TEXT], adapter[GM_PATH];
    snprintf(text, sizeof text, "%s", gm_error_text());
    if (gm_output_check(&run->output) == GM_OK && gm_output_path(&run->output, adapter, "adapter") == GM_OK) gm_directory_remove(adapter);
    return gm_error(status, "%s", text);
}

static gm_status evaluate_best(gm_run_state *run, gm_run_result *result) {
    char best[GM_PATH], final[GM_PATH];
    GM_TRY(gm_output_path(&run->output, best, "best"));
    GM_TRY(gm_output_path(&run->output, final, "adapter"));
    if (!gm_directory_exists(best)) return GM_OK;
    GM_TRY(gm_adapter_load(run->adapter, best));
    gm_status status = evaluate_test(run, "best", result->best_step, result);
    gm_status restored = gm_adapter_load(run->adapter, final); /* an interruption saves the trainer's own state */
    return restored == GM_OK ? status : restored;
}

static gm_status finish(gm_run_state *run) {
    gm_trainer *t = &run->trainer;
    gm_run_result *result = &run->result;
    gm_snapshot snapshot = gm_trainer_snapshot(t);
    GM_TRY(gm_trainer_check_values(t));
    GM_TRY(gm_output_check(&run->output));
    GM_TRY(gm_directory_publish(run->output.directory, "adapter", gm_state_write_adapter, &snapshot));
    *result = (gm_run_result){.steps = t->state.step,
                              .trainable = gm_adapter_trainable(run->adapter),
                              .seconds = t->state.seconds,
                              .best_step = t->best.step,
                              .best_n = t->best.n,
                              .best = t->best.value,
                              .best_metric = t->best.metric,
                              .tokens_per_s = (double)t->state.tokens / fmax(t->state.seconds, 1e-9)};
    if (run->tests) GM_TRY(evaluate_final(run, result));
    if (run->tests && t->best.step >= 0 && t->best.step != t->state.step) GM_TRY(evaluate_best(run, result));
    GM_TRY(gm_output_check(&run->output));
    return gm_run_report(run);
}

/* Weights that diverged may be in a checkpoint: the good one is older than they are. */
static gm_status name_good_checkpoint(const gm_run_state *run) {
    char text[GM_ERROR_TEXT], folder[GM_PATH], path[GM_PATH] = "";
    snprintf(text, sizeof text, "%s", gm_error_text());
    if (gm_output_path(&run->output, folder, GM_RUN_CHECKPOINTS) == GM_OK) gm_checkpoint_before(folder, run->trainer.state.step, path);
    return path[0] ? gm_error(GM_DIVERGED, "%s; the last good checkpoint is %s", text, path)
                   : gm_error(GM_DIVERGED, "%s; there is no good checkpoint", text);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

/* Nothing is written yet: what is there, or is not, --resume finds as this run did. */
static gm_status stop_asked(const gm_run_state *run) {
    bool replaces = run->options->existing == GM_EXISTING_OVERWRITE && run->output.run_exists;
    if (!gm_signals_stop()) return GM_OK;
    return gm_error(GM_INTERRUPTED, "interrupted by a signal before the first step; %s",
                    replaces ? "the run that was to be replaced is still there, give --overwrite again" : "--resume starts there");
}

/* A run that failed before its first step was done is no run: its directory can be taken again. */
static gm_status leave_nothing(const gm_run_state *run, gm_status status) {
    char text[GM_ERROR_TEXT];
    if (run->trainer.state.step > 0 || run->trainer.saved_step >= 0) return status;
    snprintf(text, sizeof text, "%s", gm_error_text());
    gm_output_clear(&run->output);
    return gm_error(status, "%s", text);
}

/* A task names its files itself: they are known when they are read. */
static gm_status spare_data(const gm_run_state *run) {
    const char *output = run->output.directory;
    for (int i = 0; i < run->data.parts; i++) GM_TRY(gm_own_spare(output, "data_dir", run->data.part[i].file));
    for (int i = 0; i < run->validations; i++) GM_TRY(gm_own_spare(output, "data_dir", run->validation[i].file));
    for (int i = 0; i < run->tests; i++) GM_TRY(gm_own_spare(output, "data_dir", run->test[i].file));
    return GM_OK;
}

static gm_status run_all(gm_run_state *run) {
    const gm_run_options *options = run->options;
    GM_TRY(gm_device_open(&run->backend, options->device));
    GM_TRY(gm_run_open_output(&run->output, &run->config, options));
    GM_TRY(gm_run_load_inputs(run));
    GM_TRY(spare_data(run));
    if (options->existing == GM_EXISTING_RESUME) GM_TRY(find_checkpoint(run)); /* after eval.scoring is resolved */
    GM_TRY(stop_asked(run));
    GM_TRY(open_model(run));
    GM_TRY(open_trainer(run));
    GM_TRY(stop_asked(run));
    gm_run_describe_setup(run);
    GM_TRY(gm_run_describe_inputs(run));
    if (options->dry_run && run->checkpoint[0]) GM_TRY(read_checkpoint(run));
    if (options->dry_run) GM_TRY(gm_run_print_plan(run));
    GM_TRY(gm_run_making(gm_trainer_place(&run->trainer), "the training step", smaller_batches));
    if (options->dry_run) return GM_OK;
    if (run->checkpoint[0]) GM_TRY(restore(run));
    gm_status status = begin_output(run);
    if (status == GM_OK) status = gm_trainer_run(&run->trainer);
    if (status == GM_OK) {
        status = finish(run);
        if (status == GM_INTERRUPTED) status = gm_trainer_stop(&run->trainer);
    }
    status = gm_run_making(status, "training", smaller_adapter); /* from here on copies of the adapter are made, to be written */
    if (status == GM_DIVERGED) status = name_good_checkpoint(run);
    return status == GM_OK || status == GM_INTERRUPTED ? status : leave_nothing(run, status);
}

static void close_run(gm_run_state *run) {
    gm_metrics_close(&run->metrics);
    gm_trainer_close(&run->trainer);
    gm_adapter_close(run->adapter);
    gm_model_close(run->model);
    gm_backend_close(run->backend);
    gm_run_free_inputs(run);
    if (!run->options->dry_run) gm_output_close(&run->output);
    free(run);
}

gm_status gm_run(const gm_config *config, const gm_run_options *options) {
    gm_run_state *run;
    GM_ALLOC(run, 1);
    run->config = *config;
    run->options = options;
    run->output.lock = run->metrics.file = -1;
    run->resumed_step = -1;
    gm_status status = run_all(run);
    close_run(run);
    return status;
}
