/* Attention backward (attention.h). Probabilities are recomputed from L, the saved log-sums; with D_t = dout_t·out_t,
 *
 *   dp_tj = dout_t·v_j,   ds_tj = scale · p_tj (dp_tj − D_t),
 *   dv_j = Σ_t p_tj dout_t,   dk_j = Σ_t ds_tj q_t,   dq_t = Σ_j ds_tj k_j.
 *
 * An item owns a stretch of keys and sums dk and dv over all queries that see them, in order; a sequence that fits one
 * stretch (1,024 tokens, fewer where C > 128) gets its dq from the same tiles. The dq of longer ones come from items
 * that own queries and recompute p and ds: seven products where others need five, but no sum is shared between
 * threads and scratch does not grow with the sequence. In bf16 p and ds are rounded for the products. */
#include "backend/cpu/kernels/attention.h"

typedef struct backward_work { /* of one thread; R = 4·height rows, a tile's each */
    void *q, *dout;            /* R×C: packed, act                    */
    float *log_sum, *d;        /* R: L in units of log 2, D           */
    void *k, *v;               /* keys×C: packed, act                 */
    float *p, *ds;             /* keys×rows: scores, then p; dp, then ds */
    void *p_act, *ds_act;      /* the same in act (f32: the same)     */
    float *dk, *dv;            /* keys×C                              */
    float *dq;                 /* R×C                                 */
    void *product;
} backward_work;

static size_t backward_carve(const attention *at, backward_work *work, void *base, size_t product) {
    int64_t c = at->args->head_size, rows = ATTENTION_BLOCKS * at->height, tile = at->height * at->keys;
    bool f32 = at->args->type == GM_F32;
    uintptr_t cursor = (uintptr_t)base;
    work->q = attention_carve(&cursor, (size_t)(rows * c) * at->element);
    work->dout = attention_carve(&cursor, (size_t)(rows * c) * at->element);
    work->log_sum = attention_carve(&cursor, (size_t)rows * sizeof(float));
    work->d = attention_carve(&cursor, (size_t)rows * sizeof(float));
    work->k = attention_carve(&cursor, (size_t)(at->keys * c) * at->element);
    work->v = attention_carve(&cursor, (size_t)(at->keys * c) * at->element);
    work->p = attention_carve(&cursor, (size_t)tile * sizeof(float));
    work->ds = attention_carve(&cursor, (size_t)tile * sizeof(float));
    work->p_act = f32 ? work->p : attention_carve(&cursor, (size_t)tile * at->element);
    work->ds_act = f32 ? work->ds : attention_carve(&cursor, (size_t)tile * at->element);
    work->dk = attention_carve(&cursor, (size_t)(at->keys * c) * sizeof(float));
    work->dv = attention_carve(&cursor, (size_t)(at->keys * c) * sizeof(float));
    work->dq = attention_carve(&cursor, (size_t)(rows * c) * sizeof(float));
    work->product = attention_carve(&cursor, product);
    return cursor - (uintptr_t)base;
}

static inline float act_value(const void *act, gm_type type, int64_t i) {
    return type == GM_F32 ? ((const float *)act)[i] : gm_bf16_to_f32(((const uint16_t *)act)[i]);
}

/* D of one row. */
static inline float dot(const void *a, const void *b, gm_type type, int64_t n) {
    float lanes[16] = {0}, rest = 0; /* GCC's own reduction ends in a chain of scalar additions */
    int64_t whole = n / 16 * 16;
    for (int64_t i = 0; i < whole; i += 16)
        for (int l = 0; l < 16; l++) lanes[l] += act_value(a, type, i + l) * act_value(b, type, i + l);
    for (int64_t i = whole; i < n; i++) rest += act_value(a, type, i) * act_value(b, type, i);
    for (int l = 0; l < 8; l++) lanes[l] += lanes[l + 8];
    for (int l = 0; l < 4; l++) lanes[l] += lanes[l + 4];
    return lanes[0] + lanes[1] + (lanes[2] + lanes[3]) + rest;
}

/* Packs q, dout, L and D of a block of `count` tokens into the rows from `row`; what pads them is cleared in p and ds. */
static void pack_queries(const attention *at, backward_work *work, int64_t kv_head, int64_t first, int64_t count, int64_t row) {
    const gm_attention_args *args = at->args;
    int64_t c = args->head_size;
    attention_pack_queries(at, attention_at(at, work->q, row * c), args->q, kv_head, first, count);
    attention_pack_queries(at, attention_at(at, work->dout, row * c), args->dout, kv_head, first, count);
    for (int64_t token = first; token < first + count; token++)
        for (int64_t head = kv_head * at->group; head < (kv_head + 1) * at->group; head++, row++) {
            int64_t place = token * args->heads + head;
            const void *out = attention_at(at, args->out, place * c), *dout = attention_at(at, work->dout, row * c);
            work->d[row] = args->type == GM_F32 ? dot(out, dout, GM_F32, c) : dot(out, dout, GM_BF16, c);
            work->log_sum[row] = args->log_sum[place] * ATTENTION_LOG2E;
        }
}

static void pack_keys(const attention *at, backward_work *work, int64_t kv_head, const attention_part *part, attention_panel *panel) {
    panel->ready = attention_key_size(panel->count);
    attention_pack_keys(at, work->k, at->args->k, kv_head, part, panel);
    attention_pack_keys(at, work->v, at->args->v, kv_head, part, panel);
}

/* For one key: p = exp(scale·s − L) over the scores s, ds = scale · p (dp − D) over dp; in bf16 beside. */
static inline void gradients(float *restrict p, float *restrict ds, uint16_t *restrict p_act, uint16_t *restrict ds_act,
                             const float *restrict log_sum, const float *restrict d, float scale, int64_t low, int64_t high) {
    for (int64_t r = low; r < high; r++) {
        float e = attention_exp2(p[r] * (scale * ATTENTION_LOG2E) - log_sum[r]), g = e * (ds[r] - d[r]) * scale;
        if (p_act)
            p_act[r] = attention_round(e), ds_act[r] = attention_round(g);
        else
            p[r] = e, ds[r] = g;
    }
}

/* p and ds of the tile whose queries begin at packed row `row`. */
static void gradient_tile(const attention *at, backward_work *work, const attention_tile *tile, int64_t row) {
    int64_t c = at->args->head_size, rows = tile->rows, begin, end;
    bool f32 = at->args->type == GM_F32;
    const float *log_sum = work->log_sum + row, *d = work->d + row;
    const void *k = attention_at(at, work->k, tile->offset * c), *v = attention_at(at, work->v, tile->offset * c);
    attention_multiply(at, ATTENTION_TILE, tile, work->p, k, attention_at(at, work->q, row * c), work->product);
    attention_multiply(at, ATTENTION_TILE, tile, work->ds, v, attention_at(at, work->dout, row * c), work->product);
    for (int64_t j = 0; j < tile->keys; j++) {
        attention_seen(at, tile, j, &begin, &end);
        int64_t low = attention_low(begin), high = attention_high(end, rows);
        float *p = work->p + j * rows, *ds = work->ds + j * rows;
        void *p_act = attention_at(at, work->p_act, j * rows), *ds_act = attention_at(at, work->ds_act, j * rows);
        if (begin >= end)
            begin = end = 0;
        else
            gradients(p, ds, f32 ? NULL : p_act, f32 ? NULL : ds_act, log_sum, d, at->args->scale, low, high);
        attention_clear_outside(p_act, at->element, begin, end, rows);
        attention_clear_outside(ds_act, at->element, begin, end, rows);
    }
}

/* dq of the tile's queries += ds k. */
static void add_query_gradient(const attention *at, backward_work *work, const attention_tile *tile, int64_t row) {
    int64_t c = at->args->head_size;
    attention_multiply(at, ATTENTION_ROWS, tile, work->dq + row * c, work->ds_act, attention_at(at, work->k, tile->offset * c),
                       work->product);
}

static void store_query_gradient(const attention *at, backward_work *work, int64_t kv_head, int64_t first, int64_t count, int64_t row) {
    int64_t c = at->args->head_size, width = at->group * c;
    for (int64_t i = 0; i < count; i++)
        gm_row_store(at->args->dq, at->args->type, ((first + i) * at->args->kv_heads + kv_head) * width, width,
                     work->dq + row * c + i * width);
}

/* dk and dv of a stretch of keys; dq too where it is the whole sequence. */
static void keys_item(const attention *at, backward_work *work, const attention_part *part, int64_t kv_head) {
    const gm_attention_args *args = at->args;
    int64_t c = args->head_size, last = part->end;
    bool whole = part->end - part->begin <= at->keys;
    attention_panel panel = {.first = part->first, .count = part->last - part->first};
    pack_keys(at, work, kv_head, part, &panel);
    memset(work->dk, 0, (size_t)(panel.ready * c) * sizeof(float));
    memset(work->dv, 0, (size_t)(panel.ready * c) * sizeof(float));
    if (at->window > 0) last = gm_least(last, part->last - 1 + at->window);
    for (int64_t token = part->first; token < last; token += at->block) {
        attention_tile tile;
        if (!attention_tile_at(at, part->begin, token, last, &panel, &tile)) continue;
        pack_queries(at, work, kv_head, token, tile.tokens, 0);
        gradient_tile(at, work, &tile, 0);
        attention_multiply(at, ATTENTION_KEYS, &tile, work->dv + tile.offset * c, work->p_act, work->dout, work->product);
        attention_multiply(at, ATTENTION_KEYS, &tile, work->dk + tile.offset * c, work->ds_act, work->q, work->product);
        if (!whole) continue;
        memset(work->dq, 0, (size_t)(tile.rows * c) * sizeof(float));
        add_query_gradient(at, work, &tile, 0);
        store_query_gradient(at, work, kv_head, token, tile.tokens, 0);
    }
    for (int64_t i = 0; i < panel.count; i++) {
        int64_t offset = ((part->first + i) * args->kv_heads + kv_head) * c;
        gm_row_store(args->dk, args->type, offset, c, work->dk + i * c);
        gm_row_store(args->dv, args->type, offset, c, work->dv + i * c);
    }
}

/* dq of a range of queries, where a sequence has more than one stretch of keys. */
static void queries_item(const attention *at, backward_work *work, const attention_part *part, int64_t kv_head) {
    int64_t row = 0;
    for (int64_t token = part->first; token < part->last; token += at->block, row += at->height)
        pack_queries(at, work, kv_head, token, gm_least(at->block, part->last - token), row);
    memset(work->dq, 0, (size_t)(row * at->args->head_size) * sizeof(float));
    for (int64_t key = attention_first_key(at, part->begin, part->first); key < part->last; key += at->keys) {
        attention_panel panel = {.first = key, .count = gm_least(at->keys, part->last - key)};
        pack_keys(at, work, kv_head, part, &panel);
        row = 0;
        for (int64_t token = part->first; token < part->last; token += at->block, row += at->height) {
            attention_tile tile;
            if (!attention_tile_at(at, part->begin, token, part->last, &panel, &tile)) continue;
            gradient_tile(at, work, &tile, row);
            add_query_gradient(at, work, &tile, row);
        }
    }
    row = 0;
    for (int64_t token = part->first; token < part->last; token += at->block, row += at->height)
        store_query_gradient(at, work, kv_head, token, gm_least(at->block, part->last - token), row);
}

void GM_KERNEL(gm_cpu_attention_backward)(gm_backend *backend, const gm_attention_args *args) {
    if (args->tokens == 0) return;
    GM_CHECK(!args->prefix, "attention backward has no prefixes");
    attention at = attention_plan(backend, args);
    size_t product = attention_product_scratch(&at, ATTENTION_KEYS), mark = gm_arena_mark(&backend->scratch);
    backward_work sizes;
    size_t bytes = backward_carve(&at, &sizes, NULL, product);
    int threads = gm_cpu(backend)->threads;
    unsigned char *scratch = gm_arena_take(&backend->scratch, bytes * (size_t)threads);
    if (!gm_backend_measures(backend)) {
        int64_t heads = args->kv_heads, keys_items = attention_slots(&at, at.keys) * heads,
                queries_items = attention_slots(&at, at.range) * heads;
#pragma omp parallel num_threads(threads)
        {
            backward_work work;
            attention_part part;
            backward_carve(&at, &work, scratch + (size_t)omp_get_thread_num() * bytes, product);
#pragma omp for schedule(dynamic) nowait
            for (int64_t i = 0; i < keys_items; i++) /* early keys are seen by the most queries */
                if (attention_find(&at, at.keys, i / heads, &part)) keys_item(&at, &work, &part, i % heads);
#pragma omp for schedule(dynamic)
            for (int64_t i = queries_items - 1; i >= 0; i--)
                if (attention_find(&at, at.range, i / heads, &part) && part.end - part.begin > at.keys)
                    queries_item(&at, &work, &part, i % heads);
        }
    }
    gm_arena_release(&backend->scratch, mark);
}
