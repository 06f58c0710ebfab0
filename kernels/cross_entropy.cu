/* Cross-entropy over the vocabulary, and the single logits that evaluation scores.
 *     loss += loss_scale · Σ_r (log Σ_v exp(x_rv) − x_r,target)          x: rows×V f32, target: rows
 *     dx_rv = gradient_scale · (softmax(x_r)_v − [v = target_r])         rows×V of gradient_type, packed
 *     score: logit_i = x[row_i, token_i],   log_sum_r = log Σ_v exp(x_rv)
 * dx may take the place of x where both are f32. A block has a row and reads it twice: once for maximum and sum together (the sum
 * is scaled when a greater maximum is met), once for the gradient. */
#include "common.cuh"

enum { THREADS = 512, VECTOR = 4, ADDERS = 256 };

struct normaliser {
    float most;
    double sum; /* Σ exp(x − most) */
};

__device__ static normaliser normaliser_of(const float *x, int64_t n, bool aligned) {
    float v[VECTOR], most = -INFINITY;
    double sum = 0;
    for (int64_t i = threadIdx.x * VECTOR; i < n; i += THREADS * VECTOR) {
        gm_load_some(v, x, i, n, aligned, -INFINITY);
        float greatest = v[0], part = 0;
#pragma unroll
        for (int j = 1; j < VECTOR; j++) greatest = fmaxf(greatest, v[j]);
        if (greatest > most) sum *= (double)expf(most - greatest), most = greatest;
#pragma unroll
        for (int j = 0; j < VECTOR; j++) part += expf(v[j] - most);
        sum += (double)part;
    }
    const float all = gm_block_most(most);
    sum *= most > -INFINITY ? (double)expf(most - all) : 0;
    return {all, gm_block_sum(sum)};
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
    if (!dlogits) return;
    const float factor = (float)((double)scale / s.sum);
    G *dx = dlogits + blockIdx.x * n;
    for (int64_t i = threadIdx.x * VECTOR; i < n; i += THREADS * VECTOR) {
        float v[VECTOR];
        gm_load_some(v, x, i, n, aligned);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) v[j] = expf(v[j] - s.most) * factor - (i + j == wanted ? scale : 0.0f);
        gm_store_some(dx, v, i, n, aligned);
    }
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
