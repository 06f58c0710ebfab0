/* safetensors files, read through a mapping and written as a stream.
 *
 * Layout: u64 little-endian N, N bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, …}, data.
 * Files come from strangers: everything is checked while opening (the data tiles the rest of the file exactly, sizes
 * agree with shapes, names are unique), so that what a gm_file_tensor says afterwards can be relied upon.
 * All refusals are GM_BAD_FILE and name the file and, where there is one, the tensor. */
#ifndef GM_IO_SAFETENSORS_H
#define GM_IO_SAFETENSORS_H

#include "backend/type.h"
#include "base/memory.h"

enum { GM_FILE_TENSOR_RANK = 8 };

typedef struct gm_file_tensor {
    const char *name; /* owned by the file, as `bytes` is */
    gm_type type;
    int rank;
    int64_t dim[GM_FILE_TENSOR_RANK];
    const unsigned char *bytes; /* in the mapping, row-major, at any alignment: copy, never cast */
    size_t byte_count;
} gm_file_tensor;

typedef struct gm_metadata_entry {
    const char *key, *value;
} gm_metadata_entry;

typedef struct gm_safetensors gm_safetensors;

/* One file. GM_USAGE where it does not exist. *file is NULL after a failure. */
gm_status gm_safetensors_open(gm_safetensors **file, const char *path);
/* A Hugging Face directory: model.safetensors, else model.safetensors.index.json with its shards. */
gm_status gm_safetensors_open_model(gm_safetensors **file, const char *directory);
void gm_safetensors_close(gm_safetensors *file); /* unmaps: no tensor's name or bytes may be used any more */

size_t gm_safetensors_count(const gm_safetensors *file);
const gm_file_tensor *gm_safetensors_at(const gm_safetensors *file, size_t index);       /* by shard, then by offset */
const gm_file_tensor *gm_safetensors_find(const gm_safetensors *file, const char *name); /* NULL: none */

/* The __metadata__ of the file, or of the first shard that has the key; NULL: none. */
const char *gm_safetensors_metadata(const gm_safetensors *file, const char *key);
size_t gm_safetensors_metadata_count(const gm_safetensors *file);
gm_metadata_entry gm_safetensors_metadata_at(const gm_safetensors *file, size_t index);

/* The shard that holds the tensor. */
const char *gm_safetensors_path(const gm_safetensors *file, const gm_file_tensor *tensor);
size_t gm_safetensors_shards(const gm_safetensors *file);

/* Gives back the whole pages inside the tensor's bytes after they were copied elsewhere; reading them again reloads them. */
void gm_safetensors_release_pages(const gm_safetensors *file, const gm_file_tensor *tensor);

typedef struct gm_write_tensor {
    const char *name;
    gm_type type;
    int rank;
    int64_t dim[GM_FILE_TENSOR_RANK];
    const void *data; /* row-major; may be NULL where the tensor has no element */
} gm_write_tensor;

/* Writes, fsyncs and closes; the tensors' data in the order given, straight from their memory. The header is padded with
 * spaces to a multiple of 8 bytes. What could not be written whole is removed (GM_FAIL with the system's reason). */
gm_status gm_safetensors_write(const char *path, const gm_write_tensor *tensors, size_t count, const gm_metadata_entry *metadata,
                               size_t metadata_count);

#endif
