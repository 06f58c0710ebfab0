/* AdamW against PyTorch's update in double over several steps, decay and clipping included; sums of squares. */
#include "op_test.h"

enum { STEPS = 5 };

static void reference(double *p, double *m, double *v, const float *gradient, const gm_adamw_args *a) {
    for (int64_t i = 0; i < a->count; i++) {
        double g = (double)gradient[i] * (double)a->gradient_scale;
        p[i] -= a->learning_rate * a->weight_decay * p[i];
        m[i] = a->beta1 * m[i] + (1 - a->beta1) * g;
        v[i] = a->beta2 * v[i] + (1 - a->beta2) * g * g;
        double m_hat = m[i] / (1 - pow(a->beta1, (double)a->step)), v_hat = v[i] / (1 - pow(a->beta2, (double)a->step));
        p[i] -= a->learning_rate * m_hat / (sqrt(v_hat) + a->eps);
    }
}

static void steps(int64_t n, double decay, double eps, double gradient_size, float clip) {
    double *p = op_values(n, 1), *m = op_values(n, 0), *v = op_values(n, 0), *start = op_doubles(n), *moved = op_doubles(n),
           *want = op_doubles(n);
    gm_adamw_args args = {.parameter = op_typed(GM_F32, p, n),
                          .moment1 = op_typed(GM_F32, m, n),
                          .moment2 = op_typed(GM_F32, v, n),
                          .count = n,
                          .learning_rate = 1e-2,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = eps,
                          .weight_decay = decay,
                          .gradient_scale = clip};
    memcpy(start, p, (size_t)n * sizeof *p);
    for (args.step = 1; args.step <= STEPS; args.step++) {
        double *g = op_values(n, gradient_size);
        args.gradient = op_typed(GM_F32, g, n);
        if (n > 4) ((float *)args.gradient)[2] = 0, ((float *)args.gradient)[3] = 0;
        OP_RUN(backend->kernels->adamw(backend, &args));
        reference(p, m, v, args.gradient, &args);
    }
    op_close("p", args.parameter, GM_F32, p, n, 3e-7);
    op_close("m", args.moment1, GM_F32, m, n, 1e-6);
    op_close("v", args.moment2, GM_F32, v, n, 1e-6);
    for (int64_t i = 0; i < n; i++) moved[i] = (double)args.parameter[i] - start[i], want[i] = p[i] - start[i];
    op_close("p's movement", moved, GM_F64, want, n, 2e-5); /* a wrong correction or eps shows here */
    op_end();
}

static void test_adamw(void **state) {
    (void)state;
    static const int64_t counts[] = {1, 17, 127, 40000};
    for (int c = 0; c < 4; c++) {
        steps(counts[c], 0.01, 1e-8, 1, 1);
        steps(counts[c], 0, 1e-8, 1e-4, 0.37f);
        steps(counts[c], 0.5, 1e-3, 1e-3, 1); /* eps as large as the gradient: inside the root it would differ */
    }
}

static void test_sum_squares(void **state) {
    (void)state;
    static const int64_t counts[] = {0, 1, 17, 16384, 16385, 300001, 4500000};
    for (int c = 0; c < 7; c++) {
        int64_t n = counts[c];
        float *x = op_floats(n + 1); /* one more, NaN, that must not be read */
        double *out = op_host(op_doubles(1), sizeof *out), want = 0;
        for (int64_t i = 0; i < n; i++) x[i] = gm_random_normal(&op_random), want += (double)x[i] * (double)x[i];
        OP_RUN(backend->kernels->sum_squares(backend, out, x, n));
        op_close("sum", out, GM_F64, &want, 1, 1e-12);
        op_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_adamw), cmocka_unit_test(test_sum_squares)};
    return op_main("adamw", tests);
}
