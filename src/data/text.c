#include "data/text.h"

#include <string.h>
#include <utf8proc.h>

/* One code point; bytes that are no UTF-8 count as themselves, so that the walk goes on. */
static size_t next_code(const char *text, size_t length, utf8proc_int32_t *code) {
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, code);
    if (n > 0) return (size_t)n;
    *code = (unsigned char)*text;
    return 1;
}

bool gm_text_is_utf8(const char *text, size_t length) {
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t code;
        if ((unsigned char)text[i] < 0x80) {
            i++;
            continue;
        }
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(length - i), &code);
        if (n <= 0) return false;
        i += (size_t)n;
    }
    return true;
}

/* str.isspace: category Zs, or bidirectional class WS, B or S */
static bool is_space(utf8proc_int32_t code) {
    return (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

size_t gm_text_rstrip(const char *text, size_t length) {
    while (length > 0) {
        size_t start = length - 1;
        while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80) start--;
        utf8proc_int32_t code;
        if (next_code(text + start, length - start, &code) != length - start || !is_space(code)) break;
        length = start;
    }
    return length;
}

size_t gm_text_lstrip(const char *text, size_t length) {
    size_t at = 0;
    while (at < length) {
        utf8proc_int32_t code;
        size_t n = next_code(text + at, length - at, &code);
        if (!is_space(code)) break;
        at += n;
    }
    return at;
}

bool gm_text_is_blank(const char *text, size_t length) { return gm_text_lstrip(text, length) == length; }

void gm_text_capitalize(gm_buffer *out, const char *text, size_t length) {
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t code;
        utf8proc_uint8_t bytes[4];
        size_t n = next_code(text + i, length - i, &code);
        code = i == 0 ? utf8proc_totitle(code) : utf8proc_tolower(code);
        gm_buffer_append(out, bytes, (size_t)utf8proc_encode_char(code, bytes));
        i += n;
    }
}

static void replace_all(gm_buffer *out, const char *text, size_t length, const char *from, const char *to) {
    size_t width = strlen(from);
    for (size_t i = 0; i < length;) {
        bool here = length - i >= width && memcmp(text + i, from, width) == 0;
        if (here)
            gm_buffer_text(out, to);
        else
            gm_buffer_char(out, text[i]);
        i += here ? width : 1;
    }
}

/* re.sub(r"\[.*?\]", "", text): from a bracket to the first closing one on the same line. Both marks are looked for
 * once per stretch, so that a text of brackets takes linear time. */
static void remove_brackets(gm_buffer *out, const char *text, size_t length) {
    const char *end = text + length, *close = text, *newline = text; /* at or behind p, `end` where there is none */
    for (const char *p = text; p < end; p++) {
        if (*p != '[') {
            gm_buffer_char(out, *p);
            continue;
        }
        if (close < end && close <= p && (close = memchr(p, ']', (size_t)(end - p))) == NULL) close = end;
        if (newline < end && newline <= p && (newline = memchr(p, '\n', (size_t)(end - p))) == NULL) newline = end;
        if (close < end && close < newline)
            p = close;
        else
            gm_buffer_char(out, *p);
    }
}

void gm_text_clean(gm_buffer *out, const char *text, size_t length) {
    gm_buffer titled = {0}, plain = {0};
    size_t start = gm_text_lstrip(text, length), stop = gm_text_rstrip(text, length);
    if (start < stop) replace_all(&titled, text + start, stop - start, " [title]", ". ");
    remove_brackets(&plain, gm_buffer_string(&titled), titled.length);
    replace_all(out, gm_buffer_string(&plain), plain.length, "  ", " ");
    gm_buffer_pass_failure(out, &titled);
    gm_buffer_pass_failure(out, &plain);
    gm_buffer_free(&titled);
    gm_buffer_free(&plain);
}
