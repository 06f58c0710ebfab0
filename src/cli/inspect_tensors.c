/* What a safetensors file holds, for gmoe-inspect: names, numbers, findings and the table of tensors. */
#include "cli/inspect.h"

#include "base/buffer.h"
#include "base/map.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gm_inspect_name(const char *text, int width) {
    int columns = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool c1_control = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;
        putchar(*p < 0x20 || *p == 0x7f || c1_control ? '?' : *p);
        if (c1_control) p++;
        if ((*p & 0xc0) != 0x80 || c1_control) columns++;
    }
    while (columns++ < width) putchar(' ');
}

void gm_inspect_problem(gm_findings *findings, const char *format, ...) {
    gm_buffer text = {0};
    char line[GM_ERROR_TEXT + 64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (findings->problems++ >= GM_INSPECT_PROBLEMS) return;
    gm_buffer_text(&text, line);
    findings->text[findings->problems - 1] = text.bytes;
}

void gm_inspect_print_problems(const gm_findings *findings, const char *before) {
    for (int i = 0; i < findings->problems && i < GM_INSPECT_PROBLEMS; i++) {
        printf("%s", before);
        gm_inspect_name(findings->text[i] ? findings->text[i] : "out of memory for what it is", 0);
        putchar('\n');
    }
    if (findings->problems > GM_INSPECT_PROBLEMS) printf("%s… and %d more\n", before, findings->problems - GM_INSPECT_PROBLEMS);
}

void gm_findings_free(gm_findings *findings) {
    for (int i = 0; i < GM_INSPECT_PROBLEMS; i++) free(findings->text[i]);
    *findings = (gm_findings){0};
}

const char *gm_inspect_commas(uint64_t value, char text[32]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

const char *gm_inspect_bytes(uint64_t bytes, char text[32]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 4) value /= 1024, unit++;
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

uint64_t gm_inspect_elements(const gm_file_tensor *t) { return t->byte_count / gm_type_size(t->type); }

/* ---- the table: one row for the tensors whose names differ in their numbers only ---- */

typedef struct row {
    const char *pattern;
    char shape[GM_FILE_TENSOR_RANK * 22];
    gm_type type;
    size_t count;
    uint64_t bytes;
} row;

typedef struct table {
    gm_region region;
    gm_map index; /* "pattern type shape" → row */
    row *rows;
    size_t count, capacity;
} table;

static void format_shape(const gm_file_tensor *t, char text[GM_FILE_TENSOR_RANK * 22]) {
    size_t at = 0;
    snprintf(text, 2, "-");
    for (int i = 0; i < t->rank; i++) at += (size_t)snprintf(text + at, 22, "%s%lld", i ? "×" : "", (long long)t->dim[i]);
}

/* "model.layers.12.mlp" → "model.layers.*.mlp" */
static void append_pattern(gm_buffer *key, const char *name) {
    for (const char *p = name; *p;) {
        size_t digits = strspn(p, "0123456789");
        bool whole = digits > 0 && (p == name || p[-1] == '.') && (p[digits] == '.' || p[digits] == '\0');
        size_t length = digits ? digits : strcspn(p, "0123456789");
        gm_buffer_append(key, whole ? "*" : p, whole ? 1 : length);
        p += length;
    }
}

static gm_status add_tensor(table *t, gm_buffer *key, const gm_file_tensor *tensor) {
    row made = {.type = tensor->type};
    format_shape(tensor, made.shape);
    gm_buffer_clear(key);
    append_pattern(key, tensor->name);
    size_t pattern_length = key->length;
    gm_buffer_format(key, " %d %s", (int)tensor->type, made.shape);
    GM_TRY(gm_buffer_status(key));
    int64_t at;
    if (!gm_map_get(&t->index, key->bytes, key->length, &at)) {
        GM_GROW(t->rows, t->capacity, t->count + 1);
        const char *kept = gm_region_copy(&t->region, key->bytes, key->length);
        made.pattern = kept ? gm_region_copy(&t->region, key->bytes, pattern_length) : NULL;
        if (!made.pattern) return GM_NO_MEMORY;
        at = (int64_t)t->count++;
        t->rows[at] = made;
        GM_TRY(gm_map_put(&t->index, kept, key->length, at, NULL, NULL));
    }
    t->rows[at].count++;
    t->rows[at].bytes += tensor->byte_count;
    return GM_OK;
}

static void print_rows(const table *t, size_t most) {
    int width = 6;
    char text[32];
    for (size_t i = 0; i < t->count; i++)
        if ((int)strlen(t->rows[i].pattern) > width && strlen(t->rows[i].pattern) <= 72) width = (int)strlen(t->rows[i].pattern);
    printf("%-*s  type  %-14s  count  bytes\n", width, "tensor", "shape");
    size_t shown = most && most < t->count ? most : t->count;
    for (size_t i = 0; i < shown; i++) {
        const row *r = &t->rows[i];
        gm_inspect_name(r->pattern, width);
        printf("  %-4s  ", gm_type_name(r->type));
        gm_inspect_name(r->shape, 14);
        printf("  %5zu  %s\n", r->count, gm_inspect_bytes(r->bytes, text));
    }
    if (shown < t->count) printf("… and %zu more kinds of tensors\n", t->count - shown);
}

static void print_totals(const gm_safetensors *file) {
    uint64_t total = 0, bytes = 0, by_type[GM_TYPE_COUNT] = {0};
    char text[32], size[32];
    for (size_t i = 0; i < gm_safetensors_count(file); i++) {
        const gm_file_tensor *t = gm_safetensors_at(file, i);
        total += gm_inspect_elements(t), bytes += t->byte_count, by_type[t->type] += gm_inspect_elements(t);
    }
    printf("total: %zu tensors, %s parameters, %s in %zu file%s\n", gm_safetensors_count(file), gm_inspect_commas(total, text),
           gm_inspect_bytes(bytes, size), gm_safetensors_shards(file), gm_safetensors_shards(file) == 1 ? "" : "s");
    printf("types:");
    for (int type = 0; type < GM_TYPE_COUNT; type++)
        if (by_type[type]) printf(" %s %s", gm_type_name((gm_type)type), gm_inspect_commas(by_type[type], text));
    printf("%s\n", total ? "" : " none");
}

static void print_metadata(const gm_safetensors *file) {
    enum { SHOWN = 10 };
    size_t shown = 0;
    for (size_t i = 0; i < gm_safetensors_metadata_count(file); i++) {
        gm_metadata_entry entry = gm_safetensors_metadata_at(file, i);
        char value[100];
        if (gm_safetensors_metadata(file, entry.key) != entry.value) continue; /* an earlier shard has the key */
        if (shown++ == SHOWN) puts("metadata: … and more");
        if (shown > SHOWN) return;
        snprintf(value, sizeof value, "%s", entry.value);
        printf("metadata: ");
        gm_inspect_name(entry.key, 0);
        printf(" = ");
        gm_inspect_name(value, 0);
        puts(strlen(entry.value) >= sizeof value ? "…" : "");
    }
}

gm_status gm_inspect_tensors(const gm_safetensors *file, size_t most) {
    table t = {0};
    gm_buffer key = {0};
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < gm_safetensors_count(file); i++) status = add_tensor(&t, &key, gm_safetensors_at(file, i));
    if (status == GM_OK) {
        if (t.count) print_rows(&t, most);
        print_totals(file);
        print_metadata(file);
    }
    gm_buffer_free(&key);
    gm_map_free(&t.index);
    gm_region_free(&t.region);
    free(t.rows);
    return status;
}
