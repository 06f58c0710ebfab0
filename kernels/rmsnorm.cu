/* RMSNorm: y = x · inv_rms ∘ w,   inv_rms = 1 / sqrt(mean(x²) + eps)        (Zhang & Sennrich 2019, eq. 4)
 *     x, y: rows×columns   inv_rms: rows f32   w: columns (frozen)
 * Backward: dx = inv_rms · (w∘dy − x · inv_rms² · mean(x∘w∘dy)), written or added.
 * Wide rows (hidden states) have a block each, narrow ones (heads) a warp. The second pass over a row finds it in the cache. */
#include "common.cuh"

enum { THREADS = 256, ROWS = THREADS / GM_WARP, NARROW = 1024, VECTOR = 8 };

struct rows {
    int64_t rows, columns;
    bool aligned; /* all matrices: whole vectors */
};

/* The row of this thread, and its place among the row's threads. */
template <bool WIDE> __device__ static int64_t my_row() {
    return WIDE ? (int64_t)blockIdx.x : (int64_t)blockIdx.x * ROWS + threadIdx.x / GM_WARP;
}
template <bool WIDE> __device__ static int64_t my_first() { return (WIDE ? threadIdx.x : threadIdx.x % GM_WARP) * VECTOR; }
template <bool WIDE> __device__ static float row_sum(float value) { return WIDE ? gm_block_sum(value) : gm_warp_sum(value); }
enum { WIDE_STEP = THREADS * VECTOR, NARROW_STEP = GM_WARP * VECTOR };

template <bool WIDE, class X, class Y, class W>
__global__ void __launch_bounds__(THREADS) rmsnorm_forward(Y *y, float *inv_rms, const X *x, const W *w, rows n, float eps) {
    const int64_t row = my_row<WIDE>(), first = my_first<WIDE>(), step = WIDE ? WIDE_STEP : NARROW_STEP;
    if (row >= n.rows) return; /* a whole warp, or nobody */
    x += row * n.columns, y += row * n.columns;
    float v[VECTOR], weight[VECTOR], sum = 0;
    for (int64_t i = first; i < n.columns; i += step) {
        gm_load_some(v, x, i, n.columns, n.aligned);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) sum += v[j] * v[j];
    }
    const float inv = 1.0f / sqrtf(row_sum<WIDE>(sum) / (float)n.columns + eps);
    for (int64_t i = first; i < n.columns; i += step) {
        gm_load_some(v, x, i, n.columns, n.aligned);
        gm_load_some(weight, w, i, n.columns, n.aligned);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) v[j] = v[j] * inv * weight[j];
        gm_store_some(y, v, i, n.columns, n.aligned);
    }
    if (first == 0) inv_rms[row] = inv;
}

template <bool WIDE, class X, class DY, class W>
__global__ void __launch_bounds__(THREADS)
    rmsnorm_backward(X *dx, const X *x, const W *w, const DY *dy, const float *inv_rms, rows n, bool accumulate) {
    const int64_t row = my_row<WIDE>(), first = my_first<WIDE>(), step = WIDE ? WIDE_STEP : NARROW_STEP;
    if (row >= n.rows) return;
    x += row * n.columns, dx += row * n.columns, dy += row * n.columns;
    float v[VECTOR], weight[VECTOR], d[VECTOR], dot = 0;
    for (int64_t i = first; i < n.columns; i += step) {
        gm_load_some(v, x, i, n.columns, n.aligned);
        gm_load_some(d, dy, i, n.columns, n.aligned);
        gm_load_some(weight, w, i, n.columns, n.aligned);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) dot += v[j] * weight[j] * d[j];
    }
    const float inv = inv_rms[row], along = inv * inv * inv * (row_sum<WIDE>(dot) / (float)n.columns);
    for (int64_t i = first; i < n.columns; i += step) {
        float old[VECTOR] = {0};
        if (accumulate) gm_load_some(old, dx, i, n.columns, n.aligned); /* the one that comes from memory, first */
        gm_load_some(v, x, i, n.columns, n.aligned);
        gm_load_some(d, dy, i, n.columns, n.aligned);
        gm_load_some(weight, w, i, n.columns, n.aligned);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) v[j] = old[j] + inv * weight[j] * d[j] - along * v[j];
        gm_store_some(dx, v, i, n.columns, n.aligned);
    }
}

static rows shape_of(const gm_rmsnorm_args *a, const void *other, gm_type other_type) {
    bool aligned = gm_aligned(a->x, a->x_type, a->columns, VECTOR) && gm_aligned(a->w, a->w_type, a->columns, VECTOR) &&
                   gm_aligned(other, other_type, a->columns, VECTOR);
    return {a->rows, a->columns, aligned};
}

template <class X, class Y, class W> static void forward(gm_backend *backend, const gm_rmsnorm_args *a) {
    rows n = shape_of(a, a->y, a->y_type);
    if (a->columns > NARROW)
        GM_LAUNCH(backend, (rmsnorm_forward<true, X, Y, W>), a->rows, THREADS, 0, (Y *)a->y, a->inv_rms, (const X *)a->x, (const W *)a->w,
                  n, a->eps);
    else
        GM_LAUNCH(backend, (rmsnorm_forward<false, X, Y, W>), gm_parts(a->rows, ROWS), THREADS, 0, (Y *)a->y, a->inv_rms, (const X *)a->x,
                  (const W *)a->w, n, a->eps);
}

template <class X, class DY, class W> static void backward(gm_backend *backend, const gm_rmsnorm_args *a) {
    rows n = shape_of(a, a->dy, a->dy_type);
    n.aligned = n.aligned && gm_aligned(a->dx, a->x_type, a->columns, VECTOR);
    if (a->columns > NARROW)
        GM_LAUNCH(backend, (rmsnorm_backward<true, X, DY, W>), a->rows, THREADS, 0, (X *)a->dx, (const X *)a->x, (const W *)a->w,
                  (const DY *)a->dy, a->inv_rms, n, a->accumulate);
    else
        GM_LAUNCH(backend, (rmsnorm_backward<false, X, DY, W>), gm_parts(a->rows, ROWS), THREADS, 0, (X *)a->dx, (const X *)a->x,
                  (const W *)a->w, (const DY *)a->dy, a->inv_rms, n, a->accumulate);
}

extern "C" void gm_cuda_rmsnorm_forward(gm_backend *backend, const gm_rmsnorm_args *args) {
    GM_WITH_TYPE(args->x_type, X, GM_WITH_TYPE(args->y_type, Y, GM_WITH_TYPE(args->w_type, W, forward<X, Y, W>(backend, args))));
}

extern "C" void gm_cuda_rmsnorm_backward(gm_backend *backend, const gm_rmsnorm_args *args) {
    GM_WITH_TYPE(args->x_type, X, GM_WITH_TYPE(args->dy_type, DY, GM_WITH_TYPE(args->w_type, W, backward<X, DY, W>(backend, args))));
}
