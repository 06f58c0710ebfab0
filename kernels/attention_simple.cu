/* Attention (attention.cuh, the same formulas) in f32 arithmetic: for f32, where exactness counts and not speed, and for head sizes
 * that the tensor cores' kernels do not take.
 *
 * A tile is 32 rows against 32 keys. A block owns 32 of either; eight threads share one of them, each with four of the other side
 * while there are scores and with every eighth column while there are sums. Operands pass through shared memory in strips of
 * 64 columns, so that any head size does. */
#include "attention.cuh"

enum { THREADS = 256, SIDE = 32, STRIP = 64, SHARERS = THREADS / SIDE, EACH = SIDE / SHARERS, STRIP_EACH = STRIP / SHARERS };

typedef float simple_strip[SIDE][STRIP + 1];
struct simple_memory {
    simple_strip own[2], other[2]; /* q, dout or k, v: of those that the block owns, and of those that it walks over */
    float p[SIDE][SIDE + 1], ds[SIDE][SIDE + 1];
};

struct simple_thread {
    int own, share; /* number of the row or key that it has a share in; which */
};
__device__ static simple_thread simple_me() { return {(int)threadIdx.x / SHARERS, (int)threadIdx.x % SHARERS}; }

/* Rows (or keys) first … of `from`, whose row 0 is element `base`; zeros from `end` on. */
template <bool ROWS, class T>
__device__ static void simple_load(simple_strip &to, const T *from, int base, const attention_shape &a, int first, int end, int column,
                                   attention_prefix prefix = {0, 0}) {
    for (int index = (int)threadIdx.x; index < SIDE * STRIP; index += THREADS) {
        const int row = index / STRIP, c = index % STRIP;
        const bool there = first + row < end && column + c < a.size;
        const int place = ROWS ? attention_row(a, first + row) : attention_key(first + row, prefix) * a.kv_heads;
        to[row][c] = there ? gm_load(from + (int64_t)(base + place) * a.size + column + c) : 0.0f;
    }
}

/* s[x] += own · other[share + 8x] */
__device__ static void simple_dots(float (&s)[EACH], const simple_strip &own, const simple_strip &other) {
    const simple_thread me = simple_me();
    for (int c = 0; c < STRIP; c++)
#pragma unroll
        for (int x = 0; x < EACH; x++) s[x] += own[me.own][c] * other[me.share + SHARERS * x][c];
}

/* sum[y] += Σ_j p[own][j] other[j][share + 8y] */
__device__ static void simple_sums(float *sum, const float (&p)[SIDE][SIDE + 1], const simple_strip &other) {
    const simple_thread me = simple_me();
    for (int j = 0; j < SIDE; j++)
#pragma unroll
        for (int y = 0; y < STRIP_EACH; y++) sum[y] += p[me.own][j] * other[j][me.share + SHARERS * y];
}

template <int STRIPS, class T> __device__ static void simple_store(T *to, const float (&sum)[STRIPS][STRIP_EACH], int size, float factor) {
#pragma unroll
    for (int n = 0; n < STRIPS; n++)
#pragma unroll
        for (int y = 0; y < STRIP_EACH; y++) {
            const int column = n * STRIP + simple_me().share + SHARERS * y;
            if (column < size) gm_store(to + column, sum[n][y] * factor);
        }
}

__device__ static float simple_most(float x) {
    for (int distance = SHARERS / 2; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
    return x;
}
__device__ static float simple_sum(float x) {
    for (int distance = SHARERS / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}

/* One step of the online softmax: scores to p, which the row's threads see; returns what is to be multiplied to the sums. */
__device__ static float simple_softmax(float (&p)[SIDE][SIDE + 1], float (&s)[EACH], float *most, float *total, const attention_shape &a,
                                       int token, int key) {
    const simple_thread me = simple_me();
    float high = -INFINITY, sum = 0;
#pragma unroll
    for (int x = 0; x < EACH; x++) {
        const int j = key + me.share + SHARERS * x;
        s[x] = j <= token && j > token - a.window ? s[x] * a.scale : -INFINITY;
        high = fmaxf(high, s[x]);
    }
    high = fmaxf(*most, simple_most(high));
    const float base = high == -INFINITY ? 0.0f : high, factor = expf(*most - base);
#pragma unroll
    for (int x = 0; x < EACH; x++) sum += p[me.own][me.share + SHARERS * x] = expf(s[x] - base);
    __syncwarp();
    *total = *total * factor + simple_sum(sum);
    *most = high;
    return factor;
}

template <int STRIPS, bool PREFIXED, class T>
__global__ void __launch_bounds__(THREADS, 1)
    attention_simple_rows_forward(attention_shape a, const T *q, const T *k, const T *v, T *out, float *log_sum) {
    GM_SHARED(simple_memory, memory, [1]);
    const attention_place at = attention_find(a);
    const attention_prefix prefix = attention_find_prefix<PREFIXED>(a);
    const simple_thread me = simple_me();
    const int end = at.tokens * a.group, row = at.first + me.own, token = attention_token(a, row);
    const int key_end = attention_token(a, gm_least(at.first + SIDE, end) - 1) + 1;
    const int rows = attention_rows_of(a, at), keys = attention_keys_of(a, at);
    float most = -INFINITY, total = 0, sum[STRIPS][STRIP_EACH] = {};
    for (int key = attention_first_key(a, at.first) / SIDE * SIDE; key < key_end; key += SIDE) {
        float s[EACH] = {0};
        for (int column = 0; column < a.size; column += STRIP) {
            __syncthreads();
            simple_load<true>(memory->own[0], q, rows, a, at.first, end, column);
            simple_load<false>(memory->other[0], k, keys, a, key, at.tokens, column, prefix);
            __syncthreads();
            simple_dots(s, memory->own[0], memory->other[0]);
        }
        const float factor = simple_softmax(memory->p, s, &most, &total, a, token, key);
#pragma unroll
        for (int n = 0; n < STRIPS; n++) {
            if (n * STRIP >= a.size) break;
            __syncthreads();
            simple_load<false>(memory->other[1], v, keys, a, key, at.tokens, n * STRIP, prefix);
            __syncthreads();
#pragma unroll
            for (int y = 0; y < STRIP_EACH; y++) sum[n][y] *= factor;
            simple_sums(sum[n], memory->p, memory->other[1]);
        }
    }
    if (row >= end) return;
    const int64_t place = rows + attention_row(a, row);
    if (me.share == 0) log_sum[place] = most + logf(total);
    simple_store(out + place * a.size, sum, a.size, 1.0f / total);
}

/* p and ds of a tile, for those that own a row of them; `rows`: whether rows are owned, else keys. */
template <bool ROWS, class T>
__device__ static void simple_tile(simple_memory *memory, const attention_shape &a, const attention_place &at, const T *q, const T *k,
                                   const T *v, const T *dout, const float2 *pairs, int walk) {
    const simple_thread me = simple_me();
    const int end = at.tokens * a.group, first_row = ROWS ? at.first : walk, first_key = ROWS ? walk : at.first;
    const int rows = attention_rows_of(a, at), keys = attention_keys_of(a, at);
    float s[EACH] = {0}, dp[EACH] = {0};
    for (int column = 0; column < a.size; column += STRIP) {
        __syncthreads();
        simple_load<true>(ROWS ? memory->own[0] : memory->other[0], q, rows, a, first_row, end, column);
        simple_load<true>(ROWS ? memory->own[1] : memory->other[1], dout, rows, a, first_row, end, column);
        simple_load<false>(ROWS ? memory->other[0] : memory->own[0], k, keys, a, first_key, at.tokens, column);
        simple_load<false>(ROWS ? memory->other[1] : memory->own[1], v, keys, a, first_key, at.tokens, column);
        __syncthreads();
        simple_dots(s, memory->own[0], memory->other[0]);
        simple_dots(dp, memory->own[1], memory->other[1]);
    }
#pragma unroll
    for (int x = 0; x < EACH; x++) {
        const int other = me.share + SHARERS * x, row = first_row + (ROWS ? me.own : other), key = first_key + (ROWS ? other : me.own);
        const int token = attention_token(a, row);
        float p = 0, ds = 0;
        if (row < end && key <= token && key > token - a.window) {
            const float2 two = pairs[(at.kv_head * a.all + at.begin) * a.group + row];
            p = expf(s[x] * a.scale - two.x);
            ds = p * (dp[x] - two.y);
        }
        memory->p[me.own][other] = p, memory->ds[me.own][other] = ds;
    }
    __syncthreads();
}

template <int STRIPS, class T>
__global__ void __launch_bounds__(THREADS, 1)
    attention_simple_keys(attention_shape a, const T *q, const T *k, const T *v, const T *dout, const float2 *pairs, T *dk, T *dv) {
    GM_SHARED(simple_memory, memory, [1]);
    const attention_place at = attention_find(a);
    const int last = gm_least(at.first + SIDE, at.tokens) - 1, end = gm_least(at.tokens, last + a.window) * a.group;
    const int rows = attention_rows_of(a, at);
    float sum_k[STRIPS][STRIP_EACH] = {}, sum_v[STRIPS][STRIP_EACH] = {};
    for (int row = at.first * a.group; row < end; row += SIDE) {
        simple_tile<false>(memory, a, at, q, k, v, dout, pairs, row);
#pragma unroll
        for (int n = 0; n < STRIPS; n++) {
            if (n * STRIP >= a.size) break;
            __syncthreads();
            simple_load<true>(memory->other[0], q, rows, a, row, at.tokens * a.group, n * STRIP);
            simple_load<true>(memory->other[1], dout, rows, a, row, at.tokens * a.group, n * STRIP);
            __syncthreads();
            simple_sums(sum_k[n], memory->ds, memory->other[0]);
            simple_sums(sum_v[n], memory->p, memory->other[1]);
        }
    }
    const int key = at.first + simple_me().own;
    if (key >= at.tokens) return;
    const int64_t place = (int64_t)(attention_keys_of(a, at) + key * a.kv_heads) * a.size;
    simple_store(dk + place, sum_k, a.size, a.scale);
    simple_store(dv + place, sum_v, a.size, 1.0f);
}

template <int STRIPS, class T>
__global__ void __launch_bounds__(THREADS, 1)
    attention_simple_rows(attention_shape a, const T *q, const T *k, const T *v, const T *dout, const float2 *pairs, T *dq) {
    GM_SHARED(simple_memory, memory, [1]);
    const attention_place at = attention_find(a);
    const int end = at.tokens * a.group, row = at.first + simple_me().own;
    const int key_end = attention_token(a, gm_least(at.first + SIDE, end) - 1) + 1;
    float sum[STRIPS][STRIP_EACH] = {};
    for (int key = attention_first_key(a, at.first) / SIDE * SIDE; key < key_end; key += SIDE) {
        simple_tile<true>(memory, a, at, q, k, v, dout, pairs, key);
#pragma unroll
        for (int n = 0; n < STRIPS; n++) {
            if (n * STRIP >= a.size) break;
            __syncthreads();
            simple_load<false>(memory->other[0], k, attention_keys_of(a, at), a, key, at.tokens, n * STRIP);
            __syncthreads();
            simple_sums(sum[n], memory->ds, memory->other[0]);
        }
    }
    if (row < end) simple_store(dq + (int64_t)(attention_rows_of(a, at) + attention_row(a, row)) * a.size, sum, a.size, a.scale);
}

/* Calls body with STRIPS = enough strips for the head size. */
#define WITH_STRIPS(size, STRIPS, ...)                                                                                                     \
    do {                                                                                                                                   \
        GM_CHECK((size) <= 8 * STRIP, "attention: head size %lld", (long long)(size));                                                     \
        if ((size) <= STRIP) {                                                                                                             \
            constexpr int STRIPS = 1;                                                                                                      \
            __VA_ARGS__;                                                                                                                   \
        } else if ((size) <= 2 * STRIP) {                                                                                                  \
            constexpr int STRIPS = 2;                                                                                                      \
            __VA_ARGS__;                                                                                                                   \
        } else if ((size) <= 4 * STRIP) {                                                                                                  \
            constexpr int STRIPS = 4;                                                                                                      \
            __VA_ARGS__;                                                                                                                   \
        } else {                                                                                                                           \
            constexpr int STRIPS = 8;                                                                                                      \
            __VA_ARGS__;                                                                                                                   \
        }                                                                                                                                  \
    } while (0)

template <int STRIPS, class T> static void forward(gm_backend *backend, const gm_attention_args *args) {
    attention_shape a = attention_begin(args);
    const int64_t rows = attention_list(backend, args, &a, SIDE, false);
    const T *q = (const T *)args->q, *k = (const T *)args->k, *v = (const T *)args->v;
    if (args->prefix)
        GM_LAUNCH(backend, (attention_simple_rows_forward<STRIPS, true, T>), rows * a.kv_heads, THREADS, 0, a, q, k, v, (T *)args->out,
                  args->log_sum);
    else
        GM_LAUNCH(backend, (attention_simple_rows_forward<STRIPS, false, T>), rows * a.kv_heads, THREADS, 0, a, q, k, v, (T *)args->out,
                  args->log_sum);
}

template <int STRIPS, class T> static void backward(gm_backend *backend, const gm_attention_args *args, const float2 *pairs) {
    attention_shape a = attention_begin(args);
    const T *q = (const T *)args->q, *k = (const T *)args->k, *v = (const T *)args->v, *dout = (const T *)args->dout;
    const int64_t keys = attention_list(backend, args, &a, SIDE, true);
    GM_LAUNCH(backend, (attention_simple_keys<STRIPS, T>), keys * a.kv_heads, THREADS, 0, a, q, k, v, dout, pairs, (T *)args->dk,
              (T *)args->dv);
    const int64_t rows = attention_list(backend, args, &a, SIDE, false);
    GM_LAUNCH(backend, (attention_simple_rows<STRIPS, T>), rows * a.kv_heads, THREADS, 0, a, q, k, v, dout, pairs, (T *)args->dq);
}

void attention_simple_forward(gm_backend *backend, const gm_attention_args *args) {
    GM_WITH_TYPE(args->type, T, WITH_STRIPS(args->head_size, STRIPS, forward<STRIPS, T>(backend, args)));
}

void attention_simple_backward(gm_backend *backend, const gm_attention_args *args, const float2 *pairs) {
    GM_WITH_TYPE(args->type, T, WITH_STRIPS(args->head_size, STRIPS, backward<STRIPS, T>(backend, args, pairs)));
}
