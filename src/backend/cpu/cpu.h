/* The CPU backend's inside: what its files share. */
#ifndef GM_BACKEND_CPU_CPU_H
#define GM_BACKEND_CPU_CPU_H

#include "backend/backend.h"
#include "backend/cpu/onednn.h"

typedef struct gm_cpu_context {
    gm_onednn *onednn;
    int threads;
    bool fast_bf16; /* products of bf16 need not be widened to f32  */
    void (*split)(uint16_t *out, const float *in, int64_t rows, int64_t columns, int64_t stride); /* kernels/split.c */
    void *gemm_scratch; /* owned: of products that all threads share    */
    size_t gemm_scratch_bytes;
    double gemm_seconds; /* products that all threads share */
    struct {
        double gemm_seconds;
        char padding[56];
    } *thread; /* owned: what kernels multiply inside parallel regions, by thread */
} gm_cpu_context;

static inline gm_cpu_context *gm_cpu(gm_backend *backend) { return backend->context; }

void gm_cpu_gemm(gm_backend *backend, const gm_gemm *gemm);
/* The same where a row's bits may not depend on the rows beside it (gemm_rows.c): f32, a not transposed. */
void gm_cpu_gemm_rows(gm_backend *backend, const gm_gemm *gemm);
/* f32 with a b of bf16 (gemm_split.c). */
void gm_cpu_gemm_split(gm_backend *backend, const gm_gemm *gemm);
/* At least so many bytes of the scratch memory that products of all threads share, at a multiple of 64; contents: any. */
void *gm_cpu_gemm_reserve(gm_backend *backend, size_t bytes);

/* A product inside a parallel region: runs on the calling thread alone. `scratch` of gm_cpu_gemm_scratch bytes for
 * this product is the caller's (one a thread). */
size_t gm_cpu_gemm_scratch(gm_backend *backend, const gm_gemm *gemm);
void gm_cpu_gemm_on_thread(gm_backend *backend, const gm_gemm *gemm, void *scratch);

/* The kernels, compiled once per instruction set (src/backend/cpu/kernels, CMakeLists.txt there). */
extern const gm_kernels gm_cpu_kernels_base;
void gm_cpu_split_base(uint16_t *out, const float *in, int64_t rows, int64_t columns, int64_t stride);
#ifdef GM_CPU_X86_LEVELS
extern const gm_kernels gm_cpu_kernels_v3; /* AVX2, FMA   */
extern const gm_kernels gm_cpu_kernels_v4; /* AVX-512     */
void gm_cpu_split_v4(uint16_t *out, const float *in, int64_t rows, int64_t columns, int64_t stride);
#endif
extern const gm_kernels gm_cpu_kernels_measuring;

#endif
