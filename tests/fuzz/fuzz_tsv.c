/* A TSV file with its header line, as SST-2's. */
#include "load_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static gm_task *task; /* kept: the sanitizer sees it here */
    if (!task) GM_CHECK(gm_task_open(&task, "sst2") == GM_OK, "%s", gm_error_text());
    gm_fuzz_file(data, size);
    gm_fuzz_load(task, "train.tsv");
    return 0;
}
