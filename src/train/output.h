/* A run's output directory: made, locked for one program at a time, and guarded against a run that is already there. */
#ifndef GM_TRAIN_OUTPUT_H
#define GM_TRAIN_OUTPUT_H

#include "base/file.h"

typedef enum gm_existing { GM_EXISTING_REFUSE, GM_EXISTING_RESUME, GM_EXISTING_OVERWRITE } gm_existing;

typedef struct gm_output {
    char directory[GM_PATH];
    int lock;    /* descriptor, −1: not open */
    size_t kept; /* length of the part of the path that was there before */
    bool run_exists;
} gm_output;

/* Everything that can be wrong with the directory is found here, before anything expensive is read: what has one of a run's
 * names and is none of its (own_files.h) is GM_USAGE, whatever `existing` says. Nothing of an existing run is changed yet.
 * A lock whose program has died is taken over. */
gm_status gm_output_open(gm_output *output, const char *directory, gm_existing existing);
/* What gm_output_open would refuse, found without changing anything: for a dry run. Needs no gm_output_close. */
gm_status gm_output_look(gm_output *output, const char *directory, gm_existing existing);
/* GM_FAIL where the path does not lead to the directory that was locked any more. Files are written by path: ask before each. */
gm_status gm_output_check(const gm_output *output);
/* Removes what an existing run wrote: with GM_EXISTING_OVERWRITE, once the new one is ready to begin. */
gm_status gm_output_clear(const gm_output *output);
/* Removes result.json: a run that goes on has no result until it ends again. */
gm_status gm_output_reopen(const gm_output *output);
/* Gives the lock back; directories that were made for the run, its parents too, go where they are still empty. */
void gm_output_close(gm_output *output);

gm_status gm_output_path(const gm_output *output, char path[GM_PATH], const char *name);
/* `touch OUTPUT/save-now`: true once for each time. */
bool gm_output_take_save_request(const gm_output *output);

#endif
