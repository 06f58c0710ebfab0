/* A task file: what opens renders its items, or says which line does not fit. */
#include "fuzz.h"

#include "data/task.h"

static void put_data(const char *directory) {
    static const char line[] =
        "{\"q\":\"where?\",\"c\":[{\"text\":\"here\",\"label\":\"A\"},{\"text\":\"there [x]\",\"label\":\"B\"}],\"a\":\"B\",\"d\":\"x\"}\n";
    static const char table[] = "q\ta\nwhere?\tA\n";
    char path[GM_PATH];
    GM_CHECK(gm_path_join(path, directory, "t.jsonl") == GM_OK && gm_file_write(path, line, sizeof line - 1) == GM_OK, "no t.jsonl");
    GM_CHECK(gm_path_join(path, directory, "t.tsv") == GM_OK && gm_file_write(path, table, sizeof table - 1) == GM_OK, "no t.tsv");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *directory;
    gm_task *task;
    const char *path = gm_fuzz_file(data, size);
    if (!directory) put_data(directory = gm_fuzz_directory("task.json"));
    gm_status status = gm_task_open(&task, path);
    gm_fuzz_check(status, GM_USAGE, path); /* a task file is configuration */
    if (status != GM_OK) return 0;
    for (int i = 0; i < gm_task_prompt_count(task); i++) {
        gm_item_set set;
        status = gm_task_load(task, directory, "train", gm_task_prompt_name(task, i), false, &set);
        GM_CHECK(status == GM_OK || status == GM_BAD_FILE || status == GM_USAGE || status == GM_FAIL, "status %d: %s", (int)status,
                 gm_error_text());
        gm_item_set_free(&set);
    }
    gm_task_close(task);
    return 0;
}
