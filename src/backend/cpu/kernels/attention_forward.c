/* Attention forward (attention.h). An item owns a range of query tokens of one sequence and key head and goes over the
 * keys panel by panel with the online softmax: with m the running maximum and l the running sum of a row,
 *
 *   m' = max(m, max_j s_j),  p_j = exp(s_j − m'),  l' = exp(m − m') l + Σ p_j,  o' = exp(m − m') o + Σ p_j v_j,
 *   and in the end  out = o / l,  L = m + log l.
 *
 * In bf16 the p_j are rounded for the product with v; l sums them unrounded. */
#include "backend/cpu/kernels/attention.h"

#include <float.h>

typedef struct forward_work { /* of one thread; R = 4·height rows, a tile's each */
    void *q, *k, *v;          /* R×C, keys×C, keys×C: packed, act     */
    float *scores;            /* keys×rows                            */
    void *p;                  /* keys×rows, act (f32: the scores)     */
    float *out, *max, *sum;   /* R×C, R, R                            */
    float *tile_max;          /* rows                                 */
    void *product;
} forward_work;

static size_t forward_carve(const attention *at, forward_work *work, void *base, size_t product) {
    int64_t c = at->args->head_size, rows = ATTENTION_BLOCKS * at->height, tile = at->height * at->keys;
    uintptr_t cursor = (uintptr_t)base;
    work->q = attention_carve(&cursor, (size_t)(rows * c) * at->element);
    work->k = attention_carve(&cursor, (size_t)(at->keys * c) * at->element);
    work->v = attention_carve(&cursor, (size_t)(at->keys * c) * at->element);
    work->scores = attention_carve(&cursor, (size_t)tile * sizeof(float));
    work->p = at->args->type == GM_F32 ? work->scores : attention_carve(&cursor, (size_t)tile * at->element);
    work->out = attention_carve(&cursor, (size_t)(rows * c) * sizeof(float));
    work->max = attention_carve(&cursor, (size_t)rows * sizeof(float));
    work->sum = attention_carve(&cursor, (size_t)rows * sizeof(float));
    work->tile_max = attention_carve(&cursor, (size_t)at->height * sizeof(float));
    work->product = attention_carve(&cursor, product);
    return cursor - (uintptr_t)base;
}

/* max = the greatest of it and a key's scores; `low` … `begin` and `end` … `high` are masked. */
static void raise_max(float *restrict max, float *restrict s, int64_t low, int64_t begin, int64_t end, int64_t high) {
    for (int64_t r = low; r < begin; r++) s[r] = -INFINITY;
    for (int64_t r = end; r < high; r++) s[r] = -INFINITY;
    for (int64_t r = low; r < high; r++) max[r] = s[r] > max[r] ? s[r] : max[r];
}

/* p = 2^(scale·s − max), added to sum, for one key: in place in f32, beside in bf16. */
static inline void exponentials(float *restrict s, uint16_t *restrict p, float *restrict sum, const float *restrict max, float scale,
                                int64_t low, int64_t high) {
    for (int64_t r = low; r < high; r++) {
        float e = attention_exp2(s[r] * scale - max[r]);
        sum[r] += e;
        if (p)
            p[r] = attention_round(e);
        else
            s[r] = e;
    }
}

/* The running maxima (in units of log 2) rise to the tile's; sums and outputs so far are scaled down to them. */
static void rescale(float *restrict max, float *restrict sum, float *restrict out, const float *restrict tile_max, float scale,
                    int64_t rows, int64_t c) {
    for (int64_t r = 0; r < rows; r++) {
        float most = tile_max[r] * scale > max[r] ? tile_max[r] * scale : max[r], factor = attention_exp2(max[r] - most);
        max[r] = most;
        if (factor == 1.0f || sum[r] == 0.0f) continue;
        sum[r] *= factor;
        for (int64_t i = 0; i < c; i++) out[r * c + i] *= factor;
    }
}

/* Scores → probabilities in work->p. `row`: the tile's first in work->out, max and sum. */
static void softmax_tile(const attention *at, forward_work *work, const attention_tile *tile, int64_t row) {
    int64_t rows = tile->rows, begin, end;
    float *max = work->max + row, *sum = work->sum + row, scale = at->args->scale * ATTENTION_LOG2E;
    for (int64_t r = 0; r < rows; r++) work->tile_max[r] = -FLT_MAX;
    for (int64_t j = 0; j < tile->keys; j++) {
        attention_seen(at, tile, j, &begin, &end);
        if (begin < end) raise_max(work->tile_max, work->scores + j * rows, attention_low(begin), begin, end, attention_high(end, rows));
    }
    rescale(max, sum, work->out + row * at->args->head_size, work->tile_max, scale, rows, at->args->head_size);
    for (int64_t j = 0; j < tile->keys; j++) {
        attention_seen(at, tile, j, &begin, &end);
        float *s = work->scores + j * rows;
        void *p = attention_at(at, work->p, j * rows);
        if (begin >= end)
            begin = end = 0;
        else
            exponentials(s, at->args->type == GM_F32 ? NULL : p, sum, max, scale, attention_low(begin), attention_high(end, rows));
        attention_clear_outside(p, at->element, begin, end, rows);
    }
}

/* Normalises and stores the block of `count` tokens whose rows begin at `row`. */
static void store_block(const attention *at, forward_work *work, int64_t kv_head, int64_t first, int64_t count, int64_t row) {
    const gm_attention_args *args = at->args;
    int64_t c = args->head_size;
    for (int64_t token = first; token < first + count; token++)
        for (int64_t head = kv_head * at->group; head < (kv_head + 1) * at->group; head++, row++) {
            float *out = work->out + row * c, inverse = 1.0f / work->sum[row];
            for (int64_t i = 0; i < c; i++) out[i] *= inverse;
            gm_row_store(args->out, args->type, (token * args->heads + head) * c, c, out);
            args->log_sum[token * args->heads + head] = work->max[row] * ATTENTION_LN2 + logf(work->sum[row]);
        }
}

/* Packs the queries of a block and begins its rows. */
static void begin_block(const attention *at, forward_work *work, int64_t kv_head, int64_t first, int64_t count, int64_t row) {
    int64_t c = at->args->head_size, rows = attention_rows(at, count);
    attention_pack_queries(at, attention_at(at, work->q, row * c), at->args->q, kv_head, first, count);
    memset(work->out + row * c, 0, (size_t)(rows * c) * sizeof *work->out);
    for (int64_t r = row; r < row + rows; r++) work->max[r] = -FLT_MAX, work->sum[r] = 0;
}

static void forward_item(const attention *at, forward_work *work, const attention_part *part, int64_t kv_head) {
    const gm_attention_args *args = at->args;
    int64_t c = args->head_size, begin = part->begin - part->prefix, row = 0;
    for (int64_t token = part->first; token < part->last; token += at->block, row += at->height)
        begin_block(at, work, kv_head, token, gm_least(at->block, part->last - token), row);
    for (int64_t key = attention_first_key(at, begin, part->first); key < part->last; key += at->keys) {
        attention_panel panel = {.first = key, .count = gm_least(at->keys, part->last - key)};
        panel.ready = attention_key_size(panel.count);
        attention_pack_keys(at, work->k, args->k, kv_head, part, &panel);
        attention_pack_keys(at, work->v, args->v, kv_head, part, &panel);
        row = 0;
        for (int64_t token = part->first; token < part->last; token += at->block, row += at->height) {
            attention_tile tile;
            if (!attention_tile_at(at, begin, token, part->last, &panel, &tile)) continue;
            const void *q = attention_at(at, work->q, row * c), *k = attention_at(at, work->k, tile.offset * c);
            const void *v = attention_at(at, work->v, tile.offset * c);
            attention_multiply(at, ATTENTION_TILE, &tile, work->scores, k, q, work->product);
            softmax_tile(at, work, &tile, row);
            attention_multiply(at, ATTENTION_ROWS, &tile, work->out + row * c, work->p, v, work->product);
        }
    }
    row = 0;
    for (int64_t token = part->first; token < part->last; token += at->block, row += at->height)
        store_block(at, work, kv_head, token, gm_least(at->block, part->last - token), row);
}

void GM_KERNEL(gm_cpu_attention_forward)(gm_backend *backend, const gm_attention_args *args) {
    if (args->tokens == 0) return;
    attention at = attention_plan(backend, args);
    size_t product = attention_product_scratch(&at, ATTENTION_ROWS), mark = gm_arena_mark(&backend->scratch);
    forward_work sizes;
    size_t bytes = forward_carve(&at, &sizes, NULL, product);
    int threads = gm_cpu(backend)->threads;
    unsigned char *scratch = gm_arena_take(&backend->scratch, bytes * (size_t)threads);
    if (!gm_backend_measures(backend)) {
        int64_t items = attention_slots(&at, at.range) * args->kv_heads;
#pragma omp parallel num_threads(threads)
        {
            forward_work work;
            forward_carve(&at, &work, scratch + (size_t)omp_get_thread_num() * bytes, product);
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < items; i++) { /* from the end: late ranges see the most keys */
                attention_part part;
                int64_t item = items - 1 - i;
                if (attention_find(&at, at.range, item / args->kv_heads, &part)) forward_item(&at, &work, &part, item % args->kv_heads);
            }
        }
    }
    gm_arena_release(&backend->scratch, mark);
}
