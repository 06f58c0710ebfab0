/* adapter_config.json: what is accepted passes the check of an adapter's settings. */
#include "fuzz.h"

#include "model/adapter/adapter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gm_adapter_config config;
    const char *path = gm_fuzz_file(data, size);
    gm_status status = gm_adapter_config_read(&config, path);
    gm_fuzz_check(status, GM_BAD_FILE, path);
    if (status == GM_OK) GM_CHECK(gm_adapter_config_check(&config) == GM_OK, "%s", gm_error_text());
    return 0;
}
