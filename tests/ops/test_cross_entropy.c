/* Cross-entropy and scoring against sums in double; gradients against central differences, and in bf16, in place or
 * not, against the f32 ones rounded: bit by bit. */
#include "op_test.h"

typedef struct row {
    double *logits;
    int64_t vocabulary, target;
} row;

static double log_sum(const double *x, int64_t n) {
    double max = x[0], sum = 0;
    for (int64_t i = 1; i < n; i++) max = fmax(max, x[i]);
    for (int64_t i = 0; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum);
}

static double row_loss(const void *context) {
    const row *r = context;
    return log_sum(r->logits, r->vocabulary) - r->logits[r->target];
}

static void check_gradient(const gm_cross_entropy_args *args, double *logits) {
    int64_t n = args->vocabulary;
    double *want = op_doubles(args->rows * n);
    for (int64_t r = 0; r < args->rows; r++) {
        row one = {logits + r * n, n, args->target[r]};
        double sum = log_sum(one.logits, n);
        for (int64_t i = 0; i < n; i++)
            want[r * n + i] = (double)args->gradient_scale *
                              (n < 50 ? op_slope(row_loss, &one, &one.logits[i]) : exp(one.logits[i] - sum) - (i == one.target));
    }
    op_close("dlogits", args->dlogits, GM_F32, want, args->rows * n, 1e-6);
}

/* Gradients destroy the logits. */
static void refill(float *logits, const double *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) logits[i] = (float)x[i];
}

static void one_case(int64_t rows, int64_t vocabulary, double spread) {
    int64_t count = rows * vocabulary;
    double *x = op_values(count, spread), *loss = op_doubles(1), want = 7;
    int32_t *target = op_integers(rows);
    float *logits = op_typed(GM_F32, x, count), *place = op_floats(count), *gradient = op_floats(count);
    uint16_t *half = op_alloc((size_t)count * sizeof *half), *want_half = op_alloc((size_t)count * sizeof *half);
    for (int64_t r = 0; r < rows; r++) {
        target[r] = r == 0 ? (int32_t)vocabulary - 1 : (int32_t)gm_random_below(&op_random, (uint32_t)vocabulary);
        want += 0.5 * row_loss(&(row){x + r * vocabulary, vocabulary, target[r]});
    }
    gm_cross_entropy_args args = {.logits = logits,
                                  .target = target,
                                  .rows = rows,
                                  .vocabulary = vocabulary,
                                  .loss = loss,
                                  .loss_scale = 0.5,
                                  .gradient_scale = 0.3f,
                                  .dlogits = gradient,
                                  .gradient_type = GM_F32};
    *loss = 7;
    OP_RUN(backend->kernels->cross_entropy(backend, &args));
    op_close("loss", loss, GM_F64, &want, 1, 1e-7);
    check_gradient(&args, x);
    gm_convert(want_half, GM_BF16, gradient, GM_F32, (size_t)count);

    refill(logits, x, count);
    args.dlogits = NULL;
    *loss = 7;
    OP_RUN(backend->kernels->cross_entropy(backend, &args));
    op_close("loss alone", loss, GM_F64, &want, 1, 1e-7);
    args.dlogits = half, args.gradient_type = GM_BF16;
    OP_RUN(backend->kernels->cross_entropy(backend, &args));
    assert_memory_equal(half, want_half, (size_t)count * sizeof *half);
    refill(place, x, count);
    args.dlogits = args.logits = place, args.gradient_type = GM_F32;
    *loss = 7;
    OP_RUN(backend->kernels->cross_entropy(backend, &args));
    op_close("loss in place", loss, GM_F64, &want, 1, 1e-7);
    assert_memory_equal(place, gradient, (size_t)count * sizeof *place);
    op_end();
}

static void test_cross_entropy(void **state) {
    (void)state;
    static const int64_t vocabularies[] = {1, 37, 1024, 2500};
    for (int t = 0; t < OP_TOKENS; t++)
        for (int v = 0; v < 4; v++) one_case(op_tokens[t], vocabularies[v], 3);
    one_case(2, 5003, 3);
    one_case(5, 151937, 1);
    one_case(3, 152064, 1);
    one_case(7, 301, 60); /* most probabilities vanish */
}

static void test_score(void **state) {
    (void)state;
    for (int t = 0; t < OP_TOKENS; t++) {
        int64_t rows = op_tokens[t], vocabulary = 1501, count = 2 * rows + 1;
        double *x = op_values(rows * vocabulary, 4), *sums = op_doubles(rows), *picked = op_doubles(count);
        int32_t *at = op_integers(count), *token = op_integers(count);
        gm_score_args args = {.logits = op_typed(GM_F32, x, rows * vocabulary),
                              .rows = rows,
                              .vocabulary = vocabulary,
                              .first_row = 5,
                              .count = count,
                              .row = at,
                              .token = token,
                              .logit = op_floats(count),
                              .log_sum = op_floats(rows)};
        for (int64_t i = 0; i < count; i++) {
            at[i] = (int32_t)gm_random_below(&op_random, (uint32_t)rows),
            token[i] = (int32_t)gm_random_below(&op_random, (uint32_t)vocabulary);
            picked[i] = x[at[i] * vocabulary + token[i]];
            at[i] += 5;
        }
        for (int64_t r = 0; r < rows; r++) sums[r] = log_sum(x + r * vocabulary, vocabulary);
        OP_RUN(backend->kernels->score(backend, &args));
        op_close("logit", args.logit, GM_F32, picked, count, 0);
        op_close("log_sum", args.log_sum, GM_F32, sums, rows, 2e-7);
        op_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cross_entropy), cmocka_unit_test(test_score)};
    return op_main("cross_entropy", tests);
}
