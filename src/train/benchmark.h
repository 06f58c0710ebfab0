/* Speed of training steps on random weights of a named shape (gmoe-bench). */
#ifndef GM_TRAIN_BENCHMARK_H
#define GM_TRAIN_BENCHMARK_H

#include "base/buffer.h"
#include "model/model.h"

typedef struct gm_benchmark_shape {
    const char *name, *summary;
    gm_model_config model;
    int64_t tokens, sequence; /* defaults: tokens a step, tokens a sequence */
    int64_t router_size;
} gm_benchmark_shape;

extern const gm_benchmark_shape gm_benchmark_shapes[];               /* name NULL at the end */
const gm_benchmark_shape *gm_benchmark_shape_find(const char *name); /* NULL: none */

typedef struct gm_benchmark {
    const gm_benchmark_shape *shape;
    const gm_method *method;
    gm_type type;
    int64_t tokens, sequence, steps, warmup; /* loss on all tokens */
} gm_benchmark;

/* Runs it and appends one JSON line to `out`:
 *   tokens_per_s, ms_per_step (median), forward_tokens_per_s (all logits), flops_per_token (4·P), gemm_gflops (a product
 *   of gemm_size³, median of a second of them before and after the steps), floor_share (4·P·T at that rate / the step), gemm_share (of the
 * step inside matrix products), peak_memory_bytes, device_memory_bytes, parts (ms a step each), trainable_parameters, and what was asked.
 * On a device gemm_share and parts are of further steps that wait for it, the parts scaled to the median step. */
gm_status gm_benchmark_run(const gm_benchmark *benchmark, gm_backend *backend, gm_buffer *out);

#endif
