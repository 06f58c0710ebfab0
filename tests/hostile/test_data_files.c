/* Hostile data files: every case is a file written here, what is wrong with it, and what the message must name. */
#include "data_files.h"
#include "test_directory.h"

#include "base/log.h"
#include "data/task.h"

static gm_status load(const char *name, const char *split, const char *prompt, bool skip_bad, gm_item_set *set) {
    gm_task *task;
    if (gm_task_open(&task, name) != GM_OK) fail_msg("%s", gm_error_text());
    gm_status status = gm_task_load(task, directory, split, prompt, skip_bad, set);
    gm_task_close(task);
    return status;
}

#define ARC(choices, key) "{\"question\":{\"stem\":\"s\",\"choices\":" choices "},\"answerKey\":" key "}"
#define AB "[{\"text\":\"a\",\"label\":\"A\"},{\"text\":\"b\",\"label\":\"B\"}]"
#define GOOD_ARC ARC(AB, "\"A\"")
#define ARC_FILE "ARC-Challenge-Train.jsonl"
#define TEXT(text) text, sizeof(text) - 1

/* `line`: the number the message must name; 0: none. A case is skippable where a good line beside it still loads. */
static const struct {
    const char *task, *file, *text;
    size_t length;
    int line;
    bool skippable;
    const char *message;
} cases[] = {
    {"arc-c", ARC_FILE, TEXT(""), 0, false, "holds no item"},
    {"arc-c", ARC_FILE, TEXT("\n \n\t\n"), 0, false, "holds no item"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{"), 2, true, ""},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n\n\n" GOOD_ARC " x\n"), 4, true, ""},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\r\n[1]\r\n"), 2, true, "must be a JSON object"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\nnull\n"), 2, true, "must be a JSON object"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n\xef\xbb\xbf" GOOD_ARC), 2, true, "byte order mark"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"question\":\"\xff\"}"), 2, true, "UTF-8"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"question\":\"\xed\xa0\x80\"}"), 2, true, "UTF-8"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"question\":\"a\0b\"}"), 2, true, ""},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"question\":\"a\\u0000b\"}"), 2, true, "NUL"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"question\":\"\\ud800\"}"), 2, true, ""},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"a\":1,\"a\":1}"), 2, true, "twice"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"answerKey\":\"A\"}"), 2, true, "no field question.stem or question"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"question\":{\"choices\":" AB "},\"answerKey\":\"A\"}"), 2, true,
     "no string question.stem or question: question is an object"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"question\":7,\"answerKey\":\"A\"}"), 2, true, "question is a number"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n{\"question\":\"s\",\"answerKey\":\"A\"}"), 2, true,
     "no field question.choices[].text or choices.text[]"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC("{}", "\"A\"")), 2, true, "an object where an array should be"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC("[]", "\"A\"")), 2, true, "the list of choices is empty"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC("[{\"text\":1,\"label\":\"A\"}]", "\"A\"")), 2, true,
     "element 0: a number where a string should be"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC("[{\"text\":\"a\",\"label\":\"A\"},{\"text\":\"b\"}]", "\"A\"")), 2, true,
     "element 1: nothing where a string should be"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC("[\"a\",\"b\"]", "\"A\"")), 2, true, "nothing where a string should be"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC("[{\"text\":\"a\",\"label\":\"A\"},{\"text\":\"b\",\"label\":\"A\"}]", "\"A\"")), 2, true,
     "the label \"A\" stands twice"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC(AB, "\"C\"")), 2, true, "the answer \"C\" is none of A, B"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC(AB, "\"\"")), 2, true, "the answer \"\" is none of A, B"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC(AB, "1.5")), 2, true, "answerKey: neither a string"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC(AB, "[\"A\"]")), 2, true, "answerKey: neither a string"},
    {"arc-c", ARC_FILE, TEXT(GOOD_ARC "\n" ARC(AB, "null")), 2, true, "no field answerKey"},
    {"arc-c", ARC_FILE, TEXT("{\"question\":\"s\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"A\"]},\"answerKey\":\"A\"}\n" GOOD_ARC),
     1, true, "1 labels for 2 choices"},
    {"arc-c", ARC_FILE, TEXT(ARC(AB, "null") "\n" GOOD_ARC), 1, false, "the split train is published without labels"},
    {"boolq", "train.jsonl", TEXT("{\"question\":\"q\",\"answer\":true}\n{\"question\":\"q\",\"answer\":\"yes\"}"), 2, true,
     "the answer \"yes\" is none of true, false"},
    {"boolq", "train.jsonl", TEXT("{\"question\":\"q\",\"answer\":true}\n{\"question\":\"q\",\"answer\":1}"), 2, true,
     "the answer \"1\" is none of true, false"},
    {"boolq", "train.jsonl", TEXT("{\"question\":\"q\",\"answer\":true}\n{\"question\":[],\"answer\":true}"), 2, true,
     "question: an array where a string should be"},
    {"sst2", "train.tsv", TEXT(""), 0, false, "is empty"},
    {"sst2", "train.tsv", TEXT("sentence\tlabel\n"), 0, false, "holds no item"},
    {"sst2", "train.tsv", TEXT("sentence\tlabel\tlabel\na\t1\t1\n"), 1, false, "the column \"label\" stands twice"},
    {"sst2", "train.tsv", TEXT("sent\xff\tlabel\na\t1\n"), 1, false, "is not UTF-8"},
    {"sst2", "train.tsv", TEXT("text\tlabel\na\t1\n"), 2, false, "no field sentence"},
    {"sst2", "train.tsv", TEXT("index\tsentence\n0\ta\n"), 2, false, "no label: the split train is published without labels"},
    {"sst2", "train.tsv", TEXT("sentence\tlabel\nb\t0\na\t2\n"), 3, true, "the answer \"2\" is none of 0, 1"},
    {"sst2", "train.tsv", TEXT("sentence\tlabel\nb\t0\na\n"), 3, true, "1 columns where the header has 2"},
    {"sst2", "train.tsv", TEXT("sentence\tlabel\nb\t0\na\t1\tx\n"), 3, true, "3 columns where the header has 2"},
    {"sst2", "train.tsv", TEXT("sentence\tlabel\nb\t0\n\xc3\t1\n"), 3, true, "is not UTF-8"},
    {"sst2", "train.tsv", TEXT("sentence\tlabel\nb\t0\na\0\t1\n"), 3, true, "holds a NUL byte"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":\"p\"}"), 2, true, "no field completion"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":\"p\",\"completion\":\"\"}"), 2, true,
     "completion: is empty"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"completion\":\"c\"}"), 2, true, "no field prompt"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":1,\"completion\":\"c\"}"), 2, true,
     "prompt: a number where a string should be"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":\"p\",\"completion\":true}"), 2, true,
     "completion: true or false where a string"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":\"p\",\"choices\":[\"a\"],\"completion\":\"a\"}"),
     2, true, "no field answer"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"choices\":[\"a\",\"b\"],\"answer\":2}\n{\"prompt\":\"p\",\"completion\":\"c\"}"), 1,
     true, "answer: \"2\" is no index of 2 choices"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"choices\":[\"a\",\"b\"],\"answer\":-1}\n{\"prompt\":\"p\",\"completion\":\"c\"}"), 1,
     true, "answer: \"-1\" is no index"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"choices\":[\"a\",\"\"],\"answer\":0}\n{\"prompt\":\"p\",\"completion\":\"c\"}"), 1,
     true, "choice 1 is empty"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"choices\":[],\"answer\":0}\n{\"prompt\":\"p\",\"completion\":\"c\"}"), 1, true,
     "the list of choices is empty"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"choices\":\"ab\",\"answer\":0}\n{\"prompt\":\"p\",\"completion\":\"c\"}"), 1, true,
     "choices[]: a string where an array should be"},
    {"jsonl", "train.jsonl", TEXT("{\"prompt\":\"p\",\"choices\":[1,2],\"answer\":0}\n{\"prompt\":\"p\",\"completion\":\"c\"}"), 1, true,
     "element 0: a number"},
    {"siqa", "train.jsonl",
     TEXT("{\"context\":\"c\",\"question\":\"q\",\"answerA\":\"a\",\"answerB\":\"b\",\"answerC\":\"c\",\"label\":\"0\"}\n"
          "{\"context\":\"c\",\"question\":\"q\",\"answerA\":\"a\",\"answerB\":\"b\",\"answerC\":\"c\",\"label\":\"1\"}\n"),
     1, true, "the answer \"0\" is none of 1, 2, 3"},
    {"siqa", "train.jsonl",
     TEXT("{\"context\":\"c\",\"question\":\"q\",\"answerA\":\"a\",\"answerB\":\"b\",\"label\":\"1\"}\n"
          "{\"context\":\"c\",\"question\":\"q\",\"answerA\":\"a\",\"answerB\":\"b\",\"answerC\":\"c\",\"label\":\"1\"}\n"),
     1, true, "no field answerC"},
};

static void expect_fault(size_t index, gm_status status, int line) {
    const char *message = gm_error_text();
    char place[32];
    snprintf(place, sizeof place, ": line %d: ", line);
    if (status != GM_BAD_FILE || !strstr(message, cases[index].message) || !strstr(message, cases[index].file) ||
        (line && !strstr(message, place)))
        fail_msg("case %zu: status %d, \"%s\" lacks \"%s\" or line %d", index, status, message, cases[index].message, line);
}

static void test_bad_lines(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int packed = 0; packed < 2; packed++) {
            char name[64], path[GM_PATH];
            snprintf(name, sizeof name, "%s%s", cases[i].file, packed ? ".gz" : "");
            if (packed)
                gm_test_write_gzip(directory, name, cases[i].text, cases[i].length);
            else
                gm_test_write(directory, name, cases[i].text, cases[i].length);
            gm_item_set set;
            expect_fault(i, load(cases[i].task, "train", "paper", false, &set), cases[i].line);
            assert_true(set.count == 0 && !set.items);
            gm_status status = load(cases[i].task, "train", "paper", true, &set);
            if (!cases[i].skippable)
                expect_fault(i, status, cases[i].line);
            else if (status != GM_OK || set.count != 1 || set.skipped != 1)
                fail_msg("case %zu: %zu items, %d skipped", i, set.count, (int)set.skipped);
            gm_item_set_free(&set);
            assert_int_equal(gm_path_join(path, directory, name), GM_OK);
            unlink(path);
        }
    }
}

/* A separate file of answers: it must fit the data line by line. */
static void test_answer_files(void **state) {
    (void)state;
#define SIQA "{\"context\":\"c\",\"question\":\"q\",\"answerA\":\"a\",\"answerB\":\"b\",\"answerC\":\"c\"}\n"
    static const struct {
        const char *data, *answers, *message;
    } bad[] = {
        {SIQA SIQA, "1\n", "train-labels.lst: line 1: has fewer lines than"},
        {SIQA, "1\n2\n", "train-labels.lst: line 2: has more lines than"},
        {SIQA SIQA, "", "train-labels.lst: line 0: has fewer lines than"},
        {SIQA SIQA, "1\n4\n", "train.jsonl: line 2: the answer \"4\" ("},
        {SIQA SIQA, "1\n4\n", "train-labels.lst, line 2) is none of 1, 2, 3"},
        {SIQA SIQA, "1\nA\n", "the answer \"A\""},
        {SIQA SIQA, "1\n\xff\n", "train-labels.lst, line 2)"},
    };
    gm_item_set set;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gm_test_write(directory, "train.jsonl", bad[i].data, strlen(bad[i].data));
        gm_test_write(directory, "train-labels.lst", bad[i].answers, strlen(bad[i].answers));
        gm_status status = load("siqa", "train", "paper", false, &set);
        if (status != GM_BAD_FILE || !strstr(gm_error_text(), bad[i].message)) fail_msg("case %zu: %d \"%s\"", i, status, gm_error_text());
    }
    gm_test_write(directory, "train.jsonl", TEXT(SIQA "{broken\n\n" SIQA)); /* a skipped line takes its answer with it */
    gm_test_write(directory, "train-labels.lst", TEXT(" 1 \r\n2\r\n3"));
    assert_int_equal(load("siqa", "train", "paper", true, &set), GM_OK);
    assert_true(set.count == 2 && set.skipped == 1 && set.items[0].answer == 0 && set.items[1].answer == 2 && set.items[1].line == 4);
    gm_item_set_free(&set);
}

/* GLUE's own test.tsv is not labelled; shared/data's is. */
static void test_unlabelled_test_split(void **state) {
    (void)state;
    gm_item_set set;
    gm_test_write(directory, "test.tsv", TEXT("index\tsentence\n0\tuneasy mishmash\n"));
    for (int skip_bad = 0; skip_bad < 2; skip_bad++) {
        assert_int_equal(load("sst2", "test", "paper", skip_bad, &set), GM_BAD_FILE);
        assert_non_null(strstr(gm_error_text(), "test.tsv"));
        assert_non_null(strstr(gm_error_text(), "the split test is published without labels; use the split validation"));
    }
}

static void test_gzip_faults_are_not_skipped(void **state) {
    (void)state;
    gm_buffer text = {0};
    for (int i = 0; i < 5000; i++) gm_buffer_format(&text, "{\"prompt\":\"%d\",\"completion\":\"%d\"}\n", i, i * 7919 % 5003);
    size_t length;
    unsigned char *member = gm_test_gzip(text.bytes, text.length, &length);
    char path[GM_PATH];
    assert_int_equal(gm_path_join(path, directory, "train.jsonl"), GM_OK);
    unlink(path);
    gm_item_set set;
    gm_test_write(directory, "train.jsonl.gz", member, length);
    assert_int_equal(load("jsonl", "train", "paper", true, &set), GM_OK);
    assert_int_equal(set.count, 5000);
    gm_item_set_free(&set);
    gm_test_write(directory, "train.jsonl.gz", member, length / 2);
    assert_int_equal(load("jsonl", "train", "paper", true, &set), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "train.jsonl.gz: line "));
    member[length - 6] ^= 1;
    gm_test_write(directory, "train.jsonl.gz", member, length);
    assert_int_equal(load("jsonl", "train", "paper", true, &set), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "train.jsonl.gz: line 5001: the gzip stream is damaged"));
    free(member);
    gm_buffer_free(&text);
}

static void test_all_lines_bad(void **state) {
    (void)state;
    gm_item_set set;
    gm_test_write(directory, "test.jsonl", TEXT("{}\n{}\n[\n"));
    assert_int_equal(load("jsonl", "test", "paper", true, &set), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "all its lines are bad; the last: "));
    assert_non_null(strstr(gm_error_text(), "line 3"));
}

/* Random damage to a good file: any result but a crash, and never a status that blames something else. */
static void test_random_damage(void **state) {
    (void)state;
    static const char good[] = GOOD_ARC
        "\n" ARC(AB, "\"B\"") "\n{\"question\":\"s\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"1\",\"2\"]},\"answerKey\":\"2\"}\n";
    char text[sizeof good];
    uint32_t random = 20;
    for (int i = 0; i < 3000; i++) {
        memcpy(text, good, sizeof good);
        for (int flips = 1 + i % 3; flips > 0; flips--) {
            random = random * 1664525u + 1013904223u;
            text[(random >> 8) % (sizeof good - 1)] = (char)(random >> 24);
        }
        size_t length = i % 5 ? sizeof good - 1 : (random >> 4) % sizeof good;
        gm_test_write(directory, "ARC-Challenge-Test.jsonl", text, length);
        gm_item_set set;
        gm_status status = load("arc-c", "test", i % 2 ? "paper" : "lm-eval", i % 7 == 0, &set);
        if (status != GM_OK && status != GM_BAD_FILE) fail_msg("damage %d: status %d: %s", i, status, gm_error_text());
        gm_item_set_free(&set);
    }
}

int main(void) {
    gm_log_set_level(GM_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_answer_files),
        cmocka_unit_test(test_unlabelled_test_split),
        cmocka_unit_test(test_gzip_faults_are_not_skipped),
        cmocka_unit_test(test_all_lines_bad),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
