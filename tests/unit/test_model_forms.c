/* One model in the forms that models come in: a file, shards with an index, links to blobs as in a hub cache, names without the
 * prefix "model.", rotary positions in the spelling of transformers 5. gm_weights_hash covers every tensor's name, type, shape and
 * data and all of the configuration: equal hashes are equal models. */
#include "test_support.h"

#include "base/file.h"
#include "io/weights.h"

#include <sys/stat.h>

static const char golden[] = "tests/golden/llama31-gmoe/base"; /* F16, tied embeddings, RoPE scaling llama3 */
static char directory[GM_PATH];

static const char *at(const char *name) {
    static char paths[4][GM_PATH];
    static int turn;
    char *path = paths[turn++ % 4];
    assert_int_equal(gm_path_join(path, directory, name), GM_OK);
    return path;
}

static uint64_t hash_of(const char *model) {
    gm_safetensors *file;
    gm_model_config config;
    if (gm_model_config_read(&config, model) != GM_OK || gm_safetensors_open_model(&file, model) != GM_OK ||
        gm_weights_check(file, &config) != GM_OK)
        fail_msg("%s", gm_error_text());
    uint64_t hash = gm_weights_hash(file, &config);
    gm_safetensors_close(file);
    return hash;
}

static void copy_config(const char *from, const char *to) {
    gm_buffer text = {0};
    char path[GM_PATH];
    assert_int_equal(gm_path_join(path, golden, "config.json"), GM_OK);
    assert_int_equal(gm_file_read(&text, path, 1 << 16, GM_USAGE), GM_OK);
    char *place = from ? strstr(gm_buffer_string(&text), from) : NULL;
    assert_true(!from || place);
    gm_buffer out = {0};
    gm_buffer_append(&out, text.bytes, from ? (size_t)(place - text.bytes) : text.length);
    if (from) gm_buffer_text(&out, to), gm_buffer_text(&out, place + strlen(from));
    assert_int_equal(gm_file_write(at("config.json"), out.bytes, out.length), GM_OK);
    gm_buffer_free(&text);
    gm_buffer_free(&out);
}

/* Every `of`-th tensor of the golden from `first` on, their names from the `skip`-th byte. */
static void write_part(const char *name, size_t first, size_t of, size_t skip, gm_buffer *index) {
    gm_safetensors *file;
    gm_write_tensor tensors[64];
    size_t count = 0;
    assert_int_equal(gm_safetensors_open_model(&file, golden), GM_OK);
    assert_true(gm_safetensors_count(file) <= 64);
    for (size_t i = first; i < gm_safetensors_count(file); i += of) {
        const gm_file_tensor *t = gm_safetensors_at(file, i);
        gm_write_tensor *w = &tensors[count++];
        *w = (gm_write_tensor){.name = t->name + skip, .type = t->type, .rank = t->rank, .data = t->bytes};
        memcpy(w->dim, t->dim, sizeof w->dim);
        gm_buffer_format(index, "%s\"%s\":\"%s\"", index->length ? "," : "", w->name, name);
    }
    assert_int_equal(gm_safetensors_write(at(name), tensors, count, NULL, 0), GM_OK);
    gm_safetensors_close(file);
}

static void write_shards(bool linked) {
    static const char *const names[] = {"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                        "model-00003-of-00003.safetensors"};
    gm_buffer index = {0}, text = {0};
    for (size_t i = 0; i < 3; i++) write_part(names[i], i, 3, 0, &index);
    gm_buffer_format(&text, "{\"metadata\":{\"total_size\":1},\"weight_map\":{%s}}", gm_buffer_string(&index));
    assert_int_equal(gm_file_write(at("model.safetensors.index.json"), text.bytes, text.length), GM_OK);
    for (size_t i = 0; linked && i < 3; i++) {
        char blob[32];
        snprintf(blob, sizeof blob, "blobs/%zu", i);
        assert_int_equal(rename(at(names[i]), at(blob)), 0);
        assert_int_equal(symlink(blob, at(names[i])), 0);
    }
    gm_buffer_free(&index);
    gm_buffer_free(&text);
}

static int begin(void **state) {
    (void)state;
    gm_test_directory(directory);
    copy_config(NULL, NULL);
    return 0;
}

static int end(void **state) {
    (void)state;
    return gm_directory_remove(directory);
}

static void test_shards(void **state) {
    (void)state;
    write_shards(false);
    assert_int_equal(hash_of(directory), hash_of(golden));
}

static void test_hub_cache(void **state) {
    (void)state;
    assert_int_equal(mkdir(at("blobs"), 0700), 0);
    write_shards(true);
    assert_int_equal(hash_of(directory), hash_of(golden));
}

static void test_without_prefix(void **state) {
    (void)state;
    gm_buffer index = {0};
    write_part("model.safetensors", 0, 1, strlen("model."), &index);
    assert_non_null(strstr(gm_buffer_string(&index), "\"embed_tokens.weight\""));
    assert_int_equal(hash_of(directory), hash_of(golden));
    gm_buffer_free(&index);
}

static void test_newer_spelling(void **state) {
    (void)state;
    gm_buffer index = {0};
    write_part("model.safetensors", 0, 1, 0, &index);
    copy_config("\"rope_scaling\"", "\"rope_parameters\"");
    assert_int_equal(hash_of(directory), hash_of(golden));
    copy_config("\"factor\": 8.0", "\"factor\": 4.0"); /* the hash sees it */
    assert_int_not_equal(hash_of(directory), hash_of(golden));
    gm_buffer_free(&index);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shards, begin, end),
        cmocka_unit_test_setup_teardown(test_hub_cache, begin, end),
        cmocka_unit_test_setup_teardown(test_without_prefix, begin, end),
        cmocka_unit_test_setup_teardown(test_newer_spelling, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
