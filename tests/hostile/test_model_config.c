/* config.json from strangers: damage, bombs, odd files. Whatever it is, the answer is a status and a message with the path. */
#include "test_support.h"

#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "io/model_config.h"

#include <sys/stat.h>
#include <time.h>

static const char good[] =
    "{\"model_type\":\"qwen3\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":8,\"num_key_value_heads\":4,\"head_dim\":"
    "16,"
    "\"vocab_size\":100,\"use_sliding_window\":true,\"sliding_window\":16,\"max_window_layers\":1,\"layer_types\":[\"full_attention\","
    "\"sliding_attention\"],"
    "\"rope_theta\":1e6,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
    "\"original_max_position_embeddings\":64},\"rms_norm_eps\":1e-6,\"attention_bias\":true,\"eos_token_id\":[1,2],\"hidden_act\":"
    "\"silu\"}";

static gm_status read_bytes(gm_model_config *config, const char *directory, const char *path, const char *bytes, size_t length) {
    unlink(path); /* ext4 flushes a file that is truncated and written again */
    FILE *out = fopen(path, "wb");
    assert_true(out && fwrite(bytes, 1, length, out) == length && fclose(out) == 0);
    return gm_model_config_read(config, directory);
}

static void test_random_damage(void **state) {
    (void)state;
    static const char letters[] = "{}[]\",:\\0123456789-.eEntf\x80\xff\n ";
    char directory[4096], path[GM_PATH], text[sizeof good];
    gm_model_config config;
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "config.json"), GM_OK);
    if (read_bytes(&config, directory, path, good, sizeof good - 1) != GM_OK) fail_msg("%s", gm_error_text());
    gm_log_set_level(GM_LOG_ERROR);
    uint64_t seed = (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    gm_random random = gm_random_begin(seed, GM_RANDOM_TEST, 0);
    for (int round = 0; round < 4000; round++) {
        size_t length = sizeof good - 1;
        memcpy(text, good, sizeof good);
        for (uint32_t k = 1 + gm_random_below(&random, 3); k > 0; k--) {
            uint32_t at = gm_random_below(&random, sizeof good - 1);
            if (gm_random_below(&random, 10) == 0)
                length = at;
            else
                text[at] = letters[gm_random_below(&random, sizeof letters - 1)];
        }
        gm_status status = read_bytes(&config, directory, path, text, length);
        assert_true(status == GM_OK || status == GM_BAD_FILE);
        if (status == GM_BAD_FILE && !strstr(gm_error_text(), path)) fail_msg("does not name the file: %s", gm_error_text());
        if (status != GM_OK) continue; /* what is accepted is usable */
        assert_true(config.hidden_size > 0 && config.layers > 0 && config.heads % config.kv_heads == 0 && config.head_dim % 2 == 0);
        assert_true(config.window_from_layer < config.layers && config.eos_token < config.vocabulary && config.norm_eps >= 0 &&
                    config.rope_theta >= 1);
    }
    gm_log_set_level(GM_LOG_INFO);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_bombs(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    gm_model_config config;
    gm_buffer text = {0};
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "config.json"), GM_OK);
    gm_log_set_level(GM_LOG_ERROR);

    gm_buffer_text(&text, "{\"model_type\":\"llama\"");
    for (int i = 0; i < 100000; i++) gm_buffer_format(&text, ",\"k%d\":[]", i);
    gm_buffer_char(&text, '}');
    assert_int_equal(read_bytes(&config, directory, path, text.bytes, text.length), GM_OK); /* keys that are not known only warn */

    gm_buffer_clear(&text);
    gm_buffer_text(&text, "{\"model_type\":\"llama\",\"x\":");
    for (int i = 0; i < 100000; i++) gm_buffer_char(&text, '[');
    assert_int_equal(read_bytes(&config, directory, path, text.bytes, text.length), GM_BAD_FILE);

    gm_buffer_clear(&text);
    for (int i = 0; i < 5 * 1024 * 1024; i++) gm_buffer_char(&text, ' ');
    assert_int_equal(read_bytes(&config, directory, path, text.bytes, text.length), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "is larger than"));

    gm_buffer_clear(&text); /* one layer type a layer is looked at, however long the array is */
    gm_buffer_text(&text, "{\"model_type\":\"qwen2\",\"layer_types\":[1");
    for (int i = 0; i < 1000000; i++) gm_buffer_text(&text, ",1");
    gm_buffer_text(&text, "]}");
    assert_int_equal(read_bytes(&config, directory, path, text.bytes, text.length), GM_BAD_FILE);

    const char nul[] = "{\"model_type\":\"llama\\u0000x\"}";
    assert_int_equal(read_bytes(&config, directory, path, nul, sizeof nul - 1), GM_BAD_FILE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(gm_model_config_read(&config, directory), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "regular file"));
    gm_log_set_level(GM_LOG_INFO);
    gm_buffer_free(&text);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_damage), cmocka_unit_test(test_bombs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
