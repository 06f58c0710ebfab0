/* The low-rank branch's kernels against the formulas in double: tokens around the blocks of four and the groups of rows. */
#include "op_test.h"

typedef struct lora_values {
    double *x, *a, *b, *y, *dy, *dx, *da, *db, *u, *du;
} lora_values;

static void make(int64_t tokens, int64_t inputs, int64_t outputs, int64_t rank, gm_type type, gm_type y_type, lora_values *v,
                 gm_lora_args *args) {
    *v = (lora_values){.x = op_values(tokens * inputs, 1),
                       .a = op_values(rank * inputs, 0.5),
                       .b = op_values(rank * outputs, 0.5),
                       .y = op_values(tokens * outputs, 1),
                       .dy = op_values(tokens * outputs, 1),
                       .dx = op_values(tokens * inputs, 1),
                       .da = op_values(rank * inputs, 1),
                       .db = op_values(rank * outputs, 1),
                       .u = op_doubles(tokens * rank),
                       .du = op_doubles(tokens * rank)};
    *args = (gm_lora_args){.tokens = tokens,
                           .inputs = inputs,
                           .outputs = outputs,
                           .rank = rank,
                           .scale = 0.75f,
                           .type = type,
                           .y_type = y_type,
                           .x = op_typed(type, v->x, tokens * inputs),
                           .a = op_typed(GM_F32, v->a, rank * inputs),
                           .b = op_typed(GM_F32, v->b, rank * outputs),
                           .u = op_floats(tokens * rank),
                           .y = op_typed(y_type, v->y, tokens * outputs),
                           .dy = op_typed(type, v->dy, tokens * outputs),
                           .dx = op_typed(y_type, v->dx, tokens * inputs),
                           .dx_type = y_type,
                           .da = op_typed(GM_F32, v->da, rank * inputs),
                           .db = op_typed(GM_F32, v->db, rank * outputs)};
}

/* What the kernels should leave, in the values' own place. */
static void reference(const gm_lora_args *args, lora_values *v) {
    int64_t in = args->inputs, out = args->outputs, rank = args->rank;
    for (int64_t t = 0; t < args->tokens; t++)
        for (int64_t j = 0; j < rank; j++) {
            double u = 0, du = 0;
            for (int64_t i = 0; i < in; i++) u += (double)args->scale * v->a[j * in + i] * v->x[t * in + i];
            for (int64_t o = 0; o < out; o++) du += (double)args->scale * v->b[j * out + o] * v->dy[t * out + o];
            for (int64_t o = 0; o < out; o++) v->y[t * out + o] += u * v->b[j * out + o], v->db[j * out + o] += u * v->dy[t * out + o];
            for (int64_t i = 0; i < in; i++) v->dx[t * in + i] += du * v->a[j * in + i], v->da[j * in + i] += du * v->x[t * in + i];
            v->u[t * rank + j] = u;
        }
}

static void lora_case(int64_t tokens, int64_t inputs, int64_t outputs, int64_t rank, gm_type type, gm_type y_type, bool input_gradient) {
    lora_values v;
    gm_lora_args args;
    make(tokens, inputs, outputs, rank, type, y_type, &v, &args);
    void *dx = args.dx;
    if (!input_gradient) args.dx = NULL;
    OP_SCRATCH(backend->kernels->lora_backward(backend, &args));
    OP_RUN((backend->kernels->lora_forward(backend, &args), backend->kernels->lora_backward(backend, &args)));
    double *dx_before = op_doubles(tokens * inputs);
    memcpy(dx_before, v.dx, (size_t)(tokens * inputs) * sizeof *dx_before);
    reference(&args, &v);
    op_close("u", args.u, GM_F32, v.u, tokens * rank, 2e-6);
    op_close("y", args.y, y_type, v.y, tokens * outputs, 2e-6);
    op_close("dx", dx, y_type, input_gradient ? v.dx : dx_before, tokens * inputs, 2e-6);
    op_close("dA", args.da, GM_F32, v.da, rank * inputs, 4e-6);
    op_close("dB", args.db, GM_F32, v.db, rank * outputs, 4e-6);
    op_end();
}

static void test_shapes_and_types(void **state) {
    (void)state;
    static const int64_t ranks[] = {1, 2, 3, GM_LORA_RANK};
    for (int t = 0; t < OP_TOKENS; t++)
        for (int r = 0; r < 4; r++)
            for (int types = 0; types < 4; types++)
                lora_case(op_tokens[t], 33, 20, ranks[r], types & 1 ? GM_BF16 : GM_F32, types & 2 ? GM_BF16 : GM_F32, types != 1);
    lora_case(1100, 7, 9, 2, GM_F32, GM_F32, true);     /* more than the least group of tokens */
    lora_case(5, 1300, 1100, 3, GM_BF16, GM_F32, true); /* several strips */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes_and_types)};
    return op_main("lora", tests);
}
