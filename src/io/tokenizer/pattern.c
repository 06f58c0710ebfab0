#define _GNU_SOURCE /* memmem */
#include "io/tokenizer/pattern.h"

#include <string.h>

gm_status gm_pattern_load(gm_pattern *pattern, const gm_component *component, gm_region *region) {
    const cJSON *object = gm_json_member(component->object, "pattern");
    const cJSON *only = cJSON_IsObject(object) && object->child && !object->child->next ? object->child : NULL;
    bool is_string = only && strcmp(only->string, "String") == 0, is_regex = only && strcmp(only->string, "Regex") == 0;
    if (!only || !cJSON_IsString(only) || !(is_string || is_regex))
        return gm_component_refuse(component, "\"pattern\" should be {\"String\": …} or {\"Regex\": …}");
    gm_slice text = {only->valuestring, strlen(only->valuestring)};
    if (text.length == 0) return gm_component_refuse(component, "an empty \"pattern\" is not supported");
    if (is_regex) return gm_component_prefix(component, gm_regex_compile(&pattern->regex, text));
    pattern->literal.bytes = gm_region_copy(region, text.bytes, text.length);
    pattern->literal.length = text.length;
    return pattern->literal.bytes ? GM_OK : GM_NO_MEMORY;
}

void gm_pattern_free(gm_pattern *pattern) {
    gm_regex_free(pattern->regex);
    pattern->regex = NULL;
}

gm_search gm_search_begin(const gm_pattern *pattern, gm_regex_scratch *scratch, gm_slice text) {
    return (gm_search){.pattern = pattern, .scratch = scratch, .text = text};
}

static bool next_literal(gm_search *search) {
    const gm_slice *literal = &search->pattern->literal;
    const char *begin = search->text.bytes + search->from;
    size_t left = search->text.length - search->from;
    const char *at = literal->length == 1 ? memchr(begin, literal->bytes[0], left) : memmem(begin, left, literal->bytes, literal->length);
    if (!at) return false;
    search->begin = (size_t)(at - search->text.bytes);
    search->end = search->begin + literal->length;
    return true;
}

static bool next_of_class(gm_search *search) {
    for (size_t at = search->from; at < search->text.length;) {
        uint32_t code;
        size_t size = (size_t)gm_utf8_decode(search->text.bytes + at, search->text.length - at, &code);
        if (search->pattern->holds(code)) {
            search->begin = at;
            search->end = at + size;
            return true;
        }
        at += size;
    }
    return false;
}

/* An empty match right after the last match is no match: the search goes on one character further. */
static gm_status next_of_regex(gm_search *search, bool *found) {
    size_t last = search->end;
    for (;;) {
        if (search->from > search->text.length) {
            *found = false;
            return GM_OK;
        }
        GM_TRY(gm_regex_find(search->pattern->regex, search->scratch, search->text, search->from, &search->begin, &search->end, found));
        if (!*found || search->begin < search->end || !search->matched || search->end != last) return GM_OK;
        search->from += search->from < search->text.length ? gm_utf8_size(search->text.bytes[search->from]) : 1;
    }
}

/* The package finds nothing in an empty text, whatever the pattern. */
gm_status gm_search_next(gm_search *search, bool *found) {
    if (search->text.length == 0) {
        *found = false;
    } else if (search->pattern->regex) {
        GM_TRY(next_of_regex(search, found));
    } else {
        *found = search->from < search->text.length && (search->pattern->holds ? next_of_class(search) : next_literal(search));
    }
    if (*found) {
        search->from = search->end;
        search->matched = true;
    }
    return GM_OK;
}
