/* The expert FFN between its frozen products, against src/ops/expert_ffn.c's formulas slot by slot in double: sizes over one and
 * several strips and slices, every rank's way, absent sites, dropout, no router. */
#include "op_test.h"

typedef struct ffn_case {
    int64_t tokens, hidden, ffn, experts, slots, rank;
    bool routed;
    int sites; /* bits 1, 2, 4: w1, w3, w2 carry LoRA */
    float dropout;
    gm_type type;
} ffn_case;

static const ffn_case cases[] = {
    {17, 20, 40, 5, 2, 2, true, 7, 0, GM_F32},     {17, 20, 40, 5, 2, 3, true, 7, 0, GM_F32},
    {65, 9, 700, 4, 2, 2, true, 7, 0, GM_F32},     {65, 9, 700, 4, 3, 1, true, 7, 0, GM_F32},
    {33, 300, 2100, 3, 2, 2, true, 7, 0, GM_F32},  {9, 20, 600, 1, 1, 2, false, 7, 0, GM_F32},
    {9, 20, 600, 1, 1, 4, false, 3, 0, GM_F32},    {9, 20, 600, 4, 2, 2, true, 4, 0, GM_F32},
    {9, 20, 600, 4, 2, 2, true, 1, 0, GM_F32},     {17, 20, 600, 5, 2, 2, true, 7, 0.3f, GM_F32},
    {17, 20, 600, 5, 2, 3, true, 7, 0.3f, GM_F32}, {65, 20, 700, 5, 2, 2, true, 7, 0, GM_BF16},
    {65, 20, 700, 5, 2, 5, true, 7, 0, GM_BF16},   {1, 20, 513, 3, 3, 2, true, 7, 0, GM_F32},
    {127, 37, 514, 6, 6, 1, true, 7, 0, GM_F32},   {127, 20, 129, 3, 1, 4, true, 7, 0, GM_F32},
    {90, 20, 600, 4, 1, 1, true, 7, 0.2f, GM_F32}, {90, 20, 600, 4, 3, 4, true, 7, 0.2f, GM_F32},
    {127, 37, 300, 7, 2, 8, true, 7, 0, GM_F32},   {33, 300, 515, 5, 3, 8, true, 7, 0.3f, GM_BF16},
    {127, 37, 300, 9, 2, 16, true, 7, 0, GM_F32},  {40, 300, 515, 5, 3, 16, true, 7, 0.3f, GM_BF16},
    {35, 12, 64, 4, 2, 33, true, 5, 0, GM_F32},    {17, 20, 600, 1, 1, 16, false, 7, 0, GM_BF16},
    {65, 20, 516, 70, 2, 2, true, 7, 0, GM_F32},   {17, 20, 300, 3, 2, 2, true, 0, 0, GM_F32},
    {17, 20, 300, 1, 1, 0, false, 0, 0, GM_BF16},  {100, 1100, 2100, 5, 4, 7, true, 7, 0, GM_F32},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct ffn_site { /* a, b: values; da, db: what the gradients hold before, and should hold after */
    double *a, *b, *da, *db;
} ffn_site;

typedef struct ffn_values {
    double *h1, *h3, *gate, *u, *dz, *dy, *y; /* as in gm_expert_ffn_args */
    double *z, *u2, *dh1, *dh3, *du, *dgate;  /* wanted */
    ffn_site w1, w3, w2;
} ffn_values;

static gm_expert_lora make_site(ffn_site *site, int64_t rows, int64_t inputs, int64_t outputs, bool there) {
    *site = (ffn_site){op_values(rows * inputs, 0.4), op_values(rows * outputs, 0.4), op_values(rows * inputs, 1),
                       op_values(rows * outputs, 1)};
    if (!there) return (gm_expert_lora){0};
    return (gm_expert_lora){op_typed(GM_F32, site->a, rows * inputs), op_typed(GM_F32, site->b, rows * outputs),
                            op_typed(GM_F32, site->da, rows * inputs), op_typed(GM_F32, site->db, rows * outputs)};
}

static double *zeros(int64_t count) {
    double *values = op_doubles(count);
    memset(values, 0, (size_t)count * sizeof *values);
    return values;
}

static gm_expert_ffn_args make(const ffn_case *c, ffn_values *v) {
    int64_t wide = c->tokens * c->ffn, slots = c->tokens * c->slots, rows = c->experts * c->rank;
    *v = (ffn_values){.h1 = op_values(wide, 1.5),
                      .h3 = op_values(wide, 1),
                      .gate = op_values(slots, 0.3),
                      .u = op_values(c->tokens * 2 * rows, 1),
                      .dz = op_values(wide, 1),
                      .dy = op_values(c->tokens * c->hidden, 1),
                      .y = op_values(c->tokens * c->hidden, 1),
                      .z = zeros(wide),
                      .u2 = zeros(slots * c->rank),
                      .dh1 = zeros(wide),
                      .dh3 = zeros(wide),
                      .du = zeros(c->tokens * 2 * rows),
                      .dgate = zeros(slots)};
    gm_expert_ffn_args args = {.tokens = c->tokens,
                               .hidden = c->hidden,
                               .ffn = c->ffn,
                               .experts = c->experts,
                               .slots = c->slots,
                               .rank = c->rank,
                               .scale = 0.7f,
                               .type = c->type,
                               .dropout = {c->dropout, {5, 6}}};
    args.h1 = op_typed(c->type, v->h1, wide), args.h3 = op_typed(c->type, v->h3, wide), args.dz = op_typed(c->type, v->dz, wide);
    args.z = op_alloc((size_t)wide * gm_type_size(c->type));
    args.u = op_typed(GM_F32, v->u, c->tokens * 2 * rows), args.y = op_typed(GM_F32, v->y, c->tokens * c->hidden);
    args.dy = op_typed(GM_F32, v->dy, c->tokens * c->hidden);
    args.w1 = make_site(&v->w1, rows, c->hidden, c->ffn, c->sites & 1);
    args.w3 = make_site(&v->w3, rows, c->hidden, c->ffn, c->sites & 2);
    args.w2 = make_site(&v->w2, rows, c->ffn, c->hidden, c->sites & 4);
    if (c->sites & 4) args.u2 = op_floats(slots * c->rank);
    if (c->sites & 3) args.du = op_floats(c->tokens * 2 * rows);
    if (!c->routed) return args;
    int32_t *expert = op_integers(slots);
    for (int64_t i = 0; i < slots; i++)
        expert[i] = (int32_t)((i % c->slots + (int64_t)gm_random_below(&op_random, 2) * c->slots) % c->experts);
    args.expert = expert, args.gate = op_typed(GM_F32, v->gate, slots), args.dgate = op_floats(slots);
    return args;
}

static void reference_slot(const ffn_case *c, const gm_expert_ffn_args *args, ffn_values *v, int64_t slot) {
    int64_t t = slot / c->slots, e = args->expert ? args->expert[slot] : 0, rank = c->rank;
    double gate = args->gate ? v->gate[slot] : 1, s = (double)args->scale, w[64] = {0}, *u1 = v->u + (2 * t * c->experts + e) * rank,
           *u3 = u1 + c->experts * rank;
    double *du1 = v->du + (2 * t * c->experts + e) * rank, *du3 = du1 + c->experts * rank;
    for (int64_t j = 0; j < rank && args->w2.a; j++)
        for (int64_t d = 0; d < c->hidden; d++) w[j] += v->w2.b[(e * rank + j) * c->hidden + d] * v->dy[t * c->hidden + d];
    for (int64_t f = 0; f < c->ffn; f++) {
        double h1 = v->h1[t * c->ffn + f], h3 = v->h3[t * c->ffn + f], dz = v->dz[t * c->ffn + f], mask = 1, through = 0;
        if (c->dropout > 0) mask = (double)gm_dropout_factor(&args->dropout, (uint32_t)(slot * c->ffn + f));
        for (int64_t j = 0; j < rank; j++) {
            if (args->w1.a) h1 += s * u1[j] * v->w1.b[(e * rank + j) * c->ffn + f];
            if (args->w3.a) h3 += s * u3[j] * v->w3.b[(e * rank + j) * c->ffn + f];
            if (args->w2.a) through += w[j] * v->w2.a[(e * rank + j) * c->ffn + f];
        }
        double sigmoid = 1 / (1 + exp(-h1)), a = h1 * sigmoid * h3, da = gate * (dz + s * mask * through);
        double dh1 = da * h3 * sigmoid * (1 + h1 * (1 - sigmoid)), dh3 = da * h1 * sigmoid;
        v->z[t * c->ffn + f] += gate * a;
        v->dgate[slot] += a * dz;
        v->dh1[t * c->ffn + f] += dh1, v->dh3[t * c->ffn + f] += dh3;
        for (int64_t j = 0; j < rank; j++) {
            int64_t at = (e * rank + j) * c->ffn + f;
            if (args->w1.a) du1[j] += s * v->w1.b[at] * dh1, v->w1.db[at] += s * u1[j] * dh1;
            if (args->w3.a) du3[j] += s * v->w3.b[at] * dh3, v->w3.db[at] += s * u3[j] * dh3;
            if (args->w2.a) v->u2[slot * rank + j] += v->w2.a[at] * mask * a, v->w2.da[at] += gate * s * w[j] * mask * a;
        }
    }
    for (int64_t j = 0; j < rank && args->w2.a; j++) {
        double u2 = v->u2[slot * rank + j];
        v->dgate[slot] += s * u2 * w[j];
        for (int64_t d = 0; d < c->hidden; d++) {
            v->y[t * c->hidden + d] += gate * s * u2 * v->w2.b[(e * rank + j) * c->hidden + d];
            v->w2.db[(e * rank + j) * c->hidden + d] += gate * s * u2 * v->dy[t * c->hidden + d];
        }
    }
}

static void check_site(const char *what, const gm_expert_lora *got, const ffn_site *want, int64_t a_count, int64_t b_count,
                       double tolerance) {
    if (!got->a) return;
    op_close(what, got->da, GM_F32, want->da, a_count, tolerance);
    op_close(what, got->db, GM_F32, want->db, b_count, tolerance);
}

static void ffn_case_run(const ffn_case *c) {
    ffn_values v;
    gm_expert_ffn_args args = make(c, &v);
    int64_t wide = c->tokens * c->ffn, slots = c->tokens * c->slots, rows = c->experts * c->rank;
    double tolerance = c->type == GM_BF16 ? 2e-5 : 5e-6; /* u2 of forward enters backward: no rounding to bf16 on the way */
    OP_RUN((backend->kernels->expert_ffn_forward(backend, &args), args.w2.a ? backend->kernels->expert_ffn_output(backend, &args) : (void)0,
            backend->kernels->expert_ffn_backward(backend, &args)));
    for (int64_t slot = 0; slot < slots; slot++) reference_slot(c, &args, &v, slot);
    op_close("z", args.z, c->type, v.z, wide, tolerance);
    op_close("dh1", args.h1, c->type, v.dh1, wide, tolerance);
    op_close("dh3", args.h3, c->type, v.dh3, wide, tolerance);
    op_close("y", args.y, GM_F32, v.y, c->tokens * c->hidden, tolerance);
    if (args.u2) op_close("u2", args.u2, GM_F32, v.u2, slots * c->rank, tolerance);
    if (args.du) op_close("du", args.du, GM_F32, v.du, c->tokens * 2 * rows, tolerance);
    if (args.dgate) op_close("dgate", args.dgate, GM_F32, v.dgate, slots, tolerance);
    check_site("w1", &args.w1, &v.w1, rows * c->hidden, rows * c->ffn, tolerance); /* dA of w1 and w3 is not the kernel's */
    check_site("w3", &args.w3, &v.w3, rows * c->hidden, rows * c->ffn, tolerance);
    check_site("w2", &args.w2, &v.w2, rows * c->ffn, rows * c->hidden, tolerance);
    op_end();
}

static void test_cases(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) ffn_case_run(&cases[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return op_main("expert_ffn", tests);
}
