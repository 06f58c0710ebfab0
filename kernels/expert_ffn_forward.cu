/* The expert FFN forward (formulas: src/ops/expert_ffn.c), ranks up to FFN_RANK:
 *     z = Σ_k g_k a_k,  a_k = silu(h1 + s B1 u1) ∘ (h3 + s B3 u3),  u2_k = A2 a_k;      y += Σ_k g_k s B2 u2_k
 * h1 and h3 are read once and z is written once; rows of B1, B3 and A2 are in registers as long as the position's expert stays. */
#include "expert_ffn.cuh"

enum { CHUNK = 128 /* tokens */, TOGETHER = 4 /* tokens whose sums are added up together */, OUTPUT_TOKENS = 8 };

/* z += g a of one slot; the thread's part of its u2. */
template <int RANK, bool DROPOUT, int N>
__device__ __forceinline__ void slot_forward(float (&z)[N], float (&u2)[RANK], float gate, const float *coefficients,
                                             const float (&rows)[3][RANK][N], const float (&h1)[N], const float (&h3)[N],
                                             const gm_dropout &dropout, uint32_t at) {
    float c[(2 * RANK + 3) / 4 * 4];
    gm_load_vector(c, coefficients);
#pragma unroll
    for (int j = 0; j < RANK; j++) u2[j] = 0;
#pragma unroll
    for (int i = 0; i < N; i++) {
        float x1 = h1[i], x3 = h3[i];
#pragma unroll
        for (int j = 0; j < RANK; j++) x1 += c[j] * rows[0][j][i], x3 += c[RANK + j] * rows[1][j][i];
        float a = x1 * gm_quick_sigmoid(x1) * x3;
        z[i] += gate * a;
        if (DROPOUT) a *= gm_dropout_factor(&dropout, at + (uint32_t)i);
#pragma unroll
        for (int j = 0; j < RANK; j++) u2[j] += a * rows[2][j][i];
    }
}

template <class T, int N> struct loaded {
    gm_raw<T, N> h1, h3;
};

template <class T, int N> __device__ __forceinline__ void load(loaded<T, N> &to, const gm_ffn_forward<T> &a, int row, int column) {
    const int64_t at = (int64_t)row * a.n.columns;
    gm_raw_load(to.h1, a.h1 + at, column, a.n.columns, a.n.aligned);
    gm_raw_load(to.h3, a.h3 + at, column, a.n.columns, a.n.aligned);
}

/* A position takes another expert. */
template <class T, int RANK, int N>
__device__ static void turn(float (&rows)[3][RANK][N], const gm_ffn_forward<T> &a, int expert, int column) {
    gm_ffn_rows(rows[0], a.b1, a.n, expert, 0, column);
    gm_ffn_rows(rows[1], a.b3, a.n, expert, 0, column);
    gm_ffn_rows(rows[2], a.a2, a.n, expert, 0, column);
}

/* Blocks that a multiprocessor holds without registers on the stack. */
template <class T, int RANK, bool TILED, bool DROPOUT> constexpr int blocks_at_once() {
    return sizeof(T) == 2 && RANK <= 2 && !TILED && !DROPOUT ? 5 : 4;
}

template <class T, int RANK, int AT_ONCE, bool TILED, bool DROPOUT>
__global__ void __launch_bounds__(FFN_THREADS, blocks_at_once<T, RANK, TILED, DROPOUT>()) expert_ffn_forward(gm_ffn_forward<T> a) {
    enum { N = gm_ffn_traits<RANK>::VECTOR, RECORD = gm_ffn_traits<RANK>::RECORD, SUMS = AT_ONCE * RANK };
    GM_SHARED(float, parts, [2][TOGETHER * SUMS][FFN_THREADS]);
    GM_SHARED(int32_t, slot_of, [2][TOGETHER * AT_ONCE]);
    GM_DYNAMIC_SHARED(float, tile); /* TILED: z of its tokens; else the window of records */
    const gm_ffn n = a.n;
    const int column = (int)(((n.first_strip + blockIdx.x) * FFN_THREADS + threadIdx.x) * N);
    float rows[AT_ONCE][3][RANK][N] = {}, *u2 = a.u2 + blockIdx.x * n.tokens * n.slots * n.rank;
    int cached[AT_ONCE], together = 0, buffer = 0;
    for (int k = 0; k < AT_ONCE; k++) cached[k] = -1;
    gm_ffn_cursor now = gm_ffn_begin(n, AT_ONCE), next = now;
    gm_ffn_advance<TILED>(next, n, AT_ONCE);
    int row = gm_ffn_row_at(n, now), next_row = gm_ffn_row_at(n, next);
    loaded<T, N> next_values;
    load(next_values, a, row, column);
    while (now.i < now.end) {
        float h1[N], h3[N], z[N] = {0};
        gm_widen(h1, next_values.h1), gm_widen(h3, next_values.h3);
        if (next.i < next.end) load(next_values, a, next_row, column);
        gm_ffn_cursor after = next;
        gm_ffn_advance<TILED>(after, n, AT_ONCE);
        const int after_row = gm_ffn_row_at(n, after);
        const float *records = gm_ffn_records<RECORD, AT_ONCE, TILED>(n, now, tile);
        float *kept = tile + ((now.i - now.tile) * FFN_THREADS + threadIdx.x) * N; /* z of the positions before */
        if (TILED && now.group > 0) gm_row_load(z, kept, 0, N, true);
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            const bool there = !TILED || now.group + k < n.slots;
            const gm_ffn_head head = there ? gm_ffn_head_of(records + k * RECORD) : gm_ffn_head{0, -1, -1};
            if (threadIdx.x == 0) slot_of[buffer][together * AT_ONCE + k] = head.slot;
            if (!there) continue;
            if (head.expert != cached[k]) turn(rows[k], a, head.expert, column), cached[k] = head.expert;
            float sums[RANK];
            slot_forward<RANK, DROPOUT>(z, sums, head.gate, records + k * RECORD + FFN_HEAD, rows[k], h1, h3, a.dropout,
                                        (uint32_t)head.slot * (uint32_t)n.columns + (uint32_t)column);
#pragma unroll
            for (int j = 0; j < RANK; j++) parts[buffer][(together * AT_ONCE + k) * RANK + j][threadIdx.x] = sums[j];
        }
        if (!TILED || now.group + AT_ONCE >= n.slots)
            gm_raw_store(a.z + (int64_t)row * n.columns, z, column, n.columns, n.aligned);
        else
            gm_raw_store(kept, z, 0, N, true);
        now = next, next = after, row = next_row, next_row = after_row;
        if (++together < TOGETHER && now.i < now.end) continue;
        if (a.u2) {
            __syncthreads(); /* two buffers: one is written while the other is added up */
            gm_ffn_add_up(u2, parts[buffer], together * SUMS, [&](int r) {
                const int32_t slot = slot_of[buffer][r / RANK];
                return slot < 0 || r % RANK >= n.rank ? -1 : slot * n.rank + r % RANK;
            });
            buffer = !buffer;
        }
        together = 0;
    }
}

/* y += Σ_k g_k s B2 u2_k: a thread has VECTOR columns of a few tokens. */
__global__ void __launch_bounds__(FFN_THREADS) expert_ffn_output(gm_expert_ffn_args a, bool aligned) {
    enum { N = 4 };
    const int64_t column = ((int64_t)blockIdx.y * FFN_THREADS + threadIdx.x) * N, first = (int64_t)blockIdx.x * OUTPUT_TOKENS;
    if (column >= a.hidden) return;
    for (int64_t t = first; t < gm_least(first + OUTPUT_TOKENS, a.tokens); t++) {
        float y[N], b[N];
        gm_row_load(y, a.y + t * a.hidden, column, a.hidden, aligned);
        for (int64_t slot = t * a.slots; slot < (t + 1) * a.slots; slot++) {
            const float *rows = a.w2.b + (a.expert ? a.expert[slot] : 0) * a.rank * a.hidden;
            const float factor = a.scale * (a.gate ? a.gate[slot] : 1.0f);
            for (int64_t j = 0; j < a.rank; j++) {
                const float c = factor * a.u2[slot * a.rank + j];
                gm_row_load(b, rows + j * a.hidden, column, a.hidden, aligned);
#pragma unroll
                for (int i = 0; i < N; i++) y[i] += c * b[i];
            }
        }
        gm_raw_store(a.y + t * a.hidden, y, column, a.hidden, aligned);
    }
}

/* ---- host */

template <class T, int RANK, int AT_ONCE, bool TILED> static void launch(gm_backend *backend, const gm_ffn_forward<T> &a, dim3 grid) {
    typedef gm_ffn_traits<RANK> traits;
    const size_t tile = (TILED ? FFN_TILE * FFN_THREADS * traits::VECTOR : FFN_WINDOW * AT_ONCE * traits::RECORD) * sizeof(float);
    if (a.dropout.rate > 0)
        GM_LAUNCH(backend, (expert_ffn_forward<T, RANK, AT_ONCE, TILED, true>), grid, FFN_THREADS, tile, a);
    else
        GM_LAUNCH(backend, (expert_ffn_forward<T, RANK, AT_ONCE, TILED, false>), grid, FFN_THREADS, tile, a);
}

template <class T> static void forward(gm_backend *backend, const gm_expert_ffn_args *args) {
    const int64_t strips = gm_parts(args->ffn, gm_ffn_strip(args->rank)), sums = args->tokens * args->slots * args->rank;
    const bool has2 = args->w2.a != NULL;
    const int64_t round = gm_ffn_round(args, strips, has2 ? sums : 0);
    const gm_ffn_order order = gm_ffn_sort(backend, args);
    gm_ffn_forward<T> a = {gm_ffn_shape(args, &order, args->ffn, CHUNK),
                           (const T *)args->h1,
                           (const T *)args->h3,
                           (T *)args->z,
                           args->w1.b,
                           args->w3.b,
                           args->w2.a,
                           NULL,
                           args->dropout};
    gm_ffn_pack(backend, &a.n, args, NULL);
    if (has2) a.u2 = (float *)gm_cuda_scratch(backend, (size_t)gm_ffn_round_bound(args, strips, sums) * sizeof(float));
    for (int64_t first = 0; first < strips; first += round) {
        const dim3 grid((unsigned)gm_least(round, strips - first), (unsigned)gm_parts(args->tokens, CHUNK));
        a.n.first_strip = (int)first;
        if (args->rank > FFN_RANK)
            gm_ffn_wide_forward(backend, a, grid);
        else
            GM_FFN_WITH_RANK(args->rank, args->slots, RANK, AT_ONCE, TILED, launch<T, RANK, AT_ONCE, TILED>(backend, a, grid));
        if (has2) gm_sum_all_parts(backend, args->u2, a.u2, grid.x, sums, sums, first > 0);
    }
}

extern "C" void gm_cuda_expert_ffn_forward(gm_backend *backend, const gm_expert_ffn_args *args) {
    const size_t mark = gm_arena_mark(&backend->scratch);
    GM_WITH_TYPE(args->type, T, forward<T>(backend, args));
    gm_arena_release(&backend->scratch, mark);
}

extern "C" void gm_cuda_expert_ffn_output(gm_backend *backend, const gm_expert_ffn_args *args) {
    const dim3 grid((unsigned)gm_parts(args->tokens, OUTPUT_TOKENS), (unsigned)gm_parts(args->hidden, FFN_THREADS * 4));
    const bool aligned = gm_aligned(args->y, GM_F32, args->hidden, 4) && gm_aligned(args->w2.b, GM_F32, args->hidden, 4);
    GM_LAUNCH(backend, expert_ffn_output, grid, FFN_THREADS, 0, *args, aligned);
}
