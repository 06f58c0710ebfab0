/* gzread would hide three faults (bytes after the stream, a stream cut between two members' bytes, a .gz that is none), so
 * inflate is driven here. */
#include "base/byte_reader.h"

#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { CHUNK = 128 * 1024 };

typedef struct gm_gunzip {
    z_stream stream;
    bool within;  /* a member: the file must not end here */
    bool at_end;  /* of the file */
    bool damaged; /* told once the text before the damage has been given */
    unsigned char input[CHUNK];
} gm_gunzip;

static gm_status fault(const gm_byte_reader *reader, const char *what, const char *reason) {
    if (reader->line == 0) return gm_error(GM_BAD_FILE, "%s: the gzip stream is %s%s", reader->path, what, reason);
    return gm_error(GM_BAD_FILE, "%s: line %lld: the gzip stream is %s%s", reader->path, (long long)reader->line, what, reason);
}

static gm_status read_some(gm_byte_reader *reader, void *bytes, size_t capacity, size_t *length) {
    ssize_t n;
    do n = read(reader->file, bytes, capacity);
    while (n < 0 && errno == EINTR);
    if (n < 0) return gm_error(GM_FAIL, "%s: cannot be read: %s", reader->path, strerror(errno));
    *length = (size_t)n;
    return GM_OK;
}

/* Decompresses something into bytes[0..capacity), or sets *length 0 at the end of the last member. */
static gm_status gunzip_some(gm_byte_reader *reader, void *bytes, size_t capacity, size_t *length) {
    gm_gunzip *gunzip = reader->gunzip;
    z_stream *stream = &gunzip->stream;
    *length = 0;
    while (*length == 0) {
        if (gunzip->damaged) return fault(reader, "damaged: ", stream->msg ? stream->msg : "not a gzip member");
        if (stream->avail_in == 0 && !gunzip->at_end) {
            size_t n = 0;
            GM_TRY(read_some(reader, gunzip->input, sizeof gunzip->input, &n));
            gunzip->at_end = n == 0;
            stream->next_in = gunzip->input;
            stream->avail_in = (uInt)n;
        }
        if (stream->avail_in == 0 && !gunzip->within) return GM_OK;
        if (stream->avail_in == 0 && gunzip->at_end) return fault(reader, "cut short; is the download complete?", "");
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

gm_status gm_byte_reader_read(gm_byte_reader *reader, void *bytes, size_t capacity, size_t *length) {
    if (reader->gunzip) return gunzip_some(reader, bytes, capacity < UINT32_MAX ? capacity : UINT32_MAX, length);
    if (reader->held == 0) return read_some(reader, bytes, capacity, length);
    *length = reader->held < capacity ? reader->held : capacity;
    memcpy(bytes, reader->first + sizeof reader->first - reader->held, *length);
    reader->held -= *length;
    return GM_OK;
}

static gm_status begin_gunzip(gm_byte_reader *reader, const unsigned char *first, size_t count) {
    gm_gunzip *gunzip;
    GM_ALLOC(gunzip, 1);
    reader->gunzip = gunzip;
    if (inflateInit2(&gunzip->stream, 16 + MAX_WBITS) != Z_OK)
        return gm_error(GM_NO_MEMORY, "%s: out of memory while opening", reader->path);
    memcpy(gunzip->input, first, count);
    gunzip->stream.next_in = gunzip->input;
    gunzip->stream.avail_in = (uInt)count;
    gunzip->within = true;
    return GM_OK;
}

/* The first bytes tell gzip from text; they are then handed to the decompressor, or kept. */
static gm_status recognise(gm_byte_reader *reader) {
    unsigned char first[sizeof reader->first];
    size_t count = 0, n = 1;
    while (count < sizeof first && n > 0) {
        GM_TRY(read_some(reader, first + count, sizeof first - count, &n));
        count += n;
    }
    if (count == sizeof first && first[0] == 0x1f && first[1] == 0x8b) return begin_gunzip(reader, first, count);
    if (gm_text_ends_with(reader->path, ".gz")) return gm_error(GM_BAD_FILE, "%s: is not a gzip file", reader->path);
    memcpy(reader->first + sizeof first - count, first, count);
    reader->held = count;
    return GM_OK;
}

/* What was opened, or could not be. */
static gm_status begin(gm_byte_reader *reader, gm_status opened) {
    gm_status status = opened == GM_OK ? recognise(reader) : opened;
    if (status != GM_OK) gm_byte_reader_close(reader);
    return status;
}

gm_status gm_byte_reader_open(gm_byte_reader *reader, const char *path, gm_status missing) {
    *reader = (gm_byte_reader){.file = -1};
    if ((size_t)snprintf(reader->path, sizeof reader->path, "%s", path) >= sizeof reader->path)
        return gm_error(GM_USAGE, "%s: the path is too long", path);
    return begin(reader, gm_file_open_regular(path, missing, &reader->file, NULL));
}

gm_status gm_byte_reader_open_input(gm_byte_reader *reader) {
    *reader = (gm_byte_reader){.path = "standard input", .file = dup(STDIN_FILENO)};
    return begin(reader, reader->file >= 0 ? GM_OK : gm_error(GM_FAIL, "standard input: %s", strerror(errno)));
}

bool gm_byte_reader_is_gzip(const gm_byte_reader *reader) { return reader->gunzip != NULL; }

void gm_byte_reader_close(gm_byte_reader *reader) {
    if (reader->gunzip) inflateEnd(&reader->gunzip->stream);
    free(reader->gunzip);
    if (reader->file >= 0) close(reader->file);
    reader->gunzip = NULL;
    reader->file = -1;
}
