/* One function per PTX instruction for tensor cores: products of 16×8×16 in bf16 with f32 sums, loads of 8×8 matrices from
 * shared memory, copies to shared memory that run on their own. In emulation the same functions move the same elements between
 * the lanes (tests/emulation/mma.cpp), by the layouts that the PTX manual documents for mma.m16n8k16 and ldmatrix:
 *     lane l has row l/4 and columns 2(l%4), 2(l%4)+1 of an 8×8 piece, in one register of two bf16 (the lower column low)
 *     a (16×16, rows):    a[0] rows 0–7, k 0–7    a[1] rows 8–15, k 0–7    a[2] rows 0–7, k 8–15    a[3] rows 8–15, k 8–15
 *     b (16×8):           b[0] k 0–7, b[1] k 8–15; the piece is transposed: lane l has column n = l/4 and k = 2(l%4), 2(l%4)+1
 *     c, d (16×8, f32):   [0], [1] row l/4, columns 2(l%4), +1    [2], [3] the same columns of row l/4 + 8
 * All lanes of the warp call these together. Addresses in shared memory are multiples of 16 bytes. */
#ifndef GM_BACKEND_CUDA_KERNELS_MMA_CUH
#define GM_BACKEND_CUDA_KERNELS_MMA_CUH

#include "common.cuh"

#ifdef GM_EMULATION
#include <emulated_mma.h>
#else

/* c += a b */
__device__ __forceinline__ void gm_mma_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ unsigned gm_shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* N = 2 or 4 matrices of 8×8 bf16: lane l gives the address of row l%8 of matrix l/8 (lanes from 8N on: any valid address), and
 * gets in r[i] its pair of matrix i; TRANSPOSED: of its transpose. */
template <bool TRANSPOSED, int N> __device__ __forceinline__ void gm_load_matrices(unsigned (&r)[N], const void *row) {
    static_assert(N == 2 || N == 4, "two or four matrices");
    if constexpr (N == 4 && !TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(gm_shared_address(row))
                     : "memory");
    else if constexpr (N == 4)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(gm_shared_address(row))
                     : "memory");
    else if constexpr (!TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(gm_shared_address(row))
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(gm_shared_address(row))
                     : "memory");
}

/* 16 bytes from global to shared memory, on their own; zeros where !valid (`in` is not read then). */
__device__ __forceinline__ void gm_copy_async(void *shared, const void *in, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(gm_shared_address(shared)), "l"(in), "r"(valid ? 16 : 0) : "memory");
}
/* The same with 8 bytes, addresses multiples of 8. */
__device__ __forceinline__ void gm_copy_async_short(void *shared, const void *in, bool valid) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(gm_shared_address(shared)), "l"(in), "r"(valid ? 8 : 0) : "memory");
}
/* What this thread asked for since the last call is a group. */
__device__ __forceinline__ void gm_copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* All groups of this thread but the last N are there; for other threads after a barrier. */
template <int N> __device__ __forceinline__ void gm_copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

/* 2^x within 2 units in the last place; 2^−∞ = 0. */
__device__ __forceinline__ float gm_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
#endif
