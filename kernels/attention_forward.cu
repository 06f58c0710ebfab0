/* Attention forward (attention.cuh). A block owns a tile of rows and walks over the keys that they see, with running maxima m
 * and sums l of each row (online softmax, Milakov & Gimelshein 2018):
 *     m' = max(m, max_j s_j),   l' = l 2^(m − m') + Σ_j 2^(s_j − m'),   o' = o 2^(m − m') + Σ_j 2^(s_j − m') v_j,
 * exponents in units of log 2, out = o / l, L = m + log l.
 *
 * One buffer for keys and one for values: keys of the next tile arrive while the values' product runs, values while the
 * scores' does; two barriers a tile. Warps whose rows see nothing of a tile only wait; which warp has the lower rows changes
 * from block to block, because a warp's number decides on which quarter of the processor it runs. */
#include "attention.cuh"

/* M: fragments of 16 rows a warp; KEYS: of a tile; KEPT: q stays in registers. 32 rows a warp halve what is read from shared
 * memory for a product; o has M·C/2 registers, the scores M·KEYS/2. */
template <int C> struct forward_plan {
    static constexpr int M = C > 128 ? 1 : 2, KEYS = C > 128 ? 32 : C > 96 ? 48 : 64;
    static constexpr bool KEPT = C <= 64;
    static constexpr int ROWS = ATTENTION_WARPS * M * 16, SHARED = (ROWS + 2 * KEYS) * attention_layout<C>::PITCH;
};

template <int M> struct forward_rows { /* a lane's rows: lane / 4 + 8·half + 16·m of the warp's */
    float most[M][2], sum[M][2];       /* of the scores before scaling; this lane's columns' part */
};

/* Which of the block's rows are this warp's. */
__device__ __forceinline__ int forward_part() { return (int)(threadIdx.x / GM_WARP + blockIdx.x) % ATTENTION_WARPS; }

__device__ __forceinline__ float quad_most(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* Scores to probabilities that are still to be divided by the sum; o follows where a maximum has grown. */
template <int M, int N, int O>
__device__ __forceinline__ void forward_softmax(float (&s)[M][N][4], float (&o)[M][O][4], forward_rows<M> &rows, float scale_log2) {
    float factor[M][2];
    bool grown = false;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float most = s[m][0][half * 2], sum = 0;
#pragma unroll
            for (int n = 0; n < N; n++) most = fmaxf(most, fmaxf(s[m][n][half * 2], s[m][n][half * 2 + 1]));
            most = fmaxf(rows.most[m][half], quad_most(most));
            const float base = most == -INFINITY ? 0.0f : most * scale_log2; /* nothing seen yet: 2^−∞, not NaN */
            factor[m][half] = gm_exp2(rows.most[m][half] * scale_log2 - base);
            grown = grown || most > rows.most[m][half];
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = half * 2; i < half * 2 + 2; i++) sum += s[m][n][i] = gm_exp2(s[m][n][i] * scale_log2 - base);
            rows.sum[m][half] = rows.sum[m][half] * factor[m][half] + sum;
            rows.most[m][half] = most;
        }
    if (!__any_sync(0xffffffffu, grown)) return; /* all factors are 1 */
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < O; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) o[m][n][i] *= factor[m][i / 2];
}

/* The rows' log-sums, and o over the sums. Where the tile is is read once more: registers are short in the loop. */
template <int C, int M>
__device__ __forceinline__ void forward_store(unsigned char *memory, const float (&o)[M][C / 8][4], const forward_rows<M> &rows,
                                              const attention_shape &a, gm_bf16 *out, float *log_sum) {
    const attention_place at = attention_find(a);
    const int lane = threadIdx.x % GM_WARP, mine = forward_part() * M * 16, end = at.tokens * a.group;
    const int base = attention_rows_of(a, at);
    float inverse[M][2];
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = at.first + mine + m * 16 + half * 8 + lane / 4;
            const float sum = quad_sum(rows.sum[m][half]);
            inverse[m][half] = 1.0f / sum;
            if (lane % 4 == 0 && row < end) log_sum[base + attention_row(a, row)] = rows.most[m][half] * a.scale + logf(sum);
        }
    attention_put<C>(memory + mine * attention_layout<C>::PITCH, o, inverse); /* in place of the warp's own queries */
    __syncthreads();
    attention_store<C, ATTENTION_WARPS * M * 16, true>(out, base, memory, a, at.first, end);
}

template <int C, bool PREFIXED>
__global__ void __launch_bounds__(ATTENTION_THREADS, 2)
    attention_forward(attention_shape a, const gm_bf16 *q, const gm_bf16 *k, const gm_bf16 *v, gm_bf16 *out, float *log_sum) {
    typedef forward_plan<C> plan;
    constexpr int PITCH = attention_layout<C>::PITCH, M = plan::M, N = plan::KEYS / 8;
    GM_DYNAMIC_SHARED(unsigned char, memory);
    const attention_place at = attention_find(a);
    const attention_prefix prefix = attention_find_prefix<PREFIXED>(a);
    const int mine = forward_part() * M * 16;
    const int end = at.tokens * a.group, first = at.first + mine;
    const int key_begin = attention_first_key(a, at.first) / plan::KEYS * plan::KEYS;
    const int key_end = attention_token(a, gm_least(at.first + plan::ROWS, end) - 1) + 1;
    const int low = attention_token(a, first), high = first < end ? gm_least(attention_token(a, first + M * 16 - 1), at.tokens - 1) : -1;
    unsigned char *const queries = memory, *const keys = queries + plan::ROWS * PITCH, *const values = keys + plan::KEYS * PITCH;
    const int base = attention_keys_of(a, at);

    attention_copy<C, plan::ROWS, true>(queries, q, attention_rows_of(a, at), a, at.first, end);
    attention_copy<C, plan::KEYS, false>(keys, k, base, a, key_begin, at.tokens, prefix);
    gm_copy_async_commit();
    forward_rows<M> rows;
    float o[M][C / 8][4] = {};
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) rows.most[m][half] = -INFINITY, rows.sum[m][half] = 0;
    gm_copy_async_wait<0>();
    __syncthreads();
    attention_left<C, M, plan::KEPT> left;
    left.open(queries + mine * PITCH);
    for (int key = key_begin; key < key_end; key += plan::KEYS) {
        const bool seen = key <= high && key + plan::KEYS > low - a.window + 1;
        float s[M][N][4];
        gm_copy_async_wait<0>(); /* the keys are there, and nobody needs the values of before */
        __syncthreads();
        attention_copy<C, plan::KEYS, false>(values, v, base, a, key, at.tokens, prefix);
        gm_copy_async_commit();
        if (seen) attention_scores(s, left, keys);
        gm_copy_async_wait<0>(); /* the values are there, and nobody needs the keys */
        __syncthreads();
        if (key + plan::KEYS < key_end) attention_copy<C, plan::KEYS, false>(keys, k, base, a, key + plan::KEYS, at.tokens, prefix);
        gm_copy_async_commit();
        if (!seen) continue;
        if (key + plan::KEYS - 1 > low || key <= high - a.window) attention_mask(s, a, first, key, -INFINITY);
        forward_softmax(s, o, rows, a.scale_log2);
        attention_add<C>(o, s, values);
    }
    forward_store<C, M>(memory, o, rows, a, out, log_sum);
}

template <int C> static void forward(gm_backend *backend, const gm_attention_args *args) {
    attention_shape a = attention_begin(args);
    const int64_t tiles = attention_list(backend, args, &a, forward_plan<C>::ROWS, false);
    const gm_bf16 *q = (const gm_bf16 *)args->q, *k = (const gm_bf16 *)args->k, *v = (const gm_bf16 *)args->v;
    gm_bf16 *out = (gm_bf16 *)args->out;
    if (args->prefix)
        GM_LAUNCH(backend, (attention_forward<C, true>), tiles * a.kv_heads, ATTENTION_THREADS, forward_plan<C>::SHARED, a, q, k, v, out,
                  args->log_sum);
    else
        GM_LAUNCH(backend, (attention_forward<C, false>), tiles * a.kv_heads, ATTENTION_THREADS, forward_plan<C>::SHARED, a, q, k, v, out,
                  args->log_sum);
}

extern "C" void gm_cuda_attention_forward(gm_backend *backend, const gm_attention_args *args) {
    const size_t mark = gm_arena_mark(&backend->scratch);
    if (attention_on_tensor_cores(args))
        ATTENTION_WITH_SIZE(args->head_size, C, forward<C>(backend, args));
    else
        attention_simple_forward(backend, args);
    gm_arena_release(&backend->scratch, mark);
}
