/* What string.h lacks. */
#ifndef GM_BASE_TEXT_H
#define GM_BASE_TEXT_H

#include <stdbool.h>
#include <string.h>

static inline bool gm_text_ends_with(const char *text, const char *end) {
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && memcmp(text + length - end_length, end, end_length) == 0;
}

#endif
