/* metrics.jsonl of a resumed run: what is after the checkpoint goes, line by line, however long the file is. */
#include "base/log.h"
#include "train/metrics.h"

#include "test_support.h"

enum { STEPS = 60000, PAD = 200 };

static char directory[GM_PATH], path[GM_PATH];

static int set_up(void **state) {
    (void)state;
    gm_test_directory(directory);
    return gm_path_join(path, directory, "metrics.jsonl") == GM_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return gm_directory_remove(directory) == GM_OK ? 0 : -1;
}

static void reopen_after(int64_t step, int64_t evaluated) {
    gm_metrics metrics;
    gm_adapter_config adapter = {0};
    assert_int_equal(gm_metrics_open(&metrics, path, step, evaluated, &adapter, STEPS), GM_OK);
    gm_metrics_close(&metrics);
}

static void reopen(int64_t step) { reopen_after(step, step); }

static void write_text(const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void check_text(const char *want) {
    gm_buffer text = {0};
    assert_int_equal(gm_file_read(&text, path, 1 << 20, GM_FAIL), GM_OK);
    assert_string_equal(gm_buffer_string(&text), want);
    gm_buffer_free(&text);
}

static void later_events_go(void **state) {
    (void)state;
    write_text("{\"event\":\"step\",\"step\":1}\n{\"event\":\"step\",\"st\n{\"event\":\"eval\",\"step\":1,\"split\":\"test\"}\n"
               "{\"event\":\"step\",\"step\":3}\n{\"event\":\"step\",\"step\":2}\n{\"event\":\"step\",\"ste");
    reopen(2);
    check_text("{\"event\":\"step\",\"step\":1}\n{\"event\":\"step\",\"step\":2}\n");
    reopen(2);
    check_text("{\"event\":\"step\",\"step\":1}\n{\"event\":\"step\",\"step\":2}\n");
    reopen(-1);
    check_text("");
}

/* A checkpoint that was made before its step's evaluation: the resumed run evaluates again. */
static void later_evaluations_go(void **state) {
    (void)state;
    write_text("{\"event\":\"eval\",\"step\":2,\"split\":\"validation\"}\n{\"event\":\"step\",\"step\":4}\n"
               "{\"event\":\"eval\",\"step\":4,\"split\":\"validation\"}\n");
    reopen_after(4, 2);
    check_text("{\"event\":\"eval\",\"step\":2,\"split\":\"validation\"}\n{\"event\":\"step\",\"step\":4}\n");
    reopen_after(4, -1);
    check_text("{\"event\":\"step\",\"step\":4}\n");
}

/* A last line that is whole but for its newline: nothing is written behind it. */
static void a_missing_newline(void **state) {
    (void)state;
    write_text("{\"event\":\"step\",\"step\":1}\n{\"event\":\"step\",\"step\":2}");
    reopen(2);
    check_text("{\"event\":\"step\",\"step\":1}\n{\"event\":\"step\",\"step\":2}\n");
}

/* 16 MB are dropped to 8 without the memory of either. */
static void a_long_file(void **state) {
    (void)state;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int step = 1; step <= STEPS; step++) fprintf(file, "{\"event\":\"step\",\"step\":%d,\"pad\":\"%0*d\"}\n", step, PAD, 0);
    assert_int_equal(fclose(file), 0);
    int64_t before = gm_peak_memory();
    reopen(STEPS / 2);
    int64_t grown = gm_peak_memory() - before;
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
    assert_true(grown < 8 << 20);
#endif
    (void)grown;
    file = fopen(path, "rb");
    assert_non_null(file);
    char line[PAD + 100];
    int lines = 0, step = 0;
    while (fgets(line, sizeof line, file)) {
        lines++;
        assert_int_equal(sscanf(line, "{\"event\":\"step\",\"step\":%d", &step), 1);
        assert_int_equal(step, lines);
    }
    fclose(file);
    assert_int_equal(lines, STEPS / 2);
}

/* A line that is none (a hole that a crash left) ends what is kept, and does not end the run. */
static void a_hole(void **state) {
    (void)state;
    gm_log_set_level(GM_LOG_ERROR);
    write_text("{\"event\":\"step\",\"step\":1}\n");
    assert_int_equal(truncate(path, (off_t)100 << 20), 0);
    reopen(5);
    check_text("{\"event\":\"step\",\"step\":1}\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(later_events_go, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(later_evaluations_go, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(a_missing_newline, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(a_long_file, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(a_hole, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
