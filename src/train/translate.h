/* Configurations of MoE-PEFT, of mLoRA, from which it comes, and of the reference program of GMoE: one format,
 *     {"cutoff_len": …, …, "lora": [{"name": …, "r": …, …}]}
 * made into ours. translate_keys.c knows the keys, translate.c what is done with them. */
#ifndef GM_TRAIN_TRANSLATE_H
#define GM_TRAIN_TRANSLATE_H

#include "train/config_keys.h"

/* The whole of a parsed file is in that format: it has a list "lora", or "cutoff_len". */
bool gm_translate_knows(const cJSON *file);

typedef struct gm_translation {
    const char *source;         /* of messages */
    const char *place;          /* "lora[0]." while its keys are looked at, then "" */
    const cJSON *adapter;       /* lora[0] */
    const gm_setting *settings; /* the command line's: what they give is not translated */
    size_t setting_count;
    cJSON *ours;            /* the result; owned by the caller */
    cJSON *givers;          /* our paths, each with the name of theirs that set it */
    gm_config *scratch;     /* takes every value once, so that a fault is told under their name */
    gm_buffer taken, notes; /* lines: what was translated; what has no counterpart */
} gm_translation;

/* ours, taken and notes of a file that is known; they are the caller's after a failure too. GM_USAGE: names what cannot be done here. */
gm_status gm_translate(gm_translation *translation, const char *source, const cJSON *file, const gm_setting *settings, size_t count);
void gm_translation_free(gm_translation *translation); /* all but ours */

/* ---- between the two files ---- */

typedef struct gm_foreign_key {
    const char *name;   /* theirs */
    const char *path;   /* ours; NULL: none */
    const char *same;   /* JSON: without a path, the value that is as here; any other … */
    bool refused;       /* … is an error; otherwise it is noted */
    const char *remark; /* of the note or the error; with a path, of how ours differs */
    bool sets_more;     /* `convert` sets other paths too */
    /* Their value as ours, to be deleted; NULL there: nothing to set. Where it is NULL itself: the value as it stands, or, without
     * a path, `same`. */
    gm_status (*convert)(gm_translation *, const struct gm_foreign_key *, const cJSON *value, cJSON **ours);
} gm_foreign_key;

extern const gm_foreign_key gm_foreign_top_keys[], gm_foreign_adapter_keys[]; /* name NULL at the end */

/* Sets one of our keys for one of theirs. */
gm_status gm_translate_set(gm_translation *translation, const char *name, const char *path, const cJSON *value, const char *remark);
gm_status gm_translate_refuse(const gm_translation *translation, const char *name, const cJSON *value, const char *why);
void gm_translate_note(gm_translation *translation, const char *name, const char *what);
/* What several keys decide together: the router's losses, and defaults of theirs that are not ours. */
gm_status gm_translate_together(gm_translation *translation);

#endif
