/* What the kernels of the expert FFN share (formulas: src/ops/expert_ffn.c).
 *
 * A block has a strip of columns and a chunk of tokens; a thread has the same few neighbouring columns of every token, so that
 * what belongs to a column (rows of B and A, their gradients) stays with its thread, without barriers, and what belongs to a
 * token (u2, dgate, du) is a sum over threads: each leaves its part in shared memory, a few tokens are added up together, and
 * the strips' sums are added in order by another kernel.
 * Tokens come sorted by their experts, a token's slots by their expert ("positions"), so that the expert of a position is
 * mostly the one of the token before, whose rows are at hand. AT_ONCE positions are taken together. With more of them per
 * token, the block goes over a tile of tokens once for every AT_ONCE positions, with what a token adds up in shared memory.
 * What a position multiplies with is its record. expert_ffn_forward and expert_ffn_backward load rows a token ahead and their numbers two;
 * without tiles, records come to shared memory a window of tokens at a time: a warp alone would wait for each of them. */
#ifndef GM_BACKEND_CUDA_KERNELS_EXPERT_FFN_CUH
#define GM_BACKEND_CUDA_KERNELS_EXPERT_FFN_CUH

#include "sigmoid.cuh"
#include "sums.cuh"

enum {
    FFN_THREADS = 128,
    FFN_TILE = 8,
    FFN_WINDOW = 32 /* tokens */,
    FFN_HEAD = 4 /* floats of a record before its coefficients */,
    FFN_RANK = 8 /* most that registers have room for */,
    FFN_DOWN_BLOCKS = 896 /* a wave of them: 7 fit on each of 132 multiprocessors */,
    FFN_BACKWARD_BLOCKS = 520 /* the same, 4 on each */,
    FFN_LEAST_TOKENS = 16 /* of a chunk */
};

/* Kernels are made for ranks 1, 2, 4 and 8; another one takes the next, its missing rows zero. */
template <int RANK> struct gm_ffn_traits {
    enum { VECTOR = RANK <= 4 ? 4 : 2, STRIP = FFN_THREADS * VECTOR, RECORD = FFN_HEAD + (3 * RANK + 3) / 4 * 4 };
};

struct gm_ffn { /* by value to kernels */
    int64_t tokens;
    int columns /* F, or D */, experts, slots, rank, chunk /* tokens */, first_strip;
    int each; /* floats of a record */
    bool aligned;
    const int32_t *order; /* T: token number i of the sorted ones                                                */
    const int2 *place;    /* T×K: (expert, slot) of the sorted token's positions                                 */
    const float *record;  /* T×K×each, alike: gate, expert and slot (bits of int32), 0; s u1, s u3, gate s w     */
};

template <class T> struct gm_ffn_forward {
    gm_ffn n;
    const T *h1, *h3;
    T *z;
    const float *b1, *b3, *a2;
    float *u2; /* strips×T×K×R: sums over a strip's columns; or NULL */
    gm_dropout dropout;
};

struct gm_ffn_part { /* gradients of one matrix by chunks; with stride 0 the gradient itself */
    float *to;
    int64_t stride;
};

template <class T> struct gm_ffn_backward {
    gm_ffn n;
    T *h1, *h3;
    const T *dz;
    const float *b1, *b3, *a2;
    float *sums; /* strips×T×K×(1 + 2R): ⟨a, dz⟩, B1ᵀ dh1, B3ᵀ dh3 */
    gm_ffn_part db1, db3, da2;
    const int32_t *touched;
    gm_dropout dropout;
};

/* Scratch of one call. */
struct gm_ffn_order {
    int32_t *order;
    int2 *place;
};

gm_ffn_order gm_ffn_sort(gm_backend *backend, const gm_expert_ffn_args *args);
/* chunks×N: whether a token of the chunk has the expert. */
int32_t *gm_ffn_touch(gm_backend *backend, const gm_expert_ffn_args *args, const gm_ffn_order *order, int64_t chunk, int64_t bound);
/* The records, and their length. w (T×K×R) may be NULL. */
void gm_ffn_pack(gm_backend *backend, gm_ffn *n, const gm_expert_ffn_args *args, const float *w);
/* The kernels for ranks above FFN_RANK. */
void gm_ffn_wide_forward(gm_backend *backend, const gm_ffn_forward<float> &a, dim3 grid);
void gm_ffn_wide_forward(gm_backend *backend, const gm_ffn_forward<gm_bf16> &a, dim3 grid);
void gm_ffn_wide_backward(gm_backend *backend, const gm_ffn_backward<float> &a, dim3 grid);
void gm_ffn_wide_backward(gm_backend *backend, const gm_ffn_backward<gm_bf16> &a, dim3 grid);
static inline int64_t gm_ffn_experts(const gm_expert_ffn_args *args) { return args->expert ? args->experts : 1; }

/* The kernels' view of a call over `columns` columns: F or D. */
gm_ffn gm_ffn_shape(const gm_expert_ffn_args *args, const gm_ffn_order *order, int64_t columns, int64_t chunk);
/* Bytes for one purpose: with the rank grows what the adapter has anyway, and so may this, or few blocks would be at work. */
static inline int64_t gm_ffn_room(const gm_expert_ffn_args *args) { return GM_SCRATCH_MOST * gm_most(args->rank / FFN_RANK, (int64_t)1); }
/* Strips whose sums, `sums` floats each, are in scratch together. */
int64_t gm_ffn_round(const gm_expert_ffn_args *args, int64_t strips, int64_t sums);
/* Floats that they take at most, with fewer tokens too (sums.cuh). */
int64_t gm_ffn_round_bound(const gm_expert_ffn_args *args, int64_t strips, int64_t sums);

/* ---- vectors of VECTOR elements as they are in memory: loaded one token ahead, so without looking at them */

template <class T, int N> struct alignas(sizeof(T) * N) gm_raw {
    unsigned word[sizeof(T) * N / 4];
};

template <int N> __device__ __forceinline__ void gm_widen(float (&v)[N], const gm_raw<float, N> &raw) {
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = __uint_as_float(raw.word[i]);
}
template <int N> __device__ __forceinline__ void gm_widen(float (&v)[N], const gm_raw<gm_bf16, N> &raw) {
#pragma unroll
    for (int i = 0; i < N; i += 2) gm_widen_pair(v + i, raw.word[i / 2]);
}
template <int N> __device__ __forceinline__ void gm_narrow(gm_raw<float, N> &raw, const float (&v)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) raw.word[i] = __float_as_uint(v[i]);
}
template <int N> __device__ __forceinline__ void gm_narrow(gm_raw<gm_bf16, N> &raw, const float (&v)[N]) {
#pragma unroll
    for (int i = 0; i < N; i += 2) raw.word[i / 2] = gm_narrow_pair(v[i], v[i + 1]);
}

/* In one instruction: a struct would be stored word by word. */
template <class T, int N> __device__ __forceinline__ void gm_raw_put(T *to, const gm_raw<T, N> &raw) {
    if constexpr (sizeof raw == 16)
        *reinterpret_cast<uint4 *>(to) = make_uint4(raw.word[0], raw.word[1], raw.word[2], raw.word[3]);
    else if constexpr (sizeof raw == 8)
        *reinterpret_cast<uint2 *>(to) = make_uint2(raw.word[0], raw.word[1]);
    else
        *reinterpret_cast<unsigned *>(to) = raw.word[0];
}

/* Elements at, at + 1, … of a row of n; absent ones are 0. */
template <int N, class T> __device__ __forceinline__ void gm_raw_load(gm_raw<T, N> &raw, const T *row, int at, int n, bool aligned) {
    if (aligned && at + N <= n) {
        raw = *reinterpret_cast<const gm_raw<T, N> *>(row + at);
        return;
    }
    float v[N];
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = at + i < n ? gm_load(row + at + i) : 0.0f;
    gm_narrow(raw, v);
}

template <int N, class T> __device__ __forceinline__ void gm_raw_store(T *row, const float (&v)[N], int at, int n, bool aligned) {
    if (aligned && at + N <= n) {
        gm_raw<T, N> raw;
        gm_narrow(raw, v);
        gm_raw_put(row + at, raw);
        return;
    }
#pragma unroll
    for (int i = 0; i < N; i++)
        if (at + i < n) gm_store(row + at + i, v[i]);
}

template <int N> __device__ __forceinline__ void gm_row_load(float (&v)[N], const float *row, int at, int n, bool aligned) {
    gm_raw<float, N> raw;
    gm_raw_load(raw, row, at, n, aligned);
    gm_widen(v, raw);
}

/* COUNT rows of expert e, from row `first` on, at the thread's columns; zeros where there are none. */
template <int COUNT, int N>
__device__ __forceinline__ void gm_ffn_rows(float (&rows)[COUNT][N], const float *site, const gm_ffn &n, int64_t e, int64_t first,
                                            int column) {
#pragma unroll
    for (int j = 0; j < COUNT; j++) {
#pragma unroll
        for (int i = 0; i < N; i++) rows[j][i] = 0;
        if (site && first + j < n.rank) gm_row_load(rows[j], site + (e * n.rank + first + j) * n.columns, column, n.columns, n.aligned);
    }
}

/* A chunk's part begins with zeros for the experts that it has. */
__device__ static inline void gm_ffn_clear(const gm_ffn_part &p, const int32_t *touched, const gm_ffn &n, int column, int count) {
    if (!p.to || p.stride == 0) return;
    for (int64_t e = 0; e < n.experts; e++)
        for (int64_t j = 0; j < n.rank && touched[blockIdx.y * n.experts + e]; j++)
            for (int i = 0; i < count; i++)
                if (column + i < n.columns) p.to[blockIdx.y * p.stride + (e * n.rank + j) * n.columns + column + i] = 0;
}

/* Adds rows of expert e (none: −1) to its part, and clears them. */
template <int COUNT, int N>
__device__ static void gm_ffn_flush(float (&rows)[COUNT][N], const gm_ffn_part &p, const gm_ffn &n, int64_t e, int64_t first, int column) {
#pragma unroll
    for (int j = 0; j < COUNT; j++) {
        if (p.to && e >= 0 && first + j < n.rank) {
            float *row = p.to + blockIdx.y * p.stride + (e * n.rank + first + j) * n.columns, v[N];
            gm_row_load(v, row, column, n.columns, n.aligned);
#pragma unroll
            for (int i = 0; i < N; i++) rows[j][i] += v[i];
            gm_raw_store(row, rows[j], column, n.columns, n.aligned);
        }
#pragma unroll
        for (int i = 0; i < N; i++) rows[j][i] = 0;
    }
}

/* ---- the way through a chunk */

struct gm_ffn_cursor {
    int i, group; /* sorted token; first of the positions taken together */
    int tile, tile_end, end;
};

__device__ __forceinline__ gm_ffn_cursor gm_ffn_begin(const gm_ffn &n, int at_once) {
    gm_ffn_cursor c;
    c.i = c.tile = (int)blockIdx.y * n.chunk, c.group = 0;
    c.end = gm_least(c.tile + n.chunk, (int)n.tokens);
    c.tile_end = n.slots > at_once ? gm_least(c.tile + (int)FFN_TILE, c.end) : c.end;
    return c;
}

/* Beyond the last one, i stays at or behind the end. Without TILED there are `at_once` positions of a token. */
template <bool TILED> __device__ __forceinline__ void gm_ffn_advance(gm_ffn_cursor &c, const gm_ffn &n, int at_once) {
    if (++c.i < c.tile_end || !TILED) return;
    c.group += at_once;
    if (c.group >= n.slots) c.group = 0, c.tile = c.tile_end, c.tile_end = gm_least(c.tile + (int)FFN_TILE, c.end);
    c.i = c.tile;
}

/* The number of the row at a cursor; 0 beyond the last one. */
__device__ __forceinline__ int gm_ffn_row_at(const gm_ffn &n, const gm_ffn_cursor &c) { return c.i < c.end ? n.order[c.i] : 0; }

struct gm_ffn_head {
    float gate;
    int expert, slot;
};

__device__ __forceinline__ gm_ffn_head gm_ffn_head_of(const float *record) {
    float v[FFN_HEAD];
    gm_load_vector(v, record);
    return {v[0], (int)__float_as_uint(v[1]), (int)__float_as_uint(v[2])};
}

/* The first of the AT_ONCE records at the cursor. `window`: shared memory for those of FFN_WINDOW tokens; all threads call this. */
template <int RECORD, int AT_ONCE, bool TILED>
__device__ __forceinline__ const float *gm_ffn_records(const gm_ffn &n, const gm_ffn_cursor &c, float *window) {
    if (TILED) return n.record + ((int64_t)c.i * n.slots + c.group) * RECORD;
    const int in_window = (c.i - c.tile) % FFN_WINDOW;
    if (in_window == 0) {
        const int count = gm_least((int)FFN_WINDOW, c.end - c.i) * AT_ONCE * RECORD;
        const float *from = n.record + (int64_t)c.i * AT_ONCE * RECORD;
        __syncthreads(); /* the previous ones are used */
#pragma unroll 1
        for (int at = threadIdx.x * 4; at < count; at += FFN_THREADS * 4) {
            float v[4];
            gm_load_vector(v, from + at);
            gm_store_vector(window + at, v);
        }
        __syncthreads();
    }
    return window + in_window * AT_ONCE * RECORD;
}

/* ---- sums over the threads of a block */

/* Row r of `rows` has a value of every thread; eight lanes add it up and store it at out[index(r)] where that is not negative.
 * Called by all threads behind a barrier. */
template <class Index> __device__ __forceinline__ void gm_ffn_add_up(float *out, const float (*rows)[FFN_THREADS], int count, Index index) {
    const int lane = threadIdx.x % 8, mine = threadIdx.x % GM_WARP / 8;
    for (int first = threadIdx.x / GM_WARP * 4; first < count; first += FFN_THREADS / 8) { /* the same in a warp's lanes */
        const int r = first + mine;
        float sum = 0, v[4];
        for (int m = 0; m < FFN_THREADS && r < count; m += 32) {
            gm_load_vector(v, &rows[r][m + lane * 4]);
            sum += (v[0] + v[1]) + (v[2] + v[3]);
        }
#pragma unroll
        for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
        const int at = lane == 0 && r < count ? index(r) : -1;
        if (at >= 0) out[at] = sum;
    }
}

/* Where row (s·RANK + j) of a sum over LEAD + SITES·RANK values belongs among LEAD + SITES·rank. */
template <int RANK, int LEAD> __device__ __forceinline__ int gm_ffn_row(int v, int rank) {
    if (v < LEAD) return v;
    const int j = (v - LEAD) % RANK;
    return j < rank ? LEAD + (v - LEAD) / RANK * rank + j : -1;
}

/* Calls body with RANK, AT_ONCE (as many positions as registers have room for) and TILED (a token has more). */
#define GM_FFN_AS(rank_, at_once, tiled, RANK, AT_ONCE, TILED, ...)                                                                        \
    do {                                                                                                                                   \
        constexpr int RANK = rank_, AT_ONCE = at_once;                                                                                     \
        constexpr bool TILED = tiled;                                                                                                      \
        __VA_ARGS__;                                                                                                                       \
    } while (0)
#define GM_FFN_WITH_RANK(rank, slots, RANK, AT_ONCE, TILED, ...)                                                                           \
    do {                                                                                                                                   \
        if ((slots) == 1) {                                                                                                                \
            if ((rank) <= 1)                                                                                                               \
                GM_FFN_AS(1, 1, false, RANK, AT_ONCE, TILED, __VA_ARGS__);                                                                 \
            else if ((rank) <= 2)                                                                                                          \
                GM_FFN_AS(2, 1, false, RANK, AT_ONCE, TILED, __VA_ARGS__);                                                                 \
            else if ((rank) <= 4)                                                                                                          \
                GM_FFN_AS(4, 1, false, RANK, AT_ONCE, TILED, __VA_ARGS__);                                                                 \
            else                                                                                                                           \
                GM_FFN_AS(8, 1, false, RANK, AT_ONCE, TILED, __VA_ARGS__);                                                                 \
        } else if ((rank) <= 2) {                                                                                                          \
            if ((slots) == 2)                                                                                                              \
                GM_FFN_AS(2, 2, false, RANK, AT_ONCE, TILED, __VA_ARGS__);                                                                 \
            else                                                                                                                           \
                GM_FFN_AS(2, 2, true, RANK, AT_ONCE, TILED, __VA_ARGS__);                                                                  \
        } else if ((rank) <= 4) {                                                                                                          \
            GM_FFN_AS(4, 1, true, RANK, AT_ONCE, TILED, __VA_ARGS__);                                                                      \
        } else {                                                                                                                           \
            GM_FFN_AS(8, 1, true, RANK, AT_ONCE, TILED, __VA_ARGS__);                                                                      \
        }                                                                                                                                  \
    } while (0)

/* Rows that these kernels reckon with. */
static inline int64_t gm_ffn_padded(int64_t rank, int64_t slots) {
    if (rank <= 2) return rank <= 1 && slots == 1 ? 1 : 2;
    return rank <= 4 ? 4 : (rank + FFN_RANK - 1) / FFN_RANK * FFN_RANK;
}
static inline int64_t gm_ffn_strip(int64_t rank) { return FFN_THREADS * (rank <= 4 ? 4 : 2); }

#endif
