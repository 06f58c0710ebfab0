/* The backend: where tensors live and arithmetic happens. A backend is one table of functions over raw pointers; the
 * operations (src/ops) give them meaning, check shapes and own the gradients' flow.
 *
 * Letters: T tokens of the micro-batch, D hidden size, F FFN size, V vocabulary, H heads, Hkv key/value heads, C head
 * size, N experts, K active experts a token, R LoRA rank, G router size, L graph layers, S sequences.
 * All matrices are row-major and contiguous unless a stride is given. "act" is the activation type (f32 or bf16).
 * Gradients of parameters are always f32 and always added to; a parameter pointer that may be NULL says so. */
#ifndef GM_BACKEND_BACKEND_H
#define GM_BACKEND_BACKEND_H

#include "backend/arena.h"
#include "backend/dropout.h"
#include "backend/type.h"
#include "base/status.h"
#include <stdbool.h>

typedef struct gm_backend gm_backend;

/* out (M×N, out_type) = op(a) op(b), or out += with `accumulate`, or addend + op(a) op(b) with `addend`; products are summed in f32.
 * a: M×K (K×M when transpose_a), b: K×N (N×K when transpose_b), both of `type`. Strides are elements between rows
 * as stored; 0 means contiguous. `tf32`: f32 factors may lose all but 11 bits, where a device multiplies those faster.
 * `narrow_b`: b is bf16 although `type` is f32 (gm_backend.narrow_least); a is not transposed, out is f32. */
typedef struct gm_gemm {
    void *out;
    const void *a, *b;
    const void *addend; /* M×N of out_type, contiguous like out; NULL: none */
    int64_t m, n, k;
    gm_type type, out_type;
    bool transpose_a, transpose_b, accumulate, tf32, narrow_b;
    int64_t out_stride, a_stride, b_stride;
} gm_gemm;

typedef struct gm_dropout_args { /* out = mask ∘ in, or out += with `accumulate`; element i has the mask's index i */
    void *out;
    const void *in;
    gm_type out_type, in_type;
    int64_t count;
    bool accumulate;
    gm_dropout dropout;
} gm_dropout_args;

typedef struct gm_rmsnorm_args { /* y = x · inv_rms ∘ w; rows of `columns` */
    void *y;                     /* rows×columns, y_type                                    */
    float *inv_rms;              /* rows                                                    */
    const void *x;               /* rows×columns, x_type                                    */
    const void *w;               /* columns, w_type                                         */
    gm_type x_type, y_type, w_type;
    int64_t rows, columns;
    float eps;
    /* backward */
    void *dx;       /* x_type; written, or added to with `accumulate` */
    const void *dy; /* dy_type */
    gm_type dy_type;
    bool accumulate;
} gm_rmsnorm_args;

typedef struct gm_rope_args { /* rotates pairs (i, i + C/2) of every head in place by position · frequency[i] */
    void *x;                  /* T×heads×C, act */
    const int32_t *positions; /* T */
    const float *frequencies; /* C/2, radians a position */
    float amplitude;          /* factor on cos and sin (1 but for some scalings) */
    gm_type type;
    int64_t tokens, heads, head_size;
    bool inverse; /* rotate back: the backward pass */
} gm_rope_args;

/* Causal attention within each packed sequence; query t sees keys max(start, t − window + 1) … t (window 0: all). A sequence
 * with a prefix comes after the tokens of another one, which its queries see as if they stood before its own: forward only. */
typedef struct gm_attention_args {
    void *out;             /* T×H×C, act                           */
    float *log_sum;        /* T×H: log Σ exp of the scaled scores  */
    const void *q, *k, *v; /* T×H×C, T×Hkv×C, T×Hkv×C, act         */
    const int32_t *starts; /* S+1, first token of each sequence, on the host */
    const int32_t *prefix; /* S, on the host: the sequence before it, one without a prefix; −1: none. NULL: no sequence has one */
    gm_type type;
    int64_t tokens, sequences, heads, kv_heads, head_size, window;
    float scale;
    /* backward */
    const void *dout;   /* T×H×C, act */
    void *dq, *dk, *dv; /* act, written */
} gm_attention_args;

enum { GM_LORA_RANK = 8 }; /* the largest rank of lora_forward and lora_backward */

typedef struct gm_lora_args { /* the branch of a linear layer: y += B u, u = s A x */
    int64_t tokens, inputs, outputs, rank;
    float scale;
    gm_type type, y_type;
    const void *x;      /* T×I, type                        */
    const float *a, *b; /* R×I, and B transposed: R×O       */
    float *u;           /* T×R: s A x, written in forward   */
    void *y;            /* T×O, y_type, added to            */
    /* backward */
    const void *dy; /* T×O, type                        */
    void *dx;       /* T×I, dx_type, added to; or NULL  */
    gm_type dx_type;
    float *da, *db; /* added to                         */
} gm_lora_args;

/* One of the three LoRA sites of the expert FFN; a and b are NULL where the site carries no LoRA. */
typedef struct gm_expert_lora {
    const float *a, *b; /* N×R×I, N×R×O: A, and B transposed  (I, O: the site's input and output size) */
    float *da, *db;     /* gradients */
} gm_expert_lora;

/* The part of the expert FFN between the frozen products (src/ops/expert_ffn.c has the formulas). Slot k of token t
 * is expert[t·K+k] with weight gate[t·K+k]; both NULL: one expert with weight 1 (plain LoRA, or no adapter). */
typedef struct gm_expert_ffn_args {
    int64_t tokens, hidden, ffn, experts, slots, rank;
    float scale;
    gm_type type;
    const int32_t *expert; /* T×K */
    const float *gate;     /* T×K */
    void *h1, *h3;         /* T×F act: W1 x and W3 x; backward leaves Σ_k dh1_k and Σ_k dh3_k in their place */
    const float *u;        /* T×2×N×R: A1 x of all experts, then A3 x */
    float *u2;             /* T×K×R: A2_k a_k */
    gm_expert_lora w1, w3, w2;
    gm_dropout dropout; /* of a_k on its way into A2: element (slot, f) has the index slot·F + f */
    /* forward */
    void *z;  /* T×F act: Σ_k g_k a_k                                    */
    float *y; /* T×D f32: Σ_k g_k s B2_k u2_k is added (after W2 z)      */
    /* backward */
    const void *dz;  /* T×F act: dyᵀ W2                                  */
    const float *dy; /* T×D f32                                          */
    float *dgate;    /* T×K, written (NULL without a router)             */
    float *du;       /* T×2×N×R, written: gradient of u (zero for experts that are not active) */
} gm_expert_ffn_args;

/* Softmax, top-K and renormalisation of router scores (method.md §2). Ties: as torch.topk on a CPU (backend/top_k.h). */
typedef struct gm_route_args {
    int64_t tokens, experts, slots;
    const float *score; /* T×N */
    float *weight;      /* T×N: π = softmax(score)              */
    int32_t *expert;    /* T×K, by descending weight            */
    float *gate;        /* T×K: π over its top-K sum            */
    float *count;       /* N: K · Σ_t π masked to the top-K, written  */
    float *share;       /* N: number of tokens that have e in their top-K, written */
    /* backward; a NULL gradient is zero */
    const float *dgate, *dweight, *dcount; /* T×K, T×N, N */
    float *dscore;                         /* T×N, written */
} gm_route_args;

enum { GM_ROUTER_LAYERS = 8 };

/* Graph router between the token projection and the scores (src/ops/router_graph.c). N expert nodes, node N is the
 * token. `adjacency` is Â, (N+1)×(N+1), on the host. */
typedef struct gm_router_graph_args {
    int64_t tokens, experts, size, layers;
    bool tf32;                           /* of the products over tokens (gm_gemm)                */
    const float *adjacency;              /* (N+1)×(N+1), host */
    const float *features;               /* N×G: E, expert features                              */
    const float *token;                  /* T×G: t0 = W_t x, before the activation               */
    const float *conv[GM_ROUTER_LAYERS]; /* G×G each                                             */
    const float *readout;                /* G                                                    */
    float *score;                        /* T×N                                                  */
    float *last;                         /* T×N×G: Z^L, kept for backward, which overwrites it; NULL: not kept, computed again */
    /* backward */
    const float *dscore;                       /* T×N                                                  */
    float *dtoken;                             /* T×G, written                                         */
    float *dfeatures;                          /* N×G, written                                         */
    float *dconv[GM_ROUTER_LAYERS], *dreadout; /* added                                            */
} gm_router_graph_args;

typedef enum gm_divergence { GM_DIVERGENCE_KL, GM_DIVERGENCE_ABS } gm_divergence;

typedef struct gm_poisson_args { /* one layer: Σ_t Σ_i q_i f(log(q_i / (sorted π_ti + 1e-16))), method.md §3 */
    int64_t tokens, experts;
    const float *weight; /* T×N: π */
    const float *rate;   /* λ, one element */
    gm_divergence divergence;
    double *loss; /* one element, added: coefficient-free sum over tokens times loss_scale */
    double loss_scale;
    float gradient_scale; /* the coefficient and the means' denominators */
    float *dweight;       /* T×N, written, or added to with `accumulate` (NULL: no gradients) */
    float *drate;         /* one element, added */
    bool accumulate;
} gm_poisson_args;

typedef struct gm_normal_args { /* all layers at once, method.md §4 */
    int64_t layers, experts;
    const float *count;        /* layers×N: the counts with the past (objective.c) */
    const float *const *width; /* layers pointers (host array): σ of each layer */
    gm_divergence divergence;
    bool joint;   /* target normalised over all layers together */
    double *loss; /* one element, added: mean over layers times loss_scale */
    double loss_scale;
    float gradient_scale; /* of dcount: the coefficient and this micro-batch's weight */
    float width_scale;    /* of dwidth: the same, where they are not one (objective.c) */
    float *dcount;        /* layers×N, written (NULL: no gradients) */
    float *const *dwidth; /* layers pointers, added */
} gm_normal_args;

typedef struct gm_balance_args { /* Mixtral's: N · Σ_e f_e P_e of one layer */
    int64_t tokens, experts;
    const float *share; /* N: f_e of the step */
    const float *mean;  /* N: P_e of the step */
    double *loss;       /* added times loss_scale */
    double loss_scale;
    float gradient_scale; /* coefficient · N / (step's tokens · layers) */
    float *dweight;       /* T×N, written, or added to with `accumulate`: gradient_scale · f_e */
    bool accumulate;
} gm_balance_args;

typedef struct gm_cross_entropy_args {
    void *logits;          /* rows×V f32; destroyed where there are dlogits */
    const int32_t *target; /* rows */
    int64_t rows, vocabulary;
    double *loss; /* added: Σ −log p(target) · loss_scale */
    double loss_scale;
    float gradient_scale;
    void *dlogits; /* rows×V gradient_type, packed; may be `logits` itself in f32; NULL: none */
    gm_type gradient_type;
} gm_cross_entropy_args;

typedef struct gm_score_args { /* evaluation: single logits and the rows' normalisers */
    const float *logits;       /* rows×V */
    int64_t rows, vocabulary, count;
    const int32_t *row, *token; /* count; rows count from first_row  */
    int32_t first_row;
    float *logit;   /* count: logits[row, token]              */
    float *log_sum; /* rows: log Σ exp of the row             */
} gm_score_args;

typedef struct gm_adamw_args { /* PyTorch's AdamW over n elements of the flat buffers */
    float *parameter, *moment1, *moment2;
    const float *gradient;
    int64_t count;
    double learning_rate, beta1, beta2, eps, weight_decay;
    float gradient_scale; /* multiplies the gradient first: clipping */
    int64_t step;         /* from 1 */
} gm_adamw_args;

/* Rows moved between a T×D matrix and a compact one. */
typedef struct gm_rows_args {
    void *out;
    const void *in;
    const int32_t *row; /* count */
    int64_t count, columns, out_rows;
    gm_type type;
} gm_rows_args;

/* Every kernel, once: X(name, (parameters)). Tables, declarations and checks are made of it. */
/* clang-format off */ /* it takes the parameters' stars for products */
#define GM_KERNEL_LIST(X)                                                                                                                  \
    X(gemm, (gm_backend *backend, const gm_gemm *args))                                                                                    \
    X(convert, (gm_backend *backend, void *out, gm_type out_type, const void *in, gm_type in_type, int64_t count)) /* not in place */      \
    X(zero, (gm_backend *backend, void *out, size_t bytes))                                                                                \
    X(copy, (gm_backend *backend, void *out, const void *in, size_t bytes))                                                                \
    X(add, (gm_backend *backend, float *out, const void *in, gm_type in_type, int64_t count)) /* out += in */                              \
    X(scale, (gm_backend *backend, float *out, float factor, int64_t count))                                                               \
    X(add_rows, (gm_backend *backend, void *out, gm_type type, const void *row, gm_type row_type, int64_t rows, int64_t columns))          \
    X(column_sums, (gm_backend *backend, float *out, const float *in, int64_t rows, int64_t columns)) /* Σ over rows, in a fixed order */  \
    X(silu_forward, (gm_backend *backend, float *out, const float *in, int64_t count))                                                     \
    X(silu_backward, (gm_backend *backend, float *din, const float *dout, const float *in, int64_t count)) /* may be in place */           \
    X(embedding, (gm_backend *backend, const gm_rows_args *args, gm_type table_type)) /* out f32 = table rows */                           \
    X(gather_rows, (gm_backend *backend, const gm_rows_args *args))                                                                        \
    X(scatter_rows, (gm_backend *backend, const gm_rows_args *args)) /* out (out_rows) = 0 but for the given rows */                       \
    X(dropout, (gm_backend *backend, const gm_dropout_args *args))                                                                         \
    X(rmsnorm_forward, (gm_backend *backend, const gm_rmsnorm_args *args))                                                                 \
    X(rmsnorm_backward, (gm_backend *backend, const gm_rmsnorm_args *args))                                                                \
    X(rope, (gm_backend *backend, const gm_rope_args *args))                                                                               \
    X(attention_forward, (gm_backend *backend, const gm_attention_args *args))                                                             \
    X(attention_backward, (gm_backend *backend, const gm_attention_args *args))                                                            \
    X(lora_forward, (gm_backend *backend, const gm_lora_args *args))                                                                       \
    X(lora_backward, (gm_backend *backend, const gm_lora_args *args))                                                                      \
    X(expert_ffn_forward, (gm_backend *backend, const gm_expert_ffn_args *args)) /* h1, h3, u → u2, z */                                   \
    X(expert_ffn_output, (gm_backend *backend, const gm_expert_ffn_args *args)) /* u2 → y */                                               \
    X(expert_ffn_backward, (gm_backend *backend, const gm_expert_ffn_args *args))                                                          \
    X(route_forward, (gm_backend *backend, const gm_route_args *args))                                                                     \
    X(route_backward, (gm_backend *backend, const gm_route_args *args))                                                                    \
    X(router_graph_forward, (gm_backend *backend, const gm_router_graph_args *args))                                                       \
    X(router_graph_backward, (gm_backend *backend, const gm_router_graph_args *args))                                                      \
    X(poisson, (gm_backend *backend, const gm_poisson_args *args))                                                                         \
    X(normal, (gm_backend *backend, const gm_normal_args *args))                                                                           \
    X(balance, (gm_backend *backend, const gm_balance_args *args))                                                                         \
    X(cross_entropy, (gm_backend *backend, const gm_cross_entropy_args *args))                                                             \
    X(score, (gm_backend *backend, const gm_score_args *args))                                                                             \
    X(adamw, (gm_backend *backend, const gm_adamw_args *args))                                                                             \
    X(sum_squares, (gm_backend *backend, double *out, const float *in, int64_t count)) /* out (host) = Σ in², in a fixed order; waits */
/* clang-format on */

typedef struct gm_kernels {
#define GM_KERNEL_ENTRY(name, parameters) void(*name) parameters;
    GM_KERNEL_LIST(GM_KERNEL_ENTRY)
#undef GM_KERNEL_ENTRY
} gm_kernels;

/* The first entry that a table lacks; NULL: none. */
const char *gm_kernels_missing(const gm_kernels *kernels);

struct gm_backend {
    const char *name;          /* "cpu"                                                    */
    bool host_memory;          /* its memory is the host's: mapped weights are used in place */
    const gm_kernels *kernels; /* the real ones, or those that only measure                */
    const gm_kernels *real, *measuring;
    gm_arena scratch;                     /* lent to kernels and operations: mark, use, release       */
    double (*gemm_seconds)(gm_backend *); /* spent in matrix products since the last call: wall time, shared evenly by the threads */
    int64_t narrow_least;                 /* products of f32 are faster with a b of bf16 as it is (gm_gemm.narrow_b) where both its sides
                                             are at least this; 0: there are none */
    bool rows_apart;                      /* products of f32 give a row the same bits whatever rows are beside it (CPU); slower */
    bool synchronous;                     /* a device is waited for after products and parts, so that their times can be told */
    size_t allocated, allocated_peak;     /* bytes given by `allocate` now, and at most                */
    const char *level;                    /* instruction set of a CPU's kernels, "v4"; NULL: a device  */
    char device_name[64];                 /* its maker's; "": a CPU                                    */
    int64_t largest_head;                 /* size that attention takes; 0: any                         */
    void *context;
    gm_status (*allocate)(gm_backend *, void **memory, size_t bytes, const char *what); /* GM_NO_MEMORY names `what`; contents: any */
    void (*release)(gm_backend *, void *memory, size_t bytes);
    void (*write)(gm_backend *, void *out, const void *host, size_t bytes); /* host → backend */
    void (*read)(gm_backend *, void *host, const void *in, size_t bytes);   /* backend → host, waits */
    gm_status (*check)(gm_backend *); /* waits, and tells what went wrong since the start; NULL: nothing can */
    void (*close)(gm_backend *);
};

/* Opens "cpu" (threads 0: all that OpenMP gives). */
gm_status gm_backend_open_cpu(gm_backend **backend, int threads);
static inline double gm_backend_gemm_seconds(gm_backend *backend) { return backend->gemm_seconds(backend); }
/* Loads the CUDA module and opens device number `device`. GM_FAIL says what is missing: the module, its libraries, a driver, the
 * device, a kernel. */
gm_status gm_backend_open_cuda(gm_backend **backend, int device);
/* Whether the program has a CUDA module beside it. */
bool gm_backend_has_cuda(void);
/* Whether NVIDIA's driver library is here: without it, opening is not worth the time that loading takes. */
bool gm_backend_has_driver(void);
/* Results since the last check are good; a kernel returns no status, so whoever acts on results asks here. */
static inline gm_status gm_backend_check(gm_backend *backend) { return backend->check ? backend->check(backend) : GM_OK; }
void gm_backend_close(gm_backend *backend);
/* For `allocate` and `release`: so much more, or less, is given. */
void gm_backend_count(gm_backend *backend, size_t given, size_t taken_back);
/* Bytes of a device's own memory, at most; 0 on a CPU. */
static inline size_t gm_backend_device_peak(const gm_backend *backend) { return backend->host_memory ? 0 : backend->allocated_peak; }
/* A measuring backend runs no arithmetic; its arenas only count. */
void gm_backend_measure(gm_backend *backend, bool on);
static inline bool gm_backend_measures(const gm_backend *backend) { return backend->kernels == backend->measuring; }

#endif
