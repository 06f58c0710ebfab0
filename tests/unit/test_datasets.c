/* The publishers' own files, whole: counts, first prompts word for word, and a checksum over every item of every split.
 * The checksums were taken once when all items agreed with an independent rendering in Python. Skipped where the shared data
 * is absent. */
#include "data_files.h"

#include "data/order.h"
#include "data/packing.h"
#include "data/task.h"
#include "io/tokenizer/tokenizer.h"

typedef struct gm_known_split {
    const char *task, *split, *prompt;
    size_t count;
    uint32_t checksum;
} gm_known_split;

static const gm_known_split known_splits[] = {
    {"arc-c", "train", "paper", 1119, 0x4359b7be},      {"arc-c", "train", "lm-eval", 1119, 0x9293b694},
    {"arc-c", "validation", "paper", 299, 0x9880d779},  {"arc-c", "validation", "lm-eval", 299, 0x216fd67f},
    {"arc-c", "test", "paper", 1172, 0xfd8c6532},       {"arc-c", "test", "lm-eval", 1172, 0x0997c6d3},
    {"arc-e", "train", "paper", 2251, 0x88b321ef},      {"arc-e", "train", "lm-eval", 2251, 0x0ba48856},
    {"arc-e", "validation", "paper", 570, 0x064efa45},  {"arc-e", "validation", "lm-eval", 570, 0xc533f680},
    {"arc-e", "test", "paper", 2376, 0x475227c2},       {"arc-e", "test", "lm-eval", 2376, 0x683b468d},
    {"obqa", "train", "paper", 4957, 0x5e38dbcd},       {"obqa", "train", "lm-eval", 4957, 0x6de003d1},
    {"obqa", "validation", "paper", 500, 0x594797f5},   {"obqa", "validation", "lm-eval", 500, 0xa3fbb22b},
    {"obqa", "test", "paper", 500, 0x61d8da15},         {"obqa", "test", "lm-eval", 500, 0x3f1fc36e},
    {"boolq", "train", "paper", 9427, 0xb31d273d},      {"boolq", "train", "lm-eval", 9427, 0x1cdcd7b0},
    {"boolq", "validation", "paper", 3270, 0x92e2772e}, {"boolq", "validation", "lm-eval", 3270, 0x5e53c7fb},
    {"boolq", "test", "paper", 3270, 0x92e2772e},       {"boolq", "test", "lm-eval", 3270, 0x5e53c7fb},
    {"siqa", "train", "paper", 33410, 0x506f9826},      {"siqa", "train", "lm-eval", 33410, 0x269414f9},
    {"siqa", "validation", "paper", 1954, 0xbbdeb3cd},  {"siqa", "validation", "lm-eval", 1954, 0xaa180d8a},
    {"siqa", "test", "paper", 1954, 0xbbdeb3cd},        {"siqa", "test", "lm-eval", 1954, 0xaa180d8a},
    {"sst2", "train", "paper", 67349, 0x914d0145},      {"sst2", "validation", "paper", 872, 0xaf6ad3c3},
    {"sst2", "test", "paper", 1821, 0x81163cf8},
};

static gm_status load(const char *name, const char *data_dir, const char *split, const char *prompt, gm_item_set *set) {
    gm_task *task;
    if (gm_task_open(&task, name) != GM_OK) fail_msg("%s", gm_error_text());
    gm_status status = gm_task_load(task, data_dir, split, prompt, false, set);
    gm_task_close(task);
    return status;
}

static void test_every_split(void **state) {
    (void)state;
    char data[GM_PATH];
    assert_true(gm_test_shared(data, "data/datasets"));
    for (size_t i = 0; i < sizeof known_splits / sizeof *known_splits; i++) {
        const gm_known_split *known = &known_splits[i];
        gm_item_set set;
        if (load(known->task, data, known->split, known->prompt, &set) != GM_OK) fail_msg("%s", gm_error_text());
        if (set.count != known->count || set.with_choices != known->count || set.checksum != known->checksum || set.skipped)
            fail_msg("%s %s %s: %zu items, checksum %08x", known->task, known->split, known->prompt, set.count, (unsigned)set.checksum);
        for (size_t j = 0; j < set.count; j++) {
            const gm_item *item = &set.items[j];
            assert_true(item->answer >= 0 && item->answer < item->choice_count && item->choice_count >= 2 && item->choice_count <= 5);
            assert_string_equal(item->completion, item->choices[item->answer]);
            assert_true(item->choices[0][0] == ' ' && !item->prompts);
        }
        gm_item_set_free(&set);
    }
}

/* Derived by hand from lm-eval.md and the files' lines. */
static const struct {
    const char *task, *split, *prompt;
    size_t index;
    const char *text, *choices[5];
    int answer;
} known_items[] = {
    {"arc-c",
     "validation",
     "paper",
     1,
     "Please choose the correct answer to the question: High-pressure systems stop air from rising into the colder regions of the "
     "atmosphere where water can "
     "condense. What will most likely result if a high-pressure system remains in an area for a long period of time? (A) fog (B) rain (C) "
     "drought (D) tornado\n"
     "Answer:",
     {" A", " B", " C", " D"},
     2},
    {"arc-e",
     "validation",
     "paper",
     0,
     "Please choose the correct answer to the question: Which technology was developed most recently? (A) cellular telephone (B) "
     "television (C) refrigerator "
     "(D) airplane\nAnswer:",
     {" A", " B", " C", " D"},
     0},
    {"arc-e",
     "validation",
     "lm-eval",
     0,
     "Question: Which technology was developed most recently?\nAnswer:",
     {" cellular telephone", " television", " refrigerator", " airplane"},
     0},
    {"obqa",
     "validation",
     "paper",
     1,
     "Please choose the correct answer to the question: Gas can fill any container it is given, and liquid (A) is standard weight and size "
     "(B) is the opposite of "
     "variable (C) only needs a few (D) uses what it needs\nAnswer:",
     {" A", " B", " C", " D"},
     3},
    {"obqa",
     "test",
     "lm-eval",
     1,
     "There is most likely going to be fog around:",
     {" a marsh", " a tundra", " the plains", " a desert"},
     0},
    {"boolq",
     "test",
     "paper",
     0,
     "Please answer the following question with true or false: does ethanol take more energy make that produces?\nAnswer:",
     {" true", " false"},
     1},
    {"boolq",
     "train",
     "lm-eval",
     0,
     "Persian language -- Persian (/ˈpɜːrʒən, -ʃən/), also known by its endonym Farsi (فارسی fārsi (fɒːɾˈsiː) ( listen)), is one of the "
     "Western Iranian "
     "languages within the Indo-Iranian branch of the Indo-European language family. It is primarily spoken in Iran, Afghanistan "
     "(officially known as Dari since "
     "1958), and Tajikistan (officially known as Tajiki since the Soviet era), and some other regions which historically were Persianate "
     "societies and considered "
     "part of Greater Iran. It is written in the Persian alphabet, a modified variant of the Arabic script, which itself evolved from the "
     "Aramaic alphabet.\n"
     "Question: do iran and afghanistan speak the same language?\nAnswer:",
     {" no", " yes"},
     1},
    {"siqa",
     "validation",
     "paper",
     0,
     "Please choose the correct answer to the question.\nQuestion: Tracy didn't go home that evening and resisted Riley's attacks. What "
     "does Tracy need to do before "
     "this?\n(A) make a new plan\n(B) Go home and see Riley\n(C) Find somewhere to go\nAnswer:",
     {" A", " B", " C"},
     2},
    {"siqa",
     "test",
     "lm-eval",
     0,
     "Q: Tracy didn't go home that evening and resisted Riley's attacks. What does Tracy need to do before this?\nA:",
     {" make a new plan", " Go home and see Riley", " Find somewhere to go"},
     2},
    {"sst2",
     "validation",
     "paper",
     0,
     "it 's a charming and often affecting journey . \nQuestion: Is this sentence positive or negative?\nAnswer:",
     {" negative", " positive"},
     1},
    {"sst2",
     "train",
     "lm-eval",
     0,
     "hide new secretions from the parental units \nQuestion: Is this sentence positive or negative?\nAnswer:",
     {" negative", " positive"},
     0},
};

static void test_prompts_word_for_word(void **state) {
    (void)state;
    char data[GM_PATH];
    assert_true(gm_test_shared(data, "data/datasets"));
    for (size_t i = 0; i < sizeof known_items / sizeof *known_items; i++) {
        gm_item_set set;
        if (load(known_items[i].task, data, known_items[i].split, known_items[i].prompt, &set) != GM_OK) fail_msg("%s", gm_error_text());
        const gm_item *item = &set.items[known_items[i].index];
        assert_string_equal(item->prompt, known_items[i].text);
        assert_int_equal(item->answer, known_items[i].answer);
        for (int c = 0; c < item->choice_count; c++) assert_string_equal(item->choices[c], known_items[i].choices[c]);
        assert_true(item->choice_count == 5 || !known_items[i].choices[item->choice_count]);
        gm_item_set_free(&set);
    }
}

static void test_golden_jsonl(void **state) {
    (void)state;
    char data[GM_PATH];
    if (!gm_test_shared(data, "golden/llama-gmoe")) skip();
    gm_item_set set;
    assert_int_equal(load("jsonl", data, "train", "paper", &set), GM_OK);
    assert_true(set.count == 40 && set.with_choices == 40 && set.items[39].line == 40);
    assert_string_equal(set.items[0].completion, " B");
    gm_item_set_free(&set);
    assert_int_equal(load("jsonl", data, "test", "paper", &set), GM_OK);
    assert_int_equal(set.count, 24);
    gm_item_set_free(&set);
    assert_int_equal(load("jsonl", data, "validation", "paper", &set), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "the split validation of jsonl is not there: looked for validation.jsonl"));
}

/* The ten steps of the shared golden: batches of 6 in the file's order, EOS appended, loss on the answers. PyTorch counted. */
static void test_golden_loss_tokens(void **state) {
    (void)state;
    static const int32_t expected[10] = {16, 17, 16, 15, 17, 17, 11, 16, 17, 16};
    char path[GM_PATH], base[GM_PATH];
    if (!gm_test_shared(path, "golden/llama-gmoe") || !gm_test_shared(base, "golden/llama-gmoe/base")) skip();
    gm_tokenizer *tokenizer;
    gm_task *task;
    gm_item_set set;
    gm_order order;
    gm_region region = {0};
    gm_pack pack = {0};
    gm_sample samples[40];
    int64_t cut;
    assert_int_equal(gm_tokenizer_open(&tokenizer, base), GM_OK);
    assert_int_equal(gm_task_open(&task, "jsonl"), GM_OK);
    assert_int_equal(gm_task_load(task, path, "train", "paper", false, &set), GM_OK);
    assert_int_equal(gm_sample_encode_set(samples, &cut, tokenizer, NULL, &set, gm_task_append_eos(task), 4096, &region), GM_OK);
    assert_int_equal(gm_order_init(&order, (uint32_t)set.count, 6, 1, GM_SHUFFLE_NEVER), GM_OK);
    for (int64_t step = 0; step < 10; step++) {
        uint32_t count;
        const uint32_t *indices = gm_order_batch(&order, step, &count);
        gm_pack_clear(&pack);
        for (uint32_t i = 0; i < count; i++) assert_int_equal(gm_pack_add(&pack, &samples[indices[i]], false), GM_OK);
        assert_int_equal(pack.loss_rows, expected[step]);
    }
    gm_pack_free(&pack);
    gm_order_free(&order);
    gm_region_free(&region);
    gm_item_set_free(&set);
    gm_task_close(task);
    gm_tokenizer_close(tokenizer);
}

/* Ids from the `tokenizers` package, by the same rule in Python. */
static void test_real_tokenizers(void **state) {
    (void)state;
    static const struct {
        const char *name, *prompt, *completion;
        int prompt_length, length, ids[24];
    } known[] = {
        {"llama2", "Question: is it?\nAnswer:", " yes", 9, 10, {1, 894, 29901, 338, 372, 29973, 13, 22550, 29901, 4874}},
        {"llama2", "Question: is it? \n", "yes", 6, 9, {1, 894, 29901, 338, 372, 29973, 29871, 13, 3582}},
        {"llama2", "a </s> b", "<|endoftext|>", 6, 13, {1, 263, 1533, 29879, 29958, 289, 29966, 29989, 355, 974, 726, 29989, 29958}},
        {"llama3", "Question: is it?\nAnswer:", " yes", 8, 9, {128000, 14924, 25, 374, 433, 5380, 16533, 25, 10035}},
        {"llama3", "Question: is it? \n", "yes", 6, 8, {128000, 14924, 25, 374, 433, 30, 720, 9891}},
        {"llama3", "a </s> b", "<|endoftext|>", 6, 13, {128000, 64, 694, 82, 29, 293, 27, 91, 8862, 728, 428, 91, 29}},
        {"qwen2.5", "Question: is it?\nAnswer:", " yes", 7, 8, {14582, 25, 374, 432, 5267, 16141, 25, 9834}},
        {"qwen2.5", "Question: is it? \n", "yes", 5, 7, {14582, 25, 374, 432, 30, 715, 9693}},
        {"qwen2.5", "a </s> b", "<|endoftext|>", 5, 12, {64, 690, 82, 29, 293, 27, 91, 8691, 723, 427, 91, 29}},
        {"gpt2", "Question: is it?\nAnswer:", " yes", 8, 9, {24361, 25, 318, 340, 30, 198, 33706, 25, 3763}},
        {"gpt2", "Question: is it? \n", "yes", 5, 8, {24361, 25, 318, 340, 30, 220, 198, 8505}},
        {"gpt2", "a </s> b", "<|endoftext|>", 5, 12, {64, 7359, 82, 29, 275, 27, 91, 437, 1659, 5239, 91, 29}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char name[64], path[GM_PATH];
        gm_tokenizer *tokenizer;
        gm_region region = {0};
        gm_sample sample;
        snprintf(name, sizeof name, "data/tokenizers/%s", known[i].name);
        if (!gm_test_shared(path, name)) skip();
        if (gm_tokenizer_open(&tokenizer, path) != GM_OK) fail_msg("%s", gm_error_text());
        if (gm_sample_encode(&sample, tokenizer, known[i].prompt, known[i].completion, false, 100, &region) != GM_OK)
            fail_msg("%s", gm_error_text());
        if (sample.length != known[i].length || sample.prompt_length != known[i].prompt_length)
            fail_msg("case %zu: %d ids, %d of the prompt", i, sample.length, sample.prompt_length);
        for (int k = 0; k < sample.length; k++) assert_int_equal(sample.ids[k], known[i].ids[k]);
        gm_region_free(&region);
        gm_tokenizer_close(tokenizer);
    }
}

int main(void) {
    char data[GM_PATH];
    if (!gm_test_shared(data, "data/datasets")) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),        cmocka_unit_test(test_prompts_word_for_word), cmocka_unit_test(test_golden_jsonl),
        cmocka_unit_test(test_golden_loss_tokens), cmocka_unit_test(test_real_tokenizers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
