/* Checkpoints as directories: folder/step-N, complete or not there.
 *
 * A checkpoint is written to step-N.tmp, every file fsynced, MANIFEST last; then the directory is renamed and the
 * folder fsynced. Whatever moment the program dies in, what is called step-N was written to its end. */
#ifndef GM_TRAIN_CHECKPOINT_H
#define GM_TRAIN_CHECKPOINT_H

#include "base/file.h"

/* Writes the files (each fsynced) into a directory that exists. */
typedef gm_status (*gm_checkpoint_writer)(void *context, const char *directory);

/* Makes folder/step-N and checks it by reading it back. After a failure nothing of it is left and older ones are untouched. */
gm_status gm_checkpoint_save(const char *folder, int64_t step, gm_checkpoint_writer write, void *context);

/* The newest checkpoint that verifies: its directory and step. Those that do not are named in warnings. `path` is "" where
 * the folder has none at all; all of them damaged is GM_BAD_FILE. */
gm_status gm_checkpoint_newest(const char *folder, char path[GM_PATH], int64_t *step);

/* The newest one before `step` that verifies, without warnings; "" where there is none. */
gm_status gm_checkpoint_before(const char *folder, int64_t step, char path[GM_PATH]);

/* Removes all but the `keep` newest; call it after gm_checkpoint_save. */
gm_status gm_checkpoint_prune(const char *folder, int64_t keep);

/* Renames checkpoints newer than `step`, which did not verify, to step-N.damaged: they are nobody's newest any more, and count
 * for nothing when pruning. Call it when the run goes on from `step`. */
gm_status gm_checkpoint_set_aside(const char *folder, int64_t step);

/* Removes what an interrupted save or prune left; a checkpoint that was moved aside for its successor and not replaced is put back.
 * A checkpoint's name that is not a directory's is GM_FAIL. */
gm_status gm_checkpoint_clean(const char *folder);

/* Puts `write`'s files in place of directory/name, which readers see whole: the old one or the new one. */
gm_status gm_directory_publish(const char *directory, const char *name, gm_checkpoint_writer write, void *context);
/* Puts directory/name back where the program died between moving it aside and putting the new one in its place. */
gm_status gm_directory_recover(const char *directory, const char *name);

#endif
