/* Kernels that move rows, a block each.
 *     embedding:    out[i] = table[row[i]] in f32       out: count×columns f32, table: of table_type
 *     gather_rows:  out[i] = in[row[i]]                 out: count×columns, in: any number of rows
 *     scatter_rows: out[row[i]] = in[i], else 0         out: out_rows×columns; row[] has no duplicates */
#include "common.cuh"
#include "half.cuh"

enum { THREADS = 256, VECTOR = 8 };

template <class T>
__global__ void __launch_bounds__(THREADS) embedding(float *out, const T *table, const int32_t *row, int64_t columns, bool aligned) {
    float v[VECTOR];
    out += blockIdx.x * columns, table += row[blockIdx.x] * columns;
    for (int64_t i = threadIdx.x * VECTOR; i < columns; i += THREADS * VECTOR) {
        gm_load_some(v, table, i, columns, aligned);
        gm_store_some(out, v, i, columns, aligned);
    }
}

extern "C" void gm_cuda_embedding(gm_backend *backend, const gm_rows_args *a, gm_type table_type) {
    bool aligned = gm_aligned(a->in, table_type, a->columns, VECTOR) && gm_aligned(a->out, GM_F32, a->columns, VECTOR);
    if (table_type == GM_F16)
        GM_LAUNCH(backend, embedding<gm_half>, a->count, THREADS, 0, (float *)a->out, (const gm_half *)a->in, a->row, a->columns, aligned);
    else
        GM_WITH_TYPE(
            table_type, T,
            GM_LAUNCH(backend, embedding<T>, a->count, THREADS, 0, (float *)a->out, (const T *)a->in, a->row, a->columns, aligned));
}

/* Words of a row move from in[row[i]] to out[i], or from in[i] to out[row[i]]. */
template <class Word, bool GATHER>
__global__ void __launch_bounds__(THREADS) move_rows(Word *out, const Word *in, const int32_t *row, int64_t words) {
    out += (GATHER ? (int64_t)blockIdx.x : row[blockIdx.x]) * words;
    in += (GATHER ? row[blockIdx.x] : (int64_t)blockIdx.x) * words;
    for (int64_t i = threadIdx.x; i < words; i += THREADS) out[i] = in[i];
}

template <bool GATHER> static void move(gm_backend *backend, const gm_rows_args *a) {
    int64_t bytes = a->columns * (int64_t)gm_type_size(a->type);
    if (((uintptr_t)a->out | (uintptr_t)a->in | (uintptr_t)bytes) % sizeof(uint4) == 0)
        GM_LAUNCH(backend, (move_rows<uint4, GATHER>), a->count, THREADS, 0, (uint4 *)a->out, (const uint4 *)a->in, a->row,
                  bytes / (int64_t)sizeof(uint4));
    else
        GM_LAUNCH(backend, (move_rows<uint16_t, GATHER>), a->count, THREADS, 0, (uint16_t *)a->out, (const uint16_t *)a->in, a->row,
                  bytes / (int64_t)sizeof(uint16_t));
}

extern "C" void gm_cuda_gather_rows(gm_backend *backend, const gm_rows_args *args) { move<true>(backend, args); }

extern "C" void gm_cuda_scatter_rows(gm_backend *backend, const gm_rows_args *args) {
    gm_cuda_zero(backend, args->out, (size_t)(args->out_rows * args->columns) * gm_type_size(args->type));
    move<false>(backend, args);
}
