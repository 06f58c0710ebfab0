/* The table of configuration keys, for config.c and config_write.c. */
#ifndef GM_TRAIN_CONFIG_KEYS_H
#define GM_TRAIN_CONFIG_KEYS_H

#include "base/json.h"
#include "train/config.h"

#include <string.h>

typedef enum gm_config_type {
    GM_CONFIG_STRING,  /* char[size]                                              */
    GM_CONFIG_INTEGER, /* int64_t                                                 */
    GM_CONFIG_NUMBER,  /* double                                                  */
    GM_CONFIG_BOOL,    /* bool                                                    */
    GM_CONFIG_MAYBE,   /* int: true, false, or null (−1)                          */
    GM_CONFIG_CHOICE,  /* int or enum: index among the choices                    */
    GM_CONFIG_PAIR,    /* double[2], each in [low, high)                          */
    GM_CONFIG_TARGETS, /* bool[GM_TARGETS]: an array of distinct choices          */
    GM_CONFIG_TASKS,   /* gm_config.task: a string, or an array of distinct ones  */
    GM_CONFIG_WEIGHTS, /* gm_config.train.mix: an array of numbers                */
} gm_config_type;

typedef struct gm_config_key {
    const char *path;
    gm_config_type type;
    size_t offset, size;  /* in gm_config; size of a STRING */
    const char *fallback; /* JSON; NULL: the method's (adapter.…), or none (a STRING stays empty) */
    const char *meaning;
    double low, high;           /* INTEGER, NUMBER: both included */
    const char *const *choices; /* NULL at the end */
    int built;                  /* CHOICE: the first so many work, the others are planned; 0: all */
    bool only_default;          /* other values are planned */
    bool resume_may_change;
} gm_config_key;

extern const gm_config_key gm_config_keys[];
extern const size_t gm_config_key_count;

static inline void *gm_config_at(const gm_config *config, const gm_config_key *key) { return (char *)(uintptr_t)config + key->offset; }
static inline const char *gm_config_leaf(const gm_config_key *key) {
    return strrchr(key->path, '.') ? strrchr(key->path, '.') + 1 : key->path;
}

/* "integer", "string" … */
const char *gm_config_type_name(gm_config_type type);
/* Appends the key's value in `config` as JSON. */
void gm_config_write_value(gm_buffer *out, const gm_config *config, const gm_config_key *key);
/* The tree of a JSON text of our own; cJSON_Delete(). */
cJSON *gm_config_parse_own(const char *text);
/* Sets everything to the table's defaults and those of the method (gm_config.method). */
void gm_config_set_defaults(gm_config *config);
void gm_config_set_method(gm_config *config, int method);
/* --parity (config_parity.c): what the reference program reads otherwise. */
typedef struct gm_config_reading {
    const char *path, *value; /* JSON */
    const char *meaning;
} gm_config_reading;
extern const gm_config_reading gm_config_parity[];
extern const size_t gm_config_parity_count;
void gm_config_set_parity(gm_config *config);
/* Says which of them the file and the command line keep from being set. `giver`: who gave each key, by its index in the table ("run.json",
 * "--set"); NULL: nobody. */
void gm_config_note_kept(const gm_config *config, const char *const *giver);
/* config_method.c: keys that make the adapter another method's than it is called. GM_USAGE names them and their givers. */
gm_status gm_config_check_method(const gm_config *config, const char *const *giver);

/* The key of this path, or NULL. */
const gm_config_key *gm_config_find_key(const char *path);
/* The path of the key that another program, or haste, calls so ("lr"), or NULL. */
const char *gm_config_meant_by(const char *name);
/* The choice works; others are planned. */
bool gm_config_choice_works(const gm_config_key *key, int choice);
/* Stores a value where the key says. Faults are GM_USAGE without place: the caller adds source and key. */
gm_status gm_config_store(gm_config *config, const gm_config_key *key, const cJSON *value);
/* The same for a value that someone gave: what is only planned is refused. */
gm_status gm_config_take(gm_config *config, const gm_config_key *key, const cJSON *value);

#endif
