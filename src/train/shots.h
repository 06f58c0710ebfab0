/* Shots: solved examples before a question, those that the task file names (data/task.h, "shots").
 * A shot is its item's prompt and completion, as training joins them, and an empty line: what lm-evaluation-harness writes
 * with its default delimiters. No item is its own shot: where it would be, the next one takes the place. */
#ifndef GM_TRAIN_SHOTS_H
#define GM_TRAIN_SHOTS_H

#include "data/task.h"

typedef struct gm_shots {
    gm_item_set items;    /* of the task's split for shots */
    const int64_t *index; /* of the task's shots among them, in order; NULL: the first ones */
    int64_t count;
    bool own; /* the items that are scored are these too */
} gm_shots;   /* {0} is empty; `index` is the task's */

/* Loads `count` > 0 shots for the items of the file `evaluated`. GM_USAGE where the task has no shots or too few of them,
 * GM_BAD_FILE where their split is bad; no message names the option that asked. */
gm_status gm_shots_load(gm_shots *shots, const gm_task *task, const char *data_dir, const char *prompt, bool skip_bad, int64_t count,
                        const char *evaluated);
void gm_shots_free(gm_shots *shots);

/* Appends the shots for the scored item `index`. */
void gm_shots_write(gm_buffer *out, const gm_shots *shots, size_t index);

#endif
