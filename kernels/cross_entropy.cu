/* Cross-entropy over the vocabulary, and the single logits that evaluation scores.
 *     loss += loss_scale · Σ_r (log Σ_v exp(x_rv) − x_r,target)          x: rows×V f32, target: rows
 *     dx_rv = gradient_scale · (softmax(x_r)_v − [v = target_r])         rows×V of gradient_type, packed
 *     score: logit_i = x[row_i, token_i],   log_sum_r = log Σ_v exp(x_rv)
 * dx may take the place of x where both are f32. A block has a row and reads it twice: once for maximum and sum together (the sum
 * is scaled when a greater maximum is met), once for the gradient, from the end, which the cache still has. A chunk may have
 * fewer rows than the device has multiprocessors: a block is as large as one can be, and each thread has AHEAD loads on their way. */
#include "common.cuh"

enum { THREADS = 1024, VECTOR = 4, STEP = THREADS * VECTOR, AHEAD = 4, ADDERS = 256 };

struct normaliser {
    float most;
    double sum; /* Σ exp(x − most) */
};

/* Elements of a row that are read AHEAD vectors at a time; those behind them one vector at a time. */
__device__ static int64_t whole_steps(int64_t n, bool aligned) { return aligned ? n / (AHEAD * STEP) * (AHEAD * STEP) : 0; }

__device__ __forceinline__ static void load_ahead(float (&v)[AHEAD][VECTOR], const float *x) {
#pragma unroll
    for (int a = 0; a < AHEAD; a++) gm_load_vector(v[a], x + a * STEP);
}

template <int N> __device__ __forceinline__ static void take(normaliser &s, const float (&v)[N][VECTOR]) {
    float most = s.most, part = 0;
#pragma unroll
    for (int a = 0; a < N; a++)
#pragma unroll
        for (int j = 0; j < VECTOR; j++) most = fmaxf(most, v[a][j]);
    if (most > s.most) s.sum *= (double)expf(s.most - most), s.most = most;
#pragma unroll
    for (int a = 0; a < N; a++)
#pragma unroll
        for (int j = 0; j < VECTOR; j++) part += expf(v[a][j] - s.most);
    s.sum += (double)part;
}

__device__ static normaliser normaliser_of(const float *x, int64_t n, bool aligned) {
    normaliser s = {-INFINITY, 0};
    const int64_t whole = whole_steps(n, aligned), mine = threadIdx.x * VECTOR;
    for (int64_t i = mine; i < whole; i += AHEAD * STEP) {
        float v[AHEAD][VECTOR];
        load_ahead(v, x + i);
        take(s, v);
    }
    for (int64_t i = whole + mine; i < n; i += STEP) {
        float v[1][VECTOR];
        gm_load_some(v[0], x, i, n, aligned, -INFINITY);
        take(s, v);
    }
    const float all = gm_block_most(s.most);
    s.sum *= s.most > -INFINITY ? (double)expf(s.most - all) : 0;
    return {all, gm_block_sum(s.sum)};
}

struct softmax_gradient {
    float most, factor, scale;
    int64_t wanted;
    __device__ __forceinline__ void operator()(float (&v)[VECTOR], int64_t i) const {
#pragma unroll
        for (int j = 0; j < VECTOR; j++) v[j] = expf(v[j] - most) * factor - (i + j == wanted ? scale : 0.0f);
    }
};

template <class G> __device__ static void write_gradient(G *dx, const float *x, int64_t n, bool aligned, const softmax_gradient &gradient) {
    const int64_t whole = whole_steps(n, aligned), mine = threadIdx.x * VECTOR;
    for (int64_t i = whole + mine; i < n; i += STEP) {
        float v[VECTOR];
        gm_load_some(v, x, i, n, aligned);
        gradient(v, i);
        gm_store_some(dx, v, i, n, aligned);
    }
    for (int64_t i = whole - AHEAD * STEP + mine; i >= 0; i -= AHEAD * STEP) {
        float v[AHEAD][VECTOR];
        load_ahead(v, x + i);
#pragma unroll
        for (int a = 0; a < AHEAD; a++) gradient(v[a], i + a * STEP), gm_store_vector(dx + i + a * STEP, v[a]);
    }
}

template <class G>
__global__ void __launch_bounds__(THREADS)
    cross_entropy(double *loss, G *dlogits, const float *logits, const int32_t *target, int64_t n, float scale, bool aligned) {
    const float *x = logits + blockIdx.x * n;
    const int64_t wanted = target[blockIdx.x];
    /* Read before the gradient takes its place: barriers lie between. No such token: the loss is not a number, and that is seen. */
    const float x_wanted = wanted >= 0 && wanted < n ? x[wanted] : NAN;
    const normaliser s = normaliser_of(x, n, aligned);
    if (threadIdx.x == 0) loss[blockIdx.x] = log(s.sum) + (double)s.most - (double)x_wanted;
    if (dlogits) write_gradient(dlogits + blockIdx.x * n, x, n, aligned, {s.most, (float)((double)scale / s.sum), scale, wanted});
}

/* loss += scale · Σ rows, in a fixed order */
__global__ void __launch_bounds__(ADDERS) add_losses(double *loss, const double *rows, int64_t count, double scale) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += ADDERS) sum += rows[i];
    sum = gm_block_sum(sum);
    if (threadIdx.x == 0) *loss += sum * scale;
}

extern "C" void gm_cuda_cross_entropy(gm_backend *backend, const gm_cross_entropy_args *a) {
    GM_CHECK(a->dlogits != a->logits || a->gradient_type == GM_F32, "a gradient of bf16 in the place of logits");
    const size_t mark = gm_arena_mark(&backend->scratch);
    double *rows = (double *)gm_cuda_scratch(backend, (size_t)a->rows * sizeof *rows);
    const bool aligned = gm_aligned(a->logits, GM_F32, a->vocabulary, VECTOR) &&
                         (!a->dlogits || gm_aligned(a->dlogits, a->gradient_type, a->vocabulary, VECTOR));
    GM_WITH_TYPE(a->gradient_type, G,
                 GM_LAUNCH(backend, cross_entropy<G>, a->rows, THREADS, 0, rows, (G *)a->dlogits, (const float *)a->logits, a->target,
                           a->vocabulary, a->gradient_scale, aligned));
    GM_LAUNCH(backend, add_losses, 1, ADDERS, 0, a->loss, rows, a->rows, a->loss_scale);
    gm_arena_release(&backend->scratch, mark);
}

__global__ void __launch_bounds__(THREADS) log_sums(float *log_sum, const float *logits, int64_t n, bool aligned) {
    const normaliser s = normaliser_of(logits + blockIdx.x * n, n, aligned);
    if (threadIdx.x == 0) log_sum[blockIdx.x] = (float)(log(s.sum) + (double)s.most);
}

__global__ void __launch_bounds__(ADDERS)
    pick(float *logit, const float *logits, const int32_t *row, const int32_t *token, int32_t first_row, int64_t n, int64_t count) {
    const int64_t i = (int64_t)blockIdx.x * ADDERS + threadIdx.x;
    if (i < count) logit[i] = logits[(int64_t)(row[i] - first_row) * n + token[i]];
}

extern "C" void gm_cuda_score(gm_backend *backend, const gm_score_args *a) {
    GM_LAUNCH(backend, log_sums, a->rows, THREADS, 0, a->log_sum, a->logits, a->vocabulary,
              gm_aligned(a->logits, GM_F32, a->vocabulary, VECTOR));
    GM_LAUNCH(backend, pick, gm_parts(a->count, ADDERS), ADDERS, 0, a->logit, a->logits, a->row, a->token, a->first_row, a->vocabulary,
              a->count);
}
