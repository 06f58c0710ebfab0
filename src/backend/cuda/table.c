/* The CUDA backend's tables. Measuring is the same functions: they see that the backend only measures, take their scratch and
 * launch nothing (GM_LAUNCH), so that plan and run cannot differ. A kernel that is not written yet is missing here. */
#include "backend/cuda/context.h"
#include "backend/cuda/kernels.h"

#define ENTRY(name) .name = gm_cuda_##name

#define ENTRIES                                                                                                                            \
    ENTRY(gemm), ENTRY(convert), ENTRY(zero), ENTRY(copy), ENTRY(add), ENTRY(scale), ENTRY(add_rows), ENTRY(silu_forward),                 \
        ENTRY(silu_backward), ENTRY(rmsnorm_forward), ENTRY(rmsnorm_backward)

const gm_kernels gm_cuda_kernels = {ENTRIES};
const gm_kernels gm_cuda_kernels_measuring = {ENTRIES};
