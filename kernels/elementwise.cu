/* Kernels over flat vectors: type conversion, sums, silu.
 *     add: out += in      scale: out *= factor      add_rows: out[r] += row for every row r
 *     silu(x) = x σ(x),   silu'(x) = σ(x) (1 + x (1 − σ(x)))
 * A thread has VECTOR neighbours; memory is all that these wait for. */
#include "common.cuh"
#include "half.cuh"

enum { THREADS = 256, VECTOR = 8 };

__device__ static int64_t first_of_thread() { return ((int64_t)blockIdx.x * THREADS + threadIdx.x) * VECTOR; }
static int64_t blocks_for(int64_t count) { return gm_parts(count, THREADS * VECTOR); }
static bool whole(const void *memory) { return (uintptr_t)memory % 16 == 0; }

template <class Out, class In> __global__ void __launch_bounds__(THREADS) convert(Out *out, const In *in, int64_t count, bool aligned) {
    float v[VECTOR];
    int64_t i = first_of_thread();
    gm_load_some(v, in, i, count, aligned);
    gm_store_some(out, v, i, count, aligned);
}

template <class Out> static void convert_from(gm_backend *backend, Out *out, const void *in, gm_type in_type, int64_t count) {
    bool aligned = whole(out) && whole(in);
    if (in_type == GM_F16)
        GM_LAUNCH(backend, (convert<Out, gm_half>), blocks_for(count), THREADS, 0, out, (const gm_half *)in, count, aligned);
    else
        GM_WITH_TYPE(in_type, In,
                     GM_LAUNCH(backend, (convert<Out, In>), blocks_for(count), THREADS, 0, out, (const In *)in, count, aligned));
}

extern "C" void gm_cuda_convert(gm_backend *backend, void *out, gm_type out_type, const void *in, gm_type in_type, int64_t count) {
    if (in_type == out_type)
        gm_cuda_copy(backend, out, in, (size_t)count * gm_type_size(in_type));
    else
        GM_WITH_TYPE(out_type, Out, convert_from<Out>(backend, (Out *)out, in, in_type, count));
}

extern "C" void gm_cuda_zero(gm_backend *backend, void *out, size_t bytes) {
    if (bytes == 0 || gm_backend_measures(backend)) return;
    gm_cuda_check(backend, cudaMemsetAsync(out, 0, bytes, gm_cuda_stream(backend)), "zero");
}

extern "C" void gm_cuda_copy(gm_backend *backend, void *out, const void *in, size_t bytes) {
    if (bytes == 0 || gm_backend_measures(backend)) return;
    gm_cuda_check(backend, cudaMemcpyAsync(out, in, bytes, cudaMemcpyDeviceToDevice, gm_cuda_stream(backend)), "copy");
}

template <class In> __global__ void __launch_bounds__(THREADS) add(float *out, const In *in, int64_t count, bool aligned) {
    float sum[VECTOR], v[VECTOR];
    int64_t i = first_of_thread();
    gm_load_some(v, in, i, count, aligned);
    gm_load_some(sum, out, i, count, aligned);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) sum[j] += v[j];
    gm_store_some(out, sum, i, count, aligned);
}

extern "C" void gm_cuda_add(gm_backend *backend, float *out, const void *in, gm_type in_type, int64_t count) {
    bool aligned = whole(out) && whole(in);
    GM_WITH_TYPE(in_type, In, GM_LAUNCH(backend, add<In>, blocks_for(count), THREADS, 0, out, (const In *)in, count, aligned));
}

__global__ void __launch_bounds__(THREADS) scale(float *out, float factor, int64_t count, bool aligned) {
    float v[VECTOR];
    int64_t i = first_of_thread();
    gm_load_some(v, out, i, count, aligned);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) v[j] *= factor;
    gm_store_some(out, v, i, count, aligned);
}

extern "C" void gm_cuda_scale(gm_backend *backend, float *out, float factor, int64_t count) {
    GM_LAUNCH(backend, scale, blocks_for(count), THREADS, 0, out, factor, count, whole(out));
}

/* `aligned`: a thread's elements lie in one row. */
template <class T, class Row>
__global__ void __launch_bounds__(THREADS) add_rows(T *out, const Row *row, int64_t rows, int64_t columns, bool aligned) {
    float sum[VECTOR], v[VECTOR];
    int64_t i = first_of_thread(), count = rows * columns;
    if (i >= count) return;
    gm_load_some(sum, out, i, count, aligned);
    if (aligned) {
        gm_load_vector(v, row + i % columns);
    } else {
        for (int j = 0; j < VECTOR; j++) v[j] = gm_load(row + (i + j) % columns);
    }
#pragma unroll
    for (int j = 0; j < VECTOR; j++) sum[j] += v[j];
    gm_store_some(out, sum, i, count, aligned);
}

extern "C" void gm_cuda_add_rows(gm_backend *backend, void *out, gm_type type, const void *row, gm_type row_type, int64_t rows,
                                 int64_t columns) {
    bool aligned = gm_aligned(out, type, columns, VECTOR) && gm_aligned(row, row_type, columns, VECTOR);
    GM_WITH_TYPE(type, T,
                 GM_WITH_TYPE(row_type, Row,
                              GM_LAUNCH(backend, (add_rows<T, Row>), blocks_for(rows * columns), THREADS, 0, (T *)out, (const Row *)row,
                                        rows, columns, aligned)));
}

__global__ void __launch_bounds__(THREADS) silu_forward(float *out, const float *in, int64_t count, bool aligned) {
    float v[VECTOR];
    int64_t i = first_of_thread();
    gm_load_some(v, in, i, count, aligned);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) v[j] *= gm_sigmoid(v[j]);
    gm_store_some(out, v, i, count, aligned);
}

extern "C" void gm_cuda_silu_forward(gm_backend *backend, float *out, const float *in, int64_t count) {
    GM_LAUNCH(backend, silu_forward, blocks_for(count), THREADS, 0, out, in, count, whole(out) && whole(in));
}

__global__ void __launch_bounds__(THREADS) silu_backward(float *din, const float *dout, const float *in, int64_t count, bool aligned) {
    float d[VECTOR], x[VECTOR];
    int64_t i = first_of_thread();
    gm_load_some(d, dout, i, count, aligned);
    gm_load_some(x, in, i, count, aligned);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
        float s = gm_sigmoid(x[j]);
        d[j] *= s * (1.0f + x[j] * (1.0f - s));
    }
    gm_store_some(din, d, i, count, aligned);
}

extern "C" void gm_cuda_silu_backward(gm_backend *backend, float *din, const float *dout, const float *in, int64_t count) {
    GM_LAUNCH(backend, silu_backward, blocks_for(count), THREADS, 0, din, dout, in, count, whole(din) && whole(dout) && whole(in));
}
