/* Lines of the jsonl task in every shape that it takes, good and bad, and the keys of a task file that say which. */
#include "data_files.h"
#include "test_directory.h"

#include "base/log.h"
#include "data/task.h"

static gm_status load(gm_item_set *set, const char *task_name, const char *text, bool skip_bad) {
    gm_task *task;
    gm_test_write(directory, "train.jsonl", text, strlen(text));
    if (gm_task_open(&task, task_name) != GM_OK) fail_msg("%s", gm_error_text());
    gm_status status = gm_task_load(task, directory, "train", "paper", skip_bad, set);
    gm_task_close(task);
    return status;
}

#define BELOW(more) "Below is an instruction that describes a task" more " Write a response that appropriately completes the request.\n\n"
#define USER "{\"role\":\"user\",\"content\":\"u\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"a\"}"

static void test_shapes(void **state) {
    (void)state;
    static const struct {
        const char *line, *prompt, *completion; /* prompt NULL: a conversation of `messages` messages */
        size_t messages;
    } cases[] = {
        {"{\"prompt\":\"p\",\"completion\":\"c\"}", "p", "c", 0},
        {"{\"prompt\":\"p\",\"completion\":\"c\",\"messages\":[],\"instruction\":\"i\",\"output\":\"o\"}", "p", "c", 0},
        {"{\"prompt\":\"p\",\"choices\":[\"x\",\"y\"],\"answer\":1,\"messages\":[" USER "," ANSWER "]}", "p", "y", 0},
        {"{\"instruction\":\"{i}\",\"input\":\"\",\"output\":\"o\"}", BELOW(".") "### Instruction:\n{i}\n\n### Response:\n", "o", 0},
        {"{\"instruction\":\"i\",\"output\":\"o\",\"text\":\"t\"}", BELOW(".") "### Instruction:\ni\n\n### Response:\n", "o", 0},
        {"{\"instruction\":\"i\",\"input\":\"é\",\"output\":\"o\"}",
         BELOW(", paired with an input that provides further context.") "### Instruction:\ni\n\n### Input:\né\n\n### Response:\n", "o", 0},
        {"{\"messages\":[" USER "," ANSWER "]}", NULL, NULL, 2},
        {"{\"prompt\":\"p\",\"prompt_id\":\"7\",\"messages\":[" USER "," ANSWER "," USER "," ANSWER "]}", NULL, NULL, 4},
        {"{\"id\":\"x\",\"conversations\":[{\"from\":\"human\",\"value\":\"u\"},{\"from\":\"gpt\",\"value\":\"a\"}]}", NULL, NULL, 2},
    };
    gm_buffer text = {0};
    gm_item_set set;
    size_t count = sizeof cases / sizeof *cases, conversations = 0;
    for (size_t i = 0; i < count; i++) gm_buffer_format(&text, "%s%s\r\n", i == 0 ? "\xef\xbb\xbf" : "\n", cases[i].line);
    if (load(&set, "jsonl", gm_buffer_string(&text), false) != GM_OK) fail_msg("%s", gm_error_text());
    assert_int_equal(set.count, count);
    for (size_t i = 0; i < count; i++) {
        const gm_item *item = &set.items[i];
        assert_int_equal(item->line, i == 0 ? 1 : 2 * i + 1);
        conversations += cases[i].prompt == NULL;
        if (!cases[i].prompt) {
            assert_non_null(item->conversation);
            assert_int_equal(item->conversation->count, cases[i].messages);
            assert_string_equal(item->conversation->messages[1].role, "assistant");
        } else {
            assert_null(item->conversation);
            assert_string_equal(item->prompt, cases[i].prompt);
            assert_string_equal(item->completion, cases[i].completion);
        }
    }
    assert_int_equal(set.conversations, conversations);
    uint32_t checksum = set.checksum;
    gm_item_set_free(&set);
    strstr(text.bytes, "\"value\":\"a\"")[9] = 'b'; /* a message's text is in the data's checksum */
    assert_int_equal(load(&set, "jsonl", gm_buffer_string(&text), false), GM_OK);
    assert_int_not_equal(set.checksum, checksum);
    gm_item_set_free(&set);
    gm_buffer_free(&text);
}

static void test_bad_lines(void **state) {
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"{}", "no field completion, nor messages or conversations, nor instruction"},
        {"{\"prompt\":\"p\"}", "no field completion, nor messages or conversations, nor instruction"},
        {"{\"prompt\":\"p\",\"completion\":\"\"}", "completion: is empty"},
        {"{\"prompt\":[],\"completion\":\"c\"}", "prompt: an array where a string should be"},
        {"{\"instruction\":\"\",\"output\":\"o\"}", "no field completion, nor messages"},
        {"{\"instruction\":\"i\"}", "no field output"},
        {"{\"instruction\":\"i\",\"output\":\"\"}", "output: is empty"},
        {"{\"instruction\":7,\"output\":\"o\"}", "instruction: a number where a string should be"},
        {"{\"instruction\":\"i\",\"input\":7,\"output\":\"o\"}", "input: a number where a string should be"},
        {"{\"messages\":\"x\"}", "messages: must be an array of messages"},
        {"{\"messages\":[" USER "]}", "messages: the last message should be the assistant's"},
        {"{\"conversations\":[{\"from\":\"gpt\",\"value\":\"a\"}]}", "conversations: message 1: role: assistant, where the user's turn is"},
        {"{\"messages\":[" USER "," ANSWER "}", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gm_buffer text = {0};
        gm_item_set set;
        gm_buffer_format(&text, "{\"messages\":[" USER "," ANSWER "]}\n%s\n{\"instruction\":\"i\",\"output\":\"o\"}\n", cases[i].line);
        gm_status status = load(&set, "jsonl", gm_buffer_string(&text), false);
        if (status != GM_BAD_FILE || !strstr(gm_error_text(), "train.jsonl: line 2: ") || !strstr(gm_error_text(), cases[i].message))
            fail_msg("%s: status %d, \"%s\"", cases[i].line, status, status == GM_OK ? "" : gm_error_text());
        assert_int_equal(load(&set, "jsonl", gm_buffer_string(&text), true), GM_OK);
        assert_true(set.count == 2 && set.skipped == 1 && set.items[1].line == 3);
        gm_item_set_free(&set);
        gm_buffer_free(&text);
    }
}

static void test_task_files(void **state) {
    (void)state;
    static const char good[] = "\"conversation\":\"turns\",\"chat\":{\"user\":\"U{content}\",\"assistant\":\"{content}{{A}}\"},"
                               "\"shapes\":[{\"with\":[\"q\"],\"prompt\":\"{q}?\",\"completion\":\"a\"}]";
    static const struct {
        const char *keys, *message; /* NULL: good */
    } cases[] = {
        {good, NULL},
        {"\"conversation\":7", "conversation: must be a string"},
        {"\"conversation\":\"turns[]\"", "conversation: must be a single field, without []"},
        {"\"chat\":{\"user\":\"{content}\",\"assistant\":\"{content}\"}", "chat: stands without a conversation"},
        {"\"conversation\":\"t\",\"chat\":7", "chat: must be an object"},
        {"\"conversation\":\"t\",\"chat\":{\"user\":\"{content}\"}", "chat.assistant: is missing"},
        {"\"conversation\":\"t\",\"chat\":{\"tool\":\"{content}\"}", "chat.tool: no such key; there are system, user, assistant"},
        {"\"conversation\":\"t\",\"chat\":{\"user\":\"x\",\"assistant\":\"{content}\"}", "chat.user: must have {content} in it, once"},
        {"\"conversation\":\"t\",\"chat\":{\"user\":\"{content}{content}\",\"assistant\":\"\"}",
         "chat.user: must have {content} in it, once"},
        {"\"conversation\":\"t\",\"chat\":{\"user\":\"{content:capitalize}\",\"assistant\":\"\"}",
         "chat.user: must have {content} in it, once"},
        {"\"conversation\":\"t\",\"chat\":{\"user\":\"{role}\",\"assistant\":\"\"}", "chat.user: {role}: neither a field"},
        {"\"shapes\":{}", "shapes: must be an array of objects"},
        {"\"shapes\":[7]", "shapes[0]: must be an object"},
        {"\"shapes\":[{\"with\":[\"z\"],\"prompt\":\"\",\"completion\":\"a\"}]", "shapes[0].with: \"z\" is none of the fields"},
        {"\"shapes\":[{\"prompt\":\"\",\"completion\":\"a\"}]", "shapes[0].with: must be an array of strings"},
        {"\"shapes\":[{\"with\":[\"q\"],\"completion\":\"a\"}]", "shapes[0].prompt: is missing"},
        {"\"shapes\":[{\"with\":[\"q\"],\"prompt\":\"{q}\"}]", "shapes[0].completion: is missing"},
        {"\"shapes\":[{\"with\":[\"q\"],\"prompt\":\"{options}\",\"completion\":\"a\"}]", "shapes[0].prompt: asks for choices"},
        {"\"shapes\":[{\"when\":[\"q\"],\"prompt\":\"{q}\",\"completion\":\"a\"}]", "shapes[0].when: no such key"},
    };
    char path[GM_PATH];
    assert_int_equal(gm_path_join(path, directory, "t.json"), GM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gm_buffer text = {0};
        gm_task *task;
        gm_buffer_format(
            &text,
            "{\"summary\":\"s\",\"splits\":{\"train\":{\"files\":[\"train.jsonl\"]}},\"fields\":{\"q\":\"q\"},\"completion\":\"c\",%s,"
            "\"prompts\":{\"paper\":{\"prompt\":\"{q}\",\"scoring\":\"label\"}}}",
            cases[i].keys);
        gm_test_write(directory, "t.json", text.bytes, text.length);
        gm_status status = gm_task_open(&task, path);
        if (!cases[i].message ? status != GM_OK : status != GM_USAGE || !strstr(gm_error_text(), cases[i].message))
            fail_msg("%s: status %d, \"%s\"", cases[i].keys, status, status == GM_OK ? "" : gm_error_text());
        if (!cases[i].message) {
            const gm_chat_roles *chat = gm_task_chat(task);
            gm_item_set set;
            assert_true(chat && !chat->system.before && strcmp(chat->user.before, "U") == 0 && strcmp(chat->user.after, "") == 0);
            assert_string_equal(chat->assistant.after, "{A}");
            if (load(&set, path, "{\"q\":\"why\",\"a\":\"so\"}\n{\"turns\":[" USER "," ANSWER "]}\n", false) != GM_OK)
                fail_msg("%s", gm_error_text());
            assert_string_equal(set.items[0].prompt, "why?");
            assert_non_null(set.items[1].conversation);
            gm_item_set_free(&set);
        }
        gm_task_close(task);
        gm_buffer_free(&text);
    }
    static const char no_completion[] =
        "{\"summary\":\"s\",\"splits\":{},\"fields\":{},\"choices\":{\"texts\":\"c[]\"},\"answer\":\"a\","
        "\"conversation\":\"m\",\"prompts\":{\"p\":{\"prompt\":\"\",\"completion\":\"{text}\",\"scoring\":\"label\"}}}";
    gm_task *task;
    gm_test_write(directory, "t.json", no_completion, strlen(no_completion));
    assert_int_equal(gm_task_open(&task, path), GM_USAGE);
    assert_non_null(strstr(gm_error_text(), "conversation: stands without a completion"));
}

int main(void) {
    gm_log_set_level(GM_LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_bad_lines), cmocka_unit_test(test_task_files)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
