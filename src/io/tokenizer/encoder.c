#include "io/tokenizer/encoder.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct gm_encoder_pool {
    pthread_mutex_t lock;
    gm_encoder *free; /* those not lent; there are as many in all as calls have run at once */
};

gm_encoder_pool *gm_encoder_pool_new(void) {
    gm_encoder_pool *pool = gm_alloc(1, sizeof *pool);
    if (pool) pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

static void encoder_free(gm_encoder *encoder) {
    if (!encoder) return;
    for (int i = 0; i < 2; i++) {
        gm_buffer_free(&encoder->normal[i]);
        gm_buffer_free(&encoder->pieces[i].changed);
        free(encoder->pieces[i].spans);
    }
    gm_buffer_free(&encoder->word);
    free(encoder->symbols);
    free(encoder->queue);
    gm_regex_scratch_free(encoder->regex);
    gm_word_cache_close(&encoder->cache);
    free(encoder);
}

static gm_encoder *encoder_new(void) {
    gm_encoder *encoder = gm_alloc(1, sizeof *encoder);
    if (!encoder) return NULL;
    encoder->regex = gm_regex_scratch_new();
    if (encoder->regex && gm_word_cache_open(&encoder->cache) == GM_OK) return encoder;
    encoder_free(encoder);
    return NULL;
}

void gm_encoder_pool_free(gm_encoder_pool *pool) {
    if (!pool) return;
    for (gm_encoder *encoder = pool->free, *next; encoder; encoder = next) {
        next = encoder->next;
        encoder_free(encoder);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

gm_encoder *gm_encoder_take(gm_encoder_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    gm_encoder *encoder = pool->free;
    if (encoder) pool->free = encoder->next;
    pthread_mutex_unlock(&pool->lock);
    return encoder ? encoder : encoder_new();
}

/* What one huge text, or a failed allocation, has spoilt is not kept for the next. */
enum { KEPT_BYTES = 16 << 20, KEPT_SYMBOLS = 1 << 20 };

static void tidy(gm_buffer *buffer) {
    if (buffer->failed || buffer->capacity > KEPT_BYTES) gm_buffer_free(buffer);
}

static void tidy_symbols(gm_encoder *encoder) {
    if (encoder->symbol_capacity <= KEPT_SYMBOLS && encoder->queue_capacity <= KEPT_SYMBOLS) return;
    free(encoder->symbols);
    free(encoder->queue);
    encoder->symbols = NULL;
    encoder->queue = NULL;
    encoder->symbol_capacity = encoder->queue_capacity = 0;
}

void gm_encoder_give_back(gm_encoder_pool *pool, gm_encoder *encoder) {
    for (int i = 0; i < 2; i++) {
        tidy(&encoder->normal[i]);
        tidy(&encoder->pieces[i].changed);
    }
    tidy(&encoder->word);
    tidy_symbols(encoder);
    pthread_mutex_lock(&pool->lock);
    encoder->next = pool->free;
    pool->free = encoder;
    pthread_mutex_unlock(&pool->lock);
}

gm_status gm_pieces_add(gm_pieces *pieces, size_t begin, size_t end, size_t head) {
    if (begin == end) return GM_OK;
    GM_GROW(pieces->spans, pieces->capacity, pieces->count + 1);
    pieces->spans[pieces->count++] = (gm_span){begin, end, head < end - begin ? head : end - begin};
    return GM_OK;
}

gm_status gm_ids_append(gm_ids *ids, const int32_t *more, size_t count) {
    if (ids->capacity - ids->count < count) {
        GM_GROW(ids->ids, ids->capacity, ids->count + count);
    }
    if (count) memcpy(ids->ids + ids->count, more, count * sizeof *more);
    ids->count += count;
    return GM_OK;
}

void gm_encoder_begin_text(gm_encoder *encoder, size_t length) { encoder->longest = ((size_t)1 << 20) + 64 * length; }

gm_status gm_encoder_check_length(const gm_encoder *encoder, size_t length) {
    if (length <= encoder->longest) return GM_OK;
    return gm_error(GM_BAD_FILE, "the tokenizer's rules make more than %zu bytes of a short text", encoder->longest);
}
