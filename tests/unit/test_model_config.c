/* config.json as transformers 4.57.1 reads it. The expected lines of `accepted` were made by its configuration and attention
 * classes (the same comparison ran over 3,000 random configurations when this file was written: what differs is refused on purpose
 * here, or crashes there). */
#include "test_support.h"

#include "base/file.h"
#include "base/log.h"
#include "io/key_rules.h"
#include "io/model_config.h"

/* All of it in one line. */
static void describe(char line[512], const gm_model_config *c) {
    static const char *const ropes[] = {"plain", "linear", "llama3"};
    int n = snprintf(line, 512, "%s v%lld h%lld f%lld l%lld a%lld/%lldx%lld p%lld w%lld@%lld eps%g theta%g %s", c->model_type,
                     (long long)c->vocabulary, (long long)c->hidden_size, (long long)c->ffn_size, (long long)c->layers, (long long)c->heads,
                     (long long)c->kv_heads, (long long)c->head_dim, (long long)c->max_positions, (long long)c->sliding_window,
                     (long long)c->window_from_layer, c->norm_eps, c->rope_theta, ropes[c->rope]);
    if (c->rope != GM_ROPE_PLAIN) n += snprintf(line + n, 100, " %g", c->rope_factor);
    if (c->rope == GM_ROPE_LLAMA3)
        n += snprintf(line + n, 100, ",%g,%g,%g", c->rope_low_factor, c->rope_high_factor, c->rope_original_positions);
    snprintf(line + n, 100, "%s%s%s%s%s%s eos%lld bos%lld", c->attention_bias ? " qkv-bias" : "", c->output_bias ? " o-bias" : "",
             c->mlp_bias ? " mlp-bias" : "", c->tied_embeddings ? " tied" : "", c->qk_norm ? " qk-norm" : "", c->fused ? " fused" : "",
             (long long)c->eos_token, (long long)c->bos_token);
}

static gm_status read_text(gm_model_config *config, const char *directory, const char *json, size_t length) {
    char path[GM_PATH];
    assert_int_equal(gm_path_join(path, directory, "config.json"), GM_OK);
    FILE *out = fopen(path, "wb");
    assert_true(out && fwrite(json, 1, length, out) == length && fclose(out) == 0);
    return gm_model_config_read(config, directory);
}

#define SMALL "\"vocab_size\":100,\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":4,\"num_attention_heads\":8"

/* clang-format off */
static const struct { const char *json, *line; } accepted[] = {
    /* the defaults of each family */
    {"{\"model_type\":\"llama\"}",   "llama v32000 h4096 f11008 l32 a32/32x128 p2048 w0@0 eps1e-06 theta10000 plain eos2 bos1"},
    {"{\"model_type\":\"mistral\"}", "mistral v32000 h4096 f14336 l32 a32/8x128 p131072 w4096@0 eps1e-06 theta10000 plain eos2 bos1"},
    {"{\"model_type\":\"qwen2\"}",   "qwen2 v151936 h4096 f22016 l32 a32/32x128 p32768 w0@0 eps1e-06 theta10000 plain qkv-bias eos-1 bos-1"},
    {"{\"model_type\":\"qwen3\"}",   "qwen3 v151936 h4096 f22016 l32 a32/32x128 p32768 w0@0 eps1e-06 theta10000 plain qk-norm eos-1 bos-1"},
    /* null is not absent */
    {"{\"model_type\":\"llama\"," SMALL ",\"num_key_value_heads\":null,\"head_dim\":null,\"rope_scaling\":null,\"eos_token_id\":null,\"tie_word_embeddings\":null,\"attention_bias\":null}",
     "llama v100 h64 f96 l4 a8/8x8 p2048 w0@0 eps1e-06 theta10000 plain eos-1 bos1"},
    {"{\"model_type\":\"phi3\"}", "phi3 v32064 h3072 f8192 l32 a32/32x96 p4096 w0@0 eps1e-05 theta10000 plain fused eos32000 bos1"},
    {"{\"model_type\":\"phi3\"," SMALL ",\"sliding_window\":2047,\"original_max_position_embeddings\":4096,\"rope_scaling\":null,\"partial_rotary_factor\":1.0}",
     "phi3 v100 h64 f96 l4 a8/8x8 p4096 w2047@0 eps1e-05 theta10000 plain fused eos-1 bos1"},
    {"{\"model_type\":\"mistral\"," SMALL ",\"sliding_window\":null,\"num_key_value_heads\":null}", "mistral v100 h64 f96 l4 a8/8x8 p131072 w0@0 eps1e-06 theta10000 plain eos2 bos1"},
    {"{\"model_type\":\"mistral\"," SMALL ",\"sliding_window\":12,\"head_dim\":16}", "mistral v100 h64 f96 l4 a8/8x16 p131072 w12@0 eps1e-06 theta10000 plain eos2 bos1"},
    {"{\"model_type\":\"mistral\"," SMALL ",\"sliding_window\":12,\"layer_types\":null,\"max_window_layers\":null}", "mistral v100 h64 f96 l4 a8/8x8 p131072 w12@0 eps1e-06 theta10000 plain eos2 bos1"},
    {"{\"model_type\":\"mistral\"," SMALL ",\"sliding_window\":12,\"layer_types\":[\"full_attention\",\"full_attention\",\"sliding_attention\",\"sliding_attention\"]}",
     "mistral v100 h64 f96 l4 a8/8x8 p131072 w12@2 eps1e-06 theta10000 plain eos2 bos1"},
    /* heads that do not make up hidden_size; biases; the first of several ends */
    {"{\"model_type\":\"llama\"," SMALL ",\"num_key_value_heads\":2,\"head_dim\":32,\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true,\"eos_token_id\":[9,8],\"bos_token_id\":7}",
     "llama v100 h64 f96 l4 a8/2x32 p2048 w0@0 eps1e-06 theta10000 plain qkv-bias o-bias mlp-bias tied eos9 bos7"},
    {"{\"model_type\":\"llama\"," SMALL ",\"eos_token_id\":-1,\"bos_token_id\":100,\"rms_norm_eps\":1e-5,\"hidden_act\":\"swish\"}", "llama v100 h64 f96 l4 a8/8x8 p2048 w0@0 eps1e-05 theta10000 plain eos-1 bos-1"},
    {"{\"model_type\":\"qwen3\"," SMALL ",\"num_key_value_heads\":4,\"attention_bias\":true,\"mlp_bias\":true}", "qwen3 v100 h64 f96 l4 a8/4x128 p32768 w0@0 eps1e-06 theta10000 plain qkv-bias o-bias qk-norm eos-1 bos-1"},
    {"{\"model_type\":\"qwen2\"," SMALL ",\"num_key_value_heads\":4,\"attention_bias\":false,\"head_dim\":null}", "qwen2 v100 h64 f96 l4 a8/4x8 p32768 w0@0 eps1e-06 theta10000 plain qkv-bias eos-1 bos-1"},
    /* Qwen's windows */
    {"{\"model_type\":\"qwen2\"," SMALL ",\"num_key_value_heads\":8,\"use_sliding_window\":false,\"sliding_window\":16,\"max_window_layers\":1}", "qwen2 v100 h64 f96 l4 a8/8x8 p32768 w0@0 eps1e-06 theta10000 plain qkv-bias eos-1 bos-1"},
    {"{\"model_type\":\"qwen2\"," SMALL ",\"num_key_value_heads\":8,\"use_sliding_window\":true,\"sliding_window\":16,\"max_window_layers\":1}", "qwen2 v100 h64 f96 l4 a8/8x8 p32768 w16@1 eps1e-06 theta10000 plain qkv-bias eos-1 bos-1"},
    {"{\"model_type\":\"qwen2\"," SMALL ",\"num_key_value_heads\":8,\"use_sliding_window\":true}", "qwen2 v100 h64 f96 l4 a8/8x8 p32768 w0@0 eps1e-06 theta10000 plain qkv-bias eos-1 bos-1"},
    {"{\"model_type\":\"qwen2\"," SMALL ",\"num_key_value_heads\":8,\"sliding_window\":0,\"max_window_layers\":null}", "qwen2 v100 h64 f96 l4 a8/8x8 p32768 w0@0 eps1e-06 theta10000 plain qkv-bias eos-1 bos-1"},
    {"{\"model_type\":\"qwen3\"," SMALL ",\"num_key_value_heads\":8,\"use_sliding_window\":true,\"max_window_layers\":0,\"sliding_window\":null}", "qwen3 v100 h64 f96 l4 a8/8x128 p32768 w0@0 eps1e-06 theta10000 plain qk-norm eos-1 bos-1"},
    {"{\"model_type\":\"qwen3\"," SMALL ",\"num_key_value_heads\":8,\"use_sliding_window\":true,\"max_window_layers\":0,\"sliding_window\":5,\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\",\"sliding_attention\"]}",
     "qwen3 v100 h64 f96 l4 a8/8x128 p32768 w5@3 eps1e-06 theta10000 plain qk-norm eos-1 bos-1"},
    /* rotary positions, in the spellings of transformers 4 (old and new) and 5 */
    {"{\"model_type\":\"llama\"," SMALL ",\"rope_theta\":500000.0,\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}",
     "llama v100 h64 f96 l4 a8/8x8 p2048 w0@0 eps1e-06 theta500000 llama3 32,1,4,8192 eos2 bos1"},
    {"{\"model_type\":\"llama\"," SMALL ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}", "llama v100 h64 f96 l4 a8/8x8 p2048 w0@0 eps1e-06 theta10000 linear 4 eos2 bos1"},
    {"{\"model_type\":\"llama\"," SMALL ",\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"linear\",\"factor\":4}}", "llama v100 h64 f96 l4 a8/8x8 p2048 w0@0 eps1e-06 theta10000 linear 4 eos2 bos1"},
    {"{\"model_type\":\"llama\"," SMALL ",\"rope_scaling\":{\"rope_type\":\"default\"}}", "llama v100 h64 f96 l4 a8/8x8 p2048 w0@0 eps1e-06 theta10000 plain eos2 bos1"},
    {"{\"model_type\":\"llama\"," SMALL ",\"rope_parameters\":{\"rope_theta\":1e6,\"rope_type\":\"default\"}}", "llama v100 h64 f96 l4 a8/8x8 p2048 w0@0 eps1e-06 theta1e+06 plain eos2 bos1"},
    {"{\"model_type\":\"qwen3\"," SMALL ",\"num_key_value_heads\":8,\"rope_parameters\":{\"rope_theta\":5e6,\"rope_type\":\"linear\",\"factor\":2.5}}", "qwen3 v100 h64 f96 l4 a8/8x128 p32768 w0@0 eps1e-06 theta5e+06 linear 2.5 qk-norm eos-1 bos-1"},
    /* neutral values of what is not supported, harmless keys, unknown keys */
    {"{\"model_type\":\"llama\"," SMALL ",\"partial_rotary_factor\":1.0,\"attn_logit_softcapping\":null,\"is_causal\":true,\"quantization_config\":null,\"pruned_heads\":{},\"num_experts\":0,\"logit_scale\":1,"
     "\"rope_interleaved\":false,\"attention_dropout\":0.1,\"pretraining_tp\":2,\"torch_dtype\":\"bfloat16\",\"my_own\":[1]}", "llama v100 h64 f96 l4 a8/8x8 p2048 w0@0 eps1e-06 theta10000 plain eos2 bos1"},
};

/* The keys that models are published with, and what the same classes make of them. */
static const struct { const char *name, *json, *line; } published[] = {
    {"Llama 1 7B", "{\"architectures\":[\"LLaMAForCausalLM\"],\"bos_token_id\":0,\"eos_token_id\":1,\"hidden_act\":\"silu\",\"hidden_size\":4096,\"intermediate_size\":11008,\"initializer_range\":0.02,\"max_sequence_length\":2048,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"pad_token_id\":-1,\"rms_norm_eps\":1e-06,\"torch_dtype\":\"float16\",\"transformers_version\":\"4.27.0.dev0\",\"use_cache\":true,\"vocab_size\":32000}",
     "llama v32000 h4096 f11008 l32 a32/32x128 p2048 w0@0 eps1e-06 theta10000 plain eos1 bos0"},
    {"Llama 2 7B", "{\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_act\":\"silu\",\"hidden_size\":4096,\"intermediate_size\":11008,\"max_position_embeddings\":4096,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":32,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"tie_word_embeddings\":false,\"vocab_size\":32000}",
     "llama v32000 h4096 f11008 l32 a32/32x128 p4096 w0@0 eps1e-05 theta10000 plain eos2 bos1"},
    {"Llama 2 70B", "{\"model_type\":\"llama\",\"hidden_size\":8192,\"intermediate_size\":28672,\"num_attention_heads\":64,\"num_hidden_layers\":80,\"num_key_value_heads\":8,\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"vocab_size\":32000,\"bos_token_id\":1,\"eos_token_id\":2,\"tie_word_embeddings\":false,\"hidden_act\":\"silu\"}",
     "llama v32000 h8192 f28672 l80 a64/8x128 p4096 w0@0 eps1e-05 theta10000 plain eos2 bos1"},
    {"Llama 3 8B", "{\"attention_bias\":false,\"bos_token_id\":128000,\"eos_token_id\":128001,\"hidden_act\":\"silu\",\"hidden_size\":4096,\"intermediate_size\":14336,\"max_position_embeddings\":8192,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"rope_theta\":500000.0,\"tie_word_embeddings\":false,\"vocab_size\":128256}",
     "llama v128256 h4096 f14336 l32 a32/8x128 p8192 w0@0 eps1e-05 theta500000 plain eos128001 bos128000"},
    {"Llama 3.1 8B Instruct (3.3 alike)", "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":128000,\"eos_token_id\":[128001,128008,128009],\"hidden_act\":\"silu\",\"hidden_size\":4096,\"initializer_range\":0.02,\"intermediate_size\":14336,\"max_position_embeddings\":131072,\"mlp_bias\":false,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":8,\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,\"rope_scaling\":{\"factor\":8.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},\"rope_theta\":500000.0,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.42.3\",\"use_cache\":true,\"vocab_size\":128256}",
     "llama v128256 h4096 f14336 l32 a32/8x128 p131072 w0@0 eps1e-05 theta500000 llama3 8,1,4,8192 eos128001 bos128000"},
    {"Llama 3.2 1B", "{\"attention_bias\":false,\"bos_token_id\":128000,\"eos_token_id\":128001,\"head_dim\":64,\"hidden_act\":\"silu\",\"hidden_size\":2048,\"intermediate_size\":8192,\"max_position_embeddings\":131072,\"mlp_bias\":false,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":16,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-05,\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},\"rope_theta\":500000.0,\"tie_word_embeddings\":true,\"vocab_size\":128256}",
     "llama v128256 h2048 f8192 l16 a32/8x64 p131072 w0@0 eps1e-05 theta500000 llama3 32,1,4,8192 tied eos128001 bos128000"},
    {"TinyLlama 1.1B", "{\"attention_bias\":false,\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_act\":\"silu\",\"hidden_size\":2048,\"intermediate_size\":5632,\"max_position_embeddings\":2048,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":22,\"num_key_value_heads\":4,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"rope_theta\":10000.0,\"tie_word_embeddings\":false,\"vocab_size\":32000}",
     "llama v32000 h2048 f5632 l22 a32/4x64 p2048 w0@0 eps1e-05 theta10000 plain eos2 bos1"},
    {"SmolLM2 135M", "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":0,\"eos_token_id\":0,\"hidden_act\":\"silu\",\"hidden_size\":576,\"initializer_range\":0.041666666666666664,\"intermediate_size\":1536,\"is_llama_config\":true,\"max_position_embeddings\":8192,\"mlp_bias\":false,\"model_type\":\"llama\",\"num_attention_heads\":9,\"num_hidden_layers\":30,\"num_key_value_heads\":3,\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,\"rope_interleaved\":false,\"rope_scaling\":null,\"rope_theta\":100000,\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.40.1\",\"use_cache\":true,\"vocab_size\":49152}",
     "llama v49152 h576 f1536 l30 a9/3x64 p8192 w0@0 eps1e-05 theta100000 plain tied eos0 bos0"},
    {"Yi 1.5 6B", "{\"attention_bias\":false,\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_act\":\"silu\",\"hidden_size\":4096,\"intermediate_size\":11008,\"max_position_embeddings\":4096,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":4,\"rms_norm_eps\":1e-06,\"rope_scaling\":null,\"rope_theta\":5000000.0,\"tie_word_embeddings\":false,\"vocab_size\":64000}",
     "llama v64000 h4096 f11008 l32 a32/4x128 p4096 w0@0 eps1e-06 theta5e+06 plain eos2 bos1"},
    {"Code Llama 7B", "{\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_act\":\"silu\",\"hidden_size\":4096,\"intermediate_size\":11008,\"max_position_embeddings\":16384,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":32,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"rope_theta\":1000000,\"vocab_size\":32016}",
     "llama v32016 h4096 f11008 l32 a32/32x128 p16384 w0@0 eps1e-05 theta1e+06 plain eos2 bos1"},
    {"Vicuna 1.5 7B 16k", "{\"model_type\":\"llama\",\"hidden_size\":4096,\"intermediate_size\":11008,\"num_attention_heads\":32,\"num_hidden_layers\":32,\"max_sequence_length\":16384,\"max_position_embeddings\":4096,\"rope_scaling\":{\"factor\":4.0,\"type\":\"linear\"},\"rms_norm_eps\":1e-05,\"vocab_size\":32000,\"hidden_act\":\"silu\"}",
     "llama v32000 h4096 f11008 l32 a32/32x128 p4096 w0@0 eps1e-05 theta10000 linear 4 eos2 bos1"},
    {"Mistral 7B 0.1", "{\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_act\":\"silu\",\"hidden_size\":4096,\"intermediate_size\":14336,\"max_position_embeddings\":32768,\"model_type\":\"mistral\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"sliding_window\":4096,\"tie_word_embeddings\":false,\"vocab_size\":32000}",
     "mistral v32000 h4096 f14336 l32 a32/8x128 p32768 w4096@0 eps1e-05 theta10000 plain eos2 bos1"},
    {"Mistral 7B 0.3", "{\"architectures\":[\"MistralForCausalLM\"],\"attention_dropout\":0.0,\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_act\":\"silu\",\"hidden_size\":4096,\"initializer_range\":0.02,\"intermediate_size\":14336,\"max_position_embeddings\":32768,\"model_type\":\"mistral\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-05,\"rope_theta\":1000000.0,\"sliding_window\":null,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.42.0.dev0\",\"use_cache\":true,\"vocab_size\":32768}",
     "mistral v32768 h4096 f14336 l32 a32/8x128 p32768 w0@0 eps1e-05 theta1e+06 plain eos2 bos1"},
    {"Mistral Nemo 12B", "{\"bos_token_id\":1,\"eos_token_id\":2,\"head_dim\":128,\"hidden_act\":\"silu\",\"hidden_size\":5120,\"intermediate_size\":14336,\"max_position_embeddings\":131072,\"model_type\":\"mistral\",\"num_attention_heads\":32,\"num_hidden_layers\":40,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-05,\"rope_theta\":1000000.0,\"sliding_window\":null,\"tie_word_embeddings\":false,\"vocab_size\":131072}",
     "mistral v131072 h5120 f14336 l40 a32/8x128 p131072 w0@0 eps1e-05 theta1e+06 plain eos2 bos1"},
    {"Qwen2 7B", "{\"bos_token_id\":151643,\"eos_token_id\":151643,\"hidden_act\":\"silu\",\"hidden_size\":3584,\"intermediate_size\":18944,\"max_position_embeddings\":131072,\"max_window_layers\":28,\"model_type\":\"qwen2\",\"num_attention_heads\":28,\"num_hidden_layers\":28,\"num_key_value_heads\":4,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"sliding_window\":131072,\"tie_word_embeddings\":false,\"use_sliding_window\":false,\"vocab_size\":152064}",
     "qwen2 v152064 h3584 f18944 l28 a28/4x128 p131072 w0@0 eps1e-06 theta1e+06 plain qkv-bias eos151643 bos151643"},
    {"Qwen2.5 0.5B", "{\"bos_token_id\":151643,\"eos_token_id\":151643,\"hidden_act\":\"silu\",\"hidden_size\":896,\"intermediate_size\":4864,\"max_position_embeddings\":32768,\"max_window_layers\":24,\"model_type\":\"qwen2\",\"num_attention_heads\":14,\"num_hidden_layers\":24,\"num_key_value_heads\":2,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"sliding_window\":32768,\"tie_word_embeddings\":true,\"use_mrope\":false,\"use_sliding_window\":false,\"vocab_size\":151936}",
     "qwen2 v151936 h896 f4864 l24 a14/2x64 p32768 w0@0 eps1e-06 theta1e+06 plain qkv-bias tied eos151643 bos151643"},
    {"Qwen3 0.6B", "{\"architectures\":[\"Qwen3ForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":151643,\"eos_token_id\":151645,\"head_dim\":128,\"hidden_act\":\"silu\",\"hidden_size\":1024,\"initializer_range\":0.02,\"intermediate_size\":3072,\"max_position_embeddings\":40960,\"max_window_layers\":28,\"model_type\":\"qwen3\",\"num_attention_heads\":16,\"num_hidden_layers\":28,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-06,\"rope_scaling\":null,\"rope_theta\":1000000,\"sliding_window\":null,\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.51.0\",\"use_cache\":true,\"use_sliding_window\":false,\"vocab_size\":151936}",
     "qwen3 v151936 h1024 f3072 l28 a16/8x128 p40960 w0@0 eps1e-06 theta1e+06 plain tied qk-norm eos151645 bos151643"},
    {"Phi-3 mini 4k", "{\"architectures\":[\"Phi3ForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":1,\"embd_pdrop\":0.0,\"eos_token_id\":32000,\"hidden_act\":\"silu\",\"hidden_size\":3072,\"initializer_range\":0.02,\"intermediate_size\":8192,\"max_position_embeddings\":4096,\"model_type\":\"phi3\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":32,\"original_max_position_embeddings\":4096,\"pad_token_id\":32000,\"resid_pdrop\":0.0,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"rope_theta\":10000.0,\"sliding_window\":2047,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.40.2\",\"use_cache\":true,\"vocab_size\":32064}",
     "phi3 v32064 h3072 f8192 l32 a32/32x96 p4096 w2047@0 eps1e-05 theta10000 plain fused eos32000 bos1"},
    {"Phi-4 14B", "{\"attention_bias\":false,\"bos_token_id\":100257,\"embd_pdrop\":0.0,\"eos_token_id\":100265,\"hidden_act\":\"silu\",\"hidden_size\":5120,\"intermediate_size\":17920,\"max_position_embeddings\":16384,\"model_type\":\"phi3\",\"num_attention_heads\":40,\"num_hidden_layers\":40,\"num_key_value_heads\":10,\"original_max_position_embeddings\":16384,\"resid_pdrop\":0.0,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"rope_theta\":250000,\"sliding_window\":null,\"tie_word_embeddings\":false,\"vocab_size\":100352}",
     "phi3 v100352 h5120 f17920 l40 a40/10x128 p16384 w0@0 eps1e-05 theta250000 plain fused eos100265 bos100257"},
    {"DeepSeek R1 distilled to Qwen 1.5B", "{\"architectures\":[\"Qwen2ForCausalLM\"],\"attention_dropout\":0.0,\"bos_token_id\":151643,\"eos_token_id\":151643,\"hidden_act\":\"silu\",\"hidden_size\":1536,\"initializer_range\":0.02,\"intermediate_size\":8960,\"max_position_embeddings\":131072,\"max_window_layers\":21,\"model_type\":\"qwen2\",\"num_attention_heads\":12,\"num_hidden_layers\":28,\"num_key_value_heads\":2,\"rms_norm_eps\":1e-06,\"rope_theta\":10000,\"sliding_window\":4096,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.44.0\",\"use_cache\":true,\"use_mrope\":false,\"use_sliding_window\":false,\"vocab_size\":151936}",
     "qwen2 v151936 h1536 f8960 l28 a12/2x128 p131072 w0@0 eps1e-06 theta10000 plain qkv-bias eos151643 bos151643"},
};

static const struct { const char *json, *says; } refused[] = {
    {"{}", "model_type: is missing"},
    {"[]", "not a JSON object"},
    {"", "config.json"},
    {"{\"model_type\":\"llama\"", "ends inside"},
    {"{\"model_type\":\"llama\",\"hidden_size\":1,\"hidden_size\":2}", "hidden_size"},
    {"{\"model_type\":\"gemma2\"}", "model_type: \"gemma2\" is not supported"},
    {"{\"model_type\":\"Llama\"}", "model_type: \"Llama\" is not supported"},
    {"{\"model_type\":[\"llama\"]}", "model_type"},
    /* sizes */
    {"{\"model_type\":\"llama\",\"hidden_size\":0}", "hidden_size: 0 is not"},
    {"{\"model_type\":\"llama\",\"hidden_size\":-64}", "hidden_size: -64 is not"},
    {"{\"model_type\":\"llama\",\"hidden_size\":1e300}", "hidden_size: 1e+300 is not"},
    {"{\"model_type\":\"llama\",\"hidden_size\":2000000}", "hidden_size: 2e+06 is not"},
    {"{\"model_type\":\"llama\",\"hidden_size\":64.5}", "hidden_size: 64.5 is not"},
    {"{\"model_type\":\"llama\",\"hidden_size\":\"64\"}", "hidden_size: \"64\" is not"},
    {"{\"model_type\":\"llama\",\"hidden_size\":null}", "hidden_size: null is not"},
    {"{\"model_type\":\"llama\",\"vocab_size\":0}", "vocab_size"},
    {"{\"model_type\":\"llama\",\"intermediate_size\":-1}", "intermediate_size"},
    {"{\"model_type\":\"llama\",\"num_hidden_layers\":1000000}", "num_hidden_layers"},
    {"{\"model_type\":\"llama\",\"num_attention_heads\":0}", "num_attention_heads"},
    {"{\"model_type\":\"llama\",\"max_position_embeddings\":0}", "max_position_embeddings"},
    {"{\"model_type\":\"llama\",\"num_key_value_heads\":0}", "num_key_value_heads: 0 is not"},
    {"{\"model_type\":\"llama\",\"num_key_value_heads\":5}", "num_key_value_heads: 5 does not divide"},
    {"{\"model_type\":\"mistral\",\"num_attention_heads\":4}", "num_key_value_heads: 8 does not divide"},
    {"{\"model_type\":\"llama\",\"head_dim\":0}", "head_dim"},
    {"{\"model_type\":\"llama\",\"head_dim\":5}", "head_dim: 5 is odd"},
    {"{\"model_type\":\"llama\",\"hidden_size\":8,\"num_attention_heads\":16}", "head_dim: 0 is odd or zero"},
    {"{\"model_type\":\"llama\",\"head_dim\":65536}", "num_attention_heads: 32 heads of 65536"},
    {"{\"model_type\":\"qwen3\",\"head_dim\":null}", "head_dim: null"},
    {"{\"model_type\":\"llama\",\"rms_norm_eps\":-1}", "rms_norm_eps"},
    {"{\"model_type\":\"llama\",\"rms_norm_eps\":null}", "rms_norm_eps"},
    {"{\"model_type\":\"llama\",\"tie_word_embeddings\":1}", "tie_word_embeddings: 1 is not true or false"},
    {"{\"model_type\":\"llama\",\"eos_token_id\":\"x\"}", "eos_token_id"},
    {"{\"model_type\":\"llama\",\"bos_token_id\":[1.5]}", "bos_token_id"},
    /* windows */
    {"{\"model_type\":\"phi3\",\"partial_rotary_factor\":0.75}", "partial_rotary_factor: 0.75 is not supported"},
    {"{\"model_type\":\"phi3\",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1],\"long_factor\":[1]}}", "rope_type: \"longrope\" is not supported"},
    {"{\"model_type\":\"gemma2\"}", "model_type: \"gemma2\" is not supported"},
    {"{\"model_type\":\"mistral\",\"sliding_window\":0}", "sliding_window: 0 is not"},
    {"{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"max_window_layers\":-1}", "max_window_layers"},
    {"{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"max_window_layers\":null}", "max_window_layers"},
    {"{\"model_type\":\"qwen3\",\"use_sliding_window\":true,\"sliding_window\":0}", "sliding_window: 0 is not"},
    {"{\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\"]}", "layer_types: is not an array of num_hidden_layers (2)"},
    {"{\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\",\"chunked_attention\"]}", "\"chunked_attention\" at layer 1"},
    {"{\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", "no sliding_window is in use"},
    {"{\"model_type\":\"llama\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}", "no sliding_window is in use"},
    {"{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"num_hidden_layers\":2,\"layer_types\":[\"sliding_attention\",\"full_attention\"]}", "layer 1 after a sliding layer"},
    /* rotary positions */
    {"{\"model_type\":\"llama\",\"rope_theta\":0}", "rope_theta"},
    {"{\"model_type\":\"llama\",\"rope_theta\":null}", "rope_theta"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":\"linear\"}", "rope_scaling: is not an object"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{}}", "rope_scaling: has no rope_type"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"factor\":2.0}}", "rope_scaling: has no rope_type"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0}}", "rope_type: \"yarn\" is not supported"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4.0}}", "rope_type: \"dynamic\" is not supported"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":3}}", "rope_type: 3 is not supported"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"default\",\"factor\":4.0}}", "rope_type: differs"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\"}}", "factor: is missing"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":0}}", "factor: 0 is not"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0}}", "original_max_position_embeddings: is missing"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":4.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}}", "high_freq_factor: 4 is not above"},
    {"{\"model_type\":\"llama\",\"rope_theta\":1e4,\"rope_parameters\":{\"rope_theta\":1e6}}", "rope_theta: 10000 differs"},
    {"{\"model_type\":\"llama\",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e6}}}", "full_attention: is not supported"},
    {"{\"model_type\":\"llama\",\"rope_parameters\":{\"partial_rotary_factor\":0.5}}", "partial_rotary_factor"},
    /* what would change the result */
    {"{\"model_type\":\"llama\",\"hidden_act\":\"gelu\"}", "hidden_act: \"gelu\" is not supported"},
    {"{\"model_type\":\"llama\",\"hidden_act\":null}", "hidden_act"},
    {"{\"model_type\":\"llama\",\"partial_rotary_factor\":0.5}", "partial_rotary_factor: 0.5"},
    {"{\"model_type\":\"llama\",\"attn_logit_softcapping\":50.0}", "attn_logit_softcapping: 50"},
    {"{\"model_type\":\"llama\",\"final_logit_softcapping\":30.0}", "final_logit_softcapping"},
    {"{\"model_type\":\"llama\",\"query_pre_attn_scalar\":256}", "query_pre_attn_scalar"},
    {"{\"model_type\":\"llama\",\"attention_multiplier\":0.0078125}", "attention_multiplier"},
    {"{\"model_type\":\"llama\",\"embedding_multiplier\":12}", "embedding_multiplier"},
    {"{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}}", "quantization_config: an object is not supported"},
    {"{\"model_type\":\"llama\",\"num_local_experts\":8}", "num_local_experts"},
    {"{\"model_type\":\"llama\",\"rope_interleaved\":true}", "rope_interleaved"},
    {"{\"model_type\":\"llama\",\"is_causal\":false}", "is_causal: false"},
    {"{\"model_type\":\"llama\",\"is_encoder_decoder\":true}", "is_encoder_decoder"},
};
/* clang-format on */

static void test_accepted(void **state) {
    (void)state;
    char directory[4096], line[512];
    gm_test_directory(directory);
    gm_log_set_level(GM_LOG_ERROR); /* some of them warn */
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        gm_model_config config;
        if (read_text(&config, directory, accepted[i].json, strlen(accepted[i].json)) != GM_OK)
            fail_msg("%s: refused: %s", accepted[i].json, gm_error_text());
        describe(line, &config);
        assert_string_equal(line, accepted[i].line);
    }
    gm_log_set_level(GM_LOG_INFO);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

/* As `accepted`, and without a word about any key. */
static void test_published(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH], line[512];
    gm_buffer said = {0};
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "said"), GM_OK);
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        gm_model_config config;
        int standard_error = dup(STDERR_FILENO);
        FILE *file = fopen(path, "wb");
        assert_true(file && dup2(fileno(file), STDERR_FILENO) >= 0);
        gm_status status = read_text(&config, directory, published[i].json, strlen(published[i].json));
        assert_true(dup2(standard_error, STDERR_FILENO) >= 0 && close(standard_error) == 0 && fclose(file) == 0);
        if (status != GM_OK) fail_msg("%s: refused: %s", published[i].name, gm_error_text());
        describe(line, &config);
        assert_string_equal(line, published[i].line);
        assert_int_equal(gm_file_read(&said, path, 1 << 16, GM_USAGE), GM_OK);
        if (said.length) fail_msg("%s: %s", published[i].name, gm_buffer_string(&said));
    }
    gm_buffer_free(&said);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

/* Each key by its rule. */
static void test_keys(void **state) {
    (void)state;
    char directory[4096], json[200];
    gm_model_config config;
    gm_test_directory(directory);
    gm_log_set_level(GM_LOG_ERROR);
    for (const gm_file_key *key = gm_model_config_keys; key->name; key++) {
        if (key->rule == GM_KEY_READ) continue;
        gm_status expected = key->rule == GM_KEY_REFUSE ? GM_BAD_FILE : GM_OK;
        int n = snprintf(json, sizeof json, "{\"model_type\":\"llama\",\"%s\":7.5}", key->name);
        gm_status status = read_text(&config, directory, json, (size_t)n);
        if (status != expected) fail_msg("%s: status %d", json, status);
        if (status != GM_OK && !strstr(gm_error_text(), key->name)) fail_msg("%s: %s", json, gm_error_text());
        n = snprintf(json, sizeof json, "{\"model_type\":\"llama\",\"%s\":null}", key->name);
        if (read_text(&config, directory, json, (size_t)n) != GM_OK) fail_msg("%s: %s", json, gm_error_text());
    }
    gm_log_set_level(GM_LOG_INFO);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_other_families(void **state) {
    (void)state;
    static const char *const families[] = {
        "gemma",       "gemma2",    "gemma3",   "gemma3_text", "mixtral", "mistral3", "ministral",  "phi",     "phimoe",   "qwen2_moe",
        "qwen3_moe",   "qwen2_vl",  "llama4",   "llama4_text", "smollm3", "olmo",     "olmo2",      "olmoe",   "stablelm", "falcon",
        "gpt2",        "gpt_neox",  "gptj",     "opt",         "bloom",   "mpt",      "starcoder2", "granite", "cohere",   "deepseek_v2",
        "deepseek_v3", "internlm2", "baichuan", "chatglm",     "mamba",   "gpt_oss",  "glm4",       "exaone",  "nemotron"};
    char directory[4096], json[200], says[100];
    gm_model_config config;
    gm_test_directory(directory);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        int n = snprintf(json, sizeof json, "{\"model_type\":\"%s\"}", families[i]);
        snprintf(says, sizeof says, "model_type: \"%s\" is not supported; llama, mistral, qwen2, qwen3 and phi3 are", families[i]);
        gm_status status = read_text(&config, directory, json, (size_t)n);
        if (status != GM_BAD_FILE || !strstr(gm_error_text(), says)) fail_msg("%s: status %d: %s", json, status, gm_error_text());
    }
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_refused(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    gm_model_config config;
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "config.json"), GM_OK);
    assert_int_equal(gm_model_config_read(&config, directory), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), path));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        gm_status status = read_text(&config, directory, refused[i].json, strlen(refused[i].json));
        if (status != GM_BAD_FILE) fail_msg("%s: status %d", refused[i].json, status);
        if (!strstr(gm_error_text(), refused[i].says) || !strstr(gm_error_text(), path))
            fail_msg("%s: \"%s\" is not in: %s", refused[i].json, refused[i].says, gm_error_text());
    }
    assert_int_equal(gm_directory_remove(directory), GM_OK);
    assert_int_equal(gm_model_config_read(&config, directory), GM_USAGE);
}

/* What `describe` prints of a directory, for a comparison with transformers from outside: test_model_config DIRECTORY */
static int describe_directory(const char *directory) {
    gm_model_config config;
    char line[512];
    gm_status status = gm_model_config_read(&config, directory);
    if (status == GM_OK) describe(line, &config);
    puts(status == GM_OK ? line : gm_error_text());
    return status;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_accepted), cmocka_unit_test(test_published), cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_other_families), cmocka_unit_test(test_refused)};
    return argc > 1 ? describe_directory(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
