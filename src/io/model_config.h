/* config.json of a base model: what transformers 4.57 makes of it for llama, mistral, qwen2, qwen3 and phi3, with the defaults
 * of each model_type. What would change the model's result and is not supported is refused by name (GM_BAD_FILE);
 * a key that is not known at all is logged as a warning. */
#ifndef GM_IO_MODEL_CONFIG_H
#define GM_IO_MODEL_CONFIG_H

#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum gm_rope_kind { GM_ROPE_PLAIN, GM_ROPE_LINEAR, GM_ROPE_LLAMA3 } gm_rope_kind;

typedef struct gm_model_config {
    char model_type[32]; /* llama, mistral, qwen2, qwen3, phi3 */
    int64_t hidden_size, ffn_size, layers, heads, kv_heads, head_dim, vocabulary, max_positions;
    int64_t sliding_window;    /* a token sees itself and the sliding_window - 1 before it; 0: all */
    int64_t window_from_layer; /* layers before it see everything */
    double norm_eps, rope_theta;
    gm_rope_kind rope;
    double rope_factor;                                                /* linear, llama3 */
    double rope_low_factor, rope_high_factor, rope_original_positions; /* llama3         */
    bool attention_bias /* q, k, v */, output_bias /* o */, mlp_bias, tied_embeddings, qk_norm;
    bool fused;                   /* the file has one matrix for q, k, v and one for gate, up */
    int64_t eos_token, bos_token; /* -1: none; the first of a list */
} gm_model_config;

/* directory/config.json */
gm_status gm_model_config_read(gm_model_config *config, const char *directory);

#endif
