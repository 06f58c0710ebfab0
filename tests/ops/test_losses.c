/* Router losses against the formulas of method.md in double; gradients against central differences of those, with the
 * sorts' order and the signs of abs held at the point where the gradient is taken. */
#include "op_test.h"
#include "ops/ops.h"

/* order[p]: index of the p-th greatest of v, equal values by ascending index. */
static void sort_order(int32_t *order, const double *v, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int64_t p = 0;
        for (int64_t j = 0; j < n; j++) p += v[j] > v[i] || (v[j] == v[i] && j < i);
        order[p] = (int32_t)i;
    }
}

/* Σ q f(log(q / (v + tiny))) with f(x) = slope · x, the slopes being 1 (KL) or the signs of x at some point (abs). */
static double diverge(const double *q, const double *v, const int32_t *order, int64_t n, double tiny, const double *slopes) {
    double sum = 0;
    for (int64_t p = 0; p < n; p++) sum += q[p] * slopes[p] * log(q[p] / (v[order[p]] + tiny));
    return sum;
}

static void find_slopes(double *slopes, const double *q, const double *v, const int32_t *order, int64_t n, double tiny,
                        gm_divergence kind) {
    for (int64_t p = 0; p < n; p++) {
        double x = log(q[p] / (v[order[p]] + tiny));
        slopes[p] = kind == GM_DIVERGENCE_KL || x > 0 ? 1 : x < 0 ? -1 : 0;
    }
}

/* ---- Poisson */

typedef struct poisson {
    double *weight, *rate, *slopes;    /* T×N, 1, T×N */
    int32_t *order;                    /* T×N */
    int64_t tokens, experts, from, to; /* tokens that the sum is over */
} poisson;

static void poisson_target(double *q, double rate, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += q[i] = i < 32 ? exp((double)(i + 1) * log(rate) - rate - lgamma((double)i + 2)) : q[31];
    for (int64_t i = 0; i < n; i++) q[i] /= sum;
}

static double poisson_value(const void *context) {
    const poisson *p = context;
    double q[128], sum = 0;
    poisson_target(q, *p->rate, p->experts);
    for (int64_t t = p->from; t < p->to; t++)
        sum += diverge(q, p->weight + t * p->experts, p->order + t * p->experts, p->experts, 1e-16, p->slopes + t * p->experts);
    return sum;
}

static void random_weights(double *weight, int64_t tokens, int64_t n, bool flat) {
    for (int64_t t = 0; t < tokens; t++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += weight[t * n + i] = flat ? 1 : exp(op_normal());
        for (int64_t i = 0; i < n; i++) weight[t * n + i] /= sum;
    }
}

/* Places from 32 on repeat q_32, about 1e-30: to be seen only one by one. */
static void check_tail(const gm_poisson_args *args, const poisson *p, const double *q) {
    for (int64_t t = 0; t < p->tokens; t++)
        for (int64_t place = 31; place < p->experts; place++) {
            int64_t at = t * p->experts + p->order[t * p->experts + place];
            double want = -(double)args->gradient_scale * q[place] * p->slopes[t * p->experts + place] / p->weight[at];
            assert_true(fabs((double)args->dweight[at] - want) <= 1e-5 * fabs(want));
        }
}

static void poisson_case(int64_t tokens, int64_t n, double rate, gm_divergence kind, bool flat) {
    poisson p = {.weight = op_doubles(tokens * n),
                 .rate = &rate,
                 .slopes = op_doubles(tokens * n),
                 .order = op_integers(tokens * n),
                 .tokens = tokens,
                 .experts = n,
                 .to = tokens};
    random_weights(p.weight, tokens, n, flat);
    float *weight = op_typed(GM_F32, p.weight, tokens * n), *lambda = op_typed(GM_F32, &rate, 1), *drate = op_floats(1);
    double *loss = op_doubles(1), *dweight = op_doubles(tokens * n), q[128], given = rate;
    rate = fmin(fmax(rate, 1), 2);
    poisson_target(q, rate, n);
    for (int64_t t = 0; t < tokens; t++) {
        sort_order(p.order + t * n, p.weight + t * n, n);
        find_slopes(p.slopes + t * n, q, p.weight + t * n, p.order + t * n, n, 1e-16, kind);
    }
    *loss = 3, *drate = 0x1p-6f;
    gm_poisson_args args = {.tokens = tokens,
                            .experts = n,
                            .weight = weight,
                            .rate = lambda,
                            .divergence = kind,
                            .loss = loss,
                            .loss_scale = 0.25,
                            .gradient_scale = 0.125f,
                            .dweight = op_floats(tokens * n),
                            .drate = drate};
    OP_RUN(backend->kernels->poisson(backend, &args));
    double want_loss = 3 + 0.25 * poisson_value(&p),
           want_rate = 0x1p-6 + (given < 1 || given > 2 ? 0 : 0.125 * op_slope(poisson_value, &p, &rate));
    op_close("poisson", loss, GM_F64, &want_loss, 1, 1e-6);
    op_close("drate", drate, GM_F32, &want_rate, 1, 2e-5);
    for (int64_t i = 0; i < tokens * n; i++) {
        p.from = i / n, p.to = p.from + 1;
        dweight[i] = 0.125 * op_slope(poisson_value, &p, &p.weight[i]);
    }
    op_close("dweight", args.dweight, GM_F32, dweight, tokens * n, 1e-6);
    check_tail(&args, &p, q);
    args.accumulate = true; /* to what it has just written */
    for (int64_t i = 0; i < tokens * n; i++) dweight[i] *= 2;
    OP_RUN(backend->kernels->poisson(backend, &args));
    op_close("dweight, added", args.dweight, GM_F32, dweight, tokens * n, 1e-6);
    args.dweight = args.drate = NULL;
    *loss = 3;
    OP_RUN(backend->kernels->poisson(backend, &args));
    op_close("poisson alone", loss, GM_F64, &want_loss, 1, 1e-6);
    op_end();
}

static void test_poisson(void **state) {
    (void)state;
    static const int64_t experts[] = {1, 7, 8, 32, 33, 45};
    static const double rates[] = {1.5, 0.7, 2.4, 1, 2};
    for (int kind = 0; kind < 2; kind++)
        for (int e = 0; e < 6; e++)
            for (int r = 0; r < 5; r++)
                for (int t = 0; t < OP_TOKENS; t++)
                    if (t < 2 || r == 0) poisson_case(op_tokens[t], experts[e], rates[r], (gm_divergence)kind, false);
    poisson_case(700, 8, 1.5, GM_DIVERGENCE_KL, false); /* several chunks */
    poisson_case(17, 8, 1.2, GM_DIVERGENCE_KL, true);   /* all equal: the order is that of the indices */
    poisson_case(17, 8, 1.2, GM_DIVERGENCE_ABS, true);
}

/* ---- Normal */

typedef struct normal {
    double *count, *width, *slopes; /* layers×N, layers, layers×N */
    int32_t *order;                 /* layers×N */
    int64_t layers, experts;
    gm_divergence kind;
    bool joint;
} normal;

static int descending(const void *a, const void *b) {
    return (*(const double *)a < *(const double *)b) - (*(const double *)a > *(const double *)b);
}

/* target: layers×N, sorted by layer */
static void normal_target(double *target, const normal *p) {
    int64_t n = p->experts;
    double all = 0;
    for (int64_t l = 0; l < p->layers; l++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            double d = ((double)i - (double)n / 2) / p->width[l];
            sum += target[l * n + i] = exp(-d * d / 2) / (p->width[l] * sqrt(2 * 3.14159265358979323846));
        }
        for (int64_t i = 0; i < n && !p->joint; i++) target[l * n + i] /= sum;
        qsort(target + l * n, (size_t)n, sizeof *target, descending);
        all += sum;
    }
    for (int64_t i = 0; i < p->layers * n && p->joint; i++) target[i] /= all;
}

static void shares(double *u, const normal *p) {
    for (int64_t l = 0; l < p->layers; l++) {
        double sum = 0;
        for (int64_t i = 0; i < p->experts; i++) sum += p->count[l * p->experts + i];
        for (int64_t i = 0; i < p->experts; i++) u[l * p->experts + i] = sum > 0 ? p->count[l * p->experts + i] / sum : 0;
    }
}

static double normal_value(const void *context) {
    const normal *p = context;
    double target[512], u[512], sum = 0;
    normal_target(target, p);
    shares(u, p);
    for (int64_t i = 0; i < p->layers * p->experts; i += p->experts)
        sum += diverge(target + i, u + i, p->order + i, p->experts, 1e-8, p->slopes + i);
    return sum / (double)p->layers;
}

static void hold(normal *p) {
    double target[512], u[512];
    normal_target(target, p);
    shares(u, p);
    for (int64_t i = 0; i < p->layers * p->experts; i += p->experts) {
        sort_order(p->order + i, u + i, p->experts);
        find_slopes(p->slopes + i, target + i, u + i, p->order + i, p->experts, 1e-8, p->kind);
    }
}

enum { ALL_COUNTED, ONE_LAYER_EMPTY, ALL_EQUAL };

static void normal_case(int64_t layers, int64_t n, gm_divergence kind, bool joint, int how) {
    int64_t all = layers * n;
    normal p = {.count = op_doubles(all),
                .width = op_doubles(layers),
                .slopes = op_doubles(all),
                .order = op_integers(all),
                .layers = layers,
                .experts = n,
                .kind = kind,
                .joint = joint};
    const float *width[8];
    float *dwidth[8];
    for (int64_t i = 0; i < all; i++) p.count[i] = how == ALL_EQUAL ? 5 : how == ONE_LAYER_EMPTY && i < n ? 0 : 100 * exp(op_normal());
    for (int64_t l = 0; l < layers; l++) p.width[l] = (double)n / 2 * (1 + 0.3 * sin((double)l)) + 0.1;
    float *count = op_typed(GM_F32, p.count, all);
    for (int64_t l = 0; l < layers; l++) width[l] = op_typed(GM_F32, &p.width[l], 1), dwidth[l] = op_floats(1), *dwidth[l] = 0x1p-6f;
    hold(&p);
    double *loss = op_doubles(1), *want = op_doubles(all), value = normal_value(&p), half = 0.5 * value;
    *loss = 0;
    gm_normal_args args = {.layers = layers,
                           .experts = n,
                           .count = count,
                           .width = width,
                           .divergence = kind,
                           .joint = joint,
                           .loss = loss,
                           .loss_scale = 0.5,
                           .gradient_scale = 8,
                           .width_scale = 2,
                           .dcount = op_floats(all),
                           .dwidth = dwidth};
    OP_RUN(backend->kernels->normal(backend, &args));
    op_close("normal", loss, GM_F64, &half, 1, 1e-6);
    double slope[8], got[8];
    for (int64_t l = 0; l < layers; l++) slope[l] = 2 * op_slope(normal_value, &p, &p.width[l]), got[l] = (double)*dwidth[l] - 0x1p-6;
    op_close("dwidth", got, GM_F64, slope, layers, 1e-5);
    for (int64_t i = 0; i < all; i++) want[i] = p.count[i] > 0 ? 8 * op_slope(normal_value, &p, &p.count[i]) : 0;
    if (kind == GM_DIVERGENCE_ABS || n > 1) op_close("dcount", args.dcount, GM_F32, want, all, 1e-5);
    args.dcount = NULL;
    OP_RUN(backend->kernels->normal(backend, &args));
    op_close("normal alone", loss, GM_F64, &value, 1, 1e-6);
    op_end();
}

static void test_normal(void **state) {
    (void)state;
    static const int64_t experts[] = {1, 2, 7, 8, 33, 64};
    for (int e = 0; e < 6; e++)
        for (int64_t layers = 1; layers <= 5; layers += 2)
            for (int how = 0; how < 3; how++)
                for (int mode = 0; mode < 4; mode++)
                    if (how != ONE_LAYER_EMPTY || experts[e] > 1) normal_case(layers, experts[e], (gm_divergence)(mode & 1), mode & 2, how);
}

/* Widths at which the density leaves the numbers: no NaN comes back. */
static void test_normal_extreme_widths(void **state) {
    (void)state;
    static const float widths[] = {1e-3f, 0, -4, 1e20f};
    for (int w = 0; w < 4; w++)
        for (int joint = 0; joint < 2; joint++) {
            double given[] = {(double)widths[w], (double)widths[2]};
            const float *width[] = {op_typed(GM_F32, &given[0], 1), op_typed(GM_F32, &given[1], 1)};
            float *count = op_floats(16), *dwidth[] = {op_floats(1), op_floats(1)};
            double *loss = op_doubles(1);
            for (int i = 0; i < 16; i++) count[i] = (float)i;
            *loss = *dwidth[0] = *dwidth[1] = 0;
            gm_normal_args args = {.layers = 2,
                                   .experts = 8,
                                   .count = count,
                                   .width = width,
                                   .joint = joint,
                                   .loss = loss,
                                   .loss_scale = 1,
                                   .gradient_scale = 1,
                                   .width_scale = 1,
                                   .dcount = op_floats(16),
                                   .dwidth = dwidth};
            OP_RUN(backend->kernels->normal(backend, &args));
            assert_true(isfinite(*args.loss) && isfinite(*dwidth[0]) && isfinite(*dwidth[1]));
            for (int i = 0; i < 16; i++) assert_true(isfinite(args.dcount[i]));
            op_end();
        }
}

/* ---- Mixtral's balance */

static void test_balance(void **state) {
    (void)state;
    static const int64_t experts[] = {1, 7, 64};
    for (int t = 0; t < OP_TOKENS; t++)
        for (int e = 0; e < 3; e++) {
            int64_t n = experts[e], tokens = op_tokens[t];
            double *share = op_values(n, 1), *mean = op_values(n, 1), *want = op_values(tokens * n, 1), *loss = op_doubles(1),
                   want_loss = 0;
            gm_balance_args args = {.tokens = tokens,
                                    .experts = n,
                                    .share = op_typed(GM_F32, share, n),
                                    .mean = op_typed(GM_F32, mean, n),
                                    .loss = loss,
                                    .loss_scale = 0.5,
                                    .gradient_scale = 0.3f,
                                    .dweight = op_typed(GM_F32, want, tokens * n),
                                    .accumulate = (t + e) % 2 == 0};
            *loss = -1;
            OP_RUN(backend->kernels->balance(backend, &args));
            for (int64_t i = 0; i < n; i++) want_loss += (double)n * share[i] * mean[i];
            want_loss = -1 + 0.5 * want_loss;
            for (int64_t i = 0; i < tokens * n; i++) want[i] = (args.accumulate ? want[i] : 0) + (double)args.gradient_scale * share[i % n];
            op_close("balance", loss, GM_F64, &want_loss, 1, 1e-12);
            op_close("dweight", args.dweight, GM_F32, want, tokens * n, 2e-7);
            op_end();
        }
}

/* ---- both losses on one router */

enum { BOTH_TOKENS = 16, BOTH_EXPERTS = 8 };

/* The gradient of π from Poisson and balance, in this order or the other. */
static float *both_gradients(float *values, float *share, bool balance_first) {
    size_t bytes = BOTH_TOKENS * BOTH_EXPERTS * sizeof(float);
    float *rate = op_floats(1), *drate = op_floats(1);
    double *loss = op_doubles(1);
    *rate = 1.5f, *drate = 0, *loss = 0;
    gm_step step = {.backend = backend, .type = GM_F32, .training = true};
    gm_arena_place(&step.activations, "activations", op_alloc(bytes), bytes);
    gm_tensor weight = gm_tensor_frozen(values, GM_F32, BOTH_TOKENS, BOTH_EXPERTS), lambda = gm_tensor_frozen(rate, GM_F32, 1, 1);
    lambda.grad = drate;
    gm_routing routing = {.weight = &weight, .experts = BOTH_EXPERTS, .slots = 1};
    gm_loss_scale scale = {1, 0.5f};
    if (balance_first) OP_CALL(gm_balance_loss(&step, &routing, share, share, scale, loss));
    OP_CALL(gm_poisson_loss(&step, &routing, &lambda, GM_DIVERGENCE_KL, scale, loss));
    if (!balance_first) OP_CALL(gm_balance_loss(&step, &routing, share, share, scale, loss));
    return weight.grad;
}

/* Neither loses what the other has written. */
static void test_both_orders(void **state) {
    (void)state;
    double *values = op_doubles(BOTH_TOKENS * BOTH_EXPERTS), *parts = op_values(BOTH_EXPERTS, 1);
    random_weights(values, BOTH_TOKENS, BOTH_EXPERTS, false);
    float *weight = op_typed(GM_F32, values, BOTH_TOKENS * BOTH_EXPERTS), *share = op_typed(GM_F32, parts, BOTH_EXPERTS);
    const float *one = both_gradients(weight, share, false), *other = both_gradients(weight, share, true);
    assert_memory_equal(one, other, BOTH_TOKENS * BOTH_EXPERTS * sizeof *one);
    op_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_poisson), cmocka_unit_test(test_normal),
                                       cmocka_unit_test(test_normal_extreme_widths), cmocka_unit_test(test_balance),
                                       cmocka_unit_test(test_both_orders)};
    return op_main("losses", tests);
}
