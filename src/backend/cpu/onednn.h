/* Matrix products by oneDNN, behind onednn.c alone. */
#ifndef GM_BACKEND_CPU_ONEDNN_H
#define GM_BACKEND_CPU_ONEDNN_H

#include "backend/backend.h"

typedef struct gm_onednn gm_onednn;

gm_status gm_onednn_open(gm_onednn **onednn, int threads); /* threads: most that multiply at once with on_thread */
void gm_onednn_close(gm_onednn *onednn);
/* Forgets primitives where there are many. No thread may be multiplying. */
void gm_onednn_limit(gm_onednn *onednn);

/* on_thread: by the calling thread alone, inside a parallel region; else by all threads, outside of one.
 * False: oneDNN has only its reference code for this product here, tens of times slower (bf16 without AVX-512), or none. */
bool gm_onednn_is_fast(gm_onednn *onednn, const gm_gemm *gemm, bool on_thread);
/* A row of an f32 product may depend in its last bits on how many rows there are and where it stands: without AVX-512. */
bool gm_onednn_mixes_rows(void);
/* Products of bf16 run at more than three times the speed of those of f32: with AMX. */
bool gm_onednn_bf16_is_much_faster(void);
/* Bytes of scratch for gm_onednn_multiply, which wants it at a multiple of 64. */
size_t gm_onednn_scratch(gm_onednn *onednn, const gm_gemm *gemm, bool on_thread);
void gm_onednn_multiply(gm_onednn *onednn, const gm_gemm *gemm, void *scratch, bool on_thread);
/* By all threads, after the product `before` with the same b and scratch, where b may lie packed from then. */
void gm_onednn_multiply_again(gm_onednn *onednn, const gm_gemm *gemm, const gm_gemm *before, void *scratch);

#endif
