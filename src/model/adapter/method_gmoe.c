#include "model/adapter/adapter_config.h"

const gm_method gm_method_gmoe = {
    .name = "gmoe",
    .summary = "LoRA experts behind a graph router, Poisson distinction and Normal balance losses (Bai et al. 2024)",
    .defaults = {.rank = 2,
                 .alpha = 4,
                 .target = {true, true, true, true, true, true, true},
                 .num_experts = 8,
                 .top_k = 2,
                 .router = {.type = GM_ROUTER_GRAPH,
                            .layers = 2,
                            .hidden_size = 256,
                            .edges = GM_EDGES_RANDOM,
                            .edge_density = 0.1,
                            .expert_features = GM_FEATURES_FROZEN,
                            .token_gain = 1.0},
                 .losses = {.divergence = GM_DIVERGENCE_KL,
                            .poisson = 0.005,
                            .normal = 8.0,
                            .count = GM_COUNT_CUMULATIVE,
                            .ema_decay = 0.9,
                            .normal_target = GM_NORMAL_LAYER}},
};
