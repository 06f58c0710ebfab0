#include "data/packing.h"

#include <stdlib.h>
#include <string.h>

static gm_status resize(int32_t **array, size_t count) {
    void *grown = gm_realloc(*array, count, sizeof **array);
    if (!grown) return GM_NO_MEMORY;
    *array = grown;
    return GM_OK;
}

/* The least that is needed, or twice what was there: a pack that grows by samples stays linear. */
static size_t larger(size_t capacity, size_t needed) { return needed > 2 * capacity ? needed : 2 * capacity; }

gm_status gm_pack_reserve(gm_pack *pack, size_t tokens, size_t sequences) {
    if (tokens > pack->token_capacity) {
        size_t capacity = larger(pack->token_capacity, tokens);
        int32_t **arrays[] = {&pack->ids, &pack->positions, &pack->loss_row, &pack->loss_target};
        for (int i = 0; i < 4; i++) GM_TRY(resize(arrays[i], capacity));
        pack->token_capacity = capacity;
    }
    if (sequences >= pack->sequence_capacity) { /* starts has one more */
        size_t capacity = larger(pack->sequence_capacity, sequences + 1);
        GM_TRY(resize(&pack->starts, capacity));
        pack->sequence_capacity = capacity;
    }
    pack->starts[0] = 0;
    return GM_OK;
}

void gm_pack_clear(gm_pack *pack) { pack->tokens = pack->sequences = pack->loss_rows = 0; }

void gm_pack_free(gm_pack *pack) {
    free(pack->ids);
    free(pack->positions);
    free(pack->starts);
    free(pack->loss_row);
    free(pack->loss_target);
    *pack = (gm_pack){0};
}

bool gm_pack_fits(const gm_pack *pack, const gm_sample *sample, int64_t micro_batch_tokens) {
    return pack->tokens == 0 || (int64_t)pack->tokens + sample->length <= micro_batch_tokens;
}

gm_status gm_pack_add(gm_pack *pack, const gm_sample *sample, bool loss_on_all) {
    int64_t tokens = (int64_t)pack->tokens + sample->length;
    GM_CHECK(sample->length > 0 && tokens <= INT32_MAX, "a pack of %lld tokens", (long long)tokens);
    GM_TRY(gm_pack_reserve(pack, (size_t)tokens, (size_t)pack->sequences + 1));
    gm_sample_span span;
    memcpy(pack->ids + pack->tokens, sample->ids, (size_t)sample->length * sizeof *sample->ids);
    for (int32_t p = 0; p < sample->length; p++) pack->positions[pack->tokens + p] = p;
    for (int32_t i = 0; gm_sample_loss_span(sample, loss_on_all, i, &span); i++) {
        for (int32_t p = span.begin; p < span.end; p++) {
            pack->loss_row[pack->loss_rows] = pack->tokens + p - 1;
            pack->loss_target[pack->loss_rows++] = sample->ids[p];
        }
    }
    pack->tokens = (int32_t)tokens;
    pack->starts[++pack->sequences] = pack->tokens;
    return GM_OK;
}
