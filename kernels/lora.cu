/* The low-rank branch of a linear layer at small ranks (formulas: src/ops/lora_linear.c), in three kinds of pass over the rows:
 *     project: out_tj = scale ⟨m_j, x_t⟩      u = s A x,  du = s B dy
 *     expand:  y_t += Σ_j w_tj m_j            y += u B,   dx += du A
 *     outer:   Σ_t w_tj x_t over parts        dB += uᵀ dy, dA += duᵀ x
 *     x, y: T×C   m: R×C   w, out: T×R   (B is kept transposed, R×O)
 * RANK is R rounded up to a power of two, so that the R values of a thread stay in registers. */
#include "sums.cuh"

enum { THREADS = 256, WARPS = THREADS / GM_WARP, TOGETHER = 4 /* tokens of a warp */, EXPANDED = 16 /* tokens of a block */, VECTOR = 4 };

template <int RANK>
__device__ static void load_rows(float (&v)[RANK][VECTOR], const float *m, int64_t i, int64_t n, int rank, bool aligned) {
#pragma unroll
    for (int j = 0; j < RANK; j++) {
        if (j < rank) {
            gm_load_some(v[j], m + j * n, i, n, aligned);
        } else {
#pragma unroll
            for (int l = 0; l < VECTOR; l++) v[j][l] = 0;
        }
    }
}

/* A warp has TOGETHER tokens, so that a row of m is read once for them. */
template <int RANK, class X>
__global__ void __launch_bounds__(THREADS)
    project(float *out, const X *x, const float *m, int64_t tokens, int64_t n, int rank, float scale, bool aligned) {
    const int64_t token = ((int64_t)blockIdx.x * WARPS + threadIdx.x / GM_WARP) * TOGETHER;
    const int lane = threadIdx.x % GM_WARP;
    float sum[TOGETHER][RANK] = {}, row[RANK][VECTOR], v[VECTOR];
    if (token >= tokens) return; /* the whole warp */
    for (int64_t i = lane * VECTOR; i < n; i += GM_WARP * VECTOR) {
        load_rows<RANK>(row, m, i, n, rank, aligned);
#pragma unroll
        for (int t = 0; t < TOGETHER; t++) {
            if (token + t >= tokens) break;
            gm_load_some(v, x + (token + t) * n, i, n, aligned);
#pragma unroll
            for (int j = 0; j < RANK; j++)
#pragma unroll
                for (int l = 0; l < VECTOR; l++) sum[t][j] += row[j][l] * v[l];
        }
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
template <int RANK, class Y>
__global__ void __launch_bounds__(THREADS) expand(Y *y, const float *w, const float *m, int64_t tokens, int64_t n, int rank, bool aligned) {
    const int64_t i = ((int64_t)blockIdx.y * THREADS + threadIdx.x) * VECTOR, first = (int64_t)blockIdx.x * EXPANDED;
    float row[RANK][VECTOR], v[VECTOR];
    if (i >= n) return;
    load_rows<RANK>(row, m, i, n, rank, aligned);
    for (int64_t t = first; t < gm_least(first + EXPANDED, tokens); t++) {
        gm_load_some(v, y + t * n, i, n, aligned);
#pragma unroll
        for (int j = 0; j < RANK; j++) {
            if (j >= rank) break;
            const float weight = w[t * rank + j];
#pragma unroll
            for (int l = 0; l < VECTOR; l++) v[l] += weight * row[j][l];
        }
        gm_store_some(y + t * n, v, i, n, aligned);
    }
}

/* parts[p] (R×C) = Σ_t w_tj x_t over the tokens of part p */
template <int RANK, class X>
__global__ void __launch_bounds__(THREADS)
    outer(float *parts, const float *w, const X *x, int64_t tokens, int64_t size, int64_t n, int rank, bool aligned) {
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * VECTOR, first = (int64_t)blockIdx.y * size;
    float sum[RANK][VECTOR] = {}, v[VECTOR];
    if (i >= n) return;
    for (int64_t t = first; t < gm_least(first + size, tokens); t++) {
        gm_load_some(v, x + t * n, i, n, aligned);
#pragma unroll
        for (int j = 0; j < RANK; j++) {
            if (j >= rank) break;
            const float weight = w[t * rank + j];
#pragma unroll
            for (int l = 0; l < VECTOR; l++) sum[j][l] += weight * v[l];
        }
    }
#pragma unroll
    for (int j = 0; j < RANK; j++)
        if (j < rank) gm_store_some(parts + (blockIdx.y * rank + j) * n, sum[j], i, n, aligned);
}

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
    WITH_RANK(s->rank, RANK, GM_WITH_TYPE(type, X, {
                  GM_LAUNCH(backend, (project<RANK, X>), gm_parts(s->tokens, WARPS * TOGETHER), THREADS, 0, out, (const X *)x, s->matrix,
                            s->tokens, s->columns, (int)s->rank, scale, whole(s, x, type));
              }));
}

static void launch_expand(gm_backend *backend, void *y, gm_type type, const float *w, const side *s) {
    const dim3 grid((unsigned)gm_parts(s->tokens, EXPANDED), (unsigned)gm_parts(s->columns, THREADS * VECTOR));
    WITH_RANK(s->rank, RANK, GM_WITH_TYPE(type, Y, {
                  GM_LAUNCH(backend, (expand<RANK, Y>), grid, THREADS, 0, (Y *)y, w, s->matrix, s->tokens, s->columns, (int)s->rank,
                            whole(s, y, type));
              }));
}

/* gradient (R×C) += wᵀ x */
static void add_outer(gm_backend *backend, float *gradient, const float *w, const void *x, gm_type type, const side *s) {
    const int64_t size = gm_part_size(s->tokens), number = gm_parts(s->tokens, size), count = s->rank * s->columns;
    const dim3 grid((unsigned)gm_parts(s->columns, THREADS * VECTOR), (unsigned)number);
    const size_t mark = gm_arena_mark(&backend->scratch);
    float *parts = (float *)gm_cuda_scratch(backend, (size_t)(gm_part_bound(s->tokens) * count) * sizeof *parts);
    WITH_RANK(s->rank, RANK, GM_WITH_TYPE(type, X, {
                  GM_LAUNCH(backend, (outer<RANK, X>), grid, THREADS, 0, parts, w, (const X *)x, s->tokens, size, s->columns, (int)s->rank,
                            gm_aligned(x, type, s->columns, VECTOR));
              }));
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
