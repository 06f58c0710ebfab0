/* JSON Lines of a shipped task, which the first byte chooses. */
#include "load_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct {
        const char *name, *file;
    } shipped[] = {{"jsonl", "train.jsonl"},
                   {"arc-c", "ARC-Challenge-Train.jsonl"},
                   {"boolq", "train.jsonl"},
                   {"siqa", "train.jsonl"},
                   {"hellaswag", "train.jsonl"}};
    enum { TASKS = sizeof shipped / sizeof *shipped };
    static gm_task *tasks[TASKS]; /* kept: the sanitizer sees them here */
    if (size == 0) return -1;
    size_t which = data[0] % TASKS;
    if (!tasks[which]) GM_CHECK(gm_task_open(&tasks[which], shipped[which].name) == GM_OK, "%s", gm_error_text());
    gm_fuzz_file(data + 1, size - 1);
    gm_fuzz_load(tasks[which], shipped[which].file);
    return 0;
}
