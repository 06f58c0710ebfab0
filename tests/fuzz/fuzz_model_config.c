/* config.json of a base model: what is accepted can be used. */
#include "fuzz.h"

#include "io/model_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gm_model_config c;
    gm_fuzz_file(data, size);
    const char *directory = gm_fuzz_directory("config.json");
    gm_status status = gm_model_config_read(&c, directory);
    gm_fuzz_check(status, GM_BAD_FILE, directory);
    if (status != GM_OK) return 0;
    GM_CHECK(c.hidden_size > 0 && c.ffn_size > 0 && c.layers > 0 && c.vocabulary > 0 && c.max_positions > 0, "a size");
    GM_CHECK(c.kv_heads > 0 && c.heads % c.kv_heads == 0 && c.head_dim > 0 && c.head_dim % 2 == 0, "heads");
    GM_CHECK(c.window_from_layer >= 0 && c.window_from_layer < c.layers && c.sliding_window >= 0, "a window");
    GM_CHECK(c.eos_token >= -1 && c.eos_token < c.vocabulary && c.bos_token >= -1 && c.bos_token < c.vocabulary, "a token");
    GM_CHECK(c.norm_eps >= 0 && c.rope_theta >= 1, "a number");
    return 0;
}
