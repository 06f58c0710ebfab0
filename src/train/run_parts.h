/* A run in its parts, for run.c and the files beside it. */
#ifndef GM_TRAIN_RUN_PARTS_H
#define GM_TRAIN_RUN_PARTS_H

#include "train/evaluation.h"
#include "train/run.h"
#include "train/trainer.h"

typedef struct gm_run_score { /* one evaluation at the end, on the test split */
    char task[256];
    const char *adapter; /* "final" or "best" */
    gm_scoring scoring;
    gm_eval_result result;
} gm_run_score;

enum { GM_RUN_SCORES = 2 * GM_TASKS };

typedef struct gm_run_result {
    gm_run_score scores[GM_RUN_SCORES]; /* the final adapter's of every task that has the split, then those of best/ */
    int score_count;
    int64_t steps, trainable, best_step, best_n; /* best_step −1: none; best_n: items, −1: not known */
    gm_metric best_metric;
    double best, seconds, tokens_per_s; /* of the validation split; of training */
} gm_run_result;

typedef struct gm_run_state {
    gm_config config; /* eval.scoring resolved, where all tasks have the same */
    const gm_run_options *options;
    gm_output output;
    gm_task *task[GM_TASKS]; /* config.task.count */
    gm_tokenizer *tokenizer;
    gm_dataset data;
    gm_eval_set validation[GM_TASKS], test[GM_TASKS]; /* of the tasks that have the split, in their order */
    int validations, tests;
    gm_backend *backend;
    gm_model *model;
    gm_adapter *adapter;
    gm_metrics metrics;
    gm_trainer trainer;
    char checkpoint[GM_PATH];              /* to resume from; "": none */
    int64_t checkpoint_step, resumed_step; /* resumed_step −1: from the start */
    gm_run_result result;
    gm_run_result earlier; /* of a resumed run: what result.json held; steps −1: nothing */
} gm_run_state;

/* run_inputs.c: passes a status on; GM_NO_MEMORY gets what was being made, and what would make it smaller (NULL: nothing) */
gm_status gm_run_making(gm_status status, const char *what, const char *remedy);
/* run_inputs.c: eval.scoring auto becomes what the prompts of all tasks say, where they say the same */
gm_status gm_run_resolve_scoring(gm_config *config, gm_task *const *tasks);
/* run_inputs.c: opens config->task; gm_run_close_tasks after a failure too */
gm_status gm_run_open_tasks(const gm_config *config, gm_task *tasks[GM_TASKS]);
void gm_run_close_tasks(gm_task *tasks[GM_TASKS]);
/* run_inputs.c: gm_output_open, of a dry run gm_output_look, once it is known that no input lies in what a run replaces there */
gm_status gm_run_open_output(gm_output *output, const gm_config *config, const gm_run_options *options);
/* run_inputs.c: task, tokenizer and data */
gm_status gm_run_load_inputs(gm_run_state *run);
void gm_run_free_inputs(gm_run_state *run);
/* run_inputs.c: what the loaded inputs and a base model of this hash are, to be compared */
gm_status gm_run_identify(const gm_run_state *run, uint64_t base, gm_run_identity *identity);
/* run_inputs.c: the same of a configuration whose inputs are read for that alone */
gm_status gm_run_identify_inputs(const gm_config *config, const gm_run_options *options, gm_run_identity *identity);
/* run_inputs.c: says what was loaded, with one sample */
gm_status gm_run_describe_inputs(const gm_run_state *run);
/* run_report.c: what a dry run prints */
gm_status gm_run_print_plan(const gm_run_state *run);
/* run_report.c: run->earlier, from result.json where it is there */
gm_status gm_run_read_earlier(gm_run_state *run);
/* run_report.c: a line to the log: device, threads, types, model, method */
void gm_run_describe_setup(const gm_run_state *run);
/* run_report.c: run->result, to result.json and standard output */
gm_status gm_run_report(gm_run_state *run);

#endif
