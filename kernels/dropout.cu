/* Dropout (Srivastava et al. 2014), inverted: what is kept is scaled up in training. The mask is backend/dropout.h's. */
#include "common.cuh"

enum { THREADS = 256, VECTOR = 8 };

template <class Out, class In>
__global__ void __launch_bounds__(THREADS) dropout(Out *out, const In *in, int64_t count, gm_dropout mask, bool accumulate, bool aligned) {
    float v[VECTOR], old[VECTOR] = {0};
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * VECTOR;
    gm_load_some(v, in, i, count, aligned);
    if (accumulate) gm_load_some(old, out, i, count, aligned);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) v[j] = old[j] + v[j] * gm_dropout_factor(&mask, (uint32_t)(i + j));
    gm_store_some(out, v, i, count, aligned);
}

extern "C" void gm_cuda_dropout(gm_backend *backend, const gm_dropout_args *a) {
    const bool aligned = ((uintptr_t)a->out | (uintptr_t)a->in) % 16 == 0;
    GM_WITH_TYPE(a->out_type, Out, GM_WITH_TYPE(a->in_type, In, {
                     GM_LAUNCH(backend, (dropout<Out, In>), gm_parts(a->count, THREADS * VECTOR), THREADS, 0, (Out *)a->out,
                               (const In *)a->in, a->count, a->dropout, a->accumulate, aligned);
                 }));
}
