#include "data/field.h"

#include <string.h>

enum { MOST_PARTS = 16 };

static const char *type_name(const cJSON *item) {
    if (cJSON_IsString(item)) return "a string";
    if (cJSON_IsNumber(item)) return "a number";
    if (cJSON_IsBool(item)) return "true or false";
    if (cJSON_IsArray(item)) return "an array";
    return cJSON_IsObject(item) ? "an object" : "null";
}

static gm_status parse_path(gm_field_path *path, const char *text, size_t length, gm_region *region) {
    gm_field_step *steps;
    GM_REGION_ALLOC(region, steps, MOST_PARTS);
    *path = (gm_field_path){.steps = steps};
    for (const char *at = text, *end = text + length; at <= end;) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        size_t width = (size_t)((dot ? dot : end) - at);
        if (path->count == MOST_PARTS) return gm_error(GM_USAGE, "\"%.*s\" has more than %d parts", (int)length, text, MOST_PARTS);
        gm_field_step *step = &steps[path->count++];
        step->each = width > 2 && memcmp(at + width - 2, "[]", 2) == 0;
        size_t name = width - (step->each ? 2 : 0);
        if (name == 0 || memchr(at, '[', name) || memchr(at, ']', name) || (step->each && path->list))
            return gm_error(GM_USAGE, "\"%.*s\" is no field path; write names with dots between them, one at most with [] behind it",
                            (int)length, text);
        path->list |= step->each;
        if ((step->name = gm_region_copy(region, at, name)) == NULL) return GM_NO_MEMORY;
        at += width + 1;
    }
    return GM_OK;
}

gm_status gm_field_parse(gm_field *field, const char *text, gm_region *region) {
    gm_field_path *paths;
    GM_REGION_ALLOC(region, paths, MOST_PARTS);
    *field = (gm_field){.paths = paths};
    gm_buffer words = {0};
    gm_status status = GM_OK;
    for (const char *at = text; at && status == GM_OK;) {
        const char *bar = strstr(at, " | ");
        size_t width = bar ? (size_t)(bar - at) : strlen(at);
        if (field->count == MOST_PARTS) GM_TRY_GOTO(gm_error(GM_USAGE, "\"%s\" has more than %d alternatives", text, MOST_PARTS));
        GM_TRY_GOTO(parse_path(&paths[field->count], at, width, region));
        if (paths[field->count++].list != paths[0].list) GM_TRY_GOTO(gm_error(GM_USAGE, "\"%s\" mixes lists with single fields", text));
        if (at != text) gm_buffer_text(&words, " or ");
        gm_buffer_append(&words, at, width);
        at = bar ? bar + 3 : NULL;
    }
    GM_TRY_GOTO(gm_buffer_status(&words));
    field->text = gm_region_copy(region, gm_buffer_string(&words), words.length);
    if (!field->text) status = GM_NO_MEMORY;
done:
    gm_buffer_free(&words);
    return status;
}

bool gm_field_is_list(const gm_field *field) { return field->count > 0 && field->paths[0].list; }

/* Walks steps[from..to); NULL where something on the way is absent or no object. */
static const cJSON *walk(const cJSON *item, const gm_field_path *path, int from, int to) {
    for (int i = from; i < to && item; i++) item = cJSON_IsObject(item) ? gm_json_member(item, path->steps[i].name) : NULL;
    return item;
}

const cJSON *gm_field_find(const gm_field *field, const cJSON *record) {
    for (int i = 0; i < field->count; i++) {
        const cJSON *item = walk(record, &field->paths[i], 0, field->paths[i].count);
        if (item) return item;
    }
    return NULL;
}

gm_status gm_field_string(const gm_field *field, const cJSON *record, const char **value) {
    const cJSON *wrong = NULL;
    for (int i = 0; i < field->count; i++) {
        const cJSON *item = walk(record, &field->paths[i], 0, field->paths[i].count);
        if (cJSON_IsString(item)) {
            *value = item->valuestring;
            return GM_OK;
        }
        if (item && !wrong) wrong = item;
    }
    if (!wrong) return gm_error(GM_BAD_FILE, "no field %s", field->text);
    if (field->count == 1) return gm_error(GM_BAD_FILE, "%s: %s where a string should be", field->text, type_name(wrong));
    return gm_error(GM_BAD_FILE, "no string %s: %s is %s", field->text, wrong->string, type_name(wrong));
}

gm_status gm_strings_add(gm_strings *strings, const char *item) {
    GM_GROW(strings->items, strings->capacity, strings->count + 1);
    strings->items[strings->count++] = item;
    return GM_OK;
}

static gm_status add_elements(const gm_field *field, const gm_field_path *path, int each, const cJSON *array, gm_strings *strings) {
    const cJSON *element;
    size_t index = 0;
    cJSON_ArrayForEach(element, array) {
        const cJSON *item = walk(element, path, each + 1, path->count);
        if (!cJSON_IsString(item))
            return gm_error(GM_BAD_FILE, "%s: element %zu: %s where a string should be", field->text, index,
                            item ? type_name(item) : "nothing");
        GM_TRY(gm_strings_add(strings, item->valuestring));
        index++;
    }
    return GM_OK;
}

gm_status gm_field_strings(const gm_field *field, const cJSON *record, gm_strings *strings, bool *present) {
    for (int i = 0; i < field->count; i++) {
        const gm_field_path *path = &field->paths[i];
        int each = 0;
        while (!path->steps[each].each) each++;
        const cJSON *array = walk(record, path, 0, each + 1);
        if (!array) continue;
        if (present) *present = true;
        if (!cJSON_IsArray(array)) return gm_error(GM_BAD_FILE, "%s: %s where an array should be", field->text, type_name(array));
        return add_elements(field, path, each, array, strings);
    }
    if (!present) return gm_error(GM_BAD_FILE, "no field %s", field->text);
    *present = false;
    return GM_OK;
}
