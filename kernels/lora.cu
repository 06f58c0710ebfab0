/* The low-rank branch of a linear layer at small ranks (formulas: src/ops/lora_linear.c), in three kinds of pass over the rows:
 *     project: out_tj = scale ⟨m_j, x_t⟩      u = s A x,  du = s B dy
 *     expand:  y_t += Σ_j w_tj m_j            y += u B,   dx += du A
 *     outer:   Σ_t w_tj x_t over parts        dB += uᵀ dy, dA += duᵀ x
 *     x, y: T×C   m: R×C   w, out: T×R   (B is kept transposed, R×O)
 * RANK is R rounded up to a power of two, so that the R values of a thread stay in registers. All three wait for memory: a thread asks
 * for several tokens' vectors before it uses the first, which it can where they are WHOLE (a vector in parts is a branch, and nothing
 * is loaded ahead over a branch). Columns count in 32 bits: behind a 64-bit index that is known to be a multiple of VECTOR, nvcc 13
 * takes a vector's store apart. */
#include "sums.cuh"

enum {
    THREADS = 256,
    WARPS = THREADS / GM_WARP,
    TOGETHER = 4 /* tokens of a warp, or asked for at once */,
    EXPANDED = 16 /* tokens of a block */,
    OUTER_THREADS = 128,
    SUMMED = 8 /* tokens asked for at once */,
    VECTOR = 4
};

template <bool WHOLE, class T> __device__ __forceinline__ void load(float (&v)[VECTOR], const T *row, int i, int64_t n) {
    if (WHOLE)
        gm_load_vector(v, row + i);
    else
        gm_load_some(v, row, i, n, false);
}

template <bool WHOLE, class T> __device__ __forceinline__ void store(T *row, const float (&v)[VECTOR], int i, int64_t n) {
    if (WHOLE)
        gm_store_vector(row + i, v);
    else
        gm_store_some(row, v, i, n, false);
}

/* The vectors of COUNT tokens from t on, beyond the last one again of the last. */
template <bool WHOLE, int COUNT, class T>
__device__ __forceinline__ void load_tokens(float (&v)[COUNT][VECTOR], const T *x, int64_t t, int64_t tokens, int i, int64_t n) {
#pragma unroll
    for (int k = 0; k < COUNT; k++) load<WHOLE>(v[k], x + gm_least(t + k, tokens - 1) * n, i, n);
}

/* Beyond the last row again the last: nobody uses it. */
template <bool WHOLE, int RANK>
__device__ __forceinline__ void load_rows(float (&v)[RANK][VECTOR], const float *m, int i, int64_t n, int rank) {
#pragma unroll
    for (int j = 0; j < RANK; j++) load<WHOLE>(v[j], m + gm_least(j, rank - 1) * n, i, n);
}

/* A warp has TOGETHER tokens, so that a row of m is read once for them. */
template <int RANK, bool WHOLE, class X>
__global__ void __launch_bounds__(THREADS)
    project(float *out, const X *x, const float *m, int64_t tokens, int64_t n, int rank, float scale) {
    const int64_t token = ((int64_t)blockIdx.x * WARPS + threadIdx.x / GM_WARP) * TOGETHER;
    const int lane = threadIdx.x % GM_WARP;
    float sum[TOGETHER][RANK] = {}, row[RANK][VECTOR], v[TOGETHER][VECTOR];
    if (token >= tokens) return; /* the whole warp */
#pragma unroll 2
    for (int i = lane * VECTOR; i < n; i += GM_WARP * VECTOR) {
        load_tokens<WHOLE>(v, x, token, tokens, i, n);
        load_rows<WHOLE>(row, m, i, n, rank);
#pragma unroll
        for (int t = 0; t < TOGETHER; t++)
#pragma unroll
            for (int j = 0; j < RANK; j++)
#pragma unroll
                for (int l = 0; l < VECTOR; l++) sum[t][j] += row[j][l] * v[t][l];
    }
#pragma unroll
    for (int t = 0; t < TOGETHER; t++)
#pragma unroll
        for (int j = 0; j < RANK; j++) {
            const float all = gm_warp_sum(sum[t][j]) * scale;
            if (lane == 0 && j < rank && token + t < tokens) out[(token + t) * rank + j] = all;
        }
}

/* A thread has VECTOR columns of m and goes through EXPANDED tokens. */
template <int RANK, bool WHOLE, class Y>
__global__ void __launch_bounds__(THREADS) expand(Y *y, const float *w, const float *m, int64_t tokens, int64_t n, int rank) {
    const int i = (int)((blockIdx.y * THREADS + threadIdx.x) * VECTOR);
    const int64_t first = (int64_t)blockIdx.x * EXPANDED, end = gm_least(first + EXPANDED, tokens);
    float row[RANK][VECTOR], v[TOGETHER][VECTOR];
    if (i >= n) return;
    load_rows<WHOLE>(row, m, i, n, rank);
    for (int64_t t = first; t < end; t += TOGETHER) {
        load_tokens<WHOLE>(v, y, t, tokens, i, n);
#pragma unroll
        for (int k = 0; k < TOGETHER; k++) {
            if (t + k >= end) break;
#pragma unroll
            for (int j = 0; j < RANK; j++) {
                if (j >= rank) break;
                const float weight = w[(t + k) * rank + j];
#pragma unroll
                for (int l = 0; l < VECTOR; l++) v[k][l] += weight * row[j][l];
            }
            store<WHOLE>(y + (t + k) * n, v[k], i, n);
        }
    }
}

/* parts[p] (R×C) = Σ_t w_tj x_t over the tokens of part p */
template <int RANK, bool WHOLE, class X>
__global__ void __launch_bounds__(OUTER_THREADS)
    outer(float *parts, const float *w, const X *x, int64_t tokens, int64_t size, int64_t n, int rank) {
    const int i = (int)((blockIdx.x * OUTER_THREADS + threadIdx.x) * VECTOR);
    const int64_t first = (int64_t)blockIdx.y * size, end = gm_least(first + size, tokens);
    float sum[RANK][VECTOR] = {}, v[SUMMED][VECTOR];
    if (i >= n) return;
    for (int64_t t = first; t < end; t += SUMMED) {
        load_tokens<WHOLE>(v, x, t, tokens, i, n);
#pragma unroll
        for (int k = 0; k < SUMMED; k++) {
#pragma unroll
            for (int j = 0; j < RANK; j++) {
                const float weight = t + k < end && j < rank ? w[(t + k) * rank + j] : 0.0f;
#pragma unroll
                for (int l = 0; l < VECTOR; l++) sum[j][l] += weight * v[k][l];
            }
        }
    }
#pragma unroll
    for (int j = 0; j < RANK; j++)
        if (j < rank) store<WHOLE>(parts + (blockIdx.y * rank + j) * n, sum[j], i, n);
}

/* Calls body with WHOLE. */
#define WITH_WHOLE(whole, WHOLE, ...)                                                                                                      \
    do {                                                                                                                                   \
        if (whole) {                                                                                                                       \
            constexpr bool WHOLE = true;                                                                                                   \
            __VA_ARGS__;                                                                                                                   \
        } else {                                                                                                                           \
            constexpr bool WHOLE = false;                                                                                                  \
            __VA_ARGS__;                                                                                                                   \
        }                                                                                                                                  \
    } while (0)

/* Calls body with RANK = 1, 2, 4 or 8. */
#define WITH_RANK(rank, RANK, ...)                                                                                                         \
    do {                                                                                                                                   \
        GM_CHECK((rank) >= 1 && (rank) <= GM_LORA_RANK, "a LoRA kernel of rank %lld", (long long)(rank));                                  \
        if ((rank) == 1) {                                                                                                                 \
            enum { RANK = 1 };                                                                                                             \
            __VA_ARGS__;                                                                                                                   \
        } else if ((rank) == 2) {                                                                                                          \
            enum { RANK = 2 };                                                                                                             \
            __VA_ARGS__;                                                                                                                   \
        } else if ((rank) <= 4) {                                                                                                          \
            enum { RANK = 4 };                                                                                                             \
            __VA_ARGS__;                                                                                                                   \
        } else {                                                                                                                           \
            enum { RANK = 8 };                                                                                                             \
            __VA_ARGS__;                                                                                                                   \
        }                                                                                                                                  \
    } while (0)

typedef struct side { /* the input's or the output's: T×C and R×C */
    int64_t tokens, columns, rank;
    const float *matrix;
} side;

static bool whole(const side *s, const void *memory, gm_type type) {
    return gm_aligned(memory, type, s->columns, VECTOR) && gm_aligned(s->matrix, GM_F32, s->columns, VECTOR);
}

static void launch_project(gm_backend *backend, float *out, const void *x, gm_type type, const side *s, float scale) {
    WITH_RANK(s->rank, RANK, GM_WITH_TYPE(type, X, WITH_WHOLE(whole(s, x, type), WHOLE, {
                                              GM_LAUNCH(backend, (project<RANK, WHOLE, X>), gm_parts(s->tokens, WARPS * TOGETHER), THREADS,
                                                        0, out, (const X *)x, s->matrix, s->tokens, s->columns, (int)s->rank, scale);
                                          })));
}

static void launch_expand(gm_backend *backend, void *y, gm_type type, const float *w, const side *s) {
    const dim3 grid((unsigned)gm_parts(s->tokens, EXPANDED), (unsigned)gm_parts(s->columns, THREADS * VECTOR));
    WITH_RANK(s->rank, RANK, GM_WITH_TYPE(type, Y, WITH_WHOLE(whole(s, y, type), WHOLE, {
                                              GM_LAUNCH(backend, (expand<RANK, WHOLE, Y>), grid, THREADS, 0, (Y *)y, w, s->matrix,
                                                        s->tokens, s->columns, (int)s->rank);
                                          })));
}

/* gradient (R×C) += wᵀ x */
static void add_outer(gm_backend *backend, float *gradient, const float *w, const void *x, gm_type type, const side *s) {
    const int64_t size = gm_part_size(s->tokens), number = gm_parts(s->tokens, size), count = s->rank * s->columns;
    const dim3 grid((unsigned)gm_parts(s->columns, OUTER_THREADS * VECTOR), (unsigned)number);
    const size_t mark = gm_arena_mark(&backend->scratch);
    float *parts = (float *)gm_cuda_scratch(backend, (size_t)(gm_part_bound(s->tokens) * count) * sizeof *parts);
    WITH_RANK(s->rank, RANK, GM_WITH_TYPE(type, X, WITH_WHOLE(gm_aligned(x, type, s->columns, VECTOR), WHOLE, {
                                              GM_LAUNCH(backend, (outer<RANK, WHOLE, X>), grid, OUTER_THREADS, 0, parts, w, (const X *)x,
                                                        s->tokens, size, s->columns, (int)s->rank);
                                          })));
    gm_sum_all_parts(backend, gradient, parts, number, count, count, true);
    gm_arena_release(&backend->scratch, mark);
}

extern "C" void gm_cuda_lora_forward(gm_backend *backend, const gm_lora_args *a) {
    const side in = {a->tokens, a->inputs, a->rank, a->a}, out = {a->tokens, a->outputs, a->rank, a->b};
    launch_project(backend, a->u, a->x, a->type, &in, a->scale);
    launch_expand(backend, a->y, a->y_type, a->u, &out);
}

extern "C" void gm_cuda_lora_backward(gm_backend *backend, const gm_lora_args *a) {
    const side in = {a->tokens, a->inputs, a->rank, a->a}, out = {a->tokens, a->outputs, a->rank, a->b};
    const size_t mark = gm_arena_mark(&backend->scratch);
    float *du = (float *)gm_cuda_scratch(backend, (size_t)(a->tokens * a->rank) * sizeof *du);
    launch_project(backend, du, a->dy, a->type, &out, a->scale);
    add_outer(backend, a->db, a->u, a->dy, a->type, &out);
    add_outer(backend, a->da, du, a->x, a->type, &in);
    if (a->dx) launch_expand(backend, a->dx, a->dx_type, du, &in);
    gm_arena_release(&backend->scratch, mark);
}
