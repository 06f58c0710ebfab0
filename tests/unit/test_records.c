/* Shapes of records that the shared data does not hold: the hub's rows, PIQA, HellaSwag, WinoGrande, jsonl without choices;
 * and where a data set's files are looked for. */
#include "data_files.h"

#include "data/task.h"

static gm_status load(const char *name, const char *data_dir, const char *split, const char *prompt, gm_item_set *set) {
    gm_task *task;
    if (gm_task_open(&task, name) != GM_OK) fail_msg("%s", gm_error_text());
    gm_status status = gm_task_load(task, data_dir, split, prompt, false, set);
    gm_task_close(task);
    return status;
}

static char directory[GM_PATH];

static void expect_item(const char *task, const char *split, const char *prompt, const char *text, const char *completion, int answer) {
    gm_item_set set;
    if (load(task, directory, split, prompt, &set) != GM_OK) fail_msg("%s", gm_error_text());
    assert_int_equal(set.count, 1);
    assert_string_equal(set.items[0].prompt, text);
    assert_string_equal(set.items[0].completion, completion);
    assert_int_equal(set.items[0].answer, answer);
    gm_item_set_free(&set);
}

static void write_text(const char *name, const char *text) { gm_test_write(directory, name, text, strlen(text)); }

static void test_hub_rows(void **state) {
    (void)state;
    gm_test_directory(directory);
    write_text("test.jsonl", "{\"id\":\"x\",\"question\":\"Why?\",\"choices\":{\"text\":[\"a\",\"b\",\"c\"],\"label\":[\"1\",\"2\",\"3\"]},"
                             "\"answerKey\":\"2\"}");
    expect_item("arc-c", "test", "paper", "Please choose the correct answer to the question: Why? (1) a (2) b (3) c\nAnswer:", " 2", 1);
    expect_item("arc-e", "test", "lm-eval", "Question: Why?\nAnswer:", " b", 1);
    write_text(
        "test.jsonl",
        "{\"id\":\"x\",\"question_stem\":\"Sun\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"A\",\"B\"]},\"answerKey\":\" B\"}");
    expect_item("obqa", "test", "lm-eval", "Sun", " b", 1); /* the key is stripped */
    write_text("validation.jsonl",
               "{\"context\":\"C.\",\"question\":\"Q?\",\"answerA\":\"a\",\"answerB\":\"b\",\"answerC\":\"c\",\"label\":\"3\"}");
    expect_item("siqa", "test", "paper",
                "Please choose the correct answer to the question.\nQuestion: C. Q?\n(A) a\n(B) b\n(C) c\nAnswer:", " C", 2);
    write_text("validation.jsonl", "{\"idx\":0,\"sentence\":\"fine \",\"label\":1}");
    expect_item("sst2", "validation", "paper", "fine \nQuestion: Is this sentence positive or negative?\nAnswer:", " positive", 1);
    write_text("validation.jsonl", "{\"question\":\"is it\",\"passage\":\"It is.\",\"answer\":true}");
    expect_item("boolq", "validation", "paper", "Please answer the following question with true or false: is it?\nAnswer:", " true", 0);
    gm_item_set set; /* without a title there is no lm-eval prompt */
    assert_int_equal(load("boolq", directory, "validation", "lm-eval", &set), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "line 1: no field title"));
    gm_directory_remove(directory);
}

static void test_other_tasks(void **state) {
    (void)state;
    gm_test_directory(directory);
    write_text("valid.jsonl", "{\"goal\":\"Boil water\",\"sol1\":\"Heat it \",\"sol2\":\"Cool it\"}\n");
    write_text("valid-labels.lst", "0\n");
    expect_item("piqa", "test", "lm-eval", "Question: Boil water\nAnswer:", " Heat it ", 0);
    expect_item("piqa", "test", "paper",
                "Below is a common task along with two possible solutions labeled (A) and (B). Please select the appropriate solution to "
                "achieve the task:\n"
                "Boil water\n\n(A) Heat it \n(B) Cool it\n\nCorrect solution:",
                " A", 0);
    write_text("hellaswag_val.jsonl",
               "{\"activity_label\":\"Baking\",\"ctx_a\":\"[header] How to bake [title] Buy flour.\",\"ctx_b\":\"then HE\","
               "\"ctx\":\"How to bake. then he\",\"endings\":[\"goes [x] on. \",\"b\",\"c\",\"d\"],\"label\":0}\n");
    expect_item("hellaswag", "validation", "lm-eval", "Baking: How to bake. Buy flour. Then he", " goes on.", 0);
    expect_item("hellaswag", "validation", "paper",
                "Please choose the correct ending to complete the given sentence.\nSentence: Baking. How to bake. then he\n"
                "(A) goes [x] on. \n(B) b\n(C) c\n(D) d\nAnswer:",
                " A", 0);
    write_text("dev.jsonl", "{\"qID\":\"1\",\"sentence\":\"The cup missed the bag because the _ was "
                            "small.\",\"option1\":\"cup\",\"option2\":\"bag\",\"answer\":\"2\"}\n");
    expect_item("winogrande", "validation", "paper",
                "Please choose the correct answer to fill in the blank to complete the given sentence.\n"
                "Sentence: The cup missed the bag because the _ was small.\n(A) cup\n(B) bag\nAnswer:",
                " B", 1);
    expect_item("winogrande", "validation", "lm-eval", "The cup missed the bag because the bag", " was small.", 1);
    gm_item_set set;
    assert_int_equal(load("winogrande", directory, "validation", "lm-eval", &set), GM_OK);
    assert_string_equal(set.items[0].prompts[0], "The cup missed the bag because the cup");
    assert_string_equal(set.items[0].choices[0], " was small.");
    gm_item_set_free(&set);
    gm_directory_remove(directory);
}

static void test_jsonl(void **state) {
    (void)state;
    gm_test_directory(directory);
    write_text("train.jsonl", "{\"prompt\":\"p\",\"completion\":\" "
                              "c\",\"extra\":[1]}\n\n{\"prompt\":\"\",\"choices\":[\"x\",\"y\"],\"answer\":1,\"completion\":null}\n"
                              "{\"prompt\":\"q\",\"completion\":\" z\",\"choices\":[\"x\",\"y\"],\"answer\":0}");
    gm_item_set set;
    if (load("jsonl", directory, "train", "lm-eval", &set) != GM_OK) fail_msg("%s", gm_error_text());
    assert_true(set.count == 3 && set.with_choices == 2);
    assert_true(set.items[0].choice_count == 0 && set.items[0].answer == -1 && !set.items[0].choices);
    assert_string_equal(set.items[0].completion, " c");
    assert_string_equal(set.items[1].completion, "y");
    assert_string_equal(set.items[2].completion, " z");
    assert_true(set.items[1].line == 3 && set.items[2].line == 4);
    gm_item_set_free(&set);
    gm_directory_remove(directory);
}

/* The publisher's folder goes before data_dir itself; data_dir may be the folder. */
static void test_folders(void **state) {
    (void)state;
    char folder[GM_PATH], path[GM_PATH];
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(folder, directory, "BoolQ"), GM_OK);
    assert_int_equal(gm_directory_make(folder), GM_OK);
    write_text("dev.jsonl", "{\"question\":\"outer\",\"answer\":true}");
    write_text("BoolQ/dev.jsonl", "{\"question\":\"inner\",\"answer\":false}");
    gm_task *task;
    assert_int_equal(gm_task_open(&task, "boolq"), GM_OK);
    assert_int_equal(gm_task_find_file(task, directory, "test", path), GM_OK);
    assert_non_null(strstr(path, "/BoolQ/dev.jsonl"));
    assert_int_equal(gm_task_find_file(task, folder, "validation", path), GM_OK);
    assert_non_null(strstr(path, "/BoolQ/dev.jsonl"));
    assert_int_equal(gm_task_find_file(task, directory, "train", path), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "/BoolQ: the split train of boolq is not there: looked for train.jsonl, plain or .gz"));
    assert_int_equal(gm_task_find_file(task, directory, "dev", path), GM_USAGE);
    bool there = true;
    assert_int_equal(gm_task_look_for(task, directory, "train", &there), GM_OK);
    assert_false(there);
    assert_int_equal(gm_task_look_for(task, directory, "test", &there), GM_OK);
    assert_true(there);
    assert_int_equal(gm_task_look_for(task, directory, "dev", &there), GM_USAGE);
    assert_int_equal(gm_task_look_for(task, "/no/such", "test", &there), GM_USAGE);
    assert_int_equal(gm_task_find_file(task, "/no/such", "test", path), GM_USAGE);
    gm_task_close(task);
    gm_directory_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hub_rows),
        cmocka_unit_test(test_other_tasks),
        cmocka_unit_test(test_jsonl),
        cmocka_unit_test(test_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
