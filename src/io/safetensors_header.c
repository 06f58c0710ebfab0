/* The streaming reader goes through the header once; a tensor costs its name and one gm_file_tensor. What the JSON says is
 * then held against the file: sorted by offset, the tensors must tile the data without hole, overlap or rest. */
#include "io/safetensors_header.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t header_limit = 100 * 1000 * 1000; /* as in the reference implementation */
enum { STRING_LIMIT = 16 * 1024 * 1024 };               /* of a name or a value of the metadata, where some trainers keep megabytes */

typedef struct header {
    gm_json_reader reader;
    gm_safetensors_contents *contents;
    const char *path;
    const unsigned char *data; /* after the header */
    size_t data_length;
    gm_buffer place; /* "path: tensor", the source of messages inside a tensor's entry */
} header;

static gm_status read_type(header *h, gm_type *type) {
    GM_TRY(gm_json_read_string(&h->reader));
    for (gm_type t = 0; t < GM_TYPE_COUNT; t++)
        if (gm_json_name_is(&h->reader, gm_type_name(t))) return *type = t, GM_OK;
    return gm_json_error(&h->reader, "dtype \"%.40s\" is not supported (F64, F32, F16, BF16, I8 … U64 and BOOL are)",
                         gm_buffer_string(&h->reader.string));
}

static gm_status read_shape(header *h, gm_file_tensor *tensor) {
    bool more;
    GM_TRY(gm_json_open(&h->reader, GM_JSON_ARRAY));
    for (tensor->rank = 0;; tensor->rank++) {
        GM_TRY(gm_json_next(&h->reader, &more));
        if (!more) return GM_OK;
        if (tensor->rank == GM_FILE_TENSOR_RANK)
            return gm_json_error(&h->reader, "the shape has more than %d dimensions", GM_FILE_TENSOR_RANK);
        int64_t *dim = &tensor->dim[tensor->rank];
        GM_TRY(gm_json_read_integer(&h->reader, dim));
        if (*dim < 0) return gm_json_error(&h->reader, "the shape has the negative dimension %lld", (long long)*dim);
    }
}

/* Sets bytes and byte_count; they lie within the data afterwards. */
static gm_status read_offsets(header *h, gm_file_tensor *tensor) {
    int64_t offset[2] = {0};
    size_t count = 0;
    bool more;
    GM_TRY(gm_json_open(&h->reader, GM_JSON_ARRAY));
    for (;; count++) {
        GM_TRY(gm_json_next(&h->reader, &more));
        if (!more) break;
        if (count == 2) return gm_json_error(&h->reader, "data_offsets has more than two values");
        GM_TRY(gm_json_read_integer(&h->reader, &offset[count]));
        if (offset[count] < 0) return gm_json_error(&h->reader, "data_offsets has the negative value %lld", (long long)offset[count]);
    }
    if (count < 2) return gm_json_error(&h->reader, "data_offsets has fewer than two values");
    if (offset[0] > offset[1])
        return gm_json_error(&h->reader, "data_offsets begins at %lld after its end at %lld", (long long)offset[0], (long long)offset[1]);
    if ((uint64_t)offset[1] > h->data_length) {
        size_t before = (size_t)(h->data - (const unsigned char *)h->reader.begin) + sizeof(uint64_t);
        return gm_json_error(&h->reader, "ends at byte %llu of a file of %llu; the download is incomplete",
                             (unsigned long long)offset[1] + before, (unsigned long long)h->data_length + before);
    }
    tensor->bytes = h->data + offset[0];
    tensor->byte_count = (size_t)(offset[1] - offset[0]);
    return GM_OK;
}

static gm_status check_size(const header *h, const gm_file_tensor *tensor) {
    size_t size = gm_type_size(tensor->type);
    for (int i = 0; i < tensor->rank; i++)
        if (__builtin_mul_overflow(size, (size_t)tensor->dim[i], &size))
            return gm_json_error(&h->reader, "the shape has more elements than memory has bytes");
    if (size == tensor->byte_count) return GM_OK;
    return gm_json_error(&h->reader, "shape and dtype make %zu bytes, data_offsets %zu", size, tensor->byte_count);
}

static gm_status read_tensor(header *h, gm_file_tensor *tensor) {
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    bool seen[3] = {false}, more;
    GM_TRY(gm_json_open(&h->reader, GM_JSON_OBJECT));
    for (;;) {
        GM_TRY(gm_json_next_member(&h->reader, &more));
        if (!more) break;
        int field = 0;
        while (field < 3 && !gm_json_name_is(&h->reader, fields[field])) field++;
        if (field < 3 && seen[field]) return gm_json_error(&h->reader, "%s stands twice", fields[field]);
        if (field < 3) seen[field] = true;
        switch (field) {
        case 0: GM_TRY(read_type(h, &tensor->type)); break;
        case 1: GM_TRY(read_shape(h, tensor)); break;
        case 2: GM_TRY(read_offsets(h, tensor)); break;
        default: GM_TRY(gm_json_skip(&h->reader)); /* as the reference implementation does */
        }
    }
    for (int i = 0; i < 3; i++)
        if (!seen[i]) return gm_json_error(&h->reader, "%s is missing", fields[i]);
    return check_size(h, tensor);
}

/* The string just read, kept for good. */
static gm_status keep_string(header *h, const char **kept) {
    const gm_buffer *string = &h->reader.string;
    if (string->length && memchr(string->bytes, '\0', string->length)) return gm_json_error(&h->reader, "a string holds the NUL character");
    *kept = gm_region_copy(&h->contents->region, gm_buffer_string(string), string->length);
    return *kept ? GM_OK : GM_NO_MEMORY;
}

static int by_key(const void *a, const void *b) { return strcmp(((const gm_metadata_entry *)a)->key, ((const gm_metadata_entry *)b)->key); }

static gm_status read_metadata(header *h) {
    gm_safetensors_contents *c = h->contents;
    size_t first = c->metadata_count;
    bool more;
    GM_TRY(gm_json_open(&h->reader, GM_JSON_OBJECT));
    for (;;) {
        GM_TRY(gm_json_next_member(&h->reader, &more));
        if (!more) break;
        if (c->metadata_count - first == GM_SAFETENSORS_METADATA)
            return gm_json_error(&h->reader, "more than %d entries", GM_SAFETENSORS_METADATA);
        GM_GROW(c->metadata, c->metadata_capacity, c->metadata_count + 1);
        gm_metadata_entry *entry = &c->metadata[c->metadata_count];
        GM_TRY(keep_string(h, &entry->key));
        GM_TRY(gm_json_read_string(&h->reader));
        GM_TRY(keep_string(h, &entry->value));
        c->metadata_count++;
    }
    size_t count = c->metadata_count - first;
    if (count > 1) qsort(c->metadata + first, count, sizeof *c->metadata, by_key);
    for (size_t i = first + 1; i < c->metadata_count; i++)
        if (strcmp(c->metadata[i - 1].key, c->metadata[i].key) == 0)
            return gm_json_error(&h->reader, "\"%.100s\" stands twice", c->metadata[i].key);
    return GM_OK;
}

/* at a member's value; its name was just read */
static gm_status read_entry(header *h, bool *metadata_seen) {
    gm_safetensors_contents *c = h->contents;
    const char *name = NULL;
    GM_TRY(keep_string(h, &name));
    gm_buffer_clear(&h->place);
    gm_buffer_format(&h->place, "%s: %.200s", h->path, name);
    GM_TRY(gm_buffer_status(&h->place));
    h->reader.source = gm_buffer_string(&h->place);
    if (strcmp(name, "__metadata__") == 0) {
        if (*metadata_seen) return gm_json_error(&h->reader, "stands twice");
        *metadata_seen = true;
        GM_TRY(read_metadata(h));
    } else {
        if (c->count == GM_SAFETENSORS_TENSORS) return gm_json_error(&h->reader, "more than %d tensors", GM_SAFETENSORS_TENSORS);
        GM_GROW(c->tensors, c->capacity, c->count + 1);
        c->tensors[c->count] = (gm_file_tensor){.name = name};
        GM_TRY(read_tensor(h, &c->tensors[c->count]));
        c->count++;
    }
    h->reader.source = h->path;
    return GM_OK;
}

static gm_status read_entries(header *h) {
    bool more, metadata_seen = false;
    GM_TRY(gm_json_open(&h->reader, GM_JSON_OBJECT));
    for (;;) {
        GM_TRY(gm_json_next_member(&h->reader, &more));
        if (!more) return gm_json_finish(&h->reader);
        GM_TRY(read_entry(h, &metadata_seen));
    }
}

static int by_offset(const void *a, const void *b) { /* a tensor without elements comes before the one that begins where it is */
    const gm_file_tensor *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    if (x->byte_count != y->byte_count) return x->byte_count < y->byte_count ? -1 : 1;
    return strcmp(x->name, y->name);
}

static gm_status check_tiling(const header *h, const gm_file_tensor *tensors, size_t count) {
    const unsigned char *end = h->data;
    for (size_t i = 0; i < count; i++) {
        const gm_file_tensor *t = &tensors[i];
        if (i > 0 && t->bytes < end) return gm_error(GM_BAD_FILE, "%s: %.200s: overlaps %.200s", h->path, t->name, tensors[i - 1].name);
        if (t->bytes != end)
            return gm_error(GM_BAD_FILE, "%s: %.200s: %zu bytes before it belong to no tensor", h->path, t->name, (size_t)(t->bytes - end));
        end = t->bytes + t->byte_count;
    }
    size_t rest = h->data_length - (size_t)(end - h->data);
    if (rest == 0) return GM_OK;
    return gm_error(GM_BAD_FILE, "%s: %zu bytes after the last tensor (%.200s) belong to no tensor", h->path, rest,
                    count ? tensors[count - 1].name : "there is none");
}

/* The user may have named any file: what can be said of it is said. */
static gm_status no_safetensors(const char *path, gm_mapped_file mapped) {
    size_t at = 0;
    while (at < mapped.length && mapped.bytes[at] && strchr(" \t\r\n", mapped.bytes[at])) at++;
    bool json = at < mapped.length && (mapped.bytes[at] == '{' || mapped.bytes[at] == '[');
    return gm_error(GM_BAD_FILE, "%s: is not a safetensors file%s", path,
                    json ? " but JSON text; a model, an adapter or a run is given by its directory" : "");
}

/* N, or a message that says what the file is instead. */
static gm_status header_length(size_t *length, const char *path, gm_mapped_file mapped) {
    enum { PREFIX = sizeof(uint64_t) };
    if (mapped.length < PREFIX)
        return gm_error(GM_BAD_FILE, "%s: %zu bytes, and a safetensors file begins with 8; the download is incomplete", path,
                        mapped.length);
    if (memcmp(mapped.bytes, "version ", PREFIX) == 0)
        return gm_error(GM_BAD_FILE, "%s: is a Git LFS pointer, not the file; run git lfs pull", path);
    uint64_t n = 0;
    for (int i = 0; i < PREFIX; i++) n |= (uint64_t)mapped.bytes[i] << (8 * i);
    bool cut = n > mapped.length - PREFIX, object = mapped.length == PREFIX || mapped.bytes[PREFIX] == '{';
    if (n > header_limit || (cut && !object)) return no_safetensors(path, mapped);
    if (cut)
        return gm_error(GM_BAD_FILE, "%s: the header ends at byte %llu of a file of %zu; the download is incomplete", path,
                        (unsigned long long)n + PREFIX, mapped.length);
    *length = (size_t)n;
    return GM_OK;
}

gm_status gm_safetensors_read_header(gm_safetensors_contents *contents, const char *path, gm_mapped_file mapped) {
    size_t length = 0, first = contents->count;
    GM_TRY(header_length(&length, path, mapped));
    const unsigned char *json = mapped.bytes + sizeof(uint64_t);
    header h = {.contents = contents, .path = path, .data = json + length, .data_length = mapped.length - sizeof(uint64_t) - length};
    gm_json_reader_init(&h.reader, path, (const char *)json, length);
    h.reader.longest = STRING_LIMIT;
    gm_status status = read_entries(&h);
    gm_json_reader_free(&h.reader);
    gm_buffer_free(&h.place);
    if (status != GM_OK) return status;
    gm_file_tensor *tensors = contents->count > first ? contents->tensors + first : NULL;
    if (tensors) qsort(tensors, contents->count - first, sizeof *tensors, by_offset);
    return check_tiling(&h, tensors, contents->count - first);
}
