/* Signals become requests that the trainer reads between steps. A handler reaches nothing but globals: these two are some of the
 * few, beside the level of the log and the list of io/mapped_guard.h. */
#ifndef GM_TRAIN_SIGNALS_H
#define GM_TRAIN_SIGNALS_H

#include <stdbool.h>

/* SIGTERM, SIGINT, SIGUSR1: stop. SIGUSR2: save. SIGPIPE and SIGXFSZ become errors of the write that causes them. */
void gm_signals_install(void);
/* Until gm_signals_install they wait, over an execution of another program too. */
void gm_signals_hold(void);
bool gm_signals_stop(void);      /* asked to stop, since the start */
bool gm_signals_take_save(void); /* asked to save, since the last call */

#endif
