/* Samples: where the prompt ends in the joint ids, what is cut, where EOS comes from. The tokenizer here is small
 * enough to know by heart; real ones are in test_datasets.c. */
#include "data_files.h"
#include "test_directory.h"

#include "data/sample.h"
#include "data/task.h"
#include "io/tokenizer/tokenizer.h"

#include <omp.h>

enum { BOS, EOS, A, B, C, SPACE, AB, SPACE_C, LESS, SLASH, S, MORE };

/* `front` and `back`: what the template puts around a text. */
static gm_tokenizer *small_tokenizer(bool front, bool back, const char *eos) {
    static const char head[] =
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":["
        "{\"id\":0,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true},"
        "{\"id\":1,\"content\":\"</s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],"
        "\"normalizer\":null,\"pre_tokenizer\":null,\"decoder\":null,\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
        "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"vocab\":{\"<s>\":0,\"<"
        "/s>\":1,"
        "\"a\":2,\"b\":3,\"c\":4,\" \":5,\"ab\":6,\" c\":7,\"<\":8,\"/\":9,\"s\":10,\">\":11},\"merges\":[[\"a\",\"b\"],[\" "
        "\",\"c\"]]},\"post_processor\":";
    static const char sequence[] = "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}";
    gm_buffer text = {0};
    gm_buffer_text(&text, head);
    gm_buffer_text(&text, "{\"type\":\"TemplateProcessing\",\"single\":[");
    if (front) gm_buffer_text(&text, "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},");
    gm_buffer_text(&text, sequence);
    if (back) gm_buffer_text(&text, ",{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}");
    gm_buffer_format(&text, "],\"pair\":[%s,{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{", sequence);
    gm_buffer_text(
        &text, "\"<s>\":{\"id\":\"<s>\",\"ids\":[0],\"tokens\":[\"<s>\"]},\"</s>\":{\"id\":\"</s>\",\"ids\":[1],\"tokens\":[\"</s>\"]}}}}");
    gm_test_write(directory, "tokenizer.json", text.bytes, text.length);
    gm_buffer_clear(&text);
    gm_buffer_format(&text, "{\"bos_token\":\"<s>\",\"eos_token\":\"%s\"}", eos);
    gm_test_write(directory, "tokenizer_config.json", text.bytes, text.length);
    gm_buffer_free(&text);
    gm_tokenizer *tokenizer;
    if (gm_tokenizer_open(&tokenizer, directory) != GM_OK) fail_msg("%s", gm_error_text());
    return tokenizer;
}

typedef struct gm_case {
    bool front, back, eos;
    int max_length;
    const char *prompt, *completion;
    int prompt_length; /* −1: refused */
    int length, ids[12];
    const char *message;
} gm_case;

static const gm_case cases[] = {
    {true, false, true, 99, "ab", " c", 2, 4, {BOS, AB, SPACE_C, EOS}, NULL},
    {true, false, false, 99, "ab", " c", 2, 3, {BOS, AB, SPACE_C}, NULL},
    {true, false, false, 99, "ab ", "c", 2, 3, {BOS, AB, SPACE_C}, NULL}, /* the space goes over to the completion */
    {true, false, false, 99, "b   ", " c", 2, 6, {BOS, B, SPACE, SPACE, SPACE, SPACE_C}, NULL},
    {true, false, true, 99, "a", "b", 2, 3, {BOS, AB, EOS}, NULL}, /* joint tokens: only EOS is past the prompt's two */
    {true, false, false, 99, "a", "b", -1, 0, {0}, "the completion \"b\" adds no token to its prompt"},
    {true, false, false, 99, "", "ab", 1, 2, {BOS, AB}, NULL},
    {false, false, false, 99, "", "abc", 0, 2, {AB, C}, NULL},
    {false, false, false, 99, "", "ab", -1, 0, {0}, "a single token"},
    {false, false, true, 99, "  ", "c", 0, 3, {SPACE, SPACE_C, EOS}, NULL},
    {true, true, true, 99, "ab", " c", 2, 4, {BOS, AB, SPACE_C, EOS}, NULL}, /* the template's EOS is not doubled */
    {true, true, false, 99, "ab", " c", 2, 3, {BOS, AB, SPACE_C}, NULL},     /* and left out of evaluation */
    {false, true, true, 99, "ab", "cc", 1, 4, {AB, C, C, EOS}, NULL},
    {true, false, true, 99, "</s>a", " c", 6, 8, {BOS, LESS, SLASH, S, MORE, A, SPACE_C, EOS}, NULL}, /* data is plain text */
    {true, false, false, 99, "a", "<s>", 2, 5, {BOS, A, LESS, S, MORE}, NULL},
    {true, false, true, 11, "aaaaaaaa", " c", 9, 11, {BOS, A, A, A, A, A, A, A, A, SPACE_C, EOS}, NULL},
    {true, false, true, 5, "baaaaaac", " c", 3, 5, {BOS, A, C, SPACE_C, EOS}, NULL},
    {true, false, true, 3, "baaaaaac", " c", 1, 3, {BOS, SPACE_C, EOS}, NULL},
    {true, false, true, 2, "baaaaaac", " c", -1, 0, {0}, "the completion takes 2 tokens and max_length is 2"},
    {false, false, true, 3, "baaaaaac", " c", 1, 3, {C, SPACE_C, EOS}, NULL},
    {false, false, true, 4, "", "abccc", -1, 0, {0}, "the completion takes 5 tokens and max_length is 4"},
};

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const gm_case *c = &cases[i];
        gm_tokenizer *tokenizer = small_tokenizer(c->front, c->back, "</s>");
        gm_region region = {0};
        gm_sample sample;
        gm_status status = gm_sample_encode(&sample, tokenizer, c->prompt, c->completion, c->eos, c->max_length, &region);
        if (c->prompt_length < 0) {
            if (status != GM_BAD_FILE || !strstr(gm_error_text(), c->message)) fail_msg("case %zu: %d \"%s\"", i, status, gm_error_text());
        } else {
            if (status != GM_OK) fail_msg("case %zu: %s", i, gm_error_text());
            bool same = sample.length == c->length && sample.prompt_length == c->prompt_length;
            for (int k = 0; same && k < c->length; k++) same = sample.ids[k] == c->ids[k];
            if (!same) fail_msg("case %zu: %d ids, %d of the prompt", i, sample.length, sample.prompt_length);
            assert_int_equal(sample.cut, c->max_length == c->length && c->length < 11);
        }
        gm_region_free(&region);
        gm_tokenizer_close(tokenizer);
    }
}

/* GPT-2's way: one token begins and ends a text. The template's single one is the beginning. */
static void test_bos_is_eos(void **state) {
    (void)state;
    gm_tokenizer *tokenizer = small_tokenizer(true, false, "<s>");
    gm_region region = {0};
    gm_sample sample;
    assert_int_equal(gm_sample_encode(&sample, tokenizer, "ab", " c", true, 99, &region), GM_OK);
    assert_true(sample.length == 4 && sample.prompt_length == 2);
    assert_memory_equal(sample.ids, ((int32_t[]){BOS, AB, SPACE_C, BOS}), 4 * sizeof(int32_t));
    gm_region_free(&region);
    gm_tokenizer_close(tokenizer);
}

static void test_set_names_the_line(void **state) {
    (void)state;
    static const char lines[] = "{\"prompt\":\"ab\",\"completion\":\" c\"}\n\n{\"prompt\":\"aaaaaaa\",\"completion\":\" "
                                "c\"}\n{\"prompt\":\"a\",\"completion\":\"cccc\"}\n";
    gm_test_write(directory, "train.jsonl", lines, sizeof lines - 1);
    gm_tokenizer *tokenizer = small_tokenizer(true, false, "</s>");
    gm_task *task;
    gm_item_set set;
    gm_region region = {0};
    gm_sample samples[3];
    int64_t cut;
    assert_int_equal(gm_task_open(&task, "jsonl"), GM_OK);
    assert_int_equal(gm_task_load(task, directory, "train", "paper", false, &set), GM_OK);
    assert_int_equal(gm_sample_encode_set(samples, &cut, tokenizer, NULL, &set, true, 7, &region), GM_OK);
    assert_int_equal(cut, 1);
    assert_int_equal(gm_sample_encode_set(samples, &cut, tokenizer, NULL, &set, true, 5, &region), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "train.jsonl: line 4: the completion takes 5 tokens"));
    gm_region_free(&region);
    gm_item_set_free(&set);
    gm_task_close(task);
    gm_tokenizer_close(tokenizer);
}

/* Many samples of many lengths are the same from one thread and from several, and so is the first bad line. */
static void test_threads(void **state) {
    (void)state;
    enum { LINES = 500, BAD = 441 };
    gm_buffer lines = {0};
    for (int i = 0; i < LINES; i++)
        gm_buffer_format(&lines, "{\"prompt\":\"%.*s\",\"completion\":\"%.*s\"}\n", 1 + i % 13, "abcabcababcbc",
                         i == BAD || i == LINES - 1 ? 9 : 1 + i % 3, "cbacbacba");
    gm_test_write(directory, "train.jsonl", lines.bytes, lines.length);
    gm_buffer_free(&lines);
    gm_tokenizer *tokenizer = small_tokenizer(true, false, "</s>");
    gm_task *task;
    gm_item_set set;
    gm_region region = {0};
    static gm_sample one[LINES], more[LINES];
    int64_t cut_by_one, cut;
    int most = omp_get_max_threads();
    assert_int_equal(gm_task_open(&task, "jsonl"), GM_OK);
    assert_int_equal(gm_task_load(task, directory, "train", "paper", false, &set), GM_OK);
    omp_set_num_threads(1);
    assert_int_equal(gm_sample_encode_set(one, &cut_by_one, tokenizer, NULL, &set, true, 11, &region), GM_OK);
    assert_true(cut_by_one > 0 && cut_by_one < LINES);
    for (int threads = 2; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        assert_int_equal(gm_sample_encode_set(more, &cut, tokenizer, NULL, &set, true, 11, &region), GM_OK);
        assert_int_equal(cut, cut_by_one);
        for (int i = 0; i < LINES; i++) {
            assert_true(more[i].length == one[i].length && more[i].prompt_length == one[i].prompt_length && more[i].cut == one[i].cut);
            assert_memory_equal(more[i].ids, one[i].ids, (size_t)one[i].length * sizeof *one[i].ids);
        }
        assert_int_equal(gm_sample_encode_set(more, &cut, tokenizer, NULL, &set, true, 9, &region), GM_BAD_FILE);
        assert_non_null(strstr(gm_error_text(), "train.jsonl: line 442: "));
    }
    omp_set_num_threads(most);
    gm_region_free(&region);
    gm_item_set_free(&set);
    gm_task_close(task);
    gm_tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_bos_is_eos),
                                       cmocka_unit_test(test_set_names_the_line), cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
