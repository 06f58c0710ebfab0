/* Host memory outside the tensors.
 *
 * gm_alloc        one zeroed block, or NULL with the thread's message set (status GM_NO_MEMORY)
 * gm_region       a chain of blocks that only grows and is freed as a whole: what a loader reads (names, tables,
 *                 samples) lives in the region its caller gave, so that nobody has to free the pieces */
#ifndef GM_BASE_MEMORY_H
#define GM_BASE_MEMORY_H

#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

void *gm_alloc(size_t count, size_t size);                /* free with free()                             */
void *gm_realloc(void *block, size_t count, size_t size); /* new bytes are not zeroed; NULL keeps `block` */

/* Grows *block (capacity *capacity elements of `size` bytes) to hold at least `needed`; a failure leaves it as it was. `block`
 * is the address of a void pointer, never a cast one: GM_GROW is for typed pointers. */
gm_status gm_grow(void **block, size_t *capacity, size_t needed, size_t size);

/* pointer = count zeroed elements, or return GM_NO_MEMORY */
#define GM_ALLOC(pointer, count)                                                                                                           \
    do {                                                                                                                                   \
        if (((pointer) = gm_alloc((count), sizeof *(pointer))) == NULL) return GM_NO_MEMORY;                                               \
    } while (0)

/* `pointer`, of `capacity` elements, has room for `needed`, or return GM_NO_MEMORY */
#define GM_GROW(pointer, capacity, needed)                                                                                                 \
    do {                                                                                                                                   \
        void *gm_grown_ = (pointer);                                                                                                       \
        if (gm_grow(&gm_grown_, &(capacity), (needed), sizeof *(pointer)) != GM_OK) return GM_NO_MEMORY;                                   \
        (pointer) = gm_grown_;                                                                                                             \
    } while (0)

typedef struct gm_region {
    struct gm_region_block *blocks; /* newest first */
    size_t used, capacity;          /* of the newest block */
} gm_region;                        /* {0} is an empty region */

void *gm_region_alloc(gm_region *region, size_t count, size_t size);      /* zeroed, 16-byte aligned; NULL as gm_alloc */
char *gm_region_copy(gm_region *region, const char *text, size_t length); /* adds a final NUL */
void gm_region_join(gm_region *region, gm_region *other);                 /* takes over what is in `other`, which is empty then */
void gm_region_free(gm_region *region);

#define GM_REGION_ALLOC(region, pointer, count)                                                                                            \
    do {                                                                                                                                   \
        if (((pointer) = gm_region_alloc((region), (count), sizeof *(pointer))) == NULL) return GM_NO_MEMORY;                              \
    } while (0)

/* Peak resident memory of this process in bytes. */
int64_t gm_peak_memory(void);

#endif
