/* The expert FFN backward (formulas: src/ops/expert_ffn.c), ranks up to FFN_RANK. Three steps over tokens sorted by expert:
 *     down:  w_k = B2ᵀ dy  and  dB2 += g s u2 dyᵀ, from one reading of dy
 *     main:  h1, h3, dz → Σ_k dh1_k, Σ_k dh3_k in place, dB1, dB3, dA2, and each strip's part of ⟨a_k, dz⟩, B1ᵀ dh1_k, B3ᵀ dh3_k
 *     then the parts in order: dgate, du, and the chunks' gradients of the weights
 * A thread adds up the gradients of its columns in registers while a position's expert stays, then adds them to its chunk's
 * part in scratch (with one chunk: to the gradients). The expert's rows are in shared memory, each thread's own columns. */
#include "expert_ffn.cuh"

enum { DOWN_AT_ONCE = 2, DOWN_TOGETHER = 2, SMALL = 256 };

struct down_args {
    gm_ffn n;
    const float *dy, *b2, *u2, *gate;
    float scale;
    float *w; /* strips×T×K×R */
    gm_ffn_part db2;
    const int32_t *touched;
    int64_t first_rank; /* of the RANK rows */
};

/* A position takes another expert. */
template <int RANK, int N>
__device__ static void down_turn(float (&sum)[RANK][N], float (&rows)[RANK][N], const down_args &a, int from, int to, int column) {
    gm_ffn_flush(sum, a.db2, a.n, from, a.first_rank, column);
    gm_ffn_rows(rows, a.b2, a.n, to, a.first_rank, column);
}

template <int RANK> __global__ void __launch_bounds__(FFN_THREADS) expert_ffn_down(down_args a) {
    enum { N = gm_ffn_traits<RANK>::VECTOR, SUMS = DOWN_AT_ONCE * RANK };
    GM_SHARED(float, parts, [2][DOWN_TOGETHER * SUMS][FFN_THREADS]);
    GM_SHARED(int32_t, slot_of, [2][DOWN_TOGETHER * DOWN_AT_ONCE]);
    const gm_ffn n = a.n;
    const int column = (int)(((n.first_strip + blockIdx.x) * FFN_THREADS + threadIdx.x) * N);
    float sum[DOWN_AT_ONCE][RANK][N] = {}, rows[DOWN_AT_ONCE][RANK][N], *w = a.w + blockIdx.x * n.tokens * n.slots * n.rank;
    int cached[DOWN_AT_ONCE] = {-1, -1}, together = 0, buffer = 0;
    if (a.first_rank == 0) gm_ffn_clear(a.db2, a.touched, n, column, N);
    gm_ffn_cursor now = gm_ffn_begin(n, DOWN_AT_ONCE), next = now;
    gm_raw<float, N> next_dy;
    gm_raw_load(next_dy, a.dy + (int64_t)n.order[now.i] * n.columns, column, n.columns, n.aligned);
    for (; now.i < now.end; now = next) {
        float dy[N];
        gm_widen(dy, next_dy);
        gm_ffn_advance<true>(next, n, DOWN_AT_ONCE);
        if (next.i < next.end) gm_raw_load(next_dy, a.dy + (int64_t)n.order[next.i] * n.columns, column, n.columns, n.aligned);
#pragma unroll
        for (int k = 0; k < DOWN_AT_ONCE; k++) {
            if (threadIdx.x == 0) slot_of[buffer][together * DOWN_AT_ONCE + k] = -1;
            if (now.group + k >= n.slots) continue;
            const int2 place = n.place[(int64_t)now.i * n.slots + now.group + k];
            const float factor = a.scale * (a.gate ? a.gate[place.y] : 1.0f);
            if (place.x != cached[k]) down_turn(sum[k], rows[k], a, cached[k], place.x, column), cached[k] = place.x;
            if (threadIdx.x == 0) slot_of[buffer][together * DOWN_AT_ONCE + k] = place.y;
#pragma unroll
            for (int j = 0; j < RANK; j++) {
                const float u2 = a.first_rank + j < n.rank ? factor * a.u2[(int64_t)place.y * n.rank + a.first_rank + j] : 0.0f;
                float dot = 0;
#pragma unroll
                for (int i = 0; i < N; i++) dot += rows[k][j][i] * dy[i], sum[k][j][i] += u2 * dy[i];
                parts[buffer][(together * DOWN_AT_ONCE + k) * RANK + j][threadIdx.x] = dot;
            }
        }
        if (++together < DOWN_TOGETHER && next.i < next.end) continue;
        __syncthreads(); /* two buffers: one is written while the other is added up */
        gm_ffn_add_up(w, parts[buffer], together * SUMS, [&](int r) {
            const int slot = slot_of[buffer][r / RANK], row = (int)a.first_rank + r % RANK;
            return slot < 0 || row >= n.rank ? -1 : slot * n.rank + row;
        });
        buffer = !buffer, together = 0;
    }
#pragma unroll
    for (int k = 0; k < DOWN_AT_ONCE; k++) gm_ffn_flush(sum[k], a.db2, n, cached[k], a.first_rank, column);
}

/* One slot at the thread's columns: dh1 and dh3 added, its weights' gradients added, its sums. `rows`: the thread's columns of
 * B1, B3, A2, one row every STRIP floats. */
template <int RANK, bool DROPOUT, int N>
__device__ __forceinline__ void slot_backward(float (&dh1)[N], float (&dh3)[N], float (&gradient)[3][RANK][N], float (&sums)[1 + 2 * RANK],
                                              float gate, const float *coefficients, const float *rows, const float (&h1)[N],
                                              const float (&h3)[N], const float (&dz)[N], const gm_dropout &dropout, uint32_t at) {
    enum { STRIP = gm_ffn_traits<RANK>::STRIP };
    float c[gm_ffn_traits<RANK>::RECORD - FFN_HEAD], x1[N], x3[N], through[N], row[N];
    gm_load_vector(c, coefficients);
#pragma unroll
    for (int i = 0; i < N; i++) x1[i] = h1[i], x3[i] = h3[i], through[i] = 0;
#pragma unroll
    for (int j = 0; j < RANK; j++) {
        gm_row_load(row, rows + j * STRIP, 0, N, true);
#pragma unroll
        for (int i = 0; i < N; i++) x1[i] += c[j] * row[i];
        gm_row_load(row, rows + (RANK + j) * STRIP, 0, N, true);
#pragma unroll
        for (int i = 0; i < N; i++) x3[i] += c[RANK + j] * row[i];
        gm_row_load(row, rows + (2 * RANK + j) * STRIP, 0, N, true);
#pragma unroll
        for (int i = 0; i < N; i++) through[i] += c[2 * RANK + j] * row[i];
    }
#pragma unroll
    for (int v = 0; v < 1 + 2 * RANK; v++) sums[v] = 0;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float mask = DROPOUT ? gm_dropout_factor(&dropout, at + (uint32_t)i) : 1.0f;
        const float sigmoid = gm_quick_sigmoid(x1[i]), silu = x1[i] * sigmoid, a = silu * x3[i], da = gate * dz[i] + mask * through[i];
        sums[0] += a * dz[i];
        x1[i] = da * x3[i] * (sigmoid + silu * (1.0f - sigmoid)), x3[i] = da * silu; /* dh1_k, dh3_k from here on */
        dh1[i] += x1[i], dh3[i] += x3[i];
#pragma unroll
        for (int j = 0; j < RANK; j++) {
            gradient[0][j][i] += c[j] * x1[i];
            gradient[1][j][i] += c[RANK + j] * x3[i];
            gradient[2][j][i] += c[2 * RANK + j] * (mask * a);
        }
    }
#pragma unroll
    for (int j = 0; j < RANK; j++) {
        gm_row_load(row, rows + j * STRIP, 0, N, true);
#pragma unroll
        for (int i = 0; i < N; i++) sums[1 + j] += row[i] * x1[i];
        gm_row_load(row, rows + (RANK + j) * STRIP, 0, N, true);
#pragma unroll
        for (int i = 0; i < N; i++) sums[1 + RANK + j] += row[i] * x3[i];
    }
}

/* RANK rows of expert e into the thread's part of shared memory; zeros where there are none. */
template <int RANK> __device__ static void keep_rows(float *rows, const float *site, const gm_ffn &n, int64_t e, int column) {
    enum { N = gm_ffn_traits<RANK>::VECTOR, STRIP = gm_ffn_traits<RANK>::STRIP };
    float v[RANK][N];
    gm_ffn_rows(v, site, n, e, 0, column);
#pragma unroll
    for (int j = 0; j < RANK; j++) gm_raw_store(rows + j * STRIP, v[j], 0, N, true);
}

/* A position takes another expert, or none (to −1). */
template <class T, int RANK, int N>
__device__ static void main_turn(float (&gradient)[3][RANK][N], float *rows, const gm_ffn_backward<T> &a, int from, int to, int column) {
    enum { STRIP = gm_ffn_traits<RANK>::STRIP };
    gm_ffn_flush(gradient[0], a.db1, a.n, from, 0, column);
    gm_ffn_flush(gradient[1], a.db3, a.n, from, 0, column);
    gm_ffn_flush(gradient[2], a.da2, a.n, from, 0, column);
    if (to < 0) return;
    keep_rows<RANK>(rows, a.b1, a.n, to, column);
    keep_rows<RANK>(rows + RANK * STRIP, a.b3, a.n, to, column);
    keep_rows<RANK>(rows + 2 * RANK * STRIP, a.a2, a.n, to, column);
}

template <class T, int N> struct loaded {
    gm_raw<T, N> h1, h3, dz;
};

template <class T, int N> __device__ __forceinline__ void load(loaded<T, N> &to, const gm_ffn_backward<T> &a, int row, int column) {
    const int64_t at = (int64_t)row * a.n.columns;
    gm_raw_load(to.h1, a.h1 + at, column, a.n.columns, a.n.aligned);
    gm_raw_load(to.h3, a.h3 + at, column, a.n.columns, a.n.aligned);
    gm_raw_load(to.dz, a.dz + at, column, a.n.columns, a.n.aligned);
}

/* dh1 and dh3 so far, of a token in a tile; or the results. */
template <class T, int N>
__device__ __forceinline__ void store(const gm_ffn_backward<T> &a, float *kept, bool last, int row, int column, const float (&dh1)[N],
                                      const float (&dh3)[N]) {
    if (last) {
        const int64_t at = (int64_t)row * a.n.columns;
        gm_raw_store(a.h1 + at, dh1, column, a.n.columns, a.n.aligned);
        gm_raw_store(a.h3 + at, dh3, column, a.n.columns, a.n.aligned);
    } else {
        gm_raw_store(kept, dh1, 0, N, true);
        gm_raw_store(kept + FFN_TILE * FFN_THREADS * N, dh3, 0, N, true);
    }
}

/* Blocks that a multiprocessor holds without registers on the stack. */
template <class T, int RANK, bool DROPOUT> constexpr int blocks_at_once() { return sizeof(T) == 2 && RANK <= 2 && !DROPOUT ? 4 : 3; }

template <class T, int RANK, int AT_ONCE, bool TILED, bool DROPOUT>
__global__ void __launch_bounds__(FFN_THREADS, blocks_at_once<T, RANK, DROPOUT>()) expert_ffn_backward(gm_ffn_backward<T> a) {
    typedef gm_ffn_traits<RANK> traits;
    enum {
        N = traits::VECTOR,
        RECORD = traits::RECORD,
        SUMS = 1 + 2 * RANK,
        TOGETHER = 20 / (AT_ONCE * SUMS) > 0 ? 20 / (AT_ONCE * SUMS) : 1
    };
    GM_SHARED(float, parts, [2][TOGETHER * AT_ONCE * SUMS][FFN_THREADS]);
    GM_SHARED(float, rows, [AT_ONCE][3 * RANK][traits::STRIP]);
    GM_SHARED(int32_t, slot_of, [2][TOGETHER * AT_ONCE]);
    GM_DYNAMIC_SHARED(float, tile); /* TILED: dh1 and dh3 of its tokens; else the window of records */
    const gm_ffn n = a.n;
    const int column = (int)(((n.first_strip + blockIdx.x) * FFN_THREADS + threadIdx.x) * N);
    float gradient[AT_ONCE][3][RANK][N] = {}, *sums = a.sums + blockIdx.x * n.tokens * n.slots * (1 + 2 * n.rank);
    int cached[AT_ONCE], together = 0, buffer = 0;
    for (int k = 0; k < AT_ONCE; k++) cached[k] = -1;
    gm_ffn_clear(a.db1, a.touched, n, column, N), gm_ffn_clear(a.db3, a.touched, n, column, N),
        gm_ffn_clear(a.da2, a.touched, n, column, N);
    gm_ffn_cursor now = gm_ffn_begin(n, AT_ONCE), next = now;
    gm_ffn_advance<TILED>(next, n, AT_ONCE);
    int row = gm_ffn_row_at(n, now), next_row = gm_ffn_row_at(n, next);
    loaded<T, N> next_values;
    load(next_values, a, row, column);
    while (now.i < now.end) {
        float h1[N], h3[N], dz[N], dh1[N] = {0}, dh3[N] = {0};
        gm_widen(h1, next_values.h1), gm_widen(h3, next_values.h3), gm_widen(dz, next_values.dz);
        if (next.i < next.end)
            load(next_values, a, next_row, column); /* another row than the one that is stored, or not yet the last time */
        gm_ffn_cursor after = next;
        gm_ffn_advance<TILED>(after, n, AT_ONCE);
        const int after_row = gm_ffn_row_at(n, after);
        const float *records = gm_ffn_records<RECORD, AT_ONCE, TILED>(n, now, tile);
        float *kept = tile + ((now.i - now.tile) * FFN_THREADS + threadIdx.x) * N;
        if (TILED && now.group > 0) gm_row_load(dh1, kept, 0, N, true), gm_row_load(dh3, kept + FFN_TILE * FFN_THREADS * N, 0, N, true);
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            const bool there = !TILED || now.group + k < n.slots;
            const gm_ffn_head head = there ? gm_ffn_head_of(records + k * RECORD) : gm_ffn_head{0, -1, -1};
            if (threadIdx.x == 0) slot_of[buffer][together * AT_ONCE + k] = head.slot;
            if (!there) continue;
            float *mine = &rows[k][0][threadIdx.x * N];
            if (head.expert != cached[k]) main_turn(gradient[k], mine, a, cached[k], head.expert, column), cached[k] = head.expert;
            float part_sums[SUMS];
            slot_backward<RANK, DROPOUT>(dh1, dh3, gradient[k], part_sums, head.gate, records + k * RECORD + FFN_HEAD, mine, h1, h3, dz,
                                         a.dropout, (uint32_t)head.slot * (uint32_t)n.columns + (uint32_t)column);
#pragma unroll
            for (int v = 0; v < SUMS; v++) parts[buffer][(together * AT_ONCE + k) * SUMS + v][threadIdx.x] = part_sums[v];
        }
        store(a, kept, !TILED || now.group + AT_ONCE >= n.slots, row, column, dh1, dh3);
        now = next, next = after, row = next_row, next_row = after_row;
        if (++together < TOGETHER && now.i < now.end) continue;
        __syncthreads(); /* two buffers: one is written while the other is added up */
        gm_ffn_add_up(sums, parts[buffer], together * AT_ONCE * SUMS, [&](int r) {
            const int slot = slot_of[buffer][r / SUMS], value = gm_ffn_row<RANK, 1>(r % SUMS, n.rank);
            return slot < 0 || value < 0 ? -1 : slot * (1 + 2 * n.rank) + value;
        });
        buffer = !buffer, together = 0;
    }
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++) main_turn(gradient[k], &rows[k][0][0], a, cached[k], -1, column);
}

/* dgate_k = ⟨a_k, dz⟩ + s ⟨u2_k, w_k⟩ */
__global__ void __launch_bounds__(SMALL) gate_gradients(gm_expert_ffn_args a, const float *sums, const float *w) {
    const int64_t slot = (int64_t)blockIdx.x * SMALL + threadIdx.x;
    if (slot >= a.tokens * a.slots) return;
    float dot = 0;
    for (int64_t j = 0; w && j < a.rank; j++) dot += a.u2[slot * a.rank + j] * w[slot * a.rank + j];
    a.dgate[slot] = sums[slot * (1 + 2 * a.rank)] + a.scale * dot;
}

/* du_e = s Bᵀ dh of the slots that have the expert: T×2×N×R */
__global__ void __launch_bounds__(SMALL) u_gradients(gm_expert_ffn_args a, const float *sums) {
    const int64_t at = (int64_t)blockIdx.x * SMALL + threadIdx.x, j = at % a.rank, e = at / a.rank % a.experts,
                  which = at / (a.rank * a.experts) % 2, t = at / (2 * a.rank * a.experts);
    if (t >= a.tokens) return;
    float sum = 0;
    const bool there = which ? a.w3.b != NULL : a.w1.b != NULL;
    for (int64_t slot = t * a.slots; there && slot < (t + 1) * a.slots; slot++)
        if (!a.expert || a.expert[slot] == e) sum += sums[slot * (1 + 2 * a.rank) + 1 + which * a.rank + j];
    a.du[at] = a.scale * sum;
}

/* ---- host */

static float *take(gm_backend *backend, int64_t count) { return (float *)gm_cuda_scratch(backend, (size_t)count * sizeof(float)); }

struct chunks {
    int64_t size, count, bound; /* tokens of one; how many there are, and are at most with fewer tokens too (sums.cuh) */
};

/* About so many blocks, their gradients (of `sites` matrices with that many columns) within the scratch. */
static chunks divide(const gm_expert_ffn_args *args, int64_t columns, int64_t sites, int64_t blocks) {
    const int64_t wanted = gm_parts(blocks, gm_parts(columns, gm_ffn_strip(args->rank)));
    const int64_t bytes = gm_most(sites * gm_ffn_experts(args) * args->rank * columns, (int64_t)1) * (int64_t)sizeof(float);
    const int64_t most = gm_least(wanted, gm_most(gm_ffn_room(args) / bytes, (int64_t)1));
    const int64_t size = gm_most(gm_parts(args->tokens, most), (int64_t)FFN_LEAST_TOKENS);
    return {size, gm_parts(args->tokens, size), gm_least(most, gm_parts(args->tokens, FFN_LEAST_TOKENS))};
}

static gm_ffn_part take_part(gm_backend *backend, const gm_expert_ffn_args *args, float *gradient, const chunks &c, int64_t columns) {
    const int64_t size = gm_ffn_experts(args) * args->rank * columns;
    if (!gradient || c.bound == 1) return {gradient, 0};
    return {take(backend, c.bound * size), size};
}

static void add_part(gm_backend *backend, const gm_expert_ffn_args *args, float *gradient, const gm_ffn_part &p, const int32_t *touched,
                     int64_t chunks, int64_t columns) {
    if (p.stride > 0) gm_sum_touched_parts(backend, gradient, p.to, touched, chunks, gm_ffn_experts(args), args->rank * columns);
}

/* w (T×K×R), and dB2. */
static float *down(gm_backend *backend, const gm_expert_ffn_args *args, const gm_ffn_order *order) {
    const chunks c = divide(args, args->hidden, 1, FFN_DOWN_BLOCKS);
    const int64_t strips = gm_parts(args->hidden, gm_ffn_strip(args->rank)), sums = args->tokens * args->slots * args->rank,
                  round = gm_ffn_round(args, strips, sums);
    float *w = take(backend, sums);
    const size_t mark = gm_arena_mark(&backend->scratch);
    down_args a = {gm_ffn_shape(args, order, args->hidden, c.size),
                   args->dy,
                   args->w2.b,
                   args->u2,
                   args->gate,
                   args->scale,
                   take(backend, gm_ffn_round_bound(args, strips, sums)),
                   take_part(backend, args, args->w2.db, c, args->hidden),
                   gm_ffn_touch(backend, args, order, c.size, c.bound),
                   0};
    for (int64_t first = 0; first < strips; first += round) {
        const dim3 grid((unsigned)gm_least(round, strips - first), (unsigned)c.count);
        a.n.first_strip = (int)first;
        for (a.first_rank = 0; a.first_rank < args->rank; a.first_rank += FFN_RANK)
            GM_FFN_WITH_RANK(args->rank, 1, RANK, AT_ONCE, TILED, GM_LAUNCH(backend, expert_ffn_down<RANK>, grid, FFN_THREADS, 0, a);
                             (void)AT_ONCE; (void)TILED);
        gm_sum_all_parts(backend, w, a.w, grid.x, sums, sums, first > 0);
    }
    add_part(backend, args, args->w2.db, a.db2, a.touched, c.count, args->hidden);
    gm_arena_release(&backend->scratch, mark);
    return w;
}

template <class T, int RANK, int AT_ONCE, bool TILED> static void launch(gm_backend *backend, const gm_ffn_backward<T> &a, dim3 grid) {
    typedef gm_ffn_traits<RANK> traits;
    const size_t tile = (TILED ? 2 * FFN_TILE * traits::STRIP : FFN_WINDOW * AT_ONCE * traits::RECORD) * sizeof(float);
    if (a.dropout.rate > 0)
        GM_LAUNCH(backend, (expert_ffn_backward<T, RANK, AT_ONCE, TILED, true>), grid, FFN_THREADS, tile, a);
    else
        GM_LAUNCH(backend, (expert_ffn_backward<T, RANK, AT_ONCE, TILED, false>), grid, FFN_THREADS, tile, a);
}

/* Returns the sums over F: T×K×(1 + 2R). */
template <class T> static float *main_step(gm_backend *backend, const gm_expert_ffn_args *args, const gm_ffn_order *order, float *w) {
    const chunks c = divide(args, args->ffn, (args->w1.b != NULL) + (args->w3.b != NULL) + (args->w2.a != NULL), FFN_BACKWARD_BLOCKS);
    const int64_t strips = gm_parts(args->ffn, gm_ffn_strip(args->rank));
    const int64_t sums = args->tokens * args->slots * (1 + 2 * args->rank), round = gm_ffn_round(args, strips, sums);
    float *total = take(backend, sums), *part_sums = take(backend, gm_ffn_round_bound(args, strips, sums));
    gm_ffn_backward<T> a = {gm_ffn_shape(args, order, args->ffn, c.size),
                            (T *)args->h1,
                            (T *)args->h3,
                            (const T *)args->dz,
                            args->w1.b,
                            args->w3.b,
                            args->w2.a,
                            part_sums,
                            take_part(backend, args, args->w1.db, c, args->ffn),
                            take_part(backend, args, args->w3.db, c, args->ffn),
                            take_part(backend, args, args->w2.da, c, args->ffn),
                            gm_ffn_touch(backend, args, order, c.size, c.bound),
                            args->dropout};
    gm_ffn_pack(backend, &a.n, args, w);
    for (int64_t first = 0; first < strips; first += round) {
        const dim3 grid((unsigned)gm_least(round, strips - first), (unsigned)c.count);
        a.n.first_strip = (int)first;
        if (args->rank > FFN_RANK)
            gm_ffn_wide_backward(backend, a, grid);
        else
            GM_FFN_WITH_RANK(args->rank, args->slots, RANK, AT_ONCE, TILED, launch<T, RANK, AT_ONCE, TILED>(backend, a, grid));
        gm_sum_all_parts(backend, total, part_sums, grid.x, sums, sums, first > 0);
    }
    add_part(backend, args, args->w1.db, a.db1, a.touched, c.count, args->ffn);
    add_part(backend, args, args->w3.db, a.db3, a.touched, c.count, args->ffn);
    add_part(backend, args, args->w2.da, a.da2, a.touched, c.count, args->ffn);
    return total;
}

extern "C" void gm_cuda_expert_ffn_backward(gm_backend *backend, const gm_expert_ffn_args *args) {
    const size_t mark = gm_arena_mark(&backend->scratch);
    const gm_ffn_order order = gm_ffn_sort(backend, args);
    float *w = args->w2.a ? down(backend, args, &order) : NULL, *sums = NULL;
    GM_WITH_TYPE(args->type, T, sums = main_step<T>(backend, args, &order, w));
    if (args->dgate) GM_LAUNCH(backend, gate_gradients, gm_parts(args->tokens * args->slots, SMALL), SMALL, 0, *args, sums, w);
    if (args->du) GM_LAUNCH(backend, u_gradients, gm_parts(args->tokens * 2 * args->experts * args->rank, SMALL), SMALL, 0, *args, sums);
    gm_arena_release(&backend->scratch, mark);
}
