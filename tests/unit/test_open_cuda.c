/* Opening the CUDA backend says in one line what is missing, and what to do. What that is depends on the machine and the build. */
#include "test_support.h"

#include "backend/backend.h"

static void test_message(void **state) {
    (void)state;
    static const char *const known[] = {"this build has no CUDA backend; build it with cmake -DGMOE_CUDA=ON, or use --device cpu",
                                        "no NVIDIA driver is loaded",
                                        "the NVIDIA driver is too old",
                                        "there is no CUDA device",
                                        "the CUDA backend does not load: ",
                                        "the CUDA backend has no kernel "};
    gm_backend *backend;
    gm_status status = gm_backend_open_cuda(&backend, 0);
    if (status == GM_OK) {
        gm_backend_close(backend);
        return;
    }
    assert_int_equal(status, GM_FAIL);
    printf("%s\n", gm_error_text());
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(gm_error_text(), known[i], strlen(known[i])) == 0) return;
    fail_msg("unexpected: %s", gm_error_text());
}

static void test_missing_kernel(void **state) {
    (void)state;
    gm_backend *backend;
    assert_int_equal(gm_backend_open_cpu(&backend, 1), GM_OK);
    gm_kernels kernels = *backend->real;
    assert_null(gm_kernels_missing(&kernels));
    kernels.rope = NULL;
    assert_string_equal(gm_kernels_missing(&kernels), "rope");
    gm_backend_close(backend);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_message), cmocka_unit_test(test_missing_kernel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
