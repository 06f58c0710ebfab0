/* One window over the decompressed text: [begin, end) is unread, a line is found by memchr, and only a window without a
 * line break is moved to the front and filled up. gzread would hide three faults (bytes after the stream, a stream cut
 * between two members' bytes, a .gz that is none), so inflate is driven here. */
#include "data/line_reader.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { CHUNK = 128 * 1024 };

typedef struct gm_gunzip {
    z_stream stream;
    bool within;                    /* a member: the file must not end here */
    bool at_end;                    /* of the file */
    bool damaged;                   /* told once the text before the damage has been given */
    unsigned char input[CHUNK + 2]; /* what recognise hands over: a chunk behind two bytes at most */
} gm_gunzip;

gm_status gm_line_reader_error(const gm_line_reader *reader, const char *format, ...) {
    char reason[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return gm_error(GM_BAD_FILE, "%s: line %lld: %s", reader->path, (long long)reader->line, reason);
}

static gm_status read_some(gm_line_reader *reader, void *bytes, size_t capacity, size_t *length) {
    ssize_t n;
    do n = read(reader->file, bytes, capacity);
    while (n < 0 && errno == EINTR);
    if (n < 0) return gm_error(GM_FAIL, "%s: cannot be read: %s", reader->path, strerror(errno));
    *length = (size_t)n;
    return GM_OK;
}

/* Decompresses something into bytes[0..capacity), or sets *length 0 at the end of the last member. */
static gm_status gunzip_some(gm_line_reader *reader, void *bytes, size_t capacity, size_t *length) {
    gm_gunzip *gunzip = reader->gunzip;
    z_stream *stream = &gunzip->stream;
    *length = 0;
    while (*length == 0) {
        if (gunzip->damaged)
            return gm_line_reader_error(reader, "the gzip stream is damaged: %s", stream->msg ? stream->msg : "not a gzip member");
        if (stream->avail_in == 0 && !gunzip->at_end) {
            size_t n = 0;
            GM_TRY(read_some(reader, gunzip->input, sizeof gunzip->input, &n));
            gunzip->at_end = n == 0;
            stream->next_in = gunzip->input;
            stream->avail_in = (uInt)n;
        }
        if (stream->avail_in == 0 && !gunzip->within) return GM_OK;
        if (stream->avail_in == 0 && gunzip->at_end)
            return gm_line_reader_error(reader, "the gzip stream is cut short; is the download complete?");
        stream->next_out = bytes;
        stream->avail_out = (uInt)capacity;
        int code = inflate(stream, Z_NO_FLUSH);
        *length = capacity - stream->avail_out;
        gunzip->within = code != Z_STREAM_END;
        if (code == Z_STREAM_END)
            inflateReset(stream);
        else if (code == Z_MEM_ERROR)
            return gm_error(GM_NO_MEMORY, "%s: out of memory while decompressing", reader->path);
        gunzip->damaged = code != Z_OK && code != Z_BUF_ERROR && code != Z_STREAM_END;
    }
    return GM_OK;
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
    if (reader->gunzip)
        GM_TRY(gunzip_some(reader, reader->bytes + unread, CHUNK, &n));
    else
        GM_TRY(read_some(reader, reader->bytes + unread, CHUNK, &n));
    reader->end += n;
    reader->produced += (int64_t)n;
    reader->finished = n == 0;
    if (reader->gunzip && reader->produced > reader->limit)
        return gm_line_reader_error(reader, "decompresses to more than %lld bytes", (long long)reader->limit);
    return GM_OK;
}

/* The first bytes tell gzip from text; they are then handed to the decompressor. */
static gm_status recognise(gm_line_reader *reader) {
    while (reader->end < 3 && !reader->finished) GM_TRY(fill(reader));
    const unsigned char *first = (const unsigned char *)reader->bytes;
    if (reader->end >= 2 && first[0] == 0x1f && first[1] == 0x8b) {
        gm_gunzip *gunzip;
        GM_ALLOC(gunzip, 1);
        reader->gunzip = gunzip;
        if (inflateInit2(&gunzip->stream, 16 + MAX_WBITS) != Z_OK)
            return gm_error(GM_NO_MEMORY, "%s: out of memory while opening", reader->path);
        memcpy(gunzip->input, first, reader->end);
        gunzip->stream.next_in = gunzip->input;
        gunzip->stream.avail_in = (uInt)reader->end;
        gunzip->within = true;
        reader->end = 0;
        reader->produced = 0;
        reader->finished = false;
        while (reader->end < 3 && !reader->finished) GM_TRY(fill(reader));
        first = (const unsigned char *)reader->bytes;
    } else if (gm_text_ends_with(reader->path, ".gz")) {
        return gm_error(GM_BAD_FILE, "%s: is not a gzip file", reader->path);
    }
    if (reader->end >= 3 && memcmp(first, "\xef\xbb\xbf", 3) == 0) reader->begin = 3;
    return GM_OK;
}

static gm_status open_file(gm_line_reader *reader, const char *path, gm_status missing) {
    if (strcmp(path, "-") == 0) {
        snprintf(reader->path, sizeof reader->path, "standard input");
        reader->file = dup(STDIN_FILENO);
        return reader->file >= 0 ? GM_OK : gm_error(GM_FAIL, "standard input: %s", strerror(errno));
    }
    if ((size_t)snprintf(reader->path, sizeof reader->path, "%s", path) >= sizeof reader->path)
        return gm_error(GM_USAGE, "%s: the path is too long", path);
    reader->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: a FIFO must not hang us */
    if (reader->file < 0) return gm_error(errno == ENOENT || errno == ENOTDIR ? missing : GM_FAIL, "%s: %s", path, strerror(errno));
    struct stat info;
    if (fstat(reader->file, &info) != 0 || !S_ISREG(info.st_mode)) return gm_error(GM_BAD_FILE, "%s: is not a regular file", path);
    return GM_OK;
}

gm_status gm_line_reader_open(gm_line_reader *reader, const char *path, gm_status missing) {
    struct stat info;
    *reader = (gm_line_reader){.file = -1, .limit = GM_DECOMPRESSED_LIMIT, .line = 1};
    gm_status status = open_file(reader, path, missing);
    if (status == GM_OK && fstat(reader->file, &info) == 0 && S_ISREG(info.st_mode)) reader->size = info.st_size;
    if (reader->size > reader->limit / GM_DECOMPRESSED_TIMES && reader->size < INT64_MAX / GM_DECOMPRESSED_TIMES)
        reader->limit = reader->size * GM_DECOMPRESSED_TIMES;
    if (status == GM_OK) status = recognise(reader);
    if (status != GM_OK) gm_line_reader_close(reader);
    reader->line = 0;
    return status;
}

double gm_line_reader_done(const gm_line_reader *reader) {
    off_t at = reader->size > 0 ? lseek(reader->file, 0, SEEK_CUR) : 0;
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
    if (reader->gunzip) inflateEnd(&reader->gunzip->stream);
    free(reader->gunzip);
    free(reader->bytes);
    if (reader->file >= 0) close(reader->file);
    reader->gunzip = NULL;
    reader->bytes = NULL;
    reader->file = -1;
    reader->begin = reader->end = 0;
    reader->finished = true;
}
