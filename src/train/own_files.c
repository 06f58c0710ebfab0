#include "train/own_files.h"
#include "train/run_names.h"

#include "base/json.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static gm_status cannot(const char *path, const char *what) {
    return gm_error(GM_FAIL, "%s: cannot be %s: %s", path, what, strerror(errno));
}

static gm_status foreign(const char *path) {
    return gm_error(GM_USAGE, "%s: is not of a run of gmoe-train, and a run would replace it; take another output_dir, or move it away",
                    path);
}

/* Calls `visit` for every entry of a directory; one that is not there has none. */
typedef gm_status (*gm_visitor)(void *context, const char *directory, const char *name);

static gm_status for_each_entry(const char *directory, gm_visitor visit, void *context) {
    DIR *opened = opendir(directory);
    gm_status status = GM_OK;
    if (!opened) return errno == ENOENT ? GM_OK : cannot(directory, "listed");
    for (struct dirent *entry; status == GM_OK && (entry = readdir(opened)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) status = visit(context, directory, entry->d_name);
    closedir(opened);
    return status;
}

/* Calls `visit` for each published folder's path at each stage, whether it is there or not. */
typedef gm_status (*gm_folder_visitor)(void *context, const char *path, gm_stage stage);

static gm_status for_each_published(const char *directory, gm_folder_visitor visit, void *context) {
    char path[GM_PATH];
    for (int i = 0; gm_run_published[i]; i++)
        for (gm_stage stage = GM_STAGE_WHOLE; stage <= GM_STAGE_REPLACED; stage++) {
            GM_TRY(gm_stage_path(path, directory, gm_run_published[i], stage));
            GM_TRY(visit(context, path, stage));
        }
    return GM_OK;
}

/* ---- what a run is known by ------------------------------------------------------------------------------------- */

/* A resolved configuration has all of these; a model's config.json none. */
static gm_status is_our_config(const char *path, bool *ours) {
    enum { BYTES = 1 << 20 };
    static const char *const sections[] = {"adapter", "train", "eval"};
    cJSON *tree = NULL;
    *ours = false;
    if (!gm_file_exists(path)) return GM_OK;
    gm_status status = gm_json_parse_file(path, BYTES, GM_FAIL, &tree);
    if (status == GM_BAD_FILE) return GM_OK;
    *ours = status == GM_OK && cJSON_IsString(gm_json_member(tree, "method"));
    for (size_t i = 0; i < sizeof sections / sizeof *sections && *ours; i++) *ours = cJSON_IsObject(gm_json_member(tree, sections[i]));
    cJSON_Delete(tree);
    return status;
}

static bool is_checkpoint_name(const char *name) {
    int64_t step;
    gm_stage stage;
    return gm_step_name_read(name, &step, &stage);
}

/* A MANIFEST of ours. */
static gm_status holds_manifest(const char *folder, bool *ours) {
    static const char first[] = "gmoe-manifest ";
    char path[GM_PATH], read[sizeof first] = "";
    gm_mapped_file file;
    *ours = false;
    GM_TRY(gm_path_join(path, folder, "MANIFEST"));
    if (!gm_file_exists(path)) return GM_OK;
    GM_TRY(gm_file_map(&file, path, GM_FAIL));
    if (file.length >= sizeof read - 1) memcpy(read, file.bytes, sizeof read - 1);
    gm_file_unmap(&file);
    *ours = strcmp(read, first) == 0;
    return GM_OK;
}

static gm_status find_manifest(void *is_run, const char *directory, const char *name) {
    char folder[GM_PATH];
    if (!is_checkpoint_name(name) || *(bool *)is_run) return GM_OK;
    GM_TRY(gm_path_join(folder, directory, name));
    return holds_manifest(folder, is_run);
}

gm_status gm_own_run(const char *directory, bool *is_run) {
    char path[GM_PATH];
    GM_TRY(gm_path_join(path, directory, "config.json"));
    GM_TRY(is_our_config(path, is_run));
    if (*is_run) return GM_OK;
    GM_TRY(gm_path_join(path, directory, GM_RUN_CHECKPOINTS));
    return gm_directory_exists(path) ? for_each_entry(path, find_manifest, is_run) : GM_OK;
}

/* ---- what is none of a run's ------------------------------------------------------------------------------------ */

/* In a folder that is replaced as a whole. */
static gm_status check_folder_file(void *context, const char *directory, const char *name) {
    char path[GM_PATH];
    struct stat info;
    (void)context;
    GM_TRY(gm_path_join(path, directory, name));
    bool ours = gm_is_among(name, gm_folder_files) && lstat(path, &info) == 0 && S_ISREG(info.st_mode);
    return ours || access(directory, F_OK) != 0 ? GM_OK : foreign(path);
}

/* Other names than ours may lie in a run's checkpoints/; they are never touched. */
static gm_status check_checkpoint(void *is_run, const char *directory, const char *name) {
    char path[GM_PATH];
    struct stat info;
    GM_TRY(gm_path_join(path, directory, name));
    if (!*(bool *)is_run) return foreign(path);
    if (!is_checkpoint_name(name)) return GM_OK;
    if (lstat(path, &info) == 0 && !S_ISDIR(info.st_mode))
        return gm_error(GM_FAIL, "%s: is no directory, and a checkpoint's name; remove it", path);
    return for_each_entry(path, check_folder_file, NULL);
}

static gm_status refuse_entry(void *context, const char *directory, const char *name) {
    char path[GM_PATH];
    (void)context;
    GM_TRY(gm_path_join(path, directory, name));
    return foreign(path);
}

static gm_status check_published(void *is_run, const char *path, gm_stage stage) {
    bool leftover = gm_stage_is_leftover(stage); /* of a run that died before it had anything else */
    return for_each_entry(path, *(bool *)is_run || leftover ? check_folder_file : refuse_entry, NULL);
}

gm_status gm_own_check(const char *directory, bool *is_run) {
    char path[GM_PATH];
    bool ours;
    GM_TRY(gm_own_run(directory, is_run));
    for (int i = 0; gm_run_files[i]; i++) {
        struct stat info;
        GM_TRY(gm_path_join(path, directory, gm_run_files[i]));
        bool there = lstat(path, &info) == 0 && info.st_size > 0;
        if (there && strcmp(gm_run_files[i], "config.json") == 0) {
            GM_TRY(is_our_config(path, &ours)); /* beside checkpoints of ours too */
            if (!ours) return foreign(path);
        } else if (there && !*is_run) {
            return foreign(path);
        }
    }
    GM_TRY(for_each_published(directory, check_published, is_run));
    GM_TRY(gm_path_join(path, directory, GM_RUN_CHECKPOINTS));
    return for_each_entry(path, check_checkpoint, is_run);
}

static gm_status check_kind(const char *path, bool is_folder) {
    struct stat info;
    if (lstat(path, &info) != 0) return GM_OK; /* absent; what else is wrong is told by the lock */
    if (S_ISLNK(info.st_mode))
        return gm_error(GM_FAIL, "%s: is a symbolic link, through which nothing is written; remove it, or take another output_dir", path);
    if (is_folder ? S_ISDIR(info.st_mode) : S_ISREG(info.st_mode)) return GM_OK;
    return gm_error(GM_FAIL, "%s: is no %s, and the run writes one of this name; remove it, or take another output_dir", path,
                    is_folder ? "directory" : "regular file");
}

static gm_status check_folder_kind(void *context, const char *path, gm_stage stage) {
    (void)context, (void)stage;
    return check_kind(path, true);
}

gm_status gm_own_check_kinds(const char *directory) {
    char path[GM_PATH];
    for (int i = 0; gm_run_files[i]; i++) {
        GM_TRY(gm_path_join(path, directory, gm_run_files[i]));
        GM_TRY(check_kind(path, false));
    }
    GM_TRY(gm_path_join(path, directory, GM_RUN_LOCK));
    GM_TRY(check_kind(path, false));
    GM_TRY(for_each_published(directory, check_folder_kind, NULL));
    GM_TRY(gm_path_join(path, directory, GM_RUN_CHECKPOINTS));
    return check_kind(path, true);
}

/* ---- removing --------------------------------------------------------------------------------------------------- */

static gm_status remove_file(const char *directory, const char *name) {
    char path[GM_PATH];
    GM_TRY(gm_path_join(path, directory, name));
    return unlink(path) == 0 || errno == ENOENT ? GM_OK : cannot(path, "removed");
}

static gm_status remove_folder(void *context, const char *path, gm_stage stage) {
    (void)context, (void)stage;
    if (!gm_directory_exists(path)) return GM_OK;
    for (int i = 0; gm_folder_files[i]; i++) GM_TRY(remove_file(path, gm_folder_files[i]));
    return rmdir(path) == 0 || errno == ENOENT ? GM_OK : cannot(path, "removed");
}

static gm_status remove_checkpoint(void *context, const char *directory, const char *name) {
    char path[GM_PATH];
    (void)context;
    if (!is_checkpoint_name(name)) return GM_OK;
    GM_TRY(gm_path_join(path, directory, name));
    return remove_folder(NULL, path, GM_STAGE_WHOLE);
}

gm_status gm_own_remove(const char *directory) {
    char path[GM_PATH];
    GM_TRY(remove_file(directory, gm_run_files[0])); /* no result beside what is not whole any more */
    GM_TRY(for_each_published(directory, remove_folder, NULL));
    GM_TRY(gm_path_join(path, directory, GM_RUN_CHECKPOINTS));
    GM_TRY(for_each_entry(path, remove_checkpoint, NULL));
    if (rmdir(path) != 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST) return cannot(path, "removed");
    for (int i = 1; gm_run_files[i]; i++) GM_TRY(remove_file(directory, gm_run_files[i]));
    return GM_OK;
}

/* ---- where a run may not be, and what it may not read ----------------------------------------------------------- */

/* A folder in a run's directory that the run replaces or removes. */
static bool is_run_folder(const char *name) {
    gm_stage stage;
    return gm_published_name_read(name, &stage) || strcmp(name, GM_RUN_CHECKPOINTS) == 0;
}

/* `path` without links, "." and "..", as far as it is there; what is not there yet is put behind it. */
static gm_status resolve(char resolved[PATH_MAX], const char *path) {
    char part[GM_PATH];
    if (realpath(path, resolved)) return GM_OK;
    if (snprintf(part, sizeof part, "%s", path) >= GM_PATH) return gm_error(GM_USAGE, "%s: the path is too long", path);
    size_t length = strlen(part);
    do {
        while (length > 0 && part[length - 1] == '/') length--;
        while (length > 0 && part[length - 1] != '/') length--;
        part[length] = '\0';
    } while (length > 0 && !realpath(part, resolved));
    if (length == 0 && !realpath(".", resolved)) return cannot(".", "found");
    for (const char *p = path + length; *p;) {
        size_t count = strcspn(p, "/"), end = strlen(resolved);
        if (count == 2 && strncmp(p, "..", 2) == 0)
            *(strrchr(resolved, '/') + (strrchr(resolved, '/') == resolved)) = '\0';
        else if (count > 0 && !(count == 1 && *p == '.') &&
                 snprintf(resolved + end, PATH_MAX - end, "%s%.*s", end > 1 ? "/" : "", (int)count, p) >= (int)(PATH_MAX - end))
            return gm_error(GM_USAGE, "%s: the path is too long", path);
        p += count + strspn(p + count, "/");
    }
    return GM_OK;
}

/* Whether `folder` is a run's checkpoint or a published folder of one, moved away or not. */
static gm_status is_in_run(const char *folder, bool *in_run) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", folder);
    char *name = strrchr(parent, '/');
    GM_TRY(holds_manifest(folder, in_run));
    if (*in_run || !is_run_folder(name + 1)) return GM_OK;
    *name = '\0';
    return gm_own_run(parent[0] ? parent : "/", in_run);
}

gm_status gm_own_check_place(const char *directory) {
    char folder[PATH_MAX], adapter[GM_PATH];
    GM_TRY(gm_path_join(adapter, directory, "adapter_config.json"));
    if (gm_file_exists(adapter)) return gm_error(GM_USAGE, "%s: is an adapter's directory; take another output_dir", directory);
    GM_TRY(resolve(folder, directory));
    for (char *end; (end = strrchr(folder, '/')) != NULL && end[1]; *end = '\0') {
        bool in_run = false;
        gm_status status = is_in_run(folder, &in_run);
        if (status == GM_NO_MEMORY) return status; /* what cannot be read above is no reason not to run here */
        if (status == GM_OK && in_run)
            return gm_error(GM_USAGE, "%s: is or lies in %s, a folder that a run replaces; take another output_dir", directory, folder);
    }
    return GM_OK;
}

/* The first in order of names, so that the message is the same every time. */
static gm_status keep_seed(void *found, const char *directory, const char *name) {
    char folder[GM_PATH], *kept = found;
    int64_t seed;
    bool is_run;
    if (!gm_seed_name_read(name, &seed)) return GM_OK;
    GM_TRY(gm_path_join(folder, directory, name));
    if (!gm_directory_exists(folder)) return GM_OK;
    GM_TRY(gm_own_run(folder, &is_run));
    if (is_run && (!kept[0] || strcmp(folder, kept) < 0)) strcpy(kept, folder);
    return GM_OK;
}

gm_status gm_own_seed(const char *directory, char folder[GM_PATH]) {
    folder[0] = '\0';
    return gm_directory_exists(directory) ? for_each_entry(directory, keep_seed, folder) : GM_OK;
}

gm_status gm_own_summary(const char *path, bool *ours) {
    enum { BYTES = 1 << 24 };
    cJSON *tree = NULL;
    *ours = false;
    if (!gm_file_exists(path)) return GM_OK;
    gm_status status = gm_json_parse_file(path, BYTES, GM_FAIL, &tree);
    *ours = status == GM_OK && cJSON_IsArray(gm_json_member(tree, "seeds"));
    cJSON_Delete(tree);
    return status == GM_BAD_FILE ? GM_OK : status;
}

gm_status gm_own_spare(const char *directory, const char *key, const char *path) {
    char output[PATH_MAX], input[PATH_MAX], first[PATH_MAX];
    if (!realpath(directory, output) || !realpath(path, input)) return GM_OK; /* one that is not there cannot lie in the other */
    size_t length = strcmp(output, "/") == 0 ? 0 : strlen(output);
    if (strncmp(input, output, length) != 0 || input[length] != '/') return GM_OK;
    snprintf(first, sizeof first, "%.*s", (int)strcspn(input + length + 1, "/"), input + length + 1);
    if (!gm_is_among(first, gm_run_files) && !is_run_folder(first)) return GM_OK;
    return gm_error(GM_USAGE, "%s: %s: lies in what the run replaces in output_dir, %s; copy it elsewhere, or take another output_dir", key,
                    path, directory);
}
