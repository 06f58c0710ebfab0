/* The host functions of the kernels, one file each in this folder's kernels/. Usable from C++. */
#ifndef GM_BACKEND_CUDA_KERNELS_H
#define GM_BACKEND_CUDA_KERNELS_H

#include "backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* kernels/elementwise.cu */
void gm_cuda_convert(gm_backend *, void *out, gm_type out_type, const void *in, gm_type in_type, int64_t count);
void gm_cuda_zero(gm_backend *, void *out, size_t bytes);
void gm_cuda_copy(gm_backend *, void *out, const void *in, size_t bytes);
void gm_cuda_add(gm_backend *, float *out, const void *in, gm_type in_type, int64_t count);
void gm_cuda_scale(gm_backend *, float *out, float factor, int64_t count);
void gm_cuda_add_rows(gm_backend *, void *out, gm_type type, const void *row, gm_type row_type, int64_t rows, int64_t columns);
void gm_cuda_silu_forward(gm_backend *, float *out, const float *in, int64_t count);
void gm_cuda_silu_backward(gm_backend *, float *din, const float *dout, const float *in, int64_t count);
/* kernels/rmsnorm.cu */
void gm_cuda_rmsnorm_forward(gm_backend *, const gm_rmsnorm_args *);
void gm_cuda_rmsnorm_backward(gm_backend *, const gm_rmsnorm_args *);

#ifdef __cplusplus
}
#endif
#endif
