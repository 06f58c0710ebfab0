/* Every matrix product of the CPU backend: cut into panels where oneDNN is slow otherwise, and in f32 where it has no fast code
 * for bf16 (processors without AVX-512).
 *
 * Frozen weights are used where they lie, in the mapped file: oneDNN's own layouts gain little (docs/cpu/gemm.md has the
 * figures) and would double or triple the memory. Scratch memory is one buffer that grows when a new shape asks for more: oneDNN
 * bounds its size by nothing that could be planned (a smaller product may need a larger one), so measuring leaves it alone, and
 * makes no primitives for shapes that may never come. */
#include "backend/cpu/cpu.h"
#include "base/clock.h"
#include "base/memory.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL_COLUMNS = 2048, PANEL_DEPTH = 4096, SPLIT_DEPTH = 1024 /* of an f32 a in three terms: they stay in cache */ };

/* ---- bf16 without bf16 instructions: compact f32 copies of both operands, and of an out of bf16 ---- */

typedef struct gm_wide {
    gm_gemm gemm;            /* of f32, pointers NULL */
    size_t a, b, out, bytes; /* where the copies lie, and all of them */
} gm_wide;

static bool widens(gm_backend *backend, const gm_gemm *gemm) { return gemm->type == GM_BF16 && !gm_cpu(backend)->fast_bf16; }

static size_t whole_lines(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static gm_wide widened(const gm_gemm *gemm) {
    gm_wide wide = {.gemm = *gemm};
    wide.gemm.type = wide.gemm.out_type = GM_F32;
    wide.gemm.a_stride = wide.gemm.b_stride = 0;
    if (gemm->out_type != GM_F32) wide.gemm.out_stride = 0;
    wide.b = wide.a + whole_lines((size_t)(gemm->m * gemm->k) * sizeof(float));
    wide.out = wide.b + whole_lines((size_t)(gemm->k * gemm->n) * sizeof(float));
    wide.bytes = wide.out + (gemm->out_type == GM_F32 ? 0 : whole_lines((size_t)(gemm->m * gemm->n) * sizeof(float)));
    return wide;
}

/* Row by row where there are strides; the kernel shares rows that lie side by side among the threads. */
static void convert_rows(gm_backend *backend, void *out, gm_type out_type, int64_t out_stride, const void *in, gm_type in_type,
                         int64_t in_stride, int64_t rows, int64_t columns, bool on_thread) {
    size_t out_size = gm_type_size(out_type), in_size = gm_type_size(in_type);
    if (out_stride == columns && in_stride == columns) columns *= rows, rows = 1;
#pragma omp parallel for schedule(static) if (!on_thread && rows > 1)
    for (int64_t r = 0; r < rows; r++)
        backend->real->convert(backend, (char *)out + (size_t)(r * out_stride) * out_size, out_type,
                               (const char *)in + (size_t)(r * in_stride) * in_size, in_type, columns);
}

static void widen(gm_backend *backend, float *out, const void *in, int64_t stride, int64_t rows, int64_t columns, bool on_thread) {
    convert_rows(backend, out, GM_F32, columns, in, GM_BF16, stride ? stride : columns, rows, columns, on_thread);
}

static void multiply_widened(gm_backend *backend, const gm_gemm *gemm, unsigned char *scratch, bool on_thread) {
    gm_wide wide = widened(gemm);
    float *a = (float *)(void *)(scratch + wide.a), *b = (float *)(void *)(scratch + wide.b), *out = (float *)(void *)(scratch + wide.out);
    int64_t stride = gemm->out_stride ? gemm->out_stride : gemm->n;
    bool narrow = gemm->out_type != GM_F32;
    widen(backend, a, gemm->a, gemm->a_stride, gemm->transpose_a ? gemm->k : gemm->m, gemm->transpose_a ? gemm->m : gemm->k, on_thread);
    widen(backend, b, gemm->b, gemm->b_stride, gemm->transpose_b ? gemm->n : gemm->k, gemm->transpose_b ? gemm->k : gemm->n, on_thread);
    if (narrow && gemm->accumulate) widen(backend, out, gemm->out, stride, gemm->m, gemm->n, on_thread);
    wide.gemm.a = a, wide.gemm.b = b, wide.gemm.out = narrow ? out : gemm->out;
    gm_onednn_multiply(gm_cpu(backend)->onednn, &wide.gemm, scratch + wide.bytes, on_thread);
    if (narrow) convert_rows(backend, gemm->out, gemm->out_type, stride, out, GM_F32, gemm->n, gemm->m, gemm->n, on_thread);
}

static size_t scratch_bytes(gm_backend *backend, const gm_gemm *gemm, bool on_thread) {
    gm_onednn *onednn = gm_cpu(backend)->onednn;
    if (!widens(backend, gemm)) return gm_onednn_scratch(onednn, gemm, on_thread) + 64;
    gm_wide wide = widened(gemm);
    return wide.bytes + gm_onednn_scratch(onednn, &wide.gemm, on_thread) + 64;
}

static void multiply(gm_backend *backend, const gm_gemm *gemm, void *scratch, bool on_thread) {
    unsigned char *aligned = (unsigned char *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    if (widens(backend, gemm))
        multiply_widened(backend, gemm, aligned, on_thread);
    else
        gm_onednn_multiply(gm_cpu(backend)->onednn, gemm, aligned, on_thread);
}

/* ---- products of all threads ---- */

static void reserve_scratch(gm_backend *backend, size_t needed) {
    gm_cpu_context *cpu = gm_cpu(backend);
    if (needed <= cpu->gemm_scratch_bytes) return;
    free(cpu->gemm_scratch);
    cpu->gemm_scratch = gm_alloc(1, needed);
    if (!cpu->gemm_scratch) gm_out_of_memory();
    cpu->gemm_scratch_bytes = needed;
}

void *gm_cpu_gemm_reserve(gm_backend *backend, size_t bytes) {
    reserve_scratch(backend, bytes + 64);
    return (void *)(((uintptr_t)gm_cpu(backend)->gemm_scratch + 63) & ~(uintptr_t)63);
}

/* Even parts of at most `most`, in whole cache lines. */
static int64_t part(int64_t whole, int64_t most) {
    if (whole <= most) return whole;
    int64_t parts = (whole + most - 1) / most;
    return ((whole + parts - 1) / parts + 63) & ~(int64_t)63;
}

/* A product as several, where oneDNN 2.6 takes a half to a quarter of the time for the pieces (docs/cpu/gemm.md): wide b that
 * is not transposed by columns; long sums in pieces, which needs the exact out of f32. Widened operands are kept small by the
 * same cuts. `call` sees each piece. */
static void in_panels(gm_backend *backend, const gm_gemm *gemm, void (*call)(gm_backend *, const gm_gemm *)) {
    bool by_columns = !gemm->transpose_b || gemm->narrow_b || widens(backend, gemm), by_depth = gemm->out_type == GM_F32;
    int64_t columns = by_columns ? part(gemm->n, PANEL_COLUMNS) : gemm->n,
            depth = by_depth ? part(gemm->k, gemm->narrow_b ? SPLIT_DEPTH : PANEL_DEPTH) : gemm->k;
    if (columns >= gemm->n && depth >= gemm->k) {
        call(backend, gemm);
        return;
    }
    gm_gemm piece = *gemm;
    if (!piece.a_stride) piece.a_stride = gemm->transpose_a ? gemm->m : gemm->k;
    if (!piece.b_stride) piece.b_stride = gemm->transpose_b ? gemm->k : gemm->n;
    if (!piece.out_stride) piece.out_stride = gemm->n;
    size_t size = gm_type_size(gemm->type), out_size = gm_type_size(gemm->out_type),
           b_size = gm_type_size(gemm->narrow_b ? GM_BF16 : gemm->type);
    for (int64_t n = 0; n < gemm->n; n += columns)
        for (int64_t k = 0; k < gemm->k; k += depth) {
            piece.n = gemm->n - n < columns ? gemm->n - n : columns;
            piece.k = gemm->k - k < depth ? gemm->k - k : depth;
            piece.a = (const char *)gemm->a + (size_t)(gemm->transpose_a ? k * piece.a_stride : k) * size;
            piece.b = (const char *)gemm->b + (size_t)(gemm->transpose_b ? n * piece.b_stride + k : k * piece.b_stride + n) * b_size;
            piece.out = (char *)gemm->out + (size_t)n * out_size;
            piece.accumulate = gemm->accumulate || k > 0;
            call(backend, &piece);
        }
}

static void multiply_piece(gm_backend *backend, const gm_gemm *gemm) {
    reserve_scratch(backend, scratch_bytes(backend, gemm, false));
    multiply(backend, gemm, gm_cpu(backend)->gemm_scratch, false);
}

/* f32 with a b of bf16 where rows are to come out the same in any company, as only f32 products do: b is widened. */
static void multiply_with_wide_b(gm_backend *backend, const gm_gemm *gemm) {
    int64_t rows = gemm->transpose_b ? gemm->n : gemm->k, columns = gemm->transpose_b ? gemm->k : gemm->n;
    size_t b_bytes = whole_lines((size_t)(rows * columns) * sizeof(float));
    gm_gemm wide = *gemm;
    wide.narrow_b = false, wide.b_stride = 0;
    unsigned char *scratch = gm_cpu_gemm_reserve(backend, b_bytes + scratch_bytes(backend, &wide, false));
    wide.b = scratch;
    widen(backend, (float *)(void *)scratch, gemm->b, gemm->b_stride, rows, columns, false);
    multiply(backend, &wide, scratch + b_bytes, false);
}

typedef void gm_multiply(gm_backend *backend, const gm_gemm *gemm);

static gm_multiply *way_of(const gm_backend *backend, const gm_gemm *gemm) {
    if (!gemm->narrow_b) return multiply_piece;
    return backend->rows_apart ? multiply_with_wide_b : gm_cpu_gemm_split;
}

void gm_cpu_gemm(gm_backend *backend, const gm_gemm *gemm) {
    if (gemm->m == 0 || gemm->n == 0) return;
    GM_CHECK(!gemm->addend || !gemm->out_stride, "a product with an addend and gaps between its rows");
    if (gemm->addend) { /* oneDNN adds to what is there */
        gm_gemm sum = *gemm;
        if (gemm->addend != gemm->out)
            backend->kernels->copy(backend, gemm->out, gemm->addend, (size_t)(gemm->m * gemm->n) * gm_type_size(gemm->out_type));
        sum.addend = NULL, sum.accumulate = true;
        gm_cpu_gemm(backend, &sum);
        return;
    }
    gm_onednn_limit(gm_cpu(backend)->onednn);
    if (backend->rows_apart && gemm->type == GM_F32 && !gemm->narrow_b && gemm->out_type == GM_F32 && !gemm->transpose_a &&
        gm_onednn_mixes_rows()) {
        in_panels(backend, gemm, gm_cpu_gemm_rows);
        return;
    }
    double begin = gm_clock_seconds();
    in_panels(backend, gemm, way_of(backend, gemm));
    gm_cpu(backend)->gemm_seconds += gm_clock_seconds() - begin;
}

/* ---- products of one thread ---- */

size_t gm_cpu_gemm_scratch(gm_backend *backend, const gm_gemm *gemm) { return scratch_bytes(backend, gemm, true); }

void gm_cpu_gemm_on_thread(gm_backend *backend, const gm_gemm *gemm, void *scratch) {
    double begin = gm_clock_seconds();
    multiply(backend, gemm, scratch, true);
    gm_cpu(backend)->thread[omp_get_thread_num()].gemm_seconds += gm_clock_seconds() - begin;
}
