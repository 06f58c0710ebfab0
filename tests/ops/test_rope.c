/* Rotary embedding against cos and sin in double, up to far positions; the inverse turns back and is the transpose. */
#include "op_test.h"

typedef struct rope_case {
    int64_t tokens, heads, size;
    gm_type type;
    int32_t last; /* greatest position */
    float amplitude;
} rope_case;

static gm_rope_args make(const rope_case *c, double *x) {
    int64_t n = c->tokens * c->heads * c->size;
    int32_t *positions = op_integers(c->tokens);
    float *frequencies = op_floats(c->size / 2);
    for (int64_t t = 0; t < c->tokens; t++) positions[t] = (int32_t)gm_random_below(&op_random, (uint32_t)c->last + 1);
    for (int64_t i = 0; i < c->size / 2; i++) frequencies[i] = powf(10000.0f, -2.0f * (float)i / (float)c->size);
    return (gm_rope_args){.x = op_typed(c->type, x, n),
                          .positions = positions,
                          .frequencies = frequencies,
                          .amplitude = c->amplitude,
                          .type = c->type,
                          .tokens = c->tokens,
                          .heads = c->heads,
                          .head_size = c->size};
}

static void rotate(double *x, const gm_rope_args *a, double direction) {
    for (int64_t t = 0; t < a->tokens; t++)
        for (int64_t h = 0; h < a->heads; h++)
            for (int64_t i = 0; i < a->head_size / 2; i++) {
                double *first = x + (t * a->heads + h) * a->head_size + i, *second = first + a->head_size / 2, old = *first;
                float angle = (float)a->positions[t] * a->frequencies[i]; /* rounded to f32, as in Hugging Face */
                double c = (double)a->amplitude * cos((double)angle), s = (double)a->amplitude * sin((double)angle) * direction;
                *first = old * c - *second * s;
                *second = *second * c + old * s;
            }
}

static void test_rope(void **state) {
    (void)state;
    static const rope_case cases[] = {
        {1, 1, 2, GM_F32, 0, 1},           {17, 3, 6, GM_F32, 100, 1},
        {127, 4, 64, GM_F32, 4095, 1},     {300, 2, 128, GM_F32, 131071, 1.25f},
        {17, 2, 300, GM_F32, 1 << 20, 1},  {300, 5, 10, GM_BF16, 4095, 0.9f},
        {127, 2, 128, GM_BF16, 131071, 1}, {4, 1, 64, GM_F32, INT32_MAX - 1, 1},
        {9, 3, 1100, GM_F32, 4095, 1},     {9, 2, 640, GM_BF16, 4095, 1.25f},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int inverse = 0; inverse < 2; inverse++) {
            int64_t n = cases[c].tokens * cases[c].heads * cases[c].size;
            double *x = op_values(n, 1);
            gm_rope_args args = make(&cases[c], x);
            args.inverse = inverse;
            OP_RUN(backend->kernels->rope(backend, &args));
            rotate(x, &args, inverse ? -1 : 1);
            op_close(inverse ? "inverse" : "rotated", args.x, args.type, x, n, 3e-7);
            op_end();
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rope)};
    return op_main("rope", tests);
}
