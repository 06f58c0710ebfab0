/* One window over the text: [begin, end) is unread, a line is found by memchr, and only a window without a line break is moved to
 * the front and filled up. */
#include "data/line_reader.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 128 * 1024 };

gm_status gm_line_reader_error(const gm_line_reader *reader, const char *format, ...) {
    char reason[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return gm_error(GM_BAD_FILE, "%s: line %lld: %s", reader->path, (long long)reader->line, reason);
}

/* Makes room for a chunk behind `end` and fills it. */
static gm_status fill(gm_line_reader *reader) {
    size_t unread = reader->end - reader->begin;
    if (unread > GM_LINE_LIMIT) return gm_line_reader_error(reader, "is longer than %d MB", GM_LINE_LIMIT >> 20);
    if (reader->begin > 0) memmove(reader->bytes, reader->bytes + reader->begin, unread);
    reader->begin = 0;
    reader->end = unread;
    GM_GROW(reader->bytes, reader->capacity, unread + CHUNK + 1);
    size_t n = 0;
    reader->source.line = reader->line;
    GM_TRY(gm_byte_reader_read(&reader->source, reader->bytes + unread, CHUNK, &n));
    reader->end += n;
    reader->produced += (int64_t)n;
    reader->finished = n == 0;
    if (gm_byte_reader_is_gzip(&reader->source) && reader->produced > reader->limit)
        return gm_line_reader_error(reader, "decompresses to more than %lld bytes", (long long)reader->limit);
    return GM_OK;
}

static gm_status skip_mark(gm_line_reader *reader) {
    while (reader->end < 3 && !reader->finished) GM_TRY(fill(reader));
    if (reader->end >= 3 && memcmp(reader->bytes, "\xef\xbb\xbf", 3) == 0) reader->begin = 3;
    return GM_OK;
}

gm_status gm_line_reader_open(gm_line_reader *reader, const char *path, gm_status missing) {
    struct stat info;
    *reader = (gm_line_reader){.limit = GM_DECOMPRESSED_LIMIT, .line = 1, .path = reader->source.path};
    gm_status status =
        strcmp(path, "-") == 0 ? gm_byte_reader_open_input(&reader->source) : gm_byte_reader_open(&reader->source, path, missing);
    if (status == GM_OK && fstat(reader->source.file, &info) == 0 && S_ISREG(info.st_mode)) reader->size = info.st_size;
    if (reader->size > reader->limit / GM_DECOMPRESSED_TIMES && reader->size < INT64_MAX / GM_DECOMPRESSED_TIMES)
        reader->limit = reader->size * GM_DECOMPRESSED_TIMES;
    if (status == GM_OK) status = skip_mark(reader);
    if (status != GM_OK) gm_line_reader_close(reader);
    reader->line = 0;
    return status;
}

double gm_line_reader_done(const gm_line_reader *reader) {
    off_t at = reader->size > 0 ? lseek(reader->source.file, 0, SEEK_CUR) : 0;
    return at > 0 ? (double)at / (double)reader->size : 0;
}

gm_status gm_line_reader_next(gm_line_reader *reader, char **text, size_t *length) {
    *text = NULL;
    *length = 0;
    size_t searched = 0;
    char *newline;
    reader->line++;
    while ((newline = memchr(reader->bytes + reader->begin + searched, '\n', reader->end - reader->begin - searched)) == NULL &&
           !reader->finished) {
        searched = reader->end - reader->begin;
        GM_TRY(fill(reader));
    }
    char *start = reader->bytes + reader->begin, *stop = newline ? newline : reader->bytes + reader->end;
    if (!newline && start == stop) {
        reader->line--;
        return GM_OK;
    }
    if (stop - start > GM_LINE_LIMIT) return gm_line_reader_error(reader, "is longer than %d MB", GM_LINE_LIMIT >> 20);
    reader->begin = (size_t)(stop - reader->bytes) + (newline != NULL);
    if (stop > start && stop[-1] == '\r') stop--;
    *stop = '\0';
    *text = start;
    *length = (size_t)(stop - start);
    return GM_OK;
}

void gm_line_reader_close(gm_line_reader *reader) {
    gm_byte_reader_close(&reader->source);
    free(reader->bytes);
    reader->bytes = NULL;
    reader->begin = reader->end = 0;
    reader->finished = true;
}
