/* Names in a run's directory: what is made is read back, and nothing else is taken for it. */
#include "train/run_names.h"

#include "test_support.h"

static void test_steps(void **state) {
    (void)state;
    static const int64_t steps[] = {0, 1, 10, 123456789, INT64_C(9007199254740991)};
    char name[GM_RUN_NAME], path[GM_PATH];
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        for (gm_stage stage = GM_STAGE_WHOLE; stage <= GM_STAGE_DAMAGED; stage++) {
            int64_t step = -1;
            gm_stage read;
            gm_step_name(name, steps[i]);
            assert_int_equal(gm_stage_path(path, "d", name, stage), GM_OK);
            assert_true(gm_step_name_read(path + 2, &step, &read) && step == steps[i] && read == stage);
        }
}

static void test_others(void **state) {
    (void)state;
    static const char *const others[] = {"",
                                         "step-",
                                         "step",
                                         "step-7x",
                                         "step-007",
                                         "step--1",
                                         "step-+1",
                                         "step- 1",
                                         "step-notes.tmp",
                                         "step-.tmp",
                                         "step-7.tmp.tmp",
                                         "step-7.old",
                                         "step-7.damaged.tmp",
                                         "step-007.tmp",
                                         "Step-7",
                                         "step-9007199254740993",
                                         "step-99999999999999999999",
                                         "seed-7",
                                         "seed-007",
                                         "seed-",
                                         "seed-7.tmp",
                                         "seed-notes",
                                         "best.pruned.tmp",
                                         "best.damaged",
                                         "best2",
                                         "adapters",
                                         "adapter.tmp2"};
    int64_t number;
    gm_stage stage;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (gm_step_name_read(others[i], &number, &stage)) fail_msg("a checkpoint: \"%s\"", others[i]);
        if (gm_published_name_read(others[i], &stage)) fail_msg("a published folder: \"%s\"", others[i]);
        if (gm_seed_name_read(others[i], &number) && strcmp(others[i], "seed-7") != 0) fail_msg("a seed: \"%s\"", others[i]);
    }
}

static void test_published_and_seeds(void **state) {
    (void)state;
    char name[GM_RUN_NAME], path[GM_PATH];
    int64_t seed;
    gm_stage read;
    for (int i = 0; gm_run_published[i]; i++)
        for (gm_stage stage = GM_STAGE_WHOLE; stage <= GM_STAGE_REPLACED; stage++) {
            assert_int_equal(gm_stage_path(path, "d", gm_run_published[i], stage), GM_OK);
            assert_true(gm_published_name_read(path + 2, &read) && read == stage);
        }
    gm_seed_name(name, 42);
    assert_true(strcmp(name, "seed-42") == 0 && gm_seed_name_read(name, &seed) && seed == 42);
    char directory[GM_PATH];
    memset(directory, 'x', sizeof directory);
    directory[GM_PATH - 5] = '\0'; /* room for "/n", not for "/n.tmp" */
    assert_int_equal(gm_stage_path(path, directory, "n", GM_STAGE_WHOLE), GM_OK);
    assert_int_equal(gm_stage_path(path, directory, "n", GM_STAGE_FRESH), GM_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps), cmocka_unit_test(test_others),
                                       cmocka_unit_test(test_published_and_seeds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
