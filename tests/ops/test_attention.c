/* Attention against naive loops in double, forward and backward; the naive gradients against finite differences of the
 * naive forward. Every call runs on 1, 2 and 3 threads with equal bytes, in scratch memory of exactly the measured size
 * that begins as NaN. Sequences packed together give the bytes that each gives alone, whatever their neighbours hold; those
 * with a prefix (forward only) give what they and their prefix give as one sequence. */
#include "op_test.h"

enum { MOST_SEQUENCES = 64 };

typedef struct attention_case {
    int64_t heads, kv_heads, size, window;
    gm_type type;
    int32_t lengths[MOST_SEQUENCES]; /* 0 ends them */
} attention_case;

typedef struct attention_values { /* as doubles, rounded to what the type holds */
    double *q, *k, *v, *dout;
} attention_values;

static void begin_scratch(const gm_attention_args *args) {
    OP_SCRATCH((backend->kernels->attention_forward(backend, args), backend->kernels->attention_backward(backend, args)));
}

static gm_attention_args make(const attention_case *c, attention_values *values) {
    int32_t starts[MOST_SEQUENCES + 1] = {0};
    int64_t sequences = 0;
    while (sequences < MOST_SEQUENCES && c->lengths[sequences] > 0)
        starts[sequences + 1] = starts[sequences] + c->lengths[sequences], sequences++;
    int64_t tokens = starts[sequences], n = tokens * c->heads * c->size, kv = tokens * c->kv_heads * c->size;
    int32_t *kept = op_integers(sequences + 1);
    memcpy(kept, starts, (size_t)(sequences + 1) * sizeof *kept);
    *values = (attention_values){.q = op_values(n, 2), .k = op_values(kv, 1), .v = op_values(kv, 1), .dout = op_values(n, 1)};
    size_t element = gm_type_size(c->type);
    return (gm_attention_args){.out = op_alloc((size_t)n * element),
                               .log_sum = op_floats(tokens * c->heads),
                               .q = op_typed(c->type, values->q, n),
                               .k = op_typed(c->type, values->k, kv),
                               .v = op_typed(c->type, values->v, kv),
                               .starts = op_host(kept, (size_t)(sequences + 1) * sizeof *kept),
                               .type = c->type,
                               .tokens = tokens,
                               .sequences = sequences,
                               .heads = c->heads,
                               .kv_heads = c->kv_heads,
                               .head_size = c->size,
                               .window = c->window,
                               .scale = 1 / sqrtf((float)c->size),
                               .dout = op_typed(c->type, values->dout, n),
                               .dq = op_alloc((size_t)n * element),
                               .dk = op_alloc((size_t)kv * element),
                               .dv = op_alloc((size_t)kv * element)};
}

static void forward_backward(const gm_attention_args *args) {
    backend->kernels->attention_forward(backend, args);
    backend->kernels->attention_backward(backend, args);
}

/* What naive loops give; p is room for one row of probabilities. */
typedef struct attention_naive {
    const gm_attention_args *args;
    attention_values in;
    double *p, *out, *log_sum, *dq, *dk, *dv;
} attention_naive;

static attention_naive naive_begin(const gm_attention_args *args, attention_values in) {
    int64_t n = args->tokens * args->heads * args->head_size, kv = args->tokens * args->kv_heads * args->head_size;
    attention_naive naive = {.args = args,
                             .in = in,
                             .p = op_doubles(args->tokens),
                             .out = op_doubles(n),
                             .log_sum = op_doubles(args->tokens * args->heads),
                             .dq = op_doubles(n),
                             .dk = op_doubles(kv),
                             .dv = op_doubles(kv)};
    return naive;
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void add(double *y, double a, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

typedef struct naive_keys { /* of a query: `count` tokens, the first `before` of them from `prefix` on, the others from `own` */
    int64_t count, before, prefix, own;
} naive_keys;

static naive_keys keys_of(const gm_attention_args *a, int64_t s, int64_t t) {
    int64_t before = a->prefix ? a->prefix[s] : -1, length = before < 0 ? 0 : a->starts[before + 1] - a->starts[before];
    int64_t all = length + t - a->starts[s] + 1, hidden = a->window > 0 && a->window < all ? all - a->window : 0;
    naive_keys keys = {.count = all - hidden, .before = hidden < length ? length - hidden : 0};
    keys.prefix = before < 0 ? 0 : a->starts[before] + hidden;
    keys.own = t + 1 - (keys.count - keys.before);
    return keys;
}

/* Where key j of head g begins. */
static int64_t key_at(const gm_attention_args *a, const naive_keys *keys, int64_t j, int64_t g) {
    int64_t token = j < keys->before ? keys->prefix + j : keys->own + j - keys->before;
    return (token * a->kv_heads + g) * a->head_size;
}

/* One query of one head; with `gradients` adds its part of dq, dk and dv. */
static void naive_query(attention_naive *naive, const naive_keys *keys, int64_t t, int64_t h, bool gradients) {
    const gm_attention_args *a = naive->args;
    int64_t c = a->head_size, g = h / (a->heads / a->kv_heads), row = (t * a->heads + h) * c;
    double most = -INFINITY, sum = 0, *out = naive->out + row;
    for (int64_t j = 0; j < keys->count; j++) {
        naive->p[j] = (double)a->scale * dot(naive->in.q + row, naive->in.k + key_at(a, keys, j, g), c);
        most = fmax(most, naive->p[j]);
    }
    for (int64_t j = 0; j < keys->count; j++) sum += naive->p[j] = exp(naive->p[j] - most);
    naive->log_sum[t * a->heads + h] = most + log(sum);
    memset(out, 0, (size_t)c * sizeof *out);
    for (int64_t j = 0; j < keys->count; j++) add(out, naive->p[j] /= sum, naive->in.v + key_at(a, keys, j, g), c);
    if (!gradients) return;
    const double *dout = naive->in.dout + row;
    double d = dot(dout, out, c);
    for (int64_t j = 0; j < keys->count; j++) {
        int64_t key = key_at(a, keys, j, g);
        double ds = naive->p[j] * (dot(dout, naive->in.v + key, c) - d) * (double)a->scale;
        add(naive->dv + key, naive->p[j], dout, c);
        add(naive->dk + key, ds, naive->in.q + row, c);
        add(naive->dq + row, ds, naive->in.k + key, c);
    }
}

static void naive_run(attention_naive *naive, bool gradients) {
    const gm_attention_args *a = naive->args;
    memset(naive->dq, 0, (size_t)(a->tokens * a->heads * a->head_size) * sizeof *naive->dq);
    memset(naive->dk, 0, (size_t)(a->tokens * a->kv_heads * a->head_size) * sizeof *naive->dk);
    memset(naive->dv, 0, (size_t)(a->tokens * a->kv_heads * a->head_size) * sizeof *naive->dv);
    for (int64_t s = 0; s < a->sequences; s++)
        for (int64_t t = a->starts[s]; t < a->starts[s + 1]; t++) {
            naive_keys keys = keys_of(a, s, t);
            for (int64_t h = 0; h < a->heads; h++) naive_query(naive, &keys, t, h, gradients);
        }
}

/* The root mean square of the differences within `tolerance` of that of the values (or of 1/4: with a single key the
 * gradients of q and k are zero), and no single one beyond 16 times that. */
static void close_to(const char *what, const void *got, gm_type type, const double *want, int64_t count, double tolerance) {
    double size = fmax(sqrt(dot(want, want, count) / (double)count), 0.25), squares = 0;
    for (int64_t i = 0; i < count; i++) {
        double off = fabs(op_get(got, type, i) - want[i]);
        if (!(off <= 16 * tolerance * (size + fabs(want[i]))))
            fail_msg("%s[%lld] of %lld: %g, not %g", what, (long long)i, (long long)count, op_get(got, type, i), want[i]);
        squares += off * off;
    }
    double error = sqrt(squares / (double)count) / size;
    if (!(error <= tolerance)) fail_msg("%s: error %g above %g over %lld values", what, error, tolerance, (long long)count);
}

static const attention_case cases[] = {
    {1, 1, 8, 0, GM_F32, {1}},
    {6, 2, 20, 0, GM_F32, {17}},
    {6, 2, 64, 5, GM_F32, {127}},
    {4, 4, 64, 0, GM_F32, {300}},
    {6, 2, 20, 0, GM_F32, {1, 17, 1, 127, 300, 64, 2, 1}},
    {6, 2, 8, 1, GM_F32, {1, 17, 127, 33}},
    {6, 2, 20, 64, GM_F32, {300, 1, 127}},
    {2, 1, 64, 5000, GM_F32, {256, 31, 32, 33, 65, 129}},
    {7, 1, 9, 0, GM_F32, {130, 1, 40}},
    {130, 1, 8, 0, GM_F32, {7, 3}},
    {2, 2, 256, 0, GM_F32, {700, 513}},
    {2, 1, 20, 0, GM_F32, {1030, 5, 1024, 1025}},
    {3, 1, 8, 64, GM_F32, {2500, 3}},
    {1, 1, 16, 1500, GM_F32, {2500}},
    {1, 1, 300, 3, GM_F32, {300}},
    {6, 2, 20, 0, GM_BF16, {1, 17, 1, 127, 300, 64, 2, 1}},
    {6, 2, 64, 5, GM_BF16, {127, 33}},
    {7, 1, 9, 64, GM_BF16, {300, 2}},
    {4, 4, 128, 0, GM_BF16, {300, 256}},
    {2, 2, 256, 100, GM_BF16, {700}},
    {2, 1, 32, 0, GM_BF16, {2100}},
    {2, 2, 64, 0, GM_BF16, {1, 1, 1, 1, 1, 1, 1}},
    {8, 2, 64, 0, GM_BF16, {1, 17, 1, 127, 300, 1}},
    {1, 1, 64, 70, GM_BF16, {640, 63, 65}},
    {1, 1, 16, 0, GM_BF16, {700}},
    {4, 1, 40, 0, GM_BF16, {65, 3}},
    {130, 1, 16, 6, GM_BF16, {9, 4}},
    {7, 1, 80, 0, GM_BF16, {130, 1, 17}},
    {2, 1, 96, 33, GM_BF16, {200, 1}},
    {3, 3, 112, 0, GM_BF16, {49, 97}},
    {7, 1, 128, 100, GM_BF16, {257, 1, 64}},
    {8, 2, 128, 0, GM_BF16, {127, 33}},
    {2, 1, 256, 0, GM_BF16, {65, 1, 31}},
};
enum { CASES = sizeof cases / sizeof *cases };

/* Emulation takes seconds for what the others do in milliseconds. */
static bool too_large(const attention_case *c) {
#ifdef GM_TEST_EMULATED
    int64_t pairs = 0;
    for (int s = 0; s < MOST_SEQUENCES; s++) {
        int64_t length = c->lengths[s];
        pairs += length * (c->window > 0 && c->window < length ? c->window : length);
    }
    return pairs * c->heads * c->size > 45 << 20;
#else
    (void)c;
    return false;
#endif
}

/* f32: sums of products in another order. bf16: p, ds and the results are rounded, and D comes from the rounded out. */
static void test_against_double(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        const attention_case *c = &cases[i];
        if (too_large(c)) continue;
        attention_values values;
        gm_attention_args args = make(c, &values);
        begin_scratch(&args);
        OP_RUN(forward_backward(&args));
        attention_naive naive = naive_begin(&args, values);
        naive_run(&naive, true);
        int64_t n = args.tokens * args.heads * args.head_size, kv = args.tokens * args.kv_heads * args.head_size;
        double tolerance = c->type == GM_F32 ? 2e-6 : 6e-3;
        close_to("out", args.out, c->type, naive.out, n, tolerance);
        close_to("log_sum", args.log_sum, GM_F32, naive.log_sum, args.tokens * args.heads, 1e-6);
        close_to("dq", args.dq, c->type, naive.dq, n, tolerance);
        close_to("dk", args.dk, c->type, naive.dk, kv, tolerance);
        close_to("dv", args.dv, c->type, naive.dv, kv, tolerance);
        op_end();
    }
}

static double naive_loss(const void *context) {
    attention_naive naive = *(const attention_naive *)context;
    naive_run(&naive, false);
    return dot(naive.out, naive.in.dout, naive.args->tokens * naive.args->heads * naive.args->head_size);
}

static void test_naive_gradients(void **state) {
    (void)state;
    static const attention_case small[] = {{4, 2, 5, 0, GM_F32, {7, 1, 4}}, {2, 1, 3, 3, GM_F32, {9}}};
    for (int i = 0; i < 2; i++) {
        attention_values values;
        gm_attention_args args = make(&small[i], &values);
        attention_naive naive = naive_begin(&args, values);
        naive_run(&naive, true);
        int64_t n = args.tokens * args.heads * args.head_size, kv = args.tokens * args.kv_heads * args.head_size;
        double *x[] = {values.q, values.k, values.v}, *gradient[] = {naive.dq, naive.dk, naive.dv};
        double *kept = op_doubles(n + 2 * kv);
        memcpy(kept, naive.dq, (size_t)n * sizeof *kept); /* the buffers are cleared by every run */
        memcpy(kept + n, naive.dk, (size_t)kv * sizeof *kept);
        memcpy(kept + n + kv, naive.dv, (size_t)kv * sizeof *kept);
        gradient[0] = kept, gradient[1] = kept + n, gradient[2] = kept + n + kv;
        for (int of = 0; of < 3; of++)
            for (int64_t j = 0; j < (of ? kv : n); j++) {
                double slope = op_slope(naive_loss, &naive, x[of] + j);
                if (fabs(slope - gradient[of][j]) > 1e-7 * (1 + fabs(slope)))
                    fail_msg("gradient %d[%lld]: %g, slope %g", of, (long long)j, gradient[of][j], slope);
            }
        op_end();
    }
}

static void *slice(const void *rows, size_t row_bytes, int64_t first) { return (unsigned char *)rows + (size_t)first * row_bytes; }

static void same_rows(const char *what, const void *all, const void *alone, size_t row_bytes, int64_t first, int64_t count) {
    if (memcmp(slice(all, row_bytes, first), alone, (size_t)count * row_bytes) != 0)
        fail_msg("%s: rows from %lld differ alone", what, (long long)first);
}

/* Sequence s by itself, from memory that ends where it ends. */
static void check_alone(const gm_attention_args *all, int64_t s) {
    int64_t first = all->starts[s], count = all->starts[s + 1] - first;
    size_t row = (size_t)(all->heads * all->head_size) * gm_type_size(all->type);
    size_t kv_row = (size_t)(all->kv_heads * all->head_size) * gm_type_size(all->type), log_row = (size_t)all->heads * sizeof(float);
    const int32_t starts[] = {0, (int32_t)count};
    gm_attention_args one = *all;
    const void **in[] = {&one.q, &one.dout, &one.k, &one.v};
    void **out[] = {&one.out, &one.dq, &one.dk, &one.dv};
    for (int i = 0; i < 4; i++) {
        size_t bytes = i < 2 ? row : kv_row;
        void *copy = op_malloc((size_t)count * bytes); /* to the byte: a read past it shows */
        memcpy(copy, slice(*in[i], bytes, first), (size_t)count * bytes);
        *in[i] = copy;
        *out[i] = op_malloc((size_t)count * bytes);
    }
    one.log_sum = op_malloc((size_t)count * log_row);
    one.starts = starts, one.sequences = 1, one.tokens = count;
    op_scratch_fill();
    OP_CALL(forward_backward(&one));
    same_rows("out", all->out, one.out, row, first, count);
    same_rows("log_sum", all->log_sum, one.log_sum, log_row, first, count);
    same_rows("dq", all->dq, one.dq, row, first, count);
    same_rows("dk", all->dk, one.dk, kv_row, first, count);
    same_rows("dv", all->dv, one.dv, kv_row, first, count);
    for (int i = 0; i < 4; i++)
        op_free((void *)*in[i], (size_t)count * (i < 2 ? row : kv_row)), op_free(*out[i], (size_t)count * (i < 2 ? row : kv_row));
    op_free(one.log_sum, (size_t)count * log_row);
}

static void test_packing(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        if (too_large(&cases[i])) continue;
        attention_values values;
        gm_attention_args args = make(&cases[i], &values);
        begin_scratch(&args);
        OP_CALL(forward_backward(&args));
        for (int64_t s = 0; s < args.sequences; s++) check_alone(&args, s);
        op_end();
    }
}

/* Sequences between ones of NaN come out as alone. */
static void test_isolation(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        attention_case c = {6, 2, 20, 0, type ? GM_BF16 : GM_F32, {40, 3, 150, 128, 64, 1, 2}};
        attention_values values;
        gm_attention_args args = make(&c, &values);
        begin_scratch(&args);
        size_t element = gm_type_size(c.type), row = (size_t)(c.heads * c.size) * element, kv_row = (size_t)(c.kv_heads * c.size) * element;
        for (int64_t s = 0; s < args.sequences; s += 2) {
            size_t count = (size_t)c.lengths[s];
            memset(slice(args.q, row, args.starts[s]), 0xff, count * row);
            memset(slice(args.dout, row, args.starts[s]), 0xff, count * row);
            memset(slice(args.k, kv_row, args.starts[s]), 0xff, count * kv_row);
            memset(slice(args.v, kv_row, args.starts[s]), 0xff, count * kv_row);
        }
        OP_CALL(forward_backward(&args));
        for (int64_t s = 1; s < args.sequences; s += 2) check_alone(&args, s);
        for (int64_t j = 0; j < (int64_t)(args.starts[2] - args.starts[1]) * c.heads * c.size; j++)
            assert_true(isfinite(op_get(slice(args.out, row, args.starts[1]), c.type, j)));
        op_end();
    }
}

/* ---- prefixes: prompts shared by several continuations */

typedef struct prefix_case {
    attention_case sequences;
    int32_t prefix[8]; /* of each: its prefix, or −1 */
} prefix_case;

static const prefix_case prefixed[] = {
    {{6, 2, 20, 0, GM_F32, {17, 5, 1, 40, 9}}, {-1, 0, 0, 0, -1}},
    {{6, 2, 20, 7, GM_F32, {17, 5, 1, 40, 3}}, {-1, 0, 0, 0, 0}},
    {{2, 1, 64, 0, GM_F32, {3, 300, 70, 200, 1, 64}}, {-1, -1, 1, 1, 0, 1}},
    {{3, 1, 8, 64, GM_F32, {1, 130, 65, 2, 31}}, {-1, -1, 1, 0, 1}},
    {{2, 2, 256, 0, GM_F32, {600, 17, 513}}, {-1, 0, 0}},
    {{2, 1, 20, 0, GM_F32, {1030, 5, 1025, 2}}, {-1, 0, 0, -1}},
    {{130, 1, 8, 5, GM_F32, {7, 3, 4}}, {-1, 0, 0}},
    {{6, 2, 64, 0, GM_BF16, {33, 5, 1, 127, 64}}, {-1, 0, 0, 0, -1}},
    {{7, 1, 128, 20, GM_BF16, {130, 1, 17, 40}}, {-1, 0, 0, -1}},
    {{7, 1, 9, 0, GM_BF16, {40, 2, 65}}, {-1, 0, 0}},
    {{2, 1, 256, 0, GM_BF16, {65, 1, 31}}, {-1, 0, 0}},
};
enum { PREFIXED = sizeof prefixed / sizeof *prefixed };

/* What sequence s sees, it and its prefix alone, gives the same bytes. */
static void check_prefix_alone(const gm_attention_args *all, int64_t s) {
    int64_t before = all->prefix[s], count = all->starts[s + 1] - all->starts[s], length = all->starts[before + 1] - all->starts[before];
    size_t row = (size_t)(all->heads * all->head_size) * gm_type_size(all->type);
    size_t kv_row = (size_t)(all->kv_heads * all->head_size) * gm_type_size(all->type), log_row = (size_t)all->heads * sizeof(float);
    const int32_t starts[] = {0, (int32_t)length, (int32_t)(length + count)}, prefix[] = {-1, 0};
    gm_attention_args one = *all;
    const void **in[] = {&one.q, &one.k, &one.v};
    for (int i = 0; i < 3; i++) {
        size_t bytes = i ? kv_row : row;
        unsigned char *copy = op_malloc((size_t)(length + count) * bytes);
        memcpy(copy, slice(*in[i], bytes, all->starts[before]), (size_t)length * bytes);
        memcpy(copy + (size_t)length * bytes, slice(*in[i], bytes, all->starts[s]), (size_t)count * bytes);
        *in[i] = copy;
    }
    one.out = op_malloc((size_t)(length + count) * row), one.log_sum = op_malloc((size_t)(length + count) * log_row);
    one.starts = starts, one.prefix = prefix, one.sequences = 2, one.tokens = length + count;
    op_scratch_fill();
    OP_CALL(backend->kernels->attention_forward(backend, &one));
    same_rows("out", all->out, slice(one.out, row, length), row, all->starts[s], count);
    same_rows("log_sum", all->log_sum, slice(one.log_sum, log_row, length), log_row, all->starts[s], count);
    for (int i = 0; i < 3; i++) op_free((void *)*in[i], (size_t)(length + count) * (i ? kv_row : row));
    op_free(one.out, (size_t)(length + count) * row), op_free(one.log_sum, (size_t)(length + count) * log_row);
}

static void test_prefixes(void **state) {
    (void)state;
    for (int i = 0; i < PREFIXED; i++) {
        const attention_case *c = &prefixed[i].sequences;
        if (too_large(c)) continue;
        attention_values values;
        gm_attention_args args = make(c, &values);
        int32_t *prefix = op_integers(args.sequences);
        memcpy(prefix, prefixed[i].prefix, (size_t)args.sequences * sizeof *prefix);
        args.prefix = op_host(prefix, (size_t)args.sequences * sizeof *prefix);
        OP_SCRATCH(backend->kernels->attention_forward(backend, &args));
        OP_RUN(backend->kernels->attention_forward(backend, &args));
        attention_naive naive = naive_begin(&args, values);
        naive_run(&naive, false);
        close_to("out", args.out, c->type, naive.out, args.tokens * args.heads * args.head_size, c->type == GM_F32 ? 2e-6 : 6e-3);
        close_to("log_sum", args.log_sum, GM_F32, naive.log_sum, args.tokens * args.heads, 1e-6);
        for (int64_t s = 0; s < args.sequences; s++)
            if (args.prefix[s] >= 0) check_prefix_alone(&args, s);
        op_end();
    }
}

/* What a plan measured with one division into sequences suffices for any other. */
static void test_scratch(void **state) {
    (void)state;
    attention_case one = {4, 2, 16, 0, GM_BF16, {1600}}, many = one;
    for (int i = 0; i < 50; i++) many.lengths[i] = 32;
    attention_values values;
    gm_attention_args args = make(&one, &values), other = make(&many, &values);
    begin_scratch(&args);
    size_t bytes = op_scratch_bytes;
    begin_scratch(&other);
    assert_int_equal(op_scratch_bytes, bytes);
    op_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_double), cmocka_unit_test(test_naive_gradients),
                                       cmocka_unit_test(test_packing),        cmocka_unit_test(test_isolation),
                                       cmocka_unit_test(test_prefixes),       cmocka_unit_test(test_scratch)};
    return op_main("attention", tests);
}
