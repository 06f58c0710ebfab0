/* Products of f32 whose rows come out the same whatever rows are beside them, for evaluation: an item's score is then its own.
 *
 * With AVX-512 oneDNN's products are so already. Without, its kernels take six rows (or fewer) at once, sum otherwise in what is left over,
 * in few rows and in many, and cut rows up among threads. Here each panel of 96 rows is a product of one thread, the last one
 * filled up with zeros: every row is in a whole block of the same product. */
#include "backend/cpu/cpu.h"
#include "base/status.h"

#include <omp.h>
#include <string.h>

enum { PANEL_ROWS = 96, ALIGNED = 64 };

typedef struct row_panels {
    gm_gemm whole;          /* strides filled in */
    size_t product, a, out; /* bytes of scratch: a product's, one a thread; then copies of the last panel's a and out */
} row_panels;

static size_t aligned(size_t bytes) { return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED; }

/* `rows` rows between places with strides, in elements. */
static void copy_rows(float *to, int64_t to_stride, const float *from, int64_t from_stride, int64_t rows, int64_t columns) {
    for (int64_t r = 0; r < rows; r++) memcpy(to + r * to_stride, from + r * from_stride, (size_t)columns * sizeof(float));
}

static gm_gemm panel_at(const gm_gemm *whole, int64_t first) {
    gm_gemm panel = *whole;
    panel.m = PANEL_ROWS;
    panel.a = (const float *)whole->a + first * whole->a_stride;
    panel.out = (float *)whole->out + first * whole->out_stride;
    return panel;
}

/* Fewer rows than a panel has: with copies of a and out, which are filled up with zeros. */
static void multiply_last(gm_backend *backend, const row_panels *panels, int64_t first, unsigned char *copies, void *scratch) {
    const gm_gemm *whole = &panels->whole;
    int64_t rows = whole->m - first;
    gm_gemm panel = panel_at(whole, first);
    float *a = (float *)(void *)copies, *out = (float *)(void *)(copies + panels->a), *result = panel.out;
    memset(a, 0, panels->a + panels->out);
    copy_rows(a, whole->a_stride, panel.a, whole->a_stride, rows, whole->k);
    if (whole->accumulate) copy_rows(out, whole->out_stride, result, whole->out_stride, rows, whole->n);
    panel.a = a, panel.out = out;
    gm_cpu_gemm_on_thread(backend, &panel, scratch);
    copy_rows(result, whole->out_stride, out, whole->out_stride, rows, whole->n);
}

void gm_cpu_gemm_rows(gm_backend *backend, const gm_gemm *gemm) {
    GM_CHECK(gemm->type == GM_F32 && gemm->out_type == GM_F32 && !gemm->transpose_a, "rows of a product that has none in f32");
    row_panels panels = {.whole = *gemm};
    gm_gemm *whole = &panels.whole;
    if (!whole->a_stride) whole->a_stride = gemm->k;
    if (!whole->b_stride) whole->b_stride = gemm->transpose_b ? gemm->k : gemm->n;
    if (!whole->out_stride) whole->out_stride = gemm->n;
    gm_gemm panel = panel_at(whole, 0);
    panels.product = aligned(gm_cpu_gemm_scratch(backend, &panel));
    panels.a = aligned((size_t)(PANEL_ROWS * whole->a_stride) * sizeof(float));
    panels.out = aligned((size_t)(PANEL_ROWS * whole->out_stride) * sizeof(float));
    int threads = gm_cpu(backend)->threads;
    size_t products = panels.product * (size_t)threads;
    unsigned char *scratch = gm_cpu_gemm_reserve(backend, products + panels.a + panels.out);
    int64_t count = (gemm->m + PANEL_ROWS - 1) / PANEL_ROWS;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        int64_t first = i * PANEL_ROWS;
        unsigned char *mine = scratch + panels.product * (size_t)omp_get_thread_num();
        gm_gemm one = panel_at(whole, first);
        if (first + PANEL_ROWS > gemm->m)
            multiply_last(backend, &panels, first, scratch + products, mine);
        else
            gm_cpu_gemm_on_thread(backend, &one, mine);
    }
}
