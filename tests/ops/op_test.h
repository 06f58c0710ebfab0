/* What the tests of single kernels share.
 *
 * Buffers come from op_alloc: filled with NaN, with sentinels on both sides, and known to OP_RUN, which runs a kernel
 * call with 1, 2 and 3 threads from the same starting contents and wants the same bytes in every buffer each time (a kernel's
 * threads are OpenMP's or the backend's own number: both are set).
 * op_main runs the whole group once per instruction level that this processor has. Built with GM_TEST_EMULATED it runs it on
 * the CUDA backend's kernels in emulation (tests/emulation), with GMOE_TEST_DEVICE=cuda in the environment on a GPU: buffers
 * are the backend's memory then, which a test may look at, but the backend's own code not; what a kernel's arguments want
 * on the host goes through op_host.
 * Values are random from a printed seed (GMOE_TEST_SEED sets another). References are naive loops in double. */
#ifndef GM_OP_TEST_H
#define GM_OP_TEST_H

#include "test_support.h"

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#ifdef GM_TEST_EMULATED
#include "backend/cuda/module.h"
#include "emulation/emulation.h"
#endif
#include "base/random.h"

#include <math.h>
#include <omp.h>

enum { OP_SENTINEL = 64, OP_MOST = 256 };
#ifdef GM_TEST_EMULATED
enum { OP_RUNS = 2, OP_TOKENS = 3 }; /* two orders of the threads, no large sizes */
#else
enum { OP_RUNS = 3, OP_TOKENS = 4 };
#endif
enum { OP_SENTINEL_BYTE = 0xa5 };

typedef struct op_buffer {
    unsigned char *block, *start, *first; /* block: sentinel, bytes, sentinel; start, first: copies */
    size_t bytes;
} op_buffer;

static gm_backend *backend;
static gm_random op_random;
static op_buffer op_buffers[OP_MOST];
static int op_count, op_run_index;
static unsigned char *op_scratch; /* the backend's scratch memory, then a sentinel */
static size_t op_scratch_bytes;
static bool op_scratch_given; /* by OP_SCRATCH: OP_RUN does not measure */

/* Around the backend's work: it may not touch its memory from the host, and all of it is done afterwards. */
static inline void op_begin(void) {
#ifdef GM_TEST_EMULATED
    gm_emulation_host_access(false);
#endif
}

static inline void op_finish(void) {
    if (gm_backend_check(backend) != GM_OK) fail_msg("%s", gm_error_text());
#ifdef GM_TEST_EMULATED
    gm_emulation_host_access(true);
#endif
}

#define OP_CALL(call) (op_begin(), (call), op_finish())

static inline void *op_malloc(size_t bytes) { /* the sanitizer sees a read past the end: to the byte */
    void *memory = NULL;
    if (backend->host_memory) return posix_memalign(&memory, 64, bytes) == 0 ? memory : NULL;
    if (backend->allocate(backend, &memory, bytes, "a test") != GM_OK) fail_msg("%s", gm_error_text());
    return memory;
}

static inline void op_free(void *memory, size_t bytes) {
    if (backend->host_memory)
        free(memory);
    else if (memory)
        backend->release(backend, memory, bytes);
}

static inline void *op_alloc(size_t bytes) {
    assert_true(op_count < OP_MOST);
    op_buffer *b = &op_buffers[op_count++];
    size_t rounded = (bytes + 2 * OP_SENTINEL + 63) / 64 * 64;
    *b = (op_buffer){.block = op_malloc(rounded), .start = malloc(bytes + 1), .first = malloc(bytes + 1), .bytes = bytes};
    assert_true(b->block && b->start && b->first);
    memset(b->block, OP_SENTINEL_BYTE, rounded);
    memset(b->block + OP_SENTINEL, 0xff, bytes);
    return b->block + OP_SENTINEL;
}

static inline float *op_floats(int64_t count) { return op_alloc((size_t)count * sizeof(float)); }
static inline double *op_doubles(int64_t count) { return op_alloc((size_t)count * sizeof(double)); }
static inline int32_t *op_integers(int64_t count) { return op_alloc((size_t)count * sizeof(int32_t)); }

/* The same bytes in the host's memory, as long as the case. */
static inline void *op_host(const void *buffer, size_t bytes) {
    if (backend->host_memory) return (void *)buffer;
    assert_true(op_count < OP_MOST);
    op_buffer *b = &op_buffers[op_count++];
    *b = (op_buffer){.start = malloc(bytes + 1)};
    return memcpy(b->start, buffer, bytes);
}

static inline void op_check_sentinels(void) {
    for (int i = 0; i < op_count; i++)
        for (size_t j = 0; op_buffers[i].block && j < OP_SENTINEL; j++) {
            if (op_buffers[i].block[j] != OP_SENTINEL_BYTE) fail_msg("buffer %d: written %zu bytes before its start", i, OP_SENTINEL - j);
            if (op_buffers[i].block[OP_SENTINEL + op_buffers[i].bytes + j] != OP_SENTINEL_BYTE)
                fail_msg("buffer %d: written %zu bytes past its end", i, j);
        }
}

/* What `threads` parallel regions ask for is what they get: else the runs would be alike. */
static inline void op_set_threads(int threads) {
    omp_set_num_threads(threads);
    if (!backend->host_memory) return;
    int got = 0;
#pragma omp parallel num_threads(threads)
#pragma omp single
    got = omp_get_num_threads();
    if (got != threads) fail_msg("a parallel region has %d threads, not %d", got, threads);
    gm_cpu(backend)->threads = threads;
}

static inline void op_scratch_measure(void) {
    op_set_threads(OP_RUNS);
    gm_backend_measure(backend, true);
    gm_arena_measure(&backend->scratch, "scratch");
}

static inline void op_scratch_place(void) {
    gm_backend_measure(backend, false);
    op_scratch_bytes = backend->scratch.peak;
    assert_true(op_scratch_bytes % 64 == 0 && backend->scratch.used == 0);
    op_scratch = op_malloc(op_scratch_bytes + OP_SENTINEL);
    memset(op_scratch, 0xff, op_scratch_bytes);
    memset(op_scratch + op_scratch_bytes, OP_SENTINEL_BYTE, OP_SENTINEL);
    gm_arena_place(&backend->scratch, "scratch", op_scratch, op_scratch_bytes);
    backend->scratch.foreign = !backend->host_memory;
}

static inline void op_scratch_fill(void) {
    if (op_scratch) memset(op_scratch, 0xff, op_scratch_bytes);
}

static inline void op_scratch_free(void) {
    for (int i = 0; op_scratch && i < OP_SENTINEL; i++) assert_int_equal(op_scratch[op_scratch_bytes + (size_t)i], OP_SENTINEL_BYTE);
    op_free(op_scratch, op_scratch_bytes + OP_SENTINEL);
    op_scratch = NULL;
    op_scratch_given = false;
}

/* Scratch memory of exactly what `calls` ask for on a measuring backend. */
#define OP_SCRATCH(calls) (op_scratch_free(), op_scratch_measure(), (calls), op_scratch_place(), (void)(op_scratch_given = true))

static inline void op_forget(void) {
    for (int i = 0; i < op_count; i++) {
        op_buffer *b = &op_buffers[i];
        if (b->block) op_free(b->block, (b->bytes + 2 * OP_SENTINEL + 63) / 64 * 64);
        free(b->start), free(b->first);
    }
    op_count = 0;
}

/* Ends a case: checks and frees every buffer. */
static inline void op_end(void) {
    op_check_sentinels();
    op_scratch_free();
    op_forget();
}

static inline bool op_next_run(void) {
    int done = op_run_index++;
    if (done > 0) op_check_sentinels();
    for (int i = 0; i < op_count; i++) {
        op_buffer *b = &op_buffers[i];
        if (!b->block) continue;
        unsigned char *data = b->block + OP_SENTINEL;
        if (done == 0) memcpy(b->start, data, b->bytes);
        if (done == 1) memcpy(b->first, data, b->bytes);
        if (done > 1 && memcmp(b->first, data, b->bytes) != 0) fail_msg("buffer %d: %d threads give other bytes than one", i, done);
        if (done > 0 && done < OP_RUNS) memcpy(data, b->start, b->bytes);
    }
    op_scratch_fill();
    op_set_threads(done < OP_RUNS ? done + 1 : OP_RUNS);
    return done < OP_RUNS;
}

#define OP_RUN(call)                                                                                                                       \
    do {                                                                                                                                   \
        if (!op_scratch_given) OP_SCRATCH(call), op_scratch_given = false;                                                                 \
        for (op_run_index = 0; op_next_run();) OP_CALL(call);                                                                              \
    } while (0)

static inline double op_normal(void) { return (double)gm_random_normal(&op_random); }

/* `count` values around 0 with the given deviation, as doubles that f32 holds exactly. */
static inline double *op_values(int64_t count, double deviation) {
    double *values = op_doubles(count);
    for (int64_t i = 0; i < count; i++) values[i] = (double)(float)(op_normal() * deviation);
    return values;
}

/* A buffer of `type` with these values; they are rounded to what it holds, so that a reference sees the same. */
static inline void *op_typed(gm_type type, double *values, int64_t count) {
    void *buffer = op_alloc((size_t)count * gm_type_size(type));
    for (int64_t i = 0; i < count; i++) {
        float value = (float)values[i];
        if (type == GM_F32)
            ((float *)buffer)[i] = value;
        else
            value = gm_bf16_to_f32(((uint16_t *)buffer)[i] = gm_f32_to_bf16(value));
        values[i] = (double)value;
    }
    return buffer;
}

static inline double op_get(const void *buffer, gm_type type, int64_t i) {
    return type == GM_F64   ? ((const double *)buffer)[i]
           : type == GM_F32 ? (double)((const float *)buffer)[i]
                            : (double)gm_bf16_to_f32(((const uint16_t *)buffer)[i]);
}

/* Wants the normalised error sqrt(Σ (got − want)² / Σ want²) below what the type's rounding explains (f32: `tolerance`). */
static inline void op_close(const char *what, const void *got, gm_type type, const double *want, int64_t count, double tolerance) {
    double difference = 0, size = 0, limit = type == GM_BF16 ? 3.92e-3 + tolerance : tolerance;
    for (int64_t i = 0; i < count; i++) {
        double value = op_get(got, type, i), d = value - want[i];
        if (!isfinite(value)) fail_msg("%s[%lld] of %lld is %g, not %g", what, (long long)i, (long long)count, value, want[i]);
        difference += d * d;
        size += want[i] * want[i];
    }
    double error = sqrt(difference / (size + 1e-8 * (double)count)); /* what is nearly nothing counts absolutely */
    if (!(error <= limit)) fail_msg("%s: normalised error %g above %g over %lld values", what, error, limit, (long long)count);
}

/* Central difference of f with respect to *x, of fourth order. */
static inline double op_slope(double (*f)(const void *), const void *context, double *x) {
    double at = *x, h = 1e-3 * fmax(fabs(at), 1e-2), value[4];
    for (int i = 0; i < 4; i++) {
        *x = at + h * (double)(i < 2 ? i - 2 : i - 1);
        value[i] = f(context);
    }
    *x = at;
    return (8 * (value[2] - value[1]) - (value[3] - value[0])) / (12 * h);
}

/* What a test that failed left behind. */
static inline int op_clean(void **state) {
    (void)state;
    op_scratch_given = false;
    op_free(op_scratch, op_scratch_bytes + OP_SENTINEL);
    op_scratch = NULL;
    op_forget();
    return 0;
}

/* ---- running the group */

enum { OP_TESTS = 64 };

static inline int op_run_group(const char *name, const struct CMUnitTest *tests, size_t count) {
    struct CMUnitTest clean[OP_TESTS];
    assert_true(count <= OP_TESTS);
    memcpy(clean, tests, count * sizeof *tests);
    for (size_t i = 0; i < count; i++) clean[i].setup_func = op_clean;
    return _cmocka_run_group_tests(name, clean, count, NULL, NULL);
}

/* On a backend that is not the CPU. */
static inline int op_run_device(const char *name, const struct CMUnitTest *tests, size_t count, gm_status opened) {
    if (opened != GM_OK) return printf("%s\n", gm_error_text()), 1;
    op_finish();
    int failed = op_run_group(name, tests, count);
    op_clean(NULL);
    op_begin();
    gm_backend_close(backend);
    return failed;
}

static inline int op_run_levels(const char *name, const struct CMUnitTest *tests, size_t count, unsigned long long seed) {
    static const char *const levels[] = {"base", "v3", "v4"};
    const gm_kernels *seen[3] = {NULL};
    int failed = 0;
    for (int i = 0; i < 3; i++) {
        setenv("GMOE_CPU_LEVEL", levels[i], 1);
        op_random = gm_random_begin(seed, GM_RANDOM_TEST, 0);
        if (gm_backend_open_cpu(&backend, OP_RUNS) != GM_OK) return printf("%s\n", gm_error_text()), 1;
        if (gm_cpu(backend)->threads != OP_RUNS) return printf("%d threads are to be had, not %d\n", gm_cpu(backend)->threads, OP_RUNS), 1;
        seen[i] = backend->real;
        printf("%s: level %s%s\n", name, levels[i], i && seen[i] == seen[i - 1] ? ": not here, skipped" : "");
        if (i == 0 || seen[i] != seen[i - 1]) failed += op_run_group(name, tests, count);
        op_set_threads(OP_RUNS); /* what the backend was opened with */
        gm_backend_close(backend);
    }
    return failed;
}

static inline int op_main_(const char *name, const struct CMUnitTest *tests, size_t count) {
    const char *text = getenv("GMOE_TEST_SEED");
    unsigned long long seed = text ? strtoull(text, NULL, 10) : 1;
    op_random = gm_random_begin(seed, GM_RANDOM_TEST, 0);
#ifdef GM_TEST_EMULATED
    printf("%s: seed %llu, emulation's seed %llu\n", name, seed, (unsigned long long)gm_emulation_seed());
    return op_run_device(name, tests, count, gm_cuda_open(&backend, 0));
#else
    const char *device = getenv("GMOE_TEST_DEVICE");
    printf("%s: seed %llu\n", name, seed);
    int number = 0;
    if (!device || strcmp(device, "cpu") == 0) return op_run_levels(name, tests, count, seed);
    if (strcmp(device, "cuda") != 0 && sscanf(device, "cuda:%d", &number) != 1) {
        fprintf(stderr, "GMOE_TEST_DEVICE=%s: it is cpu, cuda or cuda:N\n", device);
        return 1;
    }
    setenv("GMOE_CUDA_MANAGED", "1", 1);
    return op_run_device(name, tests, count, gm_backend_open_cuda(&backend, number));
#endif
}
#define op_main(name, tests) op_main_(name, tests, sizeof(tests) / sizeof *(tests))

static const int64_t op_tokens[] = {1, 17, 127, 300};

#endif
