#include "train/own_files.h"

#include "base/json.h"
#include "base/number.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* config.json is the last: it is what a run is known by. */
static const char *const run_files[] = {"result.json", "report.html", "metrics.jsonl", "config.json", NULL};
static const char *const other_files[] = {"lock", "config.json.tmp", "metrics.jsonl.tmp", "result.json.tmp", "report.html.tmp", NULL};
static const char *const run_folders[] = {"adapter", "best", "adapter.tmp", "adapter.old.tmp", "best.tmp", "best.old.tmp", NULL};
static const char *const folder_files[] = {"adapter_model.safetensors",
                                           "adapter_config.json",
                                           "optimizer.safetensors",
                                           "state.json",
                                           "config.json",
                                           "evaluation.json",
                                           "MANIFEST",
                                           NULL};
static const char checkpoints[] = "checkpoints";

static bool is_among(const char *name, const char *const *names) {
    while (*names && strcmp(*names, name) != 0) names++;
    return *names != NULL;
}

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

/* "step-N", then nothing or what a save, a prune or a fall-back gave it. */
static bool is_checkpoint_name(const char *name) {
    static const char *const endings[] = {"", ".tmp", ".old.tmp", ".pruned.tmp", ".damaged", NULL};
    int64_t step;
    size_t digits = strncmp(name, "step-", 5) == 0 ? strspn(name + 5, "0123456789") : 0;
    if (digits == 0 || (name[5] == '0' && digits > 1) || !gm_parse_integer(name + 5, digits, 0, GM_EXACT_INTEGER, &step)) return false;
    return is_among(name + 5 + digits, endings);
}

static gm_status has_manifest(void *is_run, const char *directory, const char *name) {
    static const char first[] = "gmoe-manifest ";
    char folder[GM_PATH], path[GM_PATH], read[sizeof first] = "";
    if (!is_checkpoint_name(name) || *(bool *)is_run) return GM_OK;
    GM_TRY(gm_path_join(folder, directory, name));
    GM_TRY(gm_path_join(path, folder, "MANIFEST"));
    gm_mapped_file file;
    if (!gm_file_exists(path)) return GM_OK;
    GM_TRY(gm_file_map(&file, path, GM_FAIL));
    if (file.length >= sizeof read - 1) memcpy(read, file.bytes, sizeof read - 1);
    gm_file_unmap(&file);
    *(bool *)is_run = strcmp(read, first) == 0;
    return GM_OK;
}

gm_status gm_own_run(const char *directory, bool *is_run) {
    char path[GM_PATH];
    GM_TRY(gm_path_join(path, directory, "config.json"));
    GM_TRY(is_our_config(path, is_run));
    if (*is_run) return GM_OK;
    GM_TRY(gm_path_join(path, directory, checkpoints));
    return gm_directory_exists(path) ? for_each_entry(path, has_manifest, is_run) : GM_OK;
}

/* ---- what is none of a run's ------------------------------------------------------------------------------------ */

/* In a folder that is replaced as a whole. */
static gm_status check_folder_file(void *context, const char *directory, const char *name) {
    char path[GM_PATH];
    struct stat info;
    (void)context;
    GM_TRY(gm_path_join(path, directory, name));
    bool ours = is_among(name, folder_files) && lstat(path, &info) == 0 && S_ISREG(info.st_mode);
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

gm_status gm_own_check(const char *directory, bool *is_run) {
    char path[GM_PATH];
    bool ours;
    GM_TRY(gm_own_run(directory, is_run));
    for (int i = 0; run_files[i]; i++) {
        struct stat info;
        GM_TRY(gm_path_join(path, directory, run_files[i]));
        bool there = lstat(path, &info) == 0 && info.st_size > 0;
        if (there && strcmp(run_files[i], "config.json") == 0) {
            GM_TRY(is_our_config(path, &ours)); /* beside checkpoints of ours too */
            if (!ours) return foreign(path);
        } else if (there && !*is_run) {
            return foreign(path);
        }
    }
    for (int i = 0; run_folders[i]; i++) {
        GM_TRY(gm_path_join(path, directory, run_folders[i]));
        bool leftover = gm_text_ends_with(path, ".tmp"); /* of a run that died before it had anything else */
        GM_TRY(for_each_entry(path, *is_run || leftover ? check_folder_file : refuse_entry, NULL));
    }
    GM_TRY(gm_path_join(path, directory, checkpoints));
    return for_each_entry(path, check_checkpoint, is_run);
}

gm_status gm_own_check_kinds(const char *directory) {
    const struct {
        const char *const *names;
        bool folders;
    } kinds[] = {{run_files, false}, {other_files, false}, {run_folders, true}, {(const char *const[]){checkpoints, NULL}, true}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int i = 0; kinds[k].names[i]; i++) {
            char path[GM_PATH];
            struct stat info;
            GM_TRY(gm_path_join(path, directory, kinds[k].names[i]));
            if (lstat(path, &info) != 0) continue; /* absent; what else is wrong is told by the lock */
            if (S_ISLNK(info.st_mode))
                return gm_error(GM_FAIL, "%s: is a symbolic link, through which nothing is written; remove it, or take another output_dir",
                                path);
            if (!(kinds[k].folders ? S_ISDIR(info.st_mode) : S_ISREG(info.st_mode)))
                return gm_error(GM_FAIL, "%s: is no %s, and the run writes one of this name; remove it, or take another output_dir", path,
                                kinds[k].folders ? "directory" : "regular file");
        }
    return GM_OK;
}

/* ---- removing --------------------------------------------------------------------------------------------------- */

static gm_status remove_file(const char *directory, const char *name) {
    char path[GM_PATH];
    GM_TRY(gm_path_join(path, directory, name));
    return unlink(path) == 0 || errno == ENOENT ? GM_OK : cannot(path, "removed");
}

static gm_status remove_folder(const char *path) {
    if (!gm_directory_exists(path)) return GM_OK;
    for (int i = 0; folder_files[i]; i++) GM_TRY(remove_file(path, folder_files[i]));
    return rmdir(path) == 0 || errno == ENOENT ? GM_OK : cannot(path, "removed");
}

static gm_status remove_checkpoint(void *context, const char *directory, const char *name) {
    char path[GM_PATH];
    (void)context;
    if (!is_checkpoint_name(name)) return GM_OK;
    GM_TRY(gm_path_join(path, directory, name));
    return remove_folder(path);
}

gm_status gm_own_remove(const char *directory) {
    char path[GM_PATH];
    GM_TRY(remove_file(directory, run_files[0])); /* no result beside what is not whole any more */
    for (int i = 0; run_folders[i]; i++) {
        GM_TRY(gm_path_join(path, directory, run_folders[i]));
        GM_TRY(remove_folder(path));
    }
    GM_TRY(gm_path_join(path, directory, checkpoints));
    GM_TRY(for_each_entry(path, remove_checkpoint, NULL));
    if (rmdir(path) != 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST) return cannot(path, "removed");
    for (int i = 1; run_files[i]; i++) GM_TRY(remove_file(directory, run_files[i]));
    return GM_OK;
}

/* ---- what the run reads ----------------------------------------------------------------------------------------- */

gm_status gm_own_spare(const char *directory, const char *key, const char *path) {
    char output[PATH_MAX], input[PATH_MAX];
    if (!realpath(directory, output) || !realpath(path, input)) return GM_OK; /* one that is not there cannot lie in the other */
    size_t length = strcmp(output, "/") == 0 ? 0 : strlen(output);
    if (strncmp(input, output, length) != 0 || input[length] != '/') return GM_OK;
    const char *const *const lists[] = {run_files, run_folders, (const char *const[]){checkpoints, NULL}};
    char first[GM_PATH];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(input + length + 1, "/"), input + length + 1);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (is_among(first, lists[i]))
            return gm_error(GM_USAGE,
                            "%s: %s: lies in what the run replaces in output_dir, %s; copy it elsewhere, or take another output_dir", key,
                            path, directory);
    return GM_OK;
}
