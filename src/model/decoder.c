/* A decoder of the Llama family: opening, closing, and the tie between the frozen layers and an adapter. */
#include "model/decoder.h"

#include <stdlib.h>
#include <string.h>

static gm_status prepare(gm_model *model) {
    const gm_model_config *config = &model->config;
    int64_t count = config->head_dim / 2;
    float *host;
    GM_ALLOC(host, (size_t)count);
    gm_rope_frequencies(host, config);
    gm_status status = model->backend->allocate(model->backend, &model->frequencies, (size_t)count * sizeof *host, "rotation frequencies");
    if (status == GM_OK) model->backend->write(model->backend, model->frequencies, host, (size_t)count * sizeof *host);
    free(host);
    model->rope = (gm_rope){.frequencies = model->frequencies, .amplitude = 1.0f, .head_size = config->head_dim};
    return status;
}

static gm_status check_head_size(const gm_model *model, const char *directory) {
    int64_t size = model->config.head_dim, largest = model->backend->largest_head;
    if (largest == 0 || size <= largest) return GM_OK;
    return gm_error(GM_FAIL, "%s/config.json: heads of size %lld are too large for %s, whose attention takes up to %lld; use --device cpu",
                    directory, (long long)size, model->backend->name, (long long)largest);
}

static gm_status open_directory(gm_model *model, const char *directory) {
    GM_TRY(gm_model_config_read(&model->config, directory));
    GM_TRY(check_head_size(model, directory));
    GM_TRY(gm_safetensors_open_model(&model->file, directory));
    GM_TRY(gm_model_load_weights(model));
    return prepare(model);
}

static gm_status make(gm_model **model, gm_backend *backend, gm_type type) {
    GM_ALLOC(*model, 1);
    **model = (gm_model){.backend = backend, .type = type};
    return GM_OK;
}

gm_status gm_model_open(gm_model **model, gm_backend *backend, const char *directory, gm_type type) {
    gm_model *opened;
    GM_TRY(make(&opened, backend, type));
    gm_status status = open_directory(opened, directory);
    if (status != GM_OK) return gm_model_close(opened), status;
    *model = opened;
    return GM_OK;
}

gm_status gm_model_open_random(gm_model **model, gm_backend *backend, const gm_model_config *config, gm_type type, uint64_t seed) {
    gm_model *opened;
    GM_TRY(make(&opened, backend, type));
    opened->config = *config;
    gm_status status = gm_model_random_weights(opened, seed);
    if (status == GM_OK) status = prepare(opened);
    if (status != GM_OK) return gm_model_close(opened), status;
    *model = opened;
    return GM_OK;
}

void gm_model_close(gm_model *model) {
    if (!model) return;
    if (model->adapter) gm_adapter_close(model->adapter);
    if (model->frequencies)
        model->backend->release(model->backend, model->frequencies, (size_t)(model->config.head_dim / 2) * sizeof(float));
    gm_model_free_weights(model);
    free(model);
}

static void attach_linear(gm_linear *linear, const gm_lora *lora, float scale) {
    linear->a = lora->a;
    linear->b = lora->b;
    linear->scale = scale;
}

gm_status gm_model_attach(gm_model *model, gm_adapter *adapter) {
    GM_CHECK(!model->adapter, "a model takes one adapter at a time");
    model->adapter = adapter;
    float scale = (float)gm_adapter_scale(&adapter->config);
    for (int64_t l = 0; l < model->config.layers; l++) {
        gm_block *block = &model->blocks[l];
        const gm_layer_adapter *layer = &adapter->layers[l];
        block->adapter = layer;
        gm_linear *linears[4] = {&block->q, &block->k, &block->v, &block->o};
        for (int i = 0; i < 4; i++) attach_linear(linears[i], &layer->attention[i], scale);
        gm_expert_ffn *ffn = &block->ffn;
        ffn->a1 = layer->gate.a, ffn->b1 = layer->gate.b;
        ffn->a3 = layer->up.a, ffn->b3 = layer->up.b;
        ffn->a2 = layer->down.a, ffn->b2 = layer->down.b;
        ffn->experts = adapter->config.num_experts;
        ffn->rank = adapter->config.rank;
        ffn->scale = scale;
    }
    return gm_objective_open(&model->objective, adapter);
}

void gm_model_detach(gm_model *model, gm_adapter *adapter) {
    if (model->adapter != adapter) return;
    gm_objective_close(&model->objective, model->backend);
    for (int64_t l = 0; l < model->config.layers; l++) {
        gm_block *block = &model->blocks[l];
        gm_linear *linears[4] = {&block->q, &block->k, &block->v, &block->o};
        for (int i = 0; i < 4; i++) attach_linear(linears[i], &(gm_lora){0}, 0);
        gm_expert_ffn *ffn = &block->ffn;
        ffn->a1 = ffn->b1 = ffn->a3 = ffn->b3 = ffn->a2 = ffn->b2 = NULL;
        ffn->experts = 1;
        ffn->rank = 0;
        block->adapter = NULL;
    }
    model->adapter = NULL;
}

void gm_model_checkpoint_activations(gm_model *model, bool on) { model->checkpointed = on; }
const gm_model_config *gm_model_config_of(const gm_model *model) { return &model->config; }
uint64_t gm_model_hash(const gm_model *model) { return model->hash; }
size_t gm_model_memory(const gm_model *model) { return model->copy_bytes; }

int64_t gm_model_parameters(const gm_model *model) {
    const gm_model_config *c = &model->config;
    int64_t attention = 2 * c->hidden_size * c->head_dim * (c->heads + c->kv_heads), ffn = 3 * c->hidden_size * c->ffn_size;
    return c->layers * (attention + ffn) + c->vocabulary * c->hidden_size;
}
