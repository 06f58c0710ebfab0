/* A growing byte string, always followed by a NUL. An allocation failure sticks: later appends do nothing and
 * gm_buffer_status tells, so that a writer can append freely and check once. */
#ifndef GM_BASE_BUFFER_H
#define GM_BASE_BUFFER_H

#include "base/memory.h"
#include <stdbool.h>

typedef struct gm_buffer {
    char *bytes; /* owned */
    size_t length, capacity;
    bool failed;
} gm_buffer; /* {0} is empty */

void gm_buffer_append(gm_buffer *buffer, const void *bytes, size_t length);
void gm_buffer_text(gm_buffer *buffer, const char *text);
void gm_buffer_char(gm_buffer *buffer, char character);
void gm_buffer_format(gm_buffer *buffer, const char *format, ...) GM_PRINTF(2, 3);
/* After `part` went into `buffer`: what `part` lacks, `buffer` lacks too. */
static inline void gm_buffer_pass_failure(gm_buffer *buffer, const gm_buffer *part) { buffer->failed |= part->failed; }
void gm_buffer_clear(gm_buffer *buffer); /* keeps the memory */
void gm_buffer_free(gm_buffer *buffer);
gm_status gm_buffer_status(const gm_buffer *buffer);
const char *gm_buffer_string(const gm_buffer *buffer); /* never NULL */

#endif
