/* Packing without padding, and the order of samples. */
#include "test_support.h"

#include "data/order.h"
#include "data/packing.h"

static gm_sample sample_of(int32_t *ids, int32_t length, int32_t prompt_length) {
    return (gm_sample){.ids = ids, .length = length, .prompt_length = prompt_length};
}

static void expect_ints(const int32_t *found, const int32_t *expected, int32_t count) {
    assert_memory_equal(found, expected, (size_t)count * sizeof *found);
}

static void test_pack(void **state) {
    (void)state;
    int32_t a[] = {10, 11, 12, 13}, b[] = {20, 21}, c[] = {30, 31, 32};
    gm_sample first = sample_of(a, 4, 2), second = sample_of(b, 2, 1), third = sample_of(c, 3, 0);
    gm_pack pack = {0};
    assert_int_equal(gm_pack_add(&pack, &first, false), GM_OK);
    assert_int_equal(gm_pack_add(&pack, &second, false), GM_OK);
    assert_int_equal(gm_pack_add(&pack, &third, false), GM_OK);
    assert_true(pack.tokens == 9 && pack.sequences == 3 && pack.loss_rows == 5);
    expect_ints(pack.ids, (int32_t[]){10, 11, 12, 13, 20, 21, 30, 31, 32}, 9);
    expect_ints(pack.positions, (int32_t[]){0, 1, 2, 3, 0, 1, 0, 1, 2}, 9);
    expect_ints(pack.starts, (int32_t[]){0, 4, 6, 9}, 4);
    expect_ints(pack.loss_row, (int32_t[]){1, 2, 4, 6, 7}, 5); /* nothing predicts 30: it begins its sequence */
    expect_ints(pack.loss_target, (int32_t[]){12, 13, 21, 31, 32}, 5);

    gm_pack_clear(&pack);
    assert_int_equal(gm_pack_add(&pack, &second, true), GM_OK);
    assert_int_equal(gm_pack_add(&pack, &first, true), GM_OK);
    assert_true(pack.tokens == 6 && pack.sequences == 2 && pack.loss_rows == 4);
    expect_ints(pack.loss_row, (int32_t[]){0, 2, 3, 4}, 4);
    expect_ints(pack.loss_target, (int32_t[]){21, 11, 12, 13}, 4);
    expect_ints(pack.starts, (int32_t[]){0, 2, 6}, 3);
    gm_pack_free(&pack);
}

static void test_fits_and_reserve(void **state) {
    (void)state;
    int32_t ids[100] = {0};
    gm_sample long_one = sample_of(ids, 100, 1), short_one = sample_of(ids, 10, 1);
    gm_pack pack = {0};
    assert_int_equal(gm_pack_reserve(&pack, 128, 16), GM_OK);
    const int32_t *before = pack.ids;
    assert_true(gm_pack_fits(&pack, &long_one, 50)); /* alone it must go through */
    assert_int_equal(gm_pack_add(&pack, &long_one, false), GM_OK);
    assert_false(gm_pack_fits(&pack, &short_one, 109));
    assert_true(gm_pack_fits(&pack, &short_one, 110));
    gm_pack_clear(&pack);
    for (int i = 0; i < 12; i++) assert_int_equal(gm_pack_add(&pack, &short_one, false), GM_OK);
    assert_ptr_equal(pack.ids, before);
    for (int i = 0; i < 300; i++) assert_int_equal(gm_pack_add(&pack, &short_one, true), GM_OK);
    assert_true(pack.tokens == 3120 && pack.sequences == 312 && pack.starts[312] == 3120 && pack.starts[0] == 0);
    gm_pack_free(&pack);
}

/* Every epoch is a permutation, cut into batches; seeds and epochs differ; a batch is found without those before it. */
static void test_shuffled_order(void **state) {
    (void)state;
    enum { COUNT = 50, BATCH = 8, BATCHES = 7 };
    gm_order order, again;
    assert_int_equal(gm_order_init(&order, COUNT, BATCH, 42, GM_SHUFFLE_EACH), GM_OK);
    assert_int_equal(gm_order_init(&again, COUNT, BATCH, 42, GM_SHUFFLE_EACH), GM_OK);
    assert_int_equal(gm_order_batches(&order), BATCHES);
    uint32_t epochs[3][COUNT], count;
    for (int64_t step = 0; step < 3 * BATCHES; step++) {
        const uint32_t *indices = gm_order_batch(&order, step, &count);
        assert_int_equal(count, step % BATCHES == BATCHES - 1 ? COUNT % BATCH : BATCH);
        memcpy(epochs[step / BATCHES] + (step % BATCHES) * BATCH, indices, count * sizeof *indices);
    }
    for (int e = 0; e < 3; e++) {
        bool seen[COUNT] = {false};
        for (int i = 0; i < COUNT; i++) {
            assert_true(epochs[e][i] < COUNT && !seen[epochs[e][i]]);
            seen[epochs[e][i]] = true;
        }
    }
    assert_memory_not_equal(epochs[0], epochs[1], sizeof epochs[0]);
    assert_memory_equal(gm_order_batch(&again, 2 * BATCHES + 3, &count), epochs[2] + 3 * BATCH, BATCH * sizeof(uint32_t));
    assert_memory_equal(gm_order_batch(&again, 0, &count), epochs[0], BATCH * sizeof(uint32_t)); /* and back */
    gm_order_free(&again);
    assert_int_equal(gm_order_init(&again, COUNT, BATCH, 43, GM_SHUFFLE_EACH), GM_OK);
    assert_memory_not_equal(gm_order_batch(&again, 0, &count), epochs[0], BATCH * sizeof(uint32_t));
    gm_order_free(&order);
    gm_order_free(&again);
}

static void test_one_order_for_all_epochs(void **state) {
    (void)state;
    gm_order each, once;
    uint32_t count;
    assert_int_equal(gm_order_init(&each, 20, 6, 42, GM_SHUFFLE_EACH), GM_OK);
    assert_int_equal(gm_order_init(&once, 20, 6, 42, GM_SHUFFLE_ONCE), GM_OK);
    for (int64_t step = 9; step >= 0; step--) { /* four batches an epoch; in any order, as a resumed run comes to them */
        const uint32_t *want = gm_order_batch(&each, step % 4, &count), *have = gm_order_batch(&once, step, &count);
        assert_memory_equal(have, want, count * sizeof *have);
    }
    gm_order_free(&each);
    gm_order_free(&once);
}

static void test_file_order(void **state) {
    (void)state;
    gm_order order;
    uint32_t count;
    assert_int_equal(gm_order_init(&order, 5, 2, 1, GM_SHUFFLE_NEVER), GM_OK);
    static const uint32_t first[] = {0, 2, 4, 0, 2, 4, 0};
    for (int64_t step = 0; step < 7; step++) {
        const uint32_t *indices = gm_order_batch(&order, step, &count);
        assert_int_equal(count, step % 3 == 2 ? 1 : 2);
        for (uint32_t i = 0; i < count; i++) assert_int_equal(indices[i], first[step] + i);
    }
    gm_order_free(&order);
    assert_int_equal(gm_order_init(&order, 3, 16, 1, GM_SHUFFLE_EACH), GM_OK); /* a batch larger than the set */
    assert_int_equal(gm_order_batches(&order), 1);
    gm_order_batch(&order, 9, &count);
    assert_int_equal(count, 3);
    gm_order_free(&order);
}

/* Shares, passes that go on over the epochs, and no sample twice more often than another of its part. */
static void test_mixture(void **state) {
    (void)state;
    static const uint32_t counts[] = {30, 7, 13};
    static const double weights[] = {1, 2, 2.5}; /* of 50: 9.09, 18.18, 22.73 */
    static const uint32_t shares[] = {9, 18, 23};
    for (gm_shuffle shuffle = GM_SHUFFLE_NEVER; shuffle <= GM_SHUFFLE_EACH; shuffle++) {
        gm_order order, again;
        uint32_t count, seen[50] = {0}, firsts[2][8];
        assert_int_equal(gm_order_init(&order, 50, 8, 3, shuffle), GM_OK);
        assert_int_equal(gm_order_mix(&order, counts, weights, 3), GM_OK);
        assert_int_equal(gm_order_init(&again, 50, 8, 3, shuffle), GM_OK);
        assert_int_equal(gm_order_mix(&again, counts, weights, 3), GM_OK);
        for (int64_t epoch = 0; epoch < 12; epoch++) {
            uint32_t drawn[3] = {0};
            for (int64_t step = 7 * epoch; step < 7 * epoch + 7; step++) {
                const uint32_t *indices = gm_order_batch(&order, step, &count);
                assert_int_equal(count, step % 7 == 6 ? 2 : 8);
                if (step % 7 == 0 && epoch < 2) memcpy(firsts[epoch], indices, sizeof firsts[0]);
                for (uint32_t i = 0; i < count; i++) {
                    assert_true(indices[i] < 50);
                    seen[indices[i]]++;
                    drawn[indices[i] < 30 ? 0 : indices[i] < 37 ? 1 : 2]++;
                }
            }
            assert_memory_equal(drawn, shares, sizeof shares);
            for (uint32_t i = 0; i < 50; i++) {
                uint32_t part = i < 30 ? 0 : i < 37 ? 1 : 2, passes = (uint32_t)(epoch + 1) * shares[part] / counts[part];
                assert_true(seen[i] == passes || seen[i] == passes + 1);
            }
        }
        assert_memory_equal(gm_order_batch(&again, 7, &count), firsts[1], sizeof firsts[0]); /* found without the epoch before */
        assert_true(memcmp(firsts[0], firsts[1], sizeof firsts[0]) != 0);
        gm_order_free(&order);
        gm_order_free(&again);
    }
    gm_order small;
    assert_int_equal(gm_order_init(&small, 50, 8, 3, GM_SHUFFLE_EACH), GM_OK);
    assert_int_equal(gm_order_mix(&small, counts, (const double[]){1e9, 1, 1}, 3), GM_USAGE);
    gm_order_free(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixture),
        cmocka_unit_test(test_pack),
        cmocka_unit_test(test_fits_and_reserve),
        cmocka_unit_test(test_shuffled_order),
        cmocka_unit_test(test_one_order_for_all_epochs),
        cmocka_unit_test(test_file_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
