/* A stand-in for the CUDA runtime's header: as much of the documented interface as the backend uses, for C and C++.
 * Kernels run on the host, thread by thread (fibers.cpp); device memory is a region that the host cannot touch (memory.cpp);
 * a stream is a queue that runs when somebody waits for it (runtime.cpp). */
#ifndef GM_EMULATION_CUDA_RUNTIME_H
#define GM_EMULATION_CUDA_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

typedef enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorECCUncorrectable = 214,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchTimeout = 702,
    cudaErrorAssert = 710,
    cudaErrorHardwareStackError = 714,
    cudaErrorIllegalInstruction = 715,
    cudaErrorMisalignedAddress = 716,
    cudaErrorInvalidAddressSpace = 717,
    cudaErrorInvalidPc = 718,
    cudaErrorLaunchFailure = 719,
    cudaErrorUnknown = 999
} cudaError_t;

typedef struct gm_emulated_stream *cudaStream_t;
typedef struct gm_emulated_event *cudaEvent_t;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaDeviceAttr {
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0, cudaMemAttachGlobal = 1 };
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    int major, minor, multiProcessorCount;
};

#ifdef __cplusplus
extern "C" {
#endif

const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError(void);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device);
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(size_t *available, size_t *all);
cudaError_t cudaMalloc(void **memory, size_t bytes);
cudaError_t cudaMallocManaged(void **memory, size_t bytes, unsigned flags);
cudaError_t cudaFree(void *memory);
cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *memory);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaMemcpyAsync(void *out, const void *in, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *out, int value, size_t bytes, cudaStream_t stream);

#ifdef __cplusplus
}

#include <cmath>
#include <cstring>

/* ---- the language's extensions */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __align__(bytes) alignas(bytes)
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

extern uint3 threadIdx, blockIdx; /* of the thread that runs */
extern dim3 blockDim, gridDim;
static const int warpSize = 32;

/* ---- what a thread waits for: fibers.cpp */

enum gm_emulated_collective {
    GM_SYNC_WARP,
    GM_SHUFFLE,
    GM_SHUFFLE_UP,
    GM_SHUFFLE_DOWN,
    GM_SHUFFLE_XOR,
    GM_BALLOT,
    GM_REDUCE_ADD,
    GM_REDUCE_MAX,
    GM_REDUCE_MIN
};
void gm_emulated_barrier(const char *file, int line);
/* All lanes of `mask` give a value and get one back. */
uint64_t gm_emulated_exchange(gm_emulated_collective kind, unsigned mask, uint64_t value, int operand, int width, const char *file,
                              int line);

#define __syncthreads() gm_emulated_barrier(__FILE__, __LINE__)
struct gm_emulated_warp_barrier {
    const char *file;
    int line;
    void operator()(unsigned mask = 0xffffffffu) const { gm_emulated_exchange(GM_SYNC_WARP, mask, 0, 0, 32, file, line); }
};
#define __syncwarp                                                                                                                         \
    gm_emulated_warp_barrier { __FILE__, __LINE__ }

template <class T>
static inline T gm_emulated_shuffle(gm_emulated_collective kind, const char *file, int line, unsigned mask, T value, int operand,
                                    int width = 32) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = gm_emulated_exchange(kind, mask, bits, operand, width, file, line);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
#define __shfl_sync(...) gm_emulated_shuffle(GM_SHUFFLE, __FILE__, __LINE__, __VA_ARGS__)
#define __shfl_up_sync(...) gm_emulated_shuffle(GM_SHUFFLE_UP, __FILE__, __LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) gm_emulated_shuffle(GM_SHUFFLE_DOWN, __FILE__, __LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) gm_emulated_shuffle(GM_SHUFFLE_XOR, __FILE__, __LINE__, __VA_ARGS__)
#define __ballot_sync(mask, predicate) (unsigned)gm_emulated_exchange(GM_BALLOT, mask, (predicate) ? 1 : 0, 0, 32, __FILE__, __LINE__)
#define __any_sync(mask, predicate) (__ballot_sync(mask, predicate) != 0)
#define __all_sync(mask, predicate) (__ballot_sync(mask, predicate) == (mask))
#define __reduce_add_sync(mask, value) gm_emulated_reduce(GM_REDUCE_ADD, __FILE__, __LINE__, mask, value)
#define __reduce_max_sync(mask, value) gm_emulated_reduce(GM_REDUCE_MAX, __FILE__, __LINE__, mask, value)
#define __reduce_min_sync(mask, value) gm_emulated_reduce(GM_REDUCE_MIN, __FILE__, __LINE__, mask, value)
static inline int gm_emulated_reduce(gm_emulated_collective kind, const char *file, int line, unsigned mask, int value) {
    return (int)gm_emulated_exchange(kind, mask, (uint64_t)(int64_t)value, 1, 32, file, line);
}
static inline unsigned gm_emulated_reduce(gm_emulated_collective kind, const char *file, int line, unsigned mask, unsigned value) {
    return (unsigned)gm_emulated_exchange(kind, mask, value, 1, 32, file, line);
}

/* ---- atomics: threads take turns, so plain code is enough. None of floats: their order would change results. */

template <class T> static inline T gm_emulated_swap(T *p, T value) {
    T old = *p;
    *p = value;
    return old;
}
static inline int atomicAdd(int *p, int v) { return gm_emulated_swap(p, *p + v); }
static inline unsigned atomicAdd(unsigned *p, unsigned v) { return gm_emulated_swap(p, *p + v); }
static inline unsigned long long atomicAdd(unsigned long long *p, unsigned long long v) { return gm_emulated_swap(p, *p + v); }
static inline int atomicMax(int *p, int v) { return gm_emulated_swap(p, *p > v ? *p : v); }
static inline int atomicMin(int *p, int v) { return gm_emulated_swap(p, *p < v ? *p : v); }
static inline int atomicExch(int *p, int v) { return gm_emulated_swap(p, v); }
static inline unsigned atomicCAS(unsigned *p, unsigned want, unsigned v) { return gm_emulated_swap(p, *p == want ? v : *p); }
static inline void __threadfence() {}

/* ---- arithmetic */

static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
#define __expf(x) expf(x)
#define __logf(x) logf(x)
static inline float __fdividef(float a, float b) { return a / b; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
template <class T> static inline T __ldg(const T *p) { return *p; }

template <class K> static inline cudaError_t cudaFuncSetAttribute(K *kernel, cudaFuncAttribute attribute, int value) {
    cudaError_t gm_emulated_allow(const void *kernel, int attribute, int value);
    return gm_emulated_allow(reinterpret_cast<const void *>(kernel), attribute, value);
}
#endif
#endif
