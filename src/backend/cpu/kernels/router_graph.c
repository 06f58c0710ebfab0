/* The graph router's layers, block by block of tokens (formulas: src/ops/router_graph.c; method.md §2).
 *
 * Experts' features are the same for every token, so the first layer's aggregation splits into a table and a token
 * part: Z¹_j = R_j + Â_{j,t} (C_1 t),  R = Â_{·,experts} (E C_1ᵀ): one G×G product a token in place of N+1.
 * Later layers aggregate first, M = Â Y, then multiply: Z = M Cᵀ over all nodes of a block at once. The last layer
 * drops the token's node. Backward runs a block forward again, then
 *     dZ^L_i = dscore_i p ∘ silu'(Z^L_i),  dM = dZ C,  dC += dZᵀ M,  dY = Âᵀ dM,  dZ = dY ∘ silu'(Z)
 * down to dZ¹, whose sum over tokens is the gradient of the table R (pushed through E C_1ᵀ once), and whose
 * Â-weighted sum over nodes is that of C_1 t.
 *
 * One parallel region: a thread takes a group of blocks and does all their layers in its own cache, matrix products
 * included. Groups depend on T alone and their sums are added in order, so the number of threads changes nothing. A
 * last block that is not full is padded with zeros, so that there is one shape of each product. */
#include "backend/cpu/kernels/kernel.h"

enum { BLOCK = 64, GROUPS = 16 };

typedef struct router_worker {  /* a thread's buffers; rows in (token, node) order */
    float *input, *token;       /* BLOCK×G: t0, t = silu(t0)                       */
    float *mixed_token;         /* BLOCK×G: C_1 t, and its gradient                */
    float *z[GM_ROUTER_LAYERS]; /* BLOCK×nodes×G each: Z, and dZ                   */
    float *m[GM_ROUTER_LAYERS]; /* the same: input of layer l ≥ 2, after Â          */
    float *y;                   /* 2×nodes×G: a token's, in the nearest cache      */
    float *dscore;              /* BLOCK×N                                         */
    void *scratch;              /* of the matrix products                          */
} router_worker;

typedef struct router_sums {                         /* a group's part of the gradients */
    float *conv[GM_ROUTER_LAYERS], *readout, *table; /* G×G each, G, nodes×G */
} router_sums;

typedef struct router_run {
    gm_backend *backend;
    const gm_router_graph_args *args;
    int64_t n, g, group_blocks, groups, threads;
    size_t scratch_bytes;
    const float *table; /* nodes×G: R */
    bool backward;
} router_run;

static int64_t nodes_of(const gm_router_graph_args *args, int64_t layer) {
    return layer == args->layers - 1 ? args->experts : args->experts + 1;
}
static float edge(const gm_router_graph_args *args, int64_t to, int64_t from) { return args->adjacency[to * (args->experts + 1) + from]; }
static float *take(gm_backend *backend, int64_t count) { return gm_arena_take(&backend->scratch, (size_t)count * sizeof(float)); }

/* The products of a block: rows×G through a G×G matrix, its transpose, and the gradient of that matrix. */
static gm_gemm through(float *out, const float *in, const float *conv, int64_t rows, int64_t g, bool transposed) {
    return (gm_gemm){.out = out, .a = in, .b = conv, .m = rows, .n = g, .k = g, .transpose_b = transposed};
}

static gm_gemm outer(float *out, const float *dz, const float *in, int64_t rows, int64_t g) {
    return (gm_gemm){.out = out, .a = dz, .b = in, .m = g, .n = g, .k = rows, .transpose_a = true, .accumulate = true};
}

static size_t scratch_for(gm_backend *backend, int64_t rows, int64_t g) {
    const gm_gemm products[3] = {through(NULL, NULL, NULL, rows, g, true), through(NULL, NULL, NULL, rows, g, false),
                                 outer(NULL, NULL, NULL, rows, g)};
    size_t most = 0;
    for (int i = 0; i < 3; i++) {
        size_t bytes = gm_cpu_gemm_scratch(backend, &products[i]);
        if (bytes > most) most = bytes;
    }
    return most;
}

static router_run begin(gm_backend *backend, const gm_router_graph_args *args, bool backward) {
    GM_CHECK(args->tokens > 0 && (args->layers > 1 || !args->last), "router: no tokens, or one layer that is kept");
    int64_t blocks = (args->tokens + BLOCK - 1) / BLOCK;
    router_run run = {.backend = backend,
                      .args = args,
                      .n = args->experts,
                      .g = args->size,
                      .group_blocks = (blocks + GROUPS - 1) / GROUPS,
                      .threads = gm_cpu(backend)->threads,
                      .backward = backward};
    run.groups = (blocks + run.group_blocks - 1) / run.group_blocks;
    int64_t rows[3] = {BLOCK, BLOCK * args->experts, BLOCK * (args->experts + 1)};
    for (int i = 0; i < 3; i++) {
        size_t bytes = scratch_for(backend, rows[i], args->size);
        if (bytes > run.scratch_bytes) run.scratch_bytes = bytes;
    }
    return run;
}

static router_worker take_worker(const router_run *run) {
    gm_backend *backend = run->backend;
    int64_t thin = BLOCK * run->g, full = BLOCK * (run->n + 1) * run->g;
    router_worker worker = {.input = take(backend, thin),
                            .token = take(backend, thin),
                            .mixed_token = take(backend, thin),
                            .y = take(backend, 2 * (run->n + 1) * run->g),
                            .dscore = take(backend, BLOCK * run->n),
                            .scratch = gm_arena_take(&backend->scratch, run->scratch_bytes)};
    for (int64_t l = 0; l < run->args->layers; l++) {
        bool passes = l == 0 && run->args->layers == 2 && !run->backward; /* Z¹ lies in y, token by token */
        worker.z[l] = passes ? NULL : l > 1 && !run->backward ? worker.z[l % 2] : take(backend, full);
        worker.m[l] = l == 0 ? NULL : l > 1 && !run->backward ? worker.m[1] : take(backend, full);
    }
    return worker;
}

/* R: (N+1)×G, N rows where there is one layer. */
static void make_table(router_run *run) {
    gm_backend *backend = run->backend;
    const gm_router_graph_args *args = run->args;
    int64_t g = run->g, nodes = nodes_of(args, 0);
    float *table = take(backend, nodes * g), *mixed = take(backend, run->n * g);
    gm_gemm product = through(mixed, args->features, args->conv[0], run->n, g, true);
    backend->kernels->gemm(backend, &product);
    run->table = table;
    if (gm_backend_measures(backend)) return;
    memset(table, 0, (size_t)(nodes * g) * sizeof *table);
    for (int64_t j = 0; j < nodes; j++)
        for (int64_t i = 0; i < run->n; i++) gm_axpy(table + j * g, edge(args, j, i), mixed + i * g, g);
}

static void silu(float *restrict out, const float *restrict in, int64_t count) {
    for (int64_t i = 0; i < count; i++) out[i] = in[i] * gm_sigmoid(in[i]);
}

/* out = silu(z), and silu'(z) in z's place: what backward multiplies with. */
static void silu_and_slope(float *restrict out, float *restrict z, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        float sigmoid = gm_sigmoid(z[i]), value = z[i] * sigmoid;
        out[i] = value;
        z[i] = sigmoid + value * (1.0f - sigmoid);
    }
}

static void multiply_by(float *restrict out, const float *restrict factor, int64_t count) {
    for (int64_t i = 0; i < count; i++) out[i] *= factor[i];
}

/* Of one token: out_j = Σ_i Â_ji in_i over nodes; transposed: out_j = Σ_i Â_ij in_i. */
static void aggregate(const gm_router_graph_args *args, float *out, int64_t out_nodes, const float *in, int64_t in_nodes, bool transposed) {
    int64_t g = args->size;
    memset(out, 0, (size_t)(out_nodes * g) * sizeof *out);
    for (int64_t j = 0; j < out_nodes; j++)
        for (int64_t i = 0; i < in_nodes; i++) {
            float weight = transposed ? edge(args, i, j) : edge(args, j, i);
            if (weight != 0) gm_axpy(out + j * g, weight, in + i * g, g);
        }
}

/* Z¹ of one token */
static void first_layer(const router_run *run, const float *restrict mixed, float *z) {
    int64_t g = run->g, nodes = nodes_of(run->args, 0);
    for (int64_t j = 0; j < nodes; j++) {
        float weight = edge(run->args, j, run->n), *restrict out = z + j * g;
        const float *restrict row = run->table + j * g;
        for (int64_t c = 0; c < g; c++) out[c] = row[c] + weight * mixed[c];
    }
}

static void multiply(const router_run *run, const router_worker *w, gm_gemm product) {
    gm_cpu_gemm_on_thread(run->backend, &product, w->scratch);
}

/* For backward silu' takes the place of what went through silu: t0, and Z of all layers but the last. */
static void activate(const router_run *run, float *out, float *z, int64_t count) {
    if (run->backward)
        silu_and_slope(out, z, count);
    else
        silu(out, z, count);
}

/* M^l of the block from Z^{l−1}, token by token; the first layer's Z is made on the way, and stays for backward alone. */
static void layer_input(const router_run *run, const router_worker *w, int64_t l) {
    const gm_router_graph_args *args = run->args;
    int64_t in_nodes = nodes_of(args, l - 1), nodes = nodes_of(args, l), row = in_nodes * run->g;
    for (int64_t t = 0; t < BLOCK; t++) {
        float *z = l == 1 && !run->backward ? w->y + row : w->z[l - 1] + t * row;
        if (l == 1) first_layer(run, w->mixed_token + t * run->g, z);
        activate(run, w->y, z, row);
        aggregate(args, w->m[l] + t * nodes * run->g, nodes, w->y, in_nodes, false);
    }
}

static bool last_is_kept(const router_run *run) { return run->args->last != NULL; }

/* Z^L of the block: in the caller's memory where it is kept and the block is full. */
static float *last_z(const router_run *run, const router_worker *w, int64_t first, int64_t rows) {
    return last_is_kept(run) && rows == BLOCK ? run->args->last + first * run->n * run->g : w->z[run->args->layers - 1];
}

/* A block that is not full to or from the caller's memory. */
static void keep_last(const router_run *run, const router_worker *w, int64_t first, int64_t rows) {
    if (!last_is_kept(run) || rows == BLOCK) return;
    int64_t row = run->n * run->g;
    float *kept = run->args->last + first * row, *z = last_z(run, w, first, rows);
    if (run->backward)
        memcpy(z, kept, (size_t)(rows * row) * sizeof *z);
    else
        memcpy(kept, z, (size_t)(rows * row) * sizeof *z);
    memset(z + rows * row, 0, (size_t)((BLOCK - rows) * row) * sizeof *z);
}

/* Z of every layer for tokens first … first+rows, padded to BLOCK. */
static void block_forward(const router_run *run, const router_worker *w, int64_t first, int64_t rows) {
    const gm_router_graph_args *args = run->args;
    int64_t g = run->g;
    memcpy(w->input, args->token + first * g, (size_t)(rows * g) * sizeof(float));
    memset(w->input + rows * g, 0, (size_t)((BLOCK - rows) * g) * sizeof(float));
    activate(run, w->token, w->input, BLOCK * g);
    multiply(run, w, through(w->mixed_token, w->token, args->conv[0], BLOCK, g, true));
    if (args->layers == 1)
        for (int64_t t = 0; t < BLOCK; t++) first_layer(run, w->mixed_token + t * g, w->z[0] + t * run->n * g);
    for (int64_t l = 1; l < args->layers; l++) {
        bool last = l == args->layers - 1;
        layer_input(run, w, l);
        if (last && run->backward && last_is_kept(run)) continue;
        multiply(run, w, through(last ? last_z(run, w, first, rows) : w->z[l], w->m[l], args->conv[l], BLOCK * nodes_of(args, l), g, true));
    }
    if (args->layers > 1) keep_last(run, w, first, rows);
}

static float read_out(const float *restrict z, const float *restrict p, int64_t g) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < g; c++) sum += p[c] * z[c] * gm_sigmoid(z[c]);
    return sum;
}

static int64_t block_rows(const router_run *run, int64_t first) {
    return run->args->tokens - first < BLOCK ? run->args->tokens - first : BLOCK;
}
static int64_t group_begin(const router_run *run, int64_t group) { return group * run->group_blocks * BLOCK; }
static int64_t group_end(const router_run *run, int64_t group) {
    int64_t end = group_begin(run, group + 1);
    return end < run->args->tokens ? end : run->args->tokens;
}

void GM_KERNEL(gm_cpu_router_graph_forward)(gm_backend *backend, const gm_router_graph_args *args) {
    size_t mark = gm_arena_mark(&backend->scratch);
    router_run run = begin(backend, args, false);
    make_table(&run);
    router_worker *workers = gm_arena_take(&backend->scratch, (size_t)run.threads * sizeof *workers), worker;
    for (int64_t i = 0; i < run.threads; i++) {
        worker = take_worker(&run);
        if (!gm_backend_measures(backend)) workers[i] = worker;
    }
    int64_t groups = gm_backend_measures(backend) ? 0 : run.groups;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)run.threads)
    for (int64_t group = 0; group < groups; group++) {
        const router_worker *w = &workers[omp_get_thread_num()];
        for (int64_t first = group_begin(&run, group); first < group_end(&run, group); first += BLOCK) {
            int64_t rows = block_rows(&run, first);
            block_forward(&run, w, first, rows);
            const float *last = last_z(&run, w, first, rows);
            for (int64_t i = 0; i < rows * run.n; i++) args->score[first * run.n + i] = read_out(last + i * run.g, args->readout, run.g);
        }
    }
    gm_arena_release(&backend->scratch, mark);
}

/* dZ^L in place of Z^L, and the gradient of p. */
static void readout_backward(const router_run *run, const router_worker *w, float *z, float *dreadout) {
    int64_t g = run->g;
    const float *restrict p = run->args->readout;
    for (int64_t i = 0; i < BLOCK * run->n; i++) {
        float *restrict row = z + i * g, *restrict dp = dreadout, d = w->dscore[i];
        for (int64_t c = 0; c < g; c++) {
            float value = row[c], sigmoid = gm_sigmoid(value);
            dp[c] += d * value * sigmoid;
            row[c] = d * p[c] * (sigmoid + value * sigmoid * (1.0f - sigmoid));
        }
    }
}

/* From dZ¹ of token t of the block: the table's gradient, added; and d(C_1 t) into mixed_token. */
static void first_layer_backward(const router_run *run, const router_worker *w, int64_t t, float *dtable) {
    int64_t g = run->g, nodes = nodes_of(run->args, 0);
    memset(w->mixed_token + t * g, 0, (size_t)g * sizeof(float));
    for (int64_t j = 0; j < nodes; j++) {
        const float *dz = w->z[0] + (t * nodes + j) * g;
        gm_axpy(dtable + j * g, 1.0f, dz, g);
        gm_axpy(w->mixed_token + t * g, edge(run->args, j, run->n), dz, g);
    }
}

/* dZ^{l−1} in place of silu'(Z^{l−1}), from dM^l. */
static void layer_input_backward(const router_run *run, const router_worker *w, int64_t l) {
    int64_t nodes = nodes_of(run->args, l), in_nodes = nodes_of(run->args, l - 1), row = in_nodes * run->g;
    for (int64_t t = 0; t < BLOCK; t++) {
        aggregate(run->args, w->y, in_nodes, w->m[l] + t * nodes * run->g, nodes, true);
        multiply_by(w->z[l - 1] + t * row, w->y, row);
    }
}

static void block_backward(const router_run *run, const router_worker *w, const router_sums *sums, int64_t first, int64_t rows) {
    const gm_router_graph_args *args = run->args;
    int64_t g = run->g, last = args->layers - 1;
    memcpy(w->dscore, args->dscore + first * run->n, (size_t)(rows * run->n) * sizeof(float));
    memset(w->dscore + rows * run->n, 0, (size_t)((BLOCK - rows) * run->n) * sizeof(float));
    float *z_last = last_z(run, w, first, rows);
    readout_backward(run, w, z_last, sums->readout);
    for (int64_t l = last; l > 0; l--) {
        int64_t nodes = nodes_of(args, l);
        const float *dz = l == last ? z_last : w->z[l];
        multiply(run, w, outer(sums->conv[l], dz, w->m[l], BLOCK * nodes, g));
        multiply(run, w, through(w->m[l], dz, args->conv[l], BLOCK * nodes, g, false)); /* dM in place of M */
        layer_input_backward(run, w, l);
    }
    for (int64_t t = 0; t < BLOCK; t++) first_layer_backward(run, w, t, sums->table);
    multiply(run, w, outer(sums->conv[0], w->mixed_token, w->token, BLOCK, g));
    multiply(run, w, through(w->token, w->mixed_token, args->conv[0], BLOCK, g, false)); /* dt in place of t */
    multiply_by(w->token, w->input, BLOCK * g);
    memcpy(args->dtoken + first * g, w->token, (size_t)(rows * g) * sizeof(float));
}

static int64_t sums_size(const router_run *run) { return run->args->layers * run->g * run->g + run->g + nodes_of(run->args, 0) * run->g; }

static router_sums sums_at(const router_run *run, float *memory) {
    router_sums sums = {0};
    for (int64_t l = 0; l < run->args->layers; l++) sums.conv[l] = memory + l * run->g * run->g;
    sums.readout = memory + run->args->layers * run->g * run->g;
    sums.table = sums.readout + run->g;
    return sums;
}

/* dR through R = Â_{·,experts} (E C_1ᵀ): dC_1 += d(E C_1ᵀ)ᵀ E, dE = d(E C_1ᵀ) C_1. */
static void table_backward(const router_run *run, const float *dtable) {
    gm_backend *backend = run->backend;
    const gm_router_graph_args *args = run->args;
    int64_t g = run->g;
    float *dmixed = take(backend, run->n * g);
    if (!gm_backend_measures(backend)) {
        memset(dmixed, 0, (size_t)(run->n * g) * sizeof *dmixed);
        for (int64_t i = 0; i < run->n; i++)
            for (int64_t j = 0; j < nodes_of(args, 0); j++) gm_axpy(dmixed + i * g, edge(args, j, i), dtable + j * g, g);
    }
    gm_gemm dconv = outer(args->dconv[0], dmixed, args->features, run->n, g),
            dfeatures = through(args->dfeatures, dmixed, args->conv[0], run->n, g, false);
    backend->kernels->gemm(backend, &dconv);
    backend->kernels->gemm(backend, &dfeatures);
}

static void add_sums(const router_run *run, float *memory) {
    int64_t size = sums_size(run), square = run->g * run->g;
    for (int64_t group = 1; group < run->groups; group++) gm_axpy(memory, 1.0f, memory + group * size, size);
    router_sums total = sums_at(run, memory);
    for (int64_t l = 0; l < run->args->layers; l++) gm_axpy(run->args->dconv[l], 1.0f, total.conv[l], square);
    gm_axpy(run->args->dreadout, 1.0f, total.readout, run->g);
}

void GM_KERNEL(gm_cpu_router_graph_backward)(gm_backend *backend, const gm_router_graph_args *args) {
    size_t mark = gm_arena_mark(&backend->scratch);
    router_run run = begin(backend, args, true);
    make_table(&run);
    float *memory = take(backend, GROUPS * sums_size(&run));
    router_worker *workers = gm_arena_take(&backend->scratch, (size_t)run.threads * sizeof *workers), worker;
    for (int64_t i = 0; i < run.threads; i++) {
        worker = take_worker(&run);
        if (!gm_backend_measures(backend)) workers[i] = worker;
    }
    if (!gm_backend_measures(backend)) {
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)run.threads)
        for (int64_t group = 0; group < run.groups; group++) {
            const router_worker *w = &workers[omp_get_thread_num()];
            float *mine = memory + group * sums_size(&run);
            memset(mine, 0, (size_t)sums_size(&run) * sizeof *mine);
            router_sums sums = sums_at(&run, mine);
            for (int64_t first = group_begin(&run, group); first < group_end(&run, group); first += BLOCK) {
                block_forward(&run, w, first, block_rows(&run, first));
                block_backward(&run, w, &sums, first, block_rows(&run, first));
            }
        }
        add_sums(&run, memory);
    }
    table_backward(&run, gm_backend_measures(backend) ? NULL : sums_at(&run, memory).table);
    gm_arena_release(&backend->scratch, mark);
}
