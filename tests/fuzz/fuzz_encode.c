/* A text through one of the tokenizers that the goldens have, which the first byte chooses; the second says how. */
#include "fuzz.h"

#include "io/tokenizer/tokenizer.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const files[] = {"bytes", "crossing", "holes", "marks", "mixed"};
    enum { FILES = sizeof files / sizeof *files };
    static gm_tokenizer *tokenizers[FILES]; /* kept: the sanitizer sees them here */
    if (size < 2) return -1;
    size_t which = data[0] % FILES;
    char path[64];
    snprintf(path, sizeof path, "tests/golden/tokenizer/%s.tokenizer.json", files[which]);
    if (!tokenizers[which]) GM_CHECK(gm_tokenizer_open(&tokenizers[which], path) == GM_OK, "%s", gm_error_text());
    gm_ids ids = {0};
    gm_buffer text = {0};
    gm_status status = gm_tokenizer_encode(tokenizers[which], (const char *)data + 2, size - 2, data[1] & 3, &ids);
    gm_fuzz_check(status, GM_BAD_FILE, "UTF-8");
    for (size_t i = 0; i < ids.count; i++) GM_CHECK(gm_tokenizer_token(tokenizers[which], ids.ids[i]), "id %d", (int)ids.ids[i]);
    GM_CHECK(gm_tokenizer_decode(tokenizers[which], ids.ids, ids.count, data[1] & 4, &text) == GM_OK, "%s", gm_error_text());
    gm_ids_free(&ids);
    gm_buffer_free(&text);
    return 0;
}
