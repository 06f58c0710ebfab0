/* Dropout: the share that is dropped, the scale of what is kept, keys that differ, types, and adding. */
#include "op_test.h"

enum { COUNT = 40000 };

static int64_t dropped(const float *values) {
    int64_t zeros = 0;
    for (int64_t i = 0; i < COUNT; i++) zeros += values[i] == 0;
    return zeros;
}

static void test_share_and_scale(void **state) {
    (void)state;
    static const float rates[] = {0.05f, 0.25f, 0.9f};
    for (int r = 0; r < 3; r++) {
        float *in = op_floats(COUNT), *out = op_floats(COUNT);
        for (int64_t i = 0; i < COUNT; i++) in[i] = 1;
        gm_dropout_args args = {
            .out = out, .in = in, .out_type = GM_F32, .in_type = GM_F32, .count = COUNT, .dropout = {rates[r], {7, (uint32_t)r}}};
        OP_RUN(backend->kernels->dropout(backend, &args));
        for (int64_t i = 0; i < COUNT; i++) assert_true(out[i] == 0 || out[i] == 1 / (1 - rates[r]));
        double share = (double)dropped(out) / COUNT, deviation = sqrt((double)rates[r] * (1 - (double)rates[r]) / COUNT);
        assert_true(fabs(share - (double)rates[r]) < 4 * deviation);
        op_end();
    }
}

/* Neighbours, and the same element under the next key, drop independently. */
static void test_independence(void **state) {
    (void)state;
    const double rate = 0.5;
    int64_t neighbours = 0, keys = 0;
    const gm_dropout one = {(float)rate, {1, 2}}, low = {(float)rate, {2, 2}}, high = {(float)rate, {1, 3}};
    for (uint32_t i = 0; i < COUNT; i++) {
        neighbours += (gm_dropout_factor(&one, i) == 0) == (gm_dropout_factor(&one, i + 1) == 0);
        keys += (gm_dropout_factor(&one, i) == 0) == (gm_dropout_factor(i % 2 ? &low : &high, i) == 0);
    }
    assert_true(fabs((double)neighbours / COUNT - 0.5) < 0.01);
    assert_true(fabs((double)keys / COUNT - 0.5) < 0.01);
}

static void test_types_and_adding(void **state) {
    (void)state;
    const int64_t count = 2500;
    for (int bits = 0; bits < 8; bits++) {
        gm_type in_type = bits & 1 ? GM_BF16 : GM_F32, out_type = bits & 2 ? GM_BF16 : GM_F32;
        double *in = op_values(count, 1), *out = op_values(count, 1);
        gm_dropout_args args = {.out = op_typed(out_type, out, count),
                                .in = op_typed(in_type, in, count),
                                .out_type = out_type,
                                .in_type = in_type,
                                .count = count,
                                .accumulate = bits & 4,
                                .dropout = {0.3f, {11, 12}}};
        OP_RUN(backend->kernels->dropout(backend, &args));
        for (int64_t i = 0; i < count; i++)
            out[i] = (args.accumulate ? out[i] : 0) + in[i] * (double)gm_dropout_factor(&args.dropout, (uint32_t)i);
        op_close("dropout", args.out, out_type, out, count, 1e-6);
        op_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_share_and_scale), cmocka_unit_test(test_independence),
                                       cmocka_unit_test(test_types_and_adding)};
    return op_main("dropout", tests);
}
