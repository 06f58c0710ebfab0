#include "train/shots.h"

#include <string.h>

/* Those that the task names must be there; an item that may be its own shot needs one more. */
static gm_status check_count(const gm_shots *shots, const gm_task_shots *named, const char *task) {
    int64_t there = named->count ? named->count : (int64_t)shots->items.count, needed = shots->count + shots->own;
    for (int i = 0; i < named->count; i++)
        if (named->items[i] >= (int64_t)shots->items.count)
            return gm_error(GM_USAGE, "%s: the task's shots: item %lld is not among the %zu of %s", task, (long long)named->items[i],
                            shots->items.count, shots->items.file);
    if (there >= needed) return GM_OK;
    return gm_error(GM_USAGE, "%lld shots are more than the %lld that the task %s has in its split %s%s", (long long)shots->count,
                    (long long)(there - shots->own), task, named->split,
                    shots->own ? ", whose items are scored and no item is its own shot" : "");
}

static gm_status refuse_conversations(const gm_item_set *items) {
    for (size_t i = 0; items->conversations && i < items->count; i++)
        if (items->items[i].conversation)
            return gm_error(GM_BAD_FILE, "%s: line %lld: is a conversation, and examples are prompts with their completions", items->file,
                            (long long)items->items[i].line);
    return GM_OK;
}

gm_status gm_shots_load(gm_shots *shots, const gm_task *task, const char *data_dir, const char *prompt, bool skip_bad, int64_t count,
                        const char *evaluated) {
    const gm_task_shots *named = gm_task_shots_of(task);
    *shots = (gm_shots){.count = count};
    if (!named->split)
        return gm_error(GM_USAGE, "the task %s has none; name their split in its file: \"shots\": {\"split\": \"train\"}",
                        gm_task_name(task));
    GM_TRY(gm_task_load(task, data_dir, named->split, prompt, skip_bad, &shots->items));
    shots->own = gm_same_file(shots->items.file, evaluated);
    if (named->count) shots->index = named->items;
    gm_status status = check_count(shots, named, gm_task_name(task));
    if (status == GM_OK) status = refuse_conversations(&shots->items);
    if (status != GM_OK) gm_shots_free(shots);
    return status;
}

void gm_shots_free(gm_shots *shots) {
    gm_item_set_free(&shots->items);
    *shots = (gm_shots){0};
}

void gm_shots_write(gm_buffer *out, const gm_shots *shots, size_t index) {
    int64_t written = 0;
    for (int64_t i = 0; written < shots->count; i++) {
        int64_t at = shots->index ? shots->index[i] : i;
        if (shots->own && at == (int64_t)index) continue;
        gm_buffer_text(out, shots->items.items[at].prompt);
        gm_buffer_text(out, shots->items.items[at].completion);
        gm_buffer_text(out, "\n\n");
        written++;
    }
}
