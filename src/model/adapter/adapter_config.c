#include "model/adapter/adapter_config.h"

#include <math.h>
#include <string.h>

const char *const gm_target_names[] = {[GM_TARGET_Q] = "q",       [GM_TARGET_K] = "k",   [GM_TARGET_V] = "v",       [GM_TARGET_O] = "o",
                                       [GM_TARGET_GATE] = "gate", [GM_TARGET_UP] = "up", [GM_TARGET_DOWN] = "down", [GM_TARGETS] = NULL};
const char *const gm_target_modules[] = {
    [GM_TARGET_Q] = "q_proj",       [GM_TARGET_K] = "k_proj",   [GM_TARGET_V] = "v_proj",       [GM_TARGET_O] = "o_proj",
    [GM_TARGET_GATE] = "gate_proj", [GM_TARGET_UP] = "up_proj", [GM_TARGET_DOWN] = "down_proj", [GM_TARGETS] = NULL};
const char *const gm_router_type_names[] = {[GM_ROUTER_NONE] = "none", [GM_ROUTER_GRAPH] = "graph", [GM_ROUTER_LINEAR] = "linear", NULL};
const char *const gm_edges_names[] = {[GM_EDGES_RANDOM] = "random", [GM_EDGES_SIMILARITY] = "similarity", [GM_EDGES_FULL] = "full",
                                      [GM_EDGES_NONE] = "none",     [GM_EDGES_LEARNED] = "learned",       NULL};
const char *const gm_features_names[] = {[GM_FEATURES_FROZEN] = "frozen", [GM_FEATURES_EMBEDDING] = "embedding", NULL};
const char *const gm_divergence_names[] = {[GM_DIVERGENCE_KL] = "kl", [GM_DIVERGENCE_ABS] = "abs", NULL};
const char *const gm_count_names[] = {[GM_COUNT_CUMULATIVE] = "cumulative", [GM_COUNT_EMA] = "ema", [GM_COUNT_BATCH] = "batch", NULL};
const char *const gm_count_at_names[] = {[GM_COUNT_AT_STEP] = "step", [GM_COUNT_AT_MICRO_BATCH] = "micro_batch", NULL};
const char *const gm_normal_target_names[] = {[GM_NORMAL_LAYER] = "layer", [GM_NORMAL_JOINT] = "joint", NULL};

const gm_method *const gm_methods[] = {&gm_method_gmoe, &gm_method_lora, NULL};

const gm_method *gm_method_find(const char *name) {
    for (const gm_method *const *method = gm_methods; *method; method++)
        if (strcmp((*method)->name, name) == 0) return *method;
    return NULL;
}

double gm_adapter_scale(const gm_adapter_config *config) {
    return config->rslora ? config->alpha / sqrt((double)config->rank) : config->alpha / (double)config->rank;
}

static gm_status check_router(const gm_adapter_config *config) {
    if (config->router.type == GM_ROUTER_NONE && config->num_experts != 1)
        return gm_error(GM_USAGE, "adapter.num_experts: %lld experts need a router; a method without one has 1",
                        (long long)config->num_experts);
    if (config->top_k < 1 || config->top_k > config->num_experts)
        return gm_error(GM_USAGE, "adapter.top_k: %lld is not between 1 and adapter.num_experts (%lld)", (long long)config->top_k,
                        (long long)config->num_experts);
    if (config->router.type != GM_ROUTER_GRAPH) return GM_OK;
    if (config->router.layers < 1 || config->router.layers > GM_ROUTER_LAYERS)
        return gm_error(GM_USAGE, "adapter.router.layers: %lld is not between 1 and %d", (long long)config->router.layers,
                        GM_ROUTER_LAYERS);
    if (config->router.hidden_size < 1)
        return gm_error(GM_USAGE, "adapter.router.hidden_size: %lld is not at least 1", (long long)config->router.hidden_size);
    if (config->router.edges >= GM_EDGES_LEARNED)
        return gm_error(GM_USAGE, "adapter.router.edges: \"%s\" is not built yet", gm_edges_names[config->router.edges]);
    if (!(config->router.edge_density >= 0 && config->router.edge_density <= 1))
        return gm_error(GM_USAGE, "adapter.router.edge_density: %g is not between 0 and 1", config->router.edge_density);
    if (config->router.edges == GM_EDGES_SIMILARITY && config->router.expert_features != GM_FEATURES_FROZEN)
        return gm_error(
            GM_USAGE,
            "adapter.router.edges: \"similarity\" compares frozen expert features; set adapter.router.expert_features to \"frozen\"");
    return GM_OK;
}

gm_status gm_adapter_config_check(const gm_adapter_config *config) {
    bool any = false;
    for (int i = 0; i < GM_TARGETS; i++) any |= config->target[i];
    if (!any) return gm_error(GM_USAGE, "adapter.targets: names no layer to adapt");
    if (config->rank < 1) return gm_error(GM_USAGE, "adapter.rank: %lld is not at least 1", (long long)config->rank);
    if (config->rank > 4096) return gm_error(GM_USAGE, "adapter.rank: %lld is over 4096", (long long)config->rank);
    if (config->num_experts > GM_EXPERTS)
        return gm_error(GM_USAGE, "adapter.num_experts: %lld is over %d", (long long)config->num_experts, GM_EXPERTS);
    if (config->router.hidden_size > 65536)
        return gm_error(GM_USAGE, "adapter.router.hidden_size: %lld is over 65536", (long long)config->router.hidden_size);
    if (config->num_experts < 1) return gm_error(GM_USAGE, "adapter.num_experts: %lld is not at least 1", (long long)config->num_experts);
    GM_TRY(check_router(config));
    if (config->router.type == GM_ROUTER_NONE && (config->losses.poisson != 0 || config->losses.normal != 0 || config->losses.balance != 0))
        return gm_error(GM_USAGE,
                        "adapter.losses: poisson, normal and balance are losses of a router, and this method has none; set them to 0");
    bool ffn = config->target[GM_TARGET_GATE] || config->target[GM_TARGET_UP] || config->target[GM_TARGET_DOWN];
    if (config->router.type != GM_ROUTER_NONE && !ffn)
        return gm_error(GM_USAGE, "adapter.targets: experts live in gate, up and down, and none of them is a target");
    return GM_OK;
}
