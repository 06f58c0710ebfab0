/* The table of a measuring backend: kernels do nothing, but for those that take scratch memory. These are the real ones; they take
 * it, see that the backend only measures, and return. One that is left out here fails its test in tests/ops, which gives a kernel
 * the scratch memory that it asked for when measured. */
#define GM_LEVEL base
#include "backend/cpu/kernels/kernel.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Woverride-init"

#define NOTHING(name, parameters)                                                                                                          \
    static void nothing_##name parameters {}
GM_KERNEL_LIST(NOTHING)

static void no_squares(gm_backend *backend, double *out, const float *in, int64_t count) { *out = 0; } /* the host's, to be read */

#define ENTRY(name, parameters) .name = nothing_##name,
#define TAKES_SCRATCH(kernel) .kernel = GM_KERNEL(gm_cpu_##kernel)

const gm_kernels gm_cpu_kernels_measuring = {
    GM_KERNEL_LIST(ENTRY) /* and in their place: */
    TAKES_SCRATCH(attention_forward),
    TAKES_SCRATCH(attention_backward),
    TAKES_SCRATCH(lora_backward),
    TAKES_SCRATCH(expert_ffn_forward),
    TAKES_SCRATCH(expert_ffn_backward),
    TAKES_SCRATCH(router_graph_forward),
    TAKES_SCRATCH(router_graph_backward),
    .sum_squares = no_squares,
};
