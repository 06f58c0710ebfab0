/* What the CPU backend keeps of matrix products: nothing while it only measures, and oneDNN no primitive of its own account. And
 * products whose rows are each the same alone as among others. */
#include "test_support.h"

#include "backend/cpu/cpu.h"
#include "base/random.h"

#include <math.h>

int dnnl_get_primitive_cache_capacity(int *capacity); /* <dnnl.h> is src/backend/cpu/onednn.c's alone */

static void measuring_makes_no_primitives(void **state) {
    (void)state;
    gm_backend *backend;
    float a[64] = {0}, b[64] = {0}, out[64];
    int capacity = -1;
    assert_int_equal(gm_backend_open_cpu(&backend, 1), GM_OK);
    assert_int_equal(dnnl_get_primitive_cache_capacity(&capacity), 0);
    assert_int_equal(capacity, 0);
    gm_gemm gemm = {.out = out, .a = a, .b = b, .m = 8, .n = 8, .k = 8};
    gm_backend_measure(backend, true);
    backend->kernels->gemm(backend, &gemm);
    assert_int_equal(gm_cpu(backend)->gemm_scratch_bytes, 0);
    gm_backend_measure(backend, false);
    backend->kernels->gemm(backend, &gemm);
    assert_true(gm_cpu(backend)->gemm_scratch_bytes > 0);
    gm_backend_close(backend);
}

enum { M = 300, N = 37, K = 129, A_STRIDE = 140, OUT_STRIDE = 41 };

static double naive(const float *a, const float *b, bool transposed, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < K; k++) sum += (double)a[k] * (double)(transposed ? b[n * K + k] : b[k * N + n]);
    return sum;
}

/* The first `rows` rows, added to 1 or not, against loops in double; what lies between the rows of out stays. */
static void check_rows(gm_backend *backend, const float *a, const float *b, float *out, int64_t rows, bool transposed, bool accumulate) {
    for (int64_t i = 0; i < M * OUT_STRIDE; i++) out[i] = 1;
    gm_gemm gemm = {.out = out, .a = a, .b = b, .m = rows, .n = N, .k = K, .a_stride = A_STRIDE, .out_stride = OUT_STRIDE};
    gemm.transpose_b = transposed, gemm.accumulate = accumulate;
    gm_cpu_gemm_rows(backend, &gemm);
    for (int64_t r = 0; r < M; r++)
        for (int64_t n = 0; n < OUT_STRIDE; n++) {
            double want = r < rows && n < N ? naive(a + r * A_STRIDE, b, transposed, n) + accumulate : 1;
            float got = out[r * OUT_STRIDE + n];
            if (!(fabs((double)got - want) <= (r < rows && n < N ? 1e-4 : 0)))
                fail_msg("row %lld of %lld, column %lld: %g, not %g", (long long)r, (long long)rows, (long long)n, (double)got, want);
        }
}

static void rows_are_their_own(void **state) {
    (void)state;
    static float a[M * A_STRIDE], b[N * K], out[M * OUT_STRIDE], alone[M * OUT_STRIDE], one[M * OUT_STRIDE];
    static const int64_t counts[] = {1, 95, 96, 97, 192, M};
    gm_random random = gm_random_begin(1, GM_RANDOM_TEST, 0);
    for (int64_t i = 0; i < M * A_STRIDE; i++) a[i] = gm_random_normal(&random);
    for (int64_t i = 0; i < N * K; i++) b[i] = gm_random_normal(&random);
    for (int form = 0; form < 4; form++)
        for (int threads = 1; threads <= 3; threads++) {
            gm_backend *backend;
            assert_int_equal(gm_backend_open_cpu(&backend, threads), GM_OK);
            for (int64_t r = 0; r < M && threads == 1; r += 7) {
                check_rows(backend, a + r * A_STRIDE, b, one, 1, form % 2, form / 2);
                memcpy(alone + r * OUT_STRIDE, one, N * sizeof *one);
            }
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                check_rows(backend, a, b, out, counts[i], form % 2, form / 2);
                for (int64_t r = 0; r < counts[i]; r += 7)
                    assert_memory_equal(out + r * OUT_STRIDE, alone + r * OUT_STRIDE, N * sizeof *out);
            }
            gm_backend_close(backend);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(measuring_makes_no_primitives), cmocka_unit_test(rows_are_their_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
