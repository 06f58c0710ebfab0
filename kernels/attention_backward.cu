/* Attention backward (attention.cuh). Probabilities are recomputed from L, the saved log-sums; with D_t = dout_t·out_t,
 *
 *   dp_tj = dout_t·v_j,   ds_tj = p_tj (dp_tj − D_t),
 *   dv_j = Σ_t p_tj dout_t,   dk_j = scale · Σ_t ds_tj q_t,   dq_t = scale · Σ_j ds_tj k_j.
 *
 * One kernel makes the pairs (L, D). Then the blocks of one kernel own keys, walk over the rows that see them and keep dk and dv
 * in registers, those of another own rows, walk over their keys and keep dq: seven products where five would do, but no sum
 * is shared between blocks, so there are no atomics and a second run gives the same bits. What a block walks over arrives in two
 * buffers by turns, one barrier a tile.
 * Where keys are owned the scores are computed transposed, keys × rows: p and ds are then the left sides of dv and dk as they are. */
#include "attention.cuh"

/* ---- L and D of each row */

enum { PAIR_THREADS = 256, PAIR_LANES = 8, PAIR_ROWS = PAIR_THREADS / PAIR_LANES, VECTOR = 8 };

/* pairs: Hkv×(T·group), so that the rows of a key head lie beside each other; L in units of 1 / `unit`. */
template <class T>
__global__ void __launch_bounds__(PAIR_THREADS)
    attention_pairs(attention_shape a, float2 *pairs, const T *out, const T *dout, const float *log_sum, float unit, bool aligned) {
    const int64_t row = (int64_t)blockIdx.x * PAIR_ROWS + threadIdx.x / PAIR_LANES, rows = (int64_t)a.all * a.heads;
    float x[VECTOR], y[VECTOR], sum = 0;
    for (int i = threadIdx.x % PAIR_LANES * VECTOR; i < a.size && row < rows; i += PAIR_LANES * VECTOR) {
        gm_load_some(x, out + row * a.size, i, a.size, aligned);
        gm_load_some(y, dout + row * a.size, i, a.size, aligned);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) sum += x[j] * y[j];
    }
#pragma unroll
    for (int distance = PAIR_LANES / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (row >= rows || threadIdx.x % PAIR_LANES != 0) return;
    const int64_t token = row / a.heads;
    const int head = (int)(row - token * a.heads), kv_head = head / a.group;
    pairs[((int64_t)kv_head * a.all + token) * a.group + head % a.group] = make_float2(log_sum[row] * unit, sum);
}

__device__ __forceinline__ int pairs_of(const attention_shape &a, const attention_place &at) {
    return (at.kv_head * a.all + at.begin) * a.group;
}

/* ---- dk and dv */

/* M: fragments of 16 keys a warp; ROWS: of a tile; SPLIT: warps that have the same keys and each a part of C, because all of it
 * would not fit their registers (they compute the same scores); BUFFERS; KEPT: k stays in registers. */
template <int C> struct keys_plan {
    static constexpr int M = C <= 64 ? 2 : 1, ROWS = 32, SPLIT = C > 128 ? 2 : 1, BUFFERS = C > 128 ? 1 : 2;
    static constexpr bool KEPT = C > 64 && C <= 128;
    static constexpr int KEYS = ATTENTION_WARPS / SPLIT * M * 16, BUFFER = 2 * ROWS * attention_layout<C>::PITCH + ROWS * 8;
    static constexpr int SHARED = 2 * KEYS * attention_layout<C>::PITCH + BUFFERS * BUFFER;
};

/* Begins to copy a tile of rows, q, dout and pairs; `base`, `base_pairs`: of the sequence's row 0. */
template <int C>
__device__ __forceinline__ void keys_fetch(unsigned char *to, const attention_shape &a, int base, int base_pairs, const gm_bf16 *q,
                                           const gm_bf16 *dout, const float2 *pairs, int row, int end) {
    constexpr int ROWS = keys_plan<C>::ROWS, BYTES = ROWS * attention_layout<C>::PITCH;
    const int mine = row + (int)threadIdx.x;
    attention_copy<C, ROWS, true>(to, q, base, a, row, end);
    attention_copy<C, ROWS, true>(to + BYTES, dout, base, a, row, end);
    if (threadIdx.x < ROWS) gm_copy_async_short(to + 2 * BYTES + threadIdx.x * 8, pairs + base_pairs + (mine < end ? mine : 0), mine < end);
    gm_copy_async_commit();
}

/* Scores (keys × rows) to p; 0 where a row does not see the key. `from`: first row of the tile, counted from the first one
 * that sees the warp's first key. */
template <int M, int N>
__device__ __forceinline__ void keys_probabilities(float (&s)[M][N][4], const float4 *pairs, const attention_shape &a, bool masked,
                                                   int from) {
    const int column = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < N; n++) {
        const float4 two = pairs[n * 4 + column];
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) s[m][n][i] = gm_exp2(s[m][n][i] * a.scale_log2 - (i % 2 ? two.z : two.x));
    }
    if (!masked) return;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int first = from + column * 2 - (m * 16 + half * 8 + (int)threadIdx.x % GM_WARP / 4) * a.group;
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    if ((unsigned)(first + n * 8 + i) >= (unsigned)a.window_rows) s[m][n][half * 2 + i] = 0;
        }
}

/* dp to ds. */
template <int M, int N>
__device__ __forceinline__ void keys_differences(float (&dp)[M][N][4], const float (&p)[M][N][4], const float4 *pairs) {
#pragma unroll
    for (int n = 0; n < N; n++) {
        const float4 two = pairs[n * 4 + threadIdx.x % 4];
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) dp[m][n][i] = p[m][n][i] * (dp[m][n][i] - (i % 2 ? two.w : two.y));
    }
}

/* Writes the block's dk and dv, over the keys and values in shared memory. */
template <int C, int M, int N>
__device__ __forceinline__ void keys_store(unsigned char *memory, const float (&ck)[M][N][4], const float (&cv)[M][N][4],
                                           const attention_shape &a, int mine, int part, gm_bf16 *dk, gm_bf16 *dv) {
    constexpr int PITCH = attention_layout<C>::PITCH, KEYS = keys_plan<C>::KEYS;
    const attention_place at = attention_find(a);
    const int base = attention_keys_of(a, at);
    float scale[M][2], one[M][2];
#pragma unroll
    for (int m = 0; m < M; m++) scale[m][0] = scale[m][1] = a.scale, one[m][0] = one[m][1] = 1.0f;
    __syncthreads();
    attention_put<C>(memory + mine * PITCH + part * N * 16, ck, scale);
    attention_put<C>(memory + (KEYS + mine) * PITCH + part * N * 16, cv, one);
    __syncthreads();
    attention_store<C, KEYS, false>(dk, base, memory, a, at.first, at.tokens);
    attention_store<C, KEYS, false>(dv, base, memory + KEYS * PITCH, a, at.first, at.tokens);
}

template <int C>
__global__ void __launch_bounds__(ATTENTION_THREADS, 2)
    attention_keys(attention_shape a, const gm_bf16 *q, const gm_bf16 *k, const gm_bf16 *v, const gm_bf16 *dout, const float2 *pairs,
                   gm_bf16 *dk, gm_bf16 *dv) {
    typedef keys_plan<C> plan;
    constexpr int PITCH = attention_layout<C>::PITCH, M = plan::M, N = plan::ROWS / 8, BYTES = plan::ROWS * PITCH;
    constexpr int PART = C / plan::SPLIT / 8;
    GM_DYNAMIC_SHARED(unsigned char, memory);
    const attention_place at = attention_find(a);
    const int warp = threadIdx.x / GM_WARP, part = warp % plan::SPLIT, mine = warp / plan::SPLIT * M * 16, key = at.first + mine;
    unsigned char *const keys = memory, *const values = keys + plan::KEYS * PITCH, *const buffers = values + plan::KEYS * PITCH;
    const int last = gm_least(at.first + plan::KEYS, at.tokens) - 1;
    const int end = gm_least(at.tokens * a.group, last * a.group + a.window_rows);
    const int base = attention_keys_of(a, at), rows = attention_rows_of(a, at), base_pairs = pairs_of(a, at);
    float cv[M][PART][4] = {}, ck[M][PART][4] = {};

    attention_copy<C, plan::KEYS, false>(keys, k, base, a, at.first, at.tokens);
    attention_copy<C, plan::KEYS, false>(values, v, base, a, at.first, at.tokens);
    keys_fetch<C>(buffers, a, rows, base_pairs, q, dout, pairs, at.first * a.group, end);
    gm_copy_async_wait<0>();
    __syncthreads();
    attention_left<C, M, plan::KEPT> left;
    attention_left<C, M, false> left_values;
    left.open(keys + mine * PITCH), left_values.open(values + mine * PITCH);
    int turn = 0;
    for (int row = at.first * a.group; row < end; row += plan::ROWS) {
        unsigned char *const queries = buffers + turn * plan::BUFFER, *const gradients = queries + BYTES;
        const float4 *two = reinterpret_cast<const float4 *>(memory + 2 * plan::KEYS * PITCH + turn * plan::BUFFER + 2 * BYTES);
        const int from = row - key * a.group, last_key = (M * 16 - 1) * a.group; /* of the warp */
        gm_copy_async_wait<0>();                                                 /* this tile is there, and nobody needs the one before */
        __syncthreads();
        if (plan::BUFFERS == 2) {
            turn ^= 1;
            if (row + plan::ROWS < end)
                keys_fetch<C>(buffers + turn * plan::BUFFER, a, rows, base_pairs, q, dout, pairs, row + plan::ROWS, end);
        }
        if (from + plan::ROWS > 0 && from < last_key + a.window_rows) {
            const bool masked = from < last_key || from + plan::ROWS > a.window_rows;
            float p[M][N][4], dp[M][N][4];
            attention_scores(p, left, queries);
            keys_probabilities(p, two, a, masked, from);
            attention_add<C>(cv, p, gradients + part * PART * 16);
            attention_scores(dp, left_values, gradients);
            keys_differences(dp, p, two);
            attention_add<C>(ck, dp, queries + part * PART * 16);
        }
        if (plan::BUFFERS == 1) {
            __syncthreads();
            if (row + plan::ROWS < end) keys_fetch<C>(buffers, a, rows, base_pairs, q, dout, pairs, row + plan::ROWS, end);
        }
    }
    keys_store<C>(memory, ck, cv, a, mine, part, dk, dv);
}

/* ---- dq */

/* M, KEYS as in attention_forward.cu; KEPT: q and dout stay in registers, and come there through the buffers. */
template <int C> struct rows_plan {
    static constexpr int M = C <= 64 ? 2 : 1, KEYS = C <= 64 || C > 128 ? 32 : 64, BUFFERS = C > 128 ? 1 : 2;
    static constexpr bool KEPT = C <= 128;
    static constexpr int ROWS = ATTENTION_WARPS * M * 16, WHOLE = 2 * ROWS, TILES = BUFFERS * 2 * KEYS;
    static constexpr int SHARED = (!KEPT ? WHOLE + TILES : WHOLE > TILES ? WHOLE : TILES) * attention_layout<C>::PITCH;
};

template <int C>
__device__ __forceinline__ void rows_fetch(unsigned char *to, const attention_shape &a, const attention_place &at, const gm_bf16 *k,
                                           const gm_bf16 *v, int key) {
    constexpr int KEYS = rows_plan<C>::KEYS;
    const int base = attention_keys_of(a, at);
    attention_copy<C, KEYS, false>(to, k, base, a, key, at.tokens);
    attention_copy<C, KEYS, false>(to + KEYS * attention_layout<C>::PITCH, v, base, a, key, at.tokens);
    gm_copy_async_commit();
}

/* Scores and dp (rows × keys) to ds, in the place of the scores. */
template <int M, int N>
__device__ __forceinline__ void rows_differences(float (&s)[M][N][4], const float (&dp)[M][N][4], const float2 (&pair)[M][2],
                                                 const attention_shape &a) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[m][n][i] = gm_exp2(s[m][n][i] * a.scale_log2 - pair[m][i / 2].x) * (dp[m][n][i] - pair[m][i / 2].y);
}

template <int C>
__global__ void __launch_bounds__(ATTENTION_THREADS, 2)
    attention_rows(attention_shape a, const gm_bf16 *q, const gm_bf16 *k, const gm_bf16 *v, const gm_bf16 *dout, const float2 *pairs,
                   gm_bf16 *dq) {
    typedef rows_plan<C> plan;
    constexpr int PITCH = attention_layout<C>::PITCH, M = plan::M, N = plan::KEYS / 8, BUFFER = 2 * plan::KEYS * PITCH;
    GM_DYNAMIC_SHARED(unsigned char, memory);
    const attention_place at = attention_find(a);
    const int mine = threadIdx.x / GM_WARP * M * 16, end = at.tokens * a.group, first = at.first + mine;
    const int key_begin = attention_first_key(a, at.first) / plan::KEYS * plan::KEYS;
    const int key_end = attention_token(a, gm_least(at.first + plan::ROWS, end) - 1) + 1;
    const int low = attention_token(a, first), high = first < end ? gm_least(attention_token(a, first + M * 16 - 1), at.tokens - 1) : -1;
    unsigned char *const queries = memory, *const gradients = queries + plan::ROWS * PITCH;
    unsigned char *const buffers = plan::KEPT ? queries : queries + plan::WHOLE * PITCH;
    const int base = attention_rows_of(a, at);
    float c[M][C / 8][4] = {}, scale[M][2];
    float2 pair[M][2];
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = first + m * 16 + half * 8 + threadIdx.x % GM_WARP / 4;
            pair[m][half] = row < end ? pairs[pairs_of(a, at) + row] : make_float2(0, 0);
            scale[m][half] = a.scale;
        }
    attention_copy<C, plan::ROWS, true>(queries, q, base, a, at.first, end);
    attention_copy<C, plan::ROWS, true>(gradients, dout, base, a, at.first, end);
    gm_copy_async_commit();
    gm_copy_async_wait<0>();
    __syncthreads();
    attention_left<C, M, plan::KEPT> left, left_gradients;
    left.open(queries + mine * PITCH), left_gradients.open(gradients + mine * PITCH);
    if (plan::KEPT) __syncthreads();
    rows_fetch<C>(buffers, a, at, k, v, key_begin);
    int turn = 0;
    for (int key = key_begin; key < key_end; key += plan::KEYS) {
        unsigned char *const keys = buffers + turn * BUFFER, *const values = keys + plan::KEYS * PITCH;
        gm_copy_async_wait<0>(); /* this tile is there, and nobody needs the one before */
        __syncthreads();
        if (plan::BUFFERS == 2) {
            turn ^= 1;
            if (key + plan::KEYS < key_end) rows_fetch<C>(buffers + turn * BUFFER, a, at, k, v, key + plan::KEYS);
        }
        if (key <= high && key + plan::KEYS > low - a.window + 1) {
            float s[M][N][4], dp[M][N][4];
            attention_scores(s, left, keys);
            attention_scores(dp, left_gradients, values);
            rows_differences(s, dp, pair, a);
            if (key + plan::KEYS - 1 > low || key <= high - a.window) attention_mask(s, a, first, key, 0.0f);
            attention_add<C>(c, s, keys);
        }
        if (plan::BUFFERS == 1) {
            __syncthreads();
            if (key + plan::KEYS < key_end) rows_fetch<C>(buffers, a, at, k, v, key + plan::KEYS);
        }
    }
    __syncthreads();
    attention_put<C>(memory + mine * PITCH, c, scale);
    __syncthreads();
    attention_store<C, plan::ROWS, true>(dq, base, memory, a, at.first, end);
}

/* ---- the host's side */

static float2 *make_pairs(gm_backend *backend, const gm_attention_args *args, float unit) {
    const attention_shape a = attention_begin(args);
    float2 *pairs = (float2 *)gm_cuda_scratch(backend, (size_t)(args->tokens * args->heads) * sizeof *pairs);
    const bool aligned =
        gm_aligned(args->out, args->type, args->head_size, VECTOR) && gm_aligned(args->dout, args->type, args->head_size, VECTOR);
    GM_WITH_TYPE(args->type, T,
                 GM_LAUNCH(backend, attention_pairs<T>, gm_parts(args->tokens * args->heads, PAIR_ROWS), PAIR_THREADS, 0, a, pairs,
                           (const T *)args->out, (const T *)args->dout, args->log_sum, unit, aligned));
    return pairs;
}

template <int C> static void backward(gm_backend *backend, const gm_attention_args *args) {
    attention_shape a = attention_begin(args);
    const float2 *pairs = make_pairs(backend, args, ATTENTION_LOG2E);
    const gm_bf16 *q = (const gm_bf16 *)args->q, *k = (const gm_bf16 *)args->k, *v = (const gm_bf16 *)args->v;
    const gm_bf16 *dout = (const gm_bf16 *)args->dout;
    const int64_t keys = attention_list(backend, args, &a, keys_plan<C>::KEYS, true);
    GM_LAUNCH(backend, attention_keys<C>, keys * a.kv_heads, ATTENTION_THREADS, keys_plan<C>::SHARED, a, q, k, v, dout, pairs,
              (gm_bf16 *)args->dk, (gm_bf16 *)args->dv);
    const int64_t rows = attention_list(backend, args, &a, rows_plan<C>::ROWS, false);
    GM_LAUNCH(backend, attention_rows<C>, rows * a.kv_heads, ATTENTION_THREADS, rows_plan<C>::SHARED, a, q, k, v, dout, pairs,
              (gm_bf16 *)args->dq);
}

extern "C" void gm_cuda_attention_backward(gm_backend *backend, const gm_attention_args *args) {
    GM_CHECK(!args->prefix, "attention backward has no prefixes");
    const size_t mark = gm_arena_mark(&backend->scratch);
    const bool whole = attention_whole(args->dout) && attention_whole(args->dq) && attention_whole(args->dk) && attention_whole(args->dv);
    if (attention_on_tensor_cores(args) && whole)
        ATTENTION_WITH_SIZE(args->head_size, C, backward<C>(backend, args));
    else
        attention_simple_backward(backend, args, make_pairs(backend, args, 1.0f));
    gm_arena_release(&backend->scratch, mark);
}
