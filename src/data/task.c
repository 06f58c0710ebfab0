/* Finding task files and data files; the task file itself is read in task_file.c. */
#include "data/task_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const split_names[GM_SPLIT_COUNT] = {"train", "validation", "test"};

int gm_task_split_index(const char *name) {
    for (int i = 0; i < GM_SPLIT_COUNT; i++)
        if (strcmp(name, split_names[i]) == 0) return i;
    return -1;
}

const char *gm_task_name(const gm_task *task) { return task->name; }
bool gm_task_append_eos(const gm_task *task) { return task->append_eos; }
const gm_task_shots *gm_task_shots_of(const gm_task *task) { return &task->shots; }
const gm_chat_roles *gm_task_chat(const gm_task *task) { return task->chat; }
int gm_task_prompt_count(const gm_task *task) { return task->prompt_count; }
const char *gm_task_prompt_name(const gm_task *task, int index) { return task->prompts[index].name; }

const gm_task_prompt *gm_task_find_prompt(const gm_task *task, const char *name) {
    for (int i = 0; i < task->prompt_count; i++)
        if (strcmp(task->prompts[i].name, name) == 0) return &task->prompts[i];
    return NULL;
}

const char *gm_task_default_scoring(const gm_task *task, const char *prompt) {
    const gm_task_prompt *found = gm_task_find_prompt(task, prompt);
    return found ? found->scoring : NULL;
}

void gm_task_close(gm_task *task) {
    if (!task) return;
    gm_region_free(&task->region);
    free(task);
}

enum { PLACES = 3 };

/* The directories that may hold task files, best first; those that are not there stay "". */
static void task_directories(char places[PLACES][GM_PATH]) {
    const char *environment = getenv("GMOE_TASKS");
    char program[GM_PATH / 2];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash) *slash = '\0';
    snprintf(places[0], GM_PATH, "%s", environment ? environment : "");
    snprintf(places[1], GM_PATH, "%s/../share/gmoe/tasks", program);
    snprintf(places[2], GM_PATH, "configs/tasks");
    for (int i = 0; i < PLACES; i++)
        if (!gm_directory_exists(places[i])) places[i][0] = '\0';
}

/* "arc-c, arc-e, …": the tasks of the first directory */
static void list_tasks(gm_buffer *out, char places[PLACES][GM_PATH]) {
    struct dirent **entries = NULL;
    int place = 0;
    while (place < PLACES && places[place][0] == '\0') place++;
    int count = place < PLACES ? scandir(places[place], &entries, NULL, alphasort) : 0;
    const char *between = "";
    for (int i = 0; i < count; i++) {
        size_t length = strlen(entries[i]->d_name);
        if (length > 5 && strcmp(entries[i]->d_name + length - 5, ".json") == 0) {
            gm_buffer_format(out, "%s%.*s", between, (int)(length - 5), entries[i]->d_name);
            between = ", ";
        }
        free(entries[i]);
    }
    free(entries);
}

gm_status gm_task_find(char path[GM_PATH], const char *name) {
    if (strchr(name, '/') || (strlen(name) > 5 && strcmp(name + strlen(name) - 5, ".json") == 0)) {
        if ((size_t)snprintf(path, GM_PATH, "%s", name) >= GM_PATH) return gm_error(GM_USAGE, "%s: the path is too long", name);
        return gm_file_exists(path) ? GM_OK : gm_error(GM_USAGE, "%s: there is no such task file", name);
    }
    char places[PLACES][GM_PATH];
    task_directories(places);
    for (int i = 0; i < PLACES; i++)
        if (places[i][0] && snprintf(path, GM_PATH, "%s/%s.json", places[i], name) < GM_PATH && gm_file_exists(path)) return GM_OK;
    gm_buffer known = {0};
    list_tasks(&known, places);
    if (known.length == 0) gm_buffer_text(&known, "none: set GMOE_TASKS to the directory with the task files");
    gm_status status =
        gm_error(GM_USAGE, "no task is called \"%s\"; there are %s; or give the path of a task file", name, gm_buffer_string(&known));
    gm_buffer_free(&known);
    return status;
}

/* A name that leads nowhere, or may not be looked at, is there all the same: opening it says what is wrong. */
static bool name_is_there(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* directory/name or directory/name.gz into `path`; false where neither is there. */
static bool find_either(char path[GM_PATH], const char *directory, const char *name) {
    if (snprintf(path, GM_PATH - 3, "%s/%s", directory, name) >= GM_PATH - 3) return false;
    if (name_is_there(path)) return true;
    strcat(path, ".gz");
    return name_is_there(path);
}

static gm_status split_missing(const gm_task *task, const char *directory, const char *data_dir, int split) {
    gm_buffer names = {0};
    const gm_task_names *files = &task->splits[split].files;
    for (int i = 0; i < files->count; i++) gm_buffer_format(&names, "%s%s", i ? ", " : "", files->items[i]);
    gm_buffer_text(&names, ", plain or .gz");
    if (task->folders.count && strcmp(directory, data_dir) == 0)
        gm_buffer_format(&names, "; nor is there a folder %s", task->folders.items[0]);
    gm_status status = gm_error(GM_BAD_FILE, "%s: the split %s of %s is not there: looked for %s", directory, split_names[split],
                                task->name, gm_buffer_string(&names));
    gm_buffer_free(&names);
    return status;
}

gm_status gm_task_look_for(const gm_task *task, const char *data_dir, const char *split, bool *there) {
    char path[GM_PATH];
    int index = gm_task_split_index(split);
    *there = false;
    if (index >= 0 && !task->splits[index].given) return GM_OK;
    gm_status status = gm_task_find_file(task, data_dir, split, path);
    *there = status == GM_OK;
    return status == GM_BAD_FILE ? GM_OK : status;
}

gm_status gm_task_find_file(const gm_task *task, const char *data_dir, const char *split, char path[GM_PATH]) {
    int index = gm_task_split_index(split);
    if (index < 0) return gm_error(GM_USAGE, "%s: no such split; there are train, validation and test", split);
    if (!task->splits[index].given) return gm_error(GM_USAGE, "%s: the task has no split %s", task->name, split);
    if (task->splits[index].same_as >= 0) index = task->splits[index].same_as;
    if (!gm_directory_exists(data_dir)) return gm_error(GM_USAGE, "%s: is no directory; data_dir is where the data sets are", data_dir);
    char directory[GM_PATH];
    bool folder = false;
    for (int i = 0; i < task->folders.count && !folder; i++) {
        GM_TRY(gm_path_join(directory, data_dir, task->folders.items[i]));
        folder = gm_directory_exists(directory);
    }
    if (!folder) snprintf(directory, sizeof directory, "%s", data_dir);
    const gm_task_names *files = &task->splits[index].files;
    for (int i = 0; i < files->count; i++)
        if (find_either(path, directory, files->items[i])) return GM_OK;
    return split_missing(task, directory, data_dir, index);
}

bool gm_task_find_answers(const gm_task *task, const char *data_file, int split, char path[GM_PATH]) {
    if (task->splits[split].same_as >= 0) split = task->splits[split].same_as;
    const gm_task_names *answers = &task->splits[split].answers;
    const char *slash = strrchr(data_file, '/');
    char directory[GM_PATH];
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - data_file) : 1, slash ? data_file : ".");
    for (int i = 0; i < answers->count; i++)
        if (find_either(path, directory, answers->items[i])) return true;
    return false;
}

gm_status gm_task_hash(const gm_task *task, const char *data_dir, const char *split, uint64_t *hash) {
    char path[GM_PATH], answers[GM_PATH];
    GM_TRY(gm_task_find_file(task, data_dir, split, path));
    GM_TRY(gm_file_hash(task->path, hash));
    GM_TRY(gm_file_hash(path, hash));
    return gm_task_find_answers(task, path, gm_task_split_index(split), answers) ? gm_file_hash(answers, hash) : GM_OK;
}

bool gm_task_reads(const gm_task *task, const char *data_dir, const char *path) {
    char file[GM_PATH], answers[GM_PATH];
    if (!gm_file_exists(path)) return false;
    for (int i = 0; i < GM_SPLIT_COUNT; i++) {
        if (!task->splits[i].given || gm_task_find_file(task, data_dir, split_names[i], file) != GM_OK) continue;
        if (gm_same_file(file, path) || (gm_task_find_answers(task, file, i, answers) && gm_same_file(answers, path))) return true;
    }
    return gm_same_file(task->path, path);
}
