/* A whole safetensors file, header and data: what opens tiles its data exactly. */
#include "fuzz.h"

#include "io/safetensors_header.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gm_safetensors_contents contents = {0};
    gm_status status = gm_safetensors_read_header(&contents, "file", (gm_mapped_file){data, size});
    gm_fuzz_check(status, GM_BAD_FILE, "file");
    const unsigned char *end = NULL;
    for (size_t i = 0; status == GM_OK && i < contents.count; i++) {
        const gm_file_tensor *t = &contents.tensors[i];
        uint64_t bytes = gm_type_size(t->type);
        for (int k = 0; k < t->rank; k++) bytes *= (uint64_t)t->dim[k];
        GM_CHECK(bytes == t->byte_count && (!end || t->bytes == end), "%s: not where it should be", t->name);
        end = t->bytes + t->byte_count;
    }
    if (end) GM_CHECK(end == data + size, "the data has a rest");
    gm_region_free(&contents.region);
    free(contents.tensors);
    free(contents.metadata);
    return 0;
}
