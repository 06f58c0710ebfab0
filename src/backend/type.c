#include "backend/type.h"
#include "base/status.h"

static const struct {
    const char *name;
    size_t size;
} types[GM_TYPE_COUNT] = {
    [GM_F32] = {"F32", 4}, [GM_BF16] = {"BF16", 2}, [GM_F16] = {"F16", 2},   [GM_F64] = {"F64", 8}, [GM_I8] = {"I8", 1},
    [GM_U8] = {"U8", 1},   [GM_I16] = {"I16", 2},   [GM_U16] = {"U16", 2},   [GM_I32] = {"I32", 4}, [GM_U32] = {"U32", 4},
    [GM_I64] = {"I64", 8}, [GM_U64] = {"U64", 8},   [GM_BOOL] = {"BOOL", 1},
};

size_t gm_type_size(gm_type type) { return types[type].size; }
const char *gm_type_name(gm_type type) { return types[type].name; }

static float load_f32(const unsigned char *in, gm_type type) {
    uint16_t half;
    float single;
    if (type == GM_F32) {
        memcpy(&single, in, sizeof single);
        return single;
    }
    memcpy(&half, in, sizeof half);
    return type == GM_BF16 ? gm_bf16_to_f32(half) : gm_f16_to_f32(half);
}

void gm_convert(void *out, gm_type out_type, const void *in, gm_type in_type, size_t count) {
    GM_CHECK(out_type == GM_F32 || out_type == GM_BF16, "conversion to %s", gm_type_name(out_type));
    GM_CHECK(in_type == GM_F32 || in_type == GM_BF16 || in_type == GM_F16, "conversion from %s", gm_type_name(in_type));
    size_t size = gm_type_size(in_type);
    if (in_type == out_type) {
        memcpy(out, in, count * size);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        float value = load_f32((const unsigned char *)in + i * size, in_type);
        if (out_type == GM_F32)
            ((float *)out)[i] = value;
        else
            ((uint16_t *)out)[i] = gm_f32_to_bf16(value);
    }
}
