#define _GNU_SOURCE /* renameat2 */
#include "train/checkpoint.h"
#include "train/manifest.h"
#include "train/run_names.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ------------------------------------------------------------------------------------------------------ */

static int newest_first(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left < right) - (left > right);
}

/* Steps of all checkpoints in the folder, newest first; free(*steps). */
static gm_status list_steps(const char *folder, int64_t **steps, size_t *count) {
    size_t capacity = 0;
    *steps = NULL;
    *count = 0;
    DIR *directory = opendir(folder);
    if (!directory) return errno == ENOENT ? GM_OK : gm_error(GM_FAIL, "%s: %s", folder, strerror(errno));
    gm_status status = GM_OK;
    for (struct dirent *entry; status == GM_OK && (entry = readdir(directory)) != NULL;) {
        int64_t step;
        gm_stage stage;
        if (!gm_step_name_read(entry->d_name, &step, &stage) || stage != GM_STAGE_WHOLE) continue;
        void *grown = *steps;
        status = gm_grow(&grown, &capacity, *count + 1, sizeof **steps);
        *steps = grown;
        if (status == GM_OK) (*steps)[(*count)++] = step;
    }
    closedir(directory);
    if (*count) qsort(*steps, *count, sizeof **steps, newest_first);
    return status;
}

static gm_status step_path(char path[GM_PATH], const char *folder, int64_t step, gm_stage stage) {
    char name[GM_RUN_NAME];
    gm_step_name(name, step);
    return gm_stage_path(path, folder, name, stage);
}

/* ---- a directory in place of another ---------------------------------------------------------------------------- */

static gm_status rename_failed(const char *path) { return gm_error(GM_FAIL, "%s: cannot be put in place: %s", path, strerror(errno)); }

/* The new one is in place already: what stays of the old one is a nuisance, which the next start removes. */
static gm_status remove_old(const char *path) {
    if (gm_directory_remove(path) != GM_OK) gm_log(GM_LOG_WARN, "%s", gm_error_text());
    return GM_OK;
}

/* `fresh` becomes `path`; what was there is removed. One system call where the file system can exchange names; otherwise there
 * is a moment with neither, in which `aside` is whole: gm_directory_recover knows it by that. */
static gm_status put_in_place(const char *fresh, const char *path, const char *aside) {
    if (!gm_directory_exists(path)) return rename(fresh, path) == 0 ? GM_OK : rename_failed(path);
    if (renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_EXCHANGE) == 0) return remove_old(fresh);
    GM_TRY(gm_directory_remove(aside));
    if (rename(path, aside) != 0) return rename_failed(path);
    if (rename(fresh, path) != 0) {
        gm_status status = rename_failed(path);
        (void)rename(aside, path);
        return status;
    }
    return remove_old(aside);
}

gm_status gm_directory_recover(const char *directory, const char *name) {
    char path[GM_PATH], aside[GM_PATH];
    GM_TRY(gm_stage_path(path, directory, name, GM_STAGE_WHOLE));
    GM_TRY(gm_stage_path(aside, directory, name, GM_STAGE_REPLACED));
    if (gm_directory_exists(path) || !gm_directory_exists(aside)) return GM_OK;
    return rename(aside, path) == 0 ? GM_OK : rename_failed(path);
}

/* Without its parents: what was moved away while the run went on must not come to be again. */
static gm_status make_one(const char *path) {
    return mkdir(path, 0777) == 0 || errno == EEXIST ? GM_OK : gm_error(GM_FAIL, "%s: cannot be made: %s", path, strerror(errno));
}

static gm_status write_fresh(const char *fresh, int64_t step, gm_checkpoint_writer write, void *context) {
    GM_TRY(gm_directory_remove(fresh));
    GM_TRY(make_one(fresh));
    GM_TRY(write(context, fresh));
    return step >= 0 ? gm_manifest_write(fresh, step) : gm_directory_sync(fresh);
}

/* Leaves the message of what went wrong first. */
static gm_status give_up(gm_status status, const char *fresh) {
    char text[GM_ERROR_TEXT];
    snprintf(text, sizeof text, "%s", gm_error_text());
    gm_directory_remove(fresh);
    return gm_error(status, "%s", text);
}

gm_status gm_directory_publish(const char *directory, const char *name, gm_checkpoint_writer write, void *context) {
    char path[GM_PATH], fresh[GM_PATH], aside[GM_PATH];
    GM_TRY(gm_stage_path(path, directory, name, GM_STAGE_WHOLE));
    GM_TRY(gm_stage_path(fresh, directory, name, GM_STAGE_FRESH));
    GM_TRY(gm_stage_path(aside, directory, name, GM_STAGE_REPLACED));
    gm_status status = write_fresh(fresh, -1, write, context);
    if (status == GM_OK) status = put_in_place(fresh, path, aside);
    return status == GM_OK ? gm_directory_sync(directory) : give_up(status, fresh);
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------ */

gm_status gm_checkpoint_save(const char *folder, int64_t step, gm_checkpoint_writer write, void *context) {
    char path[GM_PATH], fresh[GM_PATH], aside[GM_PATH];
    GM_TRY(step_path(path, folder, step, GM_STAGE_WHOLE));
    GM_TRY(step_path(fresh, folder, step, GM_STAGE_FRESH));
    GM_TRY(step_path(aside, folder, step, GM_STAGE_REPLACED));
    GM_TRY(make_one(folder));
    gm_status status = write_fresh(fresh, step, write, context);
    if (status == GM_OK) status = gm_manifest_verify(fresh, step);
    if (status == GM_OK) status = put_in_place(fresh, path, aside);
    return status == GM_OK ? gm_directory_sync(folder) : give_up(status, fresh);
}

gm_status gm_checkpoint_newest(const char *folder, char path[GM_PATH], int64_t *step) {
    int64_t *steps;
    size_t count;
    gm_status status = list_steps(folder, &steps, &count);
    bool found = false;
    for (size_t i = 0; i < count && status == GM_OK && !found; i++) {
        status = step_path(path, folder, steps[i], GM_STAGE_WHOLE);
        if (status != GM_OK) break;
        *step = steps[i];
        gm_status verified = gm_manifest_verify(path, steps[i]);
        if (verified == GM_NO_MEMORY) status = verified; /* which says nothing of the checkpoint */
        found = verified == GM_OK;
        if (!found && status == GM_OK)
            gm_log(GM_LOG_WARN, "%s; %s", gm_error_text(),
                   i + 1 < count ? "falling back to an older checkpoint" : "no older checkpoint is left");
    }
    free(steps);
    GM_TRY(status);
    if (count > 0 && !found)
        return gm_error(GM_BAD_FILE,
                        "%s: every checkpoint is damaged; train anew with --overwrite, or without --resume in another output_dir", folder);
    if (count == 0) path[0] = '\0';
    return GM_OK;
}

gm_status gm_checkpoint_before(const char *folder, int64_t step, char path[GM_PATH]) {
    int64_t *steps;
    size_t count;
    gm_status status = list_steps(folder, &steps, &count);
    bool found = false;
    for (size_t i = 0; i < count && status == GM_OK && !found; i++) {
        if (steps[i] >= step) continue;
        status = step_path(path, folder, steps[i], GM_STAGE_WHOLE);
        found = status == GM_OK && gm_manifest_verify(path, steps[i]) == GM_OK;
    }
    if (!found) path[0] = '\0';
    free(steps);
    return status;
}

gm_status gm_checkpoint_prune(const char *folder, int64_t keep) {
    int64_t *steps;
    size_t count;
    gm_status status = list_steps(folder, &steps, &count);
    for (size_t i = (size_t)keep; i < count && status == GM_OK; i++) {
        char path[GM_PATH], aside[GM_PATH]; /* renamed first: a half-removed checkpoint must not look like a damaged one */
        status = step_path(path, folder, steps[i], GM_STAGE_WHOLE);
        if (status == GM_OK) status = step_path(aside, folder, steps[i], GM_STAGE_PRUNED);
        if (status == GM_OK && rename(path, aside) != 0) status = rename_failed(aside);
        if (status == GM_OK) status = gm_directory_remove(aside);
    }
    free(steps);
    return status;
}

gm_status gm_checkpoint_set_aside(const char *folder, int64_t step) {
    int64_t *steps;
    size_t count;
    gm_status status = list_steps(folder, &steps, &count);
    for (size_t i = 0; i < count && status == GM_OK && steps[i] > step; i++) {
        char path[GM_PATH], aside[GM_PATH];
        status = step_path(path, folder, steps[i], GM_STAGE_WHOLE);
        if (status == GM_OK) status = step_path(aside, folder, steps[i], GM_STAGE_DAMAGED);
        if (status == GM_OK) status = gm_directory_remove(aside);
        if (status == GM_OK && rename(path, aside) != 0) status = rename_failed(aside);
        if (status == GM_OK) gm_log(GM_LOG_WARN, "%s: is kept as %s", path, aside);
    }
    free(steps);
    return status;
}

static gm_status check_kind(const char *folder, const char *name) {
    char path[GM_PATH];
    struct stat info;
    GM_TRY(gm_path_join(path, folder, name));
    if (lstat(path, &info) != 0 || S_ISDIR(info.st_mode)) return GM_OK;
    return gm_error(GM_FAIL, "%s: is no directory, and a checkpoint's name; remove it", path);
}

/* Entries change while they are gone through, so that first what was moved aside is put back, in a pass of its own. */
static gm_status clean(const char *folder, const char *name, bool recover) {
    char path[GM_PATH], whole[GM_RUN_NAME];
    int64_t step;
    gm_stage stage;
    if (!gm_step_name_read(name, &step, &stage)) return GM_OK;
    if (stage == GM_STAGE_WHOLE) return check_kind(folder, name);
    if (recover && stage == GM_STAGE_REPLACED) return gm_step_name(whole, step), gm_directory_recover(folder, whole);
    if (recover || !gm_stage_is_leftover(stage)) return GM_OK;
    GM_TRY(gm_path_join(path, folder, name));
    return gm_directory_remove(path);
}

gm_status gm_checkpoint_clean(const char *folder) {
    gm_status status = GM_OK;
    for (int pass = 0; pass < 2 && status == GM_OK; pass++) {
        DIR *directory = opendir(folder);
        if (!directory) return errno == ENOENT ? GM_OK : gm_error(GM_FAIL, "%s: %s", folder, strerror(errno));
        for (struct dirent *entry; status == GM_OK && (entry = readdir(directory)) != NULL;)
            status = clean(folder, entry->d_name, pass == 0);
        closedir(directory);
    }
    return status;
}
