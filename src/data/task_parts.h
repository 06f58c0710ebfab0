/* Inside of a task, for the files behind data/task.h: task_file.c fills it from JSON, item.c loads items by it. */
#ifndef GM_DATA_TASK_PARTS_H
#define GM_DATA_TASK_PARTS_H

#include "data/chat.h"
#include "data/field.h"
#include "data/task.h"
#include "data/template.h"

enum { GM_SPLIT_COUNT = 3 };

typedef struct gm_task_names {
    const char **items;
    int count;
} gm_task_names;

typedef struct gm_task_split {
    gm_task_names files, answers;
    int same_as; /* index of another split, −1: none */
    bool given;
} gm_task_split;

/* Labels of the choices: the item's own (`own`), or fixed ones with the answer values that mean them. */
typedef struct gm_task_labels {
    gm_field own; /* count 0: fixed, or none at all */
    gm_task_names values, labels;
} gm_task_labels;

typedef struct gm_task_prompt {
    const char *name, *scoring;
    gm_template prompt, option, completion;
    gm_task_labels labels;
    bool clean;
} gm_task_prompt;

/* Another way to write a line of prompt and completion. */
typedef struct gm_task_shape {
    int *with; /* with_count: indices of the fields by which it is known, all there and not empty */
    int with_count;
    bool *wanted; /* by field index: the prompt asks for it */
    gm_template prompt;
    gm_field completion;
} gm_task_shape;

struct gm_task {
    gm_region region; /* all below */
    const char *name, *path;
    gm_task_names folders;
    gm_task_split splits[GM_SPLIT_COUNT]; /* train, validation, test */
    gm_task_names field_names;
    gm_field *fields; /* field_names.count */
    gm_field *texts;  /* text_count: one list, or one field a choice; 0: the choices are labels only */
    int text_count;
    gm_task_labels labels;
    gm_field answer, completion, conversation; /* count 0: none */
    gm_task_shape *shapes;
    int shape_count;
    gm_chat_roles *chat; /* NULL: the model's own template */
    gm_task_prompt *prompts;
    int prompt_count;
    bool append_eos;
    gm_task_shots shots;
};

/* Index of "train", "validation" or "test"; −1 for another name. */
int gm_task_split_index(const char *name);
/* Path of the task file that `name` means (gm_task_open); GM_USAGE with the known names. */
gm_status gm_task_find(char path[GM_PATH], const char *name);
/* The file of the split's answers beside `data_file`; false where the task names none or none is there. */
bool gm_task_find_answers(const gm_task *task, const char *data_file, int split, char path[GM_PATH]);
const gm_task_prompt *gm_task_find_prompt(const gm_task *task, const char *name);

static inline bool gm_labels_given(const gm_task_labels *labels) { return labels->own.count > 0 || labels->labels.count > 0; }

#endif
