/* The forward pass: what a decoder of the Llama family computes, from ids to the last hidden states. */
#include "model/decoder.h"

static gm_tensor *attention(const gm_pass *pass, const gm_block *block, gm_tensor *x) {
    gm_step *step = pass->step;
    const gm_model *model = pass->model;
    float eps = (float)model->config.norm_eps;
    gm_tensor *a = gm_rmsnorm(step, x, &block->attention_norm, eps);
    gm_step_enter(step, GM_PART_PROJECTIONS);
    gm_tensor *q = gm_lora_linear(step, &block->q, a, NULL), *k = gm_lora_linear(step, &block->k, a, NULL),
              *v = gm_lora_linear(step, &block->v, a, NULL);
    if (block->q_norm.data) q = gm_rmsnorm(step, q, &block->q_norm, eps);
    if (block->k_norm.data) k = gm_rmsnorm(step, k, &block->k_norm, eps);
    gm_rotate(step, q, &model->rope, &pass->layout);
    gm_rotate(step, k, &model->rope, &pass->layout);
    gm_step_enter(step, GM_PART_ATTENTION);
    gm_tensor *out = gm_attention(step, q, k, v, &pass->layout, model->config.head_dim, block->window);
    gm_step_enter(step, GM_PART_PROJECTIONS);
    gm_tensor *y = gm_lora_linear(step, &block->o, out, x);
    gm_step_enter(step, GM_PART_OTHER);
    return y;
}

static gm_routing *route(const gm_pass *pass, int64_t layer, gm_tensor *x) {
    const gm_adapter *adapter = pass->model->adapter;
    if (!adapter || adapter->config.router.type == GM_ROUTER_NONE) return NULL;
    const gm_block *block = &pass->model->blocks[layer];
    int64_t slots = adapter->config.top_k, first = layer * adapter->config.num_experts;
    float *count = pass->count + first, *share = pass->share + first;
    if (adapter->config.router.type == GM_ROUTER_GRAPH) return gm_route_graph(pass->step, &block->adapter->graph, x, slots, count, share);
    return gm_route_linear(pass->step, block->adapter->linear_router, x, slots, count, share);
}

static gm_tensor *feed_forward(const gm_pass *pass, int64_t layer, gm_tensor *x, gm_routing **routing) {
    const gm_block *block = &pass->model->blocks[layer];
    gm_tensor *f = gm_rmsnorm(pass->step, x, &block->ffn_norm, (float)pass->model->config.norm_eps);
    gm_step_enter(pass->step, GM_PART_ROUTER);
    gm_routing *chosen = route(pass, layer, f);
    if (routing) *routing = chosen;
    gm_step_enter(pass->step, GM_PART_FEED_FORWARD);
    gm_tensor *y = gm_expert_ffn_op(pass->step, &block->ffn, f, chosen, x);
    gm_step_enter(pass->step, GM_PART_OTHER);
    return y;
}

gm_tensor *gm_block_forward(const gm_pass *pass, int64_t layer, gm_tensor *x, gm_routing **routing) {
    return feed_forward(pass, layer, attention(pass, &pass->model->blocks[layer], x), routing);
}

const int32_t *gm_batch_upload(gm_step *step, const int32_t *host, int64_t count) {
    int32_t *memory = gm_step_memory(step, (size_t)count * sizeof *memory);
    if (!gm_backend_measures(step->backend)) step->backend->write(step->backend, memory, host, (size_t)count * sizeof *memory);
    return memory;
}

gm_tensor *gm_model_hidden(gm_model *model, gm_step *step, const gm_batch *batch, gm_routing **routings, float *count, float *share) {
    const int32_t *ids = gm_batch_upload(step, batch->ids, batch->tokens);
    gm_pass pass = {model,
                    step,
                    {.tokens = batch->tokens,
                     .sequences = batch->sequences,
                     .positions = gm_batch_upload(step, batch->positions, batch->tokens),
                     .starts = gm_step_save(step, batch->starts, (size_t)(batch->sequences + 1) * sizeof *batch->starts),
                     .prefix = batch->prefix},
                    count,
                    share};
    gm_tensor *x = gm_embedding(step, &model->embedding, ids, batch->tokens);
    for (int64_t l = 0; l < model->config.layers; l++) {
        gm_routing **routing = routings ? &routings[l] : NULL;
        if (step->training) {
            x = model->checkpointed ? gm_block_checkpointed(&pass, l, x, routing) : gm_block_forward(&pass, l, x, routing);
            continue;
        }
        gm_step_stretch layer = gm_step_begin_stretch(step); /* nothing of it is needed again */
        gm_tensor *y = gm_block_forward(&pass, l, x, routing);
        GM_CHECK(y == x, "a block's output is not in its input's place");
        gm_step_end_stretch(step, &layer);
    }
    return gm_rmsnorm(step, x, &model->final_norm, (float)model->config.norm_eps);
}
