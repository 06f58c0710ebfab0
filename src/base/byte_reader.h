/* The bytes of a regular file or of standard input, decompressed where they are gzip (told by the first two; a name that ends in
 * .gz must be gzip). Concatenated members are one text. A stream cut short or damaged, and bytes after it, are GM_BAD_FILE with
 * the file's name; the text before the fault is given first. */
#ifndef GM_BASE_BYTE_READER_H
#define GM_BASE_BYTE_READER_H

#include "base/file.h"

typedef struct gm_byte_reader {
    char path[GM_PATH];       /* or "standard input" */
    int64_t line;             /* of the text, for messages; 0: they name none */
    int file;                 /* descriptor, −1: closed */
    struct gm_gunzip *gunzip; /* owned; NULL: plain */
    unsigned char first[2];   /* of a plain file, not yet given: the last `held` of them */
    size_t held;
} gm_byte_reader;

/* A missing file is `missing`. On failure there is nothing to close. */
gm_status gm_byte_reader_open(gm_byte_reader *reader, const char *path, gm_status missing);
gm_status gm_byte_reader_open_input(gm_byte_reader *reader); /* standard input */
/* Up to `capacity` bytes (at least one) into `bytes`; *length is 0 at the end. */
gm_status gm_byte_reader_read(gm_byte_reader *reader, void *bytes, size_t capacity, size_t *length);
bool gm_byte_reader_is_gzip(const gm_byte_reader *reader);
void gm_byte_reader_close(gm_byte_reader *reader); /* fine twice */

#endif
