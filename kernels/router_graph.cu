/* The graph router's layers (formulas: src/ops/router_graph.c; the algebra: backend/cpu/kernels/router_graph.c).
 *     Z¹_j = R_j + Â_{j,t} (C_1 t),  R = Â_{·,experts} (E C_1ᵀ);    M^l = Â silu(Z^{l−1}),  Z^l = M^l C_lᵀ;    score_i = p · silu(Z^L_i)
 *     dZ^L_i = dscore_i p ∘ silu'(Z^L_i),  dC += dZᵀ M,  dM = dZ C,  dZ^{l−1} = Âᵀ dM ∘ silu'(Z^{l−1})
 *     dR = Σ_t dZ¹,  d(C_1 t) = Σ_j Â_{j,t} dZ¹_j
 * The G×G products over all rows are cuBLASLt's: 2G FLOP a float read or written is far above what an f32 unit has per float of
 * bandwidth (G = 256: 64 FLOP a byte, where 20 suffice), so fusing them with what is between would save little and lose the
 * library's tiles; with `tf32` they are on tensor cores and wait for memory. What is between is fused: a kernel reads Z once and writes M
 * once, Z¹ is never in memory. Layers go chunk by chunk of tokens, in memory bounded by GM_SCRATCH_MOST. A thread has VECTOR columns of a
 * token; it sums over nodes in order, with Â in shared memory, OUT results at a time. Sums over tokens: a thread's PARTS share, then the
 * parts in order. */
#include "sigmoid.cuh"
#include "sums.cuh"

enum {
    THREADS = 128,
    VECTOR = 4,
    OUT = 12,
    AHEAD = 4 /* rows asked for at once */,
    PART_THREADS = 1 << 15 /* that share the sums over tokens of nodes' rows */,
    READ_OUT_THREADS = 1 << 17 /* of p's one row */
};

struct graph {
    int64_t experts, size, vectors; /* vectors: of a row of G */
    const float *edges;             /* (N+1)×(N+1) */
    const float *table;             /* nodes×G: R  */
    bool aligned;
};

__device__ static float edge(const graph &n, int64_t to, int64_t from) { return n.edges[to * (n.experts + 1) + from]; }

/* out_j = Σ_i Â_ji in_i (transposed: Â_ij) over G columns: the table and its gradient. */
__global__ void __launch_bounds__(THREADS) mix(float *out, const float *in, graph n, int64_t out_nodes, int64_t in_nodes, bool transposed) {
    int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, j = at / n.size;
    if (j >= out_nodes) return;
    float sum = 0;
    for (int64_t i = 0; i < in_nodes; i++) sum += (transposed ? edge(n, i, j) : edge(n, j, i)) * in[i * n.size + at % n.size];
    out[at] = sum;
}

/* Shared weights[i·OUT + o]: from node i to node first + o (transposed: against the edge); zeros beyond the last. */
__device__ static void load_weights(float *weights, const graph &n, int64_t first, int64_t out_nodes, int64_t in_nodes, bool transposed) {
    __syncthreads(); /* the previous ones are used */
    for (int64_t k = threadIdx.x; k < in_nodes * OUT; k += THREADS) {
        int64_t i = k / OUT, j = first + k % OUT;
        weights[k] = j >= out_nodes ? 0.0f : transposed ? edge(n, i, j) : edge(n, j, i);
    }
    __syncthreads();
}

/* Rows j … j + AHEAD of one token, beyond the last one again the last: asked for together where vectors are WHOLE. */
template <bool WHOLE>
__device__ __forceinline__ void load_nodes(float (&v)[AHEAD][VECTOR], const float *rows, const graph &n, int64_t j, int64_t nodes,
                                           int column) {
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
        const float *row = rows + gm_least(j + k, nodes - 1) * n.size;
        if (WHOLE)
            gm_load_vector(v[k], row + column);
        else
            gm_load_some(v[k], row, column, n.size, false);
    }
}

__device__ static void add_weighted(float (&sum)[OUT][VECTOR], const float *weights, const float (&v)[VECTOR]) {
#pragma unroll
    for (int o = 0; o < OUT; o += 4) {
        float w[4];
        gm_load_vector(w, weights + o);
#pragma unroll
        for (int k = 0; k < 4; k++) {
#pragma unroll
            for (int c = 0; c < VECTOR; c++) sum[o + k][c] += w[k] * v[c];
        }
    }
}

__device__ static void first_layer(float (&z)[VECTOR], const graph &n, const float (&mixed)[VECTOR], int64_t node, int column) {
    const float weight = edge(n, node, n.experts);
    gm_load_some(z, n.table + node * n.size, column, n.size, n.aligned);
#pragma unroll
    for (int c = 0; c < VECTOR; c++) z[c] += weight * mixed[c];
}

__device__ static float silu(float z) { return z * gm_quick_sigmoid(z); }
__device__ static float silu_slope(float z) {
    float s = gm_quick_sigmoid(z);
    return s + z * s * (1.0f - s);
}

/* m = Â silu(z), z: tokens×(N+1)×G. FIRST: z are the tokens×G C_1 t of the first layer. */
template <bool FIRST>
__global__ void __launch_bounds__(THREADS) aggregate(float *m, const float *z, graph n, int64_t tokens, int64_t out_nodes) {
    GM_DYNAMIC_SHARED(float, weights);
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, t = at / n.vectors;
    const int column = (int)(at % n.vectors) * VECTOR;
    const int64_t nodes = n.experts + 1, first = (int64_t)blockIdx.y * OUT;
    load_weights(weights, n, first, out_nodes, nodes, false);
    if (t >= tokens) return;
    float sum[OUT][VECTOR] = {{0}}, mixed[VECTOR], v[VECTOR];
    if (FIRST) gm_load_some(mixed, z + t * n.size, column, n.size, n.aligned);
    for (int64_t i = 0; i < nodes; i++) {
        if (FIRST)
            first_layer(v, n, mixed, i, column);
        else
            gm_load_some(v, z + (t * nodes + i) * n.size, column, n.size, n.aligned);
#pragma unroll
        for (int c = 0; c < VECTOR; c++) v[c] = silu(v[c]);
        add_weighted(sum, weights + i * OUT, v);
    }
#pragma unroll
    for (int o = 0; o < OUT; o++)
        if (first + o < out_nodes) gm_store_some(m + (t * out_nodes + first + o) * n.size, sum[o], column, n.size, n.aligned);
}

/* dz = Âᵀ dm ∘ silu'(z) in z's place. */
__global__ void __launch_bounds__(THREADS) aggregate_backward(float *z, const float *dm, graph n, int64_t tokens, int64_t dm_nodes) {
    GM_DYNAMIC_SHARED(float, weights);
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, t = at / n.vectors;
    const int column = (int)(at % n.vectors) * VECTOR;
    const int64_t nodes = n.experts + 1, first = (int64_t)blockIdx.y * OUT;
    load_weights(weights, n, first, nodes, dm_nodes, true);
    if (t >= tokens) return;
    float sum[OUT][VECTOR] = {{0}}, v[VECTOR];
    for (int64_t j = 0; j < dm_nodes; j++) {
        gm_load_some(v, dm + (t * dm_nodes + j) * n.size, column, n.size, n.aligned);
        add_weighted(sum, weights + j * OUT, v);
    }
#pragma unroll
    for (int o = 0; o < OUT; o++) {
        if (first + o >= nodes) break;
        float *row = z + (t * nodes + first + o) * n.size;
        gm_load_some(v, row, column, n.size, n.aligned);
#pragma unroll
        for (int c = 0; c < VECTOR; c++) v[c] = sum[o][c] * silu_slope(v[c]);
        gm_store_some(row, v, column, n.size, n.aligned);
    }
}

/* A warp has a row: one expert of a token. */
template <bool FIRST>
__global__ void __launch_bounds__(THREADS) read_out(float *score, const float *z, const float *readout, graph n, int64_t rows) {
    const int64_t row = (int64_t)blockIdx.x * (THREADS / GM_WARP) + threadIdx.x / GM_WARP;
    if (row >= rows) return; /* a whole warp, or nobody */
    float sum = 0, v[VECTOR], p[VECTOR], mixed[VECTOR];
    for (int c = (int)(threadIdx.x % GM_WARP) * VECTOR; c < n.size; c += GM_WARP * VECTOR) {
        gm_load_some(p, readout, c, n.size, n.aligned);
        if (FIRST) {
            gm_load_some(mixed, z + row / n.experts * n.size, c, n.size, n.aligned);
            first_layer(v, n, mixed, row % n.experts, c);
        } else {
            gm_load_some(v, z + row * n.size, c, n.size, n.aligned);
        }
#pragma unroll
        for (int k = 0; k < VECTOR; k++) sum += p[k] * silu(v[k]);
    }
    sum = gm_warp_sum(sum);
    if (threadIdx.x % GM_WARP == 0) score[row] = sum;
}

struct share { /* of a thread in a sum over rows of G */
    int64_t part, begin, end;
    int column; /* 32 bits: behind a 64-bit multiple of VECTOR, nvcc 13 takes a vector's store apart */
};

__device__ static share my_share(const graph &n, int64_t parts, int64_t rows) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, part = at / n.vectors, each = (rows + parts - 1) / parts;
    if (part >= parts) return {part, 0, 0, 0};
    return {part, gm_least(part * each, rows), gm_least((part + 1) * each, rows), (int)(at % n.vectors) * VECTOR};
}

/* dZ^L in Z^L's place; p's gradient by parts: parts×G. */
__global__ void __launch_bounds__(THREADS)
    read_out_backward(float *z, float *partial, const float *dscore, const float *readout, graph n, int64_t rows, int64_t parts) {
    const share mine = my_share(n, parts, rows);
    if (mine.part >= parts) return;
    float dp[VECTOR] = {0}, p[VECTOR], v[VECTOR];
    gm_load_some(p, readout, mine.column, n.size, n.aligned);
    for (int64_t row = mine.begin; row < mine.end; row++) {
        const float d = dscore[row];
        gm_load_some(v, z + row * n.size, mine.column, n.size, n.aligned);
#pragma unroll
        for (int c = 0; c < VECTOR; c++) {
            dp[c] += d * silu(v[c]);
            v[c] = d * p[c] * silu_slope(v[c]);
        }
        gm_store_some(z + row * n.size, v, mine.column, n.size, n.aligned);
    }
    gm_store_some(partial + mine.part * n.size, dp, mine.column, n.size, n.aligned);
}

struct first_gradients {
    float *partial;                /* parts×(nodes+1)×G: dR, then dp (LAST) */
    float *dmixed;                 /* tokens×G: d(C_1 t)                    */
    const float *mixed, *dm;       /* tokens×G: C_1 t; tokens×dm_nodes×G    */
    const float *dscore, *readout; /* LAST                                 */
    int64_t tokens, nodes, dm_nodes, parts;
};

/* Sums OUT nodes' dZ¹ of token t: their share of d(C_1 t) is returned in `token`, that of dR added. */
template <bool LAST, bool WHOLE>
__device__ static void first_token(float (&dtable)[OUT][VECTOR], float (&dp)[VECTOR], float (&token)[VECTOR], const first_gradients &a,
                                   const graph &n, const float *weights, int64_t t, int64_t first, int column) {
    float sum[OUT][VECTOR] = {{0}}, mixed[VECTOR], v[VECTOR], p[VECTOR];
    gm_load_some(mixed, a.mixed + t * n.size, column, n.size, n.aligned);
    if (LAST) gm_load_some(p, a.readout, column, n.size, n.aligned);
    for (int64_t j = 0; !LAST && j < a.dm_nodes; j += AHEAD) {
        float dm[AHEAD][VECTOR];
        load_nodes<WHOLE>(dm, a.dm + t * a.dm_nodes * n.size, n, j, a.dm_nodes, column);
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
            if (j + k < a.dm_nodes) add_weighted(sum, weights + (j + k) * OUT, dm[k]);
    }
#pragma unroll
    for (int o = 0; o < OUT; o++) {
        if (first + o >= a.nodes) break;
        const float weight = edge(n, first + o, n.experts), d = LAST ? a.dscore[t * n.experts + first + o] : 0.0f;
        first_layer(v, n, mixed, first + o, column);
#pragma unroll
        for (int c = 0; c < VECTOR; c++) {
            float dz = (LAST ? d * p[c] : sum[o][c]) * silu_slope(v[c]);
            if (LAST) dp[c] += d * silu(v[c]);
            dtable[o][c] += dz;
            token[c] += weight * dz;
        }
    }
}

/* From dM² (or, LAST, the scores' gradients) to the table's and the tokens'. */
template <bool LAST, bool WHOLE> __global__ void __launch_bounds__(THREADS) first_layer_backward(first_gradients a, graph n) {
    GM_DYNAMIC_SHARED(float, weights);
    const share mine = my_share(n, a.parts, a.tokens);
    float *partial = a.partial + mine.part * (a.nodes + 1) * n.size, dp[VECTOR] = {0};
    for (int64_t first = 0; first < a.nodes; first += OUT) {
        if (!LAST) load_weights(weights, n, first, a.nodes, a.dm_nodes, true);
        float dtable[OUT][VECTOR] = {{0}};
        for (int64_t t = mine.begin; t < mine.end; t++) {
            float token[VECTOR] = {0};
            if (first > 0) gm_load_some(token, a.dmixed + t * n.size, mine.column, n.size, n.aligned);
            first_token<LAST, WHOLE>(dtable, dp, token, a, n, weights, t, first, mine.column);
            gm_store_some(a.dmixed + t * n.size, token, mine.column, n.size, n.aligned);
        }
#pragma unroll
        for (int o = 0; o < OUT; o++)
            if (mine.part < a.parts && first + o < a.nodes)
                gm_store_some(partial + (first + o) * n.size, dtable[o], mine.column, n.size, n.aligned);
    }
    if (LAST && mine.part < a.parts) gm_store_some(partial + a.nodes * n.size, dp, mine.column, n.size, n.aligned);
}

/* ---- host */

struct router {
    gm_backend *backend;
    const gm_router_graph_args *args;
    graph n;
    float *activated, *mixed; /* T×G: t, C_1 t */
    int64_t chunk, most;      /* tokens; most: of the chunk with fewer tokens in all too (sums.cuh) */
};

static float *take(gm_backend *backend, int64_t count) { return (float *)gm_cuda_scratch(backend, (size_t)count * sizeof(float)); }
static int64_t nodes_of(const gm_router_graph_args *args, int64_t layer) {
    return layer == args->layers - 1 ? args->experts : args->experts + 1;
}
static int64_t blocks_for(int64_t threads) { return gm_parts(threads, THREADS); }
static size_t weight_bytes(int64_t nodes) { return (size_t)(nodes * OUT) * sizeof(float); }

/* rows×G through a G×G matrix (transposed: its transpose), and the gradient of that matrix, added. */
static void through(gm_backend *backend, const gm_router_graph_args *args, float *out, const float *in, const float *conv, int64_t rows,
                    bool transposed, bool tf32) {
    const int64_t g = args->size;
    gm_gemm product = {};
    product.out = out, product.a = in, product.b = conv, product.m = rows, product.n = g, product.k = g, product.transpose_b = transposed;
    product.type = product.out_type = GM_F32, product.tf32 = tf32;
    backend->kernels->gemm(backend, &product);
}

static void outer(gm_backend *backend, const gm_router_graph_args *args, float *out, const float *dz, const float *in, int64_t rows,
                  bool tf32) {
    const int64_t g = args->size;
    gm_gemm product = {};
    product.out = out, product.a = dz, product.b = in, product.m = g, product.n = g, product.k = rows;
    product.type = product.out_type = GM_F32, product.tf32 = tf32;
    product.transpose_a = product.accumulate = true;
    backend->kernels->gemm(backend, &product);
}

/* The table, and C_1 t of all tokens. `buffers`: tokens×(N+1)×G that a chunk needs. */
static router begin(gm_backend *backend, const gm_router_graph_args *args, int64_t buffers) {
    GM_CHECK(args->tokens > 0 && (args->layers > 1 || !args->last), "router: no tokens, or one layer that is kept");
    const int64_t all = args->experts + 1, g = args->size, nodes = nodes_of(args, 0);
    const int64_t most = gm_most(GM_SCRATCH_MOST / (gm_most(buffers, (int64_t)1) * all * g * (int64_t)sizeof(float)), (int64_t)1);
    const int64_t chunk = gm_parts(args->tokens, gm_parts(args->tokens, most));
    float *table = take(backend, nodes * g), *experts = take(backend, args->experts * g);
    router r = {backend, args, {}, take(backend, args->tokens * g), take(backend, args->tokens * g), chunk, gm_least(args->tokens, most)};
    r.n.experts = args->experts, r.n.size = g, r.n.vectors = gm_parts(g, VECTOR), r.n.table = table;
    r.n.edges = (const float *)gm_cuda_upload(backend, args->adjacency, (size_t)(all * all) * sizeof(float));
    r.n.aligned = gm_aligned(args->readout, GM_F32, g, VECTOR) && gm_aligned(args->last, GM_F32, g, VECTOR);
    through(backend, args, experts, args->features, args->conv[0], args->experts, true, false);
    GM_LAUNCH(backend, mix, blocks_for(nodes * g), THREADS, 0, table, experts, r.n, nodes, args->experts, false);
    gm_cuda_silu_forward(backend, r.activated, args->token, args->tokens * g);
    through(backend, args, r.mixed, r.activated, args->conv[0], args->tokens, true, args->tf32);
    return r;
}

/* M^{layer+1}, from Z^layer (layers count from 0 here). */
static void aggregate_layer(const router *r, float *m, const float *z, int64_t layer, int64_t first, int64_t tokens) {
    const int64_t in = r->args->experts + 1, out = nodes_of(r->args, layer + 1);
    dim3 grid((unsigned)blocks_for(tokens * r->n.vectors), (unsigned)gm_parts(out, OUT));
    if (layer == 0)
        GM_LAUNCH(r->backend, aggregate<true>, grid, THREADS, weight_bytes(in), m, r->mixed + first * r->n.size, r->n, tokens, out);
    else
        GM_LAUNCH(r->backend, aggregate<false>, grid, THREADS, weight_bytes(in), m, z, r->n, tokens, out);
}

static void scores(const router *r, const float *z, int64_t first, int64_t tokens) {
    const int64_t rows = tokens * r->args->experts;
    float *score = r->args->score + first * r->args->experts;
    if (r->args->layers == 1)
        GM_LAUNCH(r->backend, read_out<true>, gm_parts(rows, THREADS / GM_WARP), THREADS, 0, score, r->mixed + first * r->n.size,
                  r->args->readout, r->n, rows);
    else
        GM_LAUNCH(r->backend, read_out<false>, gm_parts(rows, THREADS / GM_WARP), THREADS, 0, score, z, r->args->readout, r->n, rows);
}

extern "C" void gm_cuda_router_graph_forward(gm_backend *backend, const gm_router_graph_args *args) {
    const size_t mark = gm_arena_mark(&backend->scratch);
    const bool keeps_z = args->layers > 2 || !args->last;
    const router r = begin(backend, args, 1 + keeps_z);
    const int64_t g = args->size, row = args->experts * g;
    float *m = NULL, *z = NULL;
    if (args->layers > 1) m = take(backend, r.most * (args->experts + 1) * g);
    if (keeps_z) z = take(backend, r.most * (args->experts + 1) * g);
    for (int64_t first = 0; first < args->tokens; first += r.chunk) {
        const int64_t tokens = gm_least(r.chunk, args->tokens - first);
        float *out = z;
        for (int64_t l = 1; l < args->layers; l++) {
            aggregate_layer(&r, m, z, l - 1, first, tokens);
            if (l == args->layers - 1 && args->last) out = args->last + first * row;
            through(backend, args, out, m, args->conv[l], tokens * nodes_of(args, l), true, args->tf32);
        }
        scores(&r, out, first, tokens);
    }
    gm_arena_release(&backend->scratch, mark);
}

struct backward {
    float *z[GM_ROUTER_LAYERS], *m[GM_ROUTER_LAYERS]; /* of a chunk: Z and dZ, M and dM */
    float *dmixed;                                    /* T×G: d(C_1 t)                  */
    float *partial, *total;                           /* parts×(nodes+1)×G; (nodes+1)×G: dR, then dp */
    int64_t parts, read_out_parts, nodes;
};

static backward take_backward(const router *r) {
    const gm_router_graph_args *args = r->args;
    const int64_t full = r->most * (args->experts + 1) * args->size, nodes = nodes_of(args, 0);
    const int64_t parts = gm_least(gm_most(PART_THREADS / r->n.vectors, (int64_t)1), r->most);
    backward b = {};
    for (int64_t l = 1; l < args->layers; l++) {
        b.m[l] = take(r->backend, full);
        if (l < args->layers - 1 || !args->last) b.z[l] = take(r->backend, full);
    }
    b.dmixed = take(r->backend, args->tokens * args->size);
    b.read_out_parts = gm_least(gm_most(READ_OUT_THREADS / r->n.vectors, (int64_t)1), r->most * args->experts);
    b.partial = take(r->backend, gm_most(parts * (nodes + 1), b.read_out_parts) * args->size);
    b.total = take(r->backend, (nodes + 1) * args->size);
    b.parts = parts, b.nodes = nodes;
    return b;
}

static void chunk_forward(const router *r, const backward *b, int64_t first, int64_t tokens) {
    const gm_router_graph_args *args = r->args;
    for (int64_t l = 1; l < args->layers; l++) {
        aggregate_layer(r, b->m[l], b->z[l - 1], l - 1, first, tokens);
        if (l == args->layers - 1 && args->last) continue;
        through(r->backend, args, b->z[l], b->m[l], args->conv[l], tokens * nodes_of(args, l), true, args->tf32);
    }
}

/* Down to dM² in m[1]; dp into the last row of `total`. */
static void chunk_backward(const router *r, const backward *b, int64_t first, int64_t tokens) {
    const gm_router_graph_args *args = r->args;
    const int64_t g = args->size, last = args->layers - 1, rows = tokens * args->experts, parts = gm_least(b->read_out_parts, rows);
    float *dz = args->last ? args->last + first * args->experts * g : b->z[last];
    GM_LAUNCH(r->backend, read_out_backward, blocks_for(parts * r->n.vectors), THREADS, 0, dz, b->partial,
              args->dscore + first * args->experts, args->readout, r->n, rows, parts);
    gm_sum_all_parts(r->backend, b->total + b->nodes * g, b->partial, parts, g, g, first > 0);
    for (int64_t l = last; l > 0; l--) {
        const int64_t nodes = nodes_of(args, l);
        outer(r->backend, args, args->dconv[l], dz, b->m[l], tokens * nodes, args->tf32);
        through(r->backend, args, b->m[l], dz, args->conv[l], tokens * nodes, false, args->tf32);
        if (l == 1) break;
        dim3 grid((unsigned)blocks_for(tokens * r->n.vectors), (unsigned)gm_parts(args->experts + 1, OUT));
        GM_LAUNCH(r->backend, aggregate_backward, grid, THREADS, weight_bytes(nodes), b->z[l - 1], b->m[l], r->n, tokens, nodes);
        dz = b->z[l - 1];
    }
}

static void chunk_first_layer(const router *r, const backward *b, int64_t first, int64_t tokens) {
    const gm_router_graph_args *args = r->args;
    const int64_t g = args->size, last = args->layers - 1, parts = gm_least(b->parts, tokens), row = (b->nodes + 1) * g;
    const first_gradients a = {b->partial,
                               b->dmixed + first * g,
                               r->mixed + first * g,
                               b->m[1],
                               args->dscore + first * args->experts,
                               args->readout,
                               tokens,
                               b->nodes,
                               last > 0 ? nodes_of(args, 1) : 0,
                               parts};
    if (last > 0 && r->n.aligned)
        GM_LAUNCH(r->backend, (first_layer_backward<false, true>), blocks_for(parts * r->n.vectors), THREADS, weight_bytes(a.dm_nodes), a,
                  r->n);
    else if (last > 0)
        GM_LAUNCH(r->backend, (first_layer_backward<false, false>), blocks_for(parts * r->n.vectors), THREADS, weight_bytes(a.dm_nodes), a,
                  r->n);
    else
        GM_LAUNCH(r->backend, (first_layer_backward<true, false>), blocks_for(parts * r->n.vectors), THREADS, sizeof(float), a, r->n);
    gm_sum_all_parts(r->backend, b->total, b->partial, parts, row, last > 0 ? row - g : row, first > 0);
}

/* Through C_1 t and R = Â_{·,experts} (E C_1ᵀ): dC_1 += d(E C_1ᵀ)ᵀ E, dE = d(E C_1ᵀ) C_1. */
static void finish(const router *r, const backward *b) {
    const gm_router_graph_args *args = r->args;
    const int64_t g = args->size;
    float *dexperts = take(r->backend, args->experts * g);
    gm_cuda_add(r->backend, args->dreadout, b->total + b->nodes * g, GM_F32, g);
    outer(r->backend, args, args->dconv[0], b->dmixed, r->activated, args->tokens, args->tf32);
    through(r->backend, args, args->dtoken, b->dmixed, args->conv[0], args->tokens, false, args->tf32);
    gm_cuda_silu_backward(r->backend, args->dtoken, args->dtoken, args->token, args->tokens * g);
    GM_LAUNCH(r->backend, mix, blocks_for(args->experts * g), THREADS, 0, dexperts, b->total, r->n, args->experts, b->nodes, true);
    outer(r->backend, args, args->dconv[0], dexperts, args->features, args->experts, false);
    through(r->backend, args, args->dfeatures, dexperts, args->conv[0], args->experts, false, false);
}

extern "C" void gm_cuda_router_graph_backward(gm_backend *backend, const gm_router_graph_args *args) {
    const size_t mark = gm_arena_mark(&backend->scratch);
    const int64_t buffers = 2 * args->layers - 3 + !args->last; /* M of layers 2 … L, Z of 2 … L − 1, and L's if it is not kept */
    const router r = begin(backend, args, buffers);
    const backward b = take_backward(&r);
    for (int64_t first = 0; first < args->tokens; first += r.chunk) {
        const int64_t tokens = gm_least(r.chunk, args->tokens - first);
        chunk_forward(&r, &b, first, tokens);
        if (args->layers > 1) chunk_backward(&r, &b, first, tokens);
        chunk_first_layer(&r, &b, first, tokens);
    }
    finish(&r, &b);
    gm_arena_release(&backend->scratch, mark);
}
