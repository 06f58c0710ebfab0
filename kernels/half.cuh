/* f16 as files have it: read where base weights and embeddings are, never written. */
#ifndef GM_BACKEND_CUDA_KERNELS_HALF_CUH
#define GM_BACKEND_CUDA_KERNELS_HALF_CUH

struct gm_half {
    uint16_t bits;
};

__device__ static inline float gm_load(const gm_half *p) { return gm_f16_to_f32(p->bits); }

template <int N> __device__ static inline void gm_load_vector(float (&v)[N], const gm_half *p) {
    static_assert(N == 8, "16 bytes");
    uint4 x = *reinterpret_cast<const uint4 *>(p);
    gm_half half[N];
    memcpy(half, &x, sizeof half);
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = gm_load(half + i);
}

#endif
