/* The CUDA backend's own parts: memory, staging, and errors that stay until somebody asks. */
#include "test_support.h"

#include "backend/cuda/launch.h"
#include "backend/cuda/module.h"
#include "base/memory.h"

static gm_backend *opened(void) {
    gm_backend *backend;
    if (gm_cuda_open(&backend, 0) != GM_OK) fail_msg("%s", gm_error_text());
    return backend;
}

static void test_no_such_device(void **state) {
    (void)state;
    gm_backend *backend;
    assert_int_equal(gm_cuda_open(&backend, 9), GM_FAIL);
    assert_string_equal(gm_error_text(), "there is no device cuda:9; the last one here is cuda:0");
}

static void test_old_device(void **state) {
    (void)state;
    gm_backend *backend;
    setenv("GMOE_EMULATION_CAPABILITY", "75", 1);
    gm_status status = gm_cuda_open(&backend, 0);
    unsetenv("GMOE_EMULATION_CAPABILITY");
    assert_int_equal(status, GM_FAIL);
    assert_string_equal(gm_error_text(),
                        "cuda:0 (emulation) has compute capability 7.5; 8.0 is needed; use another device or --device cpu");
    setenv("GMOE_EMULATION_CAPABILITY", "80", 1);
    status = gm_cuda_open(&backend, 0);
    unsetenv("GMOE_EMULATION_CAPABILITY");
    assert_int_equal(status, GM_OK);
    gm_backend_close(backend);
}

/* Many small writes from memory that changes at once, and one that goes round the staging ring. */
static void test_write_and_read(void **state) {
    (void)state;
    enum { SMALL = 1000, LARGE = 40 << 20 };
    gm_backend *backend = opened();
    void *memory;
    unsigned char *bytes = gm_alloc(LARGE, 1), *got = gm_alloc(LARGE, 1);
    assert_true(bytes && got);
    assert_int_equal(backend->allocate(backend, &memory, LARGE, "a test"), GM_OK);
    for (int32_t i = 0; i < SMALL; i++) backend->write(backend, (int32_t *)memory + i, &i, sizeof i);
    backend->read(backend, got, memory, SMALL * sizeof(int32_t));
    for (int32_t i = 0; i < SMALL; i++) assert_int_equal(((int32_t *)(void *)got)[i], i);
    for (int i = 0; i < LARGE; i++) bytes[i] = (unsigned char)(i * 7 + i / 256 + i / 1000003); /* no period that divides the ring */
    backend->write(backend, memory, bytes, LARGE);
    backend->read(backend, got, memory, LARGE);
    assert_memory_equal(bytes, got, LARGE);
    assert_int_equal(gm_backend_check(backend), GM_OK);
    backend->release(backend, memory, LARGE);
    gm_backend_close(backend);
    free(bytes), free(got);
}

static void test_out_of_memory(void **state) {
    (void)state;
    gm_backend *backend = opened();
    void *memory;
    assert_int_equal(backend->allocate(backend, &memory, (size_t)1 << 40, "activations"), GM_NO_MEMORY);
    assert_non_null(strstr(gm_error_text(), "out of device memory: activations needs 1099511.6 MB, "));
    assert_int_equal(gm_backend_check(backend), GM_OK);
    gm_backend_close(backend);
}

static void test_first_error_stays(void **state) {
    (void)state;
    gm_backend *backend = opened();
    void *memory;
    float value = 7;
    assert_int_equal(backend->allocate(backend, &memory, sizeof value, "a test"), GM_OK);
    gm_cuda_check(backend, cudaErrorInvalidConfiguration, "some kernel");
    gm_cuda_check(backend, cudaErrorMemoryAllocation, "a later one");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gm_backend_check(backend), GM_FAIL);
        assert_string_equal(gm_error_text(), "CUDA: some kernel: invalid configuration argument");
    }
    backend->read(backend, &value, memory, sizeof value);
    assert_true(value == 0); /* not what happened to be there */
    backend->release(backend, memory, sizeof value);
    gm_backend_close(backend);
}

/* A kernel's fault: its launch passes, `check` waits for it, and another operation that notices it says that it may not be its own. The
 * device is of no use afterwards. */
static void test_fault_is_told_late(void **state) {
    (void)state;
    const char *illegal = ": an illegal memory access was encountered (noticed there; the fault is in it or before it: "
                          "CUDA_LAUNCH_BLOCKING=1 names the kernel)";
    char expected[256];
    gm_backend *backend = opened(), *second = opened();
    void *memory, *other;
    assert_int_equal(backend->allocate(backend, &memory, 64, "a test"), GM_OK);
    assert_int_equal(second->allocate(second, &other, 64, "a test"), GM_OK);
    backend->kernels->zero(backend, memory, 64);
    assert_int_equal(gm_backend_check(backend), GM_OK);
    setenv("GMOE_EMULATION_FAULT", "1", 1); /* the first launch of this program */
    backend->kernels->scale(backend, memory, 2, 16);
    assert_int_equal(gm_backend_check(backend), GM_FAIL);
    snprintf(expected, sizeof expected, "CUDA: waiting for the device%s", illegal);
    assert_string_equal(gm_error_text(), expected);
    second->kernels->gemm(second,
                          &(gm_gemm){.out = other, .a = other, .b = other, .m = 1, .n = 1, .k = 1, .type = GM_F32, .out_type = GM_F32});
    assert_int_equal(gm_backend_check(second), GM_FAIL);
    snprintf(expected, sizeof expected, "CUDA: product 1x1x1 of F32%s", illegal);
    assert_string_equal(gm_error_text(), expected);
    gm_backend_close(second);
    gm_backend_close(backend);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_such_device),    cmocka_unit_test(test_old_device),
                                       cmocka_unit_test(test_write_and_read),    cmocka_unit_test(test_out_of_memory),
                                       cmocka_unit_test(test_first_error_stays), cmocka_unit_test(test_fault_is_told_late)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
