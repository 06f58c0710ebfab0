/* Conversations against what transformers and the tokenizers package make of them (scripts/oracle/make_chat_goldens.py writes
 * tests/golden/chat; GMOE_CHAT_GOLDENS names another folder of such files), and what is refused or cut. */
#include "data_files.h"
#include "test_directory.h"

#include "data/jinja/jinja.h"
#include "data/sample_chat.h"
#include "io/tokenizer/tokenizer.h"

#include <dirent.h>

/* ---- goldens ---------------------------------------------------------------------------------------------------- */

typedef struct model {
    gm_tokenizer *tokenizer;
    gm_chat *chat;
    bool append_eos;
} model;

static void close_model(model *m) {
    gm_chat_close(m->chat);
    gm_tokenizer_close(m->tokenizer);
}

/* A model's directory with one of the small tokenizers and this tokenizer_config.json. */
static model open_model(const char *tokenizer, const char *config) {
    model m = {0};
    char path[GM_PATH];
    gm_buffer text = {0};
    assert_int_equal(gm_path_join(path, "tests/golden/tokenizer", tokenizer), GM_OK);
    if (gm_file_read(&text, path, 1 << 24, GM_USAGE) != GM_OK) fail_msg("%s", gm_error_text());
    gm_test_write(directory, "tokenizer.json", text.bytes, text.length);
    gm_test_write(directory, "tokenizer_config.json", config, strlen(config));
    gm_buffer_free(&text);
    if (gm_tokenizer_open(&m.tokenizer, directory) != GM_OK) fail_msg("%s", gm_error_text());
    if (gm_chat_open(&m.chat, directory, m.tokenizer, NULL) != GM_OK) fail_msg("%s", gm_error_text());
    return m;
}

static cJSON *parse(const char *text) {
    cJSON *tree;
    if (gm_json_parse("test", text, strlen(text), &tree) != GM_OK) fail_msg("%s", gm_error_text());
    return tree;
}

static void show(gm_buffer *out, const model *m, const gm_sample *sample) {
    for (int32_t i = 0; i < sample->length; i++) {
        const char *token = gm_tokenizer_token(m->tokenizer, sample->ids[i]);
        gm_buffer_format(out, "%s%s ", token ? token : "?", gm_sample_learns(sample, false, i) ? "*" : "");
    }
}

/* The sample has the golden's ids, and exactly those of its loss carry loss. */
static void check_sample(const model *m, const gm_sample *sample, const cJSON *line, const char *where) {
    const cJSON *ids = gm_json_member(line, "ids"), *loss = gm_json_member(line, "loss"), *item, *span = loss ? loss->child : NULL;
    gm_buffer shown = {0};
    bool same = cJSON_GetArraySize(ids) == sample->length;
    int32_t i = 0;
    cJSON_ArrayForEach(item, ids) {
        if (span && i >= (int32_t)span->child->next->valuedouble) span = span->next;
        bool learns = span && i >= (int32_t)span->child->valuedouble;
        same = same && item->valuedouble == sample->ids[i] && (!loss || learns == gm_sample_learns(sample, false, i));
        i++;
    }
    if (!same) {
        show(&shown, m, sample);
        char *wanted = cJSON_PrintUnformatted(line);
        fail_msg("%s: got %s\nfor %s", where, gm_buffer_string(&shown), wanted);
    }
}

static void check_line(const model *m, const cJSON *line, const char *where) {
    gm_region region = {0};
    gm_conversation conversation;
    gm_sample sample;
    if (gm_conversation_read(&conversation, gm_json_member(line, "messages"), "messages", &region) != GM_OK)
        fail_msg("%s: %s", where, gm_error_text());
    gm_status status = gm_sample_encode_chat(&sample, m->tokenizer, m->chat, &conversation, m->append_eos, 1 << 20, &region);
    if (gm_json_member(line, "refused")) {
        if (status != GM_BAD_FILE || !strstr(gm_error_text(), "the template says: ")) fail_msg("%s: is not refused", where);
    } else {
        if (status != GM_OK) fail_msg("%s: %s", where, gm_error_text());
        check_sample(m, &sample, line, where);
    }
    gm_region_free(&region);
}

static size_t check_golden(const char *path) {
    gm_buffer file = {0};
    model m = {0};
    size_t number = 0;
    if (gm_file_read(&file, path, 1 << 24, GM_USAGE) != GM_OK) fail_msg("%s", gm_error_text());
    for (char *line = file.bytes, *end; *line; line = end + 1) {
        char where[GM_PATH + 32];
        end = strchr(line, '\n');
        *end = '\0';
        cJSON *tree = parse(line);
        snprintf(where, sizeof where, "%s: line %zu", path, ++number);
        if (number == 1) {
            char *config = cJSON_PrintUnformatted(gm_json_member(tree, "config"));
            m = open_model(gm_json_text_at(tree, "tokenizer"), config);
            if (gm_chat_problem(m.chat)) fail_msg("%s: %s", path, gm_chat_problem(m.chat));
            m.append_eos = cJSON_IsTrue(gm_json_member(tree, "append_eos"));
            cJSON_free(config);
        } else {
            check_line(&m, tree, where);
        }
        cJSON_Delete(tree);
    }
    close_model(&m);
    gm_buffer_free(&file);
    return number;
}

static void test_goldens(void **state) {
    (void)state;
    const char *folder = getenv("GMOE_CHAT_GOLDENS");
    struct dirent **entries;
    char path[GM_PATH];
    if (!folder) folder = "tests/golden/chat";
    int count = scandir(folder, &entries, NULL, alphasort), read = 0;
    for (int i = 0; i < count; i++) {
        size_t length = strlen(entries[i]->d_name);
        if (length > 6 && strcmp(entries[i]->d_name + length - 6, ".jsonl") == 0) {
            assert_int_equal(gm_path_join(path, folder, entries[i]->d_name), GM_OK);
            assert_true(check_golden(path) > 5);
            read++;
        }
        free(entries[i]);
    }
    free(entries);
    assert_true(read >= 13 || getenv("GMOE_CHAT_GOLDENS"));
}

/* ---- templates -------------------------------------------------------------------------------------------------- */

static const gm_message brief[] = {{"system", "You are brief.", false},
                                   {"user", "What is an expert?", false},
                                   {"assistant", "A small part of a mixture.", true},
                                   {"user", "And a router?", false},
                                   {"assistant", "It chooses experts.", true}};
static const gm_jinja_input brief_input = {.messages = brief, .count = 5, .bos = "<s>", .eos = "</s>"};

static void check_render(const char *template, const char *wanted) {
    gm_jinja *jinja;
    gm_marked_text out = {0};
    if (gm_jinja_compile(&jinja, "t", template, strlen(template)) != GM_OK) fail_msg("%s: %s", template, gm_error_text());
    if (gm_jinja_render(jinja, &brief_input, &out) != GM_OK) fail_msg("%s: %s", template, gm_error_text());
    assert_string_equal(gm_buffer_string(&out.text), wanted);
    gm_marked_free(&out);
    gm_jinja_close(jinja);
}

static void test_expressions(void **state) {
    (void)state;
    cJSON *cases, *item;
    size_t count = 0;
    if (gm_json_parse_file("tests/golden/chat/expressions.json", 1 << 20, GM_USAGE, &cases) != GM_OK) fail_msg("%s", gm_error_text());
    cJSON_ArrayForEach(item, cases) {
        check_render(item->child->valuestring, item->child->next->valuestring);
        count++;
    }
    assert_true(count > 20);
    cJSON_Delete(cases);
}

/* The filter is Jinja's, the method Python's: they differ in where a word begins. */
static void test_title(void **state) {
    (void)state;
    check_render("{{ \"it's a1b\" | title }}|{{ \"it's a1b\".title() }}", "It's A1b|It'S A1B");
    check_render(
        "{{ \"o'NEIL (x-ray) <b>[c {d\" | title }}|{{ 'a\\tb\\nc_d.e/f' | title }}|{{ '' | title }}|{{ '\\x1cx\\u001fy' | title }}",
        "O'neil (X-Ray) <B>[C {D|A\tB\nC_d.e/f||\x1cX\x1fY");
}

/* Up to the least number there is; the sanitizers see what overflows on the way. */
/* Maps are equal by their members, in whatever order; namespaces by being one. */
static void test_equality(void **state) {
    (void)state;
    check_render("{{ {'a': 1, 'b': [2]} == {'b': [2], 'a': 1} }} {{ {'a': 1} == {'a': 2} }} {{ {'a': 1} == {'b': 1} }} {{ {} == {} }} "
                 "{{ {'a': {'b': 'c'}} in [1, {'a': {'b': 'c'}}] }} {{ namespace(x=1) == namespace(x=1) }}",
                 "True False False True True False");
}

static void test_large_numbers(void **state) {
    (void)state;
    check_render(
        "{% set least = -1073741824 * 1073741824 * 8 %}{{ least }} {{ least % 5 }} {{ least // 5 }} {{ least % 1 }} {{ least // 1 }}",
        "-9223372036854775808 2 -1844674407370955162 0 -9223372036854775808");
    check_render("{% set least = -1073741824 * 1073741824 * 8 %}{{ range(1, least) | length }}{{ range(least, least + 2) | join(' ') }}",
                 "0-9223372036854775808 -9223372036854775807");
}

/* Every message ends in a line of one of the two, naming the template's line. */
static void test_template_refused(void **state) {
    (void)state;
    static const struct {
        const char *template, *message;
    } cases[] = {
        {"{{ 1", "t: line 1: a tag does not end"},
        {"\n{% if true %}", "t: line 2: a block does not end"},
        {"{% for m in messages %}{% endif %}", "another block should end first"},
        {"{% endif %}", "a block ends that did not begin"},
        {"{# x", "a comment does not end"},
        {"{{ 'x }}", "a string does not end"},
        {"{{ '\\U0001f600' }}", "octal escapes, \\U and \\N are not supported"},
        {"{{ '\\ud800' }}", "an escape that is no character"},
        {"{{ 'a' $ }}", "a character that no expression has"},
        {"{{ }}", "an expression should stand, not at \"}}\""},
        {"{{ (1, 2) }}", "tuples are not supported"},
        {"{{ 1 < 2 < 3 }}", "chains of comparisons are not supported"},
        {"{{ 1.5 }}", "a name should stand, not at \"5\""},
        {"{% include 'x' %}", "if, for, set and generation are the statements that are supported, not at \"include\""},
        {"{% set x %}y{% endset %}", "\"=\" should stand, not at \"%}\""},
        {"{{ strftime_now('%d') }}", "the function \"strftime_now\" is not supported"},
        {"{% macro m() %}{% endmacro %}{{ m() }}", "the function \"m\" is not supported"},
        {"{{ 'x' | tojson }}", "the filter \"tojson\" of a text is not supported"},
        {"{{ 1 is prime }}", "the test \"prime\" is not supported"},
        {"{{ 'x'.center(3) }}", "the method \"center\" with these arguments is not supported"},
        {"{{ 'é'.upper() }}", "upper of other characters than ASCII is not supported"},
        {"{{ x.y }}", "\"y\" of something undefined"},
        {"{{ 'a' + 1 }}", "a text + a number"},
        {"{{ 1 // 0 }}", "a division by 0 is not supported"},
        {"{{ [1] }}", "a list cannot be written as text"},
        {"{{ messages[0:5:2] }}", "of slices with a step only [::-1]"},
        {"{% for a, b in messages %}{% endfor %}", "a loop over a list is not supported"},
        {"{% set x.y = 1 %}", "\"x\" is no namespace"},
        {"{{ 9223372036854775807 }}", "a whole number should stand"},
        {"{{ raise_exception('no') }}", "t: line 1: the template says: no"},
        {"{% set n = namespace(t='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}",
         "takes more than 64 MB"},
        {"{% for i in range(999) %}{% for j in range(999) %}{% for k in range(999) %}{% endfor %}{% endfor %}{% endfor %}",
         "takes more than"},
        {"{% set n = namespace(x=[], y=[]) %}{% for i in range(1000) %}{% set n.x = [n.x] %}{% set n.y = [n.y] %}{% endfor %}{{ n.x == n.y "
         "}}",
         "lists nest too deeply"},
        {"{% set n = namespace(x=[], y=[]) %}{% for i in range(34) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}"
         "{{ n.x in [1, n.y] }}",
         "takes more than 50000000 steps"},
        {"{% set n = namespace(x='xxxxxxxxxxxxxxxx') %}{% for i in range(16) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
         "{% for i in range(60000) %}{{ n.x }}{% endfor %}",
         "writes more than 64 MB"},
        {"{% set n = namespace(x='xxxxxxxxxxxxxxxx') %}{% for i in range(16) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
         "{% for i in range(60000) %}{% if n.x | length == 1 %}{% endif %}{% endfor %}",
         "takes more than 50000000 steps"},
        {"{{ range(-1073741824 * 1073741824 * 4, 1073741824 * 1073741824 * 4) }}", "a range is too long"},
        {"{{ -(-1073741824 * 1073741824 * 8) }}", "a number is too large"},
        {"{{ 1073741824 * 1073741824 * 4 + 1073741824 * 1073741824 * 4 }}", "a number is too large"},
        {"{{ 1073741824 * 1073741824 * 8 }}", "a number is too large"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gm_jinja *jinja;
        gm_marked_text out = {0};
        gm_status status = gm_jinja_compile(&jinja, "t", cases[i].template, strlen(cases[i].template));
        if (status == GM_OK) status = gm_jinja_render(jinja, &brief_input, &out);
        if (status != GM_BAD_FILE || !strstr(gm_error_text(), cases[i].message))
            fail_msg("%s: status %d, \"%s\" lacks \"%s\"", cases[i].template, status, gm_error_text(), cases[i].message);
        gm_marked_free(&out);
        gm_jinja_close(jinja);
    }
}

/* A prefix of any template, and one with a byte changed, is compiled and run or refused, no more. */
static void test_template_damaged(void **state) {
    (void)state;
    static const char template[] =
        "{%- set n = namespace(a=[1, {'x': 'y'}], b=none) %}{% for m in messages[::-1] if m.role != 'x' %}\n"
        "{{- '<|' ~ m['role'] + '|>\\n' + m.content[1:-1] | trim -}} {% if loop.first and not (loop.last or n.b is "
        "defined) %}{# c #}{{ 'a' if n.a[0] == 1 else 'b' }}{% elif m.get('x') %}{% else %}{% endif %}{% endfor %}";
    char changed[sizeof template];
    const char bytes[] = "{}%#'\"([.|-\n9x";
    for (size_t at = 0; at < sizeof template; at++) {
        for (size_t b = 0; b < sizeof bytes; b++) {
            size_t length = b == 0 ? at : sizeof template - 1; /* first the prefix */
            gm_jinja *jinja;
            gm_marked_text out = {0};
            memcpy(changed, template, sizeof template);
            if (b) changed[at < length ? at : 0] = bytes[b - 1];
            gm_status status = gm_jinja_compile(&jinja, "t", changed, length);
            if (status == GM_OK) status = gm_jinja_render(jinja, &brief_input, &out);
            assert_true(status == GM_OK || status == GM_BAD_FILE);
            gm_marked_free(&out);
            gm_jinja_close(jinja);
        }
    }
    for (size_t i = 0; i < 3; i++) { /* nested deeply: refused, no overflow */
        static const char *const parts[] = {"{{ (", "{% if 1 %}", "{{ 1+"};
        gm_buffer text = {0};
        gm_jinja *jinja;
        gm_marked_text out = {0};
        for (size_t n = 0; n < 100000; n++) gm_buffer_text(&text, i == 1 ? parts[1] : n == 0 ? parts[i] : parts[i] + 3);
        for (size_t n = 0; n < 100000 && i == 0; n++) gm_buffer_char(&text, ')');
        gm_buffer_text(&text, i == 2 ? "1 }}" : i == 0 ? "}}" : "");
        gm_status status = gm_jinja_compile(&jinja, "t", gm_buffer_string(&text), text.length);
        if (status == GM_OK) status = gm_jinja_render(jinja, &brief_input, &out);
        assert_int_equal(status, GM_BAD_FILE);
        assert_non_null(strstr(gm_error_text(), "nest too deeply"));
        gm_marked_free(&out);
        gm_jinja_close(jinja);
        gm_buffer_free(&text);
    }
}

/* Many pieces take room for what comes of them, once; each byte keeps its mark. */
static void test_many_pieces(void **state) {
    (void)state;
    static const char template[] = "{{ messages[0].content | replace('\\n', '\\n ') }}|{{ messages[0].content.split('\\n') | join(', ') }}";
    enum { LINES = 20000 };
    gm_buffer content = {0}, wanted = {0};
    gm_jinja *jinja;
    gm_marked_text out = {0};
    for (int part = 0; part < 2; part++) {
        if (part) gm_buffer_char(&wanted, '|');
        for (int i = 0; i < LINES; i++) {
            if (i) gm_buffer_text(&wanted, part ? ", " : "\n ");
            if (i && !part) gm_buffer_char(&content, '\n');
            gm_buffer_format(&wanted, "line %d", i);
            if (!part) gm_buffer_format(&content, "line %d", i);
        }
    }
    gm_message message = {"user", gm_buffer_string(&content), false};
    if (gm_jinja_compile(&jinja, "t", template, sizeof template - 1) != GM_OK) fail_msg("%s", gm_error_text());
    if (gm_jinja_render(jinja, &(gm_jinja_input){.messages = &message, .count = 1}, &out) != GM_OK) fail_msg("%s", gm_error_text());
    assert_int_equal(out.text.length, wanted.length);
    assert_memory_equal(out.text.bytes, wanted.bytes, wanted.length);
    for (size_t at = 0, bar = content.length + LINES - 1; at < wanted.length; at++) {
        const char *bytes = wanted.bytes + at;
        bool foreign = at == bar || *bytes == '\n' || *bytes == ',' || (at && (bytes[-1] == '\n' || bytes[-1] == ','));
        assert_int_equal(out.marks[at], foreign ? GM_MARK_TEMPLATE : 1);
    }
    gm_marked_free(&out);
    gm_jinja_close(jinja);
    gm_buffer_free(&content);
    gm_buffer_free(&wanted);
}

/* ---- where a template is looked for ----------------------------------------------------------------------------- */

#define IM                                                                                                                                 \
    "\"561\":{\"content\":\"<|im_start|>\",\"special\":true,\"normalized\":false,\"single_word\":false,\"lstrip\":false,\"rstrip\":false}" \
    ","                                                                                                                                    \
    "\"562\":{\"content\":\"<|im_end|>\",\"special\":true,\"normalized\":false,\"single_word\":false,\"lstrip\":false,\"rstrip\":false}"
#define CONFIG(template) "{\"bos_token\":null,\"eos_token\":\"<|im_end|>\",\"added_tokens_decoder\":{" IM "}" template "}"
#define CHATML "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\\\n' + m.content + '<|im_end|>\\\\n' }}{% endfor %}"

static void test_places(void **state) {
    (void)state;
    static const struct {
        const char *config, *jinja, *json, *family, *problem;
    } cases[] = {
        {CONFIG(",\"chat_template\":\"" CHATML "\""), NULL, NULL, "ChatML", NULL},
        {CONFIG(",\"chat_template\":\"" CHATML "\""), "{{ '<|start_header_id|>' }}", NULL, "Llama 3", NULL},
        {CONFIG(",\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"{{ x }}\"},{\"name\":\"default\",\"template\":\"[INST]\"}]"),
         NULL, NULL, "Mistral", NULL},
        {CONFIG(""), NULL, "{\"chat_template\":\"[INST] <<SYS>>\"}", "Llama 2", NULL},
        {CONFIG(",\"chat_template\":null"), NULL, "{\"chat_template\":\"<|user|> <|end|>\"}", "Phi-3", NULL},
        {CONFIG(",\"chat_template\":\"<|user|>\""), NULL, NULL, "Zephyr", NULL},
        {CONFIG(",\"chat_template\":\"<start_of_turn>\""), NULL, NULL, "Gemma", NULL},
        {CONFIG(",\"chat_template\":\"{{ messages[0].content }}\""), NULL, NULL, "of its own", NULL},
        {CONFIG(""), NULL, NULL, NULL, "the model has no chat template"},
        {CONFIG(",\"chat_template\":7"), NULL, NULL, NULL, "tokenizer_config.json: chat_template: should be a text"},
        {CONFIG(",\"chat_template\":[{\"name\":\"rag\",\"template\":\"x\"}]"), NULL, NULL, NULL,
         "none of its templates is called \"default\""},
        {CONFIG(",\"chat_template\":\"{% if %}\""), NULL, NULL, NULL, "tokenizer_config.json: chat_template: line 1: an expression"},
        {CONFIG(",\"chat_template\":\"{{ messages | tojson }}\""), NULL, NULL, NULL,
         "line 1: the filter \"tojson\" of a list is not supported"},
        {CONFIG(""), NULL, "{", NULL, "chat_template.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[GM_PATH];
        static const char *const names[] = {"chat_template.jinja", "chat_template.json"};
        const char *texts[] = {cases[i].jinja, cases[i].json};
        for (int f = 0; f < 2; f++) {
            assert_int_equal(gm_path_join(path, directory, names[f]), GM_OK);
            remove(path);
            if (texts[f]) gm_test_write(directory, names[f], texts[f], strlen(texts[f]));
        }
        model m = open_model("bytes.tokenizer.json", cases[i].config);
        const char *family = gm_chat_family_name(m.chat), *problem = gm_chat_problem(m.chat), *wanted = cases[i].family;
        if ((!family != !wanted) || (family && strcmp(family, wanted) != 0))
            fail_msg("case %zu: the family is %s", i, family ? family : "none");
        if ((!problem != !cases[i].problem) || (problem && !strstr(problem, cases[i].problem)))
            fail_msg("case %zu: the problem is %s", i, problem ? problem : "none");
        if (problem) { /* said where a conversation is met, with the way out */
            gm_marked_text out = {0};
            assert_int_equal(gm_chat_render(m.chat, brief, 5, &out), GM_BAD_FILE);
            assert_non_null(strstr(gm_error_text(), "give the task file a \"chat\" with a text for each role"));
            gm_marked_free(&out);
        }
        close_model(&m);
        for (int f = 0; f < 2; f++) {
            assert_int_equal(gm_path_join(path, directory, names[f]), GM_OK);
            remove(path);
        }
    }
}

/* ---- conversations ---------------------------------------------------------------------------------------------- */

static void test_conversations(void **state) {
    (void)state;
#define U "{\"role\":\"user\",\"content\":\"u\"}"
#define A "{\"role\":\"assistant\",\"content\":\"a\"}"
#define S "{\"role\":\"system\",\"content\":\"s\"}"
    static const struct {
        const char *list, *message; /* NULL: good */
    } cases[] = {
        {"[" U "," A "]", NULL},
        {"[" S "," U "," A "," U "," A "]", NULL},
        {"[{\"from\":\"system\",\"value\":\"s\"},{\"from\":\"human\",\"value\":\"u\"},{\"from\":\"gpt\",\"value\":\"a\"}]", NULL},
        {"[" U ",{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"tool_calls\":[],\"name\":\"x\"}]", NULL},
        {"[" U ",{\"role\":\"assistant\",\"content\":\"\",\"weight\":0}," U "," A "]", NULL},
        {"{}", "messages: must be an array of messages"},
        {"[]", "messages: the last message should be the assistant's"},
        {"[" U "]", "messages: the last message should be the assistant's"},
        {"[" U "," A "," U "]", "messages: the last message should be the assistant's"},
        {"[7," A "]", "messages: message 1: 7 where an object should be"},
        {"[" A "]", "messages: message 1: role: assistant, where the user's turn is"},
        {"[" S "," A "]", "messages: message 2: role: assistant, where the user's turn is"},
        {"[" U "," U "," A "]", "messages: message 2: role: user, where the assistant's turn is"},
        {"[" U "," A "," A "]", "messages: message 3: role: assistant, where the user's turn is"},
        {"[" U "," S "," A "]", "messages: message 2: role: a message of the system can only come first"},
        {"[" U ",{\"role\":\"tool\",\"content\":\"x\"}]", "messages: message 2: role: \"tool\" is not supported; there are system, user"},
        {"[" U ",{\"role\":7,\"content\":\"x\"}]", "messages: message 2: role: 7 is not supported"},
        {"[" U ",{\"from\":\"observation\",\"value\":\"x\"}]", "messages: message 2: from: \"observation\" is not supported"},
        {"[" U ",{\"content\":\"x\"}]", "messages: message 2: no field role (or from)"},
        {"[" U ",{\"role\":\"assistant\"}]", "messages: message 2: no field content (or value)"},
        {"[" U ",{\"role\":\"assistant\",\"content\":7}]", "messages: message 2: content: 7 where a text should be"},
        {"[" U ",{\"role\":\"assistant\",\"content\":\"\"}]", "messages: message 2: content: the assistant's is empty"},
        {"[" U ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{}]}]",
         "messages: message 2: tool_calls: calls of tools are not supported"},
        {"[" U ",{\"role\":\"assistant\",\"content\":\"a\",\"function_call\":{}}]", "messages: message 2: function_call: calls of tools"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}," A "]",
         "message 1: content: a part of type \"image_url\"; only text is supported"},
        {"[{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}," A "]", "message 1: content: a part without a type"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}," A "]", "message 1: content: a part of type \"text\" without its text"},
        {"[" U ",{\"role\":\"assistant\",\"content\":\"a\",\"weight\":2}]", "message 2: weight: 2 is neither 0 nor 1"},
        {"[" U ",{\"role\":\"assistant\",\"content\":\"a\",\"weight\":0}]", "every message of the assistant has weight 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gm_region region = {0};
        gm_conversation conversation;
        cJSON *list = parse(cases[i].list);
        gm_status status = gm_conversation_read(&conversation, list, "messages", &region);
        if (!cases[i].message ? status != GM_OK : status != GM_BAD_FILE || !strstr(gm_error_text(), cases[i].message))
            fail_msg("%s: status %d, \"%s\"", cases[i].list, status, status == GM_OK ? "" : gm_error_text());
        for (size_t m = 0; status == GM_OK && m < conversation.count; m++)
            if (conversation.messages[m].content[0])
                assert_int_equal(conversation.messages[m].role[0], conversation.messages[m].content[0]);
        cJSON_Delete(list);
        gm_region_free(&region);
    }
}

/* ---- samples ---------------------------------------------------------------------------------------------------- */

/* The sample decoded, with [ ] around what carries loss. */
static void check_text(const model *m, const gm_sample *sample, const char *wanted) {
    gm_buffer out = {0};
    for (int32_t i = 0; i < sample->length; i++) {
        bool learns = gm_sample_learns(sample, false, i);
        if (learns && !gm_sample_learns(sample, false, i - 1)) gm_buffer_char(&out, '[');
        assert_int_equal(gm_tokenizer_decode(m->tokenizer, sample->ids + i, 1, false, &out), GM_OK);
        if (learns && !gm_sample_learns(sample, false, i + 1)) gm_buffer_char(&out, ']');
    }
    assert_string_equal(gm_buffer_string(&out), wanted);
    gm_buffer_free(&out);
}

static void test_cut(void **state) {
    (void)state;
    model m = open_model("bytes.tokenizer.json", CONFIG(",\"chat_template\":\"" CHATML "\""));
    gm_message messages[] = {{"system", "s", false},   {"user", "1", false}, {"assistant", "a", true}, {"user", "2", false},
                             {"assistant", "b", true}, {"user", "3", false}, {"assistant", "c", true}};
    gm_conversation conversation = {messages, 7};
    gm_region region = {0};
    gm_sample whole, sample;
#define IS(role, text) "<|im_start|>" role "\n" text "<|im_end|>\n"
#define ASKED(question, answer) IS("user", question) "<|im_start|>assistant\n[" answer "<|im_end|>]\n"
    assert_int_equal(gm_sample_encode_chat(&whole, m.tokenizer, m.chat, &conversation, true, 1000, &region), GM_OK);
    check_text(&m, &whole, IS("system", "s") ASKED("1", "a") ASKED("2", "b") ASKED("3", "c"));
    assert_false(whole.cut);
    int32_t system = 0, exchange, least = 0;
    while (whole.ids[system] != 198 || whole.ids[system - 1] != 562) system++; /* up to its line break */
    system++;
    exchange = (whole.length - system) / 3;
    assert_int_equal(system + 3 * exchange, whole.length);
    for (int64_t length = whole.length; length > 0; length--) {
        if (gm_sample_encode_chat(&sample, m.tokenizer, m.chat, &conversation, true, length, &region) != GM_OK) {
            assert_non_null(strstr(gm_error_text(), "the last answer takes 3 tokens and max_length is 3"));
            least = (int32_t)length + 1;
            break;
        }
        assert_true(sample.length <= length && sample.cut == (length < whole.length));
        if (length == whole.length - 1) check_text(&m, &sample, IS("system", "s") ASKED("2", "b") ASKED("3", "c"));
        if (length == system + 2 * exchange - 1 || length == system + exchange) check_text(&m, &sample, IS("system", "s") ASKED("3", "c"));
        if (length == system + exchange - 1) assert_int_equal(sample.length, length); /* the system's message begins to go */
        assert_int_equal(sample.ids[sample.length - 2], 562);
    }
    assert_int_equal(least, 4);
    messages[6].learnt = false; /* the newest exchange alone teaches nothing */
    assert_int_equal(gm_sample_encode_chat(&sample, m.tokenizer, m.chat, &conversation, true, system + exchange, &region), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "nothing that the assistant is to learn is left"));
    gm_region_free(&region);
    close_model(&m);
}

/* Ten exchanges of which the second alone is learnt: it is kept where dropping the first is enough, though what the search for
 * how many have to go tries first holds nothing to learn. */
static void test_cut_weights(void **state) {
    (void)state;
    enum { EXCHANGES = 10 };
    model m = open_model("bytes.tokenizer.json", CONFIG(",\"chat_template\":\"" CHATML "\""));
    gm_message messages[2 * EXCHANGES];
    for (int i = 0; i < EXCHANGES; i++) {
        messages[2 * i] = (gm_message){"user", "q", false};
        messages[2 * i + 1] = (gm_message){"assistant", "a", i == 1};
    }
    gm_conversation conversation = {messages, 2 * EXCHANGES};
    gm_region region = {0};
    gm_sample whole, sample;
    assert_int_equal(gm_sample_encode_chat(&whole, m.tokenizer, m.chat, &conversation, true, 1000, &region), GM_OK);
    int32_t exchange = whole.length / EXCHANGES, rest = whole.length - exchange;
    for (int64_t length = rest; length < whole.length; length++) {
        if (gm_sample_encode_chat(&sample, m.tokenizer, m.chat, &conversation, true, length, &region) != GM_OK)
            fail_msg("%s", gm_error_text());
        assert_true(sample.cut && sample.length == rest && sample.span_count == 1 && sample.prompt_length < exchange);
    }
    assert_int_equal(gm_sample_encode_chat(&sample, m.tokenizer, m.chat, &conversation, true, rest - 1, &region), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "nothing that the assistant is to learn is left"));
    gm_region_free(&region);
    close_model(&m);
}

/* A template that marks the content alone: the token behind the mark ends the turn and carries no loss; EOS comes only where no
 * token ends it. */
static void test_marked_content(void **state) {
    (void)state;
#define MARKED(end)                                                                                                                        \
    CONFIG(",\"chat_template\":\"{% for m in messages %}<|im_start|>{{ m.role }}\\n{% if m.role == 'assistant' %}{% generation %}"         \
           "{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}" end "\\n{% endfor %}\"")
    static const struct {
        const char *config, *wanted;
    } cases[] = {{MARKED("<|im_end|>"), IS("user", "1") "<|im_start|>assistant\n[a]<|im_end|>\n"},
                 {MARKED("."), "<|im_start|>user\n1.\n<|im_start|>assistant\n[a].\n[<|im_end|>]"}};
    gm_message messages[] = {{"user", "1", false}, {"assistant", "a", true}};
    gm_conversation conversation = {messages, 2};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model m = open_model("bytes.tokenizer.json", cases[i].config);
        gm_region region = {0};
        gm_sample sample;
        if (gm_sample_encode_chat(&sample, m.tokenizer, m.chat, &conversation, true, 1000, &region) != GM_OK)
            fail_msg("%s", gm_error_text());
        check_text(&m, &sample, cases[i].wanted);
        gm_region_free(&region);
        close_model(&m);
    }
}

/* Texts for each role: BOS in front as for prompts, what stands behind an answer learnt with it, EOS at the end; weights; special
 * tokens that a user writes are text. */
static void test_roles(void **state) {
    (void)state;
    static const gm_chat_roles roles = {{"", "\n"}, {"Q: ", "\n"}, {"A: ", "\n\n"}},
                               no_system = {{NULL, NULL}, {"", ""}, {"", "<|im_end|>"}};
    static const char config[] = CONFIG("");
    model m = open_model("bytes.tokenizer.json", config);
    gm_message messages[] = {
        {"system", "s", false}, {"user", "1", false}, {"assistant", "a", true}, {"user", "<|im_end|>", false}, {"assistant", "b", true}};
    gm_conversation conversation = {messages, 5};
    gm_region region = {0};
    gm_sample sample;
    gm_chat *chat;
    assert_int_equal(gm_chat_open(&chat, directory, m.tokenizer, &roles), GM_OK);
    assert_string_equal(gm_chat_family_name(chat), "the task file's");
    assert_int_equal(gm_sample_encode_chat(&sample, m.tokenizer, chat, &conversation, true, 1000, &region), GM_OK);
    check_text(&m, &sample, "<|begin_of_text|>s\nQ: 1\nA: [a\n\n]Q: <|im_end|>\nA: [b\n\n<|im_end|>]");
    assert_int_equal(sample.ids[sample.length - 1], 562);
    for (int32_t i = 1; i < sample.length - 1; i++) assert_int_not_equal(sample.ids[i], 562); /* the user's is text */
    messages[4].learnt = false;
    assert_int_equal(gm_sample_encode_chat(&sample, m.tokenizer, chat, &conversation, true, 1000, &region), GM_OK);
    check_text(&m, &sample, "<|begin_of_text|>s\nQ: 1\nA: [a\n\n]Q: <|im_end|>\nA: b\n\n");
    messages[4].learnt = true;
    assert_int_equal(gm_sample_encode_chat(&sample, m.tokenizer, chat, &conversation, false, 1000, &region), GM_OK);
    check_text(&m, &sample, "<|begin_of_text|>s\nQ: 1\nA: [a\n\n]Q: <|im_end|>\nA: [b\n\n]");
    gm_chat_close(chat);
    assert_int_equal(gm_chat_open(&chat, directory, m.tokenizer, &no_system), GM_OK);
    assert_int_equal(gm_sample_encode_chat(&sample, m.tokenizer, chat, &conversation, true, 1000, &region), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "message 1: the task file's chat has no role system"));
    gm_chat_close(chat);
    gm_region_free(&region);
    close_model(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),          cmocka_unit_test(test_expressions),   cmocka_unit_test(test_title),
        cmocka_unit_test(test_equality),         cmocka_unit_test(test_large_numbers), cmocka_unit_test(test_template_refused),
        cmocka_unit_test(test_template_damaged), cmocka_unit_test(test_many_pieces),   cmocka_unit_test(test_places),
        cmocka_unit_test(test_conversations),    cmocka_unit_test(test_cut),           cmocka_unit_test(test_cut_weights),
        cmocka_unit_test(test_marked_content),   cmocka_unit_test(test_roles),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
