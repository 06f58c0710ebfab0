/* Elementwise kernels against loops in double; convert against the scalar conversion of backend/type.c. */
#include "op_test.h"

static const int64_t counts[] = {1, 31, 1000, 16384, 50001};
enum { COUNTS = 5 };

/* Bit by bit, but a NaN may be any: devices have one of their own. */
static void same_values(const void *got, const void *want, gm_type type, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        double w = op_get(want, type, i);
        size_t at = (size_t)i * gm_type_size(type);
        if (isnan(w) ? !isnan(op_get(got, type, i)) : memcmp((const char *)got + at, (const char *)want + at, gm_type_size(type)) != 0)
            fail_msg("value %lld is %g, not %g", (long long)i, op_get(got, type, i), w);
    }
}

static void test_convert(void **state) {
    (void)state;
    static const gm_type from[] = {GM_F32, GM_BF16, GM_F16}, to[] = {GM_F32, GM_BF16};
    int64_t n = 1 << 16; /* every bf16 and f16 there is; f32 with all upper halves */
    for (int f = 0; f < 3; f++)
        for (int t = 0; t < 2; t++) {
            unsigned char *in = op_alloc((size_t)n * gm_type_size(from[f])), *out = op_alloc((size_t)n * gm_type_size(to[t]));
            unsigned char *want = op_alloc((size_t)n * gm_type_size(to[t]));
            for (uint32_t i = 0; i < n; i++) {
                uint16_t half = (uint16_t)i;
                uint32_t word = i << 16 | (gm_random_u32(&op_random) & 0xffffu);
                memcpy(in + i * gm_type_size(from[f]), from[f] == GM_F32 ? (void *)&word : (void *)&half, gm_type_size(from[f]));
            }
            gm_convert(want, to[t], in, from[f], (size_t)n);
            for (int c = 0; c < COUNTS; c++) {
                memset(out, 0x11, (size_t)n * gm_type_size(to[t]));
                OP_RUN(backend->kernels->convert(backend, out, to[t], in, from[f], counts[c]));
                same_values(out, want, to[t], counts[c]);
                assert_int_equal(out[(size_t)counts[c] * gm_type_size(to[t])], 0x11);
            }
            op_end();
        }
}

static void test_add_scale(void **state) {
    (void)state;
    for (int c = 0; c < COUNTS; c++)
        for (int type = GM_F32; type <= GM_BF16; type++) {
            int64_t n = counts[c];
            double *x = op_values(n, 1), *y = op_values(n, 2);
            float *out = op_typed(GM_F32, x, n);
            void *in = op_typed((gm_type)type, y, n);
            OP_RUN(backend->kernels->add(backend, out, in, (gm_type)type, n));
            for (int64_t i = 0; i < n; i++) x[i] += y[i];
            op_close("add", out, GM_F32, x, n, 2e-7);
            OP_RUN(backend->kernels->scale(backend, out, -0.37f, n));
            for (int64_t i = 0; i < n; i++) x[i] *= -0.37;
            op_close("scale", out, GM_F32, x, n, 2e-7);
            op_end();
        }
}

static void test_add_rows(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 33, 1024, 2500};
    for (int t = 0; t < OP_TOKENS; t++)
        for (int w = 0; w < 4; w++)
            for (int types = 0; types < 4; types++) {
                int64_t rows = op_tokens[t], columns = widths[w];
                gm_type type = types & 1 ? GM_BF16 : GM_F32, row_type = types & 2 ? GM_BF16 : GM_F32;
                double *x = op_values(rows * columns, 1), *b = op_values(columns, 1);
                void *out = op_typed(type, x, rows * columns), *row = op_typed(row_type, b, columns);
                OP_RUN(backend->kernels->add_rows(backend, out, type, row, row_type, rows, columns));
                for (int64_t i = 0; i < rows * columns; i++) x[i] += b[i % columns];
                op_close("add_rows", out, type, x, rows * columns, 2e-7);
                op_end();
            }
}

static void test_column_sums(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 8, 67};
    for (int t = 0; t < OP_TOKENS; t++)
        for (int w = 0; w < 3; w++) {
            int64_t rows = op_tokens[t], columns = widths[w];
            double *x = op_values(rows * columns, 1), *want = op_values(columns, 0);
            float *in = op_typed(GM_F32, x, rows * columns), *out = op_floats(columns);
            OP_RUN(backend->kernels->column_sums(backend, out, in, rows, columns));
            for (int64_t i = 0; i < rows * columns; i++) want[i % columns] += x[i];
            op_close("column_sums", out, GM_F32, want, columns, 2e-7);
            op_end();
        }
}

static double silu(double x) { return x / (1 + exp(-x)); }
static double silu_of(const void *x) { return silu(*(const double *)x); }

static void test_silu(void **state) {
    (void)state;
    for (int c = 0; c < COUNTS; c++) {
        int64_t n = counts[c];
        double *x = op_values(n, 5), *dy = op_values(n, 1), *want = op_doubles(n);
        if (n > 100) x[3] = -200, x[4] = 200, x[5] = 0;
        float *in = op_typed(GM_F32, x, n), *dout = op_typed(GM_F32, dy, n), *out = op_floats(n);
        OP_RUN(backend->kernels->silu_forward(backend, out, in, n));
        for (int64_t i = 0; i < n; i++) want[i] = silu(x[i]);
        op_close("silu", out, GM_F32, want, n, 2e-7);
        OP_RUN(backend->kernels->silu_backward(backend, dout, dout, in, n)); /* in place */
        for (int64_t i = 0; i < n; i++) want[i] = dy[i] * op_slope(silu_of, &x[i], &x[i]);
        op_close("silu_backward", dout, GM_F32, want, n, 1e-6);
        op_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_convert), cmocka_unit_test(test_add_scale), cmocka_unit_test(test_add_rows),
                                       cmocka_unit_test(test_silu), cmocka_unit_test(test_column_sums)};
    return op_main("elementwise", tests);
}
