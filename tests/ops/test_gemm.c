/* Matrix products against loops in double: every layout, strides, accumulation, and sizes at which a product is cut into
 * panels (src/backend/cpu/gemm.c). Values are small integers, so that f32 sums are exact whatever their order. */
#include "op_test.h"

typedef struct gemm_case {
    int64_t m, n, k, gap; /* gap: elements between rows beyond what they need */
} gemm_case;

static const gemm_case cases[] = {{1, 1, 1, 0},     {3, 5, 7, 0},    {17, 33, 64, 3}, {64, 32, 2, 5},
                                  {2, 2049, 40, 0}, {3, 4200, 9, 8}, {5, 24, 4097, 0}};
enum { CASES = 7 };

static double *integers(int64_t rows, int64_t stride) {
    double *values = op_doubles(rows * stride);
    for (int64_t i = 0; i < rows * stride; i++) values[i] = (double)gm_random_below(&op_random, 5) - 2;
    return values;
}

static void product(const gemm_case *c, gm_type type, gm_type out_type, bool transpose_a, bool transpose_b, bool accumulate) {
    int64_t a_rows = transpose_a ? c->k : c->m, b_rows = transpose_b ? c->n : c->k;
    int64_t a_stride = (transpose_a ? c->m : c->k) + c->gap, b_stride = (transpose_b ? c->k : c->n) + c->gap, stride = c->n + c->gap;
    double *a = integers(a_rows, a_stride), *b = integers(b_rows, b_stride), *out = integers(c->m, stride);
    gm_gemm gemm = {.a = op_typed(type, a, a_rows * a_stride),
                    .b = op_typed(type, b, b_rows * b_stride),
                    .out = op_typed(out_type, out, c->m * stride),
                    .m = c->m,
                    .n = c->n,
                    .k = c->k,
                    .type = type,
                    .out_type = out_type,
                    .transpose_a = transpose_a,
                    .transpose_b = transpose_b,
                    .accumulate = accumulate,
                    .a_stride = c->gap ? a_stride : 0,
                    .b_stride = c->gap ? b_stride : 0,
                    .out_stride = c->gap ? stride : 0};
    gm_gemm added = gemm;
    added.addend = op_typed(out_type, out, c->m * stride), added.out = op_typed(out_type, integers(c->m, stride), c->m * stride);
    added.accumulate = false;
    OP_RUN(backend->kernels->gemm(backend, &gemm));
    if (accumulate && !c->gap) OP_RUN(backend->kernels->gemm(backend, &added));
    for (int64_t i = 0; i < c->m; i++)
        for (int64_t j = 0; j < c->n; j++) {
            double sum = accumulate ? out[i * stride + j] : 0;
            for (int64_t k = 0; k < c->k; k++)
                sum += a[transpose_a ? k * a_stride + i : i * a_stride + k] * b[transpose_b ? j * b_stride + k : k * b_stride + j];
            out[i * stride + j] = sum; /* the gaps keep what they had */
        }
    op_close("product", gemm.out, out_type, out, c->m * stride, 0);
    if (accumulate && !c->gap) op_close("product with an addend", added.out, out_type, out, c->m * stride, 0);
    op_end();
}

static void test_all(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++)
        for (int bits = 0; bits < 8; bits++) {
            product(&cases[i], GM_F32, GM_F32, bits & 1, bits & 2, bits & 4);
            product(&cases[i], GM_BF16, GM_F32, bits & 1, bits & 2, bits & 4);
            product(&cases[i], GM_BF16, GM_BF16, bits & 1, bits & 2, bits & 4);
        }
}

static void test_panels_both_ways(void **state) {
    (void)state;
    const gemm_case large = {2, 2100, 4100, 4};
    product(&large, GM_F32, GM_F32, false, false, true);
    product(&large, GM_BF16, GM_F32, true, false, false);
}

/* With many rows b is packed first. */
static void test_packed(void **state) {
    (void)state;
    const gemm_case tall = {1030, 70, 65, 3};
    for (int bits = 0; bits < 8; bits++) {
        product(&tall, GM_F32, GM_F32, bits & 1, bits & 2, bits & 4);
        product(&tall, GM_BF16, GM_BF16, bits & 1, bits & 2, bits & 4);
    }
}

/* f32 with a b of bf16: a product with a small integer keeps all 24 bits of a. Rows with gaps, panels, b packed or not. */
static void narrow_product(const gemm_case *c, bool transpose_b, bool accumulate) {
    int64_t a_stride = c->k + c->gap, b_stride = (transpose_b ? c->k : c->n) + c->gap, stride = c->n + c->gap,
            b_rows = transpose_b ? c->n : c->k;
    double *a = integers(c->m, a_stride), *b = integers(b_rows, b_stride), *out = integers(c->m, stride);
    for (int64_t i = 0; i < c->m; i++)
        for (int64_t k = 0; k < c->k; k += 37) a[i * a_stride + k] = (double)(1000 * gm_random_uniform(&op_random));
    gm_gemm gemm = {.a = op_typed(GM_F32, a, c->m * a_stride),
                    .b = op_typed(GM_BF16, b, b_rows * b_stride),
                    .out = op_typed(GM_F32, out, c->m * stride),
                    .m = c->m,
                    .n = c->n,
                    .k = c->k,
                    .transpose_b = transpose_b,
                    .accumulate = accumulate,
                    .narrow_b = true,
                    .a_stride = a_stride,
                    .b_stride = b_stride,
                    .out_stride = stride};
    OP_RUN(backend->kernels->gemm(backend, &gemm));
    for (int64_t i = 0; i < c->m; i++)
        for (int64_t j = 0; j < c->n; j++) {
            double sum = accumulate ? out[i * stride + j] : 0;
            for (int64_t k = 0; k < c->k; k++) sum += a[i * a_stride + k] * b[transpose_b ? j * b_stride + k : k * b_stride + j];
            out[i * stride + j] = sum;
        }
    op_close("product of f32 and bf16", gemm.out, GM_F32, out, c->m * stride, c->k == 1 && !accumulate ? 0 : 2e-6);
    op_end();
}

static void test_narrow(void **state) {
    (void)state;
    if (backend->narrow_least == 0) return; /* this processor's products of bf16 are too slow for it */
    const gemm_case sizes[] = {{1, 1, 1, 0},     {50, 40, 1, 3},   {3, 5, 7, 2},      {17, 33, 64, 0},
                               {5, 24, 1100, 3}, {2, 2100, 40, 0}, {400, 70, 1100, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int bits = 0; bits < 4; bits++) narrow_product(&sizes[i], bits & 1, bits & 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_panels_both_ways), cmocka_unit_test(test_packed),
                                       cmocka_unit_test(test_narrow)};
    return op_main("gemm", tests);
}
