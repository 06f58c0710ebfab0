/* What is written reads back bit-equal, in order; a write that fails leaves nothing behind; real files open. */
#include "test_support.h"

#include "base/file.h"
#include "base/random.h"
#include "io/safetensors.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { COUNT = GM_TYPE_COUNT + 3 };

/* One tensor of each type with random bits, of awkward sizes, then a number, an empty one and one of rank 8. */
static void make_tensors(gm_write_tensor tensors[COUNT], unsigned char *data, uint64_t seed) {
    static char names[COUNT][32];
    gm_random random = gm_random_begin(seed, GM_RANDOM_TEST, 0);
    for (int i = 0; i < COUNT; i++) {
        gm_write_tensor *t = &tensors[i];
        snprintf(names[i], sizeof names[i], "t\"%d\\é\n", i);
        *t = (gm_write_tensor){.name = names[i], .type = (gm_type)(i % GM_TYPE_COUNT), .rank = 2, .dim = {3, 5}, .data = data};
        if (i == GM_TYPE_COUNT) t->rank = 0;
        if (i == GM_TYPE_COUNT + 1) t->dim[1] = 0, t->data = NULL;
        if (i == GM_TYPE_COUNT + 2) memcpy(t->dim, (int64_t[]){1, 2, 1, 1, 3, 1, 1, 1}, sizeof t->dim), t->rank = 8;
        size_t bytes = gm_type_size(t->type);
        for (int k = 0; k < t->rank; k++) bytes *= (size_t)t->dim[k];
        for (size_t k = 0; k < bytes; k++) *data++ = (unsigned char)gm_random_u32(&random);
    }
}

static void test_round_trip(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    unsigned char data[2000], *at = data;
    gm_write_tensor tensors[COUNT];
    gm_metadata_entry metadata[] = {{"format", "pt"}, {"a \"b\"\n", "\\ é 😀"}, {"", ""}};
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "x.safetensors"), GM_OK);
    make_tensors(tensors, data, 1);
    assert_int_equal(gm_safetensors_write(path, tensors, COUNT, metadata, 3), GM_OK);
    gm_safetensors *file;
    if (gm_safetensors_open(&file, path) != GM_OK) fail_msg("%s", gm_error_text());
    assert_int_equal(gm_safetensors_count(file), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const gm_file_tensor *t = gm_safetensors_find(file, tensors[i].name);
        assert_non_null(t);
        if (t->byte_count) assert_ptr_equal(gm_safetensors_at(file, i), t); /* the order given; an empty one shares its place */
        assert_true(t->type == tensors[i].type && t->rank == tensors[i].rank);
        for (int k = 0; k < t->rank; k++) assert_int_equal(t->dim[k], tensors[i].dim[k]);
        if (t->byte_count) assert_memory_equal(t->bytes, at, t->byte_count);
        gm_safetensors_release_pages(file, t);
        if (t->byte_count) assert_memory_equal(t->bytes, at, t->byte_count);
        at += t->byte_count;
        assert_string_equal(gm_safetensors_path(file, t), path);
    }
    for (size_t i = 0; i < 3; i++) assert_string_equal(gm_safetensors_metadata(file, metadata[i].key), metadata[i].value);
    assert_null(gm_safetensors_metadata(file, "none"));
    assert_null(gm_safetensors_find(file, "none"));
    assert_int_equal((uintptr_t)gm_safetensors_at(file, 0)->bytes % 8, 0); /* the header's padding */
    gm_safetensors_close(file);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_nothing_to_write(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    gm_safetensors *file;
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "x.safetensors"), GM_OK);
    assert_int_equal(gm_safetensors_write(path, NULL, 0, NULL, 0), GM_OK);
    assert_int_equal(gm_safetensors_open(&file, path), GM_OK);
    assert_int_equal(gm_safetensors_count(file), 0);
    gm_safetensors_close(file);
    gm_metadata_entry only = {"step", "7"};
    assert_int_equal(gm_safetensors_write(path, NULL, 0, &only, 1), GM_OK);
    assert_int_equal(gm_safetensors_open(&file, path), GM_OK);
    assert_string_equal(gm_safetensors_metadata(file, "step"), "7");
    gm_safetensors_close(file);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_write_faults(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    unsigned char data[2000];
    gm_write_tensor tensors[COUNT];
    gm_test_directory(directory);
    make_tensors(tensors, data, 2);
    assert_int_equal(gm_path_join(path, directory, "none/x.safetensors"), GM_OK);
    assert_int_equal(gm_safetensors_write(path, tensors, COUNT, NULL, 0), GM_FAIL);
    assert_non_null(strstr(gm_error_text(), path));
    assert_int_equal(gm_path_join(path, directory, "x.safetensors"), GM_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, low;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    static const rlim_t limits[] = {0, 100, 1800}; /* nothing, part of the header, part of the data */
    for (size_t i = 0; i < 3; i++) {
        low = (struct rlimit){limits[i], before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        gm_status status = gm_safetensors_write(path, tensors, COUNT, NULL, 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, GM_FAIL);
        assert_non_null(strstr(gm_error_text(), "File too large"));
        assert_false(gm_file_exists(path));
    }
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(symlink("/dev/full", path), 0); /* a device is not removed (a link, lest a failure removes the real one) */
    assert_int_equal(gm_safetensors_write(path, tensors, COUNT, NULL, 0), GM_FAIL);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* nor does a FIFO hang */
    assert_int_equal(gm_safetensors_write(path, tensors, COUNT, NULL, 0), GM_FAIL);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_real_files(void **state) {
    (void)state;
    static const struct {
        const char *name, *tensor;
        size_t count;
    } files[] = {
        {"data/models/stories260K/model.safetensors", "model.norm.weight", 47},
        {"golden/llama-gmoe/base/model.safetensors", "lm_head.weight", 30},
        {"golden/llama-gmoe/init/adapter_model.safetensors", "mixlora.layers.2.gate.edges", 141},
    };
    bool any = false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[4096];
        gm_safetensors *file;
        if (!gm_test_shared(path, files[i].name)) continue;
        any = true;
        if (gm_safetensors_open(&file, path) != GM_OK) fail_msg("%s", gm_error_text());
        assert_int_equal(gm_safetensors_count(file), files[i].count);
        assert_non_null(gm_safetensors_find(file, files[i].tensor));
        gm_safetensors_close(file);
    }
    if (!any) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_nothing_to_write),
        cmocka_unit_test(test_write_faults),
        cmocka_unit_test(test_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
