#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

/* Different in each process: keys come from files, and a file whose keys share one hash would take quadratic time. Nothing
 * depends on the order of a map. */
static uint64_t hash_seed(void) {
    uint64_t seed = 0;
    const void *random = (const void *)(uintptr_t)getauxval(AT_RANDOM); /* 16 bytes that the kernel gives each process */
    if (random) memcpy(&seed, random, sizeof seed);
    return seed;
}

static uint32_t hash_bytes(const gm_map *map, const void *bytes, size_t length) {
    const unsigned char *p = bytes;
    uint64_t h = 0xcbf29ce484222325u ^ map->seed;
    for (size_t i = 0; i < length; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return (uint32_t)(h ^ (h >> 32));
}

static gm_map_entry *find_slot(const gm_map *map, const char *key, size_t length, uint32_t hash) {
    for (size_t i = hash & (map->capacity - 1);; i = (i + 1) & (map->capacity - 1)) {
        gm_map_entry *entry = &map->entries[i];
        if (!entry->key || (entry->hash == hash && entry->length == length && memcmp(entry->key, key, length) == 0)) return entry;
    }
}

/* Makes room for `count` keys in all. */
static gm_status reserve(gm_map *map, size_t count) {
    size_t capacity = map->capacity ? map->capacity : 16;
    while (count > capacity / 8 * 5) capacity *= 2;
    if (capacity == map->capacity) return GM_OK;
    gm_map grown = {.capacity = capacity, .count = map->count, .seed = map->capacity ? map->seed : hash_seed()};
    GM_ALLOC(grown.entries, capacity);
    for (size_t i = 0; i < map->capacity; i++) {
        const gm_map_entry *entry = &map->entries[i];
        if (entry->key) *find_slot(&grown, entry->key, entry->length, entry->hash) = *entry;
    }
    free(map->entries);
    *map = grown;
    return GM_OK;
}

gm_status gm_map_put(gm_map *map, const char *key, size_t length, int64_t value, bool *was_there, int64_t *old) {
    GM_CHECK(key && length <= UINT32_MAX, "map key of %zu bytes", length);
    GM_TRY(reserve(map, map->count + 1));
    uint32_t hash = hash_bytes(map, key, length);
    gm_map_entry *entry = find_slot(map, key, length, hash);
    if (was_there) *was_there = entry->key != NULL;
    if (old && entry->key) *old = entry->value;
    if (!entry->key) {
        map->count++;
        *entry = (gm_map_entry){.key = key, .length = (uint32_t)length, .hash = hash};
    }
    entry->value = value;
    return GM_OK;
}

bool gm_map_get(const gm_map *map, const char *key, size_t length, int64_t *value) {
    if (map->capacity == 0 || length > UINT32_MAX) return false;
    const gm_map_entry *entry = find_slot(map, key, length, hash_bytes(map, key, length));
    if (entry->key) *value = entry->value;
    return entry->key != NULL;
}

void gm_map_free(gm_map *map) {
    free(map->entries);
    *map = (gm_map){0};
}
