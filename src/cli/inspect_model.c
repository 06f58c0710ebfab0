/* A base model's directory for gmoe-inspect: config.json, weights and tokenizer are looked at apart from one another, so that each
 * says what is wrong with it; then the verdict. */
#include "base/file.h"
#include "cli/inspect.h"
#include "data/chat.h"
#include "io/tokenizer/tokenizer.h"
#include "io/weights.h"

#include <stdio.h>
#include <string.h>

enum { TABLE_ROWS = 16 }; /* of tensors: 12 kinds in llama, 15 in qwen2; with them all is on one screen */

static bool has(const char *directory, const char *name) {
    char path[GM_PATH];
    return gm_path_join(path, directory, name) == GM_OK && gm_file_exists(path);
}

/* What a bad file's message says becomes a finding. */
static gm_status finding(gm_findings *findings, gm_status status) {
    if (status != GM_BAD_FILE) return status;
    gm_inspect_problem(findings, "%s", gm_error_text());
    return GM_OK;
}

static void print_attention(const gm_model_config *c) {
    printf("attention: ");
    if (c->kv_heads == c->heads)
        printf("multi-head, %lld heads of %lld", (long long)c->heads, (long long)c->head_dim);
    else
        printf("%s, %lld heads of %lld on %lld for keys", c->kv_heads == 1 ? "multi-query" : "grouped-query", (long long)c->heads,
               (long long)c->head_dim, (long long)c->kv_heads);
    if (c->sliding_window)
        printf(", sliding window of %lld from layer %lld", (long long)c->sliding_window, (long long)c->window_from_layer);
    if (c->attention_bias) printf(", biases on q k v%s", c->output_bias ? " o" : "");
    if (c->qk_norm) printf(", norms on q k");
    printf("\nrope: theta %g", c->rope_theta);
    if (c->rope == GM_ROPE_LINEAR) printf(", scaled linearly by %g", c->rope_factor);
    if (c->rope == GM_ROPE_LLAMA3)
        printf(", scaled as llama3 by %g (%g to %g, from %g positions)", c->rope_factor, c->rope_low_factor, c->rope_high_factor,
               c->rope_original_positions);
    printf("; %lld positions\n", (long long)c->max_positions);
}

static void print_config(const gm_model_config *c) {
    char text[32], as_f32[32], as_bf16[32];
    uint64_t parameters = gm_weights_elements(c);
    printf("kind: %s model, %lld layers, hidden %lld, feed-forward %lld%s, vocabulary %lld, %s embeddings, norm eps %g\n", c->model_type,
           (long long)c->layers, (long long)c->hidden_size, (long long)c->ffn_size, c->mlp_bias ? " with biases" : "",
           (long long)c->vocabulary, c->tied_embeddings ? "tied" : "untied", c->norm_eps);
    print_attention(c);
    printf("memory: %s parameters take %s as f32, %s as bf16 (dtype); gmoe-train --dry-run plans a whole run to the byte\n",
           gm_inspect_commas(parameters, text), gm_inspect_bytes(4 * parameters, as_f32), gm_inspect_bytes(2 * parameters, as_bf16));
}

static void print_special(const gm_tokenizer *tokenizer, const char *what, int32_t id) {
    const char *text = id >= 0 ? gm_tokenizer_token(tokenizer, id) : NULL;
    printf(", %s ", what);
    gm_inspect_name(text ? text : "none", 0);
    if (text) printf(" (%d)", (int)id);
}

/* Opening it is the proof that gmoe knows all of its parts. `vocabulary`: the model's, 0 where it is not known. */
/* A template that gmoe does not know is no fault of a model that is trained on prompts. */
static gm_status look_at_chat(const char *directory, const gm_tokenizer *tokenizer) {
    gm_chat *chat;
    GM_TRY(gm_chat_open(&chat, directory, tokenizer, NULL));
    const char *family = gm_chat_family_name(chat), *problem = gm_chat_problem(chat);
    if (problem)
        printf("chat template: none for conversations (%s)\n", problem);
    else
        printf("chat template: %s\n", family);
    gm_chat_close(chat);
    return GM_OK;
}

static gm_status look_at_tokenizer(gm_findings *findings, const char *directory, int64_t vocabulary) {
    gm_tokenizer *tokenizer;
    if (!has(directory, "tokenizer.json") && !has(directory, "tokenizer.json.gz")) {
        gm_inspect_problem(findings, "%s/tokenizer.json: is missing", directory);
        return GM_OK;
    }
    GM_TRY(finding(findings, gm_tokenizer_open(&tokenizer, directory)));
    if (!tokenizer) return GM_OK;
    int32_t tokens = gm_tokenizer_vocabulary(tokenizer);
    printf("tokenizer: %s, %d tokens", gm_tokenizer_kind(tokenizer), (int)tokens);
    print_special(tokenizer, "BOS", gm_tokenizer_bos(tokenizer));
    print_special(tokenizer, "EOS", gm_tokenizer_eos(tokenizer));
    putchar('\n');
    if (vocabulary && tokens > vocabulary)
        gm_inspect_problem(findings, "%s/tokenizer.json: has %d tokens, the model %lld", directory, (int)tokens, (long long)vocabulary);
    gm_status status = look_at_chat(directory, tokenizer);
    gm_tokenizer_close(tokenizer);
    return status;
}

/* *config is zero where config.json is bad. */
static gm_status look_at_config(gm_findings *findings, const char *directory, gm_model_config *config) {
    gm_status status = gm_model_config_read(config, directory);
    if (status == GM_OK)
        print_config(config);
    else
        *config = (gm_model_config){0};
    return finding(findings, status);
}

static gm_status look_at_weights(gm_findings *findings, const char *directory, const gm_model_config *config) {
    gm_safetensors *file;
    GM_TRY(finding(findings, gm_safetensors_open_model(&file, directory)));
    if (!file) return GM_OK;
    gm_status status = gm_inspect_tensors(file, TABLE_ROWS);
    if (status == GM_OK && config->layers) {
        status = gm_weights_check(file, config);
        if (status == GM_OK) printf("hash: %016llx\n", (unsigned long long)gm_weights_hash(file, config));
        status = finding(findings, status);
    }
    gm_safetensors_close(file);
    return status;
}

static void print_verdict(const gm_findings *findings) {
    if (findings->problems == 0) puts("verdict: works; gmoe can train on it");
    if (findings->problems == 1) gm_inspect_print_problems(findings, "verdict: does not work: ");
    if (findings->problems < 2) return;
    printf("verdict: does not work, for %d reasons\n", findings->problems);
    gm_inspect_print_problems(findings, "  ");
}

gm_status gm_inspect_model(gm_findings *findings, const char *directory) {
    gm_model_config config;
    GM_TRY(look_at_config(findings, directory, &config));
    GM_TRY(look_at_weights(findings, directory, &config));
    GM_TRY(look_at_tokenizer(findings, directory, config.vocabulary));
    print_verdict(findings);
    return GM_OK;
}

bool gm_inspect_is_tokenizer(const char *directory) {
    static const char *const model[] = {"config.json", "model.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof model / sizeof *model; i++)
        if (has(directory, model[i])) return false;
    return has(directory, "tokenizer.json") || has(directory, "tokenizer.json.gz");
}

gm_status gm_inspect_tokenizer(gm_findings *findings, const char *directory) {
    puts("kind: a tokenizer without a model");
    GM_TRY(look_at_tokenizer(findings, directory, 0));
    gm_inspect_print_problems(findings, "problem: ");
    puts("training: gmoe trains on a directory that also holds config.json and model.safetensors; gmoe-tokenize needs no more");
    return GM_OK;
}
