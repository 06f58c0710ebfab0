/* Opens the CPU backend: memory is the host's, kernels are chosen for this processor. */
#include "backend/cpu/cpu.h"
#include "base/memory.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { NARROW_LEAST = 512 }; /* at 128 three products of bf16 and the way to them take longer than one of f32 */

static gm_status allocate(gm_backend *backend, void **memory, size_t bytes, const char *what) {
    void *mapped = bytes ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;
    if (mapped == MAP_FAILED) return gm_error(GM_NO_MEMORY, "out of memory: %s needs %.1f MB", what, (double)bytes / 1e6);
    if (mapped) madvise(mapped, bytes, MADV_HUGEPAGE);
    gm_backend_count(backend, bytes, 0);
    *memory = mapped;
    return GM_OK;
}

static void release(gm_backend *backend, void *memory, size_t bytes) {
    if (!memory) return;
    munmap(memory, bytes);
    gm_backend_count(backend, 0, bytes);
}

static void write_memory(gm_backend *backend, void *out, const void *host, size_t bytes) {
    (void)backend;
    memcpy(out, host, bytes);
}

static void read_memory(gm_backend *backend, void *host, const void *in, size_t bytes) {
    (void)backend;
    memcpy(host, in, bytes);
}

static double gemm_seconds(gm_backend *backend) {
    gm_cpu_context *context = gm_cpu(backend);
    double sum = context->gemm_seconds;
    for (int i = 0; i < context->threads; i++) {
        sum += context->thread[i].gemm_seconds / context->threads;
        context->thread[i].gemm_seconds = 0;
    }
    context->gemm_seconds = 0;
    return sum;
}

static void close_backend(gm_backend *backend) {
    gm_onednn_close(gm_cpu(backend)->onednn);
    free(gm_cpu(backend)->gemm_scratch);
    free(gm_cpu(backend)->thread);
    free(backend->context);
    free(backend);
}

static const gm_kernels *best_kernels(const char **level) {
#ifdef GM_CPU_X86_LEVELS
    const char *most = getenv("GMOE_CPU_LEVEL"); /* base, v3 or v4: for comparing them on one machine */
    bool v3 = __builtin_cpu_supports("x86-64-v3"), v4 = __builtin_cpu_supports("x86-64-v4");
    if (most && strcmp(most, "base") == 0) v3 = v4 = false;
    if (most && strcmp(most, "v3") == 0) v4 = false;
    if (v4) return *level = "v4", &gm_cpu_kernels_v4;
    if (v3) return *level = "v3", &gm_cpu_kernels_v3;
#endif
    return *level = "base", &gm_cpu_kernels_base;
}

/* Threads that a parallel region really gets. Less than asked for (OMP_THREAD_LIMIT, OMP_DYNAMIC) must be known: oneDNN divides
 * its work by the number asked for, and what nobody takes stays undone. */
static int count_threads(int wanted) {
    int threads = 1;
    if (omp_get_max_active_levels() < 1) omp_set_max_active_levels(1);
    omp_set_dynamic(0);
    if (wanted > 0) omp_set_num_threads(wanted);
#pragma omp parallel
#pragma omp single
    threads = omp_get_num_threads();
    omp_set_num_threads(threads);
    return threads;
}

gm_status gm_backend_open_cpu(gm_backend **backend, int threads) {
    gm_backend *opened;
    gm_cpu_context *context;
    GM_ALLOC(opened, 1);
    context = gm_alloc(1, sizeof *context);
    if (!context) return free(opened), GM_NO_MEMORY;
    context->threads = count_threads(threads);
    context->thread = gm_alloc((size_t)context->threads, sizeof *context->thread);
    if (!context->thread) return free(context), free(opened), GM_NO_MEMORY;
    const char *level;
    const gm_kernels *kernels = best_kernels(&level);
    *opened = (gm_backend){.name = "cpu",
                           .host_memory = true,
                           .level = level,
                           .kernels = kernels,
                           .real = kernels,
                           .measuring = &gm_cpu_kernels_measuring,
                           .context = context,
                           .allocate = allocate,
                           .release = release,
                           .write = write_memory,
                           .read = read_memory,
                           .gemm_seconds = gemm_seconds,
                           .close = close_backend};
    gm_status status = gm_onednn_open(&context->onednn, context->threads);
    if (status != GM_OK) return close_backend(opened), status;
    context->fast_bf16 =
        gm_onednn_is_fast(context->onednn, &(gm_gemm){.m = 64, .n = 64, .k = 64, .type = GM_BF16, .out_type = GM_F32}, false);
    if (gm_onednn_bf16_is_much_faster()) opened->narrow_least = NARROW_LEAST;
    context->split = gm_cpu_split_base;
#ifdef GM_CPU_X86_LEVELS
    if (kernels == &gm_cpu_kernels_v4) context->split = gm_cpu_split_v4;
#endif
    *backend = opened;
    return GM_OK;
}
