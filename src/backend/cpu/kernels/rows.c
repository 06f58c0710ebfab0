/* Kernels that move rows.
 *     embedding:    out[i] = table[row[i]] in f32       out: count×columns f32, table: of table_type
 *     gather_rows:  out[i] = in[row[i]]                 out: count×columns, in: any number of rows
 *     scatter_rows: out[row[i]] = in[i], else 0         out: out_rows×columns; row[] has no duplicates */
#include "backend/cpu/kernels/kernel.h"

enum { SMALL = 1 << 14 }; /* elements below which one thread does it all */

void GM_KERNEL(gm_cpu_embedding)(gm_backend *backend, const gm_rows_args *args, gm_type table_type) {
    (void)backend;
    size_t row_bytes = (size_t)args->columns * gm_type_size(table_type);
#pragma omp parallel for schedule(static) if (args->count * args->columns > SMALL)
    for (int64_t i = 0; i < args->count; i++)
        gm_widen((float *)args->out + i * args->columns, (const char *)args->in + (size_t)args->row[i] * row_bytes, table_type,
                 args->columns);
}

void GM_KERNEL(gm_cpu_gather_rows)(gm_backend *backend, const gm_rows_args *args) {
    (void)backend;
    size_t row_bytes = (size_t)args->columns * gm_type_size(args->type);
#pragma omp parallel for schedule(static) if (args->count * args->columns > SMALL)
    for (int64_t i = 0; i < args->count; i++)
        memcpy((char *)args->out + (size_t)i * row_bytes, (const char *)args->in + (size_t)args->row[i] * row_bytes, row_bytes);
}

void GM_KERNEL(gm_cpu_scatter_rows)(gm_backend *backend, const gm_rows_args *args) {
    (void)backend;
    size_t row_bytes = (size_t)args->columns * gm_type_size(args->type);
#pragma omp parallel for schedule(static) if (args->out_rows * args->columns > SMALL)
    for (int64_t r = 0; r < args->out_rows; r++) memset((char *)args->out + (size_t)r * row_bytes, 0, row_bytes);
#pragma omp parallel for schedule(static) if (args->count * args->columns > SMALL)
    for (int64_t i = 0; i < args->count; i++) {
        GM_CHECK(args->row[i] >= 0 && args->row[i] < args->out_rows, "row %d of %lld", (int)args->row[i], (long long)args->out_rows);
        memcpy((char *)args->out + (size_t)args->row[i] * row_bytes, (const char *)args->in + (size_t)i * row_bytes, row_bytes);
    }
}
