/* The header is made in memory (it is small), the tensors go from where they are to the file. */
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "io/safetensors.h"

#include <string.h>

static size_t byte_count(const gm_write_tensor *tensor) {
    size_t size = gm_type_size(tensor->type);
    GM_CHECK(tensor->rank >= 0 && tensor->rank <= GM_FILE_TENSOR_RANK, "%s: rank %d", tensor->name, tensor->rank);
    for (int i = 0; i < tensor->rank; i++)
        GM_CHECK(tensor->dim[i] >= 0 && !__builtin_mul_overflow(size, (size_t)tensor->dim[i], &size), "%s: dimension %d", tensor->name, i);
    GM_CHECK(tensor->data || size == 0, "%s: no data", tensor->name);
    return size;
}

static void append_tensor(gm_buffer *header, const gm_write_tensor *tensor, uint64_t begin, uint64_t end) {
    gm_json_write_string(header, tensor->name, strlen(tensor->name));
    gm_buffer_format(header, ":{\"dtype\":\"%s\",\"shape\":[", gm_type_name(tensor->type));
    for (int i = 0; i < tensor->rank; i++) gm_buffer_format(header, "%s%lld", i ? "," : "", (long long)tensor->dim[i]);
    gm_buffer_format(header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin, (unsigned long long)end);
}

/* Length, JSON and padding. */
static gm_status make_header(gm_buffer *header, const gm_write_tensor *tensors, size_t count, const gm_metadata_entry *metadata,
                             size_t metadata_count) {
    enum { PREFIX = 8, ALIGNMENT = 8 };
    gm_buffer_append(header, "\0\0\0\0\0\0\0", PREFIX);
    gm_buffer_char(header, '{');
    if (metadata_count) gm_buffer_text(header, "\"__metadata__\":{");
    for (size_t i = 0; i < metadata_count; i++) {
        if (i) gm_buffer_char(header, ',');
        gm_json_write_string(header, metadata[i].key, strlen(metadata[i].key));
        gm_buffer_char(header, ':');
        gm_json_write_string(header, metadata[i].value, strlen(metadata[i].value));
    }
    if (metadata_count) gm_buffer_text(header, count ? "}," : "}");
    uint64_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t end = offset + byte_count(&tensors[i]);
        if (i) gm_buffer_char(header, ',');
        append_tensor(header, &tensors[i], offset, end);
        offset = end;
    }
    GM_CHECK(offset <= (uint64_t)GM_EXACT_INTEGER, "%llu bytes of tensors", (unsigned long long)offset);
    gm_buffer_char(header, '}');
    while (header->length % ALIGNMENT && !header->failed) gm_buffer_char(header, ' ');
    GM_TRY(gm_buffer_status(header));
    uint64_t length = header->length - PREFIX;
    for (int i = 0; i < PREFIX; i++) header->bytes[i] = (char)(length >> (8 * i));
    return GM_OK;
}

typedef struct gm_tensor_file {
    const gm_buffer *header;
    const gm_write_tensor *tensors;
    size_t count;
} gm_tensor_file;

static gm_status put_all(void *context, int descriptor, const char *path) {
    const gm_tensor_file *file = context;
    GM_TRY(gm_file_put(descriptor, path, file->header->bytes, file->header->length));
    for (size_t i = 0; i < file->count; i++) GM_TRY(gm_file_put(descriptor, path, file->tensors[i].data, byte_count(&file->tensors[i])));
    return GM_OK;
}

gm_status gm_safetensors_write(const char *path, const gm_write_tensor *tensors, size_t count, const gm_metadata_entry *metadata,
                               size_t metadata_count) {
    gm_buffer header = {0};
    gm_status status = make_header(&header, tensors, count, metadata, metadata_count);
    if (status == GM_OK) status = gm_file_write_by(path, put_all, &(gm_tensor_file){&header, tensors, count});
    gm_buffer_free(&header);
    return status;
}
