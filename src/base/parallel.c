#include "base/parallel.h"

#include <omp.h>
#include <stdio.h>

size_t gm_workers(void) { return (size_t)omp_get_max_threads(); }

gm_status gm_parallel_for(size_t count, gm_work *work, void *context, size_t *failed) {
    enum { AT_ONCE = 8 };
    size_t lowest = count;
    gm_status status = GM_OK;
    char message[GM_ERROR_TEXT] = "";
#pragma omp parallel for schedule(dynamic, AT_ONCE) if (count > AT_ONCE)
    for (size_t i = 0; i < count; i++) {
        size_t known;
#pragma omp atomic read
        known = lowest;
        if (i > known) continue;
        gm_status mine = work(context, (size_t)omp_get_thread_num(), i);
        if (mine == GM_OK) continue;
#pragma omp critical(gm_parallel_failure)
        if (i < lowest) {
#pragma omp atomic write
            lowest = i;
            status = mine;
            snprintf(message, sizeof message, "%s", gm_error_text());
        }
    }
    if (failed) *failed = lowest;
    return status == GM_OK ? GM_OK : gm_error(status, "%s", message);
}
