/* The host functions of the kernels, gm_cuda_NAME for every entry of the table: the .cu files of kernels/ at the top, the product in cublas.c.
 * Usable from C++. */
#ifndef GM_BACKEND_CUDA_KERNELS_H
#define GM_BACKEND_CUDA_KERNELS_H

#include "backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif
#define GM_DECLARE_KERNEL(name, parameters) void gm_cuda_##name parameters;
GM_KERNEL_LIST(GM_DECLARE_KERNEL)
#undef GM_DECLARE_KERNEL
#ifdef __cplusplus
}
#endif
#endif
