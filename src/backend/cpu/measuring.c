/* The table of a measuring backend: no arithmetic. Kernels that take scratch memory are the real ones; they take it,
 * see that the backend only measures, and return. */
#define GM_LEVEL base
#include "backend/cpu/kernels/kernel.h"

static void convert(gm_backend *b, void *o, gm_type ot, const void *i, gm_type it, int64_t n) {
    (void)b, (void)o, (void)ot, (void)i, (void)it, (void)n;
}
static void zero(gm_backend *b, void *o, size_t n) { (void)b, (void)o, (void)n; }
static void copy(gm_backend *b, void *o, const void *i, size_t n) { (void)b, (void)o, (void)i, (void)n; }
static void add(gm_backend *b, float *o, const void *i, gm_type t, int64_t n) { (void)b, (void)o, (void)i, (void)t, (void)n; }
static void scale(gm_backend *b, float *o, float f, int64_t n) { (void)b, (void)o, (void)f, (void)n; }
static void add_rows(gm_backend *b, void *o, gm_type t, const void *r, gm_type rt, int64_t n, int64_t c) {
    (void)b, (void)o, (void)t, (void)r, (void)rt, (void)n, (void)c;
}
static void column_sums(gm_backend *b, float *o, const float *i, int64_t r, int64_t c) { (void)b, (void)o, (void)i, (void)r, (void)c; }
static void silu_forward(gm_backend *b, float *o, const float *i, int64_t n) { (void)b, (void)o, (void)i, (void)n; }
static void silu_backward(gm_backend *b, float *d, const float *o, const float *i, int64_t n) {
    (void)b, (void)d, (void)o, (void)i, (void)n;
}
static void embedding(gm_backend *b, const gm_rows_args *a, gm_type t) { (void)b, (void)a, (void)t; }
static void sum_squares(gm_backend *b, double *o, const float *i, int64_t n) { (void)b, (void)i, (void)n, *o = 0; }

#define NOTHING(name, type)                                                                                                                \
    static void name(gm_backend *b, const type *a) { (void)b, (void)a; }
NOTHING(rows, gm_rows_args)
NOTHING(dropout, gm_dropout_args)
NOTHING(rmsnorm, gm_rmsnorm_args)
NOTHING(rope, gm_rope_args)
NOTHING(lora, gm_lora_args)
NOTHING(expert_ffn, gm_expert_ffn_args)
NOTHING(route, gm_route_args)
NOTHING(poisson, gm_poisson_args)
NOTHING(normal, gm_normal_args)
NOTHING(balance, gm_balance_args)
NOTHING(cross_entropy, gm_cross_entropy_args)
NOTHING(score, gm_score_args)
NOTHING(adamw, gm_adamw_args)

const gm_kernels gm_cpu_kernels_measuring = {
    .gemm = gm_cpu_gemm_measure,
    .convert = convert,
    .zero = zero,
    .copy = copy,
    .add = add,
    .scale = scale,
    .add_rows = add_rows,
    .column_sums = column_sums,
    .silu_forward = silu_forward,
    .silu_backward = silu_backward,
    .embedding = embedding,
    .gather_rows = rows,
    .scatter_rows = rows,
    .dropout = dropout,
    .rmsnorm_forward = rmsnorm,
    .rmsnorm_backward = rmsnorm,
    .rope = rope,
    .attention_forward = GM_KERNEL(gm_cpu_attention_forward),
    .attention_backward = GM_KERNEL(gm_cpu_attention_backward),
    .lora_forward = lora,
    .lora_backward = GM_KERNEL(gm_cpu_lora_backward),
    .expert_ffn_forward = GM_KERNEL(gm_cpu_expert_ffn_forward),
    .expert_ffn_output = expert_ffn,
    .expert_ffn_backward = GM_KERNEL(gm_cpu_expert_ffn_backward),
    .route_forward = route,
    .route_backward = route,
    .router_graph_forward = GM_KERNEL(gm_cpu_router_graph_forward),
    .router_graph_backward = GM_KERNEL(gm_cpu_router_graph_backward),
    .poisson = poisson,
    .normal = normal,
    .balance = balance,
    .cross_entropy = cross_entropy,
    .score = score,
    .adamw = adamw,
    .sum_squares = sum_squares,
};
