#include "data/marked_text.h"

#include <stdlib.h>

gm_status gm_marked_append(gm_marked_text *to, const char *bytes, const gm_mark *marks, size_t length, gm_mark also) {
    size_t begin = to->text.length;
    gm_buffer_append(&to->text, bytes, length);
    GM_TRY(gm_buffer_status(&to->text));
    GM_GROW(to->marks, to->capacity, to->text.length);
    for (size_t i = 0; i < length; i++) to->marks[begin + i] = (gm_mark)((marks ? marks[i] : GM_MARK_TEMPLATE) | also);
    return GM_OK;
}

void gm_marked_clear(gm_marked_text *text) { gm_buffer_clear(&text->text); }

void gm_marked_free(gm_marked_text *text) {
    gm_buffer_free(&text->text);
    free(text->marks);
    *text = (gm_marked_text){0};
}
