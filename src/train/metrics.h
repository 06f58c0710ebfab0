/* metrics.jsonl and what the user sees while a run goes on. */
#ifndef GM_TRAIN_METRICS_H
#define GM_TRAIN_METRICS_H

#include "train/evaluation.h"

typedef struct gm_step_report {
    int64_t step, tokens, loss_tokens;
    double epoch, learning_rate, grad_norm, seconds;
    gm_losses losses;
} gm_step_report;

typedef struct gm_metrics {
    char path[GM_PATH];
    int file;    /* descriptor, −1: not open */
    bool failed; /* a line was lost: said once */
    gm_buffer line;
    const gm_adapter_config *adapter;
    int64_t total_steps;
    double shown, seconds_a_step; /* when a line was last shown; running mean */
} gm_metrics;

/* A new file, or, where `resumed_step` ≥ 0, the old one without events after that step, and without evaluations after
 * `evaluated_step`: those are made again. */
gm_status gm_metrics_open(gm_metrics *metrics, const char *path, int64_t resumed_step, int64_t evaluated_step,
                          const gm_adapter_config *adapter, int64_t total_steps);
void gm_metrics_close(gm_metrics *metrics);

void gm_metrics_step(gm_metrics *metrics, const gm_step_report *report);
void gm_metrics_eval(gm_metrics *metrics, int64_t step, const char *task, const char *split, const char *adapter,
                     const gm_eval_result *result);
/* Of several tasks, after the evaluation of each. */
void gm_metrics_eval_mean(gm_metrics *metrics, int64_t step, const char *split, const gm_mean_result *mean);
void gm_metrics_checkpoint(gm_metrics *metrics, int64_t step, const char *path, double seconds);
void gm_metrics_eval_progress(gm_metrics *metrics, const char *task, const char *split, double done);

/* "1:02:03" */
void gm_format_duration(char text[32], double seconds);

#endif
