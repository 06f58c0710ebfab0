/* host → device through a ring of pinned slices: the copy runs beside what the host does next, and the caller's memory is free
 * at once. The host waits only when it is a whole ring ahead of the device. */
#include "backend/cuda/context.h"

#include <string.h>

enum { STEP = 256 }; /* copies begin at multiples of it */

gm_status gm_cuda_staging_open(gm_cuda_staging *staging) {
    void *memory = NULL;
    cudaError_t error = cudaHostAlloc(&memory, (size_t)GM_CUDA_SLICES * GM_CUDA_SLICE_BYTES, cudaHostAllocDefault);
    staging->memory = memory;
    for (int i = 0; i < GM_CUDA_SLICES && error == cudaSuccess; i++)
        error = cudaEventCreateWithFlags(&staging->event[i], cudaEventDisableTiming);
    if (error == cudaSuccess) return GM_OK;
    return gm_error(GM_NO_MEMORY, "CUDA: %d MB of pinned host memory: %s", GM_CUDA_SLICES * (GM_CUDA_SLICE_BYTES >> 20),
                    cudaGetErrorString(error));
}

void gm_cuda_staging_close(gm_cuda_staging *staging) {
    for (int i = 0; i < GM_CUDA_SLICES; i++)
        if (staging->event[i]) cudaEventDestroy(staging->event[i]);
    if (staging->memory) cudaFreeHost(staging->memory);
    *staging = (gm_cuda_staging){0};
}

/* Ends the slice and waits until the next one's copies are done. */
static cudaError_t turn(gm_cuda_staging *staging, cudaStream_t stream) {
    cudaError_t error = cudaEventRecord(staging->event[staging->slice], stream);
    staging->slice = (staging->slice + 1) % GM_CUDA_SLICES;
    staging->used = 0;
    return error == cudaSuccess ? cudaEventSynchronize(staging->event[staging->slice]) : error;
}

void gm_cuda_write(gm_backend *backend, void *out, const void *host, size_t bytes) {
    gm_cuda_staging *staging = &gm_cuda(backend)->staging;
    cudaStream_t stream = gm_cuda(backend)->stream;
    cudaError_t error = cudaSuccess;
    for (size_t done = 0, n; done < bytes && error == cudaSuccess; done += n) {
        if (staging->used >= GM_CUDA_SLICE_BYTES) error = turn(staging, stream);
        n = bytes - done < GM_CUDA_SLICE_BYTES - staging->used ? bytes - done : GM_CUDA_SLICE_BYTES - staging->used;
        unsigned char *pinned = staging->memory + (size_t)staging->slice * GM_CUDA_SLICE_BYTES + staging->used;
        memcpy(pinned, (const unsigned char *)host + done, n);
        if (error == cudaSuccess) error = cudaMemcpyAsync((unsigned char *)out + done, pinned, n, cudaMemcpyHostToDevice, stream);
        staging->used += (n + STEP - 1) / STEP * STEP;
    }
    gm_cuda_check(backend, error, "writing to the device");
}
