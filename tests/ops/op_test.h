/* What the tests of single kernels share.
 *
 * Buffers come from op_alloc: filled with NaN, with sentinels on both sides, and known to op_run, which runs a kernel
 * call with 1, 2 and 3 threads from the same starting contents and wants the same bytes in every buffer each time.
 * op_main runs the whole group once per instruction level that this processor has.
 * Values are random from a printed seed (GMOE_TEST_SEED sets another). References are naive loops in double. */
#ifndef GM_OP_TEST_H
#define GM_OP_TEST_H

#include "test_support.h"

#include "backend/backend.h"
#include "base/random.h"

#include <math.h>
#include <omp.h>

enum { OP_SENTINEL = 64, OP_MOST = 256, OP_RUNS = 3 };
enum { OP_SENTINEL_BYTE = 0xa5 };

typedef struct op_buffer {
    unsigned char *block, *start, *first; /* block: sentinel, bytes, sentinel; start, first: copies */
    size_t bytes;
} op_buffer;

static gm_backend *backend;
static gm_random op_random;
static op_buffer op_buffers[OP_MOST];
static int op_count, op_run_index;
static unsigned char *op_scratch; /* the backend's scratch memory (OP_SCRATCH), then a sentinel */
static size_t op_scratch_bytes;

static inline void *op_alloc(size_t bytes) {
    assert_true(op_count < OP_MOST);
    op_buffer *b = &op_buffers[op_count++];
    size_t rounded = (bytes + 2 * OP_SENTINEL + 63) / 64 * 64;
    *b = (op_buffer){.block = aligned_alloc(64, rounded), .start = malloc(bytes + 1), .first = malloc(bytes + 1), .bytes = bytes};
    assert_true(b->block && b->start && b->first);
    memset(b->block, OP_SENTINEL_BYTE, rounded);
    memset(b->block + OP_SENTINEL, 0xff, bytes);
    return b->block + OP_SENTINEL;
}

static inline float *op_floats(int64_t count) { return op_alloc((size_t)count * sizeof(float)); }
static inline double *op_doubles(int64_t count) { return op_alloc((size_t)count * sizeof(double)); }
static inline int32_t *op_integers(int64_t count) { return op_alloc((size_t)count * sizeof(int32_t)); }

static inline void op_check_sentinels(void) {
    for (int i = 0; i < op_count; i++)
        for (size_t j = 0; j < OP_SENTINEL; j++) {
            if (op_buffers[i].block[j] != OP_SENTINEL_BYTE) fail_msg("buffer %d: written %zu bytes before its start", i, OP_SENTINEL - j);
            if (op_buffers[i].block[OP_SENTINEL + op_buffers[i].bytes + j] != OP_SENTINEL_BYTE)
                fail_msg("buffer %d: written %zu bytes past its end", i, j);
        }
}

static inline void op_scratch_measure(void) {
    omp_set_num_threads(OP_RUNS);
    gm_backend_measure(backend, true);
    gm_arena_measure(&backend->scratch, "scratch");
}

static inline void op_scratch_place(void) {
    gm_backend_measure(backend, false);
    op_scratch_bytes = backend->scratch.peak;
    assert_true(op_scratch_bytes % 64 == 0 && backend->scratch.used == 0);
    op_scratch = aligned_alloc(64, op_scratch_bytes + OP_SENTINEL);
    memset(op_scratch, 0xff, op_scratch_bytes);
    memset(op_scratch + op_scratch_bytes, OP_SENTINEL_BYTE, OP_SENTINEL);
    gm_arena_place(&backend->scratch, "scratch", op_scratch, op_scratch_bytes);
}

/* Scratch memory of exactly what `calls` ask for on a measuring backend. */
#define OP_SCRATCH(calls) (op_scratch_measure(), (calls), op_scratch_place())

/* Ends a case: checks and frees every buffer. */
static inline void op_end(void) {
    op_check_sentinels();
    for (int i = 0; op_scratch && i < OP_SENTINEL; i++) assert_int_equal(op_scratch[op_scratch_bytes + (size_t)i], OP_SENTINEL_BYTE);
    free(op_scratch);
    op_scratch = NULL;
    for (int i = 0; i < op_count; i++) free(op_buffers[i].block), free(op_buffers[i].start), free(op_buffers[i].first);
    op_count = 0;
}

static inline bool op_next_run(void) {
    int done = op_run_index++;
    if (done > 0) op_check_sentinels();
    for (int i = 0; i < op_count; i++) {
        op_buffer *b = &op_buffers[i];
        unsigned char *data = b->block + OP_SENTINEL;
        if (done == 0) memcpy(b->start, data, b->bytes);
        if (done == 1) memcpy(b->first, data, b->bytes);
        if (done > 1 && memcmp(b->first, data, b->bytes) != 0) fail_msg("buffer %d: %d threads give other bytes than one", i, done);
        if (done > 0 && done < OP_RUNS) memcpy(data, b->start, b->bytes);
    }
    omp_set_num_threads(done < OP_RUNS ? done + 1 : 2);
    return done < OP_RUNS;
}

#define OP_RUN(call)                                                                                                                       \
    for (op_run_index = 0; op_next_run();) {                                                                                               \
        call;                                                                                                                              \
    }

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

/* Runs the group for every instruction level; op_main(name, tests) with an array of tests. */
static inline int op_main_(const char *name, const struct CMUnitTest *tests, size_t count) {
    static const char *const levels[] = {"base", "v3", "v4"};
    const gm_kernels *seen[3] = {NULL};
    const char *text = getenv("GMOE_TEST_SEED");
    unsigned long long seed = text ? strtoull(text, NULL, 10) : 1;
    int failed = 0;
    printf("%s: seed %llu\n", name, seed);
    for (int i = 0; i < 3; i++) {
        setenv("GMOE_CPU_LEVEL", levels[i], 1);
        op_random = gm_random_begin(seed, GM_RANDOM_TEST, 0);
        if (gm_backend_open_cpu(&backend, OP_RUNS) != GM_OK) return printf("%s\n", gm_error_text()), 1;
        seen[i] = backend->real;
        printf("%s: level %s%s\n", name, levels[i], i && seen[i] == seen[i - 1] ? ": not here, skipped" : "");
        if (i == 0 || seen[i] != seen[i - 1]) failed += _cmocka_run_group_tests(name, tests, count, NULL, NULL);
        gm_backend_close(backend);
    }
    return failed;
}
#define op_main(name, tests) op_main_(name, tests, sizeof(tests) / sizeof *(tests))

static const int64_t op_tokens[] = {1, 17, 127, 300};
enum { OP_TOKENS = 4 };

#endif
