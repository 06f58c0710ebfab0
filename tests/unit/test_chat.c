/* Conversations against what transformers and the tokenizers package make of them (scripts/oracle/make_chat_goldens.py writes
 * tests/golden/chat; GMOE_CHAT_GOLDENS names another folder of such files), and what is refused or cut. */
#include "data_files.h"

#include "data/sample_chat.h"
#include "io/tokenizer/tokenizer.h"

#include <dirent.h>

static char directory[GM_PATH];

static int make_directory(void **state) {
    (void)state;
    gm_test_directory(directory);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    return gm_directory_remove(directory);
}

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
