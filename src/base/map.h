/* Hash map from byte strings to 64-bit values: open addressing, linear probing, at most 5/8 full.
 * The map keeps pointers to the keys, not copies: they must outlive it. */
#ifndef GM_BASE_MAP_H
#define GM_BASE_MAP_H

#include "base/memory.h"
#include <stdbool.h>

typedef struct gm_map_entry {
    const char *key; /* NULL: free */
    uint32_t length, hash;
    int64_t value;
} gm_map_entry;

typedef struct gm_map {
    gm_map_entry *entries; /* owned */
    size_t capacity, count;
    uint64_t seed; /* of the hash */
} gm_map;          /* {0} is empty */

/* Sets key → value. *old (may be NULL) receives the entry's former value and *was_there says if there was one. */
gm_status gm_map_put(gm_map *map, const char *key, size_t length, int64_t value, bool *was_there, int64_t *old);

/* True and *value where the key is there. */
bool gm_map_get(const gm_map *map, const char *key, size_t length, int64_t *value);
void gm_map_free(gm_map *map);

#endif
