/* The loop looks, before every step, at what is due at the state it is in: an evaluation, a checkpoint, the end, a
 * signal. A resumed run enters it in the same state and so does the same. */
#include "train/trainer.h"
#include "base/clock.h"
#include "train/checkpoint.h"
#include "train/manifest.h"
#include "train/run_names.h"
#include "train/signals.h"

#include "base/json.h"
#include "base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MISSES_MOST = 3 };

/* ---- open and close --------------------------------------------------------------------------------------------- */

static gm_status make_order(gm_trainer *t) {
    const gm_config *c = t->config;
    uint32_t counts[GM_TASKS];
    gm_shuffle shuffle = !c->train.shuffle ? GM_SHUFFLE_NEVER : c->train.reshuffle ? GM_SHUFFLE_EACH : GM_SHUFFLE_ONCE;
    GM_TRY(gm_order_init(&t->order, (uint32_t)t->data->count, (uint32_t)c->train.batch_size, (uint64_t)c->seed, shuffle));
    if (c->train.mix.count == 0) return GM_OK;
    for (int i = 0; i < t->data->parts; i++) counts[i] = (uint32_t)t->data->part[i].count;
    gm_status status = gm_order_mix(&t->order, counts, c->train.mix.weight, t->data->parts);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "train.mix");
}

gm_status gm_trainer_open(gm_trainer *t, gm_eval_set *test, int tests) {
    const gm_config *c = t->config;
    GM_TRY(make_order(t));
    t->steps_an_epoch = gm_order_batches(&t->order);
    t->total_steps = t->steps_an_epoch * c->train.epochs;
    if (c->train.max_steps > 0 && c->train.max_steps < t->total_steps) t->total_steps = c->train.max_steps;
    t->schedule = (gm_schedule){c->train.scheduler, c->train.learning_rate, c->train.warmup_steps, t->total_steps};
    t->optimizer = (gm_optimizer){.beta1 = c->train.betas[0],
                                  .beta2 = c->train.betas[1],
                                  .eps = c->train.eps,
                                  .weight_decay = c->train.weight_decay,
                                  .lora_plus_ratio = c->train.lora_plus_ratio,
                                  .max_grad_norm = c->train.max_grad_norm};
    t->state = (gm_train_state){.evaluated_step = -1, .best_step = -1};
    t->saved_step = t->best.step = -1;
    gm_step_init(&t->step, t->backend, c->dtype);
    gm_model_checkpoint_activations(t->model, c->train.activation_checkpointing);
    return gm_trainer_measure(t, test, tests);
}

gm_status gm_trainer_place(gm_trainer *t) { return gm_step_place(&t->step, &t->plan); }

void gm_trainer_close(gm_trainer *t) {
    if (t->step.backend) gm_step_free(&t->step);
    gm_order_free(&t->order);
    gm_pack_free(&t->pack);
}

gm_snapshot gm_trainer_snapshot(gm_trainer *t) {
    return (gm_snapshot){.config = t->config, .identity = &t->identity, .adapter = t->adapter, .backend = t->backend, .state = &t->state};
}

/* ---- evaluation ------------------------------------------------------------------------------------------------- */

typedef struct gm_watch {
    gm_trainer *trainer;
    const gm_eval_set *set;
} gm_watch;

static gm_status watch_evaluation(void *context, double done) {
    gm_watch *watch = context;
    if (gm_signals_stop()) return gm_error(GM_INTERRUPTED, "interrupted while evaluating");
    gm_metrics_eval_progress(watch->trainer->metrics, watch->set->task, watch->set->split, done);
    return GM_OK;
}

gm_status gm_trainer_evaluate(gm_trainer *t, gm_eval_set *set, const char *adapter, gm_eval_result *result) {
    gm_status status = gm_evaluate_items(set, t->model, &t->step, result, watch_evaluation, &(gm_watch){t, set});
    if (status == GM_DIVERGED) gm_error_prefix(status, "step %" PRId64, t->state.step);
    if (status == GM_FAIL) gm_error_prefix(status, "evaluation after step %" PRId64, t->state.step); /* a device's fault */
    GM_TRY(status);
    gm_metrics_eval(t->metrics, t->state.step, set->task, set->split, adapter, result);
    return GM_OK;
}

/* ---- best/ ------------------------------------------------------------------------------------------------------ */

/* state.best is what a run never stopped has evaluated up to here. best/ may be ahead of it: of a run that evaluated after its
 * last checkpoint, died, and was resumed from there. Both are kept, so that the run goes as it would have, and best/ only ever
 * gets better; what is reported is what best/ itself says. */

static const char best_file[] = "evaluation.json";

typedef struct gm_best_snapshot {
    gm_snapshot snapshot;
    gm_published best;
} gm_best_snapshot;

static gm_status write_best(void *context, const char *directory) {
    gm_best_snapshot *best = context;
    gm_buffer text = {0};
    char path[GM_PATH];
    GM_TRY(gm_state_write_adapter(&best->snapshot, directory));
    GM_TRY(gm_path_join(path, directory, best_file));
    gm_buffer_format(&text, "{\"step\": %" PRId64 ", \"split\": \"validation\", \"%s\": ", best->best.step,
                     gm_metric_name(best->best.metric));
    gm_json_write_double(&text, best->best.value);
    gm_buffer_format(&text, ", \"n\": %" PRId64 "}\n", best->best.n);
    gm_status status = gm_buffer_status(&text);
    if (status == GM_OK) status = gm_file_write(path, text.bytes, text.length);
    gm_buffer_free(&text);
    return status == GM_OK ? gm_manifest_write(directory, best->best.step) : status;
}

static gm_status read_best(gm_published *best, const char *path) {
    enum { BYTES = 1 << 16 };
    cJSON *tree = NULL;
    gm_status status = gm_json_parse_file(path, BYTES, GM_BAD_FILE, &tree);
    if (status == GM_OK) {
        const cJSON *value = NULL;
        gm_metric metric = GM_METRIC_ACCURACY;
        int64_t step, n;
        while (!(value = gm_json_member(tree, gm_metric_name(metric))) && metric < GM_METRIC_LOSS) metric++;
        if (!gm_json_is_integer(gm_json_member(tree, "n"), &n)) n = -1;
        if (gm_json_is_integer(gm_json_member(tree, "step"), &step) && cJSON_IsNumber(value) &&
            (metric == GM_METRIC_LOSS || fabs(value->valuedouble - 0.5) <= 0.5))
            *best = (gm_published){step, metric, value->valuedouble, n};
        else
            status = gm_error(GM_BAD_FILE, "%s: lacks its step or its value", path);
    }
    cJSON_Delete(tree);
    return status;
}

gm_status gm_trainer_find_best(gm_trainer *t) {
    char best[GM_PATH], path[GM_PATH];
    GM_TRY(gm_output_path(t->output, best, "best"));
    GM_TRY(gm_path_join(path, best, best_file));
    gm_status status = gm_file_exists(path) ? read_best(&t->best, path) : GM_OK;
    if (status == GM_OK && t->best.step >= 0) status = gm_manifest_verify(best, t->best.step);
    if (status != GM_OK && status != GM_BAD_FILE) return status;
    if (status == GM_BAD_FILE) {
        gm_log(GM_LOG_WARN, "%s; the next evaluation makes best/ anew", gm_error_text());
        t->best.step = -1;
    }
    if (t->best.step < 0) t->state.best_step = -1; /* what comes next is the best */
    return GM_OK;
}

static bool is_better(gm_metric metric, double value, double than) { return metric == GM_METRIC_LOSS ? value < than : value > than; }

/* best/ becomes the adapter as it is now. On a full disk the run is worth more than this copy: best/ then keeps its adapter,
 * and *published is false. */
static gm_status publish_best(gm_trainer *t, const gm_published *now, bool *published) {
    gm_best_snapshot best = {gm_trainer_snapshot(t), *now};
    GM_TRY(gm_trainer_check_values(t));
    GM_TRY(gm_output_check(t->output));
    gm_status status = gm_directory_publish(t->output->directory, "best", write_best, &best);
    *published = status == GM_OK;
    if (status == GM_OK) t->best = best.best;
    if (status != GM_FAIL) return status;
    gm_log(GM_LOG_WARN, "step %" PRId64 ": best/ is not renewed: %s", t->state.step, gm_error_text());
    return GM_OK;
}

/* Every task's split, and what best/ is chosen by: their mean. */
static gm_status evaluate_tasks(gm_trainer *t, gm_published *now) {
    gm_eval_result results[GM_TASKS];
    for (int i = 0; i < t->validations; i++) GM_TRY(gm_trainer_evaluate(t, &t->validation[i], "current", &results[i]));
    gm_mean_result mean = gm_mean_of_results(results, t->validations, t->config->eval.metric);
    *now = (gm_published){t->state.step, mean.metric, mean.value, mean.n};
    if (t->validations > 1) gm_metrics_eval_mean(t->metrics, t->state.step, "validation", &mean);
    return GM_OK;
}

static gm_status evaluate_validation(gm_trainer *t) {
    gm_published now;
    bool published = true;
    GM_TRY(evaluate_tasks(t, &now));
    t->state.evaluated_step = t->state.step;
    bool better = t->state.best_step < 0 || is_better(now.metric, now.value, t->state.best);
    t->state.stale = better ? 0 : t->state.stale + 1;
    if (!better) return GM_OK;
    bool ahead = t->best.step >= 0 && t->best.step != t->state.step && t->best.metric == now.metric &&
                 is_better(now.metric, t->best.value, now.value);
    if (!ahead) GM_TRY(publish_best(t, &now, &published));
    if (!published) return GM_OK; /* best_step says what is in best/ */
    t->state.best = now.value;
    t->state.best_step = t->state.step;
    return GM_OK;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------ */

/* Asks again whose directory it is, since writing takes a while. */
static gm_status write_checkpoint(void *context, const char *directory) {
    gm_trainer *t = context;
    gm_snapshot snapshot = gm_trainer_snapshot(t);
    GM_TRY(gm_state_write(&snapshot, directory));
    return gm_output_check(t->output);
}

static gm_status save(gm_trainer *t) {
    char folder[GM_PATH], step[GM_RUN_NAME], name[2 * GM_RUN_NAME];
    double begin = gm_clock_seconds();
    GM_TRY(gm_output_path(t->output, folder, GM_RUN_CHECKPOINTS));
    GM_TRY(gm_checkpoint_save(folder, t->state.step, write_checkpoint, t));
    t->saved_step = t->state.step;
    t->save_misses = 0;
    gm_step_name(step, t->state.step);
    snprintf(name, sizeof name, GM_RUN_CHECKPOINTS "/%s", step);
    gm_metrics_checkpoint(t->metrics, t->state.step, name, gm_clock_seconds() - begin);
    if (gm_checkpoint_prune(folder, t->config->train.keep_checkpoints) != GM_OK)
        gm_log(GM_LOG_WARN, "older checkpoints stay: %s", gm_error_text());
    return GM_OK;
}

/* A save that fails for now (no space) is tried again later; after MISSES_MOST in a row the run would not be worth going on. */
static gm_status save_or_go_on(gm_trainer *t) {
    GM_TRY(gm_output_check(t->output)); /* which no later try makes good, nor the values or their device */
    GM_TRY(gm_trainer_check_values(t));
    gm_status status = save(t);
    if (status != GM_FAIL || ++t->save_misses >= MISSES_MOST) return status;
    gm_log(GM_LOG_WARN, "step %" PRId64 ": no checkpoint: %s; going on with the older ones (%d of %d in a row)", t->state.step,
           gm_error_text(), t->save_misses, MISSES_MOST);
    t->saved_step = t->state.step; /* not again for this step */
    return GM_OK;
}

gm_status gm_trainer_stop(gm_trainer *t) {
    GM_TRY(gm_output_check(t->output));
    if (t->saved_step != t->state.step || t->save_misses > 0) {
        GM_TRY(gm_trainer_check_values(t));
        GM_TRY(save(t));
    }
    return gm_error(GM_INTERRUPTED, "interrupted by a signal; step %" PRId64 " of %" PRId64 " is saved, --resume continues there",
                    t->state.step, t->total_steps);
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

static bool finished(const gm_trainer *t) { return t->state.step >= t->total_steps || t->out_of_patience; }

/* Every so many steps, and at the end; never where `every` is 0. */
static bool due(const gm_trainer *t, int64_t every) {
    return every > 0 && t->state.step > 0 && (t->state.step % every == 0 || t->state.step >= t->total_steps);
}

static gm_status evaluate_if_due(gm_trainer *t) {
    if (t->validations == 0 || t->state.evaluated_step >= t->state.step || !due(t, t->config->train.eval_every)) return GM_OK;
    gm_status status = evaluate_validation(t);
    return status == GM_INTERRUPTED ? GM_OK : status; /* the loop sees the signal; the evaluation is made after resuming */
}

static gm_status save_if_due(gm_trainer *t) {
    bool asked = gm_signals_take_save();
    if (gm_output_take_save_request(t->output)) asked = true;
    bool last = t->out_of_patience && t->config->train.save_every > 0;
    if (t->saved_step >= t->state.step || !(asked || last || due(t, t->config->train.save_every))) return GM_OK;
    return save_or_go_on(t);
}

gm_status gm_trainer_run(gm_trainer *t) {
    for (;;) {
        GM_TRY(evaluate_if_due(t));
        t->out_of_patience = t->config->eval.patience > 0 && t->state.stale >= t->config->eval.patience;
        if (gm_signals_stop()) return gm_trainer_stop(t);
        GM_TRY(save_if_due(t));
        if (finished(t)) break;
        GM_TRY(gm_trainer_step(t));
    }
    if (t->out_of_patience && t->state.step < t->total_steps)
        gm_log(GM_LOG_INFO, "step %" PRId64 "  no improvement in %" PRId64 " evaluations: the run ends (eval.patience)", t->state.step,
               t->state.stale);
    return GM_OK;
}
