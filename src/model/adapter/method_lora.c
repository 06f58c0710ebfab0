#include "model/adapter/adapter_config.h"

const gm_method gm_method_lora = {
    .name = "lora",
    .summary = "one plain LoRA on every target, no router (Hu et al. 2021)",
    .defaults = {.rank = 16,
                 .alpha = 32,
                 .target = {true, true, true, true, true, true, true},
                 .num_experts = 1,
                 .top_k = 1,
                 .router = {.type = GM_ROUTER_NONE, .layers = 2, .hidden_size = 256, .edge_density = 0.1, .token_gain = 1.0},
                 .losses = {.ema_decay = 0.9}},
};
