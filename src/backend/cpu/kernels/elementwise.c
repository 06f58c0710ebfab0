/* Kernels over flat vectors: type conversion, sums, silu.
 *     add: out += in      scale: out *= factor      add_rows: out[r] += row for every row r
 *     silu(x) = x σ(x),   silu'(x) = σ(x) (1 + x (1 − σ(x)))
 * Work is cut into chunks of fixed size, so that an element goes through the same instructions for any number of
 * threads. */
#include "backend/cpu/kernels/kernel.h"

enum { CHUNK = 1 << 14, BLOCK = 1024 };

static void narrow(uint16_t *restrict out, const float *restrict in, int64_t count) {
    for (int64_t i = 0; i < count; i++) out[i] = gm_f32_to_bf16(in[i]);
}

static void convert_chunk(void *out, gm_type out_type, const void *in, gm_type in_type, int64_t count) {
    if (out_type == in_type) {
        memcpy(out, in, (size_t)count * gm_type_size(in_type));
    } else if (out_type == GM_F32) {
        gm_widen(out, in, in_type, count);
    } else if (in_type == GM_F32) {
        narrow(out, in, count);
    } else {
        float buffer[BLOCK];
        for (int64_t i = 0; i < count; i += BLOCK) {
            int64_t n = gm_least(BLOCK, count - i);
            gm_widen(buffer, (const uint16_t *)in + i, in_type, n);
            narrow((uint16_t *)out + i, buffer, n);
        }
    }
}

void GM_KERNEL(gm_cpu_convert)(gm_backend *backend, void *out, gm_type out_type, const void *in, gm_type in_type, int64_t count) {
    (void)backend;
    GM_CHECK(out_type == GM_F32 || out_type == GM_BF16, "conversion to %s", gm_type_name(out_type));
    GM_CHECK(in_type == GM_F32 || in_type == GM_BF16 || in_type == GM_F16, "conversion from %s", gm_type_name(in_type));
    size_t out_size = gm_type_size(out_type), in_size = gm_type_size(in_type);
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t i = 0; i < count; i += CHUNK)
        convert_chunk((char *)out + (size_t)i * out_size, out_type, (const char *)in + (size_t)i * in_size, in_type,
                      gm_least(CHUNK, count - i));
}

void GM_KERNEL(gm_cpu_add)(gm_backend *backend, float *out, const void *in, gm_type in_type, int64_t count) {
    (void)backend;
    GM_CHECK(in_type == GM_F32 || in_type == GM_BF16, "a sum with %s", gm_type_name(in_type));
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t begin = 0; begin < count; begin += CHUNK) {
        int64_t end = gm_least(count, begin + CHUNK);
        if (in_type == GM_F32) {
            const float *x = in;
#pragma omp simd
            for (int64_t i = begin; i < end; i++) out[i] += x[i];
        } else {
            const uint16_t *x = in;
#pragma omp simd
            for (int64_t i = begin; i < end; i++) out[i] += gm_bf16_to_f32(x[i]);
        }
    }
}

void GM_KERNEL(gm_cpu_scale)(gm_backend *backend, float *out, float factor, int64_t count) {
    (void)backend;
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t begin = 0; begin < count; begin += CHUNK) {
        int64_t end = gm_least(count, begin + CHUNK);
#pragma omp simd
        for (int64_t i = begin; i < end; i++) out[i] *= factor;
    }
}

/* out: rows×columns of `type`, row: columns of `row_type`. Sums in f32, rounded once. */
void GM_KERNEL(gm_cpu_add_rows)(gm_backend *backend, void *out, gm_type type, const void *row, gm_type row_type, int64_t rows,
                                int64_t columns) {
    (void)backend;
    size_t row_size = gm_type_size(row_type);
#pragma omp parallel for schedule(static) if (rows * columns > CHUNK)
    for (int64_t r = 0; r < rows; r++) {
        float added[BLOCK], wide[BLOCK];
        for (int64_t c = 0; c < columns; c += BLOCK) {
            int64_t n = gm_least(BLOCK, columns - c), offset = r * columns + c;
            gm_widen(added, (const char *)row + (size_t)c * row_size, row_type, n);
            const float *x = gm_row_f32(out, type, offset, n, wide);
#pragma omp simd
            for (int64_t i = 0; i < n; i++) added[i] += x[i];
            gm_row_store(out, type, offset, n, added);
        }
    }
}

void GM_KERNEL(gm_cpu_silu_forward)(gm_backend *backend, float *out, const float *in, int64_t count) {
    (void)backend;
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t begin = 0; begin < count; begin += CHUNK) {
        int64_t end = gm_least(count, begin + CHUNK);
#pragma omp simd
        for (int64_t i = begin; i < end; i++) out[i] = in[i] * gm_sigmoid(in[i]);
    }
}

void GM_KERNEL(gm_cpu_silu_backward)(gm_backend *backend, float *din, const float *dout, const float *in, int64_t count) {
    (void)backend;
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t begin = 0; begin < count; begin += CHUNK) {
        int64_t end = gm_least(count, begin + CHUNK);
#pragma omp simd
        for (int64_t i = begin; i < end; i++) {
            float s = gm_sigmoid(in[i]);
            din[i] = dout[i] * s * (1.0f + in[i] * (1.0f - s));
        }
    }
}
