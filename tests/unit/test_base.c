/* Base layer: generator vectors, strict JSON, numbers, map, regions, parallel work, file helpers. */
#include "data_files.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/number.h"
#include "base/parallel.h"
#include "base/random.h"

#include <locale.h>
#include <math.h>
#include <omp.h>
#include <sys/stat.h>

/* Published vectors of Philox4x32-10 (Random123's kat_vectors). */
static void test_philox_vectors(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        gm_philox(out, known[i].counter, known[i].key);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static void test_random_permutation_and_moments(void **state) {
    (void)state;
    gm_random random = gm_random_begin(7, GM_RANDOM_TEST, 0);
    uint32_t order[100];
    bool seen[100] = {false};
    gm_random_permutation(&random, order, 100);
    for (int i = 0; i < 100; i++) {
        assert_true(order[i] < 100 && !seen[order[i]]);
        seen[order[i]] = true;
    }
    double sum = 0, squares = 0;
    for (int i = 0; i < 20000; i++) {
        double x = gm_random_normal(&random);
        sum += x, squares += x * x;
    }
    assert_true(fabs(sum / 20000) < 0.03 && fabs(squares / 20000 - 1) < 0.05);
}

static gm_status parse(const char *text, size_t length) {
    cJSON *tree = NULL;
    gm_status status = gm_json_parse("test", text, length, &tree);
    cJSON_Delete(tree);
    return status;
}

static void test_json_refuses(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "nul",
        "tru",
        "[1 2]",
        "{\"a\" 1}",
        "{a:1}",
        "'a'",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00x\"",
        "\"\x80\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        "\xef\xbb\xbf{}",
        "{} x",
        "{}{}",
        "{\"a\":1,\"a\":2}",
        "[{\"b\":{\"c\":1,\"c\":1}}]",
        "NaN",
        "Infinity",
        "\"\\u0000\"",
        "[1}",
        "{]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i], strlen(bad[i])) != GM_BAD_FILE) fail_msg("accepted: %s", bad[i]);
    char bomb[300];
    memset(bomb, '[', sizeof bomb);
    assert_int_equal(parse(bomb, sizeof bomb), GM_BAD_FILE);
    assert_int_equal(parse("{}\0", 3), GM_BAD_FILE);
}

static void test_json_accepts(void **state) {
    (void)state;
    static const char *const good[] = {
        "{}", " [ ] ", "0", "-0", "1e-3", "[1,2,{\"a\":[null,true,false]}]", "\"\\ud83d\\ude00\\n\"", "{\"A\":1,\"a\":2}", "\"é😀\""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (parse(good[i], strlen(good[i])) != GM_OK) fail_msg("refused: %s: %s", good[i], gm_error_text());
}

static void test_json_reader_values(void **state) {
    (void)state;
    const char text[] = "{\"a\":[1,-5,9007199254740992],\"s\":\"x\\u00e9\",\"n\":1.5e2,\"skip\":{\"k\":[1,[2]]},\"b\":false}";
    gm_json_reader reader;
    gm_json_reader_init(&reader, "test", text, sizeof text - 1);
    bool more, flag = true;
    int64_t integer, sum = 0;
    double number = 0;
    assert_int_equal(gm_json_open(&reader, GM_JSON_OBJECT), GM_OK);
    while (gm_json_next_member(&reader, &more) == GM_OK && more) {
        if (gm_json_name_is(&reader, "a")) {
            assert_int_equal(gm_json_open(&reader, GM_JSON_ARRAY), GM_OK);
            while (gm_json_next(&reader, &more) == GM_OK && more) {
                assert_int_equal(gm_json_read_integer(&reader, &integer), GM_OK);
                sum += integer;
            }
        } else if (gm_json_name_is(&reader, "s")) {
            assert_int_equal(gm_json_read_string(&reader), GM_OK);
            assert_string_equal(gm_buffer_string(&reader.string), "x\xc3\xa9");
        } else if (gm_json_name_is(&reader, "n")) {
            assert_int_equal(gm_json_read_number(&reader, &number), GM_OK);
        } else if (gm_json_name_is(&reader, "b")) {
            assert_int_equal(gm_json_read_bool(&reader, &flag), GM_OK);
        } else {
            assert_int_equal(gm_json_skip(&reader), GM_OK);
        }
    }
    assert_int_equal(gm_json_finish(&reader), GM_OK);
    assert_true(sum == 9007199254740988 && number == 150 && !flag);
    gm_json_reader_free(&reader);
    static const char *const not_integers[] = {"1.0", "1e3", "01", "-0", "9007199254740993", "\"1\"", "99999999999999999999"};
    for (size_t i = 0; i < sizeof not_integers / sizeof *not_integers; i++) {
        gm_json_reader_init(&reader, "test", not_integers[i], strlen(not_integers[i]));
        gm_status status = gm_json_read_integer(&reader, &integer);
        if (status == GM_OK) status = gm_json_finish(&reader);
        if (status == GM_OK) fail_msg("taken for an integer: %s", not_integers[i]);
        gm_json_reader_free(&reader);
    }
}

static void test_numbers_round_trip(void **state) {
    (void)state;
    gm_random random = gm_random_begin(3, GM_RANDOM_TEST, 1);
    char text[GM_DOUBLE_TEXT];
    for (int i = 0; i < 2000; i++) {
        double value = ldexp(gm_random_normal(&random), (int)gm_random_below(&random, 200) - 100), back;
        assert_true(gm_format_double(value, text) && gm_parse_double(text, strlen(text), &back) && back == value);
    }
    double value;
    assert_false(gm_parse_double("1,5", 3, &value) || gm_parse_double("0x10", 4, &value) || gm_parse_double("inf", 3, &value) ||
                 gm_parse_double(" 1", 2, &value) || gm_parse_double("", 0, &value) || gm_parse_double("1e999", 5, &value));
    assert_false(gm_format_double(NAN, text));
}

static void test_map(void **state) {
    (void)state;
    gm_map map = {0};
    static char keys[5000][8];
    for (int i = 0; i < 5000; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        assert_int_equal(gm_map_put(&map, keys[i], strlen(keys[i]), i, NULL, NULL), GM_OK);
    }
    bool was_there;
    int64_t old, value;
    assert_int_equal(gm_map_put(&map, "k77", 3, -1, &was_there, &old), GM_OK);
    assert_true(was_there && old == 77 && map.count == 5000);
    assert_true(gm_map_get(&map, "k4999", 5, &value) && value == 4999);
    assert_false(gm_map_get(&map, "k5000", 5, &value));
    gm_map_free(&map);
}

/* What was in either region before and what is allocated after stays apart. */
static void test_regions(void **state) {
    (void)state;
    gm_region region = {0}, other = {0}, empty = {0};
    for (int round = 0; round < 2; round++) { /* into an empty one, into one that is not */
        char *texts[5];
        for (int i = 0; i < 4; i++) texts[i] = gm_region_copy(i % 2 && round ? &region : &other, "0123" + i, (size_t)(4 - i));
        texts[4] = gm_region_alloc(&other, 1 << 20, 1); /* blocks of its own */
        memset(texts[4], 'x', 1 << 20);
        gm_region_join(&region, &other);
        gm_region_join(&region, &empty);
        assert_null(other.blocks);
        for (int i = 0; i < 50; i++) memset(gm_region_alloc(&region, 1000, 1), 'y', 1000);
        for (int i = 0; i < 4; i++) assert_string_equal(texts[i], "0123" + i);
        for (int i = 0; i < 1 << 20; i++) assert_int_equal(texts[4][i], 'x');
    }
    gm_region_free(&region);
}

typedef struct work_log {
    int done[1000], workers[1000];
    size_t bad, worse; /* indices that fail */
} work_log;

static gm_status log_work(void *context, size_t worker, size_t index) {
    work_log *log = context;
    log->done[index]++;
    log->workers[index] = (int)worker;
    if (index == log->bad) return gm_error(GM_BAD_FILE, "bad %zu", index);
    return index == log->worse ? gm_error(GM_FAIL, "worse %zu", index) : GM_OK;
}

static void test_parallel(void **state) {
    (void)state;
    int most = omp_get_max_threads();
    for (int threads = 1; threads <= 4; threads++) {
        static work_log log;
        size_t failed;
        omp_set_num_threads(threads);
        assert_int_equal(gm_workers(), threads);
        log = (work_log){.bad = SIZE_MAX, .worse = SIZE_MAX};
        assert_int_equal(gm_parallel_for(1000, log_work, &log, &failed), GM_OK);
        assert_int_equal(failed, 1000);
        for (int i = 0; i < 1000; i++) assert_true(log.done[i] == 1 && log.workers[i] < threads);
        log = (work_log){.bad = 700, .worse = 993};
        assert_int_equal(gm_parallel_for(1000, log_work, &log, &failed), GM_BAD_FILE);
        assert_string_equal(gm_error_text(), "bad 700");
        assert_int_equal(failed, 700);
        for (int i = 0; i <= 700; i++) assert_int_equal(log.done[i], 1);
        assert_int_equal(gm_parallel_for(0, log_work, &log, NULL), GM_OK);
    }
    omp_set_num_threads(most);
}

static void test_files(void **state) {
    (void)state;
    char directory[GM_PATH], path[GM_PATH];
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "a/b"), GM_OK);
    assert_int_equal(gm_directory_make(path), GM_OK);
    assert_int_equal(gm_path_join(path, directory, "a/b/file"), GM_OK);
    assert_int_equal(gm_file_replace(path, "hello", 5), GM_OK);
    gm_buffer text = {0};
    assert_int_equal(gm_file_read(&text, path, 100, GM_USAGE), GM_OK);
    assert_string_equal(gm_buffer_string(&text), "hello");
    assert_int_equal(gm_file_read(&text, path, 4, GM_USAGE), GM_BAD_FILE);
    assert_int_equal(gm_file_read(&text, directory, 4, GM_USAGE), GM_BAD_FILE);
    gm_mapped_file mapped;
    assert_int_equal(gm_file_map(&mapped, "no/such/file", GM_USAGE), GM_USAGE);
    assert_non_null(strstr(gm_error_text(), "no/such/file"));
    gm_buffer_free(&text);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
    assert_false(gm_directory_exists(directory));
}

static void expect_text(const char *path, const char *want) {
    gm_buffer text = {0};
    assert_int_equal(gm_file_read(&text, path, 100, GM_USAGE), GM_OK);
    assert_string_equal(gm_buffer_string(&text), want);
    gm_buffer_free(&text);
}

/* Beside the file that is replaced lie others, whose names a careless program takes for its own. */
static void test_replace_spares_others(void **state) {
    (void)state;
    static const char *const others[] = {"f.json.tmp", "f.json.gmoe-12345.tmp", "f.json.gmoe-12345g.tmp", "g.json.gmoe-123456.tmp",
                                         "f.json.gmoe-123456.tmp.old"};
    char directory[GM_PATH], path[GM_PATH], other[GM_PATH], draft[GM_PATH];
    struct stat info;
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "f.json"), GM_OK);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(gm_path_join(other, directory, others[i]), GM_OK);
        assert_int_equal(gm_file_write(other, "mine", 4), GM_OK);
    }
    snprintf(draft, sizeof draft, "%.4000s.gmoe-%06x.tmp", path, (unsigned)getpid() & 0xffffff); /* what the first try would be called */
    assert_int_equal(symlink("f.json.tmp", draft), 0);
    mode_t mask = umask(027);
    assert_int_equal(gm_file_replace(path, "first", 5), GM_OK);
    assert_int_equal(gm_file_replace(path, "second", 6), GM_OK);
    umask(mask);
    expect_text(path, "second");
    assert_true(stat(path, &info) == 0 && (info.st_mode & 07777) == 0640);
    assert_int_equal(unlink(draft), 0);
    assert_int_equal(gm_file_write(draft, "half", 4), GM_OK); /* a replacement that was broken off */
    assert_int_equal(gm_file_remove_drafts(path), GM_OK);
    assert_int_equal(access(draft, F_OK), -1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(gm_path_join(other, directory, others[i]), GM_OK);
        expect_text(other, "mine");
    }
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_long_name_is_replaced(void **state) {
    (void)state;
    char directory[GM_PATH], path[GM_PATH], name[251];
    gm_test_directory(directory);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(gm_path_join(path, directory, name), GM_OK);
    assert_int_equal(gm_file_replace(path, "text", 4), GM_OK);
    expect_text(path, "text");
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

/* A file that is read whole is held to the same as one that is read by lines. */
static void test_gzip_is_read_strictly(void **state) {
    (void)state;
    char directory[GM_PATH], path[GM_PATH], text[2000];
    size_t length;
    gm_buffer read = {0};
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i * i % 23);
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "t.json.gz"), GM_OK);
    unsigned char *member = gm_test_gzip(text, sizeof text, &length), *longer = malloc(length + 4);
    gm_test_write(directory, "t.json.gz", member, length);
    assert_int_equal(gm_file_read(&read, path, sizeof text, GM_USAGE), GM_OK);
    assert_true(read.length == sizeof text && memcmp(read.bytes, text, sizeof text) == 0);
    for (size_t cut = 0; cut < length; cut++) {
        gm_test_write(directory, "t.json.gz", member, cut);
        if (gm_file_read(&read, path, sizeof text, GM_USAGE) != GM_BAD_FILE) fail_msg("cut to %zu of %zu bytes, and read", cut, length);
    }
    assert_non_null(strstr(gm_error_text(), "t.json.gz: the gzip stream is cut short"));
    memcpy(longer, member, length);
    memcpy(longer + length, "junk", 4);
    gm_test_write(directory, "t.json.gz", longer, length + 4);
    assert_int_equal(gm_file_read(&read, path, sizeof text, GM_USAGE), GM_BAD_FILE);
    gm_test_write(directory, "t.json.gz", "{}", 2);
    assert_int_equal(gm_file_read(&read, path, sizeof text, GM_USAGE), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "is not a gzip file"));
    gm_buffer_free(&read);
    free(member);
    free(longer);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void run_out_of_memory(void) {
    gm_error(GM_NO_MEMORY, "out of memory: none");
    gm_out_of_memory();
}

static void break_promise(void) {
    gm_error(GM_NO_MEMORY, "out of memory: none");
    GM_CHECK(false, "%s", gm_error_text());
}

/* A kernel without memory is no mistake of ours, and a mistake is none of the machine's, whatever its text. */
static void test_ends(void **state) {
    (void)state;
    assert_int_equal(gm_test_status_of(run_out_of_memory), GM_NO_MEMORY);
    assert_int_equal(gm_test_status_of(break_promise), 256 + SIGABRT);
}

/* The vectors of XXH64's own implementation, seed 0; then every length and alignment sees every byte. */
static void test_hash(void **state) {
    (void)state;
    assert_true(gm_hash("", 0, 0) == 0xef46db3751d8e999u);
    assert_true(gm_hash("a", 1, 0) == 0xd24ec4f1a98c6e5bu);
    assert_true(gm_hash("abc", 3, 0) == 0x44bc2cf5ad770999u);
    assert_true(gm_hash("Nobody inspects the spammish repetition", 39, 0) == 0xfbcea83c8a378bf1u);
    unsigned char bytes[80] = {0};
    for (size_t length = 1; length <= 70; length++)
        for (size_t at = 0; at < length; at++) {
            const unsigned char *begin = bytes + length % 8;
            uint64_t before = gm_hash(begin, length, 7);
            bytes[length % 8 + at] ^= 1;
            assert_true(gm_hash(begin, length, 7) != before);
            bytes[length % 8 + at] ^= 1;
            assert_true(gm_hash(begin, length, 7) == before);
        }
}

static void test_same_file(void **state) {
    (void)state;
    char directory[4096], a[GM_PATH], b[GM_PATH];
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(a, directory, "a"), GM_OK);
    assert_int_equal(gm_path_join(b, directory, "../"), GM_OK);
    strcat(b, strrchr(directory, '/') + 1);
    strcat(b, "/./a");
    assert_true(gm_same_file(a, b)); /* not there yet */
    assert_int_equal(gm_file_write(a, "x", 1), GM_OK);
    assert_true(gm_same_file(a, b));
    assert_int_equal(gm_path_join(b, directory, "b"), GM_OK);
    assert_false(gm_same_file(a, b));
    assert_int_equal(link(a, b), 0);
    assert_true(gm_same_file(a, b));
    assert_int_equal(unlink(b), 0);
    assert_int_equal(symlink("a", b), 0);
    assert_true(gm_same_file(a, b));
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_vectors),
        cmocka_unit_test(test_random_permutation_and_moments),
        cmocka_unit_test(test_json_refuses),
        cmocka_unit_test(test_json_accepts),
        cmocka_unit_test(test_json_reader_values),
        cmocka_unit_test(test_numbers_round_trip),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_replace_spares_others),
        cmocka_unit_test(test_long_name_is_replaced),
        cmocka_unit_test(test_gzip_is_read_strictly),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_same_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
