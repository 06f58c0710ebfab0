/* Routing against softmax, sort and sums in double; its gradient against central differences with the choice held fixed. */
#include "op_test.h"

typedef struct route_case {
    int64_t experts, slots;
    bool ties; /* scores are multiples of ½, so that π has equal values */
} route_case;

static const route_case cases[] = {{1, 1, false}, {3, 1, false}, {8, 2, false},  {7, 7, false},
                                   {19, 5, true}, {8, 8, true},  {67, 3, false}, {40, 40, true}};
enum { CASES = 8 };

static gm_route_args make(const route_case *c, int64_t tokens, double *score) {
    int64_t n = tokens * c->experts;
    for (int64_t i = 0; c->ties && i < n; i++) score[i] = round(2 * score[i]) / 2;
    return (gm_route_args){.tokens = tokens,
                           .experts = c->experts,
                           .slots = c->slots,
                           .score = op_typed(GM_F32, score, n),
                           .weight = op_floats(n),
                           .expert = op_integers(tokens * c->slots),
                           .gate = op_floats(tokens * c->slots),
                           .count = op_floats(c->experts),
                           .share = op_floats(c->experts)};
}

static void softmax(double *weight, const double *score, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += weight[i] = exp(score[i]);
    for (int64_t i = 0; i < n; i++) weight[i] /= sum;
}

/* How many experts of the row go before expert e, at least and at most: equals may stand in any order. */
static bool in_place(const float *weight, int64_t n, int64_t e, int64_t k) {
    int64_t greater = 0, equal = 0;
    for (int64_t i = 0; i < n; i++) greater += weight[i] > weight[e], equal += weight[i] == weight[e];
    return greater <= k && k < greater + equal;
}

static void check_choice(const gm_route_args *a, double *count, double *share) {
    memset(count, 0, (size_t)a->experts * sizeof *count), memset(share, 0, (size_t)a->experts * sizeof *share);
    for (int64_t t = 0; t < a->tokens; t++) {
        const float *weight = a->weight + t * a->experts;
        double sum = 0;
        for (int64_t k = 0; k < a->slots; k++) {
            int64_t e = a->expert[t * a->slots + k];
            assert_true(e >= 0 && e < a->experts);
            assert_true(in_place(weight, a->experts, e, k));
            for (int64_t j = 0; j < k; j++) assert_true(a->expert[t * a->slots + j] != e);
            sum += (double)weight[e], count[e] += (double)a->slots * (double)weight[e], share[e] += 1;
        }
        for (int64_t k = 0; k < a->slots; k++) {
            double gate = (double)weight[a->expert[t * a->slots + k]] / sum;
            assert_true(fabs((double)a->gate[t * a->slots + k] - gate) < 1e-6);
        }
    }
}

static void test_forward(void **state) {
    (void)state;
    for (int t = 0; t < OP_TOKENS; t++)
        for (int c = 0; c < CASES; c++) {
            int64_t n = cases[c].experts, tokens = op_tokens[t] * (c == 2 ? 11 : 1);
            double *score = op_values(tokens * n, 2), *weight = op_doubles(tokens * n), *count = op_doubles(n), *share = op_doubles(n);
            gm_route_args args = make(&cases[c], tokens, score);
            OP_RUN(backend->kernels->route_forward(backend, &args));
            for (int64_t i = 0; i < tokens; i++) softmax(weight + i * n, score + i * n, n);
            op_close("weight", args.weight, GM_F32, weight, tokens * n, 3e-7);
            check_choice(&args, count, share);
            op_close("count", args.count, GM_F32, count, n, 2e-7);
            op_close("share", args.share, GM_F32, share, n, 0);
            op_end();
        }
}

/* Equal weights at the boundary: the experts that torch.topk 2.9 chooses on a CPU (scores by digit, choice by hex digit). */
static void test_ties_as_torch(void **state) {
    (void)state;
    static const struct {
        int experts, slots;
        const char *scores, *chosen;
    } known[] = {
        {8, 4, "00313130", "2346"},
        {11, 10, "03102120212", "012456789a"},
        {10, 7, "1132021113", "1235689"},
        {5, 4, "31113", "0234"},
        {7, 5, "1120122", "12456"},
        {7, 1, "3310100", "1"},
        {9, 7, "223302311", "0123568"},
        {9, 5, "202111211", "02467"},
        {9, 3, "031011301", "168"},
        {8, 4, "03123110", "1345"},
        {6, 4, "101311", "0345"},
        {10, 8, "0213002130", "01236789"},
        {11, 5, "20133311120", "03459"},
        {12, 8, "003012003232", "245689ab"},
        {8, 4, "23313313", "2457"},
        {5, 3, "22022", "134"},
        {6, 1, "000213", "5"},
        {10, 2, "0332303231", "48"},
        {8, 5, "11012122", "14567"},
        {12, 6, "123200032033", "1278ab"},
        {12, 7, "302230112132", "02348ab"},
        {9, 6, "101331232", "234678"},
        {12, 11, "121002231000", "012456789ab"},
        {6, 1, "333023", "1"},
        {10, 2, "2021202301", "07"},
        {5, 3, "22122", "134"},
        {6, 4, "031313", "1345"},
        {6, 2, "013111", "24"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double *score = op_values(known[i].experts, 0);
        for (int e = 0; e < known[i].experts; e++) score[e] = known[i].scores[e] - '0';
        gm_route_args args = make(&(route_case){known[i].experts, known[i].slots, false}, 1, score);
        OP_RUN(backend->kernels->route_forward(backend, &args));
        for (int k = 0; k < known[i].slots; k++) {
            char digit = "0123456789abcdef"[args.expert[k]];
            if (!strchr(known[i].chosen, digit))
                fail_msg("scores %s: top %d took expert %c, not of %s", known[i].scores, known[i].slots, digit, known[i].chosen);
        }
        op_end();
    }
}

/* Far scores underflow to nothing; a row of NaN still names valid experts, each once. */
static void test_extremes(void **state) {
    (void)state;
    double *score = op_values(3 * 4, 0);
    score[1] = 1000, score[4] = -1000, score[6] = 3e38, score[7] = -3e38;
    gm_route_args args = make(&(route_case){4, 4, false}, 3, score);
    ((float *)args.score)[9] = NAN;
    OP_RUN(backend->kernels->route_forward(backend, &args));
    const int32_t want[] = {1, 0, 2, 3, 2, 0, 1, 3, 0, 1, 2, 3};
    assert_memory_equal(args.expert, want, sizeof want);
    assert_true(args.weight[1] == 1 && args.weight[0] < 1e-30f && args.gate[4] == 1 && isnan(args.weight[8]));
    op_end();
}

typedef struct objective { /* one token: Σ dgate gate + Σ dweight π + Σ_{topK} K dcount π */
    const gm_route_args *args;
    const int32_t *expert;
    const double *score, *dgate, *dweight, *dcount;
} objective;

static double value(const void *context) {
    const objective *o = context;
    double weight[128], sum = 0, result = 0;
    softmax(weight, o->score, o->args->experts);
    for (int64_t k = 0; k < o->args->slots; k++) sum += weight[o->expert[k]];
    for (int64_t k = 0; k < o->args->slots; k++) {
        if (o->dgate) result += o->dgate[k] * weight[o->expert[k]] / sum;
        if (o->dcount) result += (double)o->args->slots * o->dcount[o->expert[k]] * weight[o->expert[k]];
    }
    for (int64_t e = 0; o->dweight && e < o->args->experts; e++) result += o->dweight[e] * weight[e];
    return result;
}

static void backward_case(const route_case *c, int64_t tokens, int given) {
    int64_t n = c->experts, k = c->slots;
    double *score = op_values(tokens * n, 1), *want = op_doubles(tokens * n);
    gm_route_args args = make(c, tokens, score);
    OP_RUN(backend->kernels->route_forward(backend, &args));
    double *dgate = op_values(tokens * k, 1), *dweight = op_values(tokens * n, 1), *dcount = op_values(n, 1);
    args.dgate = given & 1 ? op_typed(GM_F32, dgate, tokens * k) : NULL;
    args.dweight = given & 2 ? op_typed(GM_F32, dweight, tokens * n) : NULL;
    args.dcount = given & 4 ? op_typed(GM_F32, dcount, n) : NULL;
    args.dscore = op_floats(tokens * n);
    OP_RUN(backend->kernels->route_backward(backend, &args));
    for (int64_t t = 0; t < tokens; t++) {
        objective o = {&args,
                       args.expert + t * k,
                       score + t * n,
                       given & 1 ? dgate + t * k : NULL,
                       given & 2 ? dweight + t * n : NULL,
                       given & 4 ? dcount : NULL};
        for (int64_t e = 0; e < n; e++) want[t * n + e] = op_slope(value, &o, &score[t * n + e]);
    }
    op_close("dscore", args.dscore, GM_F32, want, tokens * n, 2e-6);
    op_end();
}

static void test_backward(void **state) {
    (void)state;
    for (int t = 0; t < OP_TOKENS; t++)
        for (int c = 0; c < CASES; c++)
            for (int given = 0; given < 8; given++)
                if (given == 7 || t < 2) backward_case(&cases[c], op_tokens[t], given);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forward), cmocka_unit_test(test_ties_as_torch),
                                       cmocka_unit_test(test_extremes), cmocka_unit_test(test_backward)};
    return op_main("route", tests);
}
