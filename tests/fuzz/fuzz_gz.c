/* Lines of a file that is gzip or text, and the same file read whole: where both work they give the same bytes. */
#include "fuzz.h"

#include "data/line_reader.h"

enum { LIMIT = 1 << 20 }; /* of decompressed bytes */

static gm_status read_lines(gm_line_reader *reader, gm_buffer *joined) {
    char *line;
    size_t length;
    do {
        GM_TRY(gm_line_reader_next(reader, &line, &length));
        if (!line) break;
        GM_CHECK(line[length] == '\0' && !memchr(line, '\n', length), "line %lld", (long long)reader->line);
        gm_buffer_append(joined, line, length);
    } while (line);
    return GM_OK;
}

/* Without what lines lose. */
static void strip(gm_buffer *text) {
    size_t kept = 0, from = text->length >= 3 && memcmp(text->bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    for (size_t i = from; i < text->length; i++) {
        bool last = i + 1 == text->length, ends = text->bytes[i] == '\r' && (last || text->bytes[i + 1] == '\n');
        if (text->bytes[i] != '\n' && !ends) text->bytes[kept++] = text->bytes[i];
    }
    text->length = kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gm_line_reader reader;
    gm_buffer joined = {0}, whole = {0};
    const char *path = gm_fuzz_file(data, size);
    gm_status status = gm_line_reader_open(&reader, path, GM_USAGE);
    if (status == GM_OK) {
        reader.limit = LIMIT;
        status = read_lines(&reader, &joined);
        gm_line_reader_close(&reader);
    }
    gm_fuzz_check(status, GM_BAD_FILE, path);
    gm_status read = gm_file_read(&whole, path, LIMIT, GM_USAGE);
    gm_fuzz_check(read, GM_BAD_FILE, path);
    if (status == GM_OK && read == GM_OK) {
        strip(&whole);
        GM_CHECK(whole.length == joined.length && (joined.length == 0 || memcmp(whole.bytes, joined.bytes, joined.length) == 0),
                 "%zu bytes in lines, %zu in the whole", joined.length, whole.length);
    }
    gm_buffer_free(&joined);
    gm_buffer_free(&whole);
    return 0;
}
