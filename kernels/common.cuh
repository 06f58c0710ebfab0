/* What the kernels share: the launch, vectors of 16 bytes, loads and stores of f32 and bf16, reductions in a fixed order.
 *
 * A file here is one operation: its kernels, then an extern "C" function with the signature of the table's entry
 * (backend/cuda/kernels.h), which takes scratch and launches. The same file is compiled by nvcc and, as C++, against the
 * stand-ins of tests/emulation; what differs between the two is in this header alone:
 *     GM_LAUNCH(backend, kernel, grid, block, shared_bytes, arguments…)      (kernel<T, 4>) goes in parentheses
 *     GM_SHARED(type, name, [64][65]), GM_DYNAMIC_SHARED(type, name)         no bare __shared__
 *     a block's size is a multiple of 32; no lane of a warp leaves before the warp's last collective
 *     no pointer of the host in a kernel's arguments: gm_cuda_upload brings small data over
 * Sums over tokens go in parts whose size depends on the shape alone, and the parts are added in order: no float atomics. */
#ifndef GM_BACKEND_CUDA_KERNELS_COMMON_CUH
#define GM_BACKEND_CUDA_KERNELS_COMMON_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern "C" {
#include "backend/backend.h"
}
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"

#ifdef GM_EMULATION
#include <emulation.h>
enum { GM_SCRATCH_MOST = 1 << 16 }; /* bytes that a kernel plans for one of its purposes: little, so that small tests take several chunks */
#else
enum { GM_SCRATCH_MOST = 96 << 20 };
#define GM_SHARED(type, name, dimensions) __shared__ __align__(16) type name dimensions /* read as vectors too */
#define GM_DYNAMIC_SHARED(type, name)                                                                                                      \
    extern __shared__ __align__(16) unsigned char gm_dynamic_shared[];                                                                     \
    type *name = reinterpret_cast<type *>(gm_dynamic_shared)
#define GM_START(kernel, grid, block, shared, stream, ...) kernel<<<grid, block, shared, stream>>>(__VA_ARGS__)
#endif

/* Bytes of dynamic shared memory that need no leave beside up to 46 KB of static one: above 48 KB together a launch fails without.
 * 99 KB together is what every device has. */
enum { GM_SHARED_PLAIN = 2 << 10 };

#define GM_LAUNCH(backend, kernel, grid, block, shared, ...)                                                                               \
    do {                                                                                                                                   \
        const dim3 gm_grid = gm_dim(grid), gm_block = gm_dim(block);                                                                       \
        if (gm_backend_measures(backend) || gm_grid.x == 0 || gm_grid.y == 0 || gm_grid.z == 0) break;                                     \
        if ((shared) > GM_SHARED_PLAIN)                                                                                                    \
            gm_cuda_check(backend, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(shared)), #kernel);     \
        GM_START(kernel, gm_grid, gm_block, (size_t)(shared), gm_cuda_stream(backend), __VA_ARGS__);                                       \
        gm_cuda_check(backend, cudaGetLastError(), #kernel);                                                                               \
    } while (0)

static inline dim3 gm_dim(int64_t n) {
    GM_CHECK(n >= 0 && n < (int64_t)1 << 31, "a launch of %lld blocks", (long long)n);
    return dim3((unsigned)n);
}
static inline dim3 gm_dim(dim3 n) { return n; }
__host__ __device__ static inline int64_t gm_parts(int64_t count, int64_t size) { return (count + size - 1) / size; }

enum { GM_WARP = 32, GM_WARPS_MOST = 32 };

using gm_bf16 = __nv_bfloat16;

/* Calls body with T = float or gm_bf16. */
#define GM_WITH_TYPE(type, T, ...)                                                                                                         \
    do {                                                                                                                                   \
        GM_CHECK((type) == GM_F32 || (type) == GM_BF16, "a kernel for %s", gm_type_name(type));                                            \
        if ((type) == GM_F32) {                                                                                                            \
            using T = float;                                                                                                               \
            __VA_ARGS__;                                                                                                                   \
        } else {                                                                                                                           \
            using T = gm_bf16;                                                                                                             \
            __VA_ARGS__;                                                                                                                   \
        }                                                                                                                                  \
    } while (0)

template <class I> __host__ __device__ __forceinline__ I gm_least(I a, I b) { return a < b ? a : b; }
template <class I> __host__ __device__ __forceinline__ I gm_most(I a, I b) { return a > b ? a : b; }

__device__ __forceinline__ float gm_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/* ---- f32 from and to memory */

__device__ __forceinline__ float gm_load(const float *p) { return *p; }
__device__ __forceinline__ float gm_load(const gm_bf16 *p) { return __bfloat162float(*p); }
__device__ __forceinline__ void gm_store(float *p, float value) { *p = value; }
__device__ __forceinline__ void gm_store(gm_bf16 *p, float value) { *p = __float2bfloat16_rn(value); }

/* N elements at once, N·sizeof(T) a multiple of 16 (or 8) and p aligned to it. */
template <int N> __device__ __forceinline__ void gm_load_vector(float (&v)[N], const float *p) {
    static_assert(N % 4 == 0, "whole vectors");
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        float4 x = *reinterpret_cast<const float4 *>(p + i);
        v[i] = x.x, v[i + 1] = x.y, v[i + 2] = x.z, v[i + 3] = x.w;
    }
}

template <int N> __device__ __forceinline__ void gm_store_vector(float *p, const float (&v)[N]) {
    static_assert(N % 4 == 0, "whole vectors");
#pragma unroll
    for (int i = 0; i < N; i += 4) *reinterpret_cast<float4 *>(p + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
}

__device__ __forceinline__ void gm_widen_pair(float *v, unsigned bits) {
    v[0] = __uint_as_float(bits << 16);
    v[1] = __uint_as_float(bits & 0xffff0000u);
}

__device__ __forceinline__ unsigned gm_narrow_pair(float low, float high) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    unsigned bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

template <int N> __device__ __forceinline__ void gm_load_vector(float (&v)[N], const gm_bf16 *p) {
    static_assert(N == 4 || N % 8 == 0, "whole vectors");
    if constexpr (N == 4) {
        uint2 x = *reinterpret_cast<const uint2 *>(p);
        gm_widen_pair(v, x.x), gm_widen_pair(v + 2, x.y);
    } else {
#pragma unroll
        for (int i = 0; i < N; i += 8) {
            uint4 x = *reinterpret_cast<const uint4 *>(p + i);
            gm_widen_pair(v + i, x.x), gm_widen_pair(v + i + 2, x.y), gm_widen_pair(v + i + 4, x.z), gm_widen_pair(v + i + 6, x.w);
        }
    }
}

template <int N> __device__ __forceinline__ void gm_store_vector(gm_bf16 *p, const float (&v)[N]) {
    static_assert(N == 4 || N % 8 == 0, "whole vectors");
    if constexpr (N == 4) {
        *reinterpret_cast<uint2 *>(p) = make_uint2(gm_narrow_pair(v[0], v[1]), gm_narrow_pair(v[2], v[3]));
    } else {
#pragma unroll
        for (int i = 0; i < N; i += 8)
            *reinterpret_cast<uint4 *>(p + i) = make_uint4(gm_narrow_pair(v[i], v[i + 1]), gm_narrow_pair(v[i + 2], v[i + 3]),
                                                           gm_narrow_pair(v[i + 4], v[i + 5]), gm_narrow_pair(v[i + 6], v[i + 7]));
    }
}

/* Elements i … i+N of a row of n: whole where all of them are there and `aligned`, else one by one; absent ones are `fill`. */
template <int N, class T>
__device__ __forceinline__ void gm_load_some(float (&v)[N], const T *row, int64_t i, int64_t n, bool aligned, float fill = 0) {
    if (aligned && i + N <= n) {
        gm_load_vector(v, row + i);
        return;
    }
#pragma unroll
    for (int j = 0; j < N; j++) v[j] = i + j < n ? gm_load(row + i + j) : fill;
}

template <int N, class T> __device__ __forceinline__ void gm_store_some(T *row, const float (&v)[N], int64_t i, int64_t n, bool aligned) {
    if (aligned && i + N <= n) {
        gm_store_vector(row + i, v);
        return;
    }
#pragma unroll
    for (int j = 0; j < N; j++)
        if (i + j < n) gm_store(row + i + j, v[j]);
}

/* Rows of n elements can be read N at a time: N divides n and memory begins at a multiple of their bytes (16 at most). */
static inline bool gm_aligned(const void *memory, gm_type type, int64_t n, int64_t together) {
    size_t bytes = (size_t)together * gm_type_size(type);
    return n % together == 0 && (uintptr_t)memory % (bytes < 16 ? bytes : 16) == 0;
}

/* ---- reductions: a butterfly within the warp, then the warps in order; every thread of the block gets the result. */

struct gm_plus {
    template <class F> __device__ __forceinline__ F operator()(F a, F b) const { return a + b; }
};
struct gm_larger {
    template <class F> __device__ __forceinline__ F operator()(F a, F b) const { return gm_most(a, b); }
};

template <class F, class Join> __device__ __forceinline__ F gm_warp_join(F value, Join join) {
#pragma unroll
    for (int distance = GM_WARP / 2; distance > 0; distance /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}

/* All threads of a one-dimensional block call this together. */
template <class F, class Join> __device__ __forceinline__ F gm_block_join(F value, Join join) {
    GM_SHARED(F, part, [GM_WARPS_MOST]);
    const int warp = threadIdx.x / GM_WARP, warps = blockDim.x / GM_WARP;
    value = gm_warp_join(value, join);
    if (threadIdx.x % GM_WARP == 0) part[warp] = value;
    __syncthreads();
    F all = part[0];
    for (int w = 1; w < warps; w++) all = join(all, part[w]);
    __syncthreads(); /* part is free for the next call */
    return all;
}

template <class F> __device__ __forceinline__ F gm_warp_sum(F value) { return gm_warp_join(value, gm_plus()); }
template <class F> __device__ __forceinline__ F gm_warp_most(F value) { return gm_warp_join(value, gm_larger()); }
template <class F> __device__ __forceinline__ F gm_block_sum(F value) { return gm_block_join(value, gm_plus()); }
template <class F> __device__ __forceinline__ F gm_block_most(F value) { return gm_block_join(value, gm_larger()); }

#endif
