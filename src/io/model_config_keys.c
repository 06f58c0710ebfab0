#include "io/model_config_keys.h"

#include <string.h>

/* null, "", [] and {} are neutral everywhere, and so is false, unless `neutral` is "true"; otherwise `neutral` adds a value:
 * a digit for that number, or a string. */
static const struct key {
    const char *name;
    gm_key_rule rule;
    const char *neutral;
} keys[] = {
    {"model_type", GM_KEY_READ, NULL},
    {"hidden_size", GM_KEY_READ, NULL},
    {"intermediate_size", GM_KEY_READ, NULL},
    {"num_hidden_layers", GM_KEY_READ, NULL},
    {"num_attention_heads", GM_KEY_READ, NULL},
    {"num_key_value_heads", GM_KEY_READ, NULL},
    {"head_dim", GM_KEY_READ, NULL},
    {"vocab_size", GM_KEY_READ, NULL},
    {"max_position_embeddings", GM_KEY_READ, NULL},
    {"sliding_window", GM_KEY_READ, NULL},
    {"use_sliding_window", GM_KEY_READ, NULL},
    {"max_window_layers", GM_KEY_READ, NULL},
    {"layer_types", GM_KEY_READ, NULL},
    {"rms_norm_eps", GM_KEY_READ, NULL},
    {"rope_theta", GM_KEY_READ, NULL},
    {"rope_scaling", GM_KEY_READ, NULL},
    {"rope_parameters", GM_KEY_READ, NULL},
    {"attention_bias", GM_KEY_READ, NULL},
    {"mlp_bias", GM_KEY_READ, NULL},
    {"tie_word_embeddings", GM_KEY_READ, NULL},
    {"hidden_act", GM_KEY_READ, NULL},
    {"bos_token_id", GM_KEY_READ, NULL},
    {"eos_token_id", GM_KEY_READ, NULL},

    /* other positions */
    {"partial_rotary_factor", GM_KEY_REFUSE, "1"},
    {"rotary_pct", GM_KEY_REFUSE, "1"},
    {"rope_interleaved", GM_KEY_REFUSE, NULL},
    {"rope_local_base_freq", GM_KEY_REFUSE, NULL},
    {"no_rope_layers", GM_KEY_REFUSE, NULL},
    {"no_rope_layer_interval", GM_KEY_REFUSE, NULL},
    {"alibi", GM_KEY_REFUSE, NULL},
    {"use_alibi", GM_KEY_REFUSE, NULL},
    /* other attention */
    {"attention_chunk_size", GM_KEY_REFUSE, NULL},
    {"attention_multiplier", GM_KEY_REFUSE, NULL},
    {"attention_scale", GM_KEY_REFUSE, NULL},
    {"attn_scale", GM_KEY_REFUSE, NULL},
    {"softmax_scale", GM_KEY_REFUSE, NULL},
    {"query_pre_attn_scalar", GM_KEY_REFUSE, NULL},
    {"scale_attn_by_inverse_layer_idx", GM_KEY_REFUSE, NULL},
    {"attn_logit_softcapping", GM_KEY_REFUSE, NULL},
    {"clip_qkv", GM_KEY_REFUSE, NULL},
    {"use_qk_norm", GM_KEY_REFUSE, NULL},
    {"qk_layernorm", GM_KEY_REFUSE, NULL},
    {"is_causal", GM_KEY_REFUSE, "true"},
    {"use_bidirectional_attention", GM_KEY_REFUSE, NULL},
    {"add_cross_attention", GM_KEY_REFUSE, NULL},
    {"cross_attention_hidden_size", GM_KEY_REFUSE, NULL},
    {"is_encoder_decoder", GM_KEY_REFUSE, NULL},
    {"tie_encoder_decoder", GM_KEY_REFUSE, NULL},
    {"pruned_heads", GM_KEY_REFUSE, NULL},
    /* scales on the way */
    {"final_logit_softcapping", GM_KEY_REFUSE, NULL},
    {"logit_softcapping", GM_KEY_REFUSE, NULL},
    {"logit_scale", GM_KEY_REFUSE, "1"},
    {"logits_scaling", GM_KEY_REFUSE, "1"},
    {"embedding_multiplier", GM_KEY_REFUSE, "1"},
    {"residual_multiplier", GM_KEY_REFUSE, "1"},
    {"scale_emb", GM_KEY_REFUSE, "1"},
    {"scale_depth", GM_KEY_REFUSE, NULL},
    {"dim_model_base", GM_KEY_REFUSE, NULL},
    /* other feed-forward */
    {"hidden_activation", GM_KEY_REFUSE, "silu"},
    {"num_experts", GM_KEY_REFUSE, "0"},
    {"num_local_experts", GM_KEY_REFUSE, "0"},
    {"n_routed_experts", GM_KEY_REFUSE, "0"},
    /* other weights */
    {"quantization_config", GM_KEY_REFUSE, NULL},
    {"quantization", GM_KEY_REFUSE, NULL},
    {"compression_config", GM_KEY_REFUSE, NULL},

    /* The frozen base runs without dropout. */
    {"attention_dropout", GM_KEY_WARN, "0"},
    {"hidden_dropout", GM_KEY_WARN, "0"},
    {"resid_pdrop", GM_KEY_WARN, "0"},
    {"embd_pdrop", GM_KEY_WARN, "0"},
    {"auto_map", GM_KEY_WARN, NULL}, /* code beside the model, which transformers runs only when told to */

    {"architectures", GM_KEY_HARMLESS, NULL},
    {"dtype", GM_KEY_HARMLESS, NULL},
    {"torch_dtype", GM_KEY_HARMLESS, NULL},
    {"transformers_version", GM_KEY_HARMLESS, NULL},
    {"transformers.js_config", GM_KEY_HARMLESS, NULL},
    {"_name_or_path", GM_KEY_HARMLESS, NULL},
    {"name_or_path", GM_KEY_HARMLESS, NULL},
    {"_commit_hash", GM_KEY_HARMLESS, NULL},
    {"use_cache", GM_KEY_HARMLESS, NULL},
    {"initializer_range", GM_KEY_HARMLESS, NULL},
    {"pretraining_tp", GM_KEY_HARMLESS, NULL}, /* the same product in slices */
    {"pad_token_id", GM_KEY_HARMLESS, NULL},
    {"unk_token_id", GM_KEY_HARMLESS, NULL},
    {"sep_token_id", GM_KEY_HARMLESS, NULL},
    {"decoder_start_token_id", GM_KEY_HARMLESS, NULL},
    {"tokenizer_class", GM_KEY_HARMLESS, NULL},
    {"max_sequence_length", GM_KEY_HARMLESS, NULL},
    {"original_max_position_embeddings", GM_KEY_HARMLESS, NULL}, /* of phi3's rope_scaling, where there is one */
    {"model_max_length", GM_KEY_HARMLESS, NULL},
    {"is_decoder", GM_KEY_HARMLESS, NULL},
    {"is_llama_config", GM_KEY_HARMLESS, NULL},
    {"chunk_size_feed_forward", GM_KEY_HARMLESS, NULL},
    {"gradient_checkpointing", GM_KEY_HARMLESS, NULL},
    {"torchscript", GM_KEY_HARMLESS, NULL},
    {"return_dict", GM_KEY_HARMLESS, NULL},
    {"return_dict_in_generate", GM_KEY_HARMLESS, NULL},
    {"output_attentions", GM_KEY_HARMLESS, NULL},
    {"output_hidden_states", GM_KEY_HARMLESS, NULL},
    {"output_scores", GM_KEY_HARMLESS, NULL},
    {"use_bfloat16", GM_KEY_HARMLESS, NULL},
    {"tf_legacy_loss", GM_KEY_HARMLESS, NULL},
    {"attn_implementation", GM_KEY_HARMLESS, NULL},
    {"_attn_implementation", GM_KEY_HARMLESS, NULL},
    {"_attn_implementation_autoset", GM_KEY_HARMLESS, NULL},
    {"unsloth_version", GM_KEY_HARMLESS, NULL},
    {"unsloth_fixed", GM_KEY_HARMLESS, NULL},
    {"finetuning_task", GM_KEY_HARMLESS, NULL},
    {"problem_type", GM_KEY_HARMLESS, NULL},
    {"task_specific_params", GM_KEY_HARMLESS, NULL},
    {"id2label", GM_KEY_HARMLESS, NULL},
    {"label2id", GM_KEY_HARMLESS, NULL},
    {"num_labels", GM_KEY_HARMLESS, NULL},
    {"prefix", GM_KEY_HARMLESS, NULL},
    /* how generate() samples */
    {"max_length", GM_KEY_HARMLESS, NULL},
    {"min_length", GM_KEY_HARMLESS, NULL},
    {"do_sample", GM_KEY_HARMLESS, NULL},
    {"early_stopping", GM_KEY_HARMLESS, NULL},
    {"num_beams", GM_KEY_HARMLESS, NULL},
    {"num_beam_groups", GM_KEY_HARMLESS, NULL},
    {"num_return_sequences", GM_KEY_HARMLESS, NULL},
    {"diversity_penalty", GM_KEY_HARMLESS, NULL},
    {"temperature", GM_KEY_HARMLESS, NULL},
    {"top_k", GM_KEY_HARMLESS, NULL},
    {"top_p", GM_KEY_HARMLESS, NULL},
    {"typical_p", GM_KEY_HARMLESS, NULL},
    {"repetition_penalty", GM_KEY_HARMLESS, NULL},
    {"encoder_no_repeat_ngram_size", GM_KEY_HARMLESS, NULL},
    {"length_penalty", GM_KEY_HARMLESS, NULL},
    {"no_repeat_ngram_size", GM_KEY_HARMLESS, NULL},
    {"bad_words_ids", GM_KEY_HARMLESS, NULL},
    {"begin_suppress_tokens", GM_KEY_HARMLESS, NULL},
    {"suppress_tokens", GM_KEY_HARMLESS, NULL},
    {"forced_bos_token_id", GM_KEY_HARMLESS, NULL},
    {"forced_eos_token_id", GM_KEY_HARMLESS, NULL},
    {"remove_invalid_values", GM_KEY_HARMLESS, NULL},
    {"exponential_decay_length_penalty", GM_KEY_HARMLESS, NULL},
};

static bool is_neutral(const cJSON *value, const char *neutral) {
    bool wants_true = neutral && strcmp(neutral, "true") == 0;
    if (cJSON_IsNull(value)) return true;
    if (cJSON_IsBool(value)) return cJSON_IsTrue(value) == wants_true;
    if (cJSON_IsArray(value) || cJSON_IsObject(value)) return value->child == NULL;
    if (cJSON_IsString(value)) return value->valuestring[0] == '\0' || (neutral && strcmp(value->valuestring, neutral) == 0);
    return neutral && neutral[1] == '\0' && value->valuedouble == neutral[0] - '0';
}

gm_key_rule gm_model_config_rule(const cJSON *member) {
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].name, member->string) != 0) continue;
        bool conditional = keys[i].rule == GM_KEY_WARN || keys[i].rule == GM_KEY_REFUSE;
        return conditional && is_neutral(member, keys[i].neutral) ? GM_KEY_HARMLESS : keys[i].rule;
    }
    return GM_KEY_UNKNOWN;
}
