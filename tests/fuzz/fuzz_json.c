/* JSON: the reader, the tree and the writer hold against one another. */
#include "fuzz.h"

#include "base/json.h"

/* What the tree prints is JSON again, of the same value. */
static void check_tree(const cJSON *tree) {
    char *text = cJSON_PrintUnformatted(tree);
    cJSON *again;
    GM_CHECK(text, "out of memory");
    GM_CHECK(gm_json_parse("printed", text, strlen(text), &again) == GM_OK, "%s: %s", gm_error_text(), text);
    cJSON_Delete(again);
    cJSON_free(text);
}

/* Any bytes are written as a string that reads back. */
static void check_writer(const uint8_t *data, size_t size) {
    gm_buffer out = {0};
    gm_json_reader reader;
    gm_json_write_string(&out, (const char *)data, size);
    gm_json_reader_init(&reader, "written", gm_buffer_string(&out), out.length);
    GM_CHECK(gm_json_read_string(&reader) == GM_OK && gm_json_finish(&reader) == GM_OK, "%s", gm_error_text());
    gm_json_reader_free(&reader);
    gm_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    cJSON *tree = NULL;
    gm_json_reader reader;
    gm_json_reader_init(&reader, "file", text, size);
    gm_status read = gm_json_skip(&reader);
    if (read == GM_OK) read = gm_json_finish(&reader);
    gm_fuzz_check(read, GM_BAD_FILE, "file");
    gm_json_reader_free(&reader);
    gm_status parsed = gm_json_parse("file", text, size, &tree);
    gm_fuzz_check(parsed, GM_BAD_FILE, "file");
    GM_CHECK(parsed != GM_OK || read == GM_OK, "the tree takes what the reader refuses");
    if (parsed == GM_OK) check_tree(tree);
    cJSON_Delete(parsed == GM_OK ? tree : NULL);
    check_writer(data, size);
    return 0;
}
