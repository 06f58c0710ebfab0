/* The CUDA backend's inside: what its C files share. Kernels see launch.h alone.
 *
 * One stream takes everything in order: copies to the device, products, kernels. The host waits for it only in `read`,
 * `check` and sum_squares. The first error stays: later work is still asked for, its results are not to be used, and `check`
 * tells the trainer. */
#ifndef GM_BACKEND_CUDA_CONTEXT_H
#define GM_BACKEND_CUDA_CONTEXT_H

#include "backend/backend.h"
#include "backend/cuda/launch.h"

#include <cublasLt.h>

enum {
    GM_CUDA_SLICES = 4,            /* of the staging memory                   */
    GM_CUDA_SLICE_BYTES = 8 << 20, /* each                                    */
    GM_CUDA_WORKSPACE = 32 << 20,  /* bytes lent to cuBLASLt                  */
    GM_CUDA_PRODUCTS = 1024,       /* shapes whose algorithm is kept          */
    GM_CUDA_LEAST_MAJOR = 8,       /* compute capability: bf16 on tensor cores */
    GM_CUDA_LARGEST_HEAD = 512     /* of kernels/attention_simple.cu          */
};

/* Pinned memory on the way to the device, a ring of slices: a slice is written again when its event says that the copies
 * out of it are done. */
typedef struct gm_cuda_staging {
    unsigned char *memory; /* owned */
    cudaEvent_t event[GM_CUDA_SLICES];
    int slice;
    size_t used; /* of the slice */
} gm_cuda_staging;

typedef struct gm_cuda_product gm_cuda_product; /* cublas.c */

typedef struct gm_cuda_context {
    int device;
    cudaStream_t stream;
    gm_cuda_staging staging;
    cublasLtHandle_t blas;
    gm_cuda_product *products; /* owned, GM_CUDA_PRODUCTS */
    void *workspace;           /* owned, on the device */
    double *sums;              /* owned, on the device: GM_CUDA_SUMS */
    double gemm_seconds;       /* since they were asked for, while the backend is synchronous */
    bool failed;
    bool managed; /* memory that the host may look at: for tests */
    char error[384];
} gm_cuda_context;

static inline gm_cuda_context *gm_cuda(gm_backend *backend) { return (gm_cuda_context *)backend->context; }

/* Keeps the first failure. */
void gm_cuda_fail(gm_backend *backend, const char *operation, const char *text);

gm_status gm_cuda_staging_open(gm_cuda_staging *staging);
void gm_cuda_staging_close(gm_cuda_staging *staging);
/* host → device, in order with everything else on the stream; `host` may be changed as soon as it returns. */
void gm_cuda_write(gm_backend *backend, void *out, const void *host, size_t bytes);

/* What an allocation of `bytes` for `what` that failed with `error` is: GM_NO_MEMORY says what is there. */
gm_status gm_cuda_not_allocated(const gm_cuda_context *context, cudaError_t error, size_t bytes, const char *what);

gm_status gm_cuda_blas_open(gm_cuda_context *context);
void gm_cuda_blas_close(gm_cuda_context *context);

/* The kernels: all take the scratch that they need and, measuring, launch nothing. */
extern const gm_kernels gm_cuda_kernels, gm_cuda_kernels_measuring;

#endif
