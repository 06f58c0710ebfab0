/* A text that says of each of its bytes where it comes from: what a chat template writes itself, and what it takes from a
 * message. Special tokens count in the former alone, loss goes by the latter. */
#ifndef GM_DATA_MARKED_TEXT_H
#define GM_DATA_MARKED_TEXT_H

#include "base/buffer.h"

typedef uint16_t gm_mark;
enum {
    GM_MARK_TEMPLATE = 0,        /* the template's own; else the message's place, from 1 */
    GM_MARK_PLACE = 0x7fff,      /* mask; also the most messages of a conversation */
    GM_MARK_GENERATION = 0x8000, /* within {% generation %}: what the template itself says the model is to write */
};

typedef struct gm_marked_text {
    gm_buffer text;
    gm_mark *marks; /* text.length, owned */
    size_t capacity;
} gm_marked_text; /* {0} is empty */

/* Appends bytes with their marks (`marks` NULL: all the template's), each together with `also`. */
gm_status gm_marked_append(gm_marked_text *to, const char *bytes, const gm_mark *marks, size_t length, gm_mark also);
void gm_marked_clear(gm_marked_text *text); /* keeps the memory */
void gm_marked_free(gm_marked_text *text);

#endif
