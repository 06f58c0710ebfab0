#include "base/memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { REGION_BLOCK = 64 * 1024, REGION_ALIGN = 16 };

struct gm_region_block {
    struct gm_region_block *next;
    _Alignas(REGION_ALIGN) unsigned char bytes[];
};

static gm_status out_of_memory(size_t count, size_t size) {
    return gm_error(GM_NO_MEMORY, "out of memory: %zu × %zu bytes of host memory could not be had", count, size);
}

void *gm_alloc(size_t count, size_t size) {
    void *block = calloc(count ? count : 1, size ? size : 1);
    if (!block) out_of_memory(count, size);
    return block;
}

void *gm_realloc(void *block, size_t count, size_t size) {
    size_t bytes = count * size;
    bool overflow = size != 0 && bytes / size != count;
    void *grown = overflow ? NULL : realloc(block, bytes > 0 ? bytes : 1);
    if (!grown) out_of_memory(count, size);
    return grown;
}

gm_status gm_grow(void **block, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity) return GM_OK;
    size_t wanted = *capacity < 16 ? 16 : *capacity;
    while (wanted < needed) wanted = wanted > SIZE_MAX / 2 ? needed : wanted * 2;
    void *grown = gm_realloc(*block, wanted, size);
    if (!grown) return GM_NO_MEMORY;
    *block = grown;
    *capacity = wanted;
    return GM_OK;
}

void *gm_region_alloc(gm_region *region, size_t count, size_t size) {
    if (size && count > (SIZE_MAX / 2) / size) return out_of_memory(count, size), NULL;
    size_t bytes = (count * size + REGION_ALIGN - 1) / REGION_ALIGN * REGION_ALIGN;
    if (!region->blocks || region->capacity - region->used < bytes) {
        size_t capacity = bytes > REGION_BLOCK ? bytes : REGION_BLOCK;
        struct gm_region_block *block = gm_alloc(1, sizeof *block + capacity);
        if (!block) return NULL;
        block->next = region->blocks;
        region->blocks = block;
        region->used = 0;
        region->capacity = capacity;
    }
    void *result = region->blocks->bytes + region->used;
    region->used += bytes;
    return result;
}

char *gm_region_copy(gm_region *region, const char *text, size_t length) {
    char *copy = gm_region_alloc(region, length + 1, 1);
    if (copy && length) memcpy(copy, text, length);
    return copy;
}

void gm_region_join(gm_region *region, gm_region *other) {
    struct gm_region_block *oldest = other->blocks;
    if (!oldest) return;
    if (!region->blocks) {
        *region = *other;
    } else { /* behind the newest block, in which there is room */
        while (oldest->next) oldest = oldest->next;
        oldest->next = region->blocks->next;
        region->blocks->next = other->blocks;
    }
    *other = (gm_region){0};
}

void gm_region_free(gm_region *region) {
    while (region->blocks) {
        struct gm_region_block *next = region->blocks->next;
        free(region->blocks);
        region->blocks = next;
    }
    *region = (gm_region){0};
}

int64_t gm_peak_memory(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}
