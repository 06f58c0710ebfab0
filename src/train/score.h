/* One evaluation's result for people and for result.json, as the programs share it. */
#ifndef GM_TRAIN_SCORE_H
#define GM_TRAIN_SCORE_H

#include "base/json.h"
#include "train/evaluation.h"

/* A row of a table of results on standard output. */
void gm_score_print(const char *task, const char *split, const char *adapter, const char *scoring, const gm_eval_result *result);
/* {"task":…,"split":…,…}: as result.json and gmoe-eval's --output have it. `adapter` may be NULL. */
void gm_score_write(gm_buffer *out, const char *task, const char *split, const char *adapter, const char *prompt, const char *scoring,
                    const gm_eval_result *result);
/* One that gm_score_write wrote; false where it is not whole. */
bool gm_score_read(const cJSON *tree, gm_eval_result *result);

#endif
