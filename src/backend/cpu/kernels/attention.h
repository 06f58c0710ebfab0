/* Causal attention over packed sequences, in tiles (after FlashAttention-2, Dao 2023): what forward and backward share.
 *
 *   s_tj = scale · q_t·k_j   for the keys j that token t sees,   p_tj = exp(s_tj − L_t),   L_t = log Σ_j exp(s_tj),
 *   out_t = Σ_j p_tj v_j.
 *
 * A tile is a stretch of keys of one key head against a block of query tokens, keys×rows; its two to five products are
 * oneDNN's, each on one thread. All heads that share the key head are rows of the same tile (row = token·group + head
 * in group: that is how q lies in memory), so that keys are packed once and their gradients summed by the product itself.
 * With the rows along the vectors, maxima and sums over keys are plain vector loops.
 *
 * Operands are packed: a head's rows are copied into contiguous scratch and padded with zero rows up to one of a few
 * sizes. oneDNN's products of contiguous bf16 operands run twice as fast as strided ones; few sizes mean few
 * primitives; and no row of another sequence, or past the tensors' ends, is ever an operand.
 * Everything is laid out from its sequence's beginning and an item is computed whole by one thread, in one order:
 * results depend neither on the number of threads nor on which sequences are packed together. */
#ifndef GM_BACKEND_CPU_KERNELS_ATTENTION_H
#define GM_BACKEND_CPU_KERNELS_ATTENTION_H

#include "backend/cpu/kernels/kernel.h"
#include "base/status.h"

#define ATTENTION_LOG2E 1.44269504f
#define ATTENTION_LN2 0.693147181f

enum {
    ATTENTION_HEIGHT = 128,    /* most rows of a tile (unless a group has more heads): lower tiles waste less work above the */
    ATTENTION_HEIGHT_F32 = 64, /* diagonal, higher ones feed bf16's faster products better */
    ATTENTION_BLOCKS = 4,      /* blocks of a range: they share the packed keys        */
    ATTENTION_AHEAD = 8,       /* rows that are asked for before they are copied       */
    ATTENTION_PANEL = 131072   /* most elements of packed keys                         */
};

typedef struct attention {
    gm_backend *backend;
    const gm_attention_args *args;
    int64_t group;  /* query heads of a key head: H / Hkv                 */
    int64_t height; /* most rows of a tile                                */
    int64_t block;  /* query tokens of a tile: what height has room for   */
    int64_t range;  /* query tokens of an item that owns queries          */
    int64_t keys;   /* most keys of a tile, and of an item that owns keys */
    int64_t window; /* 0: none, or none that matters                      */
    size_t element; /* bytes of an act element                            */
} attention;

/* A part first … last of the sequence begin … end, in tokens. The tokens of its prefix are counted as those before it:
 * begin − prefix … begin, and token t of them lies at t + away. */
typedef struct attention_part {
    int64_t begin, end, first, last, prefix, away;
} attention_part;

/* Packed keys first … first + count, zero rows up to `ready`. */
typedef struct attention_panel {
    int64_t first, count, ready;
} attention_panel;

/* Query tokens token … token + tokens, padded to `rows` rows, against `keys` keys from row `offset` of the panel. */
typedef struct attention_tile {
    int64_t token, tokens, rows, offset, keys;
    int64_t key; /* the token of the first key */
} attention_tile;

static inline int64_t attention_most(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t attention_clamp(int64_t x, int64_t least, int64_t most) { return x < least ? least : x > most ? most : x; }

/* The least of the sizes 32, 64, 128, 192, 256, 384, 512, 640, … that holds n keys. */
static inline int64_t attention_key_size(int64_t n) {
    int64_t step = n <= 32 ? 32 : n <= 256 ? 64 : 128;
    return (n + step - 1) / step * step;
}

/* Rows of a tile of `tokens` query tokens: whole, half or quarter height. */
static inline int64_t attention_rows(const attention *at, int64_t tokens) {
    int64_t rows = tokens * at->group;
    return rows * 4 <= at->height ? at->height / 4 : rows * 2 <= at->height ? at->height / 2 : at->height;
}

static inline attention attention_plan(gm_backend *backend, const gm_attention_args *args) {
    GM_CHECK(args->kv_heads > 0 && args->heads % args->kv_heads == 0, "attention: %lld heads over %lld key heads", (long long)args->heads,
             (long long)args->kv_heads);
    GM_CHECK(args->scale > 0, "attention: scale %g", (double)args->scale);
    attention at = {.backend = backend, .args = args, .group = args->heads / args->kv_heads, .element = gm_type_size(args->type)};
    if (args->window < args->tokens) at.window = args->window;
    at.height = attention_most(args->type == GM_F32 ? ATTENTION_HEIGHT_F32 : ATTENTION_HEIGHT, (at.group + 31) / 32 * 32);
    at.block = at.height / at.group;
    at.range = at.block * ATTENTION_BLOCKS;
    at.keys = 256;
    while (at.keys < 1024 && at.keys * 2 * args->head_size <= ATTENTION_PANEL) at.keys *= 2;
    at.keys = gm_least(at.keys, attention_key_size(args->tokens)); /* scratch depends on T, never on the sequences */
    return at;
}

/* Parts of `unit` tokens, counted over all sequences without a table: those of sequence s are numbered from
 * starts[s] / unit + s, which leaves room for each of them and now and then a number for none (false). */
static inline int64_t attention_slots(const attention *at, int64_t unit) { return at->args->tokens / unit + at->args->sequences; }

static inline bool attention_find(const attention *at, int64_t unit, int64_t slot, attention_part *part) {
    const int32_t *starts = at->args->starts;
    int64_t s = 0, above = at->args->sequences;
    while (above - s > 1) {
        int64_t middle = (s + above) / 2;
        if (starts[middle] / unit + middle <= slot)
            s = middle;
        else
            above = middle;
    }
    part->begin = starts[s], part->end = starts[s + 1];
    part->first = part->begin + (slot - (starts[s] / unit + s)) * unit;
    part->last = gm_least(part->first + unit, part->end);
    int64_t before = at->args->prefix ? at->args->prefix[s] : -1;
    part->prefix = before < 0 ? 0 : starts[before + 1] - starts[before];
    part->away = before < 0 ? 0 : starts[before + 1] - part->begin;
    return part->first < part->end;
}

static inline int64_t attention_first_key(const attention *at, int64_t begin, int64_t token) {
    return at->window > 0 ? attention_most(begin, token - at->window + 1) : begin;
}

/* The tile of the block at `token` (queries end at `last`) over the panel; false where it sees none of its keys. */
static inline bool attention_tile_at(const attention *at, int64_t begin, int64_t token, int64_t last, const attention_panel *panel,
                                     attention_tile *tile) {
    tile->token = token, tile->tokens = gm_least(at->block, last - token);
    tile->rows = attention_rows(at, tile->tokens);
    int64_t least = attention_most(attention_first_key(at, begin, token) - panel->first, 0) / 32 * 32;
    int64_t most = gm_least(token + tile->tokens - panel->first, panel->count);
    if (least >= most) return false;
    tile->keys = attention_key_size(most - least);
    tile->offset = gm_least(least, panel->ready - tile->keys);
    tile->key = panel->first + tile->offset;
    return true;
}

/* Copies tokens first … first + count, `width` elements each at `column` of rows of `stride`. */
static inline void attention_copy(const attention *at, void *out, const void *in, int64_t stride, int64_t column, int64_t width,
                                  int64_t first, int64_t count) {
    size_t bytes = (size_t)width * at->element;
    unsigned char *to = out;
    const unsigned char *from = (const unsigned char *)in + (size_t)(first * stride + column) * at->element;
    const size_t step = (size_t)stride * at->element;
    for (int64_t i = 0; i < count; i++) {
        const unsigned char *ahead = from + (size_t)gm_least(i + ATTENTION_AHEAD, count - 1) * step;
        for (size_t b = 0; b < bytes; b += 64) __builtin_prefetch(ahead + b);
        memcpy(to + (size_t)i * bytes, from + (size_t)i * step, bytes);
    }
}

/* Zeros behind the first `used` elements, up to rows·C. */
static inline void attention_pad(const attention *at, void *out, int64_t used, int64_t rows) {
    memset((unsigned char *)out + (size_t)used * at->element, 0, (size_t)(rows * at->args->head_size - used) * at->element);
}

static inline void attention_pack_queries(const attention *at, void *out, const void *in, int64_t kv_head, int64_t first, int64_t count) {
    int64_t width = at->group * at->args->head_size;
    attention_copy(at, out, in, at->args->heads * at->args->head_size, kv_head * width, width, first, count);
    attention_pad(at, out, count * width, attention_rows(at, count));
}

static inline void attention_pack_keys(const attention *at, void *out, const void *in, int64_t kv_head, const attention_part *part,
                                       const attention_panel *panel) {
    int64_t width = at->args->head_size, stride = at->args->kv_heads * width;
    int64_t before = attention_clamp(part->begin - panel->first, 0, panel->count); /* of the prefix */
    attention_copy(at, out, in, stride, kv_head * width, width, panel->first + part->away, before);
    attention_copy(at, (unsigned char *)out + (size_t)(before * width) * at->element, in, stride, kv_head * width, width,
                   panel->first + before, panel->count - before);
    attention_pad(at, out, panel->count * width, panel->ready);
}

/* Element `index` of an act buffer. */
static inline void *attention_at(const attention *at, const void *act, int64_t index) {
    return (unsigned char *)act + (size_t)index * at->element;
}

/* The rows begin … end of the tile that see its key j. */
static inline void attention_seen(const attention *at, const attention_tile *tile, int64_t j, int64_t *begin, int64_t *end) {
    int64_t key = tile->key + j - tile->token, real = tile->tokens * at->group;
    *begin = attention_clamp(key * at->group, 0, real);
    *end = at->window > 0 ? attention_clamp((key + at->window) * at->group, *begin, real) : real;
}

/* Rows are worked on in whole vectors, `low` … `high` around begin … end; what they touch beside is cleared after. */
static inline int64_t attention_low(int64_t begin) { return begin / 16 * 16; }
static inline int64_t attention_high(int64_t end, int64_t rows) { return gm_least((end + 15) / 16 * 16, rows); }

/* 2^x for x below 127.5 (here: at most 0); less than 2^−126 becomes 2^−126. Half the instructions of gm_exp, which needs to know e. */
static inline float attention_exp2(float x) {
    x = x < -126.0f ? -126.0f : x;   /* NaN stays */
    float shifted = x + 12583039.0f; /* 1.5·2²³ + 127: the low bits are round(x) + 127, the exponent of 2^round(x) */
    float r = x - (shifted - 12583039.0f);
    float p = 1.535336188e-4f;
    p = p * r + 1.339887440e-3f;
    p = p * r + 9.618437357e-3f;
    p = p * r + 5.550332471e-2f;
    p = p * r + 2.402264791e-1f;
    p = p * r + 6.931472028e-1f;
    p = p * r + 1.0f;
    uint32_t bits;
    float power;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    __builtin_memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* gm_f32_to_bf16 in two thirds of its instructions: a NaN's payload is kept from running over (all but the positive
 * ones above 0x7fff7fff, which no arithmetic gives). */
static inline uint16_t attention_round(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    bits = bits < 0xffff7fffu ? bits : 0xffff7fffu;
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* Zeroes what lies outside begin … end of a row of `count` elements. */
static inline void attention_clear_outside(void *row, size_t element, int64_t begin, int64_t end, int64_t count) {
    if (begin > 0) memset(row, 0, (size_t)begin * element);
    if (end < count) memset((unsigned char *)row + (size_t)end * element, 0, (size_t)(count - end) * element);
}

/* A tile's products, all contiguous with f32 results. */
typedef enum attention_product {
    ATTENTION_TILE, /* keys×rows  = k qᵀ, or v doutᵀ                         */
    ATTENTION_ROWS, /* rows×C    += tileᵀ · packed keys: out from v, dq from k */
    ATTENTION_KEYS  /* keys×C    += tile · packed rows: dv from dout, dk from q */
} attention_product;

static inline gm_gemm attention_gemm(const attention *at, attention_product product, int64_t rows, int64_t keys) {
    int64_t c = at->args->head_size;
    if (product == ATTENTION_TILE)
        return (gm_gemm){.m = keys, .n = rows, .k = c, .type = at->args->type, .out_type = GM_F32, .transpose_b = true};
    if (product == ATTENTION_ROWS)
        return (gm_gemm){.m = rows, .n = c, .k = keys, .type = at->args->type, .out_type = GM_F32, .transpose_a = true, .accumulate = true};
    return (gm_gemm){.m = keys, .n = c, .k = rows, .type = at->args->type, .out_type = GM_F32, .accumulate = true};
}

static inline void attention_multiply(const attention *at, attention_product product, const attention_tile *tile, float *out, const void *a,
                                      const void *b, void *scratch) {
    gm_gemm gemm = attention_gemm(at, product, tile->rows, tile->keys);
    gemm.out = out, gemm.a = a, gemm.b = b;
    gm_cpu_gemm_on_thread(at->backend, &gemm, scratch);
}

/* What the products up to `last` need, over all sizes of tiles; makes their primitives. */
static inline size_t attention_product_scratch(const attention *at, attention_product last) {
    size_t most = 0;
    for (int64_t rows = at->height; rows * 4 >= at->height; rows /= 2)
        for (int64_t keys = attention_key_size(1); keys <= at->keys; keys = attention_key_size(keys + 1))
            for (attention_product product = ATTENTION_TILE; product <= last; product++) {
                gm_gemm gemm = attention_gemm(at, product, rows, keys);
                size_t bytes = gm_cpu_gemm_scratch(at->backend, &gemm);
                if (bytes > most) most = bytes;
            }
    return most;
}

/* Carves `bytes` out of a thread's scratch; addresses are counted from 0 to learn the size. */
static inline void *attention_carve(uintptr_t *cursor, size_t bytes) {
    void *memory = (void *)*cursor;
    *cursor += (bytes + 63) & ~(size_t)63;
    return memory;
}

#endif
