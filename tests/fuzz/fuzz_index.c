/* model.safetensors.index.json beside two shards "s1" (tensor a) and "s2" (tensors b, c). */
#include "fuzz.h"

#include "io/safetensors.h"

static void put_shards(const char *directory) {
    static const uint8_t byte[2] = {1, 2};
    static const gm_write_tensor one[] = {{"a", GM_U8, 1, {1}, byte}}, two[] = {{"b", GM_U8, 1, {1}, byte}, {"c", GM_U8, 1, {1}, byte}};
    char path[GM_PATH];
    GM_CHECK(gm_path_join(path, directory, "s1") == GM_OK && gm_safetensors_write(path, one, 1, NULL, 0) == GM_OK, "no s1");
    GM_CHECK(gm_path_join(path, directory, "s2") == GM_OK && gm_safetensors_write(path, two, 2, NULL, 0) == GM_OK, "no s2");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *directory;
    gm_fuzz_file(data, size);
    if (!directory) put_shards(directory = gm_fuzz_directory("model.safetensors.index.json"));
    gm_safetensors *file;
    gm_status status = gm_safetensors_open_model(&file, directory);
    gm_fuzz_check(status, GM_BAD_FILE, directory);
    GM_CHECK((status == GM_OK) == (file != NULL), "status %d", (int)status);
    gm_safetensors_close(file);
    return 0;
}
