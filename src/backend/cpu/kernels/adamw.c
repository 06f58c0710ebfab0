/* AdamW as PyTorch's (Loshchilov & Hutter 2019), over n elements of the flat buffers, at step t = 1, 2, …:
 *     g ← gradient_scale · g                     (clipping; the gradient's buffer stays)
 *     p ← p (1 − lr · decay)
 *     m ← m + (1 − β1) (g − m),   v ← β2 v + (1 − β2) g²
 *     p ← p − lr / (1 − β1ᵗ) · m / (√v / √(1 − β2ᵗ) + ε)
 * Factors in double, rounded to f32 once; elements in f32.
 * sum_squares: Σ x² in double, over chunks that depend on n alone. */
#include "backend/cpu/kernels/kernel.h"

enum { CHUNK = 1 << 14, CHUNKS = 256, BLOCK = 4096 };

void GM_KERNEL(gm_cpu_adamw)(gm_backend *backend, const gm_adamw_args *args) {
    (void)backend;
    double lr = args->learning_rate, correction1 = 1 - pow(args->beta1, (double)args->step),
           correction2 = 1 - pow(args->beta2, (double)args->step);
    float keep = (float)(1 - lr * args->weight_decay), blend = (float)(1 - args->beta1), beta2 = (float)args->beta2,
          blend2 = (float)(1 - args->beta2);
    float rate = (float)(lr / correction1), root = (float)sqrt(correction2), eps = (float)args->eps, scale = args->gradient_scale;
    float *p = args->parameter, *m = args->moment1, *v = args->moment2;
    const float *gradient = args->gradient;
#pragma omp parallel for schedule(static) if (args->count > CHUNK)
    for (int64_t begin = 0; begin < args->count; begin += CHUNK) {
        int64_t end = gm_least(args->count, begin + CHUNK);
#pragma omp simd
        for (int64_t i = begin; i < end; i++) {
            float g = gradient[i] * scale;
            m[i] += blend * (g - m[i]);
            v[i] = beta2 * v[i] + blend2 * g * g;
            p[i] = p[i] * keep - rate * m[i] / (sqrtf(v[i]) / root + eps);
        }
    }
}

static double sum_chunk(const float *in, int64_t count) {
    double total = 0;
    for (int64_t begin = 0; begin < count; begin += BLOCK) {
        int64_t end = gm_least(count, begin + BLOCK);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = begin; i < end; i++) sum += (double)in[i] * (double)in[i];
        total += sum;
    }
    return total;
}

void GM_KERNEL(gm_cpu_sum_squares)(gm_backend *backend, double *out, const float *in, int64_t count) {
    (void)backend;
    double sums[CHUNKS] = {0}, total = 0;
    int64_t chunk = (count + CHUNKS - 1) / CHUNKS;
    if (chunk < CHUNK) chunk = CHUNK;
#pragma omp parallel for schedule(static, 1) if (count > CHUNK)
    for (int64_t c = 0; c < CHUNKS; c++)
        if (c * chunk < count) sums[c] = sum_chunk(in + c * chunk, gm_least(chunk, count - c * chunk));
    for (int64_t c = 0; c < CHUNKS; c++) total += sums[c];
    *out = total;
}
