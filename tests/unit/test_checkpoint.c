/* Checkpoint directories: every byte flipped, files cut, missing, swapped; fallback, pruning, failed saves. */
#include "base/log.h"
#include "train/checkpoint.h"
#include "train/manifest.h"

#include "test_support.h"

#include <dirent.h>
#include <sys/stat.h>

typedef struct contents {
    const char *text;
    bool fail; /* after the first file */
} contents;

static gm_status write_contents(void *context, const char *directory) {
    const contents *c = context;
    char path[GM_PATH];
    GM_TRY(gm_path_join(path, directory, "tensors.bin"));
    GM_TRY(gm_file_write(path, c->text, strlen(c->text)));
    if (c->fail) return gm_error(GM_FAIL, "no space left");
    GM_TRY(gm_path_join(path, directory, "state.json"));
    GM_TRY(gm_file_write(path, "{\"step\": 1}\n", 12));
    GM_TRY(gm_path_join(path, directory, "empty"));
    return gm_file_write(path, "", 0);
}

static char folder[4096];

static int set_up(void **state) {
    (void)state;
    gm_log_set_level(GM_LOG_ERROR); /* fallbacks warn, as they should */
    gm_test_directory(folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return gm_directory_remove(folder) == GM_OK ? 0 : -1;
}

static void save(int64_t step) {
    assert_int_equal(gm_checkpoint_save(folder, step, write_contents, &(contents){.text = "0123456789abcdef"}), GM_OK);
}

static void check_newest(gm_status want, int64_t want_step) {
    char path[GM_PATH], wanted[GM_PATH + 64];
    int64_t step = -1;
    gm_status status = gm_checkpoint_newest(folder, path, &step);
    assert_int_equal(status, want);
    if (want != GM_OK) return;
    snprintf(wanted, sizeof wanted, "%s/step-%lld", folder, (long long)want_step);
    assert_string_equal(path, want_step < 0 ? "" : wanted);
}

static void path_of(char path[GM_PATH], int64_t step, const char *name) {
    snprintf(path, GM_PATH, "%.3000s/step-%lld/%s", folder, (long long)step, name);
}

static void rewrite(const char *path, const void *bytes, size_t length) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void newest_of_several(void **state) {
    (void)state;
    check_newest(GM_OK, -1);
    save(5);
    save(10);
    save(9);
    check_newest(GM_OK, 10); /* by number, not by name or time */
    save(10);                /* again: replaced */
    check_newest(GM_OK, 10);
}

/* One bit of every byte of every file, the manifest included; the older checkpoint is then taken. */
static void every_byte_counts(void **state) {
    (void)state;
    static const char *const names[] = {"tensors.bin", "state.json", "MANIFEST"};
    save(1);
    save(2);
    for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
        char path[GM_PATH];
        gm_buffer text = {0};
        path_of(path, 2, names[f]);
        assert_int_equal(gm_file_read(&text, path, 1 << 20, GM_FAIL), GM_OK);
        for (size_t i = 0; i < text.length; i++) {
            text.bytes[i] = (char)(text.bytes[i] ^ (1 << (i % 8)));
            rewrite(path, text.bytes, text.length);
            check_newest(GM_OK, 1);
            text.bytes[i] = (char)(text.bytes[i] ^ (1 << (i % 8)));
        }
        rewrite(path, text.bytes, text.length);
        check_newest(GM_OK, 2);
        for (size_t length = 0; length < text.length; length++) { /* cut anywhere */
            rewrite(path, text.bytes, length);
            check_newest(GM_OK, 1);
        }
        rewrite(path, text.bytes, text.length);
        gm_buffer_char(&text, 'x'); /* longer */
        rewrite(path, text.bytes, text.length);
        check_newest(GM_OK, 1);
        rewrite(path, text.bytes, text.length - 1);
        assert_int_equal(unlink(path), 0);
        check_newest(GM_OK, 1);
        rewrite(path, text.bytes, text.length - 1);
        check_newest(GM_OK, 2);
        gm_buffer_free(&text);
    }
}

static void manifest_of_another_step(void **state) {
    (void)state;
    char from[GM_PATH], to[GM_PATH];
    save(1);
    save(2);
    save(3);
    path_of(from, 2, "MANIFEST"); /* the same files, another step */
    path_of(to, 3, "MANIFEST");
    assert_int_equal(rename(from, to), 0);
    check_newest(GM_OK, 1);
    assert_int_equal(gm_manifest_verify(folder, 3), GM_BAD_FILE);
}

static void all_damaged_is_an_error(void **state) {
    (void)state;
    char path[GM_PATH];
    save(1);
    save(2);
    for (int step = 1; step <= 2; step++) {
        path_of(path, step, "tensors.bin");
        rewrite(path, "other", 5);
    }
    check_newest(GM_BAD_FILE, -1);
    assert_non_null(strstr(gm_error_text(), "every checkpoint is damaged"));
}

static int count_entries(void) {
    int count = 0;
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count - 2;
}

static void pruning(void **state) {
    (void)state;
    for (int step = 1; step <= 5; step++) save(step * 10);
    assert_int_equal(gm_checkpoint_prune(folder, 2), GM_OK);
    assert_int_equal(count_entries(), 2);
    check_newest(GM_OK, 50);
    assert_int_equal(gm_checkpoint_prune(folder, 2), GM_OK);
    assert_int_equal(count_entries(), 2);
}

static void failed_saves_leave_nothing(void **state) {
    (void)state;
    save(1);
    assert_int_equal(gm_checkpoint_save(folder, 2, write_contents, &(contents){.text = "x", .fail = true}), GM_FAIL);
    assert_string_equal(gm_error_text(), "no space left");
    assert_int_equal(count_entries(), 1);
    assert_int_equal(gm_checkpoint_save(folder, 1, write_contents, &(contents){.text = "x", .fail = true}), GM_FAIL);
    check_newest(GM_OK, 1); /* the old one of this step is still there */
}

static void damaged_ones_are_set_aside(void **state) {
    (void)state;
    char path[GM_PATH];
    for (int step = 1; step <= 4; step++) save(step);
    for (int step = 3; step <= 4; step++) {
        path_of(path, step, "tensors.bin");
        rewrite(path, "other", 5);
    }
    check_newest(GM_OK, 2);
    assert_int_equal(gm_checkpoint_set_aside(folder, 2), GM_OK);
    assert_int_equal(gm_checkpoint_prune(folder, 2), GM_OK); /* they do not count: both good ones stay */
    check_newest(GM_OK, 2);
    assert_int_equal(count_entries(), 4);
    save(3);
    check_newest(GM_OK, 3);
}

static void leftovers_are_cleaned(void **state) {
    (void)state;
    char path[GM_PATH];
    save(1);
    path_of(path, 2, "");
    snprintf(path, sizeof path, "%.3000s/step-2.tmp", folder);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%.3000s/step-2.tmp/tensors.bin", folder);
    rewrite(path, "half", 4);
    check_newest(GM_OK, 1);
    assert_int_equal(gm_checkpoint_clean(folder), GM_OK);
    assert_int_equal(count_entries(), 1);
}

static void publishing(void **state) {
    (void)state;
    char path[GM_PATH];
    gm_buffer text = {0};
    for (int i = 0; i < 3; i++) {
        char written[16];
        snprintf(written, sizeof written, "version %d", i);
        assert_int_equal(gm_directory_publish(folder, "best", write_contents, &(contents){.text = written}), GM_OK);
        snprintf(path, sizeof path, "%.3000s/best/tensors.bin", folder);
        assert_int_equal(gm_file_read(&text, path, 100, GM_FAIL), GM_OK);
        assert_string_equal(text.bytes, written);
        assert_int_equal(count_entries(), 1);
    }
    assert_int_equal(gm_directory_publish(folder, "best", write_contents, &(contents){.text = "new", .fail = true}), GM_FAIL);
    assert_int_equal(gm_file_read(&text, path, 100, GM_FAIL), GM_OK);
    assert_string_equal(text.bytes, "version 2");
    gm_buffer_free(&text);
}

/* Died between moving the old one aside and putting the new one in its place. */
static void moved_aside_is_put_back(void **state) {
    (void)state;
    char path[GM_PATH], aside[GM_PATH];
    save(1);
    assert_int_equal(gm_directory_publish(folder, "best", write_contents, &(contents){.text = "version 1"}), GM_OK);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%.3000s/%s", folder, i ? "best" : "step-1");
        snprintf(aside, sizeof aside, "%.3000s/%s.old.tmp", folder, i ? "best" : "step-1");
        assert_int_equal(rename(path, aside), 0);
    }
    assert_int_equal(gm_checkpoint_clean(folder), GM_OK);
    check_newest(GM_OK, 1);
    assert_int_equal(gm_directory_recover(folder, "best"), GM_OK);
    assert_true(gm_directory_exists(path));
    assert_int_equal(gm_directory_recover(folder, "best"), GM_OK);
    assert_int_equal(count_entries(), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(newest_of_several, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(every_byte_counts, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(manifest_of_another_step, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(all_damaged_is_an_error, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(pruning, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(failed_saves_leave_nothing, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(leftovers_are_cleaned, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(publishing, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(damaged_ones_are_set_aside, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(moved_aside_is_put_back, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
