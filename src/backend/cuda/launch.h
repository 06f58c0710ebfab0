/* What a kernel's host function needs of the backend. Usable from C++. */
#ifndef GM_BACKEND_CUDA_LAUNCH_H
#define GM_BACKEND_CUDA_LAUNCH_H

#include "backend/backend.h"

#include <cuda_runtime.h>

enum { GM_CUDA_SUMS = 1024 }; /* doubles of gm_cuda_sums */

#ifdef __cplusplus
extern "C" {
#endif

cudaStream_t gm_cuda_stream(gm_backend *backend);

/* Keeps `error`, if it is the first one, with the name of the operation where it was noticed. */
void gm_cuda_check(gm_backend *backend, cudaError_t error, const char *operation);

/* Scratch of the device: gm_arena_mark before, gm_arena_release after the last launch that uses it. Measuring, it only counts. */
void *gm_cuda_scratch(gm_backend *backend, size_t bytes);

/* A copy of the host's `bytes` in scratch; `host` may change as soon as it returns. Measuring, `host` is not read. */
void *gm_cuda_upload(gm_backend *backend, const void *host, size_t bytes);

/* Device memory for partial sums of a reduction that is over when the operation ends. */
double *gm_cuda_sums(gm_backend *backend);

/* device → host; waits for everything before. Measuring, nothing happens. */
void gm_cuda_fetch(gm_backend *backend, void *host, const void *in, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
