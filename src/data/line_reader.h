/* Lines of a text file, plain or gzip, one at a time in memory that does not grow with the file. Every fault is GM_BAD_FILE with
 * the file's name and the line: those of base/byte_reader.h, a line over GM_LINE_LIMIT, a text that decompresses past `limit`.
 * Taken as they come: LF and CRLF, a byte order mark at the start (dropped), no line break at the end, blank lines,
 * concatenated gzip members. */
#ifndef GM_DATA_LINE_READER_H
#define GM_DATA_LINE_READER_H

#include "base/byte_reader.h"

enum { GM_LINE_LIMIT = 64 << 20 };
#define GM_DECOMPRESSED_LIMIT ((int64_t)4 << 30) /* or this many times the file's size; text does not come near it */
enum { GM_DECOMPRESSED_TIMES = 64 };

typedef struct gm_line_reader {
    gm_byte_reader source;
    const char *path; /* source.path */
    int64_t line;     /* number of the last line given, from 1 */
    int64_t limit;    /* of decompressed bytes, set by opening */
    int64_t size;     /* of the file; 0: not known */
    int64_t produced;
    char *bytes; /* owned: what was read and not yet given lies in [begin, end) */
    size_t begin, end, capacity;
    bool finished;
} gm_line_reader;

/* `path` is a regular file or "-". A missing file is `missing`. On failure there is nothing to close. */
gm_status gm_line_reader_open(gm_line_reader *reader, const char *path, gm_status missing);

/* The next line without its line break, NUL-terminated, the caller's to write on until the next call; *text is NULL after the last. */
gm_status gm_line_reader_next(gm_line_reader *reader, char **text, size_t *length);

/* The share of the file that has been read, from 0 to 1; of a stream 0. */
double gm_line_reader_done(const gm_line_reader *reader);
void gm_line_reader_close(gm_line_reader *reader);

/* GM_BAD_FILE: "path: line N: …" */
gm_status gm_line_reader_error(const gm_line_reader *reader, const char *format, ...) GM_PRINTF(2, 3);

#endif
