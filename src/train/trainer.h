/* The training loop: steps, evaluations, checkpoints, and what ends them. */
#ifndef GM_TRAIN_TRAINER_H
#define GM_TRAIN_TRAINER_H

#include "data/order.h"
#include "train/dataset.h"
#include "train/evaluation.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/output.h"
#include "train/schedule.h"
#include "train/state.h"

typedef struct gm_published {
    int64_t step; /* −1: best/ is not there */
    gm_metric metric;
    double value; /* as in gm_train_state */
    int64_t n;    /* items of all tasks; −1: an older file does not say */
} gm_published;

typedef struct gm_trainer {
    /* given by the run (run.c), which owns them */
    const gm_config *config;
    const gm_dataset *data;
    gm_eval_set *validation; /* validations, one a task that has the split */
    int validations;
    gm_backend *backend;
    gm_model *model;
    gm_adapter *adapter;
    const gm_output *output;
    gm_metrics *metrics;
    gm_run_identity identity;
    /* made by gm_trainer_open */
    gm_order order;
    gm_pack pack;
    gm_step step;
    gm_step_plan plan;
    gm_schedule schedule;
    gm_optimizer optimizer;
    int64_t steps_an_epoch, total_steps;
    /* as it goes */
    gm_train_state state;
    gm_published best;  /* what is in best/: after a resume possibly of a step that the run has yet to come to again */
    int64_t saved_step; /* last step that was saved, or would have been: not tried again; −1: none */
    int save_misses;    /* saves that failed since the last success: saved_step is in no checkpoint then */
    bool out_of_patience;
} gm_trainer;

/* Order, schedule and the memory plan (plan.c), for training and for the evaluation of `validation` and the `tests` sets `test`.
 * Nothing large is allocated before gm_trainer_place. */
gm_status gm_trainer_open(gm_trainer *trainer, gm_eval_set *test, int tests);
gm_status gm_trainer_place(gm_trainer *trainer);
void gm_trainer_close(gm_trainer *trainer);

/* From state.step to the end. GM_INTERRUPTED: stopped by a signal, after saving. GM_DIVERGED names step and term. */
gm_status gm_trainer_run(gm_trainer *trainer);

/* After restoring state: finds out what best/ holds, which may be an evaluation that the checkpoint does not know of. */
gm_status gm_trainer_find_best(gm_trainer *trainer);

/* Saves, unless this step is saved, and returns GM_INTERRUPTED. */
gm_status gm_trainer_stop(gm_trainer *trainer);

gm_snapshot gm_trainer_snapshot(gm_trainer *trainer);
/* Evaluates a set; a stop signal ends it with GM_INTERRUPTED. */
gm_status gm_trainer_evaluate(gm_trainer *trainer, gm_eval_set *set, const char *adapter, gm_eval_result *result);

/* GM_DIVERGED where the last update left a value that is not finite: asked before the adapter is written anywhere (train_step.c). */
gm_status gm_trainer_check_values(const gm_trainer *trainer);

/* One optimiser step (train_step.c): state.step counts up. */
gm_status gm_trainer_step(gm_trainer *trainer);
/* plan.c: the largest micro-batch of the run, measured. */
gm_status gm_trainer_measure(gm_trainer *trainer, gm_eval_set *test, int tests);

#endif
