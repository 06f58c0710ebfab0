/* Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): after forward a block leaves its output and its router's weights,
 * which the losses read; backward computes the block again from its input, with the same dropout, and goes back through it at
 * once. Gradients are the same bit for bit, for one more forward pass; in memory is one block's tape at a time. */
#include "model/decoder.h"

typedef struct saved_block {
    gm_pass pass;
    int64_t layer;
    gm_tensor *x, *y;
    gm_routing *routing; /* what stays of it: weight, and the gradients that losses give; NULL: no router */
    gm_random dropout;   /* before the block drew from it */
} saved_block;

static void block_backward(gm_step *step, const void *saved) {
    const saved_block *s = saved;
    gm_tensor x = *s->x;
    bool used = x.needs_grad && gm_grad_begin(step, s->x);
    GM_CHECK(!used, "a block is the only use of its input");
    gm_step_stretch stretch = gm_step_begin_stretch(step);
    gm_random dropout = step->dropout ? *step->dropout : s->dropout;
    if (step->dropout) *step->dropout = s->dropout;
    gm_routing *routing = NULL;
    gm_tensor *y = gm_block_forward(&s->pass, s->layer, &x, &routing);
    if (step->dropout) *step->dropout = dropout;
    y->grad = s->y->grad;
    if (routing) routing->weight->grad = s->routing->weight->grad, routing->dcount = s->routing->dcount;
    gm_step_backward(step);
    GM_CHECK(x.grad || !x.needs_grad, "a block without a gradient of its input");
    if (x.needs_grad) step->backend->kernels->copy(step->backend, s->x->grad, x.grad, gm_tensor_bytes(&x));
    gm_step_end_stretch(step, &stretch);
}

gm_tensor *gm_block_checkpointed(const gm_pass *pass, int64_t layer, gm_tensor *x, gm_routing **routing) {
    gm_step *step = pass->step;
    gm_backend *backend = step->backend;
    saved_block saved = {.pass = *pass, .layer = layer, .x = x, .y = gm_step_tensor(step, x->type, x->rows, x->columns)};
    if (step->dropout) saved.dropout = *step->dropout;
    const gm_adapter *adapter = pass->model->adapter;
    gm_routing *kept = NULL, *routed = NULL;
    if (adapter && adapter->config.router.type != GM_ROUTER_NONE) {
        kept = gm_arena_take(&step->host, sizeof *kept);
        *kept = (gm_routing){.weight = gm_step_tensor(step, GM_F32, x->rows, adapter->config.num_experts)};
    }
    gm_step_stretch stretch = gm_step_begin_stretch(step);
    gm_tensor *y = gm_block_forward(pass, layer, x, &routed);
    backend->kernels->copy(backend, saved.y->data, y->data, gm_tensor_bytes(y));
    if (kept) {
        backend->kernels->copy(backend, kept->weight->data, routed->weight->data, gm_tensor_bytes(kept->weight));
        kept->count = routed->count, kept->share = routed->share;
        kept->experts = routed->experts, kept->slots = routed->slots;
    }
    gm_step_end_stretch(step, &stretch);
    saved.routing = kept;
    if (routing) *routing = kept;
    gm_step_record(step, block_backward, &saved, sizeof saved, saved.y, kept ? kept->weight : NULL);
    return saved.y;
}
