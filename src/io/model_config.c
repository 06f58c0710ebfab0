/* A missing key takes its family's default, as in transformers' configuration_*.py; an explicit null is None there, which
 * is not the same (mistral's sliding_window: absent 4096, null none). */
#include "io/model_config.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/number.h"
#include "io/key_rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    CONFIG_LIMIT = 4 * 1024 * 1024,
    WIDTH_LIMIT = 1 << 20,
    LAYER_LIMIT = 4096,
    HEAD_LIMIT = 1 << 16,
    VOCABULARY_LIMIT = 1 << 24,
    POSITION_LIMIT = 1 << 30,
};

typedef struct family {
    const char *name;
    int64_t vocabulary, hidden_size, ffn_size, layers, heads;
    int64_t kv_heads; /* 0: as many as heads */
    int64_t max_positions;
    int64_t head_dim; /* 0: hidden_size / heads */
    enum { WINDOW_NEVER, WINDOW_ALWAYS, WINDOW_SWITCHED } window;
    bool qkv_bias;                 /* whatever the config says    */
    bool attention_bias, mlp_bias; /* these keys are read         */
    bool qk_norm;
    int64_t bos_token, eos_token;
    double norm_eps;
    int64_t sliding_window; /* where the key is absent; 0: none */
    bool fused;             /* q, k, v are one matrix, gate and up another */
} family;

static const family families[] = {
    {"llama", 32000, 4096, 11008, 32, 32, 0, 2048, 0, WINDOW_NEVER, false, true, true, false, 1, 2, 1e-6, 0, false},
    {"mistral", 32000, 4096, 14336, 32, 32, 8, 131072, 0, WINDOW_ALWAYS, false, false, false, false, 1, 2, 1e-6, 4096, false},
    {"qwen2", 151936, 4096, 22016, 32, 32, 32, 32768, 0, WINDOW_SWITCHED, true, false, false, false, -1, -1, 1e-6, 4096, false},
    {"qwen3", 151936, 4096, 22016, 32, 32, 32, 32768, 128, WINDOW_SWITCHED, false, true, false, true, -1, -1, 1e-6, 4096, false},
    {"phi3", 32064, 3072, 8192, 32, 32, 0, 4096, 0, WINDOW_ALWAYS, false, false, false, false, 1, 32000, 1e-5, 0, true},
};
static const double default_theta = 10000;
static const int64_t default_full_layers = 28;

typedef struct reading {
    const char *path;
    const cJSON *root;
    const family *family;
    gm_model_config *config;
} reading;

static gm_status refuse(const reading *r, const char *key, const char *format, ...) GM_PRINTF(3, 4);
static gm_status refuse(const reading *r, const char *key, const char *format, ...) {
    char reason[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return gm_error(GM_BAD_FILE, "%s: %.100s: %s", r->path, key, reason);
}

static const cJSON *find(const cJSON *object, const char *key) { return cJSON_GetObjectItemCaseSensitive(object, key); } /* null included */

static gm_status check_integer(const reading *r, const char *key, const cJSON *item, int64_t low, int64_t high, int64_t *value) {
    char text[GM_JSON_SHOWN];
    if (gm_json_is_integer(item, value) && *value >= low && *value <= high) return GM_OK;
    return refuse(r, key, "%s is not a whole number from %lld to %lld", gm_json_show(item, text), (long long)low, (long long)high);
}

/* An absent key is `absent`; null is `null`, or refused where that is negative. */
static gm_status read_integer(const reading *r, const char *key, int64_t absent, int64_t null, int64_t low, int64_t high, int64_t *value) {
    const cJSON *item = find(r->root, key);
    *value = item ? null : absent;
    if (!item || (cJSON_IsNull(item) && null >= 0)) return GM_OK;
    return check_integer(r, key, item, low, high, value);
}

static gm_status read_size(const reading *r, const char *key, int64_t absent, int64_t high, int64_t *value) {
    return read_integer(r, key, absent, -1, 1, high, value);
}

static gm_status read_real(const reading *r, const cJSON *object, const char *key, double low, double high, double *value) {
    const cJSON *item = find(object, key);
    char text[GM_JSON_SHOWN];
    if (!item) return refuse(r, key, "is missing");
    *value = cJSON_IsNumber(item) ? item->valuedouble : low - 1;
    if (*value >= low && *value <= high) return GM_OK;
    return refuse(r, key, "%s is not a number from %g to %g", gm_json_show(item, text), low, high);
}

static gm_status read_switch(const reading *r, const char *key, bool *value) {
    const cJSON *item = find(r->root, key);
    char text[GM_JSON_SHOWN];
    *value = cJSON_IsTrue(item);
    if (!item || cJSON_IsNull(item) || cJSON_IsBool(item)) return GM_OK;
    return refuse(r, key, "%s is not true or false", gm_json_show(item, text));
}

static gm_status read_sizes(const reading *r) {
    const family *f = r->family;
    gm_model_config *c = r->config;
    GM_TRY(read_size(r, "vocab_size", f->vocabulary, VOCABULARY_LIMIT, &c->vocabulary));
    GM_TRY(read_size(r, "hidden_size", f->hidden_size, WIDTH_LIMIT, &c->hidden_size));
    GM_TRY(read_size(r, "intermediate_size", f->ffn_size, WIDTH_LIMIT, &c->ffn_size));
    GM_TRY(read_size(r, "num_hidden_layers", f->layers, LAYER_LIMIT, &c->layers));
    GM_TRY(read_size(r, "num_attention_heads", f->heads, HEAD_LIMIT, &c->heads));
    GM_TRY(read_size(r, "max_position_embeddings", f->max_positions, POSITION_LIMIT, &c->max_positions));
    GM_TRY(read_integer(r, "num_key_value_heads", f->kv_heads ? f->kv_heads : c->heads, c->heads, 1, HEAD_LIMIT, &c->kv_heads));
    int64_t share = c->hidden_size / c->heads;
    GM_TRY(read_integer(r, "head_dim", f->head_dim ? f->head_dim : share, f->head_dim ? -1 : share, 1, HEAD_LIMIT, &c->head_dim));
    if (c->heads % c->kv_heads != 0)
        return refuse(r, "num_key_value_heads", "%lld does not divide the %lld of num_attention_heads", (long long)c->kv_heads,
                      (long long)c->heads);
    if (c->head_dim < 2 || c->head_dim % 2 != 0)
        return refuse(r, "head_dim",
                      "%lld is odd or zero (absent, it is hidden_size / num_attention_heads), and rotary positions need pairs",
                      (long long)c->head_dim);
    if (c->heads * c->head_dim > WIDTH_LIMIT)
        return refuse(r, "num_attention_heads", "%lld heads of %lld make more than %d", (long long)c->heads, (long long)c->head_dim,
                      WIDTH_LIMIT);
    c->norm_eps = f->norm_eps;
    return find(r->root, "rms_norm_eps") ? read_real(r, r->root, "rms_norm_eps", 0, 1, &c->norm_eps) : GM_OK;
}

/* A switch that transformers does not read for this family is not applied here either. */
static gm_status read_bias(const reading *r, const char *key, bool is_read, bool *bias) {
    GM_TRY(read_switch(r, key, bias));
    if (*bias && !is_read) gm_log(GM_LOG_WARN, "%s: %s: is not read for %s models, as in transformers", r->path, key, r->family->name);
    *bias = *bias && is_read;
    return GM_OK;
}

static gm_status read_switches(const reading *r) {
    const family *f = r->family;
    gm_model_config *c = r->config;
    GM_TRY(read_bias(r, "attention_bias", f->attention_bias, &c->output_bias));
    GM_TRY(read_bias(r, "mlp_bias", f->mlp_bias, &c->mlp_bias));
    c->attention_bias = c->output_bias || f->qkv_bias;
    GM_TRY(read_switch(r, "tie_word_embeddings", &c->tied_embeddings));
    c->qk_norm = f->qk_norm;
    c->fused = f->fused;
    const cJSON *act = find(r->root, "hidden_act");
    char text[GM_JSON_SHOWN];
    if (act && !(cJSON_IsString(act) && (strcmp(act->valuestring, "silu") == 0 || strcmp(act->valuestring, "swish") == 0)))
        return refuse(r, "hidden_act", "%s is not supported; silu is", gm_json_show(act, text));
    return GM_OK;
}

/* layer_types, one a layer, overrides max_window_layers. What gm_model_config can say is one change from full to sliding. */
static gm_status read_layer_types(const reading *r) {
    gm_model_config *c = r->config;
    const cJSON *types = find(r->root, "layer_types"), *type;
    if (!types || cJSON_IsNull(types)) return GM_OK;
    if (!cJSON_IsArray(types) || cJSON_GetArraySize(types) != c->layers)
        return refuse(r, "layer_types", "is not an array of num_hidden_layers (%lld) names", (long long)c->layers);
    int64_t layer = 0, first = c->layers;
    cJSON_ArrayForEach(type, types) {
        char text[GM_JSON_SHOWN];
        bool slides = cJSON_IsString(type) && strcmp(type->valuestring, "sliding_attention") == 0;
        if (!slides && !(cJSON_IsString(type) && strcmp(type->valuestring, "full_attention") == 0))
            return refuse(r, "layer_types", "%s at layer %lld is not supported; full_attention and sliding_attention are",
                          gm_json_show(type, text), (long long)layer);
        if (slides && first > layer) first = layer;
        if (!slides && first < layer)
            return refuse(r, "layer_types", "full attention at layer %lld after a sliding layer is not supported", (long long)layer);
        layer++;
    }
    if (first < c->layers && c->sliding_window == 0)
        return refuse(r, "layer_types", "names sliding_attention at layer %lld, but no sliding_window is in use", (long long)first);
    c->window_from_layer = first;
    return GM_OK;
}

static gm_status read_window(const reading *r) {
    gm_model_config *c = r->config;
    int64_t window, full_layers;
    bool in_use;
    GM_TRY(read_switch(r, "use_sliding_window", &in_use));
    if (r->family->window != WINDOW_SWITCHED) in_use = r->family->window == WINDOW_ALWAYS;
    GM_TRY(read_integer(r, "sliding_window", r->family->sliding_window, 0, in_use ? 1 : 0, GM_EXACT_INTEGER, &window));
    bool decisive = in_use && r->family->window == WINDOW_SWITCHED && !gm_json_member(r->root, "layer_types");
    GM_TRY(read_integer(r, "max_window_layers", default_full_layers, decisive ? -1 : 0, 0, GM_EXACT_INTEGER, &full_layers));
    if (r->family->window == WINDOW_ALWAYS) full_layers = 0;
    if (r->family->window == WINDOW_NEVER && window && find(r->root, "sliding_window"))
        gm_log(GM_LOG_WARN, "%s: sliding_window: is not read for %s models, as in transformers", r->path, r->family->name);
    c->sliding_window = in_use ? window : 0;
    c->window_from_layer = full_layers;
    GM_TRY(read_layer_types(r));
    if (c->window_from_layer >= c->layers) c->sliding_window = 0;
    if (c->sliding_window == 0) c->window_from_layer = 0;
    return GM_OK;
}

/* Keys of the rotary section other than those of `read_rope`. */
static gm_status check_rope_keys(const reading *r, const cJSON *section) {
    static const char *const known[] = {
        "rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"};
    const cJSON *member;
    cJSON_ArrayForEach(member, section) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(known[i], member->string) != 0) i++;
        if (i < sizeof known / sizeof *known || cJSON_IsNull(member)) continue;
        bool partial = strcmp(member->string, "partial_rotary_factor") == 0;
        if (partial && cJSON_IsNumber(member) && member->valuedouble == 1) continue;
        if (partial || cJSON_IsObject(member)) return refuse(r, member->string, "is not supported for rotary positions");
        gm_log(GM_LOG_WARN, "%s: %.100s: a key that rotary positions do not use; ignored", r->path, member->string);
    }
    return GM_OK;
}

static gm_status read_rope_type(const reading *r, const cJSON *section, const char *absent) {
    const cJSON *type = find(section, "rope_type"), *old = find(section, "type");
    const char *name = absent;
    char text[GM_JSON_SHOWN];
    if (type && old && !cJSON_Compare(type, old, true)) return refuse(r, "rope_type", "differs from the older type in the same section");
    if (!type) type = old;
    if (!type && !absent) return refuse(r, "rope_scaling", "has no rope_type");
    if (type) name = cJSON_IsString(type) ? type->valuestring : "";
    if (strcmp(name, "default") == 0)
        r->config->rope = GM_ROPE_PLAIN;
    else if (strcmp(name, "linear") == 0)
        r->config->rope = GM_ROPE_LINEAR;
    else if (strcmp(name, "llama3") == 0)
        r->config->rope = GM_ROPE_LLAMA3;
    else
        return refuse(r, "rope_type", "%s is not supported; default, linear and llama3 are", gm_json_show(type, text));
    return GM_OK;
}

/* rope_scaling (transformers 4) or rope_parameters (5), which holds rope_theta as well. */
static gm_status read_rope(const reading *r) {
    gm_model_config *c = r->config;
    const cJSON *section = gm_json_member(r->root, "rope_scaling");
    const char *key = section ? "rope_scaling" : "rope_parameters";
    bool newer = !section;
    if (!section) section = gm_json_member(r->root, "rope_parameters");
    c->rope_theta = default_theta;
    if (find(r->root, "rope_theta")) GM_TRY(read_real(r, r->root, "rope_theta", 1, 1e18, &c->rope_theta));
    if (!section) return GM_OK;
    if (!cJSON_IsObject(section)) return refuse(r, key, "is not an object");
    GM_TRY(read_rope_type(r, section, newer ? "default" : NULL));
    GM_TRY(check_rope_keys(r, section));
    if (gm_json_member(section, "rope_theta")) {
        double theta = 0;
        GM_TRY(read_real(r, section, "rope_theta", 1, 1e18, &theta));
        if (find(r->root, "rope_theta") && theta != c->rope_theta)
            return refuse(r, "rope_theta", "%g differs from the %g in %s", c->rope_theta, theta, key);
        c->rope_theta = theta;
    }
    if (c->rope != GM_ROPE_PLAIN) GM_TRY(read_real(r, section, "factor", 1e-6, 1e6, &c->rope_factor));
    if (c->rope != GM_ROPE_LLAMA3) return GM_OK;
    GM_TRY(read_real(r, section, "low_freq_factor", 1e-6, 1e6, &c->rope_low_factor));
    GM_TRY(read_real(r, section, "high_freq_factor", 1e-6, 1e6, &c->rope_high_factor));
    GM_TRY(read_real(r, section, "original_max_position_embeddings", 1, POSITION_LIMIT, &c->rope_original_positions));
    if (c->rope_high_factor <= c->rope_low_factor)
        return refuse(r, "high_freq_factor", "%g is not above low_freq_factor", c->rope_high_factor);
    return GM_OK;
}

static gm_status read_token(const reading *r, const char *key, int64_t absent, int64_t *token) {
    const cJSON *item = find(r->root, key);
    bool given = item != NULL;
    *token = given ? -1 : absent;
    if (cJSON_IsArray(item)) item = item->child;
    if (item && !cJSON_IsNull(item)) GM_TRY(check_integer(r, key, item, -GM_EXACT_INTEGER, GM_EXACT_INTEGER, token));
    if (*token >= r->config->vocabulary) {
        if (given) gm_log(GM_LOG_WARN, "%s: %s: %lld is outside the vocabulary; not used", r->path, key, (long long)*token);
        *token = -1;
    }
    if (*token < 0) *token = -1;
    return GM_OK;
}

static gm_status find_family(reading *r) {
    char text[GM_JSON_SHOWN];
    if (!cJSON_IsObject(r->root)) return gm_error(GM_BAD_FILE, "%s: is not a JSON object", r->path);
    const cJSON *type = find(r->root, "model_type");
    if (!cJSON_IsString(type)) return refuse(r, "model_type", "is missing; llama, mistral, qwen2, qwen3 and phi3 are supported");
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].name, type->valuestring) == 0) r->family = &families[i];
    if (!r->family)
        return refuse(r, "model_type", "%s is not supported; llama, mistral, qwen2, qwen3 and phi3 are", gm_json_show(type, text));
    snprintf(r->config->model_type, sizeof r->config->model_type, "%s", r->family->name);
    return GM_OK;
}

static gm_status read_all(reading *r) {
    GM_TRY(find_family(r));
    GM_TRY(gm_key_rules_check(gm_model_config_keys, r->path, r->root));
    GM_TRY(read_sizes(r));
    GM_TRY(read_switches(r));
    GM_TRY(read_window(r));
    GM_TRY(read_rope(r));
    GM_TRY(read_token(r, "bos_token_id", r->family->bos_token, &r->config->bos_token));
    return read_token(r, "eos_token_id", r->family->eos_token, &r->config->eos_token);
}

gm_status gm_model_config_read(gm_model_config *config, const char *directory) {
    char path[GM_PATH];
    cJSON *root = NULL;
    *config = (gm_model_config){0};
    if (!gm_directory_exists(directory)) return gm_error(GM_USAGE, "%s: is not a directory", directory);
    GM_TRY(gm_path_join(path, directory, "config.json"));
    gm_status status = gm_json_parse_file(path, CONFIG_LIMIT, GM_BAD_FILE, &root);
    if (status == GM_OK) status = read_all(&(reading){path, root, NULL, config});
    cJSON_Delete(root);
    return status;
}
