/* f16 as files have it: read where base weights and embeddings are, never written. */
#ifndef GM_BACKEND_CUDA_KERNELS_HALF_CUH
#define GM_BACKEND_CUDA_KERNELS_HALF_CUH

struct gm_half {
    uint16_t bits;
};

__device__ static inline float gm_load(const gm_half *p) {
    uint32_t sign = (uint32_t)(p->bits & 0x8000u) << 16, magnitude = p->bits & 0x7fffu;
    uint32_t bias = magnitude >= 0x7c00u ? 224u << 23 : 112u << 23; /* infinity and NaN keep the largest exponent */
    if (magnitude < 0x400u) return __uint_as_float(sign | __float_as_uint((float)(int)magnitude * 0x1p-24f));
    return __uint_as_float(sign | ((magnitude << 13) + bias));
}

template <int N> __device__ static inline void gm_load_vector(float (&v)[N], const gm_half *p) {
    static_assert(N == 8, "16 bytes");
    uint4 x = *reinterpret_cast<const uint4 *>(p);
    gm_half half[N];
    memcpy(half, &x, sizeof half);
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = gm_load(half + i);
}

#endif
