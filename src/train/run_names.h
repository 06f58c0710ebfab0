/* Names in the output directory of a run, and of runs for several seeds: which there are, and how those with a number or an ending
 * are made and read.
 *
 *   config.json metrics.jsonl result.json report.html   files
 *   lock save-now                                       while it runs
 *   adapter/ best/                                      published folders
 *   checkpoints/step-N/                                 checkpoints
 *   seed-N/ summary.json                                of several seeds: the run of each, and what they came to
 *
 * A published folder and a checkpoint bear another ending at other stages of their lives. */
#ifndef GM_TRAIN_RUN_NAMES_H
#define GM_TRAIN_RUN_NAMES_H

#include "base/file.h"

typedef enum gm_stage {
    GM_STAGE_WHOLE,    /* NAME                                                                             */
    GM_STAGE_FRESH,    /* NAME.tmp: is being written                                                       */
    GM_STAGE_REPLACED, /* NAME.old.tmp: was moved aside for its successor                                  */
    GM_STAGE_PRUNED,   /* NAME.pruned.tmp: is being removed; checkpoints only                              */
    GM_STAGE_DAMAGED,  /* NAME.damaged: did not verify when the run went on from another; checkpoints only */
} gm_stage;

/* All lists end with NULL. */
extern const char *const gm_run_files[];     /* config.json, which a run is known by, is the last */
extern const char *const gm_run_published[]; /* adapter, best */
extern const char *const gm_folder_files[];  /* what lies in a published folder or in a checkpoint */
#define GM_RUN_LOCK "lock"
#define GM_RUN_CHECKPOINTS "checkpoints"

bool gm_is_among(const char *name, const char *const *names);

enum { GM_RUN_NAME = 64 };
void gm_step_name(char name[GM_RUN_NAME], int64_t step); /* step-N */
void gm_seed_name(char name[GM_RUN_NAME], int64_t seed); /* seed-N */
/* False for any other name than these functions make: step-007, seed-notes. */
bool gm_step_name_read(const char *name, int64_t *step, gm_stage *stage);
bool gm_seed_name_read(const char *name, int64_t *seed);
bool gm_published_name_read(const char *name, gm_stage *stage);

/* directory/NAME with the stage's ending */
gm_status gm_stage_path(char path[GM_PATH], const char *directory, const char *name, gm_stage stage);
bool gm_stage_is_leftover(gm_stage stage); /* nobody's any more, once its program has ended */

#endif
