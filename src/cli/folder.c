#include "cli/folder.h"

#include "base/file.h"
#include "base/text.h"
#include "cli/run_directory.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct folder_kind {
    const char *name, *takes; /* what takes one of them, or all */
    bool one;
    bool (*is)(const char *path);
    int count;
    char first[256]; /* name of the first one */
} folder_kind;

static bool holds(const char *directory, const char *name) {
    char path[GM_PATH];
    return gm_path_join(path, directory, name) == GM_OK && gm_file_exists(path);
}

static bool is_adapter(const char *path) { return holds(path, "adapter_config.json") || holds(path, "adapter_model.safetensors"); }

static bool is_model(const char *path) {
    return holds(path, "config.json") && (holds(path, "model.safetensors") || holds(path, "model.safetensors.index.json"));
}

static bool is_data(const char *path) {
    static const char *const endings[] = {".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz", ".csv", ".csv.gz", ".lst"};
    if (gm_directory_exists(path)) return false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (gm_text_ends_with(path, endings[i])) return true;
    return false;
}

/* Each entry counts for the first kind that it is. */
static void count_kinds(folder_kind *kinds, size_t count, const char *directory) {
    struct dirent **entries = NULL;
    int entry_count = scandir(directory, &entries, NULL, alphasort);
    for (int i = 0; i < entry_count; i++) {
        char path[GM_PATH];
        const char *name = entries[i]->d_name;
        bool visible = name[0] != '.' && gm_path_join(path, directory, name) == GM_OK;
        for (size_t k = 0; visible && k < count; k++) {
            if (!kinds[k].is(path)) continue;
            if (kinds[k].count++ == 0) snprintf(kinds[k].first, sizeof kinds[k].first, "%s", name);
            break;
        }
        free(entries[i]);
    }
    free(entries);
}

gm_status gm_describe_folder(gm_buffer *out, const char *directory) {
    folder_kind kinds[] = {
        {.name = "run", .is = gm_is_run_directory, .one = true, .takes = "gmoe-inspect says more of it"},
        {.name = "adapter", .is = is_adapter, .one = true, .takes = "gmoe-eval --adapter and gmoe-train --init-adapter take it"},
        {.name = "model", .is = is_model, .one = true, .takes = "--base-model takes it"},
        {.name = "data file", .is = is_data, .takes = "--data-dir takes it, where they are those of a task"},
    };
    const size_t count = sizeof kinds / sizeof *kinds;
    count_kinds(kinds, count, directory);
    for (size_t k = 0; k < count; k++) {
        if (kinds[k].count == 0) continue;
        gm_buffer_format(out, "kind: a folder of %d %s%s\n", kinds[k].count, kinds[k].name, kinds[k].count > 1 ? "s" : "");
        gm_buffer_format(out, "%s: %s%s%s: %s\n", kinds[k].one ? "one" : "folder", directory, kinds[k].one ? "/" : "",
                         kinds[k].one ? kinds[k].first : "", kinds[k].takes);
    }
    return gm_buffer_status(out);
}
