/* Cross-entropy over the vocabulary, and the single logits that evaluation scores.
 *     loss += loss_scale · Σ_r (log Σ_v exp(x_rv) − x_r,target)          x: rows×V f32, target: rows
 *     dx_rv = gradient_scale · (softmax(x_r)_v − [v = target_r])         rows×V of gradient_type, packed
 *     score: logit_i = x[row_i, token_i],   log_sum_r = log Σ_v exp(x_rv)
 * dx may take the place of x where both are f32. */
#include "backend/cpu/kernels/kernel.h"

enum { BLOCK = 1024, CHUNKS = 64, SMALL = 1 << 13 /* logits below which one thread does it all */ };

static float maximum(const float *x, int64_t n) {
    float max = -INFINITY;
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

static double sum_exp(const float *x, int64_t n, float max) {
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        int64_t end = gm_least(n, begin + BLOCK);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = begin; i < end; i++) sum += gm_exp(x[i] - max);
        total += (double)sum;
    }
    return total;
}

/* The same, and the exponentials stay in x's place. */
static double exp_in_place(float *x, int64_t n, float max) {
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        int64_t end = gm_least(n, begin + BLOCK);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = begin; i < end; i++) {
            x[i] = gm_exp(x[i] - max);
            sum += x[i];
        }
        total += (double)sum;
    }
    return total;
}

/* The gradient of one row from its exponentials; `out` may be `x`. */
static void write_gradient_f32(float *out, const float *x, int64_t n, float scale) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = x[i] * scale;
}

static void write_gradient_bf16(uint16_t *restrict out, const float *restrict x, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++) out[i] = gm_f32_to_bf16(x[i] * scale);
}

static void write_gradient(const gm_cross_entropy_args *a, int64_t row, double sum) {
    const float *x = (const float *)a->logits + row * a->vocabulary;
    float scale = (float)((double)a->gradient_scale / sum), target = x[a->target[row]] * scale - a->gradient_scale;
    int64_t first = row * a->vocabulary, place = first + a->target[row];
    if (a->gradient_type == GM_F32) {
        write_gradient_f32((float *)a->dlogits + first, x, a->vocabulary, scale);
        ((float *)a->dlogits)[place] = target;
    } else {
        write_gradient_bf16((uint16_t *)a->dlogits + first, x, a->vocabulary, scale);
        ((uint16_t *)a->dlogits)[place] = gm_f32_to_bf16(target);
    }
}

/* −log p(target) of one row, and its gradient. */
static double loss_row(const gm_cross_entropy_args *a, int64_t row) {
    float *x = (float *)a->logits + row * a->vocabulary;
    int64_t target = a->target[row];
    GM_CHECK(target >= 0 && target < a->vocabulary, "target %lld of %lld", (long long)target, (long long)a->vocabulary);
    float max = maximum(x, a->vocabulary), x_target = x[target];
    double sum = a->dlogits ? exp_in_place(x, a->vocabulary, max) : sum_exp(x, a->vocabulary, max);
    if (a->dlogits) write_gradient(a, row, sum);
    return log(sum) + (double)max - (double)x_target;
}

/* Rows go in at most CHUNKS chunks, whose size depends on their number alone; the chunks' losses are added in order. */
void GM_KERNEL(gm_cpu_cross_entropy)(gm_backend *backend, const gm_cross_entropy_args *args) {
    (void)backend;
    GM_CHECK(args->dlogits != args->logits || args->gradient_type == GM_F32, "a gradient of bf16 in the place of logits");
    double loss[CHUNKS] = {0}, total = 0;
    int64_t chunk = (args->rows + CHUNKS - 1) / CHUNKS;
#pragma omp parallel for schedule(static, 1) if (args->rows * args->vocabulary > SMALL)
    for (int64_t c = 0; c < CHUNKS; c++)
        for (int64_t r = c * chunk; r < gm_least(args->rows, (c + 1) * chunk); r++) loss[c] += loss_row(args, r);
    for (int64_t c = 0; c < CHUNKS; c++) total += loss[c];
    *args->loss += total * args->loss_scale;
}

void GM_KERNEL(gm_cpu_score)(gm_backend *backend, const gm_score_args *args) {
    (void)backend;
#pragma omp parallel for schedule(static) if (args->rows * args->vocabulary > SMALL)
    for (int64_t r = 0; r < args->rows; r++) {
        const float *x = args->logits + r * args->vocabulary;
        float max = maximum(x, args->vocabulary);
        args->log_sum[r] = (float)(log(sum_exp(x, args->vocabulary, max)) + (double)max);
    }
    for (int64_t i = 0; i < args->count; i++)
        args->logit[i] = args->logits[(int64_t)(args->row[i] - args->first_row) * args->vocabulary + args->token[i]];
}
