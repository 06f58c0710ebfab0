#include "train/benchmark.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/random.h"
#include "train/optimizer.h"

#include <stdlib.h>
#include <string.h>

#define LLAMA(hidden, ffn, layer_count, head_count, kv, dim, vocab)                                                                        \
    {.model_type = "llama",                                                                                                                \
     .hidden_size = hidden,                                                                                                                \
     .ffn_size = ffn,                                                                                                                      \
     .layers = layer_count,                                                                                                                \
     .heads = head_count,                                                                                                                  \
     .kv_heads = kv,                                                                                                                       \
     .head_dim = dim,                                                                                                                      \
     .vocabulary = vocab,                                                                                                                  \
     .max_positions = 32768,                                                                                                               \
     .norm_eps = 1e-5,                                                                                                                     \
     .rope_theta = 10000,                                                                                                                  \
     .eos_token = -1,                                                                                                                      \
     .bos_token = -1}

const gm_benchmark_shape gm_benchmark_shapes[] = {
    {"tiny", "hidden 64, FFN 172, 4 layers, vocabulary 512", LLAMA(64, 172, 4, 4, 2, 16, 512), 512, 128, 32},
    {"small-cpu", "hidden 512, FFN 1408, 8 layers, vocabulary 32000", LLAMA(512, 1408, 8, 8, 8, 64, 32000), 2048, 256, 128},
    {"qwen2-0.5b", "Qwen2-0.5B", LLAMA(896, 4864, 24, 14, 2, 64, 151936), 2048, 512, 256},
    {"qwen2-7b", "Qwen2-7B", LLAMA(3584, 18944, 28, 28, 4, 128, 152064), 8192, 512, 256},
    {"llama3-8b", "Llama-3-8B", LLAMA(4096, 14336, 32, 32, 8, 128, 128256), 8192, 512, 256},
    {"yi-1.5-9b", "Yi-1.5-9B", LLAMA(4096, 11008, 48, 32, 4, 128, 64000), 8192, 512, 256},
    {.name = NULL},
};

const gm_benchmark_shape *gm_benchmark_shape_find(const char *name) {
    for (const gm_benchmark_shape *shape = gm_benchmark_shapes; shape->name; shape++)
        if (strcmp(shape->name, name) == 0) return shape;
    return NULL;
}

enum {
    GEMM_REPEATS = 128,
    GEMM_HOST_SIZE = 2048,   /* of the measured product, */
    GEMM_DEVICE_SIZE = 8192, /* where it fits,           */
    GEMM_LEAST_SIZE = 64     /* and at least             */
};

typedef struct gm_bench_run {
    const gm_benchmark *benchmark;
    gm_backend *backend;
    gm_model *model;
    gm_adapter *adapter;
    gm_step step;
    gm_region region; /* the batch */
    gm_batch batch;
    double *seconds;                     /* steps */
    double gemm_rates[2 * GEMM_REPEATS]; /* GFLOP/s before and after them */
    int gemm_count;
    double gemm_seconds, forward_seconds, part_seconds[GM_PARTS], timed_seconds; /* timed: the steps that parts are of */
    int64_t gemm_size;
} gm_bench_run;

static gm_status make_batch(gm_bench_run *run) {
    const gm_benchmark *b = run->benchmark;
    int64_t tokens = b->tokens, sequences = (tokens + b->sequence - 1) / b->sequence;
    int32_t *ids, *positions, *starts, *rows, *targets;
    GM_REGION_ALLOC(&run->region, ids, (size_t)tokens);
    GM_REGION_ALLOC(&run->region, positions, (size_t)tokens);
    GM_REGION_ALLOC(&run->region, starts, (size_t)sequences + 1);
    GM_REGION_ALLOC(&run->region, rows, (size_t)tokens);
    GM_REGION_ALLOC(&run->region, targets, (size_t)tokens);
    gm_random random = gm_random_begin(0, GM_RANDOM_WEIGHTS, 1);
    for (int64_t t = 0; t < tokens; t++) {
        ids[t] = (int32_t)gm_random_below(&random, (uint32_t)b->shape->model.vocabulary);
        positions[t] = (int32_t)(t % b->sequence);
    }
    int64_t loss_rows = 0;
    for (int64_t t = 0; t + 1 < tokens; t++) {
        if (positions[t + 1] == 0) continue;
        rows[loss_rows] = (int32_t)t;
        targets[loss_rows++] = ids[t + 1];
    }
    for (int64_t s = 0; s <= sequences; s++) starts[s] = (int32_t)(s * b->sequence < tokens ? s * b->sequence : tokens);
    run->batch = (gm_batch){tokens, sequences, ids, positions, starts, loss_rows, rows, targets, NULL};
    return GM_OK;
}

static void train_step(gm_bench_run *run, int64_t number) {
    const gm_optimizer optimizer = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, .lora_plus_ratio = 1};
    gm_step *step = &run->step;
    gm_model_begin_step(run->model);
    gm_step_reset(step, true);
    gm_model_loss(run->model, step, &run->batch,
                  &(gm_step_share){.step_tokens = run->batch.tokens, .step_loss_tokens = run->batch.loss_rows});
    gm_step_backward(step);
    gm_step_enter(step, GM_PART_OPTIMIZER);
    if (!gm_backend_measures(run->backend)) {
        gm_model_end_step(run->model);
        gm_optimizer_step(&optimizer, run->adapter, run->backend, number, 2e-4, gm_optimizer_grad_norm(run->adapter, run->backend));
    }
    gm_step_enter(step, GM_PART_OTHER);
}

/* Of a product of n³. */
static size_t matrices_size(const gm_bench_run *run, int64_t n) { return 3 * (size_t)(n * n) * gm_type_size(run->benchmark->type); }

static gm_status open_run(gm_bench_run *run) {
    const gm_benchmark *b = run->benchmark;
    gm_adapter_config config = b->method->defaults;
    if (config.router.type == GM_ROUTER_GRAPH) config.router.hidden_size = b->shape->router_size;
    if (b->method == &gm_method_lora) config.rank = gm_method_gmoe.defaults.rank, config.alpha = gm_method_gmoe.defaults.alpha;
    GM_TRY(gm_model_open_random(&run->model, run->backend, &b->shape->model, b->type, 1));
    GM_TRY(gm_error_remedy(gm_adapter_create(&run->adapter, run->model, &config, 1), "a smaller --shape needs less"));
    GM_TRY(gm_error_remedy(gm_adapter_prepare_training(run->adapter), "a smaller --shape needs less"));
    GM_TRY(make_batch(run));
    GM_ALLOC(run->seconds, (size_t)b->steps);
    gm_step_init(&run->step, run->backend, b->type);
    GM_TRY(gm_step_measure(&run->step));
    train_step(run, 1);
    gm_step_plan plan = gm_step_planned(&run->step);
    size_t matrices = matrices_size(run, run->backend->host_memory ? GEMM_HOST_SIZE : GEMM_LEAST_SIZE);
    if (plan.activations < matrices) plan.activations = matrices;
    return gm_error_remedy(gm_step_place(&run->step, &plan), "a lower --tokens or --sequence, or a smaller --shape, needs less");
}

/* n×n values in −0.5 … 0.5 on the backend, the same 2^20 over and over: products of zeros are faster on some processors. */
static gm_status random_matrix(gm_bench_run *run, void **matrix, int64_t n) {
    enum { PIECE = 1 << 20 };
    gm_backend *backend = run->backend;
    size_t size = gm_type_size(run->benchmark->type);
    float *values, *piece;
    GM_ALLOC(values, PIECE);
    piece = gm_alloc(PIECE, sizeof *piece);
    if (!piece) return free(values), GM_NO_MEMORY;
    *matrix = gm_step_memory(&run->step, (size_t)(n * n) * size);
    gm_random random = gm_random_begin(0, GM_RANDOM_WEIGHTS, 2);
    for (int64_t i = 0; i < PIECE; i++) values[i] = gm_random_uniform(&random) - 0.5f;
    gm_convert(piece, run->benchmark->type, values, GM_F32, PIECE);
    for (int64_t done = 0; done < n * n; done += PIECE) {
        size_t count = (size_t)(n * n - done < PIECE ? n * n - done : PIECE);
        backend->write(backend, (char *)*matrix + (size_t)done * size, piece, count * size);
    }
    free(values);
    free(piece);
    return GM_OK;
}

/* Rates of a cubic product of the run's type, one after the other for a second or GEMM_REPEATS times, not only in the first
 * milliseconds, when a cool processor or GPU runs faster: 2048³, on a device eight at a time of 8192³, which smaller ones do not fill.
 * The matrices lie in the step's memory, so that a run on a device needs no more than its steps: where that is small, so are they. */
static gm_status measure_gemm(gm_bench_run *run) {
    gm_backend *backend = run->backend;
    const int together = backend->host_memory ? 1 : 8;
    int64_t n = backend->host_memory ? GEMM_HOST_SIZE : GEMM_DEVICE_SIZE;
    void *matrix[3];
    while (matrices_size(run, n) > run->step.activations.capacity) n /= 2;
    run->gemm_size = n;
    gm_step_reset(&run->step, false);
    for (int i = 0; i < 3; i++) GM_TRY(random_matrix(run, &matrix[i], n));
    const gm_gemm product = {.out = matrix[0],
                             .a = matrix[1],
                             .b = matrix[2],
                             .m = n,
                             .n = n,
                             .k = n,
                             .type = run->benchmark->type,
                             .out_type = run->benchmark->type,
                             .transpose_b = true};
    gm_status status = GM_OK;
    double start = gm_clock_seconds();
    for (int repeat = 0; repeat < GEMM_REPEATS && status == GM_OK; repeat++) { /* the first warms */
        double begin = gm_clock_seconds();
        for (int i = 0; i < together; i++) backend->kernels->gemm(backend, &product);
        status = gm_backend_check(backend);
        if (repeat > 0) run->gemm_rates[run->gemm_count++] = 2.0 * (double)(n * n * n) * together / (gm_clock_seconds() - begin) * 1e-9;
        if (repeat > 3 && gm_clock_seconds() - start > 1.0) break;
    }
    return status;
}

/* The same steps once more with waits between the parts, where a device works behind the host's back. */
static gm_status measure_parts(gm_bench_run *run) {
    const gm_benchmark *b = run->benchmark;
    if (run->backend->host_memory) return GM_OK;
    run->backend->synchronous = true;
    memset(run->step.part_seconds, 0, sizeof run->step.part_seconds);
    gm_backend_gemm_seconds(run->backend);
    double begin = gm_clock_seconds();
    for (int64_t i = 0; i < b->steps; i++) train_step(run, b->warmup + b->steps + i + 1);
    gm_status status = gm_backend_check(run->backend);
    run->timed_seconds = gm_clock_seconds() - begin;
    run->backend->synchronous = false;
    memcpy(run->part_seconds, run->step.part_seconds, sizeof run->part_seconds);
    run->gemm_seconds = gm_backend_gemm_seconds(run->backend);
    return status;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts them. */
static double median_of(double *values, int64_t count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

static gm_status measure_steps(gm_bench_run *run) {
    const gm_benchmark *b = run->benchmark;
    GM_TRY(measure_gemm(run));
    for (int64_t i = 0; i < b->warmup; i++) train_step(run, i + 1);
    GM_TRY(gm_backend_check(run->backend));
    gm_step_enter(&run->step, GM_PART_OTHER); /* what was before counts for no part */
    memset(run->step.part_seconds, 0, sizeof run->step.part_seconds);
    gm_backend_gemm_seconds(run->backend); /* from here on */
    for (int64_t i = 0; i < b->steps; i++) {
        double begin = gm_clock_seconds();
        train_step(run, b->warmup + i + 1);
        GM_TRY(gm_backend_check(run->backend));
        run->seconds[i] = gm_clock_seconds() - begin;
        run->timed_seconds += run->seconds[i];
    }
    memcpy(run->part_seconds, run->step.part_seconds, sizeof run->part_seconds);
    run->gemm_seconds = gm_backend_gemm_seconds(run->backend);
    GM_TRY(measure_parts(run));
    for (int i = 0; i < 2; i++) { /* the first warms */
        double begin = gm_clock_seconds();
        gm_step_reset(&run->step, false);
        gm_model_evaluate_loss(run->model, &run->step, &run->batch);
        run->forward_seconds = gm_clock_seconds() - begin;
    }
    return measure_gemm(run);
}

static void member(gm_buffer *out, const char *name, double value) {
    gm_buffer_format(out, ",\"%s\":", name);
    gm_json_write_double(out, value);
}

static void report(gm_bench_run *run, gm_buffer *out) {
    static const char *const part_names[GM_PARTS] = {"other", "projections", "attention", "router", "feed_forward", "head", "optimizer"};
    const gm_benchmark *b = run->benchmark;
    double flops = 4.0 * (double)gm_model_parameters(run->model);
    double median = median_of(run->seconds, b->steps), gemm_gflops = median_of(run->gemm_rates, run->gemm_count),
           to_median = median / run->timed_seconds, floor_seconds = flops * (double)b->tokens / (gemm_gflops * 1e9);
    gm_buffer_format(
        out, "{\"shape\":\"%s\",\"method\":\"%s\",\"dtype\":\"%s\",\"device\":\"%s\",\"tokens\":%lld,\"sequence\":%lld,\"steps\":%lld",
        b->shape->name, b->method->name, b->type == GM_F32 ? "f32" : "bf16", run->backend->name, (long long)b->tokens,
        (long long)b->sequence, (long long)b->steps);
    member(out, "tokens_per_s", (double)b->tokens / median);
    member(out, "ms_per_step", median * 1e3);
    member(out, "forward_tokens_per_s", (double)b->tokens / run->forward_seconds);
    member(out, "flops_per_token", flops);
    member(out, "gflops", flops * (double)b->tokens / median * 1e-9);
    member(out, "gemm_gflops", gemm_gflops);
    gm_buffer_format(out, ",\"gemm_size\":%lld", (long long)run->gemm_size);
    member(out, "floor_share", floor_seconds / median);
    member(out, "gemm_share", run->gemm_seconds / run->timed_seconds);
    gm_buffer_format(out, ",\"peak_memory_bytes\":%lld,\"device_memory_bytes\":%zu,\"trainable_parameters\":%lld",
                     (long long)gm_peak_memory(), gm_backend_device_peak(run->backend), (long long)gm_adapter_trainable(run->adapter));
    gm_buffer_text(out, ",\"parts_ms\":{");
    for (int i = 0; i < GM_PARTS; i++) {
        gm_buffer_format(out, "%s\"%s\":", i ? "," : "", part_names[i]);
        gm_json_write_double(out, run->part_seconds[i] * to_median * 1e3);
    }
    gm_buffer_text(out, "}}\n");
}

gm_status gm_benchmark_run(const gm_benchmark *benchmark, gm_backend *backend, gm_buffer *out) {
    gm_bench_run run = {.benchmark = benchmark, .backend = backend};
    gm_status status = open_run(&run);
    if (status == GM_OK) status = measure_steps(&run);
    if (status == GM_OK) report(&run, out);
    if (run.step.backend) gm_step_free(&run.step);
    gm_model_close(run.model);
    gm_region_free(&run.region);
    free(run.seconds);
    return status == GM_OK ? gm_buffer_status(out) : status;
}
