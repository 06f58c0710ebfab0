#include "train/translate.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_BYTES = 256 };

bool gm_translate_knows(const cJSON *file) {
    return cJSON_IsObject(file) && (cJSON_IsArray(gm_json_member(file, "lora")) || gm_json_member(file, "cutoff_len"));
}

/* ---- what is said ----------------------------------------------------------------------------------------------- */

gm_status gm_translate_refuse(const gm_translation *t, const char *name, const cJSON *value, const char *why) {
    char *text = cJSON_PrintUnformatted(value);
    gm_status status = gm_error(GM_USAGE, "%s: %s%s: %.60s: %s", t->source, t->place, name, text ? text : "…", why);
    cJSON_free(text);
    return status;
}

void gm_translate_note(gm_translation *t, const char *name, const char *what) {
    gm_buffer_format(&t->notes, "%s%.100s: %s\n", t->place, name, what);
}

/* ---- one key ---------------------------------------------------------------------------------------------------- */

/* The object in which the path's last name stands, made where it is not there. */
static cJSON *section_of(cJSON *tree, const char *path) {
    const char *dot;
    for (; tree && (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "%.*s", (int)(dot - path), path);
        cJSON *inner = cJSON_GetObjectItemCaseSensitive(tree, name);
        tree = inner ? inner : cJSON_AddObjectToObject(tree, name);
    }
    return tree;
}

/* Two spellings of one key, which their programs read in ways of their own. */
static gm_status contradiction(const gm_translation *t, const char *name, const char *path, const cJSON *value, const cJSON *earlier) {
    const cJSON *giver = gm_json_member(t->givers, path);
    char *now = cJSON_PrintUnformatted(value), *before = cJSON_PrintUnformatted(earlier);
    gm_status status = gm_error(GM_USAGE, "%s: %s%s: gives %.60s for %s, and %s gives %.60s; leave one of them out", t->source, t->place,
                                name, now ? now : "…", path, giver ? giver->valuestring : "another key", before ? before : "…");
    cJSON_free(now);
    cJSON_free(before);
    return status;
}

gm_status gm_translate_set(gm_translation *t, const char *name, const char *path, const cJSON *value, const char *remark) {
    const gm_config_key *key = gm_config_find_key(path);
    GM_CHECK(key, "%s is translated to %s, which is no key", name, path);
    cJSON *section = section_of(t->ours, path), *copy = cJSON_Duplicate(value, true);
    const cJSON *earlier = section ? gm_json_member(section, gm_config_leaf(key)) : NULL;
    if (earlier) {
        bool same = cJSON_Compare(earlier, value, true);
        cJSON_Delete(copy);
        if (!same) return contradiction(t, name, path, value, earlier);
        return gm_translate_note(t, name, "left out: another key gives the same"), GM_OK;
    }
    gm_status status = gm_config_take(t->scratch, key, value);
    if (status != GM_OK) gm_error_prefix(status, "%s: %s%s (%s)", t->source, t->place, name, path);
    if (status == GM_OK && (!section || !copy || !cJSON_AddItemToObject(section, gm_config_leaf(key), copy)))
        status = gm_error(GM_NO_MEMORY, "%s: out of memory", t->source);
    if (status != GM_OK) return cJSON_Delete(copy), status;
    if (!cJSON_AddStringToObject(t->givers, path, name)) return gm_error(GM_NO_MEMORY, "%s: out of memory", t->source);
    gm_buffer_format(&t->taken, "    %-24s %s ", name, path);
    gm_config_write_value(&t->taken, t->scratch, key);
    if (remark) gm_buffer_format(&t->taken, "   (%s)", remark);
    gm_buffer_char(&t->taken, '\n');
    return GM_OK;
}

static gm_status without_counterpart(gm_translation *t, const gm_foreign_key *key, const cJSON *value) {
    cJSON *same = key->same ? cJSON_Parse(key->same) : NULL;
    bool equal = same && cJSON_Compare(same, value, true);
    cJSON_Delete(same);
    if (equal) return gm_buffer_format(&t->taken, "    %-24s as here\n", key->name), GM_OK;
    if (key->refused) return gm_translate_refuse(t, key->name, value, key->remark);
    gm_translate_note(t, key->name, key->remark);
    return GM_OK;
}

static bool is_given(const gm_translation *t, const char *path) {
    for (size_t i = 0; i < t->setting_count; i++)
        if (strcmp(t->settings[i].path, path) == 0) return true;
    return false;
}

static gm_status translate_key(gm_translation *t, const gm_foreign_key *key, const cJSON *value) {
    if (key->path && !key->sets_more && is_given(t, key->path))
        return gm_buffer_format(&t->taken, "    %-24s given on the command line\n", key->name), GM_OK;
    if (!key->convert)
        return key->path ? gm_translate_set(t, key->name, key->path, value, key->remark) : without_counterpart(t, key, value);
    cJSON *ours = NULL;
    gm_status status = key->convert(t, key, value, &ours);
    if (status == GM_OK && ours) status = gm_translate_set(t, key->name, key->path, ours, key->remark);
    cJSON_Delete(ours);
    return status;
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

/* A key or a section of our own format. */
static bool is_ours(const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < gm_config_key_count; i++) {
        const char *path = gm_config_keys[i].path;
        if (strncmp(path, name, length) == 0 && (path[length] == '\0' || path[length] == '.')) return true;
    }
    return false;
}

/* null is theirs for "not given". */
static gm_status translate_members(gm_translation *t, const gm_foreign_key *keys, const cJSON *object) {
    const cJSON *member;
    cJSON_ArrayForEach(member, object) {
        const gm_foreign_key *key = keys;
        while (key->name && strcmp(key->name, member->string) != 0) key++;
        if (!key->name && keys == gm_foreign_top_keys && is_ours(member->string))
            return gm_error(GM_USAGE,
                            "%s: %.60s: is a key of ours beside a list \"lora\", which is MoE-PEFT's; write the file in one of the two "
                            "formats, or give it with --set",
                            t->source, member->string);
        if (!key->name)
            gm_translate_note(t, member->string, "unknown, left out");
        else if (!cJSON_IsNull(member))
            GM_TRY(translate_key(t, key, member));
    }
    return GM_OK;
}

static gm_status find_adapter(gm_translation *t, const cJSON *file) {
    const cJSON *list = gm_json_member(file, "lora");
    int count = cJSON_GetArraySize(list);
    if (!list)
        return gm_error(GM_USAGE, "%s: cutoff_len: is a key of MoE-PEFT, whose files have a list \"lora\"; in ours it is train.max_length",
                        t->source);
    if (!cJSON_IsArray(list) || count == 0)
        return gm_error(GM_USAGE, "%s: lora: must be a list that holds the adapter to train", t->source);
    if (count > 1)
        return gm_error(GM_USAGE, "%s: lora: holds %d adapters; one is trained at a time: give a file for each", t->source, count);
    t->adapter = cJSON_GetArrayItem(list, 0);
    return cJSON_IsObject(t->adapter) ? GM_OK : gm_error(GM_USAGE, "%s: lora[0]: must be an object", t->source);
}

gm_status gm_translate(gm_translation *t, const char *source, const cJSON *file, const gm_setting *settings, size_t count) {
    *t = (gm_translation){.source = source,
                          .place = "lora[0].",
                          .settings = settings,
                          .setting_count = count,
                          .ours = cJSON_CreateObject(),
                          .givers = cJSON_CreateObject()};
    GM_ALLOC(t->scratch, 1);
    if (!t->ours || !t->givers) return gm_error(GM_NO_MEMORY, "%s: out of memory", source);
    gm_config_set_defaults(t->scratch);
    GM_TRY(find_adapter(t, file));
    GM_TRY(translate_members(t, gm_foreign_adapter_keys, t->adapter));
    GM_TRY(gm_translate_together(t));
    t->place = "";
    GM_TRY(translate_members(t, gm_foreign_top_keys, file));
    GM_TRY(gm_buffer_status(&t->taken));
    return gm_buffer_status(&t->notes);
}

void gm_translation_free(gm_translation *t) {
    free(t->scratch);
    cJSON_Delete(t->givers);
    gm_buffer_free(&t->taken);
    gm_buffer_free(&t->notes);
}
