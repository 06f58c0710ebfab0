/* A pull reader: the caller asks for what it expects and gets it or a message. Containers are a counter and one flag
 * per level, so that a nesting bomb costs nothing; strings decode into one reused buffer. */
#include "base/json.h"
#include "base/number.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

void gm_json_reader_init(gm_json_reader *reader, const char *source, const char *text, size_t length) {
    *reader = (gm_json_reader){.source = source, .begin = text, .at = text, .end = text + length};
}

void gm_json_reader_free(gm_json_reader *reader) { gm_buffer_free(&reader->string); }

gm_status gm_json_error(const gm_json_reader *reader, const char *format, ...) {
    char reason[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    size_t line = 1;
    for (const char *p = reader->begin; p < reader->at; p++) line += *p == '\n';
    if (line > 1) return gm_error(GM_BAD_FILE, "%s: line %zu: %s", reader->source, line, reason);
    return gm_error(GM_BAD_FILE, "%s: byte %zu: %s", reader->source, (size_t)(reader->at - reader->begin), reason);
}

static void skip_space(gm_json_reader *reader) {
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\t'))
        reader->at++;
}

gm_json_type gm_json_peek(gm_json_reader *reader) {
    skip_space(reader);
    if (reader->at == reader->end) return GM_JSON_NONE;
    switch (*reader->at) {
    case '{': return GM_JSON_OBJECT;
    case '[': return GM_JSON_ARRAY;
    case '"': return GM_JSON_STRING;
    case 't':
    case 'f': return GM_JSON_BOOL;
    case 'n': return GM_JSON_NULL;
    default: return *reader->at == '-' || (*reader->at >= '0' && *reader->at <= '9') ? GM_JSON_NUMBER : GM_JSON_NONE;
    }
}

static bool begins_with(const gm_json_reader *reader, const char *text) {
    size_t length = strlen(text);
    return reader->at == reader->begin && (size_t)(reader->end - reader->at) >= length && memcmp(reader->at, text, length) == 0;
}

static gm_status expect_type(gm_json_reader *reader, gm_json_type type) {
    static const char *const names[] = {"nothing", "null", "true or false", "a number", "a string", "an array", "an object"};
    gm_json_type found = gm_json_peek(reader);
    if (found == type) return GM_OK;
    if (reader->at == reader->end) return gm_json_error(reader, "the text ends where %s should be", names[type]);
    if (found == GM_JSON_NONE) {
        if (begins_with(reader, "\xef\xbb\xbf"))
            return gm_json_error(reader, "begins with a byte order mark; save it as UTF-8 without one");
        if (begins_with(reader, "version https://git-lfs"))
            return gm_json_error(reader, "is a Git LFS pointer, not the file; run git lfs pull");
        return gm_json_error(reader, "not JSON: byte 0x%02x where %s should be", (unsigned char)*reader->at, names[type]);
    }
    return gm_json_error(reader, "%s where %s should be", names[found], names[type]);
}

gm_status gm_json_open(gm_json_reader *reader, gm_json_type type) {
    GM_TRY(expect_type(reader, type));
    if (reader->depth == GM_JSON_DEPTH) return gm_json_error(reader, "nested more than %d deep", GM_JSON_DEPTH);
    reader->fresh[reader->depth++] = true;
    reader->at++;
    return GM_OK;
}

static gm_status next_element(gm_json_reader *reader, char close, bool *more) {
    GM_CHECK(reader->depth > 0, "no open container");
    skip_space(reader);
    bool fresh = reader->fresh[reader->depth - 1];
    reader->fresh[reader->depth - 1] = false;
    if (reader->at == reader->end) return gm_json_error(reader, "the text ends inside %s", close == '}' ? "an object" : "an array");
    if (*reader->at == close) {
        reader->at++;
        reader->depth--;
        *more = false;
        return GM_OK;
    }
    if (!fresh) {
        if (*reader->at != ',') return gm_json_error(reader, "not JSON: a comma or %c is missing", close);
        reader->at++;
    }
    *more = true;
    return GM_OK;
}

gm_status gm_json_next(gm_json_reader *reader, bool *more) { return next_element(reader, ']', more); }

gm_status gm_json_next_member(gm_json_reader *reader, bool *more) {
    GM_TRY(next_element(reader, '}', more));
    if (!*more) return GM_OK;
    GM_TRY(gm_json_read_string(reader));
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != ':') return gm_json_error(reader, "not JSON: no colon after a name");
    reader->at++;
    return GM_OK;
}

static int hex_quad(const gm_json_reader *reader, const char *at) {
    if (reader->end - at < 4) return -1;
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* at the backslash */
static gm_status read_escape(gm_json_reader *reader) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (reader->end - reader->at < 2) return gm_json_error(reader, "the text ends inside a string");
    const char *simple = reader->at[1] ? strchr(from, reader->at[1]) : NULL;
    if (simple) {
        gm_buffer_char(&reader->string, to[simple - from]);
        reader->at += 2;
        return GM_OK;
    }
    int code = reader->at[1] == 'u' ? hex_quad(reader, reader->at + 2) : -1;
    if (code < 0) return gm_json_error(reader, "not JSON: bad escape in a string");
    size_t used = 6;
    if (code >= 0xd800 && code < 0xe000) {
        const char *second = reader->at + 6;
        int low = reader->end - second >= 6 && second[0] == '\\' && second[1] == 'u' ? hex_quad(reader, second + 2) : -1;
        if (code >= 0xdc00 || low < 0xdc00 || low > 0xdfff) return gm_json_error(reader, "a lone surrogate \\u%04x in a string", code);
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        used = 12;
    }
    utf8proc_uint8_t bytes[4];
    gm_buffer_append(&reader->string, bytes, (size_t)utf8proc_encode_char(code, bytes));
    reader->at += used;
    return GM_OK;
}

gm_status gm_json_read_string(gm_json_reader *reader) {
    GM_TRY(expect_type(reader, GM_JSON_STRING));
    gm_buffer_clear(&reader->string);
    reader->at++;
    for (;;) {
        const char *run = reader->at;
        size_t room = reader->longest > reader->string.length ? reader->longest - reader->string.length : 0;
        const char *stop = reader->longest && (size_t)(reader->end - run) > room ? run + room + 1 : reader->end;
        while (reader->at < stop && *reader->at != '"' && *reader->at != '\\') {
            unsigned char c = (unsigned char)*reader->at;
            if (c < 0x20) return gm_json_error(reader, "control byte 0x%02x in a string", c);
            utf8proc_int32_t code;
            utf8proc_ssize_t n = c < 0x80 ? 1 : utf8proc_iterate((const utf8proc_uint8_t *)reader->at, reader->end - reader->at, &code);
            if (n < 1) return gm_json_error(reader, "invalid UTF-8 in a string");
            reader->at += n;
        }
        gm_buffer_append(&reader->string, run, (size_t)(reader->at - run));
        if (reader->longest && reader->string.length > reader->longest)
            return gm_json_error(reader, "a string is longer than %zu bytes", reader->longest);
        if (reader->at == reader->end) return gm_json_error(reader, "the text ends inside a string");
        if (*reader->at == '"') break;
        GM_TRY(read_escape(reader));
    }
    reader->at++;
    return gm_buffer_status(&reader->string);
}

/* Scans a number's text by the grammar: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static gm_status scan_number(gm_json_reader *reader, const char **begin, bool *integral) {
    GM_TRY(expect_type(reader, GM_JSON_NUMBER));
    const char *p = reader->at, *end = reader->end;
    *begin = p;
    *integral = true;
#define DIGIT (p < end && *p >= '0' && *p <= '9')
    if (*p == '-') p++;
    bool good = DIGIT;
    if (good && *p == '0')
        p++;
    else
        while (DIGIT) p++;
    if (good && p < end && *p == '.') {
        *integral = false;
        p++;
        good = DIGIT;
        while (DIGIT) p++;
    }
    if (good && p < end && (*p == 'e' || *p == 'E')) {
        *integral = false;
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        good = DIGIT;
        while (DIGIT) p++;
    }
    good = good && !DIGIT;
#undef DIGIT
    if (!good) return gm_json_error(reader, "not JSON: a malformed number");
    reader->at = p;
    return GM_OK;
}

static gm_status number_value(gm_json_reader *reader, const char *begin, double *value) {
    size_t length = (size_t)(reader->at - begin);
    if (gm_parse_double(begin, length, value)) return GM_OK;
    return gm_json_error(reader, "the number %.*s%s is out of range", length > 40 ? 40 : (int)length, begin, length > 40 ? "…" : "");
}

gm_status gm_json_read_number(gm_json_reader *reader, double *value) {
    const char *begin;
    bool integral;
    GM_TRY(scan_number(reader, &begin, &integral));
    return number_value(reader, begin, value);
}

gm_status gm_json_read_integer(gm_json_reader *reader, int64_t *value) {
    const char *begin;
    bool integral;
    GM_TRY(scan_number(reader, &begin, &integral));
    size_t length = (size_t)(reader->at - begin);
    if (!integral || (length == 2 && memcmp(begin, "-0", 2) == 0))
        return gm_json_error(reader, "%.*s where an integer should be", length > 40 ? 40 : (int)length, begin);
    if (!gm_parse_integer(begin, length, -GM_EXACT_INTEGER, GM_EXACT_INTEGER, value))
        return gm_json_error(reader, "integer %.*s is out of range", length > 40 ? 40 : (int)length, begin);
    return GM_OK;
}

static gm_status read_word(gm_json_reader *reader, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return gm_json_error(reader, "not JSON: a misspelt %s", word);
    reader->at += length;
    return GM_OK;
}

gm_status gm_json_read_bool(gm_json_reader *reader, bool *value) {
    GM_TRY(expect_type(reader, GM_JSON_BOOL));
    *value = *reader->at == 't';
    return read_word(reader, *value ? "true" : "false");
}

static gm_status skip_scalar(gm_json_reader *reader, gm_json_type type) {
    double number;
    bool ignored;
    switch (type) {
    case GM_JSON_STRING: return gm_json_read_string(reader);
    case GM_JSON_NUMBER: return gm_json_read_number(reader, &number);
    case GM_JSON_BOOL: return gm_json_read_bool(reader, &ignored);
    case GM_JSON_NULL: return read_word(reader, "null");
    default: return expect_type(reader, GM_JSON_OBJECT); /* there is no value: say so */
    }
}

gm_status gm_json_skip(gm_json_reader *reader) {
    bool is_object[GM_JSON_DEPTH];
    int base = reader->depth;
    do {
        gm_json_type type = gm_json_peek(reader);
        if (reader->most && ++reader->values > reader->most) return gm_json_error(reader, "more than %zu values", reader->most);
        if (type == GM_JSON_ARRAY || type == GM_JSON_OBJECT) {
            GM_TRY(gm_json_open(reader, type));
            is_object[reader->depth - 1] = type == GM_JSON_OBJECT;
        } else {
            GM_TRY(skip_scalar(reader, type));
        }
        bool more = false;
        while (reader->depth > base && !more) /* close what ends here, stop at the next value */
            GM_TRY(is_object[reader->depth - 1] ? gm_json_next_member(reader, &more) : gm_json_next(reader, &more));
    } while (reader->depth > base);
    return GM_OK;
}

gm_status gm_json_finish(gm_json_reader *reader) {
    skip_space(reader);
    return reader->at == reader->end ? GM_OK : gm_json_error(reader, "text after the end of the JSON value");
}

bool gm_json_name_is(const gm_json_reader *reader, const char *name) {
    return reader->string.length == strlen(name) && memcmp(gm_buffer_string(&reader->string), name, reader->string.length) == 0;
}
