/* Causal attention over packed sequences, in tiles (after FlashAttention-2, Dao 2023): what forward and backward share.
 *
 *   s_tj = scale · q_t·k_j   for the keys j that token t sees,   p_tj = exp(s_tj − L_t),   L_t = log Σ_j exp(s_tj),
 *   out_t = Σ_j p_tj v_j.
 *
 * All heads that share a key head are rows of the same tile: row = token·group + head in group, counted from the sequence's
 * beginning. So tiles of few tokens waste little above the diagonal, keys are read once for the group, and their gradients
 * are summed over it by the products themselves, in the rows' order. Key j is seen by the rows j·group … (j + window)·group − 1.
 * A tile never crosses a sequence and everything is counted from the sequence's beginning: results do not depend on what is
 * packed together. Rows that are not there are zeros. The host makes the list of tiles, those with the most work first.
 *
 * On tensor cores a warp owns 16 or 32 rows of a product's result whole, so that scores go from product to product as
 * fragments in registers (mma.cuh) and softmax needs four lanes. Rows in shared memory are PITCH = C + 8 elements apart, an odd
 * number of 16 bytes: ldmatrix has no bank conflicts, and every address is a base and a constant. */
#ifndef GM_BACKEND_CUDA_KERNELS_ATTENTION_CUH
#define GM_BACKEND_CUDA_KERNELS_ATTENTION_CUH

#include "mma.cuh"

#define ATTENTION_LOG2E 1.44269504f

enum { ATTENTION_THREADS = 128, ATTENTION_WARPS = ATTENTION_THREADS / GM_WARP, ATTENTION_UNLIMITED = 1 << 30 };

struct attention_tile { /* tokens begin … begin + tokens are the sequence; `first` row or key of the tile, from its beginning */
    int begin, tokens, first, unused;
};

struct attention_prefix { /* of a tile's sequence: its first so many tokens, counted as if they lay before the others, lie `away` */
    int tokens, away;
};

struct attention_shape {
    const attention_tile *tiles;
    const attention_prefix *prefixes; /* one a tile; NULL: no sequence has one */
    int all;                          /* tokens of the micro-batch; times heads and times vectors of 8 in a head it is an int, too */
    int heads, kv_heads, group, size;
    int window, window_rows; /* window · group; both ATTENTION_UNLIMITED where there is none, or none that matters */
    unsigned divide_factor;
    int divide_shift; /* n / group = (high half of n·factor + n) >> shift for n < 2³¹ (Granlund & Montgomery 1994) */
    float scale, scale_log2;
};

/* ---- the host's side */

static inline attention_shape attention_begin(const gm_attention_args *args) {
    GM_CHECK(args->kv_heads > 0 && args->heads % args->kv_heads == 0, "attention: %lld heads over %lld key heads", (long long)args->heads,
             (long long)args->kv_heads);
    GM_CHECK(args->scale > 0, "attention: scale %g", (double)args->scale);
    GM_CHECK(args->tokens * args->heads * gm_parts(args->head_size, 8) < 1 << 30, "attention: %lld tokens of %lld heads of %lld",
             (long long)args->tokens, (long long)args->heads, (long long)args->head_size);
    attention_shape a = {};
    a.all = (int)args->tokens, a.heads = (int)args->heads, a.kv_heads = (int)args->kv_heads, a.size = (int)args->head_size;
    a.group = a.heads / a.kv_heads;
    a.window = args->window > 0 && args->window < args->tokens ? (int)args->window : (int)ATTENTION_UNLIMITED;
    a.window_rows = a.window == ATTENTION_UNLIMITED ? a.window : a.window * a.group;
    while (1 << a.divide_shift < a.group) a.divide_shift++;
    a.divide_factor = (unsigned)(((1ull << 32) * ((1ull << a.divide_shift) - (unsigned)a.group)) / (unsigned)a.group + 1);
    a.scale = args->scale, a.scale_log2 = args->scale * ATTENTION_LOG2E;
    return a;
}

static inline attention_prefix attention_prefix_of(const gm_attention_args *args, int64_t sequence) {
    const int before = args->prefix ? args->prefix[sequence] : -1;
    if (before < 0) return {0, 0};
    return {args->starts[before + 1] - args->starts[before], args->starts[before + 1] - args->starts[sequence]};
}

/* A list of tiles as it is written, in chunks: between kernels each copy makes the device wait. */
struct attention_writer {
    enum { CHUNK = 1024 };
    gm_backend *backend;
    attention_tile *tiles, tile[CHUNK];
    attention_prefix *prefixes, prefix[CHUNK];
    int64_t done, held;
};

static inline void attention_flush(attention_writer *w) {
    if (w->held == 0) return;
    w->backend->write(w->backend, w->tiles + w->done, w->tile, (size_t)w->held * sizeof *w->tile);
    if (w->prefixes) w->backend->write(w->backend, w->prefixes + w->done, w->prefix, (size_t)w->held * sizeof *w->prefix);
    w->done += w->held, w->held = 0;
}

/* Lists the tiles of `unit` rows (or keys) of all sequences, longest first: a row's work grows with its place, a key's falls.
 * Returns their number; scratch depends on the tokens, and on whether there are prefixes. */
static inline int64_t attention_list(gm_backend *backend, const gm_attention_args *args, attention_shape *a, int unit, bool keys) {
    const int64_t heads = keys ? 1 : a->group, room = args->tokens * heads / unit + args->tokens;
    attention_writer w;
    w.backend = backend, w.done = w.held = 0;
    w.tiles = (attention_tile *)gm_cuda_scratch(backend, (size_t)room * sizeof *w.tiles);
    w.prefixes = args->prefix ? (attention_prefix *)gm_cuda_scratch(backend, (size_t)room * sizeof *w.prefixes) : NULL;
    a->tiles = w.tiles, a->prefixes = w.prefixes;
    if (gm_backend_measures(backend)) return 0;
    int64_t most = 0;
    for (int64_t s = 0; s < args->sequences; s++) most = gm_most(most, gm_parts((args->starts[s + 1] - args->starts[s]) * heads, unit));
    for (int64_t rank = most; rank-- > 0;)
        for (int64_t s = 0; s < args->sequences; s++) {
            const int begin = args->starts[s], tokens = args->starts[s + 1] - begin;
            const int64_t count = gm_parts(tokens * heads, unit);
            if (count <= rank) continue;
            const attention_prefix prefix = attention_prefix_of(args, s);
            const int first = (int)(prefix.tokens * heads + (keys ? count - 1 - rank : rank) * unit);
            w.prefix[w.held] = prefix;
            w.tile[w.held++] = {begin - prefix.tokens, prefix.tokens + tokens, first, 0};
            if (w.held == attention_writer::CHUNK) attention_flush(&w);
        }
    attention_flush(&w);
    return w.done;
}

/* Where the tensor cores' kernels apply: bf16 whose rows are whole vectors of 16 bytes. */
static inline bool attention_whole(const void *memory) { return (uintptr_t)memory % 16 == 0; }
static inline bool attention_on_tensor_cores(const gm_attention_args *args) {
    return args->type == GM_BF16 && args->head_size % 8 == 0 && args->head_size <= 256 && attention_whole(args->q) &&
           attention_whole(args->k) && attention_whole(args->v) && attention_whole(args->out);
}

/* Calls body with C = the head size, padded. */
#define ATTENTION_WITH_SIZE(size, C, ...)                                                                                                  \
    do {                                                                                                                                   \
        if ((size) <= 64) {                                                                                                                \
            constexpr int C = 64;                                                                                                          \
            __VA_ARGS__;                                                                                                                   \
        } else if ((size) <= 80) {                                                                                                         \
            constexpr int C = 80;                                                                                                          \
            __VA_ARGS__;                                                                                                                   \
        } else if ((size) <= 96) {                                                                                                         \
            constexpr int C = 96;                                                                                                          \
            __VA_ARGS__;                                                                                                                   \
        } else if ((size) <= 112) {                                                                                                        \
            constexpr int C = 112;                                                                                                         \
            __VA_ARGS__;                                                                                                                   \
        } else if ((size) <= 128) {                                                                                                        \
            constexpr int C = 128;                                                                                                         \
            __VA_ARGS__;                                                                                                                   \
        } else {                                                                                                                           \
            constexpr int C = 256;                                                                                                         \
            __VA_ARGS__;                                                                                                                   \
        }                                                                                                                                  \
    } while (0)

/* Other sizes and f32: attention_simple.cu. `pairs` as attention_backward.cu makes them, with L in natural units. */
void attention_simple_forward(gm_backend *backend, const gm_attention_args *args);
void attention_simple_backward(gm_backend *backend, const gm_attention_args *args, const float2 *pairs);

/* ---- the device's side */

struct attention_place { /* of a block: its tile and key head */
    int begin, tokens, first, kv_head;
};

__device__ __forceinline__ attention_place attention_find(const attention_shape &a) {
    const int tile = (int)blockIdx.x / a.kv_heads;
    const int4 t = *reinterpret_cast<const int4 *>(a.tiles + tile);
    return {t.x, t.y, t.z, (int)blockIdx.x - tile * a.kv_heads};
}

template <bool PREFIXED> __device__ __forceinline__ attention_prefix attention_find_prefix(const attention_shape &a) {
    if (!PREFIXED) return {0, 0};
    return a.prefixes[(int)blockIdx.x / a.kv_heads];
}

/* Where key (or value) `key` of the sequence lies, from its first one, in tokens. */
__device__ __forceinline__ int attention_key(int key, attention_prefix prefix) { return key + (key < prefix.tokens ? prefix.away : 0); }

__device__ __forceinline__ int attention_token(const attention_shape &a, int row) {
    const unsigned high = (unsigned)(((uint64_t)(unsigned)row * a.divide_factor) >> 32);
    return (int)((high + (unsigned)row) >> a.divide_shift);
}

/* From the place's first row (or key) to `row`, in heads of C elements. */
__device__ __forceinline__ int attention_row(const attention_shape &a, int row) {
    const int token = attention_token(a, row);
    return token * a.heads + row - token * a.group;
}
__device__ __forceinline__ int attention_rows_of(const attention_shape &a, const attention_place &at) {
    return at.begin * a.heads + at.kv_head * a.group;
}
__device__ __forceinline__ int attention_keys_of(const attention_shape &a, const attention_place &at) {
    return at.begin * a.kv_heads + at.kv_head;
}

/* Keys that the rows first … last of a sequence see: begin … end. */
__device__ __forceinline__ int attention_first_key(const attention_shape &a, int row) {
    return gm_most(0, attention_token(a, row) - a.window + 1);
}

template <int C> struct attention_layout {
    static constexpr int PITCH = (C + 8) * 2, CHUNKS = C / 8; /* bytes; vectors of 16 bytes in a row */
    /* Where this lane's row for gm_load_matrices begins in a 16×16 block, so that the four matrices are
     *     by_rows:     an A fragment; transposed: B fragments of columns 0…7 and 8…15, from memory with rows along k
     *     by_columns:  B fragments of columns 0…7 and 8…15, from memory with a column's elements beside each other */
    __device__ __forceinline__ static int by_rows() { return threadIdx.x % 16 * PITCH + threadIdx.x % GM_WARP / 16 * 16; }
    __device__ __forceinline__ static int by_columns() {
        return (threadIdx.x % GM_WARP / 16 * 8 + threadIdx.x % 8) * PITCH + threadIdx.x / 8 % 2 * 16;
    }
};

/* Begins to copy rows first … first + ROWS of q or dout (PACKED) or of k or v, counted from `base`; zeros from `end` on,
 * and from column `size` on. A thread's next vector is ATTENTION_THREADS further: mostly the same columns of a later row. Where
 * there is nothing the address is that of the last one: choosing between it and another would take more instructions. */
template <int C, int ROWS, bool PACKED>
__device__ __forceinline__ void attention_copy(unsigned char *to, const gm_bf16 *from, int base, const attention_shape &a, int first,
                                               int end, attention_prefix prefix = {0, 0}) {
    constexpr unsigned CHUNKS = attention_layout<C>::CHUNKS, ROW_STEP = ATTENTION_THREADS / CHUNKS, CHUNK_STEP = ATTENTION_THREADS % CHUNKS;
    unsigned row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    const int vectors = a.size / 8;
#pragma unroll 1 /* or addresses fill the registers that the kernels are short of */
    while (row < ROWS) {
        const int n = gm_least(first + (int)row, end - 1), place = PACKED ? attention_row(a, n) : attention_key(n, prefix) * a.kv_heads;
        const int at = (base + place) * vectors + gm_least((int)chunk, vectors - 1);
        gm_copy_async(to + row * attention_layout<C>::PITCH + chunk * 16, reinterpret_cast<const uint4 *>(from) + at,
                      first + (int)row < end && (int)chunk < vectors);
        row += ROW_STEP, chunk += CHUNK_STEP;
        if (CHUNK_STEP > 0 && chunk >= CHUNKS) chunk -= CHUNKS, row++;
    }
}

/* Writes them back; all threads, after a barrier. */
template <int C, int ROWS, bool PACKED>
__device__ __forceinline__ void attention_store(gm_bf16 *to, int base, const unsigned char *from, const attention_shape &a, int first,
                                                int end) {
    constexpr int CHUNKS = attention_layout<C>::CHUNKS;
    for (int index = (int)threadIdx.x; index < ROWS * CHUNKS; index += ATTENTION_THREADS) {
        const int row = index / CHUNKS, chunk = index % CHUNKS;
        if (first + row >= end || chunk * 8 >= a.size) continue;
        const int place = PACKED ? attention_row(a, first + row) : (first + row) * a.kv_heads;
        *reinterpret_cast<uint4 *>(to + (int64_t)(base + place) * a.size + chunk * 8) =
            *reinterpret_cast<const uint4 *>(from + row * attention_layout<C>::PITCH + chunk * 16);
    }
}

/* This warp's fragments, rows times `factor`, to shared memory. */
template <int C, int M, int N>
__device__ __forceinline__ void attention_put(unsigned char *to, const float (&c)[M][N][4], const float (&factor)[M][2]) {
    const int lane = threadIdx.x % GM_WARP;
    to += lane / 4 * attention_layout<C>::PITCH + lane % 4 * 4;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                *reinterpret_cast<unsigned *>(to + (m * 16 + half * 8) * attention_layout<C>::PITCH + n * 16) =
                    gm_narrow_pair(c[m][n][half * 2] * factor[m][half], c[m][n][half * 2 + 1] * factor[m][half]);
}

/* Two C fragments beside each other, rounded to bf16, are an A fragment. */
__device__ __forceinline__ void attention_fragment(unsigned (&a)[4], const float (&left)[4], const float (&right)[4]) {
    a[0] = gm_narrow_pair(left[0], left[1]), a[1] = gm_narrow_pair(left[2], left[3]);
    a[2] = gm_narrow_pair(right[0], right[1]), a[3] = gm_narrow_pair(right[2], right[3]);
}

/* Two products side by side. */
__device__ __forceinline__ void attention_pair(float (&left)[4], float (&right)[4], const unsigned (&a)[4], const unsigned (&b)[4]) {
    const unsigned b_left[2] = {b[0], b[1]}, b_right[2] = {b[2], b[3]};
    gm_mma_bf16(left, a, b_left);
    gm_mma_bf16(right, a, b_right);
}

/* The left side of a product over the head's elements: M·16 rows of C, read anew each time, or kept in registers. */
template <int C, int M, bool KEPT> struct attention_left {
    const unsigned char *address;
    __device__ __forceinline__ void open(const unsigned char *rows) { address = rows + attention_layout<C>::by_rows(); }
    __device__ __forceinline__ void get(unsigned (&a)[4], int m, int k) const {
        gm_load_matrices<false>(a, address + m * 16 * attention_layout<C>::PITCH + k * 32);
    }
};

template <int C, int M> struct attention_left<C, M, true> {
    unsigned kept[M][C / 16][4];
    __device__ __forceinline__ void open(const unsigned char *rows) {
        attention_left<C, M, false> from;
        from.open(rows);
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int k = 0; k < C / 16; k++) from.get(kept[m][k], m, k);
    }
    __device__ __forceinline__ void get(unsigned (&a)[4], int m, int k) const {
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = kept[m][k][i];
    }
};

/* c = left · rightᵀ over C elements; `right`: N·8 rows in shared memory. */
template <int C, int M, int N, bool KEPT>
__device__ __forceinline__ void attention_scores(float (&c)[M][N][4], const attention_left<C, M, KEPT> &left, const unsigned char *right) {
    right += attention_layout<C>::by_columns();
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) c[m][n][i] = 0;
#pragma unroll
    for (int k = 0; k < C / 16; k++) {
        unsigned a[M][4], b[4];
#pragma unroll
        for (int m = 0; m < M; m++) left.get(a[m], m, k);
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            gm_load_matrices<false>(b, right + n * 8 * attention_layout<C>::PITCH + k * 32);
#pragma unroll
            for (int m = 0; m < M; m++) attention_pair(c[m][n], c[m][n + 1], a[m], b);
        }
    }
}

/* c += p · right: p rounded to bf16, K·8 columns; `right`: K·8 rows in shared memory, N·8 columns of them from the address on. */
template <int C, int M, int K, int N>
__device__ __forceinline__ void attention_add(float (&c)[M][N][4], const float (&p)[M][K][4], const unsigned char *right) {
    right += attention_layout<C>::by_rows();
#pragma unroll
    for (int k = 0; k < K; k += 2) {
        unsigned a[M][4], b[4];
#pragma unroll
        for (int m = 0; m < M; m++) attention_fragment(a[m], p[m][k], p[m][k + 1]);
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            gm_load_matrices<true>(b, right + k * 8 * attention_layout<C>::PITCH + n * 16);
#pragma unroll
            for (int m = 0; m < M; m++) attention_pair(c[m][n], c[m][n + 1], a[m], b);
        }
    }
}

/* Of a fragment of rows × keys, what belongs to keys that a row does not see becomes `value`. */
template <int M, int N>
__device__ __forceinline__ void attention_mask(float (&s)[M][N][4], const attention_shape &a, int first, int key, float value) {
    key += threadIdx.x % 4 * 2, first += threadIdx.x % GM_WARP / 4;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int token = attention_token(a, first + m * 16 + half * 8);
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const int j = key + n * 8 + i;
                    if (j > token || j <= token - a.window) s[m][n][half * 2 + i] = value;
                }
        }
}

#endif
