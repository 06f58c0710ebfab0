/* Initial values, as each tensor's declaration says (gm_initial), and the experts' edges. Every tensor draws from a stream of its
 * own, numbered by its place in the list. */
#include "base/random.h"
#include "model/adapter/adapter.h"

#include <math.h>
#include <stdlib.h>

static void fill_uniform(float *out, int64_t count, double bound, gm_random *random) {
    for (int64_t i = 0; i < count; i++) out[i] = (float)((2.0 * gm_random_uniform(random) - 1.0) * bound);
}

static void fill(float *out, const gm_parameter *parameter, const gm_adapter_config *config, gm_random *random) {
    int64_t rows = parameter->tensor.rows, columns = parameter->tensor.columns, count = rows * columns;
    double glorot = sqrt(6.0 / (double)(rows + columns));
    switch (parameter->initial) {
    case GM_INITIAL_ZERO: return;
    case GM_INITIAL_KAIMING: fill_uniform(out, count, 1.0 / sqrt((double)columns), random); return;
    case GM_INITIAL_GLOROT: fill_uniform(out, count, glorot, random); return;
    case GM_INITIAL_TOKEN: fill_uniform(out, count, glorot * config->router.token_gain, random); return;
    case GM_INITIAL_NORMAL:
        for (int64_t i = 0; i < count; i++) out[i] = 0.02f * gm_random_normal(random);
        return;
    case GM_INITIAL_RATE: out[0] = 1.5f; return;
    case GM_INITIAL_WIDTH: out[0] = (float)config->num_experts / 2; return;
    }
}

/* E = silu(X W_sᵀ) on the host: only for comparing experts once. */
static void frozen_features(float *features, const float *nodes, const float *structure, int64_t experts, int64_t size, int64_t width) {
    for (int64_t i = 0; i < experts; i++)
        for (int64_t g = 0; g < size; g++) {
            double sum = 0;
            for (int64_t d = 0; d < width; d++) sum += (double)nodes[i * width + d] * structure[g * width + d];
            features[i * size + g] = (float)(sum / (1.0 + exp(-sum)));
        }
}

static gm_status draw_edges(gm_adapter *adapter, const float *values) {
    const gm_adapter_config *config = &adapter->config;
    int64_t n = config->num_experts, size = config->router.hidden_size;
    float *features;
    GM_ALLOC(features, (size_t)(n * size));
    gm_status status = GM_OK;
    for (int64_t l = 0; l < adapter->layer_count && status == GM_OK; l++) {
        const gm_layer_adapter *layer = &adapter->layers[l];
        if (!layer->edges) continue;
        float *edges = adapter->parameters.frozen_host + layer->edges->offset;
        gm_edges_draw(edges, config, l);
        if (config->router.edges != GM_EDGES_SIMILARITY) continue;
        frozen_features(features, adapter->parameters.frozen_host + layer->nodes->offset, values + layer->structure->offset, n, size,
                        layer->nodes->tensor.columns);
        status = gm_edges_similar(edges, features, n, size, config->router.edge_density);
    }
    free(features);
    return status;
}

void gm_adapter_refresh_frozen(gm_adapter *adapter) {
    gm_parameters *parameters = &adapter->parameters;
    if (parameters->frozen)
        adapter->backend->write(adapter->backend, parameters->frozen_value, parameters->frozen_host,
                                (size_t)parameters->frozen * sizeof(float));
    for (int64_t l = 0; l < adapter->layer_count; l++) {
        gm_layer_adapter *layer = &adapter->layers[l];
        if (layer->edges) gm_edges_normalise(layer->adjacency, parameters->frozen_host + layer->edges->offset, adapter->config.num_experts);
    }
}

gm_status gm_adapter_initialise(gm_adapter *adapter, uint64_t seed) {
    gm_parameters *parameters = &adapter->parameters;
    float *values;
    GM_ALLOC(values, (size_t)parameters->trained);
    for (size_t i = 0; i < parameters->count; i++) {
        const gm_parameter *parameter = parameters->list[i];
        gm_random random = gm_random_begin(seed, GM_RANDOM_ADAPTER, (uint32_t)i);
        float *out = (parameter->kind == GM_PARAMETER_FROZEN ? parameters->frozen_host : values) + parameter->offset;
        fill(out, parameter, &adapter->config, &random);
    }
    gm_status status = draw_edges(adapter, values);
    adapter->backend->write(adapter->backend, parameters->value, values, (size_t)parameters->trained * sizeof(float));
    free(values);
    GM_TRY(status);
    gm_adapter_refresh_frozen(adapter);
    return GM_OK;
}
