/* Task files: the shipped ones, what is refused in others, templates and text functions. */
#include "data_files.h"
#include "test_directory.h"

#include "data/task_parts.h"
#include "data/text.h"

static void test_shipped(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool eos;
    } tasks[] = {
        {"arc-c", false}, {"arc-e", false}, {"boolq", false},     {"obqa", false},       {"siqa", false},
        {"sst2", false},  {"piqa", false},  {"hellaswag", false}, {"winogrande", false}, {"jsonl", true},
    };
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        gm_task *task;
        if (gm_task_open(&task, tasks[i].name) != GM_OK) fail_msg("%s", gm_error_text());
        assert_string_equal(gm_task_name(task), tasks[i].name);
        assert_int_equal(gm_task_append_eos(task), tasks[i].eos);
        assert_string_equal(gm_task_default_scoring(task, "paper"), "label");
        assert_string_equal(gm_task_default_scoring(task, "lm-eval"), "likelihood");
        assert_null(gm_task_default_scoring(task, "none"));
        assert_int_equal(gm_task_prompt_count(task), 2);
        assert_string_equal(gm_task_shots_of(task)->split, "train");
        gm_task_close(task);
    }
}

static void test_finding(void **state) {
    (void)state;
    gm_task *task;
    assert_int_equal(gm_task_open(&task, "arc"), GM_USAGE);
    assert_non_null(strstr(gm_error_text(), "\"arc\""));
    assert_non_null(strstr(gm_error_text(), "arc-c, arc-e, boolq"));
    assert_null(task);
    assert_int_equal(gm_task_open(&task, "configs/tasks/absent.json"), GM_USAGE);
    assert_non_null(strstr(gm_error_text(), "configs/tasks/absent.json"));
    assert_int_equal(gm_task_open(&task, "configs/tasks/obqa.json"), GM_OK);
    assert_string_equal(gm_task_name(task), "obqa");
    gm_task_close(task);
    static const char mine[] =
        "{\"summary\":\"s\",\"splits\":{\"train\":{\"files\":[\"t.jsonl\"]}},\"fields\":{\"p\":\"p\"},\"completion\":\"c\","
        "\"prompts\":{\"paper\":{\"prompt\":\"{p}\",\"scoring\":\"label\"}}}";
    gm_test_write(directory, "mine.json", mine, sizeof mine - 1);
    setenv("GMOE_TASKS", directory, 1);
    assert_int_equal(gm_task_open(&task, "mine"), GM_OK);
    gm_task_close(task);
    assert_int_equal(gm_task_open(&task, "obqa"), GM_OK); /* the shipped ones stay known */
    gm_task_close(task);
    unsetenv("GMOE_TASKS");
}

/* A good task in pieces; every case replaces one piece and names what the message must say. */
static void test_refused(void **state) {
    (void)state;
    enum { PIECES = 8 };
    static const char *const good[PIECES] = {
        "\"summary\":\"s\"",
        "\"splits\":{\"train\":{\"files\":[\"a.jsonl\"],\"answers\":[\"b\"]},\"test\":{\"same_as\":\"train\"}}",
        "\"fields\":{\"q\":\"q.a | b\"}",
        "\"choices\":{\"texts\":\"c[].t | d.t[]\",\"labels\":\"c[].l\"}",
        "\"answer\":\"k\"",
        "\"append_eos\":true",
        "\"prompts\":{\"p\":{\"prompt\":\"{q:capitalize}{{x}}{options}\",\"option\":\"{label}{text}\",\"completion\":\"{label}\","
        "\"scoring\":\"label\",\"clean\":false}}",
        "\"shots\":{\"split\":\"train\",\"items\":[3,0]}",
    };
    static const struct {
        int piece;
        const char *text, *message;
    } bad[] = {
        {0, "\"summary\":1", "summary: must be a string"},
        {0, "\"append_eos\":false", "the name \"append_eos\" stands twice"},
        {0, "\"sumary\":\"s\"", "sumary: no such key; there are summary, folders"},
        {0, "\"summary\":\"s\",\"folders\":[]", "folders: must be an array of strings"},
        {0, "\"summary\":\"s\",\"folders\":[1]", "folders: must be an array of strings"},
        {1, "\"splits\":[]", "splits: must be an object"},
        {1, "\"splits\":{\"dev\":{}}", "splits.dev: no such key; there are train, validation, test"},
        {1, "\"splits\":{\"train\":{}}", "splits.train.files: must be an array"},
        {1, "\"splits\":{\"train\":\"a\"}", "splits.train: must be an object"},
        {1, "\"splits\":{\"train\":{\"same_as\":\"train\"}}", "splits.train.same_as: must name a split"},
        {1, "\"splits\":{\"train\":{\"same_as\":\"test\"}}", "splits.train.same_as: must name a split"},
        {1, "\"splits\":{\"train\":{\"file\":[\"a\"]}}", "splits.train.file: no such key"},
        {2, "\"fields\":{\"q\":1}", "fields.q: must be a string"},
        {2, "\"fields\":{\"q\":\"a..b\"}", "fields.q: \"a..b\" is no field path"},
        {2, "\"fields\":{\"q\":\"\"}", "fields.q: \"\" is no field path"},
        {2, "\"fields\":{\"q\":\"a[]\"}", "fields.q: must be a single field"},
        {2, "\"fields\":{\"text\":\"a\"}", "fields.text: cannot be the name"},
        {3, "\"choices\":{}", "choices: needs texts, labels or both"},
        {3, "\"choices\":{\"texts\":\"c\"}", "choices.texts: must be a list field"},
        {3, "\"choices\":{\"texts\":[\"c[]\"]}", "choices.texts: has []"},
        {3, "\"choices\":{\"texts\":\"c[] | d\"}", "choices.texts: \"c[] | d\" mixes lists"},
        {3, "\"choices\":{\"texts\":\"c[].d[]\"}", "choices.texts: \"c[].d[]\" is no field path"},
        {3, "\"choices\":{\"texts\":\"c[]\",\"labels\":{\"1\":2}}", "choices.labels: 1: must be a string"},
        {3, "\"choices\":{\"texts\":\"c[]\",\"labels\":\"l\"}", "choices.labels: must be a list"},
        {3, "\"choices\":{\"texts\":[\"a\",\"b\"],\"labels\":{\"1\":\"A\"}}", "prompts.p.labels: 1 labels for 2 texts"},
        {3, "\"choices\":{\"texts\":\"c[]\"}", "prompts.p.option: asks for {label}, but there are no labels"},
        {3, "\"choices\":{\"labels\":\"c[].l\"}", "prompts.p.option: asks for {text}, but the choices have no texts"},
        {4, "\"answer\":7", "answer: must be a string"},
        {4, "\"folders\":[\"x\"]", "answer: is missing"},
        {5, "\"append_eos\":\"yes\"", "append_eos: must be true or false"},
        {6, "\"prompts\":{}", "prompts: is empty"},
        {6, "\"folders\":[\"x\"]", "prompts: is missing"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{z}\",\"completion\":\"x\",\"scoring\":\"label\"}}",
         "prompts.p.prompt: {z}: neither a field"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{q\",\"completion\":\"x\",\"scoring\":\"label\"}}", "a brace without its counterpart"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"q}\",\"completion\":\"x\",\"scoring\":\"label\"}}", "a brace without its counterpart"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{q:upper}\",\"completion\":\"x\",\"scoring\":\"label\"}}", "no such modifier"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{q}{options}\",\"completion\":\"x\",\"scoring\":\"label\"}}", "prompts.p.option: is missing"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{q}\",\"option\":\"{options}\",\"completion\":\"x\",\"scoring\":\"label\"}}",
         "{options} stands in prompts only"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{q}\",\"scoring\":\"label\"}}", "prompts.p.completion: is missing"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{q}\",\"completion\":\"x\"}}", "prompts.p.scoring: is missing"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{q}\",\"completion\":\"x\",\"scoring\":\"f1\"}}", "prompts.p.scoring: \"f1\" is neither"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{q}\",\"completion\":\"x\",\"scoring\":\"label\",\"clean\":1}}",
         "prompts.p.clean: must be true or false"},
        {6, "\"prompts\":{\"p\":{\"prompt\":\"{q}\",\"completions\":\"x\",\"scoring\":\"label\"}}", "prompts.p.completions: no such key"},
        {6, "\"prompts\":{\"p\":7}", "prompts.p: must be an object"},
        {6, "\"prompts\":{\"p\":{}", "t.json: "},
        {7, "\"shots\":2", "shots: must be an object"},
        {7, "\"shots\":{}", "shots.split: is missing"},
        {7, "\"shots\":{\"split\":\"dev\"}", "shots.split: \"dev\" is no split of the task"},
        {7, "\"shots\":{\"split\":\"validation\"}", "shots.split: \"validation\" is no split of the task"},
        {7, "\"shots\":{\"split\":\"train\",\"item\":[1]}", "shots.item: no such key"},
        {7, "\"shots\":{\"split\":\"train\",\"items\":[]}", "shots.items: must be an array of indices"},
        {7, "\"shots\":{\"split\":\"train\",\"items\":[-1]}", "shots.items: must be an array of indices"},
        {7, "\"shots\":{\"split\":\"train\",\"items\":[\"1\"]}", "shots.items: must be an array of indices"},
        {7, "\"shots\":{\"split\":\"train\",\"items\":[1,2,1]}", "shots.items: 1 stands twice"},
    };
    for (int i = -1; i < (int)(sizeof bad / sizeof *bad); i++) {
        gm_buffer text = {0};
        for (int p = 0; p < PIECES; p++)
            gm_buffer_format(&text, "%s%s", p ? "," : "{", i >= 0 && bad[i].piece == p ? bad[i].text : good[p]);
        gm_buffer_char(&text, '}');
        gm_test_write(directory, "t.json", text.bytes, text.length);
        char path[GM_PATH];
        assert_int_equal(gm_path_join(path, directory, "t.json"), GM_OK);
        gm_task *task;
        gm_status status = gm_task_open(&task, path);
        if (i < 0 && status != GM_OK) fail_msg("the good task is refused: %s", gm_error_text());
        if (i >= 0 && (status != GM_USAGE || task || !strstr(gm_error_text(), "t.json: ") || !strstr(gm_error_text(), bad[i].message)))
            fail_msg("case %d: status %d, \"%s\" lacks \"%s\"", i, status, gm_error_text(), bad[i].message);
        gm_task_close(task);
        gm_buffer_free(&text);
    }
}

static void test_templates(void **state) {
    (void)state;
    static const char *const fields[] = {"a", "b"}, *const values[] = {"ÉLAN vital", "The _ is  here. "}, *const labels[] = {"A", "B"},
                             *const texts[] = {"one", "two"};
    static const struct {
        const char *template, *result;
    } cases[] = {
        {"", ""},
        {"x{{y}}z", "x{y}z"},
        {"{a}|{b}", "ÉLAN vital|The _ is  here. "},
        {"{a:capitalize}", "Élan vital"},
        {"{b:before_blank}{text}", "The two"},
        {" {b:after_blank}", " is  here."},
        {"{options}.", " (A) one (B) two."},
        {"{label}{label}", "BB"},
    };
    gm_region region = {0};
    gm_template option;
    assert_int_equal(gm_template_parse(&option, " ({label}) {text}", fields, 2, &region), GM_OK);
    gm_template_values filled = {.fields = values, .labels = labels, .texts = texts, .choices = 2, .option = &option};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gm_template template;
        gm_buffer out = {0};
        assert_int_equal(gm_template_parse(&template, cases[i].template, fields, 2, &region), GM_OK);
        assert_int_equal(gm_template_render(&out, &template, &filled, 1), GM_OK);
        assert_string_equal(gm_buffer_string(&out), cases[i].result);
        gm_buffer_free(&out);
    }
    gm_template template;
    gm_buffer out = {0};
    assert_int_equal(gm_template_parse(&template, "{a:after_blank}", fields, 2, &region), GM_OK);
    assert_int_equal(gm_template_render(&out, &template, &filled, 0), GM_BAD_FILE);
    gm_buffer_free(&out);
    gm_region_free(&region);
}

static void test_text(void **state) {
    (void)state;
    static const struct {
        const char *text, *clean;
    } cases[] = {
        {"", ""},
        {" \n", ""},
        {"a [title] b [step] c", "a. b c"},
        {"[header] How to x [title] y. ", " How to x. y."},
        {"a    b", "a  b"},
        {"[a\nb]", "[a\nb]"},
        {"[[a]]", "]"},
        {"x [y", "x [y"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gm_buffer out = {0};
        gm_text_clean(&out, cases[i].text, strlen(cases[i].text));
        if (strcmp(gm_buffer_string(&out), cases[i].clean) != 0) fail_msg("case %zu: \"%s\"", i, gm_buffer_string(&out));
        gm_buffer_free(&out);
    }
    assert_int_equal(gm_text_rstrip("a\xe3\x80\x80 \t\xc2\xa0", 8), 1);
    assert_int_equal(gm_text_rstrip("a\xe2\x80\x8b", 4), 4); /* a zero-width space is none */
    assert_int_equal(gm_text_rstrip("\x80\x80", 2), 2);
    assert_int_equal(gm_text_lstrip("\xe2\x80\x83 a", 5), 4);
    assert_true(gm_text_is_utf8("aé😀", 7) && !gm_text_is_utf8("a\xff", 2) && !gm_text_is_utf8("\xc3", 1) &&
                !gm_text_is_utf8("\xed\xa0\x80", 3));
    char *brackets = malloc(1 << 20); /* linear, or this test takes an hour */
    memset(brackets, '[', 1 << 20);
    brackets[(1 << 20) - 2] = '\n', brackets[(1 << 20) - 1] = ']';
    gm_buffer out = {0};
    gm_text_clean(&out, brackets, 1 << 20);
    assert_int_equal(out.length, 1 << 20);
    gm_buffer_free(&out);
    free(brackets);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped),   cmocka_unit_test(test_finding), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_templates), cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
