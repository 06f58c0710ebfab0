/* Strict JSON (RFC 8259) in three forms:
 *   reader   pulls one value at a time, without a tree: safetensors headers, tokenizer.json
 *   tree     cJSON behind the reader's checks: configurations, data lines
 *   writer   appends to a gm_buffer
 * Refused with place and reason: invalid UTF-8, a byte order mark, control bytes in strings, bad escapes, lone
 * surrogates, depth over 64, numbers that no finite double is near, anything but white space after the value; in the tree also duplicate
 * names (in the reader they are the caller's to check) and more than GM_JSON_VALUES values, which would take forty times their text. All
 * messages are GM_BAD_FILE and begin with the source's name. */
#ifndef GM_BASE_JSON_H
#define GM_BASE_JSON_H

#include "base/buffer.h"
#include <cjson/cJSON.h>

enum { GM_JSON_DEPTH = 64, GM_JSON_VALUES = 1 << 19 };

typedef enum gm_json_type {
    GM_JSON_NONE,
    GM_JSON_NULL,
    GM_JSON_BOOL,
    GM_JSON_NUMBER,
    GM_JSON_STRING,
    GM_JSON_ARRAY,
    GM_JSON_OBJECT
} gm_json_type;

typedef struct gm_json_reader {
    const char *source;           /* file name for messages */
    const char *begin, *at, *end; /* not NUL-terminated */
    gm_buffer string;             /* the last string read, decoded */
    size_t longest;               /* bytes of a string that are read; 0: any number of them */
    size_t values, most;          /* counted by gm_json_skip, which refuses more than `most`; 0: any number of them */
    bool fresh[GM_JSON_DEPTH];    /* by open container: no element yet */
    int depth;
} gm_json_reader;

void gm_json_reader_init(gm_json_reader *reader, const char *source, const char *text, size_t length);
void gm_json_reader_free(gm_json_reader *reader);

/* Type of the next value, by its first byte; GM_JSON_NONE where no value can begin. */
gm_json_type gm_json_peek(gm_json_reader *reader);

gm_status gm_json_open(gm_json_reader *reader, gm_json_type array_or_object);
/* Steps to the next element, or closes the container and sets *more false. */
gm_status gm_json_next(gm_json_reader *reader, bool *more);
/* The same in an object; the member's name is in reader->string until the next string is read. */
gm_status gm_json_next_member(gm_json_reader *reader, bool *more);

gm_status gm_json_read_string(gm_json_reader *reader);                  /* into reader->string (may hold NUL bytes) */
gm_status gm_json_read_integer(gm_json_reader *reader, int64_t *value); /* digits with a sign at most, |value| ≤ 2^53 */
gm_status gm_json_read_number(gm_json_reader *reader, double *value);
gm_status gm_json_read_bool(gm_json_reader *reader, bool *value);
gm_status gm_json_skip(gm_json_reader *reader);   /* any value, checked */
gm_status gm_json_finish(gm_json_reader *reader); /* nothing but white space is left */
bool gm_json_name_is(const gm_json_reader *reader, const char *name);
gm_status gm_json_error(const gm_json_reader *reader, const char *format, ...) GM_PRINTF(2, 3);

/* Parses `length` bytes to a cJSON tree; free with cJSON_Delete. */
gm_status gm_json_parse(const char *source, const char *text, size_t length, cJSON **tree);

/* The same of a whole file of at most `most` bytes; `missing`: the status where it cannot be opened. */
gm_status gm_json_parse_file(const char *path, size_t most, gm_status missing, cJSON **tree);

/* A member by its exact name, or NULL; `null` counts as absent. */
const cJSON *gm_json_member(const cJSON *object, const char *name);
/* What lies at a path of names with dots between them: a number, else NaN; a whole number, else `absent`; a text, else "". */
double gm_json_number_at(const cJSON *tree, const char *path);
int64_t gm_json_integer_at(const cJSON *tree, const char *path, int64_t absent);
const char *gm_json_text_at(const cJSON *tree, const char *path);
/* A value for a message: a string cut at 60 bytes, a number, "an array" … */
enum { GM_JSON_SHOWN = 80 };
const char *gm_json_show(const cJSON *item, char text[GM_JSON_SHOWN]);
bool gm_json_is_integer(const cJSON *item,
                        int64_t *value); /* integral and |value| < 2^53: from there on a double may be a rounded integer */

void gm_json_write_string(gm_buffer *buffer, const char *text, size_t length); /* quoted; invalid UTF-8 → U+FFFD */
void gm_json_write_double(gm_buffer *buffer, double value);                    /* shortest that reads back equal; NaN, ±Inf → null */
/* Members of an object that is written: `, "name": value` and `"name": "text", ` */
void gm_json_write_number(gm_buffer *buffer, const char *name, double value);
void gm_json_write_text(gm_buffer *buffer, const char *name, const char *text);

#endif
