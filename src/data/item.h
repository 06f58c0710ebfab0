/* The questions of one split of a data set, rendered with one prompt. */
#ifndef GM_DATA_ITEM_H
#define GM_DATA_ITEM_H

#include "base/file.h"
#include "data/conversation.h"

typedef struct gm_item {
    const char *prompt;   /* rendered */
    const char **choices; /* choice_count completions as scored and trained, with their leading space; NULL: none */
    const char **prompts; /* choice_count, where each choice has a prompt of its own (WinoGrande under lm-eval); else NULL.
                           * `prompt` is then the right choice's */
    int choice_count;
    int answer;                          /* index of the right choice; −1: the item has no choices */
    const char *completion;              /* what training appends: the right choice, or the jsonl completion */
    const gm_conversation *conversation; /* in place of prompt and completion, which are then empty; NULL: none */
    int64_t line;                        /* of the file, for messages */
} gm_item;                               /* its strings and arrays live in the set's region */

typedef struct gm_item_set {
    gm_item *items; /* count; owned */
    size_t count, capacity;
    size_t with_choices; /* items that can be scored by accuracy */
    size_t conversations;
    int64_t skipped;                     /* bad lines left out (skip_bad) */
    int64_t wrong, strange, first_wrong; /* completions that are not the right choice; of these, no choice at all; the first one's line */
    bool unlabelled;                     /* the split is published without labels: why loading failed */
    uint32_t checksum;                   /* CRC-32 of all items, in order: tells a resumed run that its data changed */
    gm_region region;
    char file[GM_PATH];
} gm_item_set; /* {0} is empty */

void gm_item_set_free(gm_item_set *set);

#endif
