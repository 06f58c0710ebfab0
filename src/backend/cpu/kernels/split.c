/* f32 as three terms of bf16 (backend/cpu/gemm_split.c): in: rows of `columns`, `stride` apart; out: 3×rows×columns, the terms one after
 * the other. */
#include "backend/cpu/kernels/kernel.h"

void GM_KERNEL(gm_cpu_split)(uint16_t *out, const float *in, int64_t rows, int64_t columns, int64_t stride) {
    const int64_t term = rows * columns;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *restrict a = in + r * stride;
        uint16_t *restrict a1 = out + r * columns, *restrict a2 = a1 + term, *restrict a3 = a2 + term;
        for (int64_t c = 0; c < columns; c++) {
            uint16_t first = gm_f32_to_bf16(a[c]);
            float left = a[c] - gm_bf16_to_f32(first);
            uint16_t second = gm_f32_to_bf16(left);
            a1[c] = first, a2[c] = second, a3[c] = gm_f32_to_bf16(left - gm_bf16_to_f32(second));
        }
    }
}
