/* Texts with marks, lists and maps. */
#define _GNU_SOURCE /* memmem */
#include "data/jinja/jinja_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

gm_jinja_value gm_jinja_text(const char *text) { return (gm_jinja_value){.kind = GM_JINJA_TEXT, .bytes = text, .count = strlen(text)}; }

gm_jinja_value gm_jinja_part(const gm_jinja_value *text, size_t begin, size_t end) {
    return (gm_jinja_value){
        .kind = GM_JINJA_TEXT, .bytes = text->bytes + begin, .marks = text->marks ? text->marks + begin : NULL, .count = end - begin};
}

const char *gm_jinja_kind_name(const gm_jinja_value *value) {
    static const char *const names[] = {"undefined", "none", "true or false", "a number", "a text", "a list", "a map"};
    return names[value->kind];
}

bool gm_jinja_truth(const gm_jinja_value *value) {
    switch (value->kind) {
    case GM_JINJA_BOOLEAN:
    case GM_JINJA_NUMBER: return value->integer != 0;
    case GM_JINJA_TEXT:
    case GM_JINJA_LIST: return value->count > 0;
    case GM_JINJA_MAP: return value->count > 0 || value->space;
    default: return false;
    }
}

static bool is_number(const gm_jinja_value *value) { return value->kind == GM_JINJA_NUMBER || value->kind == GM_JINJA_BOOLEAN; }

static gm_status equal_lists(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *a, const gm_jinja_value *b, bool *equal) {
    gm_status status = GM_OK;
    *equal = true;
    run->depth++;
    for (size_t i = 0; i < a->count && *equal && status == GM_OK; i++)
        status = gm_jinja_equal(run, node, &a->items[i], &b->items[i], equal);
    run->depth--;
    return status;
}

/* Of as many members: in whatever order. */
static gm_status equal_maps(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *a, const gm_jinja_value *b, bool *equal) {
    gm_status status = GM_OK;
    *equal = true;
    run->depth++;
    for (size_t i = 0; i < a->count && *equal && status == GM_OK; i++) {
        gm_jinja_value other = gm_jinja_member(b, a->names[i], strlen(a->names[i]));
        status = gm_jinja_equal(run, node, &a->items[i], &other, equal);
    }
    run->depth--;
    return status;
}

gm_status gm_jinja_equal(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *a, const gm_jinja_value *b, bool *equal) {
    GM_TRY(gm_jinja_step(run, node));
    *equal = is_number(a) && is_number(b) && a->integer == b->integer;
    if ((is_number(a) && is_number(b)) || a->kind != b->kind || a->count != b->count) return GM_OK;
    switch (a->kind) {
    case GM_JINJA_TEXT:
        gm_jinja_spend(run, a->bytes == b->bytes ? 0 : a->count);
        *equal = a->bytes == b->bytes || memcmp(a->bytes, b->bytes, a->count) == 0;
        return GM_OK;
    case GM_JINJA_MAP:
        *equal = a->space == b->space && a->items == b->items; /* a namespace equals itself alone */
        return *equal || a->space || b->space ? GM_OK : equal_maps(run, node, a, b, equal);
    case GM_JINJA_LIST: *equal = a->items == b->items; return *equal ? GM_OK : equal_lists(run, node, a, b, equal);
    default: *equal = true; return GM_OK;
    }
}

gm_jinja_value gm_jinja_member(const gm_jinja_value *map, const char *name, size_t length) {
    if (map->space) map = map->space;
    for (size_t i = 0; i < map->count; i++)
        if (strlen(map->names[i]) == length && memcmp(map->names[i], name, length) == 0) return map->items[i];
    return (gm_jinja_value){0};
}

gm_status gm_jinja_put(gm_jinja_run *run, gm_jinja_value *map, const char *name, const gm_jinja_value *value) {
    void *items, *names;
    if (map->space) map = map->space;
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->names[i], name) != 0) continue;
        map->items[i] = *value;
        return GM_OK;
    }
    GM_TRY(gm_jinja_alloc(run, map->count + 1, sizeof *map->items, &items));
    GM_TRY(gm_jinja_alloc(run, map->count + 1, sizeof *map->names, &names));
    if (map->count) memcpy(items, map->items, map->count * sizeof *map->items);
    if (map->count) memcpy(names, map->names, map->count * sizeof *map->names);
    map->items = items;
    map->names = names;
    map->items[map->count] = *value;
    map->names[map->count++] = name;
    return GM_OK;
}

size_t gm_jinja_search(gm_jinja_run *run, const gm_jinja_value *text, const gm_jinja_value *part, size_t from) {
    if (part->count == 0) return from;
    if (from > text->count) return SIZE_MAX;
    const char *at = memmem(text->bytes + from, text->count - from, part->bytes, part->count); /* linear in both */
    gm_jinja_spend(run, part->count + (at ? (size_t)(at - text->bytes) : text->count) - from);
    return at ? (size_t)(at - text->bytes) : SIZE_MAX;
}

size_t gm_jinja_characters(gm_jinja_run *run, const gm_jinja_value *text) {
    size_t count = 0;
    gm_jinja_spend(run, text->count);
    for (size_t i = 0; i < text->count; i++) count += ((unsigned char)text->bytes[i] & 0xc0) != 0x80;
    return count;
}

gm_status gm_jinja_begin(gm_jinja_run *run, size_t count, bool marked, gm_jinja_writer *writer) {
    void *bytes, *marks = NULL;
    GM_TRY(gm_jinja_alloc(run, count + 1, 1, &bytes));
    if (marked) GM_TRY(gm_jinja_alloc(run, count, sizeof(gm_mark), &marks)); /* zeroed: GM_MARK_TEMPLATE */
    *writer = (gm_jinja_writer){bytes, marks, 0};
    return GM_OK;
}

void gm_jinja_write(gm_jinja_writer *writer, const gm_jinja_value *piece) {
    if (piece->count) memcpy(writer->bytes + writer->count, piece->bytes, piece->count);
    if (piece->count && piece->marks) memcpy(writer->marks + writer->count, piece->marks, piece->count * sizeof(gm_mark));
    writer->count += piece->count;
}

gm_jinja_value gm_jinja_written(const gm_jinja_writer *writer) {
    return (gm_jinja_value){.kind = GM_JINJA_TEXT, .bytes = writer->bytes, .marks = writer->marks, .count = writer->count};
}

gm_status gm_jinja_join(gm_jinja_run *run, const gm_jinja_value *a, const gm_jinja_value *b, gm_jinja_value *result) {
    gm_jinja_writer writer;
    GM_TRY(gm_jinja_begin(run, a->count + b->count, a->marks || b->marks, &writer));
    gm_jinja_write(&writer, a);
    gm_jinja_write(&writer, b);
    *result = gm_jinja_written(&writer);
    return GM_OK;
}

gm_status gm_jinja_as_text(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *value, gm_jinja_value *text) {
    void *digits;
    switch (value->kind) {
    case GM_JINJA_TEXT: *text = *value; return GM_OK;
    case GM_JINJA_UNDEFINED: *text = gm_jinja_text(""); return GM_OK;
    case GM_JINJA_NONE: *text = gm_jinja_text("None"); return GM_OK;
    case GM_JINJA_BOOLEAN: *text = gm_jinja_text(value->integer ? "True" : "False"); return GM_OK;
    case GM_JINJA_NUMBER:
        GM_TRY(gm_jinja_alloc(run, 24, 1, &digits));
        snprintf(digits, 24, "%" PRId64, value->integer);
        *text = gm_jinja_text(digits);
        return GM_OK;
    default: return gm_jinja_fault(run, node, "%s cannot be written as text", gm_jinja_kind_name(value));
    }
}

size_t gm_jinja_byte(const gm_jinja_value *text, size_t character) {
    size_t at = 0;
    for (; at < text->count; at++)
        if (((unsigned char)text->bytes[at] & 0xc0) != 0x80 && character-- == 0) break;
    return at;
}

static gm_status bound(gm_jinja_run *run, const gm_jinja_node *node, int64_t size, int64_t otherwise, int64_t *value) {
    gm_jinja_value given;
    *value = otherwise;
    if (!node) return GM_OK;
    GM_TRY(gm_jinja_evaluate(run, node, &given));
    if (given.kind == GM_JINJA_NONE) return GM_OK;
    if (given.kind != GM_JINJA_NUMBER) return gm_jinja_fault(run, node, "%s as a bound of a slice", gm_jinja_kind_name(&given));
    *value = given.integer < 0 ? given.integer + size : given.integer;
    if (*value < 0) *value = 0;
    if (*value > size) *value = size;
    return GM_OK;
}

gm_status gm_jinja_slice(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *value, gm_jinja_value *result) {
    bool text = value->kind == GM_JINJA_TEXT;
    if (!text && value->kind != GM_JINJA_LIST) return gm_jinja_fault(run, node, "a slice of %s", gm_jinja_kind_name(value));
    int64_t size = (int64_t)(text ? gm_jinja_characters(run, value) : value->count), begin, end;
    gm_jinja_value step = gm_jinja_number(1);
    if (node->d) GM_TRY(gm_jinja_evaluate(run, node->d, &step));
    bool backward = step.kind == GM_JINJA_NUMBER && step.integer == -1 && !text && !node->b && !node->c; /* list[::-1] */
    if (!backward && (step.kind != GM_JINJA_NUMBER || step.integer != 1))
        return gm_jinja_fault(run, node, "of slices with a step only [::-1] of lists is supported");
    GM_TRY(bound(run, node->b, size, 0, &begin));
    GM_TRY(bound(run, node->c, size, size, &end));
    if (end < begin) end = begin;
    if (text) {
        *result = gm_jinja_part(value, gm_jinja_byte(value, (size_t)begin), gm_jinja_byte(value, (size_t)end));
        return GM_OK;
    }
    void *items;
    GM_TRY(gm_jinja_alloc(run, (size_t)(end - begin), sizeof *value->items, &items));
    *result = (gm_jinja_value){.kind = GM_JINJA_LIST, .items = items, .count = (size_t)(end - begin)};
    for (size_t i = 0; i < result->count; i++) result->items[i] = value->items[backward ? value->count - 1 - i : (size_t)begin + i];
    return GM_OK;
}
