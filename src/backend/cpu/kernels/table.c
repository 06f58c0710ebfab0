/* The CPU backend's table for one instruction set. */
#include "backend/cpu/kernels/kernel.h"

enum { PIECE = 1 << 16 }; /* bytes that one thread moves at once */

static void zero(gm_backend *backend, void *out, size_t bytes) {
    (void)backend;
#pragma omp parallel for schedule(static) if (bytes > PIECE)
    for (size_t at = 0; at < bytes; at += PIECE) memset((char *)out + at, 0, bytes - at < PIECE ? bytes - at : PIECE);
}

static void copy(gm_backend *backend, void *out, const void *in, size_t bytes) {
    (void)backend;
#pragma omp parallel for schedule(static) if (bytes > PIECE)
    for (size_t at = 0; at < bytes; at += PIECE) memcpy((char *)out + at, (const char *)in + at, bytes - at < PIECE ? bytes - at : PIECE);
}

#define ENTRY(name) .name = GM_KERNEL(gm_cpu_##name)

const gm_kernels GM_KERNEL(gm_cpu_kernels) = {
    .gemm = gm_cpu_gemm,
    .zero = zero,
    .copy = copy,
    ENTRY(convert),
    ENTRY(add),
    ENTRY(scale),
    ENTRY(add_rows),
    ENTRY(column_sums),
    ENTRY(silu_forward),
    ENTRY(silu_backward),
    ENTRY(embedding),
    ENTRY(gather_rows),
    ENTRY(scatter_rows),
    ENTRY(dropout),
    ENTRY(rmsnorm_forward),
    ENTRY(rmsnorm_backward),
    ENTRY(rope),
    ENTRY(attention_forward),
    ENTRY(attention_backward),
    ENTRY(lora_forward),
    ENTRY(lora_backward),
    ENTRY(expert_ffn_forward),
    ENTRY(expert_ffn_output),
    ENTRY(expert_ffn_backward),
    ENTRY(route_forward),
    ENTRY(route_backward),
    ENTRY(router_graph_forward),
    ENTRY(router_graph_backward),
    ENTRY(poisson),
    ENTRY(normal),
    ENTRY(balance),
    ENTRY(cross_entropy),
    ENTRY(score),
    ENTRY(adamw),
    ENTRY(sum_squares),
};
