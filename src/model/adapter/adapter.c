/* Declares every tensor of an adapter for a model, places them, and points the layers at them. Names are those of the
 * files: PEFT's for a plain LoRA, the reference program's for experts (w1 = gate, w2 = down, w3 = up). */
#include "model/adapter/adapter.h"
#include "model/decoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct gm_declaration { /* where the declaring functions are */
    gm_adapter *adapter;
    gm_parameters *parameters;
    const gm_model_config *model;
    int64_t layer, inputs, outputs; /* of the site at hand */
} gm_declaration;

static bool plain(const gm_adapter *adapter) { return adapter->config.router.type == GM_ROUTER_NONE; }

/* "…q_proj" of one expert or layer. */
static void site_name(char name[128], const gm_declaration *d, const char *module, const char *projection, int64_t expert) {
    static const struct {
        const char *projection, *expert_name;
    } renamed[] = {{"gate_proj", "w1_proj"}, {"up_proj", "w3_proj"}, {"down_proj", "w2_proj"}};
    if (plain(d->adapter)) {
        snprintf(name, 128, "base_model.model.model.layers.%lld.%s.%s", (long long)d->layer, module, projection);
        return;
    }
    snprintf(name, 128, "mixlora.layers.%lld.%s.%s", (long long)d->layer, module, projection);
    for (size_t i = 0; i < 3; i++)
        if (strcmp(renamed[i].projection, projection) == 0)
            snprintf(name, 128, "mixlora.layers.%lld.experts.%lld.%s", (long long)d->layer, (long long)expert, renamed[i].expert_name);
}

/* A (R×I) or B (R×O) of all experts of a site; NULL when out of memory. */
static gm_tensor *declare_half(gm_declaration *d, const char *module, const char *projection, int64_t experts, bool is_b) {
    const gm_parameter *first = NULL;
    for (int64_t e = 0; e < experts; e++) {
        char name[128];
        site_name(name, d, module, projection, e);
        gm_parameter half = {.kind = is_b ? GM_PARAMETER_LORA_B : GM_PARAMETER_TRAINED,
                             .initial = is_b ? GM_INITIAL_ZERO : GM_INITIAL_KAIMING,
                             .file_rank = 2,
                             .tensor = {.rows = d->adapter->config.rank, .columns = is_b ? d->outputs : d->inputs}};
        const gm_parameter *parameter = gm_parameters_add(d->parameters, half, "%s.lora_%c.weight", name, is_b ? 'B' : 'A');
        if (!parameter) return NULL;
        if (e == 0) first = parameter;
    }
    return gm_parameters_stack(d->parameters, first, experts);
}

#define DECLARE(target, expression)                                                                                                        \
    do {                                                                                                                                   \
        if (((target) = (expression)) == NULL) return GM_NO_MEMORY;                                                                        \
    } while (0)

static gm_status declare_attention(gm_declaration *d, gm_layer_adapter *layer) {
    static const char *const projections[4] = {"q_proj", "k_proj", "v_proj", "o_proj"};
    const gm_model_config *model = d->model;
    int64_t q = model->heads * model->head_dim, kv = model->kv_heads * model->head_dim;
    const int64_t outputs[4] = {q, kv, kv, model->hidden_size};
    for (int i = 0; i < 4; i++) {
        if (!d->adapter->config.target[GM_TARGET_Q + i]) continue;
        d->inputs = i == 3 ? q : model->hidden_size;
        d->outputs = outputs[i];
        gm_parameters_align(d->parameters);
        DECLARE(layer->attention[i].a, declare_half(d, "self_attn", projections[i], 1, false));
        DECLARE(layer->attention[i].b, declare_half(d, "self_attn", projections[i], 1, true));
    }
    return GM_OK;
}

/* All experts' A of gate and up lie side by side: one product computes x A of both. */
static gm_status declare_experts(gm_declaration *d, gm_layer_adapter *layer) {
    const gm_adapter_config *config = &d->adapter->config;
    int64_t n = config->num_experts, hidden = d->model->hidden_size, ffn = d->model->ffn_size;
    struct {
        gm_target target;
        gm_lora *lora;
        const char *projection;
        int64_t inputs, outputs;
    } sites[3] = {
        {GM_TARGET_GATE, &layer->gate, "gate_proj", hidden, ffn},
        {GM_TARGET_UP, &layer->up, "up_proj", hidden, ffn},
        {GM_TARGET_DOWN, &layer->down, "down_proj", ffn, hidden},
    };
    gm_parameters_align(d->parameters);
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 3; i++) {
            if (!config->target[sites[i].target]) continue;
            d->inputs = sites[i].inputs, d->outputs = sites[i].outputs;
            gm_tensor **tensor = half ? &sites[i].lora->b : &sites[i].lora->a;
            DECLARE(*tensor, declare_half(d, "mlp", sites[i].projection, n, half == 1));
        }
    gm_parameters_align(d->parameters);
    return GM_OK;
}

/* A tensor of the layer's router; NULL when out of memory. */
static gm_parameter *declare_part(gm_declaration *d, gm_parameter like, int64_t rows, int64_t columns, const char *name) {
    gm_parameters_align(d->parameters);
    like.tensor.rows = rows, like.tensor.columns = columns;
    return gm_parameters_add(d->parameters, like, "mixlora.layers.%lld.gate.%s", (long long)d->layer, name);
}

static gm_tensor *declare_gate(gm_declaration *d, gm_parameter like, int64_t rows, int64_t columns, const char *name) {
    gm_parameter *parameter = declare_part(d, like, rows, columns, name);
    return parameter ? &parameter->tensor : NULL;
}

static gm_parameter trained(gm_initial initial) { return (gm_parameter){.kind = GM_PARAMETER_TRAINED, .initial = initial, .file_rank = 2}; }
static gm_parameter frozen(gm_initial initial) { return (gm_parameter){.kind = GM_PARAMETER_FROZEN, .initial = initial, .file_rank = 2}; }
static gm_parameter scalar(gm_initial initial) { return (gm_parameter){.kind = GM_PARAMETER_TRAINED, .initial = initial}; }

static gm_status declare_graph(gm_declaration *d, gm_layer_adapter *layer) {
    const gm_adapter_config *config = &d->adapter->config;
    int64_t n = config->num_experts, size = config->router.hidden_size, hidden = d->model->hidden_size;
    gm_router_graph *graph = &layer->graph;
    *graph = (gm_router_graph){.experts = n, .size = size, .layers = config->router.layers};
    DECLARE(graph->token, declare_gate(d, trained(GM_INITIAL_TOKEN), size, hidden, "mlp.weight"));
    if (config->router.expert_features == GM_FEATURES_EMBEDDING) {
        DECLARE(graph->features, declare_gate(d, trained(GM_INITIAL_GLOROT), n, size, "experts.weight"));
    } else {
        DECLARE(layer->structure, declare_part(d, trained(GM_INITIAL_GLOROT), size, hidden, "mlp_struct.weight"));
        graph->structure = &layer->structure->tensor;
        DECLARE(layer->nodes, declare_part(d, frozen(GM_INITIAL_GLOROT), n, hidden, "X"));
        graph->nodes = &layer->nodes->tensor;
    }
    for (int64_t l = 0; l < graph->layers; l++) {
        char name[48];
        snprintf(name, sizeof name, "convs.%lld.lin.weight", (long long)l);
        DECLARE(graph->conv[l], declare_gate(d, trained(GM_INITIAL_GLOROT), size, size, name));
    }
    DECLARE(graph->readout, declare_gate(d, trained(GM_INITIAL_GLOROT), 1, size, "proj.weight"));
    DECLARE(layer->edges, declare_part(d, frozen(GM_INITIAL_ZERO), n, n, "edges"));
    GM_ALLOC(layer->adjacency, (size_t)((n + 1) * (n + 1)));
    graph->adjacency = layer->adjacency;
    return GM_OK;
}

static gm_status declare_router(gm_declaration *d, gm_layer_adapter *layer) {
    const gm_adapter_config *config = &d->adapter->config;
    if (config->router.type == GM_ROUTER_NONE) return GM_OK;
    bool graph = config->router.type == GM_ROUTER_GRAPH;
    if (graph)
        GM_TRY(declare_graph(d, layer));
    else
        DECLARE(layer->linear_router, declare_gate(d, trained(GM_INITIAL_NORMAL), config->num_experts, d->model->hidden_size, "weight"));
    if (graph || config->losses.poisson != 0) DECLARE(layer->rate, declare_gate(d, scalar(GM_INITIAL_RATE), 1, 1, "lamb"));
    if (graph || config->losses.normal != 0) DECLARE(layer->width, declare_gate(d, scalar(GM_INITIAL_WIDTH), 1, 1, "theta"));
    return GM_OK;
}

static gm_status declare_all(gm_adapter *adapter) {
    gm_declaration d = {.adapter = adapter, .parameters = &adapter->parameters, .model = gm_model_config_of(adapter->model)};
    for (d.layer = 0; d.layer < adapter->layer_count; d.layer++) {
        gm_layer_adapter *layer = &adapter->layers[d.layer];
        GM_TRY(declare_attention(&d, layer));
        GM_TRY(declare_experts(&d, layer));
        GM_TRY(declare_router(&d, layer));
    }
    return GM_OK;
}

static gm_status make(gm_adapter *adapter) {
    const gm_adapter_config *config = &adapter->config;
    GM_TRY(gm_adapter_config_check(config));
    GM_ALLOC(adapter->layers, (size_t)adapter->layer_count);
    if (config->router.type != GM_ROUTER_NONE) {
        GM_ALLOC(adapter->past, (size_t)(adapter->layer_count * config->num_experts));
        GM_ALLOC(adapter->load, (size_t)(adapter->layer_count * config->num_experts));
    }
    GM_TRY(declare_all(adapter));
    GM_TRY(gm_parameters_place(&adapter->parameters, adapter->backend));
    adapter->buffers = (gm_adapter_buffers){.value = adapter->parameters.value, .count = adapter->parameters.trained};
    return gm_model_attach(adapter->model, adapter);
}

gm_status gm_adapter_create(gm_adapter **adapter, gm_model *model, const gm_adapter_config *config, uint64_t seed) {
    gm_adapter *made;
    GM_ALLOC(made, 1);
    *made = (gm_adapter){.model = model, .backend = model->backend, .config = *config, .layer_count = model->config.layers};
    gm_status status = make(made);
    if (status == GM_OK) status = gm_adapter_initialise(made, seed);
    if (status != GM_OK) return gm_adapter_close(made), status;
    *adapter = made;
    return GM_OK;
}

void gm_adapter_close(gm_adapter *adapter) {
    if (!adapter) return;
    gm_model_detach(adapter->model, adapter);
    for (int64_t l = 0; adapter->layers && l < adapter->layer_count; l++) free(adapter->layers[l].adjacency);
    gm_parameters_free(&adapter->parameters, adapter->backend);
    free(adapter->layers);
    free(adapter->past);
    free(adapter->load);
    free(adapter);
}

gm_status gm_adapter_prepare_training(gm_adapter *adapter) {
    GM_TRY(gm_parameters_place_training(&adapter->parameters, adapter->backend));
    const gm_parameters *p = &adapter->parameters;
    adapter->buffers = (gm_adapter_buffers){p->value, p->gradient, p->moment1, p->moment2, p->trained};
    return GM_OK;
}

const gm_adapter_buffers *gm_adapter_buffers_of(const gm_adapter *adapter) { return &adapter->buffers; }

void gm_adapter_each_group(const gm_adapter *adapter, void (*visit)(void *context, int64_t begin, int64_t count, bool is_b),
                           void *context) {
    int64_t begin = 0;
    bool is_b = false;
    for (size_t i = 0; i < adapter->parameters.count; i++) {
        const gm_parameter *parameter = adapter->parameters.list[i];
        if (parameter->kind == GM_PARAMETER_FROZEN || (parameter->kind == GM_PARAMETER_LORA_B) == is_b) continue;
        if (parameter->offset > begin) visit(context, begin, parameter->offset - begin, is_b);
        begin = parameter->offset;
        is_b = !is_b;
    }
    if (adapter->buffers.count > begin) visit(context, begin, adapter->buffers.count - begin, is_b);
}

int64_t gm_adapter_trainable(const gm_adapter *adapter) {
    int64_t count = 0;
    for (size_t i = 0; i < adapter->parameters.count; i++) {
        const gm_parameter *parameter = adapter->parameters.list[i];
        if (parameter->kind != GM_PARAMETER_FROZEN) count += parameter->tensor.rows * parameter->tensor.columns;
    }
    return count;
}

double *gm_adapter_counts(gm_adapter *adapter, int64_t *count) {
    *count = adapter->past ? adapter->layer_count * adapter->config.num_experts : 0;
    return adapter->past;
}

double *gm_adapter_expert_load(const gm_adapter *adapter, int64_t *layers, int64_t *experts) {
    *layers = adapter->layer_count;
    *experts = adapter->config.num_experts;
    return adapter->load;
}
