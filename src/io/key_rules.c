#include "io/key_rules.h"
#include "base/log.h"

#include <string.h>

enum { WARNED_KEYS = 8 }; /* the rest is counted */

static bool is_neutral(const cJSON *value, const char *neutral) {
    bool wants_true = neutral && strcmp(neutral, "true") == 0;
    if (cJSON_IsNull(value)) return true;
    if (cJSON_IsBool(value)) return cJSON_IsTrue(value) == wants_true;
    if (cJSON_IsArray(value) || cJSON_IsObject(value)) return value->child == NULL;
    if (cJSON_IsString(value)) return value->valuestring[0] == '\0' || (neutral && strcmp(value->valuestring, neutral) == 0);
    return neutral && neutral[1] == '\0' && value->valuedouble == neutral[0] - '0';
}

static const gm_file_key *find_key(const gm_file_key *keys, const char *name) {
    for (; keys->name; keys++)
        if (strcmp(keys->name, name) == 0) return keys;
    return NULL;
}

gm_status gm_key_rules_refuse(const gm_file_key *keys, const char *path, const cJSON *object) {
    const cJSON *member;
    cJSON_ArrayForEach(member, object) {
        char text[GM_JSON_SHOWN];
        const gm_file_key *key = find_key(keys, member->string);
        if (key && key->rule == GM_KEY_REFUSE && !is_neutral(member, key->neutral))
            return gm_error(GM_BAD_FILE, "%s: %s: %s is not supported: it would change the model's result", path, member->string,
                            gm_json_show(member, text));
    }
    return GM_OK;
}

gm_status gm_key_rules_check(const gm_file_key *keys, const char *path, const cJSON *object) {
    int unknown = 0;
    const cJSON *member;
    GM_TRY(gm_key_rules_refuse(keys, path, object));
    cJSON_ArrayForEach(member, object) {
        char text[GM_JSON_SHOWN];
        const gm_file_key *key = find_key(keys, member->string);
        if (is_neutral(member, key ? key->neutral : NULL)) continue;
        if (!key && unknown++ < WARNED_KEYS) gm_log(GM_LOG_WARN, "%s: %.100s: not a key that gmoe knows; ignored", path, member->string);
        if (key && key->rule == GM_KEY_WARN)
            gm_log(GM_LOG_WARN, "%s: %s: %s is not applied", path, member->string, gm_json_show(member, text));
    }
    if (unknown > WARNED_KEYS) gm_log(GM_LOG_WARN, "%s: %d more keys that gmoe does not know; ignored", path, unknown - WARNED_KEYS);
    return GM_OK;
}
