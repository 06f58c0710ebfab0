/* Lines from plain and gzip files: every shape a text file comes in, every fault of a gzip stream. */
#include "data_files.h"
#include "test_directory.h"

#include "data/line_reader.h"

#include <sys/stat.h>

/* Reads all lines and joins them with "|"; the status of the first failure. */
static gm_status read_joined(const char *name, gm_buffer *joined, int64_t limit) {
    char path[GM_PATH];
    gm_line_reader reader;
    gm_buffer_clear(joined);
    assert_int_equal(gm_path_join(path, directory, name), GM_OK);
    GM_TRY(gm_line_reader_open(&reader, path, GM_USAGE));
    if (limit) reader.limit = limit;
    gm_status status;
    char *line;
    size_t length;
    for (int64_t count = 0; (status = gm_line_reader_next(&reader, &line, &length)) == GM_OK && line; count++) {
        assert_int_equal(reader.line, count + 1);
        assert_int_equal(line[length], '\0');
        gm_buffer_append(joined, line, length);
        gm_buffer_char(joined, '|');
    }
    if (status == GM_OK) { /* the end stays the end */
        assert_int_equal(gm_line_reader_next(&reader, &line, &length), GM_OK);
        assert_null(line);
    }
    gm_line_reader_close(&reader);
    return status;
}

static void expect_fault(const char *name, int64_t limit, const char *what) {
    gm_buffer joined = {0};
    gm_status status = read_joined(name, &joined, limit);
    if (status != GM_BAD_FILE || !strstr(gm_error_text(), what) || !strstr(gm_error_text(), name))
        fail_msg("%s: status %d, \"%s\" lacks \"%s\"", name, status, gm_error_text(), what);
    gm_buffer_free(&joined);
}

static void test_shapes(void **state) {
    (void)state;
    static const struct {
        const char *text, *lines;
    } cases[] = {
        {"", ""},
        {"a", "a|"},
        {"a\n", "a|"},
        {"a\nb", "a|b|"},
        {"a\r\nb\r\n", "a|b|"},
        {"\n\na\n\n", "||a||"},
        {"a\rb\n", "a\rb|"},
        {"\xef\xbb\xbf"
         "a\n",
         "a|"},
        {"\xef\xbb\xbf", ""},
        {"\r\n", "|"},
        {"a\n\r", "a||"},
        {"\xef\xbb", "\xef\xbb|"},
    };
    gm_buffer joined = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gm_test_write(directory, "plain", cases[i].text, strlen(cases[i].text));
        gm_test_write_gzip(directory, "packed.gz", cases[i].text, strlen(cases[i].text));
        gm_test_write_gzip(directory, "packed", cases[i].text, strlen(cases[i].text)); /* gzip without the name */
        static const char *const names[] = {"plain", "packed.gz", "packed"};
        for (int n = 0; n < 3; n++) {
            if (read_joined(names[n], &joined, 0) != GM_OK) fail_msg("case %zu: %s", i, gm_error_text());
            assert_string_equal(gm_buffer_string(&joined), cases[i].lines);
        }
    }
    gm_buffer_free(&joined);
}

/* Lines that straddle the reader's window, in one and in many gzip members. */
static void test_long_and_many(void **state) {
    (void)state;
    gm_buffer text = {0}, expected = {0}, members = {0}, joined = {0};
    for (int i = 0; i < 400; i++) {
        size_t start = text.length, compressed;
        for (int j = 0; j < (i * 37) % 5000; j++) gm_buffer_char(&text, (char)('a' + (i + j) % 26));
        gm_buffer_append(&expected, text.bytes ? text.bytes + start : "", text.length - start);
        gm_buffer_char(&expected, '|');
        gm_buffer_char(&text, '\n');
        unsigned char *member = gm_test_gzip(text.bytes + start, text.length - start, &compressed);
        gm_buffer_append(&members, member, compressed);
        free(member);
    }
    gm_test_write(directory, "plain", text.bytes, text.length);
    gm_test_write_gzip(directory, "one.gz", text.bytes, text.length);
    gm_test_write(directory, "many.gz", members.bytes, members.length);
    static const char *const names[] = {"plain", "one.gz", "many.gz"};
    for (int n = 0; n < 3; n++) {
        if (read_joined(names[n], &joined, 0) != GM_OK) fail_msg("%s: %s", names[n], gm_error_text());
        assert_int_equal(joined.length, expected.length);
        assert_memory_equal(joined.bytes, expected.bytes, expected.length);
    }
    gm_buffer_free(&text), gm_buffer_free(&expected), gm_buffer_free(&members), gm_buffer_free(&joined);
}

static void test_gzip_faults(void **state) {
    (void)state;
    char text[3000];
    size_t length;
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (random = random * 1664525u + 1013904223u) >> 24 < 8 ? '\n' : (char)('a' + (random >> 20) % 26);
    unsigned char *member = gm_test_gzip(text, sizeof text, &length), *broken = malloc(2 * length + 16);
    gm_buffer joined = {0};
    for (size_t cut = 0; cut < length; cut += cut < 40 || cut + 40 > length ? 1 : 97) { /* every length is a fault of its own */
        gm_test_write(directory, "cut.gz", member, cut);
        gm_status status = read_joined("cut.gz", &joined, 0);
        if (status != GM_BAD_FILE) fail_msg("cut at %zu of %zu: status %d", cut, length, status);
    }
    gm_test_write(directory, "cut.gz", member, length - 1);
    expect_fault("cut.gz", 0, "line");
    expect_fault("cut.gz", 0, "cut short");
    for (size_t at = length - 8; at < length; at++) { /* the trailer: CRC-32 and length */
        memcpy(broken, member, length);
        broken[at] ^= 0x10;
        gm_test_write(directory, "crc.gz", broken, length);
        expect_fault("crc.gz", 0, "damaged");
    }
    memcpy(broken, member, length);
    memcpy(broken + length, "junk", 4);
    gm_test_write(directory, "junk.gz", broken, length + 4);
    expect_fault("junk.gz", 0, "damaged");
    memcpy(broken + length, member, length / 2);
    gm_test_write(directory, "half.gz", broken, length + length / 2);
    expect_fault("half.gz", 0, "cut short");
    gm_test_write(directory, "text.gz", "hello\n", 6);
    expect_fault("text.gz", 0, "is not a gzip file");
    gm_buffer_free(&joined);
    free(member);
    free(broken);
}

static void test_limits(void **state) {
    (void)state;
    size_t length = (size_t)GM_LINE_LIMIT + 10;
    char *text = malloc(length);
    memset(text, 'x', length);
    memcpy(text, "1\n2\n", 4);
    gm_buffer joined = {0};
    gm_test_write(directory, "long", text, length);
    expect_fault("long", 0, "line 3: is longer than 64 MB");
    gm_test_write_gzip(directory, "long.gz", text, length);
    expect_fault("long.gz", 0, "line 3: is longer than 64 MB");
    text[(size_t)GM_LINE_LIMIT + 4] = '\n'; /* a line of just the limit */
    gm_test_write(directory, "long", text, length);
    assert_int_equal(read_joined("long", &joined, 0), GM_OK);
    assert_int_equal(joined.length, length + 1);                                   /* the last line got its break */
    text[(size_t)GM_LINE_LIMIT + 4] = 'x', text[(size_t)GM_LINE_LIMIT + 5] = '\n'; /* one byte over it */
    gm_test_write(directory, "long", text, length);
    expect_fault("long", 0, "line 3: is longer than 64 MB");
    memset(text, '\n', 1000000);
    gm_test_write_gzip(directory, "bomb.gz", text, 1000000);
    expect_fault("bomb.gz", 500000, "decompresses to more than 500000 bytes");
    gm_buffer_free(&joined);
    free(text);
}

static void test_not_files(void **state) {
    (void)state;
    char path[GM_PATH];
    gm_line_reader reader;
    assert_int_equal(gm_line_reader_open(&reader, directory, GM_USAGE), GM_BAD_FILE);
    assert_int_equal(gm_path_join(path, directory, "fifo"), GM_OK);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(gm_line_reader_open(&reader, path, GM_USAGE), GM_BAD_FILE);
    assert_int_equal(gm_path_join(path, directory, "absent"), GM_OK);
    assert_int_equal(gm_line_reader_open(&reader, path, GM_USAGE), GM_USAGE);
    assert_non_null(strstr(gm_error_text(), "absent"));
    gm_line_reader_close(&reader); /* harmless */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_long_and_many), cmocka_unit_test(test_gzip_faults),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_not_files),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
