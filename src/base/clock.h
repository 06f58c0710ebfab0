/* Time that only goes forward, whatever happens to the wall clock. */
#ifndef GM_BASE_CLOCK_H
#define GM_BASE_CLOCK_H

#include <time.h>

static inline double gm_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
