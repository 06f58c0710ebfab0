/* A model is a list of shards, each mapped once; names are found by binary search in a sorted array (a hash table would
 * let a file with chosen names make us slow). */
#include "io/safetensors.h"
#include "base/json.h"
#include "base/log.h"
#include "io/mapped_guard.h"
#include "io/safetensors_header.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHARD_LIMIT = 4096, INDEX_LIMIT = 64 * 1024 * 1024, SHARD_NAME = 256 };

typedef struct shard {
    char *path; /* in the region */
    gm_mapped_file mapped;
    gm_mapped_guard guard;
    size_t first; /* its first tensor */
} shard;

struct gm_safetensors {
    gm_safetensors_contents contents;
    shard *shards; /* sized before the first is opened: the guard keeps pointers into it */
    size_t shard_count, shard_capacity;
    const gm_file_tensor **by_name;
};

static int compare_names(const void *a, const void *b) {
    const gm_file_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static const shard *shard_of(const gm_safetensors *file, const gm_file_tensor *tensor) {
    size_t index = (size_t)(tensor - file->contents.tensors), low = 0, high = file->shard_count;
    while (high - low > 1) { /* shards[low].first ≤ index < shards[high].first */
        size_t middle = (low + high) / 2;
        if (file->shards[middle].first <= index)
            low = middle;
        else
            high = middle;
    }
    /* shards without tensors share their `first` with the next one: the last of them is the holder */
    return &file->shards[low];
}

static gm_status sort_names(gm_safetensors *file) {
    const gm_safetensors_contents *c = &file->contents;
    GM_ALLOC(file->by_name, c->count);
    for (size_t i = 0; i < c->count; i++) file->by_name[i] = &c->tensors[i];
    if (c->count > 1) qsort(file->by_name, c->count, sizeof *file->by_name, compare_names);
    for (size_t i = 1; i < c->count; i++) {
        const gm_file_tensor *a = file->by_name[i - 1], *b = file->by_name[i];
        if (strcmp(a->name, b->name) != 0) continue;
        const shard *in_a = shard_of(file, a), *in_b = shard_of(file, b);
        if (in_a == in_b) return gm_error(GM_BAD_FILE, "%s: %.200s: stands twice in the file", in_a->path, a->name);
        return gm_error(GM_BAD_FILE, "%s: %.200s: is also in %s", in_b->path, b->name, in_a->path);
    }
    return GM_OK;
}

static gm_status allocate(gm_safetensors **file, size_t shards) {
    gm_safetensors *made;
    *file = NULL;
    GM_ALLOC(made, 1);
    *file = made;
    GM_ALLOC(made->shards, shards);
    made->shard_capacity = shards;
    return GM_OK;
}

static gm_status add_shard(gm_safetensors *file, const char *path, gm_status missing) {
    GM_CHECK(file->shard_count < file->shard_capacity, "%zu shards", file->shard_count);
    shard *s = &file->shards[file->shard_count];
    s->first = file->contents.count;
    s->path = gm_region_copy(&file->contents.region, path, strlen(path));
    if (!s->path) return GM_NO_MEMORY;
    GM_TRY(gm_file_map(&s->mapped, path, missing));
    file->shard_count++;
    gm_mapped_guard_add(&s->guard, s->mapped.bytes, s->mapped.length, s->path);
    return gm_safetensors_read_header(&file->contents, s->path, s->mapped);
}

static gm_status close_failed(gm_safetensors **file, gm_status status) {
    gm_safetensors_close(*file);
    *file = NULL;
    return status;
}

gm_status gm_safetensors_open(gm_safetensors **file, const char *path) {
    gm_status status = allocate(file, 1);
    if (status == GM_OK) status = add_shard(*file, path, GM_USAGE);
    if (status == GM_OK) status = sort_names(*file);
    return status == GM_OK ? GM_OK : close_failed(file, status);
}

/* model.safetensors.index.json: {"weight_map": {tensor: shard, …}, …} */
typedef struct index_entry {
    const char *name, *shard;
} index_entry;

typedef struct shard_index {
    gm_region region;
    index_entry *entries;
    const char **shards; /* sorted: "model-00001-of-…" first */
    size_t count, capacity, shard_count, shard_capacity;
} shard_index;

static void free_index(shard_index *index) {
    gm_region_free(&index->region);
    free(index->entries);
    free(index->shards);
}

static gm_status read_shard_name(gm_json_reader *reader, const char *tensor) {
    GM_TRY(gm_json_read_string(reader));
    const char *name = gm_buffer_string(&reader->string);
    size_t length = reader->string.length;
    bool plain = length > 0 && length < SHARD_NAME && !memchr(name, '\0', length) && !strpbrk(name, "/\\") && strcmp(name, ".") != 0 &&
                 strcmp(name, "..") != 0;
    if (plain) return GM_OK;
    return gm_json_error(reader, "%.200s: the shard \"%.200s\" is not a plain file name", tensor, name);
}

/* *kept: the one copy of the shard name just read. */
static gm_status intern_shard(shard_index *index, const gm_json_reader *reader, const char **kept) {
    const char *name = gm_buffer_string(&reader->string);
    size_t low = 0, high = index->shard_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(index->shards[middle], name);
        if (order == 0) return *kept = index->shards[middle], GM_OK;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (index->shard_count == SHARD_LIMIT) return gm_json_error(reader, "more than %d shards", SHARD_LIMIT);
    GM_GROW(index->shards, index->shard_capacity, index->shard_count + 1);
    *kept = gm_region_copy(&index->region, name, strlen(name));
    if (!*kept) return GM_NO_MEMORY;
    memmove(index->shards + low + 1, index->shards + low, (index->shard_count - low) * sizeof *index->shards);
    index->shards[low] = *kept;
    index->shard_count++;
    return GM_OK;
}

static gm_status read_weight_map(shard_index *index, gm_json_reader *reader) {
    bool more;
    GM_TRY(gm_json_open(reader, GM_JSON_OBJECT));
    for (;;) {
        GM_TRY(gm_json_next_member(reader, &more));
        if (!more) return GM_OK;
        if (index->count == GM_SAFETENSORS_TENSORS) return gm_json_error(reader, "more than %d tensors", GM_SAFETENSORS_TENSORS);
        if (memchr(gm_buffer_string(&reader->string), '\0', reader->string.length))
            return gm_json_error(reader, "a name holds the NUL character");
        GM_GROW(index->entries, index->capacity, index->count + 1);
        index_entry *entry = &index->entries[index->count];
        entry->name = gm_region_copy(&index->region, gm_buffer_string(&reader->string), reader->string.length);
        if (!entry->name) return GM_NO_MEMORY;
        GM_TRY(read_shard_name(reader, entry->name));
        GM_TRY(intern_shard(index, reader, &entry->shard));
        index->count++;
    }
}

static int compare_entries(const void *a, const void *b) { return strcmp(((const index_entry *)a)->name, ((const index_entry *)b)->name); }

static gm_status parse_index(shard_index *index, gm_json_reader *reader) {
    bool more, seen = false;
    GM_TRY(gm_json_open(reader, GM_JSON_OBJECT));
    for (;;) {
        GM_TRY(gm_json_next_member(reader, &more));
        if (!more) break;
        if (!gm_json_name_is(reader, "weight_map")) {
            GM_TRY(gm_json_skip(reader)); /* "metadata": sizes that the shards themselves tell */
            continue;
        }
        if (seen) return gm_json_error(reader, "weight_map stands twice");
        seen = true;
        GM_TRY(read_weight_map(index, reader));
    }
    GM_TRY(gm_json_finish(reader));
    if (index->count == 0) return gm_json_error(reader, "weight_map is missing or empty");
    qsort(index->entries, index->count, sizeof *index->entries, compare_entries);
    for (size_t i = 1; i < index->count; i++)
        if (strcmp(index->entries[i - 1].name, index->entries[i].name) == 0)
            return gm_json_error(reader, "%.200s: stands twice in weight_map", index->entries[i].name);
    return GM_OK;
}

static gm_status read_index(shard_index *index, const char *path) {
    gm_mapped_file mapped;
    GM_TRY(gm_file_map(&mapped, path, GM_BAD_FILE));
    gm_mapped_guard guard = {0};
    gm_mapped_guard_add(&guard, mapped.bytes, mapped.length, path);
    gm_status status;
    if (mapped.length > INDEX_LIMIT) {
        status = gm_error(GM_BAD_FILE, "%s: is larger than %d bytes", path, INDEX_LIMIT);
    } else {
        gm_json_reader reader;
        gm_json_reader_init(&reader, path, mapped.bytes ? (const char *)mapped.bytes : "", mapped.length);
        status = parse_index(index, &reader);
        gm_json_reader_free(&reader);
    }
    gm_mapped_guard_remove(&guard);
    gm_file_unmap(&mapped);
    return status;
}

/* Every tensor of the index is in the shard that the index gives. */
static gm_status check_index(const gm_safetensors *file, const shard_index *index, const char *path) {
    for (size_t i = 0; i < index->count; i++) {
        const index_entry *entry = &index->entries[i];
        const gm_file_tensor *tensor = gm_safetensors_find(file, entry->name);
        const char *shard_path = tensor ? gm_safetensors_path(file, tensor) : NULL, *slash = tensor ? strrchr(shard_path, '/') : NULL;
        if (!tensor) return gm_error(GM_BAD_FILE, "%s: %.200s: is not in %s, where the index has it", path, entry->name, entry->shard);
        if (strcmp(slash ? slash + 1 : shard_path, entry->shard) != 0)
            return gm_error(GM_BAD_FILE, "%s: %.200s: is in %s, not in %s, where the index has it", path, entry->name, shard_path,
                            entry->shard);
    }
    if (file->contents.count > index->count) /* unique names on both sides: the rest is not in the index */
        gm_log(GM_LOG_WARN, "%s: the shards hold %zu tensors that the index does not list", path, file->contents.count - index->count);
    return GM_OK;
}

static gm_status open_shards(gm_safetensors **file, const shard_index *index, const char *directory, const char *path) {
    GM_TRY(allocate(file, index->shard_count));
    for (size_t i = 0; i < index->shard_count; i++) {
        char shard_path[GM_PATH];
        GM_TRY(gm_path_join(shard_path, directory, index->shards[i]));
        gm_status status = add_shard(*file, shard_path, GM_BAD_FILE);
        if (status == GM_BAD_FILE && (*file)->shard_count == i) return gm_error_prefix(status, "%s", path); /* it could not be opened */
        GM_TRY(status);
    }
    GM_TRY(sort_names(*file));
    return check_index(*file, index, path);
}

static bool entry_exists(const char *path) { /* a broken link and a FIFO too: opening them says what is wrong */
    struct stat info;
    return lstat(path, &info) == 0;
}

gm_status gm_safetensors_open_model(gm_safetensors **file, const char *directory) {
    char path[GM_PATH];
    *file = NULL;
    if (!gm_directory_exists(directory)) return gm_error(GM_USAGE, "%s: is not a directory", directory);
    GM_TRY(gm_path_join(path, directory, "model.safetensors"));
    if (entry_exists(path)) {
        gm_status status = gm_safetensors_open(file, path);
        return status == GM_USAGE ? GM_BAD_FILE : status; /* a link to nowhere */
    }
    GM_TRY(gm_path_join(path, directory, "model.safetensors.index.json"));
    if (!entry_exists(path))
        return gm_error(GM_BAD_FILE, "%s: holds neither model.safetensors nor model.safetensors.index.json", directory);
    shard_index index = {0};
    gm_status status = read_index(&index, path);
    if (status == GM_OK) status = open_shards(file, &index, directory, path);
    free_index(&index);
    return status == GM_OK ? GM_OK : close_failed(file, status);
}

void gm_safetensors_close(gm_safetensors *file) {
    if (!file) return;
    for (size_t i = 0; i < file->shard_count; i++) {
        gm_mapped_guard_remove(&file->shards[i].guard);
        gm_file_unmap(&file->shards[i].mapped);
    }
    gm_region_free(&file->contents.region);
    free(file->contents.tensors);
    free(file->contents.metadata);
    free(file->shards);
    free(file->by_name);
    free(file);
}

size_t gm_safetensors_count(const gm_safetensors *file) { return file->contents.count; }
size_t gm_safetensors_shards(const gm_safetensors *file) { return file->shard_count; }
size_t gm_safetensors_metadata_count(const gm_safetensors *file) { return file->contents.metadata_count; }
gm_metadata_entry gm_safetensors_metadata_at(const gm_safetensors *file, size_t index) { return file->contents.metadata[index]; }
const char *gm_safetensors_path(const gm_safetensors *file, const gm_file_tensor *tensor) { return shard_of(file, tensor)->path; }

const gm_file_tensor *gm_safetensors_at(const gm_safetensors *file, size_t index) {
    GM_CHECK(index < file->contents.count, "tensor %zu of %zu", index, file->contents.count);
    return &file->contents.tensors[index];
}

const gm_file_tensor *gm_safetensors_find(const gm_safetensors *file, const char *name) {
    size_t low = 0, high = file->contents.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(file->by_name[middle]->name, name);
        if (order == 0) return file->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *gm_safetensors_metadata(const gm_safetensors *file, const char *key) {
    for (size_t i = 0; i < file->contents.metadata_count; i++)
        if (strcmp(file->contents.metadata[i].key, key) == 0) return file->contents.metadata[i].value;
    return NULL;
}

void gm_safetensors_release_pages(const gm_safetensors *file, const gm_file_tensor *tensor) {
    (void)file;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)tensor->bytes + page - 1) / page * page,
              end = ((uintptr_t)tensor->bytes + tensor->byte_count) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED); /* advice: a refusal changes nothing */
}
