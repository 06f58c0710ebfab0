/* The CPU backend's table for one instruction set. */
#include "backend/cpu/kernels/kernel.h"

enum { PIECE = 1 << 16 }; /* bytes that one thread moves at once */

void GM_KERNEL(gm_cpu_zero)(gm_backend *backend, void *out, size_t bytes) {
    (void)backend;
#pragma omp parallel for schedule(static) if (bytes > PIECE)
    for (size_t at = 0; at < bytes; at += PIECE) memset((char *)out + at, 0, bytes - at < PIECE ? bytes - at : PIECE);
}

void GM_KERNEL(gm_cpu_copy)(gm_backend *backend, void *out, const void *in, size_t bytes) {
    (void)backend;
#pragma omp parallel for schedule(static) if (bytes > PIECE)
    for (size_t at = 0; at < bytes; at += PIECE) memcpy((char *)out + at, (const char *)in + at, bytes - at < PIECE ? bytes - at : PIECE);
}

/* oneDNN chooses its instructions by itself. */
void GM_KERNEL(gm_cpu_gemm)(gm_backend *backend, const gm_gemm *args) { gm_cpu_gemm(backend, args); }

#define ENTRY(name, parameters) .name = GM_KERNEL(gm_cpu_##name),

const gm_kernels GM_KERNEL(gm_cpu_kernels) = {GM_KERNEL_LIST(ENTRY)};
