#include "io/tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

static gm_status add(gm_vocabulary *vocabulary, gm_map *ids, gm_region *region, gm_slice token, int64_t id) {
    if (id < 0 || id > GM_HIGHEST_ID)
        return gm_error(GM_BAD_FILE, "the id %lld of \"%.*s\" should be from 0 to %d", (long long)id, gm_utf8_shown(token), token.bytes,
                        GM_HIGHEST_ID);
    size_t capacity = vocabulary->capacity;
    GM_GROW(vocabulary->tokens, vocabulary->capacity, (size_t)id + 1);
    memset(vocabulary->tokens + capacity, 0, (vocabulary->capacity - capacity) * sizeof *vocabulary->tokens);
    gm_slice *place = &vocabulary->tokens[id];
    if (place->bytes)
        return gm_error(GM_BAD_FILE, "\"%.*s\" and \"%.*s\" have the same id %lld", gm_utf8_shown(*place), place->bytes,
                        gm_utf8_shown(token), token.bytes, (long long)id);
    char *copy = gm_region_copy(region, token.bytes, token.length);
    if (!copy) return GM_NO_MEMORY;
    bool was_there;
    GM_TRY(gm_map_put(ids, copy, token.length, id, &was_there, NULL));
    if (was_there) return gm_error(GM_BAD_FILE, "\"%.*s\" is there twice", gm_utf8_shown(token), token.bytes);
    *place = (gm_slice){copy, token.length};
    if (id >= vocabulary->limit) vocabulary->limit = (int32_t)id + 1;
    return GM_OK;
}

gm_status gm_vocabulary_add_model(gm_vocabulary *vocabulary, gm_region *region, gm_slice token, int64_t id) {
    vocabulary->model_count++;
    return add(vocabulary, &vocabulary->model_ids, region, token, id);
}

gm_status gm_vocabulary_add_added(gm_vocabulary *vocabulary, gm_region *region, gm_slice token, int64_t id) {
    return add(vocabulary, &vocabulary->added_ids, region, token, id);
}

int32_t gm_vocabulary_model_id(const gm_vocabulary *vocabulary, gm_slice token) {
    int64_t id;
    return gm_map_get(&vocabulary->model_ids, token.bytes, token.length, &id) ? (int32_t)id : -1;
}

int32_t gm_vocabulary_id(const gm_vocabulary *vocabulary, gm_slice token) {
    int64_t id;
    if (gm_map_get(&vocabulary->added_ids, token.bytes, token.length, &id)) return (int32_t)id;
    return gm_vocabulary_model_id(vocabulary, token);
}

bool gm_vocabulary_has(const gm_vocabulary *vocabulary, int32_t id) {
    return id >= 0 && id < vocabulary->limit && vocabulary->tokens[id].bytes;
}

void gm_vocabulary_free(gm_vocabulary *vocabulary) {
    free(vocabulary->tokens);
    gm_map_free(&vocabulary->model_ids);
    gm_map_free(&vocabulary->added_ids);
    *vocabulary = (gm_vocabulary){0};
}
