#include "io/tokenizer/component.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

gm_status gm_component_refuse(const gm_component *component, const char *format, ...) {
    char reason[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return gm_error(GM_BAD_FILE, "%s: %s: %s: %s", component->file, component->section, component->type, reason);
}

gm_status gm_component_prefix(const gm_component *component, gm_status status) {
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "%s: %s: %s", component->file, component->section, component->type);
}

gm_status gm_component_unknown(const gm_component *component) {
    return gm_error(GM_BAD_FILE, "%s: %s: a component of type \"%s\" is not supported", component->file, component->section,
                    component->type);
}

gm_status gm_component_open(gm_component *component, const char *file, const char *section, const cJSON *object) {
    const cJSON *type = cJSON_IsObject(object) ? gm_json_member(object, "type") : NULL;
    if (!type || !cJSON_IsString(type)) return gm_error(GM_BAD_FILE, "%s: %s: should be an object with a \"type\"", file, section);
    *component = (gm_component){.file = file, .section = section, .type = type->valuestring, .object = object};
    return GM_OK;
}

bool gm_component_is(const gm_component *component, const char *type) { return strcmp(component->type, type) == 0; }

gm_status gm_component_options(const gm_component *component, const char *const *names) {
    const cJSON *member;
    cJSON_ArrayForEach(member, component->object) {
        bool known = strcmp(member->string, "type") == 0;
        for (const char *const *name = names; *name && !known; name++) known = strcmp(member->string, *name) == 0;
        if (!known) return gm_component_refuse(component, "the option \"%s\" is not supported", member->string);
    }
    return GM_OK;
}

static gm_status wrong_kind(const gm_component *component, const char *name, const char *kind) {
    return gm_component_refuse(component, "\"%s\" should be %s", name, kind);
}

gm_status gm_component_text(const gm_component *component, const char *name, gm_slice *value) {
    const cJSON *item = gm_json_member(component->object, name);
    if (!item || !cJSON_IsString(item)) return wrong_kind(component, name, "a string");
    *value = gm_slice_of(item->valuestring);
    return GM_OK;
}

gm_status gm_component_character(const gm_component *component, const char *name, gm_slice *value) {
    GM_TRY(gm_component_text(component, name, value));
    if (value->length == 0 || gm_utf8_size(value->bytes[0]) != value->length) return wrong_kind(component, name, "one character");
    return GM_OK;
}

gm_status gm_component_bool(const gm_component *component, const char *name, bool *value) {
    const cJSON *item = gm_json_member(component->object, name);
    if (!item || !cJSON_IsBool(item)) return wrong_kind(component, name, "true or false");
    *value = cJSON_IsTrue(item);
    return GM_OK;
}

gm_status gm_component_bool_or(const gm_component *component, const char *name, bool otherwise, bool *value) {
    *value = otherwise;
    return gm_json_member(component->object, name) ? gm_component_bool(component, name, value) : GM_OK;
}

gm_status gm_component_count(const gm_component *component, const char *name, size_t *value) {
    const cJSON *item = gm_json_member(component->object, name);
    int64_t integer;
    if (!item || !gm_json_is_integer(item, &integer) || integer < 0) return wrong_kind(component, name, "a number of characters");
    *value = (size_t)integer;
    return GM_OK;
}

gm_status gm_component_choice(const gm_component *component, const char *name, const char *const *names, int *value) {
    gm_slice text = {0};
    GM_TRY(gm_component_text(component, name, &text));
    for (*value = 0; names[*value]; ++*value)
        if (strcmp(names[*value], text.bytes) == 0) return GM_OK;
    return gm_component_refuse(component, "\"%s\": \"%s\" is not supported", name, text.bytes);
}

gm_status gm_component_array(const gm_component *component, const char *name, const cJSON **array) {
    *array = gm_json_member(component->object, name);
    if (!*array || !cJSON_IsArray(*array)) return wrong_kind(component, name, "an array");
    return GM_OK;
}

size_t gm_component_count_leaves(const cJSON *object, const char *elements) {
    const cJSON *array = cJSON_IsObject(object) ? gm_json_member(object, elements) : NULL, *element;
    if (!array) return object ? 1 : 0;
    size_t count = 0;
    cJSON_ArrayForEach(element, array) count += gm_component_count_leaves(element, elements);
    return count;
}
