/* The same work on many independent things, with OpenMP's threads. */
#ifndef GM_BASE_PARALLEL_H
#define GM_BASE_PARALLEL_H

#include "base/status.h"
#include <stddef.h>

/* `worker`, below gm_workers(), tells whose scratch to use: no two calls at the same time have the same. */
typedef gm_status gm_work(void *context, size_t worker, size_t index);

size_t gm_workers(void);

/* work(context, worker, i) for each i below `count`, in any order. After failures the status and the thread's message are those
 * of the lowest index that fails, whatever the number of threads, and *failed (may be NULL) is that index, else `count`: what is
 * below it has been done, what is above may have been. */
gm_status gm_parallel_for(size_t count, gm_work *work, void *context, size_t *failed);

#endif
