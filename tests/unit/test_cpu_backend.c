/* What the CPU backend keeps of matrix products: nothing while it only measures, and oneDNN no primitive of its own account. */
#include "test_support.h"

#include "backend/cpu/cpu.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(measuring_makes_no_primitives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
