/* A whole training run: from a configuration to an output directory. */
#ifndef GM_TRAIN_RUN_H
#define GM_TRAIN_RUN_H

#include "train/evaluation.h"
#include "train/output.h"

typedef struct gm_run_options {
    const char *device;       /* "auto", … */
    const char *init_adapter; /* directory or file; NULL: drawn from the seed */
    gm_existing existing;
    bool dry_run, skip_bad;
} gm_run_options;

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
    bool best_by_loss;
    double best, seconds, tokens_per_s; /* of the validation split; of training */
} gm_run_result;

/* Trains, or says what it would do. Results go to standard output, result.json and *result. */
gm_status gm_run(const gm_config *config, const gm_run_options *options, gm_run_result *result);

/* Every seed in turn into output_dir/seed-N, then summary.json and a table of mean and Std (n − 1). */
gm_status gm_run_seeds(const gm_config *config, const gm_run_options *options, const int64_t *seeds, size_t count);

#endif
