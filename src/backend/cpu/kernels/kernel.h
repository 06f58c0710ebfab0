/* What the kernel files share. They are compiled once per instruction set (GM_LEVEL is base, v3 or v4), so every
 * function in them is static or named through GM_KERNEL; kernels/table.c lists them.
 *
 * Arithmetic is f32: a row of bf16 is widened into a small buffer, worked on, and rounded once on its way out. */
#ifndef GM_BACKEND_CPU_KERNELS_KERNEL_H
#define GM_BACKEND_CPU_KERNELS_KERNEL_H

#include "backend/cpu/cpu.h"

#include <math.h>
#include <omp.h>

#define GM_PASTE_(a, b) a##_##b
#define GM_PASTE(a, b) GM_PASTE_(a, b)
#define GM_KERNEL(name) GM_PASTE(name, GM_LEVEL)

/* x with |x| at most 87.3; NaN stays NaN. In integers: GCC 12 turns a float comparison into a third copy of what follows
 * for the clamped value, blended in at the end, and that copy's subnormal numbers made silu 12 to 16 times slower. */
static inline float gm_clamp_exponent(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits & 0x80000000u, magnitude = bits & 0x7fffffffu, limit = 0x42ae999au;
    uint32_t nan = magnitude > 0x7f800000u ? 0x7f800001u : 0u;
    bits = sign | nan | (magnitude < limit ? magnitude : limit);
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

/* e^x within 1.1 ulp for |x| ≤ 87.3, the value at the nearer end outside; NaN stays NaN. Without a branch, so that loops
 * over it vectorise. x = n·ln 2 + r, |r| ≤ ln 2 / 2; polynomial of Cephes' expf. */
static inline float gm_exp(float x) {
    x = gm_clamp_exponent(x);
    float shifted = x * 1.44269504f + 12582912.0f; /* 1.5·2²³ + n: rounds to the nearest integer n */
    float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    uint32_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u; /* 2ⁿ */
    float scale;
    __builtin_memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

static inline float gm_sigmoid(float x) { return 1.0f / (1.0f + gm_exp(-x)); }

/* Row `index` of a rows×columns matrix as f32: a pointer into it, or `buffer` filled from bf16. */
static inline const float *gm_row_f32(const void *matrix, gm_type type, int64_t offset, int64_t columns, float *restrict buffer) {
    if (type == GM_F32) return (const float *)matrix + offset;
    const uint16_t *row = (const uint16_t *)matrix + offset;
    for (int64_t i = 0; i < columns; i++) buffer[i] = gm_bf16_to_f32(row[i]);
    return buffer;
}

static inline void gm_row_store(void *matrix, gm_type type, int64_t offset, int64_t columns, const float *restrict row) {
    if (type == GM_F32) {
        float *out = (float *)matrix + offset;
        if (out != row) memcpy(out, row, (size_t)columns * sizeof *row);
    } else {
        uint16_t *out = (uint16_t *)matrix + offset;
        for (int64_t i = 0; i < columns; i++) out[i] = gm_f32_to_bf16(row[i]);
    }
}

static inline float gm_dot(const float *restrict a, const float *restrict b, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static inline void gm_axpy(float *restrict y, float a, const float *restrict x, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

/* out[0..count) in f32 from f32, bf16 or f16. */
static inline void gm_widen(float *restrict out, const void *in, gm_type type, int64_t count) {
    if (type == GM_F32) {
        memcpy(out, in, (size_t)count * sizeof *out);
    } else if (type == GM_BF16) {
        const uint16_t *half = in;
        for (int64_t i = 0; i < count; i++) out[i] = gm_bf16_to_f32(half[i]);
    } else {
        const uint16_t *half = in;
        for (int64_t i = 0; i < count; i++) out[i] = gm_f16_to_f32(half[i]);
    }
}

static inline int64_t gm_least(int64_t a, int64_t b) { return a < b ? a : b; }

void GM_KERNEL(gm_cpu_split)(uint16_t *out, const float *in, int64_t rows, int64_t columns, int64_t stride);

#define GM_DECLARE_KERNEL(name, parameters) void GM_KERNEL(gm_cpu_##name) parameters;
GM_KERNEL_LIST(GM_DECLARE_KERNEL)
#undef GM_DECLARE_KERNEL

#endif
