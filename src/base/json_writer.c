#include "base/json.h"
#include "base/number.h"

#include <string.h>
#include <utf8proc.h>

void gm_json_write_string(gm_buffer *buffer, const char *text, size_t length) {
    const char *end = text + length;
    gm_buffer_char(buffer, '"');
    while (text < end) {
        unsigned char c = (unsigned char)*text;
        utf8proc_int32_t code;
        utf8proc_ssize_t n = c < 0x80 ? 1 : utf8proc_iterate((const utf8proc_uint8_t *)text, end - text, &code);
        if (n < 1) {
            gm_buffer_text(buffer, "\xef\xbf\xbd"); /* U+FFFD for one invalid byte */
            n = 1;
        } else if (c == '"' || c == '\\') {
            gm_buffer_char(buffer, '\\');
            gm_buffer_char(buffer, (char)c);
        } else if (c == '\n') {
            gm_buffer_text(buffer, "\\n");
        } else if (c < 0x20) {
            gm_buffer_format(buffer, "\\u%04x", c);
        } else {
            gm_buffer_append(buffer, text, (size_t)n);
        }
        text += n;
    }
    gm_buffer_char(buffer, '"');
}

void gm_json_write_double(gm_buffer *buffer, double value) {
    char text[GM_DOUBLE_TEXT];
    gm_buffer_text(buffer, gm_format_double(value, text) ? text : "null");
}

void gm_json_write_number(gm_buffer *buffer, const char *name, double value) {
    gm_buffer_format(buffer, ", \"%s\": ", name);
    gm_json_write_double(buffer, value);
}

void gm_json_write_text(gm_buffer *buffer, const char *name, const char *text) {
    gm_buffer_format(buffer, "\"%s\": ", name);
    gm_json_write_string(buffer, text, strlen(text));
    gm_buffer_text(buffer, ", ");
}
