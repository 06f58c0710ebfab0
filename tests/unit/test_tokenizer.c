/* Tokenizers against ids that the `tokenizers` package gave (scripts/oracle/make_tokenizer_goldens.py): five small ones
 * made for the purpose, small ones composed as those of known families are, and the real ones of the shared data where that
 * is there. */
#include "test_support.h"

#include "base/file.h"
#include "base/json.h"
#include "io/tokenizer/tokenizer.h"

#include <pthread.h>

#define GOLDEN "tests/golden/tokenizer/"

/* One text and what the package made of it. */
typedef struct golden_line {
    gm_buffer text, decoded;
    gm_ids ids, plain; /* without special tokens around */
} golden_line;

typedef struct golden {
    golden_line *lines;
    size_t count;
    char file[200];
    gm_ids front, back;
    size_t every; /* these are the texts 0, every, 2 every … */
} golden;

static void append_id(gm_ids *ids, int64_t id) {
    void *block = ids->ids;
    assert_int_equal(gm_grow(&block, &ids->capacity, ids->count + 1, sizeof *ids->ids), GM_OK);
    ids->ids = block;
    ids->ids[ids->count++] = (int32_t)id;
}

static void read_ids(gm_json_reader *reader, gm_ids *ids) {
    bool more;
    int64_t id;
    ids->count = 0;
    assert_int_equal(gm_json_open(reader, GM_JSON_ARRAY), GM_OK);
    while (gm_json_next(reader, &more) == GM_OK && more) {
        assert_int_equal(gm_json_read_integer(reader, &id), GM_OK);
        append_id(ids, id);
    }
}

static void copy_ids(gm_ids *to, const gm_ids *from) {
    for (size_t i = 0; i < from->count; i++) append_id(to, from->ids[i]);
}

static void read_line(golden *g, golden_line *line, gm_json_reader *reader) {
    bool more, has_ids = false, has_plain = false, has_decoded = false;
    assert_int_equal(gm_json_open(reader, GM_JSON_OBJECT), GM_OK);
    while (gm_json_next_member(reader, &more) == GM_OK && more) {
        char name[16];
        snprintf(name, sizeof name, "%s", gm_buffer_string(&reader->string));
        bool plain = strcmp(name, "plain") == 0, ids = strcmp(name, "ids") == 0;
        if (strcmp(name, "every") == 0) {
            int64_t every;
            assert_int_equal(gm_json_read_integer(reader, &every), GM_OK);
            g->every = (size_t)every;
            continue;
        }
        if (plain || ids || strcmp(name, "front") == 0 || strcmp(name, "back") == 0) {
            read_ids(reader, plain ? &line->plain : ids ? &line->ids : strcmp(name, "front") == 0 ? &g->front : &g->back);
            has_plain |= plain;
            has_ids |= ids;
            continue;
        }
        assert_int_equal(gm_json_read_string(reader), GM_OK);
        if (strcmp(name, "file") == 0) snprintf(g->file, sizeof g->file, "%s", gm_buffer_string(&reader->string));
        if (strcmp(name, "file") == 0) continue;
        gm_buffer *target = strcmp(name, "text") == 0 ? &line->text : &line->decoded;
        gm_buffer_append(target, gm_buffer_string(&reader->string), reader->string.length);
        has_decoded |= target == &line->decoded;
    }
    assert_int_equal(gm_json_finish(reader), GM_OK);
    if (!has_plain) copy_ids(&line->plain, &line->ids);
    if (has_ids && !has_decoded) gm_buffer_append(&line->decoded, gm_buffer_string(&line->text), line->text.length);
}

static void free_line(golden_line *line) {
    gm_buffer_free(&line->text);
    gm_buffer_free(&line->decoded);
    gm_ids_free(&line->ids);
    gm_ids_free(&line->plain);
    *line = (golden_line){0};
}

static void keep_every(golden *g) {
    for (size_t i = 0; i < g->count; i++) {
        golden_line line = g->lines[i];
        g->lines[i] = (golden_line){0};
        if (i % g->every == 0)
            g->lines[i / g->every] = line;
        else
            free_line(&line);
    }
    g->count = (g->count + g->every - 1) / g->every;
}

/* Reads a file of lines; `header` lines go to g itself, the others to g->lines in order. */
static void read_lines(golden *g, const char *path, size_t header) {
    gm_buffer file = {0};
    if (gm_file_read(&file, path, 1 << 24, GM_USAGE) != GM_OK) fail_msg("%s", gm_error_text());
    size_t number = 0;
    for (char *line = file.bytes, *end; *line; line = end + 1, number++) {
        end = strchr(line, '\n');
        gm_json_reader reader;
        golden_line ignored = {0};
        gm_json_reader_init(&reader, path, line, (size_t)(end - line));
        if (!g->lines) g->lines = calloc(2000, sizeof *g->lines);
        read_line(g, number < header ? &ignored : &g->lines[number - header], &reader);
        gm_json_reader_free(&reader);
        if (number + 1 == header) keep_every(g);
    }
    g->count = number - header;
    gm_buffer_free(&file);
}

static void golden_open(golden *g, const char *name) {
    char path[GM_PATH];
    *g = (golden){.every = 1};
    read_lines(g, GOLDEN "texts.jsonl", 0);
    size_t texts = g->count;
    snprintf(path, sizeof path, GOLDEN "%s.jsonl", name);
    read_lines(g, path, 1);
    assert_int_equal(g->count, (texts + g->every - 1) / g->every);
    assert_true(g->count >= 100);
}

static void golden_close(golden *g) {
    for (size_t i = 0; i < g->count; i++) free_line(&g->lines[i]);
    free(g->lines);
    gm_ids_free(&g->front);
    gm_ids_free(&g->back);
}

static bool same_ids(const gm_ids *a, const int32_t *ids, size_t count) {
    return a->count == count && (count == 0 || memcmp(a->ids, ids, count * sizeof *ids) == 0);
}

static void fail_line(const golden *g, size_t line, const char *what, const gm_ids *ids) {
    print_message("%s: line %zu: %s of \"%s\":", g->file, line + 1, what, gm_buffer_string(&g->lines[line].text));
    for (size_t i = 0; ids && i < ids->count; i++) print_message(" %d", ids->ids[i]);
    print_message("\n");
    fail();
}

/* False at the first difference; safe to call from threads. */
static bool check_line(const golden *g, const gm_tokenizer *tokenizer, size_t i, const char **what, gm_ids *ids) {
    const golden_line *line = &g->lines[i];
    const char *text = gm_buffer_string(&line->text);
    size_t length = line->text.length, around = g->front.count + g->back.count;
    *what = "ids";
    if (gm_tokenizer_encode(tokenizer, text, length, 0, ids) != GM_OK || !same_ids(ids, line->ids.ids, line->ids.count)) return false;
    gm_buffer decoded = {0};
    *what = "decoded text";
    bool same = gm_tokenizer_decode(tokenizer, ids->ids, ids->count, true, &decoded) == GM_OK && decoded.length == line->decoded.length &&
                memcmp(gm_buffer_string(&decoded), gm_buffer_string(&line->decoded), decoded.length) == 0;
    gm_buffer_free(&decoded);
    if (!same) return false;
    *what = "plain ids";
    if (gm_tokenizer_encode(tokenizer, text, length, GM_ENCODE_PLAIN, ids) != GM_OK || !same_ids(ids, line->plain.ids, line->plain.count))
        return false;
    *what = "ids with special tokens";
    if (gm_tokenizer_encode(tokenizer, text, length, GM_ENCODE_SPECIAL, ids) != GM_OK || ids->count != around + line->ids.count)
        return false;
    gm_ids front = {.ids = ids->ids, .count = g->front.count},
           back = {.ids = ids->ids + ids->count - g->back.count, .count = g->back.count};
    return same_ids(&front, g->front.ids, g->front.count) && same_ids(&back, g->back.ids, g->back.count);
}

static void check_all(const golden *g, const gm_tokenizer *tokenizer) {
    gm_ids ids = {0};
    const char *what;
    for (int round = 0; round < 2; round++) /* the second finds words in the cache */
        for (size_t i = 0; i < g->count; i++)
            if (!check_line(g, tokenizer, i, &what, &ids)) fail_line(g, i, what, &ids);
    gm_ids_free(&ids);
}

static gm_tokenizer *open_or_fail(const char *path) {
    gm_tokenizer *tokenizer;
    if (gm_tokenizer_open(&tokenizer, path) != GM_OK) fail_msg("%s", gm_error_text());
    return tokenizer;
}

static void test_made(void **state) {
    golden g;
    char path[GM_PATH];
    golden_open(&g, *state);
    snprintf(path, sizeof path, GOLDEN "%s", g.file);
    gm_tokenizer *tokenizer = open_or_fail(path);
    check_all(&g, tokenizer);
    gm_tokenizer_close(tokenizer);
    golden_close(&g);
}

static void expect_text(const gm_tokenizer *tokenizer, const int32_t *ids, size_t count, const char *expected) {
    gm_buffer text = {0};
    assert_int_equal(gm_tokenizer_decode(tokenizer, ids, count, false, &text), GM_OK);
    assert_string_equal(gm_buffer_string(&text), expected);
    gm_buffer_free(&text);
}

/* Ids that no text gives: a part of a character. Byte tokens become one U+FFFD each, byte-level ones as few as make sense. */
static void test_broken_characters(void **state) {
    (void)state;
    enum { BYTES = 3 }; /* id of <0x00> */
    const int32_t broken[] = {BYTES + 0xe2, BYTES + 0x82, BYTES + 'a'}, half[] = {BYTES + 0xc3, 1, BYTES + 0xa9},
                  whole[] = {BYTES + 0xc3, BYTES + 0xa9};
    gm_tokenizer *tokenizer = open_or_fail(GOLDEN "marks.tokenizer.json");
    expect_text(tokenizer, broken, 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect_text(tokenizer, half, 3, "\xef\xbf\xbd<s>\xef\xbf\xbd");
    expect_text(tokenizer, whole, 2, "é");
    gm_tokenizer_close(tokenizer);
    gm_ids ids = {0};
    tokenizer = open_or_fail(GOLDEN "bytes.tokenizer.json");
    assert_int_equal(gm_tokenizer_encode(tokenizer, "\xf0\x9f\xa4\x96", 4, 0, &ids), GM_OK);
    assert_true(ids.count >= 2);
    expect_text(tokenizer, ids.ids, 1, "\xef\xbf\xbd");
    gm_ids_free(&ids);
    gm_tokenizer_close(tokenizer);
}

/* What tokenizer_config.json beside it says; NULL for no such token. */
typedef struct shared_tokenizer {
    const char *name, *bos, *eos;
    int vocabulary;
} shared_tokenizer;

static void expect_token(const gm_tokenizer *tokenizer, int32_t id, const char *text) {
    if (text)
        assert_string_equal(gm_tokenizer_token(tokenizer, id), text);
    else
        assert_int_equal(id, -1);
}

static void test_shared(void **state) {
    const shared_tokenizer *shared = *state;
    golden g;
    char path[GM_PATH];
    golden_open(&g, shared->name);
    bool there = gm_test_shared(path, g.file);
    if (there) {
        gm_tokenizer *tokenizer = open_or_fail(path);
        check_all(&g, tokenizer);
        expect_token(tokenizer, gm_tokenizer_bos(tokenizer), shared->bos);
        expect_token(tokenizer, gm_tokenizer_eos(tokenizer), shared->eos);
        assert_int_equal(gm_tokenizer_vocabulary(tokenizer), shared->vocabulary);
        assert_null(gm_tokenizer_token(tokenizer, shared->vocabulary));
        assert_null(gm_tokenizer_token(tokenizer, -1));
        gm_tokenizer_close(tokenizer);
    }
    golden_close(&g);
    if (!there) skip();
}

typedef struct worker {
    const golden *g;
    const gm_tokenizer *tokenizer;
    size_t failed_line;
    pthread_t thread;
} worker;

static void *work(void *argument) {
    worker *w = argument;
    gm_ids ids = {0};
    const char *what;
    w->failed_line = SIZE_MAX;
    for (int round = 0; round < 3 && w->failed_line == SIZE_MAX; round++)
        for (size_t i = 0; i < w->g->count && w->failed_line == SIZE_MAX; i++)
            if (!check_line(w->g, w->tokenizer, i, &what, &ids)) w->failed_line = i;
    gm_ids_free(&ids);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    golden g;
    worker workers[4];
    golden_open(&g, "bytes");
    gm_tokenizer *tokenizer = open_or_fail(GOLDEN "bytes.tokenizer.json");
    for (int i = 0; i < 4; i++) {
        workers[i] = (worker){.g = &g, .tokenizer = tokenizer};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        if (workers[i].failed_line != SIZE_MAX) fail_line(&g, workers[i].failed_line, "a thread's work", NULL);
    }
    gm_tokenizer_close(tokenizer);
    golden_close(&g);
}

/* A megabyte of what would be quadratic in a careless implementation: the test's time limit catches it. */
static void test_long_texts(void **state) {
    (void)state;
    static const char *const repeated[] = {"a", " ", "e\xcc\x81\xcc\xa3", "\xcc\xa3\xcc\x81", "<|", "\n", "1", "日", "' "};
    static const char *const files[] = {GOLDEN "bytes.tokenizer.json", GOLDEN "marks.tokenizer.json", GOLDEN "mixed.tokenizer.json"};
    enum { MEGABYTE = 1000000 };
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        gm_tokenizer *tokenizer = open_or_fail(files[f]);
        for (size_t r = 0; r < sizeof repeated / sizeof *repeated; r++) {
            gm_buffer text = {0}, decoded = {0};
            gm_ids ids = {0};
            while (text.length < MEGABYTE) gm_buffer_text(&text, repeated[r]);
            gm_buffer_text(&text, "x");
            if (gm_tokenizer_encode(tokenizer, text.bytes, text.length, 0, &ids) != GM_OK) fail_msg("%s", gm_error_text());
            assert_true(ids.count > 0);
            if (f == 1) { /* its decoder gives every text back */
                assert_int_equal(gm_tokenizer_decode(tokenizer, ids.ids, ids.count, false, &decoded), GM_OK);
                assert_int_equal(decoded.length, text.length);
                assert_memory_equal(decoded.bytes, text.bytes, text.length);
            }
            gm_buffer_free(&text);
            gm_buffer_free(&decoded);
            gm_ids_free(&ids);
        }
        gm_tokenizer_close(tokenizer);
    }
}

static void test_bad_texts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t length;
        const char *offset;
    } bad[] = {
        {"\x80", 1, "byte 0"},
        {"abc\xff", 4, "byte 3"},
        {"abcdefgh\xc0\x80", 10, "byte 8"},
        {"é\xe2\x82", 4, "byte 2"},
        {"\xed\xa0\x80", 3, "byte 0"},
        {"\xf4\x90\x80\x80", 4, "byte 0"},
        {"a\xe0\x80\x80", 4, "byte 1"},
        {"\xf8\x88\x80\x80\x80", 5, "byte 0"},
    };
    gm_tokenizer *tokenizer = open_or_fail(GOLDEN "bytes.tokenizer.json");
    gm_ids ids = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(gm_tokenizer_encode(tokenizer, bad[i].text, bad[i].length, 0, &ids), GM_BAD_FILE);
        assert_non_null(strstr(gm_error_text(), bad[i].offset));
        assert_int_equal(ids.count, 0);
    }
    assert_int_equal(gm_tokenizer_encode(tokenizer, NULL, 0, GM_ENCODE_SPECIAL, &ids), GM_OK);
    assert_int_equal(ids.count, 1);
    assert_int_equal(ids.ids[0], gm_tokenizer_bos(tokenizer));
    assert_int_equal(gm_tokenizer_encode(tokenizer, "a\0b", 3, 0, &ids), GM_OK);
    assert_int_equal(ids.count, 3);
    static const int32_t unknown[][1] = {{-1}, {100000}, {INT32_MIN}, {INT32_MAX}};
    gm_buffer text = {0};
    gm_buffer_text(&text, "kept");
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(gm_tokenizer_decode(tokenizer, unknown[i], 1, false, &text), GM_BAD_FILE);
        assert_string_equal(gm_buffer_string(&text), "kept");
    }
    gm_buffer_free(&text);
    gm_ids_free(&ids);
    gm_tokenizer_close(tokenizer);
}

int main(void) {
    static shared_tokenizer gpt2 = {"gpt2", NULL, NULL, 50257}, llama2 = {"llama2", "<s>", "</s>", 32000},
                            llama3 = {"llama3", "<|begin_of_text|>", "<|eot_id|>", 128256}, qwen = {"qwen2.5", NULL, "<|im_end|>", 151665},
                            stories = {"stories260K", "<s>", "</s>", 512};
    const struct CMUnitTest tests[] = {
        {"bytes", test_made, NULL, NULL, "bytes"},
        {"marks", test_made, NULL, NULL, "marks"},
        {"mixed", test_made, NULL, NULL, "mixed"},
        {"holes", test_made, NULL, NULL, "holes"},
        {"crossing", test_made, NULL, NULL, "crossing"},
        {"gemma", test_made, NULL, NULL, "gemma"},
        {"yi", test_made, NULL, NULL, "yi"},
        {"phi3", test_made, NULL, NULL, "phi3"},
        {"mistral", test_made, NULL, NULL, "mistral"},
        {"smollm2", test_made, NULL, NULL, "smollm2"},
        {"starcoder", test_made, NULL, NULL, "starcoder"},
        {"deepseek", test_made, NULL, NULL, "deepseek"},
        {"deepseek_v3", test_made, NULL, NULL, "deepseek_v3"},
        {"falcon", test_made, NULL, NULL, "falcon"},
        {"neox", test_made, NULL, NULL, "neox"},
        {"bloom", test_made, NULL, NULL, "bloom"},
        {"cohere", test_made, NULL, NULL, "cohere"},
        {"tekken", test_made, NULL, NULL, "tekken"},
        {"o200k", test_made, NULL, NULL, "o200k"},
        {"olmo2", test_made, NULL, NULL, "olmo2"},
        {"clip", test_made, NULL, NULL, "clip"},
        {"gpt2", test_shared, NULL, NULL, &gpt2},
        {"llama2", test_shared, NULL, NULL, &llama2},
        {"llama3", test_shared, NULL, NULL, &llama3},
        {"qwen2.5", test_shared, NULL, NULL, &qwen},
        {"stories260K", test_shared, NULL, NULL, &stories},
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_broken_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
