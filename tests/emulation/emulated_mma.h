/* kernels/mma.cuh's instructions in emulation. */
#ifndef GM_EMULATED_MMA_H
#define GM_EMULATED_MMA_H

#include "emulation.h"

void gm_emulated_mma(float *c, const unsigned *a, const unsigned *b, const char *file, int line);
void gm_emulated_load_matrices(unsigned *r, int count, bool transposed, const void *row, const char *file, int line);
/* The bytes arrive when the thread waits for them; until then NaN is there. */
void gm_emulated_copy_async(void *shared, const void *in, int bytes, bool valid, const char *file, int line);
void gm_emulated_copy_async_commit();
void gm_emulated_copy_async_wait(int but);

#define gm_mma_bf16(c, a, b) gm_emulated_mma(c, a, b, __FILE__, __LINE__)
#define gm_copy_async(shared, in, valid) gm_emulated_copy_async(shared, in, 16, valid, __FILE__, __LINE__)
#define gm_copy_async_short(shared, in, valid) gm_emulated_copy_async(shared, in, 8, valid, __FILE__, __LINE__)
static inline void gm_copy_async_commit() { gm_emulated_copy_async_commit(); }
template <int N> static inline void gm_copy_async_wait() { gm_emulated_copy_async_wait(N); }

static inline float gm_exp2(float x) { return exp2f(x); }

/* A function where the others are macros: template arguments. Lanes at different calls are not told apart by their lines. */
template <bool TRANSPOSED, int N> static inline void gm_load_matrices(unsigned (&r)[N], const void *row) {
    static_assert(N == 2 || N == 4, "two or four matrices");
    gm_emulated_load_matrices(r, N, TRANSPOSED, row, __FILE__, __LINE__ + N + TRANSPOSED);
}

#endif
