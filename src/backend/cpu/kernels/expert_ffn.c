/* The expert FFN between its frozen products (formulas: src/ops/expert_ffn.c).
 *
 * Forward runs over blocks of tokens. Backward runs over slices of the F columns, all tokens each: a slice owns its
 * columns of dB1, dB3 and dA2, so that nobody else adds to them and they stay in cache; sums over F (dg and du) are
 * kept per slice and added in slice order. Slices depend on F alone, so results do not depend on the number of threads.
 * Within a token a slot's rank-r pieces are expanded over a strip of columns that stays in the first-level cache. */
#include "backend/cpu/kernels/kernel.h"

enum { STRIP = 512, SLICES_MOST = 32, SLICE_ALIGN = 64, TOKEN_BLOCK = 16, CACHE_LINE = 64 };

typedef struct gm_strip { /* one slot's values over up to STRIP columns */
    float h1[STRIP], h3[STRIP], a[STRIP], da[STRIP];
} gm_strip;

static int64_t slot_expert(const gm_expert_ffn_args *args, int64_t slot) { return args->expert ? args->expert[slot] : 0; }
static float slot_gate(const gm_expert_ffn_args *args, int64_t slot) { return args->gate ? args->gate[slot] : 1.0f; }

/* Where a loop is: columns first … first + n of one slot. */
typedef struct slot_place {
    const gm_expert_ffn_args *args;
    int64_t slot, token, expert, first, n;
    float gate;
} slot_place;

static slot_place place_of(const gm_expert_ffn_args *args, int64_t slot, int64_t first, int64_t n) {
    return (slot_place){args, slot, slot / args->slots, slot_expert(args, slot), first, n, slot_gate(args, slot)};
}

/* u of expert e: A1 x (which 0) or A3 x (which 1) of token t */
static int64_t u_offset(const gm_expert_ffn_args *args, int64_t t, int which, int64_t e) {
    return ((2 * t + which) * args->experts + e) * args->rank;
}
static const float *u_at(const slot_place *p, int which) { return p->args->u + u_offset(p->args, p->token, which, p->expert); }

/* Row j of the slot's expert in a site's A (of w2) or B (of w1, w3), from the first column on. */
static int64_t row_at(const slot_place *p, int64_t j) { return (p->expert * p->args->rank + j) * p->args->ffn + p->first; }

/* h = base + s B u; which: 0 w1, 1 w3 */
static void expand(const slot_place *p, float *restrict h, const float *restrict base, const float *b, int which) {
    memcpy(h, base, (size_t)p->n * sizeof *h);
    for (int64_t j = 0; b && j < p->args->rank; j++) gm_axpy(h, p->args->scale * u_at(p, which)[j], b + row_at(p, j), p->n);
}

/* h1_k and h3_k over a strip */
static void slot_values(const slot_place *p, gm_strip *strip, const float *h1, const float *h3) {
    expand(p, strip->h1, h1, p->args->w1.b, 0);
    expand(p, strip->h3, h3, p->args->w3.b, 1);
}

/* Multiplies the slot's columns with dropout's mask. */
static void drop(const slot_place *p, float *restrict values) {
    if (p->args->dropout.rate == 0) return;
    const gm_dropout dropout = p->args->dropout;
    uint32_t at = (uint32_t)(p->slot * p->args->ffn + p->first);
    for (int64_t i = 0; i < p->n; i++) values[i] *= gm_dropout_factor(&dropout, at + (uint32_t)i);
}

/* One slot over one strip: z takes its gated values, u2 (rank) its part of A2 a. */
static void slot_forward(const slot_place *p, gm_strip *strip, const float *h1, const float *h3, float *restrict z, float *u2) {
    const float gate = p->gate;
    slot_values(p, strip, h1, h3);
    for (int64_t i = 0; i < p->n; i++) {
        strip->a[i] = strip->h1[i] * gm_sigmoid(strip->h1[i]) * strip->h3[i];
        z[i] += gate * strip->a[i];
    }
    drop(p, strip->a);
    for (int64_t j = 0; p->args->w2.a && j < p->args->rank; j++) u2[j] += gm_dot(strip->a, p->args->w2.a + row_at(p, j), p->n);
}

/* The same for all three sites at rank 2 without dropout, in one pass: the paper's setting. */
static void slot_forward_rank2(const slot_place *p, const float *restrict h1, const float *restrict h3, float *restrict z, float *u2) {
    const gm_expert_ffn_args *args = p->args;
    const float *u1 = u_at(p, 0), *u3 = u_at(p, 1);
    const int64_t n = p->n;
    const float s = args->scale, gate = p->gate, s10 = s * u1[0], s11 = s * u1[1], s30 = s * u3[0], s31 = s * u3[1];
    const float *restrict b10 = args->w1.b + row_at(p, 0), *restrict b11 = b10 + args->ffn, *restrict b30 = args->w3.b + row_at(p, 0),
                          *restrict b31 = b30 + args->ffn;
    const float *restrict a0 = args->w2.a + row_at(p, 0), *restrict a1 = a0 + args->ffn;
    float u20 = 0, u21 = 0;
#pragma omp simd reduction(+ : u20, u21)
    for (int64_t i = 0; i < n; i++) {
        float x1 = h1[i] + s10 * b10[i] + s11 * b11[i], x3 = h3[i] + s30 * b30[i] + s31 * b31[i];
        float value = x1 * gm_sigmoid(x1) * x3;
        z[i] += gate * value;
        u20 += value * a0[i], u21 += value * a1[i];
    }
    u2[0] += u20, u2[1] += u21;
}

static bool all_sites_rank2(const gm_expert_ffn_args *args) {
    return args->rank == 2 && args->w1.a && args->w3.a && args->w2.a && args->dropout.rate == 0;
}

/* The two experts that a token has first, by number */
static int64_t first_experts(const gm_expert_ffn_args *args, int64_t t) {
    const int32_t *expert = args->expert + t * args->slots;
    int64_t one = expert[0], other = expert[args->slots > 1];
    return one < other ? one * args->experts + other : other * args->experts + one;
}

/* An order of the tokens in which those of the same experts follow each other, so that the experts' rows stay in the first-level cache; in
 * scratch memory. NULL: as they are, for there is one expert. */
static const int32_t *token_order(gm_backend *backend, const gm_expert_ffn_args *args) {
    if (args->experts == 1) return NULL;
    int64_t pairs = args->experts * args->experts;
    int32_t *order = gm_arena_take(&backend->scratch, (size_t)args->tokens * sizeof *order);
    int32_t *place = gm_arena_take(&backend->scratch, (size_t)(pairs + 1) * sizeof *place); /* of the next token of each pair */
    if (gm_backend_measures(backend)) return NULL;
    memset(place, 0, (size_t)(pairs + 1) * sizeof *place);
    for (int64_t t = 0; t < args->tokens; t++) place[first_experts(args, t) + 1]++;
    for (int64_t pair = 0; pair < pairs; pair++) place[pair + 1] += place[pair];
    for (int64_t t = 0; t < args->tokens; t++) order[place[first_experts(args, t)]++] = (int32_t)t;
    return order;
}

/* Asks for columns begin … end of a token's rows: in this order the processor does not see them coming. */
static void prefetch_rows(const gm_expert_ffn_args *args, int64_t t, int64_t begin, int64_t end) {
    const int64_t size = (int64_t)gm_type_size(args->type);
    for (int64_t i = (t * args->ffn + begin) * size; i < (t * args->ffn + end) * size; i += CACHE_LINE) {
        __builtin_prefetch((const char *)args->h1 + i);
        __builtin_prefetch((const char *)args->h3 + i);
        if (args->dz) __builtin_prefetch((const char *)args->dz + i);
    }
}

static void forward_token(const gm_expert_ffn_args *args, int64_t t) {
    gm_strip strip;
    float buffer1[STRIP], buffer3[STRIP], z[STRIP];
    bool rank2 = all_sites_rank2(args);
    if (args->w2.a) memset(args->u2 + t * args->slots * args->rank, 0, (size_t)(args->slots * args->rank) * sizeof(float));
    for (int64_t first = 0; first < args->ffn; first += STRIP) {
        int64_t n = args->ffn - first < STRIP ? args->ffn - first : STRIP;
        const float *h1 = gm_row_f32(args->h1, args->type, t * args->ffn + first, n, buffer1);
        const float *h3 = gm_row_f32(args->h3, args->type, t * args->ffn + first, n, buffer3);
        memset(z, 0, (size_t)n * sizeof *z);
        for (int64_t slot = t * args->slots; slot < (t + 1) * args->slots; slot++) {
            float *u2 = args->w2.a ? args->u2 + slot * args->rank : NULL;
            slot_place place = place_of(args, slot, first, n);
            if (rank2)
                slot_forward_rank2(&place, h1, h3, z, u2);
            else
                slot_forward(&place, &strip, h1, h3, z, u2);
        }
        gm_row_store(args->z, args->type, t * args->ffn + first, n, z);
    }
}

void GM_KERNEL(gm_cpu_expert_ffn_forward)(gm_backend *backend, const gm_expert_ffn_args *args) {
    size_t mark = gm_arena_mark(&backend->scratch);
    const int32_t *order = token_order(backend, args);
    int64_t tokens = gm_backend_measures(backend) ? 0 : args->tokens;
#pragma omp parallel for schedule(dynamic, TOKEN_BLOCK)
    for (int64_t i = 0; i < tokens; i++) {
        if (i + 1 < tokens) prefetch_rows(args, order ? order[i + 1] : i + 1, 0, args->ffn);
        forward_token(args, order ? order[i] : i);
    }
    gm_arena_release(&backend->scratch, mark);
}

void GM_KERNEL(gm_cpu_expert_ffn_output)(gm_backend *backend, const gm_expert_ffn_args *args) {
    (void)backend;
    int64_t rank = args->rank, hidden = args->hidden;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < args->tokens; t++)
        for (int64_t slot = t * args->slots; slot < (t + 1) * args->slots; slot++)
            for (int64_t j = 0; j < rank; j++)
                gm_axpy(args->y + t * hidden, slot_gate(args, slot) * args->scale * args->u2[slot * rank + j],
                        args->w2.b + (slot_expert(args, slot) * rank + j) * hidden, hidden);
}

/* Sums over F of one (slice, slot): ⟨a, dz⟩, then du1 and du3 (rank each) without their factor s. */
static int64_t sums_size(const gm_expert_ffn_args *args) { return 1 + 2 * args->rank; }

/* What the sum of slot gradients of a strip needs: da, then dh1 (left in h1) and dh3 (left in h3); returns ⟨a, dz⟩. */
static float slot_gradients(gm_strip *restrict strip, const float *restrict dz, float gate, int64_t n) {
    float *restrict h1 = strip->h1, *restrict h3 = strip->h3, *restrict a = strip->a, *restrict da = strip->da;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        float sigmoid = gm_sigmoid(h1[i]), silu = h1[i] * sigmoid, value = silu * h3[i], slope = sigmoid + silu * (1.0f - sigmoid);
        float gradient = gate * dz[i] + da[i];
        sum += value * dz[i];
        a[i] = value;
        h1[i] = gradient * h3[i] * slope;
        h3[i] = gradient * silu;
    }
    return sum;
}

/* Row j of an expert's B over a strip: its gradient takes dh · s u_j, and ⟨dh, B_j⟩ is the sum that du_j is made of. */
static float b_gradient(const float *restrict b, float *restrict db, const float *restrict dh, float su, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        sum += dh[i] * b[i];
        db[i] += su * dh[i];
    }
    return sum;
}

static void lora_gradients(const slot_place *p, const gm_strip *strip, const float *w, float *sums) {
    const gm_expert_ffn_args *args = p->args;
    for (int64_t j = 0; j < args->rank; j++) {
        const int64_t row = row_at(p, j);
        if (args->w1.b) sums[1 + j] += b_gradient(args->w1.b + row, args->w1.db + row, strip->h1, args->scale * u_at(p, 0)[j], p->n);
        if (args->w3.b)
            sums[1 + args->rank + j] += b_gradient(args->w3.b + row, args->w3.db + row, strip->h3, args->scale * u_at(p, 1)[j], p->n);
        if (args->w2.a) gm_axpy(args->w2.da + row, p->gate * args->scale * w[j], strip->a, p->n);
    }
}

typedef struct token_rows { /* a token's over one strip, in f32 */
    const float *h1, *h3, *dz;
    float *dh1, *dh3; /* added to */
} token_rows;

/* One slot over one strip: its gradients. */
static void slot_backward(const slot_place *p, gm_strip *strip, const token_rows *rows, const float *w, float *sums) {
    const gm_expert_ffn_args *args = p->args;
    slot_values(p, strip, rows->h1, rows->h3);
    memset(strip->da, 0, (size_t)p->n * sizeof *strip->da);
    for (int64_t j = 0; args->w2.a && j < args->rank; j++)
        gm_axpy(strip->da, p->gate * args->scale * w[j], args->w2.a + row_at(p, j), p->n);
    drop(p, strip->da);
    sums[0] += slot_gradients(strip, rows->dz, p->gate, p->n);
    drop(p, strip->a); /* what A2 has seen */
    lora_gradients(p, strip, w, sums);
    gm_axpy(rows->dh1, 1.0f, strip->h1, p->n);
    gm_axpy(rows->dh3, 1.0f, strip->h3, p->n);
}

/* The same for all three sites at rank 2, in one pass: the paper's setting, and twice as fast. */
static void slot_backward_rank2(const slot_place *p, const token_rows *rows, const float *w, float *sums) {
    const gm_expert_ffn_args *args = p->args;
    const float *u1 = u_at(p, 0), *u3 = u_at(p, 1);
    const int64_t n = p->n, row = row_at(p, 0);
    const float s = args->scale, gate = p->gate, s10 = s * u1[0], s11 = s * u1[1], s30 = s * u3[0], s31 = s * u3[1], w0 = gate * s * w[0],
                w1 = gate * s * w[1];
    const float *restrict h1 = rows->h1, *restrict h3 = rows->h3, *restrict dz = rows->dz;
    float *restrict dh1 = rows->dh1, *restrict dh3 = rows->dh3;
    const float *restrict b10 = args->w1.b + row, *restrict b11 = b10 + args->ffn, *restrict b30 = args->w3.b + row,
                          *restrict b31 = b30 + args->ffn;
    const float *restrict a0 = args->w2.a + row, *restrict a1 = a0 + args->ffn;
    float *restrict db10 = args->w1.db + row, *restrict db11 = db10 + args->ffn, *restrict db30 = args->w3.db + row,
                    *restrict db31 = db30 + args->ffn;
    float *restrict da0 = args->w2.da + row, *restrict da1 = da0 + args->ffn;
    float sum = 0, q10 = 0, q11 = 0, q30 = 0, q31 = 0;
#pragma omp simd reduction(+ : sum, q10, q11, q30, q31)
    for (int64_t i = 0; i < n; i++) {
        float x1 = h1[i] + s10 * b10[i] + s11 * b11[i], x3 = h3[i] + s30 * b30[i] + s31 * b31[i];
        float sigmoid = gm_sigmoid(x1), silu = x1 * sigmoid, value = silu * x3, gradient = gate * dz[i] + w0 * a0[i] + w1 * a1[i];
        float d1 = gradient * x3 * (sigmoid + silu * (1.0f - sigmoid)), d3 = gradient * silu;
        sum += value * dz[i];
        q10 += d1 * b10[i], q11 += d1 * b11[i], q30 += d3 * b30[i], q31 += d3 * b31[i];
        db10[i] += s10 * d1, db11[i] += s11 * d1, db30[i] += s30 * d3, db31[i] += s31 * d3;
        da0[i] += w0 * value, da1[i] += w1 * value;
        dh1[i] += d1, dh3[i] += d3;
    }
    sums[0] += sum, sums[1] += q10, sums[2] += q11, sums[3] += q30, sums[4] += q31;
}

/* One token over one strip. w: K×R, B2ᵀ dy of each slot; sums: K × sums_size, added to. */
static void backward_strip(const gm_expert_ffn_args *args, int64_t t, const float *w, float *sums, int64_t first, int64_t n) {
    gm_strip strip;
    float buffer1[STRIP], buffer3[STRIP], buffer_dz[STRIP], dh1[STRIP], dh3[STRIP];
    const int64_t at = t * args->ffn + first;
    const float *h1 = gm_row_f32(args->h1, args->type, at, n, buffer1), *h3 = gm_row_f32(args->h3, args->type, at, n, buffer3);
    const float *dz = gm_row_f32(args->dz, args->type, at, n, buffer_dz);
    bool rank2 = all_sites_rank2(args);
    memset(dh1, 0, (size_t)n * sizeof *dh1);
    memset(dh3, 0, (size_t)n * sizeof *dh3);
    const token_rows rows = {h1, h3, dz, dh1, dh3};
    for (int64_t k = 0; k < args->slots; k++) {
        float *slot_sums = sums + k * sums_size(args);
        slot_place place = place_of(args, t * args->slots + k, first, n);
        if (rank2)
            slot_backward_rank2(&place, &rows, w + k * 2, slot_sums);
        else
            slot_backward(&place, &strip, &rows, w + k * args->rank, slot_sums);
    }
    gm_row_store(args->h1, args->type, at, n, dh1);
    gm_row_store(args->h3, args->type, at, n, dh3);
}

/* w_k = B2_eᵀ dy (T×K×R) */
static void down_projections(const gm_expert_ffn_args *args, float *w) {
    int64_t rank = args->rank, hidden = args->hidden;
#pragma omp parallel for schedule(static)
    for (int64_t slot = 0; slot < args->tokens * args->slots; slot++)
        for (int64_t j = 0; j < rank; j++)
            w[slot * rank + j] =
                gm_dot(args->w2.b + (slot_expert(args, slot) * rank + j) * hidden, args->dy + slot / args->slots * hidden, hidden);
}

/* dB2_e += g s u2 dyᵀ, over slices of the D columns */
static void down_gradients(const gm_expert_ffn_args *args) {
    int64_t rank = args->rank, hidden = args->hidden, width = 128, slices = (hidden + width - 1) / width;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t slice = 0; slice < slices; slice++) {
        int64_t first = slice * width, n = hidden - first < width ? hidden - first : width;
        for (int64_t slot = 0; slot < args->tokens * args->slots; slot++)
            for (int64_t j = 0; j < rank; j++)
                gm_axpy(args->w2.db + (slot_expert(args, slot) * rank + j) * hidden + first,
                        slot_gate(args, slot) * args->scale * args->u2[slot * rank + j], args->dy + slot / args->slots * hidden + first, n);
    }
}

/* Adds the slices' sums in order: dgate and du of one token. */
static void finish_token(const gm_expert_ffn_args *args, int64_t t, const float *w, const float *sums, int64_t slices) {
    int64_t rank = args->rank, size = sums_size(args), per_slice = args->tokens * args->slots * size;
    if (args->du) memset(args->du + u_offset(args, t, 0, 0), 0, (size_t)(2 * args->experts * rank) * sizeof(float));
    for (int64_t slot = t * args->slots; slot < (t + 1) * args->slots; slot++) {
        int64_t e = slot_expert(args, slot);
        const float *slot_sums = sums + slot * size;
        float dgate = args->w2.a ? args->scale * gm_dot(args->u2 + slot * rank, w + slot * rank, rank) : 0.0f;
        for (int64_t slice = 0; slice < slices; slice++) dgate += slot_sums[slice * per_slice];
        if (args->dgate) args->dgate[slot] = dgate;
        for (int64_t j = 0; args->du && j < 2 * rank; j++) {
            float sum = 0;
            for (int64_t slice = 0; slice < slices; slice++) sum += slot_sums[slice * per_slice + 1 + j];
            args->du[u_offset(args, t, j >= rank, e) + j % rank] += args->scale * sum;
        }
    }
}

/* About 512 columns, in a number that 2 and 4 threads share evenly: narrower slices read the rows in pieces too short for the
 * processor to fetch ahead, and take twice as long. */
static int64_t slice_width(int64_t ffn) {
    int64_t slices = ffn < 4096 ? 4 : ffn / 2048 * 4;
    if (slices > SLICES_MOST) slices = SLICES_MOST;
    return ((ffn + slices - 1) / slices + SLICE_ALIGN - 1) / SLICE_ALIGN * SLICE_ALIGN;
}

void GM_KERNEL(gm_cpu_expert_ffn_backward)(gm_backend *backend, const gm_expert_ffn_args *args) {
    int64_t width = slice_width(args->ffn);
    int64_t slices = (args->ffn + width - 1) / width, per_slice = args->tokens * args->slots * sums_size(args);
    size_t mark = gm_arena_mark(&backend->scratch);
    float *w = gm_arena_take(&backend->scratch, (size_t)(args->tokens * args->slots * args->rank) * sizeof *w);
    float *sums = gm_arena_take(&backend->scratch, (size_t)(slices * per_slice) * sizeof *sums);
    const int32_t *order = token_order(backend, args);
    if (gm_backend_measures(backend)) {
        gm_arena_release(&backend->scratch, mark);
        return;
    }
    if (args->w2.a) down_projections(args, w);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t slice = 0; slice < slices; slice++) {
        float *slice_sums = sums + slice * per_slice;
        memset(slice_sums, 0, (size_t)per_slice * sizeof *slice_sums);
        int64_t begin = slice * width, end = begin + width < args->ffn ? begin + width : args->ffn;
        for (int64_t i = 0; i < args->tokens; i++) {
            if (i + 1 < args->tokens) prefetch_rows(args, order ? order[i + 1] : i + 1, begin, end);
            for (int64_t first = begin, t = order ? order[i] : i; first < end; first += STRIP)
                backward_strip(args, t, w + t * args->slots * args->rank, slice_sums + t * args->slots * sums_size(args), first,
                               end - first < STRIP ? end - first : STRIP);
        }
    }
    if (args->w2.a) down_gradients(args);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < args->tokens; t++) finish_token(args, t, w, sums, slices);
    gm_arena_release(&backend->scratch, mark);
}
