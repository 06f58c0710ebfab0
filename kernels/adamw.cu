/* AdamW as PyTorch's (Loshchilov & Hutter 2019), over n elements of the flat buffers, at step t = 1, 2, …:
 *     g ← gradient_scale · g                     (clipping; the gradient's buffer stays)
 *     p ← p (1 − lr · decay)
 *     m ← m + (1 − β1) (g − m),   v ← β2 v + (1 − β2) g²
 *     p ← p − lr / (1 − β1ᵗ) · m / (√v / √(1 − β2ᵗ) + ε)
 * Factors in double, rounded to f32 once; elements in f32.
 * sum_squares: Σ x² in double, over parts that depend on n alone; the host has the result, so it waits. */
#include "common.cuh"

enum { THREADS = 256, VECTOR = 4, PART = 1 << 14 };

struct factors {
    float keep, blend, beta2, blend2, rate, root, eps, scale;
};

__global__ void __launch_bounds__(THREADS)
    adamw(float *parameter, float *moment1, float *moment2, const float *gradient, int64_t count, factors f, bool aligned) {
    float p[VECTOR], m[VECTOR], v[VECTOR], g[VECTOR];
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * VECTOR;
    gm_load_some(p, parameter, i, count, aligned);
    gm_load_some(m, moment1, i, count, aligned);
    gm_load_some(v, moment2, i, count, aligned);
    gm_load_some(g, gradient, i, count, aligned);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
        float scaled = g[j] * f.scale;
        m[j] += f.blend * (scaled - m[j]);
        v[j] = f.beta2 * v[j] + f.blend2 * scaled * scaled;
        p[j] = p[j] * f.keep - f.rate * m[j] / (sqrtf(v[j]) / f.root + f.eps);
    }
    gm_store_some(parameter, p, i, count, aligned);
    gm_store_some(moment1, m, i, count, aligned);
    gm_store_some(moment2, v, i, count, aligned);
}

extern "C" void gm_cuda_adamw(gm_backend *backend, const gm_adamw_args *a) {
    double correction1 = 1 - pow(a->beta1, (double)a->step), correction2 = 1 - pow(a->beta2, (double)a->step);
    const factors f = {(float)(1 - a->learning_rate * a->weight_decay), (float)(1 - a->beta1),    (float)a->beta2, (float)(1 - a->beta2),
                       (float)(a->learning_rate / correction1),         (float)sqrt(correction2), (float)a->eps,   a->gradient_scale};
    const bool aligned = ((uintptr_t)a->parameter | (uintptr_t)a->moment1 | (uintptr_t)a->moment2 | (uintptr_t)a->gradient) % 16 == 0;
    GM_LAUNCH(backend, adamw, gm_parts(a->count, THREADS * VECTOR), THREADS, 0, a->parameter, a->moment1, a->moment2, a->gradient, a->count,
              f, aligned);
}

__global__ void __launch_bounds__(THREADS) sum_squares(double *sums, const float *in, int64_t count, int64_t part) {
    const int64_t begin = blockIdx.x * part, end = gm_least(begin + part, count);
    double sum = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += THREADS) sum += (double)in[i] * (double)in[i];
    sum = gm_block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

extern "C" void gm_cuda_sum_squares(gm_backend *backend, double *out, const float *in, int64_t count) {
    const int64_t part = gm_most(gm_parts(count, GM_CUDA_SUMS), (int64_t)PART), parts = gm_parts(count, part);
    double sums[GM_CUDA_SUMS] = {0}, *device = gm_cuda_sums(backend);
    GM_LAUNCH(backend, sum_squares, parts, THREADS, 0, device, in, count, part);
    gm_cuda_fetch(backend, sums, device, (size_t)parts * sizeof *sums);
    *out = 0;
    for (int64_t i = 0; i < parts; i++) *out += sums[i];
}
