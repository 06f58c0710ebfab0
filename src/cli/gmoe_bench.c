/* gmoe-bench: speed of training steps on random weights of a named shape; one JSON line on standard output. */
#include "base/file.h"
#include "cli/options.h"
#include "cli/spinning.h"
#include "train/benchmark.h"
#include "train/device.h"

#include <stdio.h>
#include <string.h>

typedef struct bench_options {
    const char *shape, *method, *dtype, *device;
    int64_t tokens, sequence, steps, warmup;
} bench_options;

static void list_shapes(gm_buffer *out) {
    for (const gm_benchmark_shape *shape = gm_benchmark_shapes; shape->name; shape++)
        gm_buffer_format(out, "  %-12s %s; %lld tokens in sequences of %lld, router %lld\n", shape->name, shape->summary,
                         (long long)shape->tokens, (long long)shape->sequence, (long long)shape->router_size);
}

static void list_methods(gm_buffer *out) {
    for (const gm_method *const *method = gm_methods; *method; method++)
        gm_buffer_format(out, "  %-12s %s\n", (*method)->name, (*method)->summary);
}

static void explain_line(gm_buffer *out) {
    gm_buffer_text(out, "  tokens_per_s and ms_per_step (median step), forward_tokens_per_s (all logits),\n"
                        "  gemm_gflops (a product of gemm_size³ of the same type in the same run), floor_share (4·P·T at that rate\n"
                        "  over the step; P: frozen parameters in products), gemm_share (of the step inside matrix products),\n"
                        "  parts_ms (where the median step goes; on a GPU this and gemm_share are of further steps that wait after each\n"
                        "  part), peak_memory_bytes (host), device_memory_bytes (GPU), trainable_parameters.\n");
}

static void complete(gm_buffer *out, const gm_option *option) {
    if (strcmp(option->name, "shape") == 0)
        for (const gm_benchmark_shape *shape = gm_benchmark_shapes; shape->name; shape++) gm_buffer_format(out, "%s\n", shape->name);
    if (strcmp(option->name, "method") == 0)
        for (const gm_method *const *method = gm_methods; *method; method++) gm_buffer_format(out, "%s\n", (*method)->name);
}

static gm_status choose(gm_benchmark *benchmark, const bench_options *o) {
    if (!o->shape) return gm_error(GM_USAGE, "--shape is needed; --help lists the shapes");
    benchmark->shape = gm_benchmark_shape_find(o->shape);
    if (!benchmark->shape) return gm_error(GM_USAGE, "--shape %s: no such shape; --help lists them", o->shape);
    benchmark->method = gm_method_find(o->method);
    if (!benchmark->method) return gm_error(GM_USAGE, "--method %s: no such method; --help lists them", o->method);
    if (strcmp(o->dtype, "f32") != 0 && strcmp(o->dtype, "bf16") != 0)
        return gm_error(GM_USAGE, "--dtype %s: is neither f32 nor bf16", o->dtype);
    benchmark->type = strcmp(o->dtype, "f32") == 0 ? GM_F32 : GM_BF16;
    benchmark->tokens = o->tokens >= 0 ? o->tokens : benchmark->shape->tokens;
    benchmark->sequence = o->sequence >= 0 ? o->sequence : benchmark->shape->sequence;
    benchmark->steps = o->steps;
    benchmark->warmup = o->warmup;
    if (benchmark->tokens < 2 || benchmark->sequence < 2 || benchmark->tokens > 1 << 24)
        return gm_error(GM_USAGE, "--tokens and --sequence: a step has 2 to %d tokens, a sequence at least 2", 1 << 24);
    if (benchmark->steps < 1) return gm_error(GM_USAGE, "--steps: must be at least 1");
    return GM_OK;
}

static gm_status run(const bench_options *o) {
    gm_benchmark benchmark = {0};
    gm_backend *backend = NULL;
    GM_TRY(choose(&benchmark, o));
    GM_TRY(gm_device_open(&backend, o->device));
    gm_buffer out = {0};
    gm_status status = gm_benchmark_run(&benchmark, backend, &out);
    if (status == GM_OK) fputs(gm_buffer_string(&out), stdout);
    gm_buffer_free(&out);
    gm_backend_close(backend);
    return status;
}

int main(int argc, char **argv) {
    bench_options o = {.method = "gmoe", .dtype = "bf16", .device = "auto", .tokens = -1, .sequence = -1, .steps = 5, .warmup = 2};
    const gm_option options[] = {
        {"shape", "NAME", GM_OPTION_TEXT, &o.shape, "base model whose random weights are made in memory"},
        {"method", "NAME", GM_OPTION_TEXT, &o.method, "one of the methods below, of the same rank (default gmoe)"},
        {"dtype", "bf16|f32", GM_OPTION_TEXT, &o.dtype, "type of the products (default bf16)"},
        {"tokens", "T", GM_OPTION_INTEGER, &o.tokens, "tokens a step (default: the shape's)"},
        {"sequence", "T", GM_OPTION_INTEGER, &o.sequence, "tokens a sequence (default: the shape's)"},
        {"steps", "S", GM_OPTION_INTEGER, &o.steps, "steps measured (default 5)"},
        {"warmup", "S", GM_OPTION_INTEGER, &o.warmup, "steps before them (default 2)"},
        {"device", "auto|cpu|cuda[:N]", GM_OPTION_TEXT, &o.device, "where to compute (default auto)"},
    };
    static const gm_section sections[] = {{"shapes", list_shapes}, {"methods", list_methods}, {"the line", explain_line}};
    const gm_program program = {.name = "gmoe-bench",
                                .summary = "Measures training steps on random weights; prints one JSON line.",
                                .options = options,
                                .count = sizeof options / sizeof *options,
                                .computes = true,
                                .words = complete,
                                .sections = sections,
                                .section_count = sizeof sections / sizeof *sections};
    bool done = false;
    gm_file_hold_standard();
    gm_bound_spinning(argv);
    gm_status status = gm_options_parse(&program, argc, argv, &done);
    if (status == GM_OK && !done) status = run(&o);
    return gm_program_end(program.name, status);
}
