/* The CUDA backend's tables. Measuring is the same functions: they see that the backend only measures, take their scratch and
 * launch nothing (GM_LAUNCH), so that plan and run cannot differ. A kernel that is not written yet is missing here. */
#include "backend/cuda/context.h"
#include "backend/cuda/kernels.h"

#define ENTRY(name) .name = gm_cuda_##name

#define ENTRIES                                                                                                                            \
    ENTRY(gemm), ENTRY(convert), ENTRY(zero), ENTRY(copy), ENTRY(add), ENTRY(scale), ENTRY(add_rows), ENTRY(column_sums),                  \
        ENTRY(silu_forward), ENTRY(silu_backward), ENTRY(embedding), ENTRY(gather_rows), ENTRY(scatter_rows), ENTRY(dropout),              \
        ENTRY(rmsnorm_forward), ENTRY(rmsnorm_backward), ENTRY(rope), ENTRY(lora_forward), ENTRY(lora_backward),                           \
        ENTRY(expert_ffn_forward), ENTRY(expert_ffn_output), ENTRY(expert_ffn_backward), ENTRY(router_graph_forward),                      \
        ENTRY(router_graph_backward), ENTRY(route_forward), ENTRY(route_backward), ENTRY(poisson), ENTRY(normal), ENTRY(balance),          \
        ENTRY(cross_entropy), ENTRY(score), ENTRY(adamw), ENTRY(sum_squares)

const gm_kernels gm_cuda_kernels = {ENTRIES};
const gm_kernels gm_cuda_kernels_measuring = {ENTRIES};
