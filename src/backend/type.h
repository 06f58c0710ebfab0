/* Element types of tensors and files, and their conversion. */
#ifndef GM_BACKEND_TYPE_H
#define GM_BACKEND_TYPE_H

#include "backend/everywhere.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum gm_type {
    GM_F32,
    GM_BF16,
    GM_F16,
    GM_F64,
    GM_I8,
    GM_U8,
    GM_I16,
    GM_U16,
    GM_I32,
    GM_U32,
    GM_I64,
    GM_U64,
    GM_BOOL,
    GM_TYPE_COUNT
} gm_type;

size_t gm_type_size(gm_type type);      /* bytes of an element                       */
const char *gm_type_name(gm_type type); /* as safetensors spells it: "F32", "BF16" … */

GM_EVERYWHERE static inline float gm_bf16_to_f32(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* Round to nearest, ties to even; NaN stays NaN. */
GM_EVERYWHERE static inline uint16_t gm_f32_to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t nan = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

/* Without a branch, so that loops over it vectorise; infinity and NaN keep the largest exponent. */
GM_EVERYWHERE static inline float gm_f16_to_f32(uint16_t value) {
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16, magnitude = value & 0x7fffu;
    uint32_t bias = magnitude >= 0x7c00u ? 224u << 23 : 112u << 23;
    uint32_t normal = (magnitude << 13) + bias, small;
    float subnormal = (float)(int32_t)magnitude * 0x1p-24f, result;
    memcpy(&small, &subnormal, sizeof small);
    uint32_t bits = sign | (magnitude < 0x400u ? small : normal);
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* out[0..count) (f32 or bf16) from in[0..count) (f32, bf16 or f16; any alignment). */
void gm_convert(void *out, gm_type out_type, const void *in, gm_type in_type, size_t count);

#endif
