/* Dropout (Srivastava et al. 2014), inverted: what is kept is scaled up in training, evaluation does nothing. */
#include "backend/cpu/kernels/kernel.h"

enum { BLOCK = 1024 };

static void drop_block(const gm_dropout_args *args, int64_t first, int64_t n) {
    float in_buffer[BLOCK], out_buffer[BLOCK], out[BLOCK];
    const float *in = gm_row_f32(args->in, args->in_type, first, n, in_buffer);
    const gm_dropout dropout = args->dropout;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = in[i] * gm_dropout_factor(&dropout, (uint32_t)(first + i));
    if (args->accumulate) gm_axpy(out, 1.0f, gm_row_f32(args->out, args->out_type, first, n, out_buffer), n);
    gm_row_store(args->out, args->out_type, first, n, out);
}

void GM_KERNEL(gm_cpu_dropout)(gm_backend *backend, const gm_dropout_args *args) {
    (void)backend;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < args->count; first += BLOCK) drop_block(args, first, gm_least(BLOCK, args->count - first));
}
