/* The graph router's layers against method.md's formulas in double, without the table and the shortcuts of the kernel; its
 * gradients against central differences of those. Token counts around the kernel's block of 64. */
#include "op_test.h"

enum { MOST_NODES = 16, MOST_SIZE = 140, GRADIENT_SIZE = 9 /* largest G of the backward cases */ };

typedef struct router_case {
    int64_t experts, size, layers;
} router_case;

static const router_case cases[] = {{3, 7, 1}, {5, 33, 2}, {8, 16, 3}, {1, 4, 2}, {12, 20, 2}, {13, 9, 4}, {2, 140, 2}, {14, 132, 1}};
enum { CASES = sizeof cases / sizeof *cases };
static const int64_t token_counts[] = {1, 63, 64, 65, 200};
enum { TOKEN_COUNTS = 5 };

typedef struct router_values {
    const gm_router_graph_args *args;
    double *features, *token, *conv[GM_ROUTER_LAYERS], *readout, *dscore, *adjacency;
    int64_t first, last; /* tokens that the sum goes over */
} router_values;

static double silu(double x) { return x / (1 + exp(-x)); }

static void scores_of(const router_values *v, int64_t t, double *score) {
    int64_t n = v->args->experts, g = v->args->size;
    double y[MOST_NODES][MOST_SIZE], m[MOST_SIZE], next[MOST_NODES][MOST_SIZE];
    for (int64_t c = 0; c < g; c++) {
        for (int64_t i = 0; i < n; i++) y[i][c] = v->features[i * g + c];
        y[n][c] = silu(v->token[t * g + c]);
    }
    for (int64_t l = 0; l < v->args->layers; l++) {
        for (int64_t j = 0; j <= n; j++) {
            memset(m, 0, sizeof m);
            for (int64_t i = 0; i <= n; i++)
                for (int64_t c = 0; c < g; c++) m[c] += v->adjacency[j * (n + 1) + i] * y[i][c];
            for (int64_t c = 0; c < g; c++) {
                double z = 0;
                for (int64_t d = 0; d < g; d++) z += v->conv[l][c * g + d] * m[d];
                next[j][c] = silu(z);
            }
        }
        memcpy(y, next, sizeof y);
    }
    for (int64_t i = 0; i < n; i++) {
        score[i] = 0;
        for (int64_t c = 0; c < g; c++) score[i] += v->readout[c] * y[i][c];
    }
}

static double weighted_scores(const void *context) { /* Σ dscore score */
    const router_values *v = context;
    double score[MOST_NODES], sum = 0;
    for (int64_t t = v->first; t < v->last; t++) {
        scores_of(v, t, score);
        for (int64_t i = 0; i < v->args->experts; i++) sum += v->dscore[t * v->args->experts + i] * score[i];
    }
    return sum;
}

/* Random edges, some missing. An expert graph's are the same both ways; a kernel that takes one for the other shows where they are not. */
static double *random_adjacency(int64_t nodes) {
    double *adjacency = op_values(nodes * nodes, 0.5);
    for (int64_t i = 0; i < nodes; i++)
        for (int64_t j = 0; j < nodes; j++)
            if (i != j && gm_random_below(&op_random, 3) == 0) adjacency[i * nodes + j] = 0;
    return adjacency;
}

static void make(const router_case *c, int64_t tokens, router_values *v, gm_router_graph_args *args) {
    int64_t n = c->experts, g = c->size;
    *v = (router_values){.args = args,
                         .features = op_values(n * g, 1),
                         .token = op_values(tokens * g, 1),
                         .readout = op_values(g, 1),
                         .dscore = op_values(tokens * n, 1),
                         .adjacency = random_adjacency(n + 1),
                         .last = tokens};
    *args = (gm_router_graph_args){
        .tokens = tokens,
        .experts = n,
        .size = g,
        .layers = c->layers,
        .adjacency = op_host(op_typed(GM_F32, v->adjacency, (n + 1) * (n + 1)), (size_t)((n + 1) * (n + 1)) * sizeof(float)),
        .features = op_typed(GM_F32, v->features, n * g),
        .token = op_typed(GM_F32, v->token, tokens * g),
        .readout = op_typed(GM_F32, v->readout, g),
        .score = op_floats(tokens * n),
        .dscore = op_typed(GM_F32, v->dscore, tokens * n),
        .dtoken = op_floats(tokens * g),
        .dfeatures = op_floats(n * g)};
    for (int64_t l = 0; l < c->layers; l++) {
        v->conv[l] = op_values(g * g, 1 / sqrt((double)g));
        args->conv[l] = op_typed(GM_F32, v->conv[l], g * g);
    }
}

static void test_forward(void **state) {
    bool differs = false; /* scores with TF32 from those without */
    (void)state;
    for (int c = 0; c < CASES; c++)
        for (int i = 0; i < TOKEN_COUNTS; i++) {
            int64_t tokens = token_counts[i], n = cases[c].experts;
            router_values v;
            gm_router_graph_args args;
            make(&cases[c], tokens, &v, &args);
            double *score = op_doubles(tokens * n);
            OP_SCRATCH(backend->kernels->router_graph_forward(backend, &args));
            OP_RUN(backend->kernels->router_graph_forward(backend, &args));
            for (int64_t t = 0; t < tokens; t++) scores_of(&v, t, score + t * n);
            op_close("score", args.score, GM_F32, score, tokens * n, tokens == 1 ? 1e-5 : 2e-6); /* a few sums may nearly cancel */
            float *exact = malloc((size_t)(tokens * n) * sizeof *exact);
            memcpy(exact, args.score, (size_t)(tokens * n) * sizeof *exact);
            args.tf32 = true;
            OP_RUN(backend->kernels->router_graph_forward(backend, &args));
            differs = differs || memcmp(args.score, exact, (size_t)(tokens * n) * sizeof *exact) != 0;
            free(exact);
            op_close("score with TF32", args.score, GM_F32, score, tokens * n, 5e-3);
            op_end();
        }
#ifdef GM_TEST_EMULATED
    assert_true(differs);
#else
    (void)differs;
#endif
}

/* Gradients of parameters start from these, so that an overwritten one shows. */
static float *some_gradient(double *before, int64_t count) {
    float *gradient = op_floats(count);
    for (int64_t i = 0; i < count; i++) before[i] = (double)(gradient[i] = (float)op_normal());
    return gradient;
}

static void want_slopes(const char *what, router_values *v, double *values, const float *got, const double *before, int64_t count) {
    double *want = op_doubles(count);
    for (int64_t i = 0; i < count; i++) want[i] = (before ? before[i] : 0) + op_slope(weighted_scores, v, &values[i]);
    op_close(what, got, GM_F32, want, count, 1e-5);
}

static void backward_case(const router_case *c, int64_t tokens, bool keep) {
    int64_t g = c->size, last_size = tokens * c->experts * g;
    router_values v;
    gm_router_graph_args args;
    double before_conv[GM_ROUTER_LAYERS][GRADIENT_SIZE * GRADIENT_SIZE], before_readout[GRADIENT_SIZE];
    make(c, tokens, &v, &args);
    for (int64_t l = 0; l < c->layers; l++) args.dconv[l] = some_gradient(before_conv[l], g * g);
    args.dreadout = some_gradient(before_readout, g);
    if (keep && c->layers > 1) args.last = op_floats(last_size);
    OP_SCRATCH((backend->kernels->router_graph_forward(backend, &args), backend->kernels->router_graph_backward(backend, &args)));
    OP_RUN((backend->kernels->router_graph_forward(backend, &args), backend->kernels->router_graph_backward(backend, &args)));
    want_slopes("dfeatures", &v, v.features, args.dfeatures, NULL, c->experts * g);
    want_slopes("dreadout", &v, v.readout, args.dreadout, before_readout, g);
    for (int64_t l = 0; l < c->layers; l++) want_slopes("dconv", &v, v.conv[l], args.dconv[l], before_conv[l], g * g);
    double *dtoken = op_doubles(tokens * g);
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < g; i++) {
            v.first = t, v.last = t + 1;
            dtoken[t * g + i] = op_slope(weighted_scores, &v, &v.token[t * g + i]);
        }
    op_close("dtoken", args.dtoken, GM_F32, dtoken, tokens * g, 1e-5);
    op_end();
}

static void test_backward(void **state) {
    (void)state;
    const router_case small[] = {{3, 7, 1}, {4, 9, 2}, {5, 6, 3}, {12, 8, 2}, {13, 4, 3}};
    for (int c = 0; c < 5; c++)
        for (int keep = 0; keep < 2; keep++)
            for (int i = 0; i < 4; i++) backward_case(&small[c], token_counts[i], keep);
    backward_case(&(router_case){13, 5, 1}, 65, false);
    backward_case(&(router_case){3, 4, 4}, 200, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forward), cmocka_unit_test(test_backward)};
    return op_main("router_graph", tests);
}
