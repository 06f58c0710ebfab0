/* What in an output directory is a run's of gmoe-train, so that nothing else is ever replaced or removed.
 *
 * A directory holds a run where its config.json has the keys of a resolved configuration, or checkpoints/step-N our MANIFEST.
 * Only then are its other names taken for the run's; a folder of ours holds files of our names alone, or it is none of ours. */
#ifndef GM_TRAIN_OWN_FILES_H
#define GM_TRAIN_OWN_FILES_H

#include "base/file.h"

/* Whether it holds a run; a directory that is not there holds none. */
gm_status gm_own_run(const char *directory, bool *is_run);

/* The same, and GM_USAGE that names what has one of a run's names and is none of its. */
gm_status gm_own_check(const char *directory, bool *is_run);

/* GM_USAGE where the directory, which need not be there, is an adapter's, or is or lies in a folder that a run replaces. */
gm_status gm_own_check_place(const char *directory);

/* A seed-N in it that holds a run; "" where there is none. */
gm_status gm_own_seed(const char *directory, char folder[GM_PATH]);

/* Whether summary.json at `path` is that of runs for several seeds; one that is not there is none. */
gm_status gm_own_summary(const char *path, bool *ours);

/* Removes what a run wrote, config.json last, so that what is left of a removal that was broken off is still known. What else
 * lies in the directory or in checkpoints/ stays. Call it after gm_own_check. */
gm_status gm_own_remove(const char *directory);

/* GM_USAGE where `path`, the run's `key` ("base_model", …), is what a run in `directory` replaces, or lies in it. */
gm_status gm_own_spare(const char *directory, const char *key, const char *path);

/* GM_FAIL where one of a run's names is of another kind (a link, a directory for a file): known before the end, when it is written. */
gm_status gm_own_check_kinds(const char *directory);

#endif
