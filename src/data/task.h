/* Tasks: what a data set's files are called, where its fields stand, how a prompt is made of them.
 *
 * A task is a JSON file (configs/tasks/NAME.json):
 *   summary     one line
 *   folders     the publisher's folder names below data_dir; data_dir itself is taken where none of them is there
 *   splits      {"train"|"validation"|"test": {"files": [names, tried in order, each also with .gz],
 *                                              "answers": [files of one answer a line beside it]} | {"same_as": SPLIT}}
 *               .tsv files have a header line; all others are JSON Lines
 *   fields      {name: path} for the templates (data/field.h)
 *   choices     {"texts": list path or [paths], "labels": list path (the item's own) or {answer value: label}}
 *   answer      path of the right choice: one of the item's own labels, a value of the labels' object, or, without
 *               labels, the 0-based index
 *   completion  path of what training appends, in tasks whose choices are optional
 *   conversation  path of a list of messages (data/conversation.h); a line that has neither completion nor choices and has
 *               such a list is a conversation, rendered by the model's chat template or by
 *   chat        {"system", "user", "assistant": text with {content} in it}; what stands behind {content} in the assistant's is
 *               learnt; `system` may be left out, and is then refused
 *   shapes      [{"with": [names of fields], "prompt": template, "completion": path}]: a line that has neither completion nor
 *               choices and has all these fields, none of them empty, is read so; the first that fits
 *   append_eos  whether training ends a sample with EOS
 *   shots       {"split": SPLIT, "items": [indices in it, from 0]}: solved examples that may stand before a question, in
 *               this order; without items the split's, from its beginning
 *   prompts     {name: {"prompt", "option", "completion": templates (data/template.h), "labels": in place of the choices',
 *                       "scoring": "label" or "likelihood", "clean": HellaSwag's cleaning of prompt and choices}}
 * Faults of a task file are GM_USAGE, unknown keys included. */
#ifndef GM_DATA_TASK_H
#define GM_DATA_TASK_H

#include "data/chat.h"
#include "data/item.h"

typedef struct gm_task gm_task;

/* By path (with a slash or ending in .json) or by name, looked for in $GMOE_TASKS, share/gmoe/tasks beside the
 * program's bin directory (an installation's and a build folder's), and configs/tasks. Close with gm_task_close. */
gm_status gm_task_open(gm_task **task, const char *name_or_path);
void gm_task_close(gm_task *task);

const char *gm_task_name(const gm_task *task);
bool gm_task_append_eos(const gm_task *task);
const gm_chat_roles *gm_task_chat(const gm_task *task); /* NULL: conversations go by the model's chat template */

/* "label" or "likelihood"; NULL where the task has no such prompt. */
const char *gm_task_default_scoring(const gm_task *task, const char *prompt);
int gm_task_prompt_count(const gm_task *task);
const char *gm_task_prompt_name(const gm_task *task, int index);

typedef struct gm_task_shots {
    const char *split;    /* NULL: the task names none */
    const int64_t *items; /* count, from 0 in the split; count 0: those from its beginning */
    int count;
} gm_task_shots;
const gm_task_shots *gm_task_shots_of(const gm_task *task);

/* The file of a split ("train", "validation", "test"); GM_BAD_FILE naming what was looked for, GM_USAGE where there is
 * no such directory or split. A task may give one file for two splits. */
gm_status gm_task_find_file(const gm_task *task, const char *data_dir, const char *split, char path[GM_PATH]);

/* Whether the task has such a split and its file is there; faults are those of looking. */
gm_status gm_task_look_for(const gm_task *task, const char *data_dir, const char *split, bool *there);

/* Whether the path leads, by whatever name, to a file of the data set, a split's or its answers', or to the task file. */
bool gm_task_reads(const gm_task *task, const char *data_dir, const char *path);

/* Goes on with a hash over the task file and the split's files. */
gm_status gm_task_hash(const gm_task *task, const char *data_dir, const char *split, uint64_t *hash);

/* Reads a split. A bad line is GM_BAD_FILE with file and line; with skip_bad it is counted, a few are logged, and only
 * a file without a good line fails. Free the set with gm_item_set_free (also after a failure: it is then empty, and
 * set->unlabelled says whether the split as such has no labels). */
gm_status gm_task_load(const gm_task *task, const char *data_dir, const char *split, const char *prompt, bool skip_bad, gm_item_set *set);

/* The same a part at a time, for a split that need not fit into memory. `set`, which must stay where it is until the reader is
 * closed, is emptied; its checksum and its counts but for `count` go on over the parts. After a failure it is to be freed too. */
typedef struct gm_task_reader gm_task_reader;
gm_status gm_task_reader_open(gm_task_reader **reader, const gm_task *task, const char *data_dir, const char *split, const char *prompt,
                              bool skip_bad, gm_item_set *set);
/* The set's items become those of the next lines, of about `bytes` bytes together; none at the end. */
gm_status gm_task_reader_next(gm_task_reader *reader, size_t bytes);
double gm_task_reader_done(const gm_task_reader *reader); /* the share of the file that was read */
void gm_task_reader_close(gm_task_reader *reader);        /* NULL is fine */

#endif
