/* A stand-in for cuda_bf16.h: what the kernels use of it. */
#ifndef GM_EMULATION_CUDA_BF16_H
#define GM_EMULATION_CUDA_BF16_H

#include <cuda_runtime.h>

struct alignas(2) __nv_bfloat16 {
    uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline float __bfloat162float(__nv_bfloat16 value) { return __uint_as_float((unsigned)value.bits << 16); }

/* Round to nearest, ties to even; every NaN becomes 0x7fff. */
static inline __nv_bfloat16 __float2bfloat16_rn(float value) {
    unsigned bits = __float_as_uint(value);
    if (value != value) return {0x7fff};
    return {(uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high) { return {__float2bfloat16_rn(low), __float2bfloat16_rn(high)}; }

#endif
