/* cJSON accepts much that JSON does not, so the strict reader goes over the text first; what remains to be done after
 * parsing is to refuse duplicate names and NUL bytes inside strings (cJSON's strings end at a NUL). */
#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static gm_status check_duplicates(const char *source, const cJSON *object) {
    gm_map names = {0};
    gm_status status = GM_OK;
    const cJSON *member;
    cJSON_ArrayForEach(member, object) {
        bool was_there;
        GM_TRY_GOTO(gm_map_put(&names, member->string, strlen(member->string), 0, &was_there, NULL));
        if (was_there) {
            status = gm_error(GM_BAD_FILE, "%s: the name \"%.100s\" stands twice in one object", source, member->string);
            goto done;
        }
    }
done:
    gm_map_free(&names);
    return status;
}

static gm_status check_tree(const char *source, const cJSON *item) { /* depth ≤ GM_JSON_DEPTH: the reader saw to it */
    if (cJSON_IsObject(item)) GM_TRY(check_duplicates(source, item));
    const cJSON *child;
    if (cJSON_IsObject(item) || cJSON_IsArray(item)) cJSON_ArrayForEach(child, item) GM_TRY(check_tree(source, child));
    return GM_OK;
}

gm_status gm_json_parse(const char *source, const char *text, size_t length, cJSON **tree) {
    gm_json_reader reader;
    gm_json_reader_init(&reader, source, text, length);
    reader.most = GM_JSON_VALUES;
    gm_status status = gm_json_skip(&reader);
    if (status == GM_OK) status = gm_json_finish(&reader);
    for (const char *p = text; status == GM_OK && (p = memchr(p, '\\', (size_t)(text + length - p))) != NULL; p += 2)
        if (text + length - p >= 6 && memcmp(p, "\\u0000", 6) == 0)
            status = gm_error(GM_BAD_FILE, "%s: a string holds the NUL character", source);
    gm_json_reader_free(&reader);
    if (status != GM_OK) return status;
    *tree = cJSON_ParseWithLength(text, length);
    if (!*tree) return gm_error(GM_NO_MEMORY, "%s: out of memory while parsing %zu bytes of JSON", source, length);
    status = check_tree(source, *tree);
    if (status != GM_OK) {
        cJSON_Delete(*tree);
        *tree = NULL;
    }
    return status;
}

gm_status gm_json_parse_file(const char *path, size_t most, gm_status missing, cJSON **tree) {
    gm_buffer text = {0};
    gm_status status = gm_file_read(&text, path, most, missing);
    if (status == GM_OK) status = gm_json_parse(path, gm_buffer_string(&text), text.length, tree);
    gm_buffer_free(&text);
    return status;
}

const cJSON *gm_json_member(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

bool gm_json_is_integer(const cJSON *item, int64_t *value) {
    if (!cJSON_IsNumber(item)) return false;
    double number = item->valuedouble;
    if (!(fabs(number) < (double)GM_EXACT_INTEGER) || number != floor(number)) return false;
    *value = (int64_t)number;
    return true;
}

static const cJSON *find(const cJSON *tree, const char *path) {
    while (tree && *path) {
        char name[64];
        size_t length = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)length, path);
        tree = gm_json_member(tree, name);
        path += length + (path[length] == '.');
    }
    return tree;
}

double gm_json_number_at(const cJSON *tree, const char *path) {
    const cJSON *item = find(tree, path);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

int64_t gm_json_integer_at(const cJSON *tree, const char *path, int64_t absent) {
    int64_t value;
    return gm_json_is_integer(find(tree, path), &value) ? value : absent;
}

const char *gm_json_text_at(const cJSON *tree, const char *path) {
    const cJSON *item = find(tree, path);
    return cJSON_IsString(item) ? item->valuestring : "";
}

const char *gm_json_show(const cJSON *item, char text[GM_JSON_SHOWN]) {
    if (cJSON_IsString(item))
        snprintf(text, GM_JSON_SHOWN, "\"%.60s\"", item->valuestring);
    else if (cJSON_IsNumber(item))
        gm_format_double(item->valuedouble, text);
    else
        snprintf(text, GM_JSON_SHOWN, "%s",
                 cJSON_IsArray(item)    ? "an array"
                 : cJSON_IsObject(item) ? "an object"
                 : cJSON_IsNull(item)   ? "null"
                 : cJSON_IsTrue(item)   ? "true"
                                        : "false");
    return text;
}
