/* The operations: what each computes is at the top of its file, next to its backward function. Every operation runs at
 * once on the step's backend and records itself while training. Outputs live until the step's reset. Letters as in
 * backend.h; "act" is the step's activation type; the residual stream is f32. */
#ifndef GM_OPS_OPS_H
#define GM_OPS_OPS_H

#include "tensor/step.h"

/* The micro-batch's layout, on the host: T tokens in S packed sequences. */
typedef struct gm_layout {
    int64_t tokens, sequences;
    const int32_t *positions; /* T, from 0 in each sequence, or from its prefix's end (backend memory) */
    const int32_t *starts;    /* S+1 (host memory)                           */
    const int32_t *prefix;    /* S (host memory), or NULL: gm_attention_args; without gradients alone */
} gm_layout;

/* x: T×D f32 = rows `ids` of table V×D. Frozen: no gradient. */
gm_tensor *gm_embedding(gm_step *step, const gm_tensor *table, const int32_t *ids, int64_t tokens);

/* A frozen matrix may be bf16 in a step of f32, where products take it so (gm_backend.narrow_least). */
static inline bool gm_is_narrow(const gm_step *step, const gm_tensor *weight) {
    bool narrow = weight->type != step->type;
    GM_CHECK(!narrow || (step->type == GM_F32 && weight->type == GM_BF16 && step->backend->narrow_least > 0),
             "a weight of %s in a step of %s", gm_type_name(weight->type), gm_type_name(step->type));
    return narrow;
}

/* y = x / sqrt(mean x² + eps) ∘ w over rows of w's size (x's columns may hold several: one a head). act out, f32 gradient. */
gm_tensor *gm_rmsnorm(gm_step *step, gm_tensor *x, const gm_tensor *w, float eps);

/* A frozen linear layer with an optional LoRA: y = W x + bias + s·B A x (method.md §1). */
typedef struct gm_linear {
    gm_tensor weight; /* O×I, act                                   */
    gm_tensor bias;   /* 1×O, act; data NULL: none                  */
    gm_tensor *a, *b; /* R×I and R×O (B transposed), parameters; NULL: no LoRA */
    float scale;
} gm_linear;

/* y: T×O act; with `residual` (T×O f32) y = residual + W x + …, f32, outside training in the residual's place. */
gm_tensor *gm_lora_linear(gm_step *step, const gm_linear *linear, gm_tensor *x, gm_tensor *residual);

typedef struct gm_rope {
    const float *frequencies; /* C/2, backend memory */
    float amplitude;
    int64_t head_size;
} gm_rope;

/* Rotates x (T×H·C) in place. */
void gm_rotate(gm_step *step, gm_tensor *x, const gm_rope *rope, const gm_layout *layout);

/* out: T×H·C act. Query row t attends to its sequence's rows t−window+1 … t (window 0: all before), a prefix's rows before them. */
gm_tensor *gm_attention(gm_step *step, gm_tensor *q, gm_tensor *k, gm_tensor *v, const gm_layout *layout, int64_t head_size,
                        int64_t window);

/* A token's experts and their weights. */
typedef struct gm_routing {
    gm_tensor *weight;     /* T×N f32: π                              */
    gm_tensor *gate;       /* T×K f32: π renormalised over its top-K  */
    const int32_t *expert; /* T×K                                     */
    float *count, *share;  /* N each (gm_route_args)                  */
    const float *dcount;   /* N: gradient of count; NULL: none; set before the backward pass */
    int64_t experts, slots;
} gm_routing;

typedef struct gm_expert_ffn {
    gm_tensor w1, w3, w2;                   /* gate F×D, up F×D, down D×F, act */
    gm_tensor *a1, *b1, *a3, *b3, *a2, *b2; /* experts stacked: N·R × I and N·R × O; NULL in pairs: no LoRA there */
    gm_tensor bias1, bias3, bias2;          /* 1×F, 1×F, 1×D; data NULL: none */
    int64_t experts, rank;
    float scale;
} gm_expert_ffn;

/* y: T×D f32 = residual + Σ_k g_k E_k(x) (method.md §1), outside training in the residual's place; routing NULL: one expert with weight 1.
 */
gm_tensor *gm_expert_ffn_op(gm_step *step, const gm_expert_ffn *ffn, gm_tensor *x, gm_routing *routing, gm_tensor *residual);

typedef struct gm_router_graph {
    gm_tensor *token;                  /* G×D: W_t                                        */
    gm_tensor *structure;              /* G×D: W_s, or NULL with free features            */
    const gm_tensor *nodes;            /* N×D f32 frozen: X (with `structure`)            */
    gm_tensor *features;               /* N×G: free expert features e, or NULL            */
    gm_tensor *conv[GM_ROUTER_LAYERS]; /* G×G                                       */
    gm_tensor *readout;                /* 1×G: p                                          */
    const float *adjacency;            /* (N+1)×(N+1): Â, host memory                     */
    int64_t experts, size, layers;
} gm_router_graph;

gm_routing *gm_route_graph(gm_step *step, const gm_router_graph *router, gm_tensor *x, int64_t slots, float *count, float *share);

/* score = x Wᵀ, W: N×D parameter. */
gm_routing *gm_route_linear(gm_step *step, gm_tensor *weight, gm_tensor *x, int64_t slots, float *count, float *share);

/* Losses. Each adds to its own f64 and, while training, to the gradients of what it is made from,
 * already with its coefficient: nothing flows into a loss from above. */
typedef struct gm_loss_scale {
    double value;   /* factor of the logged value  */
    float gradient; /* factor of the gradients     */
} gm_loss_scale;

void gm_poisson_loss(gm_step *step, gm_routing *routing, gm_tensor *rate, gm_divergence divergence, gm_loss_scale scale, double *loss);
void gm_balance_loss(gm_step *step, gm_routing *routing, const float *share, const float *mean, gm_loss_scale scale, double *loss);
/* count: layers×N as gm_normal_args; dcount: layers×N, where each layer's routing will look for its gradient. */
typedef struct gm_normal_scale { /* factors of the value and of the two gradients (gm_normal_args) */
    double value;
    float count, width;
} gm_normal_scale;
void gm_normal_loss(gm_step *step, int64_t layers, int64_t experts, const float *count, float *dcount, gm_tensor *const *width,
                    gm_divergence divergence, bool joint, gm_normal_scale scale, double *loss);
/* Cross-entropy of rows `row` (count) of x (T×D act) through head (V×D) against `target`, in chunks of rows. */
void gm_cross_entropy_loss(gm_step *step, gm_tensor *x, const gm_tensor *head, const int32_t *row, const int32_t *target, int64_t count,
                           gm_loss_scale scale, double *loss);

/* Evaluation: for `count` pairs, logit[i] = (row[which[i]] of x) · head[token[i]]; log_sum of each of the `rows` rows.
 * Everything but x and head is host memory. */
typedef struct gm_score_request {
    const int32_t *row; /* rows: rows of x                   */
    int64_t rows;
    const int32_t *which; /* count, ascending: index into row  */
    const int32_t *token; /* count                             */
    int64_t count;
    float *logit;   /* count, out */
    float *log_sum; /* rows, out  */
} gm_score_request;
void gm_score_rows(gm_step *step, const gm_tensor *x, const gm_tensor *head, const gm_score_request *request);

#endif
