/* tokenizer.json: what opens encodes and decodes, and gives ids of its own vocabulary alone. */
#include "fuzz.h"

#include "io/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "ab <s> x  y \xe2\x96\x81 \xc3\xa9 e\xcc\x81 I'M 1234\n\n\xf0\x9f\x98\x80";
    gm_tokenizer *tokenizer;
    const char *path = gm_fuzz_file(data, size);
    gm_status status = gm_tokenizer_open(&tokenizer, path);
    gm_fuzz_check(status, GM_BAD_FILE, path);
    if (status != GM_OK) return 0;
    gm_ids ids = {0};
    gm_buffer decoded = {0};
    for (unsigned flags = 0; flags < 4; flags++) {
        status = gm_tokenizer_encode(tokenizer, text, sizeof text - 1, flags, &ids);
        GM_CHECK(status == GM_OK || status == GM_BAD_FILE, "status %d: %s", (int)status, gm_error_text());
        for (size_t i = 0; i < ids.count; i++) GM_CHECK(gm_tokenizer_token(tokenizer, ids.ids[i]), "id %d", (int)ids.ids[i]);
        GM_CHECK(gm_tokenizer_decode(tokenizer, ids.ids, ids.count, flags & 1, &decoded) == GM_OK, "%s", gm_error_text());
    }
    gm_ids_free(&ids);
    gm_buffer_free(&decoded);
    gm_tokenizer_close(tokenizer);
    return 0;
}
