/* Every safetensors file that must be refused (or accepted), made on the spot: status, a message that names the file, and
 * no more than a second. Then directories with shards, files that shrink, and random damage. */
#include "test_support.h"

#include "base/file.h"
#include "base/random.h"
#include "io/mapped_guard.h"
#include "io/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* Of processor time: other tests run beside this one. (What waits for ever runs into the test's time limit.) */
#ifdef __SANITIZE_ADDRESS__
static const double time_limit = 5;
#else
static const double time_limit = 1;
#endif

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* N, the JSON text, `data` bytes 1, 2, 3 … */
static void write_file(const char *path, uint64_t n, const char *json, size_t length, size_t data) {
    unlink(path);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    for (int i = 0; i < 8; i++) fputc((int)(n >> (8 * i) & 255), out);
    if (length) assert_int_equal(fwrite(json, 1, length, out), length);
    for (size_t i = 0; i < data; i++) fputc((int)(i + 1) & 255, out);
    assert_int_equal(fclose(out), 0);
}

/* Touches every byte of every tensor: a wrong extent shows under the sanitizers. */
static unsigned sum_of(const gm_safetensors *file) {
    unsigned sum = 0;
    for (size_t i = 0; i < gm_safetensors_count(file); i++) {
        const gm_file_tensor *t = gm_safetensors_at(file, i);
        assert_ptr_equal(gm_safetensors_find(file, t->name), t);
        for (size_t k = 0; k < t->byte_count; k++) sum += t->bytes[k];
    }
    return sum;
}

/* `says` NULL: the file must open. */
static void expect(const char *what, const char *path, const char *says) {
    gm_safetensors *file = (void *)1;
    double begin = seconds();
    gm_status status = gm_safetensors_open(&file, path);
    double took = seconds() - begin;
    if (says) {
        if (status != GM_BAD_FILE) fail_msg("%s: status %d", what, status);
        assert_null(file);
        if (!strstr(gm_error_text(), path)) fail_msg("%s: does not name the file: %s", what, gm_error_text());
        if (!strstr(gm_error_text(), says)) fail_msg("%s: \"%s\" is not in: %s", what, says, gm_error_text());
    } else {
        if (status != GM_OK) fail_msg("%s: refused: %s", what, gm_error_text());
        sum_of(file);
        gm_safetensors_close(file);
    }
    if (took > time_limit) fail_msg("%s: took %.1f s", what, took);
}

#define T(name, dtype, shape, offsets) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

/* clang-format off */
static const struct { const char *what, *json; size_t data; const char *says; } rows[] = {
    /* to be accepted */
    {"no tensor",               "{}", 0, NULL},
    {"white space around",      " \n\t{ } \r\n ", 0, NULL},
    {"a number (shape [])",     "{" T("a", "F32", "[]", "[0,4]") "}", 4, NULL},
    {"a dimension of zero",     "{" T("a", "F32", "[3,0,2]", "[0,0]") "," T("b", "U8", "[2]", "[0,2]") "}", 2, NULL},
    {"an empty one at the end", "{" T("b", "U8", "[2]", "[0,2]") "," T("a", "F32", "[0]", "[2,2]") "}", 2, NULL},
    {"N no multiple of 8",      "{" T("ab", "U8", "[3]", "[0,3]") "}", 3, NULL},
    {"misaligned tensors",      "{" T("a", "U8", "[1]", "[0,1]") "," T("b", "F64", "[1]", "[1,9]") "}", 9, NULL},
    {"any order",               "{" T("b", "U8", "[1]", "[1,2]") "," T("a", "U8", "[1]", "[0,1]") "}", 2, NULL},
    {"rank 8",                  "{" T("a", "U8", "[1,1,1,1,1,1,1,2]", "[0,2]") "}", 2, NULL},
    {"metadata",                "{\"__metadata__\":{\"format\":\"pt\",\"\":\"é\"}," T("a", "BOOL", "[1]", "[0,1]") "}", 1, NULL},
    {"a field not known",       "{\"a\":{\"x\":[{}],\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, NULL},
    {"escapes in a name",       "{" T("\\u00e9\\ud83d\\ude00", "U8", "[1]", "[0,1]") "}", 1, NULL},
    /* the JSON */
    {"N = 0",                   "", 0, "an object should be"},
    {"invalid UTF-8",           "{" T("a\x80", "U8", "[1]", "[0,1]") "}", 1, "UTF-8"},
    {"overlong UTF-8",          "{" T("a\xc0\xaf", "U8", "[1]", "[0,1]") "}", 1, "UTF-8"},
    {"byte order mark",         "\xef\xbb\xbf{}", 0, "byte order mark"},
    {"truncated JSON",          "{" T("a", "U8", "[1]", "[0,1]"), 1, "ends inside"},
    {"truncated inside",        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1", 1, "ends inside"},
    {"text after the brace",    "{}x", 0, "after the end"},
    {"a second object",         "{}{}", 0, "after the end"},
    {"an array",                "[]", 0, "an object should be"},
    {"a string",                "\"a\"", 0, "an object should be"},
    {"a tensor that is no object", "{\"a\":1}", 0, "a: "},
    {"a control byte",          "{" T("a\n", "U8", "[1]", "[0,1]") "}", 1, "control byte"},
    {"a trailing comma",        "{" T("a", "U8", "[1]", "[0,1]") ",}", 1, "string should be"},
    {"a lone surrogate",        "{" T("\\ud800", "U8", "[1]", "[0,1]") "}", 1, "surrogate"},
    {"NUL in a name",           "{" T("a\\u0000b", "U8", "[1]", "[0,1]") "}", 1, "NUL"},
    /* names and fields */
    {"a name twice",            "{" T("a", "U8", "[1]", "[0,1]") "," T("a", "U8", "[1]", "[1,2]") "}", 2, "a: stands twice"},
    {"a name twice, escaped",   "{" T("a", "U8", "[1]", "[0,1]") "," T("\\u0061", "U8", "[1]", "[1,2]") "}", 2, "a: stands twice"},
    {"dtype twice",             "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype stands twice"},
    {"shape twice",             "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "shape stands twice"},
    {"offsets twice",           "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"data_offsets\":[0,1]}}", 1, "data_offsets stands twice"},
    {"no dtype",                "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "a: byte"},
    {"no shape",                "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "shape is missing"},
    {"no offsets",              "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets is missing"},
    {"metadata with a number",  "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: "},
    {"metadata with an object", "{\"__metadata__\":{\"a\":{}}}", 0, "__metadata__: "},
    {"metadata no object",      "{\"__metadata__\":\"a\"}", 0, "__metadata__: "},
    {"metadata twice",          "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "stands twice"},
    {"a metadata key twice",    "{\"__metadata__\":{\"k\":\"1\",\"j\":\"\",\"k\":\"2\"}}", 0, "\"k\" stands twice"},
    {"NUL in metadata",         "{\"__metadata__\":{\"a\":\"x\\u0000\"}}", 0, "NUL"},
    {"dtype unknown",           "{" T("a", "F7", "[1]", "[0,1]") "}", 1, "\"F7\" is not supported"},
    {"dtype in lower case",     "{" T("a", "f32", "[1]", "[0,4]") "}", 4, "\"f32\" is not supported"},
    {"dtype a number",          "{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "a string should be"},
    {"dtype with NUL",          "{" T("a", "U8\\u0000", "[1]", "[0,1]") "}", 1, "is not supported"},
    /* numbers */
    {"negative dimension",      "{" T("a", "U8", "[-1]", "[0,1]") "}", 1, "negative dimension -1"},
    {"negative offset",         "{" T("a", "U8", "[1]", "[-1,1]") "}", 1, "negative value -1"},
    {"1.0",                     "{" T("a", "U8", "[1.0]", "[0,1]") "}", 1, "1.0 where an integer"},
    {"1e3",                     "{" T("a", "U8", "[1e3]", "[0,1000]") "}", 1000, "1e3 where an integer"},
    {"01",                      "{" T("a", "U8", "[01]", "[0,1]") "}", 1, "malformed number"},
    {"-0",                      "{" T("a", "U8", "[1]", "[-0,1]") "}", 1, "-0 where an integer"},
    {"an offset of 1.0",        "{" T("a", "U8", "[1]", "[0,1.0]") "}", 1, "1.0 where an integer"},
    {"a size as a string",      "{" T("a", "U8", "[\"1\"]", "[0,1]") "}", 1, "a number should be"},
    {"2^53 + 1",                "{" T("a", "U8", "[9007199254740993]", "[0,1]") "}", 1, "out of range"},
    {"2^64",                    "{" T("a", "U8", "[18446744073709551616]", "[0,0]") "}", 0, "out of range"},
    {"product overflows",       "{" T("a", "U8", "[9007199254740992,9007199254740992]", "[0,1]") "}", 1, "more elements"},
    {"product wraps to 0",      "{" T("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0, "more elements"},
    {"product wraps to 4",      "{" T("a", "U8", "[4611686018427387905,4]", "[0,4]") "}", 4, "out of range"},
    {"item size overflows",     "{" T("a", "F64", "[4294967296,536870912]", "[0,0]") "}", 0, "more elements"},
    {"rank 9",                  "{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, "more than 8 dimensions"},
    /* extents */
    {"no offset",               "{" T("a", "U8", "[1]", "[]") "}", 1, "fewer than two"},
    {"one offset",              "{" T("a", "U8", "[1]", "[0]") "}", 1, "fewer than two"},
    {"three offsets",           "{" T("a", "U8", "[1]", "[0,1,1]") "}", 1, "more than two"},
    {"begin after end",         "{" T("a", "U8", "[1]", "[1,0]") "}", 1, "after its end"},
    {"first begins at 1",       "{" T("a", "U8", "[1]", "[1,2]") "}", 2, "a: 1 bytes before it"},
    {"a hole",                  "{" T("a", "U8", "[1]", "[0,1]") "," T("b", "U8", "[1]", "[2,3]") "}", 3, "b: 1 bytes before it"},
    {"an overlap",              "{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[1,3]") "}", 3, "b: overlaps a"},
    {"the same place twice",    "{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[0,2]") "}", 2, "b: overlaps a"},
    {"an empty one inside",     "{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[0]", "[1,1]") "}", 2, "b: overlaps a"},
    {"too small for its shape", "{" T("a", "F32", "[2]", "[0,4]") "}", 4, "make 8 bytes"},
    {"too large for its shape", "{" T("a", "F32", "[1]", "[0,8]") "}", 8, "make 4 bytes"},
    {"ends past the file",      "{" T("a", "U8", "[4]", "[0,4]") "}", 3, "a: byte 51: ends at byte 65 of a file of 64"},
    {"begins past the file",    "{" T("a", "U8", "[1]", "[9007199254740991,9007199254740992]") "}", 3, "a file of"},
    {"trailing bytes",          "{" T("a", "U8", "[1]", "[0,1]") "}", 2, "1 bytes after the last tensor"},
    {"bytes without a tensor",  "{}", 1, "1 bytes after the last tensor"},
};
/* clang-format on */

static void test_table(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "bad.safetensors"), GM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t length = strlen(rows[i].json);
        write_file(path, length, rows[i].json, length, rows[i].data);
        expect(rows[i].what, path, rows[i].says);
    }
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_raw_files(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "raw.safetensors"), GM_OK);
    assert_int_equal(gm_file_write(path, "", 0), GM_OK);
    expect("empty file", path, "0 bytes");
    assert_int_equal(gm_file_write(path, "\2\0\0\0\0\0\0", 7), GM_OK);
    expect("7 bytes", path, "7 bytes");
    write_file(path, 2, "", 0, 0);
    expect("8 bytes", path, "ends at byte 10 of a file of 8");
    write_file(path, UINT64_MAX, "{}", 2, 0);
    expect("N = 2^64 - 1", path, "not a safetensors file");
    write_file(path, UINT64_MAX - 7, "{}", 2, 0);
    expect("8 + N wraps to 0", path, "not a safetensors file");
    write_file(path, 3, "{}", 2, 0);
    expect("8 + N past the file", path, "ends at byte 11 of a file of 10");
    write_file(path, 4, "{}\0\0", 4, 0);
    expect("NUL after the brace", path, "after the end");
    write_file(path, 100000001, "{}", 2, 0);
    assert_int_equal(truncate(path, 200000000), 0); /* sparse */
    expect("N over 100 MB", path, "not a safetensors file");
    write_file(path, 100000000, "{}", 2, 0);
    assert_int_equal(truncate(path, 100000008), 0);
    expect("100 MB of NUL", path, "after the end");
    assert_int_equal(gm_file_write(path, "version https://git-lfs.github.com/spec/v1\n", 43), GM_OK);
    expect("Git LFS pointer", path, "git lfs pull");
    gm_safetensors *file;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(gm_safetensors_open(&file, path), GM_USAGE);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect("FIFO", path, "regular file");
    expect("directory", directory, "regular file");
    expect("device", "/dev/zero", "regular file");
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

/* Headers that are long: what they cost must not follow what they claim. */
static void test_bombs(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "bomb.safetensors"), GM_OK);
    gm_buffer json = {0};
    gm_buffer_text(&json, "{\"a\":{\"x\":");
    for (int i = 0; i < 1000000; i++) gm_buffer_char(&json, '[');
    write_file(path, json.length, json.bytes, json.length, 0);
    expect("nesting bomb", path, "nested more than 64 deep");

    gm_buffer_clear(&json);
    gm_buffer_char(&json, '{');
    for (int i = 0; i < 1600000; i++) gm_buffer_format(&json, "%s" T("%d", "U8", "[0]", "[0,0]"), i ? "," : "", i);
    gm_buffer_char(&json, '}');
    assert_true(json.length < 100000000);
    write_file(path, json.length, json.bytes, json.length, 0);
    int64_t before = gm_peak_memory();
    expect("millions of tensors", path, "more than 262144 tensors");
    assert_true(gm_peak_memory() - before < 200 * 1024 * 1024);

    gm_buffer_clear(&json); /* long names with one beginning, for those who sort them */
    gm_buffer_char(&json, '{');
    char stem[701];
    memset(stem, 'n', sizeof stem - 1);
    stem[700] = '\0';
    for (int i = 0; i < 100000; i++)
        gm_buffer_format(&json, "%s" T("%s%d", "U8", "[1]", "[%d,%d]"), i ? "," : "", stem, i * 7919 % 100000, i, i + 1);
    gm_buffer_char(&json, '}');
    write_file(path, json.length, json.bytes, json.length, 100000);
    expect("long names", path, NULL);

    gm_buffer_clear(&json);
    gm_buffer_text(&json, "{\"__metadata__\":{");
    for (int i = 0; i < 100000; i++) gm_buffer_format(&json, "%s\"%s%d\":\"\"", i ? "," : "", stem, i);
    gm_buffer_text(&json, "}}");
    write_file(path, json.length, json.bytes, json.length, 0);
    expect("much metadata", path, "__metadata__: ");

    gm_buffer_clear(&json);
    gm_buffer_text(&json, "{\"");
    for (int i = 0; i < 50000000; i++) gm_buffer_char(&json, 'n');
    gm_buffer_text(&json, "\":{}}");
    write_file(path, json.length, json.bytes, json.length, 0);
    expect("a name of 50 MB", path, "a string is longer than 16777216 bytes");
    gm_buffer_free(&json);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

/* ---- directories ---- */

static void put_text(const char *directory, const char *name, const char *text) {
    char path[GM_PATH];
    assert_int_equal(gm_path_join(path, directory, name), GM_OK);
    assert_int_equal(gm_file_write(path, text, strlen(text)), GM_OK);
}

static void put_shard(const char *directory, const char *name, const char *json, size_t data) {
    char path[GM_PATH];
    assert_int_equal(gm_path_join(path, directory, name), GM_OK);
    write_file(path, strlen(json), json, strlen(json), data);
}

#define INDEX(map) "{\"metadata\":{\"total_size\":3},\"weight_map\":{" map "}}"

static const struct {
    const char *what, *index, *says;
} index_rows[] = {
    {"right", INDEX("\"a\":\"s1\",\"b\":\"s2\",\"c\":\"s2\""), NULL},
    {"without metadata", "{\"weight_map\":{\"c\":\"s2\",\"a\":\"s1\",\"b\":\"s2\"}}", NULL},
    {"a tensor that the index leaves out", INDEX("\"a\":\"s1\",\"b\":\"s2\""), NULL},
    {"invalid UTF-8", INDEX("\"a\xff\":\"s1\""), "UTF-8"},
    {"byte order mark", "\xef\xbb\xbf" INDEX("\"a\":\"s1\""), "byte order mark"},
    {"an array", "[]", "an object should be"},
    {"Git LFS pointer", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
    {"NUL in a tensor's name", INDEX("\"a\\u0000\":\"s1\""), "NUL"},
    {"backslash", INDEX("\"a\":\"x\\\\s1\""), "not a plain file name"},
    {"null", INDEX("\"a\":null"), "a string should be"},
    {"slash", INDEX("\"a\":\"x/s1\""), "not a plain file name"},
    {"up", INDEX("\"a\":\"../s1\""), "not a plain file name"},
    {"dots", INDEX("\"a\":\"..\""), "not a plain file name"},
    {"dot", INDEX("\"a\":\".\""), "not a plain file name"},
    {"absolute", INDEX("\"a\":\"/etc/passwd\""), "not a plain file name"},
    {"NUL", INDEX("\"a\":\"s1\\u0000\""), "not a plain file name"},
    {"empty name", INDEX("\"a\":\"\""), "not a plain file name"},
    {"number", INDEX("\"a\":1"), "a string should be"},
    {"not in its shard", INDEX("\"a\":\"s1\",\"z\":\"s2\""), "z: is not in s2"},
    {"in the other shard", INDEX("\"a\":\"s2\",\"b\":\"s2\",\"x\":\"s1\""), "a: is in "},
    {"in two shards", INDEX("\"a\":\"s1\",\"b\":\"s3\""), "a: is also in "},
    {"listed twice", INDEX("\"a\":\"s1\",\"b\":\"s2\",\"a\":\"s1\""), "a: stands twice"},
    {"missing shard", INDEX("\"a\":\"s1\",\"b\":\"gone\""), "gone: No such file"},
    {"FIFO as a shard", INDEX("\"a\":\"fifo\""), "fifo: is not a regular file"},
    {"directory as a shard", INDEX("\"a\":\"dir\""), "dir: is not a regular file"},
    {"bad shard", INDEX("\"a\":\"s1\",\"d\":\"cut\""), "cut: d: "},
    {"empty map", INDEX(""), "missing or empty"},
    {"no map", "{}", "missing or empty"},
    {"two maps", "{\"weight_map\":{\"a\":\"s1\"},\"weight_map\":{\"a\":\"s1\"}}", "weight_map stands twice"},
    {"map no object", "{\"weight_map\":[]}", "an object should be"},
    {"empty file", "", "an object should be"},
    {"truncated", "{\"weight_map\":{\"a\":\"s1\"", "ends inside"},
    {"trailing text", INDEX("\"a\":\"s1\"") "x", "after the end"},
};

static void test_directories(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH], target[GM_PATH];
    gm_safetensors *file;
    gm_test_directory(directory);
    assert_int_equal(gm_safetensors_open_model(&file, directory), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), directory));
    put_shard(directory, "s1", "{" T("a", "U8", "[1]", "[0,1]") "}", 1);
    put_shard(directory, "blob", "{\"__metadata__\":{\"k\":\"v\"}," T("c", "U8", "[1]", "[0,1]") "," T("b", "U8", "[1]", "[1,2]") "}", 2);
    put_shard(directory, "s3", "{" T("a", "U8", "[1]", "[0,1]") "," T("b", "U8", "[1]", "[1,2]") "}", 2);
    put_shard(directory, "cut", "{" T("d", "U8", "[10]", "[0,10]") "}", 9);
    assert_int_equal(gm_path_join(path, directory, "s2"), GM_OK); /* a hub cache stores shards as links */
    assert_int_equal(symlink("blob", path), 0);
    assert_int_equal(gm_path_join(path, directory, "dir"), GM_OK);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(gm_path_join(path, directory, "fifo"), GM_OK);
    assert_int_equal(mkfifo(path, 0600), 0);
    for (size_t i = 0; i < sizeof index_rows / sizeof *index_rows; i++) {
        put_text(directory, "model.safetensors.index.json", index_rows[i].index);
        double begin = seconds();
        gm_status status = gm_safetensors_open_model(&file, directory);
        assert_true(seconds() - begin < time_limit);
        if (!index_rows[i].says) {
            if (status != GM_OK) fail_msg("%s: refused: %s", index_rows[i].what, gm_error_text());
            assert_int_equal(gm_safetensors_count(file), 3);
            assert_string_equal(gm_safetensors_at(file, 1)->name, "c"); /* by shard, then by offset */
            assert_string_equal(gm_safetensors_metadata(file, "k"), "v");
            const char *shard = gm_safetensors_path(file, gm_safetensors_find(file, "b"));
            assert_string_equal(shard + strlen(shard) - 3, "/s2");
            gm_safetensors_close(file);
            continue;
        }
        if (status != GM_BAD_FILE) fail_msg("%s: status %d", index_rows[i].what, status);
        assert_null(file);
        if (!strstr(gm_error_text(), index_rows[i].says) || !strstr(gm_error_text(), directory))
            fail_msg("%s: \"%s\" is not in: %s", index_rows[i].what, index_rows[i].says, gm_error_text());
    }
    assert_int_equal(gm_path_join(path, directory, "model.safetensors"), GM_OK);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(gm_safetensors_open_model(&file, directory), GM_BAD_FILE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(gm_path_join(target, directory, "s1"), GM_OK);
    assert_int_equal(symlink(target, path), 0); /* the single file goes before the index */
    assert_int_equal(gm_safetensors_open_model(&file, directory), GM_OK);
    assert_int_equal(gm_safetensors_count(file), 1);
    gm_safetensors_close(file);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
    assert_int_equal(gm_safetensors_open_model(&file, directory), GM_USAGE);
}

/* ---- faults while mapped ---- */

static void test_shrinking_file(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH], text[4096] = "";
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "shrinks.safetensors"), GM_OK);
    const char json[] = "{" T("a", "U8", "[100000]", "[0,100000]") "}";
    write_file(path, sizeof json - 1, json, sizeof json - 1, 100000);
    int pipes[2], status;
    assert_int_equal(pipe(pipes), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        gm_safetensors *file;
        dup2(pipes[1], STDERR_FILENO);
        gm_mapped_guard_install("test");
        if (gm_safetensors_open(&file, path) != GM_OK || truncate(path, 5000) != 0) _exit(99);
        _exit(sum_of(file) == 0 ? 97 : 98); /* never reached */
    }
    close(pipes[1]);
    ssize_t n = read(pipes[0], text, sizeof text - 1);
    for (ssize_t more = n; more > 0 && n < (ssize_t)sizeof text - 1; n += more)
        more = read(pipes[0], text + n, sizeof text - 1 - (size_t)n);
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), GM_BAD_FILE);
    assert_non_null(strstr(text, path));
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

/* Random damage to a good file: it opens or it is refused, and what opens can be read. */
static void test_random_damage(void **state) {
    (void)state;
    static const char json[] = "{\"__metadata__\":{\"k\":\"v\"}," T("a", "F32", "[2,3]", "[0,24]") "," T(
        "b.c", "BF16", "[4]", "[24,32]") "," T("d", "U8", "[]", "[32,33]") "}   ";
    static const char bytes[] = "{}[]\",:\\0123456789-.eEuF\x80\xff\n ";
    char directory[4096], path[GM_PATH];
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "damaged.safetensors"), GM_OK);
    uint64_t seed = (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    gm_random random = gm_random_begin(seed, GM_RANDOM_TEST, 0);
    size_t opened = 0;
    for (int round = 0; round < 4000; round++) {
        unsigned char image[8 + sizeof json - 1 + 33] = {sizeof json - 1};
        size_t length = sizeof image;
        memcpy(image + 8, json, sizeof json - 1);
        for (uint32_t k = 1 + gm_random_below(&random, 3); k > 0; k--) {
            uint32_t at = gm_random_below(&random, 8 + sizeof json - 1), how = gm_random_below(&random, 8);
            if (how == 0)
                image[at] ^= (unsigned char)(1u << gm_random_below(&random, 8));
            else if (how == 1)
                length = gm_random_below(&random, (uint32_t)sizeof image);
            else if (at >= 8)
                image[at] = (unsigned char)bytes[gm_random_below(&random, sizeof bytes - 1)];
        }
        unlink(path); /* ext4 flushes a file that is truncated and written again: 4,000 times would be slow */
        FILE *out = fopen(path, "wb");
        assert_true(out && fwrite(image, 1, length, out) == length && fclose(out) == 0);
        gm_safetensors *file;
        gm_status status = gm_safetensors_open(&file, path);
        assert_true(status == GM_OK || status == GM_BAD_FILE);
        if (status != GM_OK) continue;
        sum_of(file);
        gm_safetensors_close(file);
        opened++;
    }
    printf("%zu of 4000 damaged files still opened\n", opened);
    assert_true(opened < 4000);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_raw_files),      cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_directories), cmocka_unit_test(test_shrinking_file), cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
