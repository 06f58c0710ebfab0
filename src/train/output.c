/* The lock is flock(2) on OUTPUT/lock: the kernel gives it back when its program ends in whatever way, so that a stale
 * lock does not exist. The file is removed at the end while it is locked; whoever opened it in between notices that
 * its name means another file (or none) and opens again. */
#include "train/output.h"
#include "train/checkpoint.h"
#include "train/own_files.h"
#include "train/run_names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

gm_status gm_output_path(const gm_output *output, char path[GM_PATH], const char *name) {
    return gm_path_join(path, output->directory, name);
}

/* ---- the lock --------------------------------------------------------------------------------------------------- */

static bool names_this_file(const char *path, int descriptor) {
    struct stat named, opened;
    return stat(path, &named) == 0 && fstat(descriptor, &opened) == 0 && named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

static gm_status another_program(const gm_output *output) {
    return gm_error(GM_FAIL, "%s: another program is training there; wait for it, or take another output_dir", output->directory);
}

/* Ours is empty, and goes at the end. */
static gm_status check_lock(gm_output *output, const char *path) {
    struct stat info;
    if (fstat(output->lock, &info) == 0 && info.st_size == 0) return GM_OK;
    close(output->lock);
    output->lock = -1;
    return gm_error(GM_USAGE, "%s: is not of a run of gmoe-train, which has a lock of this name; take another output_dir, or move it away",
                    path);
}

static gm_status lock_directory(gm_output *output) {
    char path[GM_PATH];
    GM_TRY(gm_output_path(output, path, GM_RUN_LOCK));
    for (;;) {
        output->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (output->lock < 0) return gm_error(GM_FAIL, "%s: cannot be written: %s", path, strerror(errno));
        if (flock(output->lock, LOCK_EX | LOCK_NB) != 0) {
            int reason = errno;
            close(output->lock);
            output->lock = -1;
            return reason == EWOULDBLOCK ? another_program(output) : gm_error(GM_FAIL, "%s: cannot be locked: %s", path, strerror(reason));
        }
        if (names_this_file(path, output->lock)) return check_lock(output, path);
        close(output->lock); /* its owner removed it in between */
    }
}

gm_status gm_output_check(const gm_output *output) {
    char path[GM_PATH];
    GM_TRY(gm_output_path(output, path, GM_RUN_LOCK));
    if (names_this_file(path, output->lock)) return GM_OK;
    return gm_error(
        GM_FAIL,
        "output_dir: %s: was moved or removed while the run went on (its lock is not ours); the run ends, and writes nothing there",
        output->directory);
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

/* Length of the longest part of the path that is there. */
static size_t existing_part(const char *path) {
    char part[GM_PATH];
    size_t length = strlen(path), found = 0;
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        part[i] = '\0';
        if (gm_directory_exists(part)) found = i;
        part[i] = path[i];
    }
    return found;
}

/* Those of the directories made for this run that are empty. */
static void remove_made(gm_output *output) {
    for (size_t i = strlen(output->directory); i > output->kept; i--) {
        if (output->directory[i] != '/' && output->directory[i] != '\0') continue;
        output->directory[i] = '\0';
        rmdir(output->directory);
    }
}

static gm_status remove_leftovers(const gm_output *output) {
    char path[GM_PATH];
    for (int i = 0; gm_run_published[i]; i++) {
        const char *name = gm_run_published[i];
        GM_TRY(gm_directory_recover(output->directory, name));
        for (gm_stage stage = GM_STAGE_WHOLE; stage <= GM_STAGE_REPLACED; stage++) {
            if (!gm_stage_is_leftover(stage)) continue;
            GM_TRY(gm_stage_path(path, output->directory, name, stage));
            GM_TRY(gm_directory_remove(path));
        }
    }
    for (int i = 0; gm_run_files[i]; i++) {
        GM_TRY(gm_output_path(output, path, gm_run_files[i]));
        GM_TRY(gm_file_remove_drafts(path));
    }
    return GM_OK;
}

/* A run of several seeds has its runs in seed-N; a single one in their midst would mix with them. A directory that holds a run of
 * its own is no such place. */
static gm_status refuse_seeds(const char *directory) {
    char seed[GM_PATH];
    bool is_run;
    GM_TRY(gm_own_run(directory, &is_run));
    if (is_run) return GM_OK;
    GM_TRY(gm_own_seed(directory, seed));
    if (!seed[0]) return GM_OK;
    return gm_error(GM_USAGE, "%s: holds runs of several seeds (%s); give --seeds to go on with them, or take another output_dir",
                    directory, seed);
}

static gm_status name_output(gm_output *output, const char *directory) {
    *output = (gm_output){.lock = -1};
    if (strlen(directory) >= sizeof output->directory) return gm_error(GM_USAGE, "%s: the path is too long", directory);
    strcpy(output->directory, directory);
    gm_status status = gm_own_check_place(directory);
    if (status == GM_OK) status = refuse_seeds(directory);
    output->kept = existing_part(directory);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "output_dir");
}

static gm_status refuse_run(const gm_output *output, gm_existing existing) {
    if (!output->run_exists || existing != GM_EXISTING_REFUSE) return GM_OK;
    return gm_error(
        GM_USAGE, "output_dir: %s: holds a run already; continue it with --resume, replace it with --overwrite, or take another output_dir",
        output->directory);
}

gm_status gm_output_open(gm_output *output, const char *directory, gm_existing existing) {
    GM_TRY(name_output(output, directory));
    gm_status status = gm_directory_make(directory);
    if (status == GM_OK) status = gm_own_check_kinds(directory);
    if (status == GM_OK) status = lock_directory(output);
    if (status == GM_OK) status = gm_own_check(directory, &output->run_exists);
    if (status != GM_OK) return gm_error_prefix(status, "output_dir");
    GM_TRY(refuse_run(output, existing));
    return remove_leftovers(output);
}

/* Asked with a shared lock, which is given back at once. */
static gm_status refuse_locked(const gm_output *output) {
    char path[GM_PATH];
    GM_TRY(gm_output_path(output, path, GM_RUN_LOCK));
    int lock = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool taken = lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (lock >= 0) close(lock);
    return taken ? another_program(output) : GM_OK;
}

gm_status gm_output_look(gm_output *output, const char *directory, gm_existing existing) {
    GM_TRY(name_output(output, directory));
    bool there = output->kept == strlen(directory);
    char parent[GM_PATH];
    if (output->kept)
        snprintf(parent, sizeof parent, "%.*s", (int)output->kept, directory);
    else
        strcpy(parent, directory[0] == '/' ? "/" : ".");
    struct stat info;
    gm_status status = GM_OK;
    int reason = there ? ENOENT : stat(directory, &info) == 0 ? ENOTDIR : errno;
    if (reason != ENOENT)
        status = gm_error(GM_FAIL, "%s: cannot be made: %s", directory, strerror(reason));
    else if (access(parent, W_OK | X_OK) != 0)
        status = gm_error(GM_FAIL, "%s: cannot be written: %s", parent, strerror(errno));
    if (status == GM_OK && there) status = gm_own_check_kinds(directory);
    if (status == GM_OK && there) status = refuse_locked(output);
    if (status == GM_OK && there) status = gm_own_check(directory, &output->run_exists);
    if (status != GM_OK) return gm_error_prefix(status, "output_dir");
    return refuse_run(output, existing);
}

static gm_status remove_file(const gm_output *output, const char *name) {
    char path[GM_PATH];
    GM_TRY(gm_output_path(output, path, name));
    return unlink(path) == 0 || errno == ENOENT ? GM_OK : gm_error(GM_FAIL, "%s: cannot be removed: %s", path, strerror(errno));
}

gm_status gm_output_reopen(const gm_output *output) {
    GM_TRY(gm_output_check(output));
    return remove_file(output, "result.json");
}

gm_status gm_output_clear(const gm_output *output) {
    GM_TRY(gm_output_check(output));
    return gm_own_remove(output->directory);
}

void gm_output_close(gm_output *output) {
    char path[GM_PATH];
    if (output->lock >= 0) {
        if (gm_output_path(output, path, GM_RUN_LOCK) == GM_OK && names_this_file(path, output->lock)) unlink(path);
        close(output->lock);
    }
    output->lock = -1;
    remove_made(output);
}

bool gm_output_take_save_request(const gm_output *output) {
    char path[GM_PATH];
    return gm_output_path(output, path, "save-now") == GM_OK && unlink(path) == 0;
}
