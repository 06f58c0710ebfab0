#include "train/run_names.h"

#include "base/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const gm_run_files[] = {"result.json", "report.html", "metrics.jsonl", "config.json", NULL};
const char *const gm_run_published[] = {"adapter", "best", NULL};
const char *const gm_folder_files[] = {"adapter_model.safetensors",
                                       "adapter_config.json",
                                       "optimizer.safetensors",
                                       "state.json",
                                       "config.json",
                                       "evaluation.json",
                                       "MANIFEST",
                                       NULL};

static const char *const endings[] = {[GM_STAGE_WHOLE] = "",
                                      [GM_STAGE_FRESH] = ".tmp",
                                      [GM_STAGE_REPLACED] = ".old.tmp",
                                      [GM_STAGE_PRUNED] = ".pruned.tmp",
                                      [GM_STAGE_DAMAGED] = ".damaged"};
static const char step_prefix[] = "step-", seed_prefix[] = "seed-";

bool gm_is_among(const char *name, const char *const *names) {
    while (*names && strcmp(*names, name) != 0) names++;
    return *names != NULL;
}

void gm_step_name(char name[GM_RUN_NAME], int64_t step) { snprintf(name, GM_RUN_NAME, "%s%" PRId64, step_prefix, step); }
void gm_seed_name(char name[GM_RUN_NAME], int64_t seed) { snprintf(name, GM_RUN_NAME, "%s%" PRId64, seed_prefix, seed); }

/* The ending behind "PREFIXnumber", NULL where the name is none. */
static const char *read_number(const char *name, const char *prefix, int64_t *number) {
    if (strncmp(name, prefix, strlen(prefix)) != 0) return NULL;
    const char *digits = name + strlen(prefix);
    size_t count = strspn(digits, "0123456789");
    if (digits[0] == '0' && count > 1) return NULL;
    return gm_parse_integer(digits, count, 0, GM_EXACT_INTEGER, number) ? digits + count : NULL;
}

static bool read_ending(const char *ending, gm_stage last, gm_stage *stage) {
    for (gm_stage s = GM_STAGE_WHOLE; s <= last; s++)
        if (strcmp(ending, endings[s]) == 0) return *stage = s, true;
    return false;
}

bool gm_step_name_read(const char *name, int64_t *step, gm_stage *stage) {
    const char *ending = read_number(name, step_prefix, step);
    return ending && read_ending(ending, GM_STAGE_DAMAGED, stage);
}

bool gm_seed_name_read(const char *name, int64_t *seed) {
    const char *ending = read_number(name, seed_prefix, seed);
    return ending && ending[0] == '\0';
}

bool gm_published_name_read(const char *name, gm_stage *stage) {
    for (int i = 0; gm_run_published[i]; i++) {
        size_t length = strlen(gm_run_published[i]);
        if (strncmp(name, gm_run_published[i], length) == 0 && read_ending(name + length, GM_STAGE_REPLACED, stage)) return true;
    }
    return false;
}

gm_status gm_stage_path(char path[GM_PATH], const char *directory, const char *name, gm_stage stage) {
    GM_TRY(gm_path_join(path, directory, name));
    size_t length = strlen(path);
    if (length + strlen(endings[stage]) >= GM_PATH) return gm_error(GM_USAGE, "%s: the path is too long", path);
    strcpy(path + length, endings[stage]);
    return GM_OK;
}

bool gm_stage_is_leftover(gm_stage stage) { return stage == GM_STAGE_FRESH || stage == GM_STAGE_REPLACED || stage == GM_STAGE_PRUNED; }
