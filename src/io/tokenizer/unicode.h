/* UTF-8, character classes, lower case and normal forms, with the `tokenizers` package's versions of Unicode. */
#ifndef GM_IO_TOKENIZER_UNICODE_H
#define GM_IO_TOKENIZER_UNICODE_H

#include "base/buffer.h"

#include <string.h>

/* Bytes of a text that somebody else owns. */
typedef struct gm_slice {
    const char *bytes; /* not NUL-terminated */
    size_t length;
} gm_slice;

enum { GM_REPLACEMENT_CHARACTER = 0xfffd };

static inline gm_slice gm_slice_of(const char *text) { return (gm_slice){text, strlen(text)}; }
static inline gm_slice gm_slice_buffer(const gm_buffer *buffer) { return (gm_slice){gm_buffer_string(buffer), buffer->length}; }

/* The character at the beginning of `length` > 0 bytes: its size, 1 to 4, and *code. Where there is none, minus the
 * number of bytes that one U+FFFD stands for (the maximal prefix of a character, Unicode 3.9 table 3-8). */
int gm_utf8_decode(const char *bytes, size_t length, uint32_t *code);
int gm_utf8_encode(char bytes[4], uint32_t code); /* its size */
/* Length of the valid beginning; `length` where all is valid. */
size_t gm_utf8_check(const char *bytes, size_t length);
/* How much of a text a message shows: at most 100 bytes, whole characters. For "%.*s". */
int gm_utf8_shown(gm_slice text);
void gm_utf8_append_lossy(gm_buffer *text, const char *bytes, size_t length); /* U+FFFD for what is not UTF-8 */

/* The size of a character of valid text by its first byte. */
static inline size_t gm_utf8_size(char first) {
    unsigned char byte = (unsigned char)first;
    return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

bool gm_unicode_is_space(uint32_t code);
bool gm_unicode_is_numeric(uint32_t code);
bool gm_unicode_is_punctuation(uint32_t code); /* category P or ASCII's */
bool gm_unicode_is_word(uint32_t code);
bool gm_unicode_is_mark(uint32_t code); /* category M */

/* Each appends a form of valid text to `text`. */
void gm_unicode_lower_case(gm_buffer *text, gm_slice source);

typedef enum gm_normal_form { GM_NFC, GM_NFD, GM_NFKC, GM_NFKD } gm_normal_form;
/* True where the text is certainly in that form, without looking at much of it. */
bool gm_unicode_is_plain(gm_slice source, gm_normal_form form);
gm_status gm_unicode_normalize(gm_buffer *text, gm_slice source, gm_normal_form form);

#endif
