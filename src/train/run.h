/* A whole training run: from a configuration to an output directory. */
#ifndef GM_TRAIN_RUN_H
#define GM_TRAIN_RUN_H

#include "train/config.h"
#include "train/output.h"

typedef struct gm_run_options {
    const char *device;       /* "auto", … */
    const char *init_adapter; /* directory or file; NULL: drawn from the seed */
    gm_existing existing;
    bool dry_run, skip_bad;
} gm_run_options;

/* Trains, or says what it would do. Results go to standard output and result.json. */
gm_status gm_run(const gm_config *config, const gm_run_options *options);

/* Every seed in turn into output_dir/seed-N, then summary.json and a table of mean and Std (n − 1). */
gm_status gm_run_seeds(const gm_config *config, const gm_run_options *options, const int64_t *seeds, size_t count);

#endif
