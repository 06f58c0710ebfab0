/* Loads the fuzzed file as the training split of a shipped task, with bad lines refused and then left out. */
#ifndef GM_FUZZ_LOAD_DATA_H
#define GM_FUZZ_LOAD_DATA_H

#include "fuzz.h"

#include "data/task.h"

static inline void gm_fuzz_load(const gm_task *task, const char *file) {
    const char *directory = gm_fuzz_directory(file);
    for (int i = 0; i < gm_task_prompt_count(task); i++) {
        size_t whole = 0;
        for (int skip_bad = 0; skip_bad < 2; skip_bad++) {
            gm_item_set set;
            gm_status status = gm_task_load(task, directory, "train", gm_task_prompt_name(task, i), skip_bad, &set);
            gm_fuzz_check(status, GM_BAD_FILE, directory);
            GM_CHECK(status == GM_OK || set.count == 0, "%zu items of a file that is refused", set.count);
            for (size_t k = 0; k < set.count; k++) {
                const gm_item *item = &set.items[k];
                GM_CHECK(item->prompt && item->completion && item->answer < item->choice_count, "item %zu", k);
            }
            if (!skip_bad) whole = set.count;
            if (skip_bad && whole) GM_CHECK(set.count == whole && set.skipped == 0, "good lines are left out");
            gm_item_set_free(&set);
        }
    }
}

#endif
