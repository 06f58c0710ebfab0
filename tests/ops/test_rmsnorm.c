/* RMSNorm against the formula in double; its gradient against central differences of that. */
#include "op_test.h"

typedef struct norm {
    double *x, *w, *dy; /* one row */
    int64_t columns;
    double eps;
} norm;

static double inverse_rms(const norm *n) {
    double sum = 0;
    for (int64_t i = 0; i < n->columns; i++) sum += n->x[i] * n->x[i];
    return 1 / sqrt(sum / (double)n->columns + n->eps);
}

static double product(const void *context) { /* Σ dy y */
    const norm *n = context;
    double inv = inverse_rms(n), sum = 0;
    for (int64_t i = 0; i < n->columns; i++) sum += n->dy[i] * n->x[i] * inv * n->w[i];
    return sum;
}

static void forward_case(int64_t rows, int64_t columns, gm_type x_type, gm_type y_type, gm_type w_type) {
    double *x = op_values(rows * columns, 3), *w = op_values(columns, 1), *y = op_doubles(rows * columns), *inv = op_doubles(rows);
    gm_rmsnorm_args args = {.y = op_alloc((size_t)(rows * columns) * gm_type_size(y_type)),
                            .inv_rms = op_floats(rows),
                            .x = op_typed(x_type, x, rows * columns),
                            .w = op_typed(w_type, w, columns),
                            .x_type = x_type,
                            .y_type = y_type,
                            .w_type = w_type,
                            .rows = rows,
                            .columns = columns,
                            .eps = 1e-5f};
    OP_RUN(backend->kernels->rmsnorm_forward(backend, &args));
    for (int64_t r = 0; r < rows; r++) {
        inv[r] = inverse_rms(&(norm){x + r * columns, w, NULL, columns, (double)args.eps});
        for (int64_t i = 0; i < columns; i++) y[r * columns + i] = x[r * columns + i] * inv[r] * w[i];
    }
    op_close("y", args.y, y_type, y, rows * columns, 2e-6);
    op_close("inv_rms", args.inv_rms, GM_F32, inv, rows, 2e-6);
    op_end();
}

static void backward_case(int64_t rows, int64_t columns, gm_type x_type, gm_type dy_type, bool accumulate) {
    int64_t n = rows * columns;
    double *x = op_values(n, 3), *w = op_values(columns, 1), *dy = op_values(n, 1), *dx = op_values(n, 1);
    void *out = accumulate ? op_typed(x_type, dx, n) : op_alloc((size_t)n * gm_type_size(x_type));
    gm_rmsnorm_args args = {.inv_rms = op_floats(rows),
                            .x = op_typed(x_type, x, n),
                            .w = op_typed(GM_F32, w, columns),
                            .x_type = x_type,
                            .w_type = GM_F32,
                            .rows = rows,
                            .columns = columns,
                            .eps = 1e-5f,
                            .dx = out,
                            .dy = op_typed(dy_type, dy, n),
                            .dy_type = dy_type,
                            .accumulate = accumulate};
    for (int64_t r = 0; r < rows; r++) {
        norm row = {x + r * columns, w, dy + r * columns, columns, (double)args.eps};
        args.inv_rms[r] = (float)inverse_rms(&row);
        for (int64_t i = 0; i < columns; i++)
            dx[r * columns + i] = (accumulate ? dx[r * columns + i] : 0) + op_slope(product, &row, &row.x[i]);
    }
    OP_RUN(backend->kernels->rmsnorm_backward(backend, &args));
    op_close("dx", out, x_type, dx, n, 2e-6);
    op_end();
}

static void test_forward(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 33, 1024, 2500};
    for (int t = 0; t < OP_TOKENS; t++)
        for (int w = 0; w < 4; w++)
            for (int types = 0; types < 8; types += op_tokens[t] * widths[w] > 100000 ? 7 : 1)
                forward_case(op_tokens[t], widths[w], types & 1 ? GM_BF16 : GM_F32, types & 2 ? GM_BF16 : GM_F32,
                             types & 4 ? GM_BF16 : GM_F32);
}

static void test_backward(void **state) {
    (void)state;
    for (int t = 0; t < OP_TOKENS; t++)
        for (int types = 0; types < 8; types++)
            backward_case(op_tokens[t], 67, types & 1 ? GM_BF16 : GM_F32, types & 2 ? GM_BF16 : GM_F32, types & 4);
    backward_case(3, 1500, GM_F32, GM_F32, false); /* more than a block */
    backward_case(3, 1500, GM_BF16, GM_F32, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forward), cmocka_unit_test(test_backward)};
    return op_main("rmsnorm", tests);
}
