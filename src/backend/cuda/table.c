/* The CUDA backend's tables. Measuring is the same functions: they see that the backend only measures, take their scratch and
 * launch nothing (GM_LAUNCH), so that plan and run cannot differ. */
#include "backend/cuda/context.h"
#include "backend/cuda/kernels.h"

#define ENTRY(name, parameters) .name = gm_cuda_##name,

const gm_kernels gm_cuda_kernels = {GM_KERNEL_LIST(ENTRY)};
const gm_kernels gm_cuda_kernels_measuring = {GM_KERNEL_LIST(ENTRY)};
