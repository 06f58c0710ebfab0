/* adapter_config.json. A plain LoRA's is the one that Hugging Face PEFT reads and writes; an adapter with experts says
 * "peft_type": "GMOE" and has the router's choices beside PEFT's names for rank, scale and targets. All that training chose is
 * written; asked for is only what decides the tensors' shapes, or what they do. */
#include "base/file.h"
#include "base/json.h"
#include "io/key_rules.h"
#include "model/adapter/adapter.h"

#include <string.h>

enum { PEFT_RANK = 8, PEFT_ALPHA = 8 }; /* LoraConfig's defaults */

/* The keys of PEFT's LoraConfig (0.21) and ours. */
static const gm_file_key file_keys[] = {
    {"peft_type", GM_KEY_READ, NULL},
    {"r", GM_KEY_READ, NULL},
    {"lora_alpha", GM_KEY_READ, NULL},
    {"lora_dropout", GM_KEY_READ, NULL},
    {"use_rslora", GM_KEY_READ, NULL},
    {"target_modules", GM_KEY_READ, NULL},
    {"init_lora_weights", GM_KEY_READ, NULL},
    {"num_experts", GM_KEY_READ, NULL},
    {"top_k", GM_KEY_READ, NULL},
    {"router", GM_KEY_READ, NULL},
    {"losses", GM_KEY_READ, NULL},

    /* other ranks and scales */
    {"rank_pattern", GM_KEY_REFUSE, NULL},
    {"alpha_pattern", GM_KEY_REFUSE, NULL},
    /* other places */
    {"exclude_modules", GM_KEY_REFUSE, NULL},
    {"layers_to_transform", GM_KEY_REFUSE, NULL},
    {"layer_replication", GM_KEY_REFUSE, NULL},
    {"target_parameters", GM_KEY_REFUSE, NULL},
    {"modules_to_save", GM_KEY_REFUSE, NULL},
    {"trainable_token_indices", GM_KEY_REFUSE, NULL},
    {"bias", GM_KEY_REFUSE, "none"},
    {"lora_bias", GM_KEY_REFUSE, NULL},
    /* other formulas */
    {"use_dora", GM_KEY_REFUSE, NULL},
    {"use_qalora", GM_KEY_REFUSE, NULL},
    {"alora_invocation_tokens", GM_KEY_REFUSE, NULL},
    {"arrow_config", GM_KEY_REFUSE, NULL},
    {"use_bdlora", GM_KEY_REFUSE, NULL},
    {"kasa_config", GM_KEY_REFUSE, NULL},
    {"monteclora_config", GM_KEY_REFUSE, NULL},

    {"task_type", GM_KEY_HARMLESS, NULL},
    {"auto_mapping", GM_KEY_HARMLESS, NULL},
    {"peft_version", GM_KEY_HARMLESS, NULL},
    {"base_model_name_or_path", GM_KEY_HARMLESS, NULL},
    {"revision", GM_KEY_HARMLESS, NULL},
    {"inference_mode", GM_KEY_HARMLESS, NULL},
    {"fan_in_fan_out", GM_KEY_HARMLESS, NULL}, /* of Conv1D; PEFT itself turns it off for linear layers */
    {"layers_pattern", GM_KEY_HARMLESS, NULL}, /* with layers_to_transform alone */
    {"qalora_group_size", GM_KEY_HARMLESS, NULL},
    {"ensure_weight_tying", GM_KEY_HARMLESS, NULL}, /* with modules_to_save and trainable_token_indices alone */
    {"megatron_config", GM_KEY_HARMLESS, NULL},
    {"megatron_core", GM_KEY_HARMLESS, NULL},
    {"velora_config", GM_KEY_HARMLESS, NULL}, /* of training's memory */
    {"loftq_config", GM_KEY_HARMLESS, NULL},  /* of init_lora_weights, as are the next three */
    {"eva_config", GM_KEY_HARMLESS, NULL},
    {"corda_config", GM_KEY_HARMLESS, NULL},
    {"lora_ga_config", GM_KEY_HARMLESS, NULL},
    {"runtime_config", GM_KEY_HARMLESS, NULL},
    {.name = NULL},
};

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void write_number(gm_buffer *out, const char *name, double value, const char *before) {
    gm_buffer_format(out, "%s\"%s\": ", before, name);
    gm_json_write_double(out, value);
}

static void write_router(gm_buffer *out, const gm_adapter_config *c) {
    gm_buffer_format(out, ",\n  \"num_experts\": %lld,\n  \"top_k\": %lld,\n  \"router\": {\"type\": \"%s\"", (long long)c->num_experts,
                     (long long)c->top_k, gm_router_type_names[c->router.type]);
    if (c->router.type == GM_ROUTER_GRAPH) {
        gm_buffer_format(out,
                         ", \"layers\": %lld, \"hidden_size\": %lld, \"edges\": \"%s\", \"edge_seed\": %lld, \"expert_features\": \"%s\"",
                         (long long)c->router.layers, (long long)c->router.hidden_size, gm_edges_names[c->router.edges],
                         (long long)c->router.edge_seed, gm_features_names[c->router.expert_features]);
        write_number(out, "edge_density", c->router.edge_density, ", ");
        write_number(out, "token_gain", c->router.token_gain, ", ");
    }
    gm_buffer_format(out, "},\n  \"losses\": {\"divergence\": \"%s\", \"count\": \"%s\", \"count_at\": \"%s\", \"normal_target\": \"%s\"",
                     gm_divergence_names[c->losses.divergence], gm_count_names[c->losses.count], gm_count_at_names[c->losses.count_at],
                     gm_normal_target_names[c->losses.normal_target]);
    write_number(out, "ema_decay", c->losses.ema_decay, ", ");
    write_number(out, "poisson", c->losses.poisson, ", ");
    write_number(out, "normal", c->losses.normal, ", ");
    write_number(out, "balance", c->losses.balance, ", ");
    gm_buffer_char(out, '}');
}

gm_status gm_adapter_config_write(const gm_adapter *adapter, const char *path, const char *base_name) {
    const gm_adapter_config *c = &adapter->config;
    bool plain = c->router.type == GM_ROUTER_NONE;
    gm_buffer out = {0};
    gm_buffer_format(
        &out, "{\n  \"peft_type\": \"%s\",\n  \"task_type\": \"CAUSAL_LM\",\n  \"base_model_name_or_path\": ", plain ? "LORA" : "GMOE");
    gm_json_write_string(&out, base_name, strlen(base_name));
    gm_buffer_text(&out, ",\n  \"bias\": \"none\",\n  \"inference_mode\": true");
    write_number(&out, "lora_dropout", c->dropout, ",\n  ");
    gm_buffer_format(&out, ",\n  \"use_rslora\": %s,\n  \"r\": %lld", c->rslora ? "true" : "false", (long long)c->rank);
    write_number(&out, "lora_alpha", c->alpha, ",\n  ");
    gm_buffer_text(&out, ",\n  \"target_modules\": [");
    const char *separator = "";
    for (int i = 0; i < GM_TARGETS; i++)
        if (c->target[i]) gm_buffer_format(&out, "%s\"%s\"", separator, gm_target_modules[i]), separator = ", ";
    gm_buffer_char(&out, ']');
    if (!plain) write_router(&out, c);
    gm_buffer_text(&out, "\n}\n");
    gm_status status = gm_buffer_status(&out);
    if (status == GM_OK) status = gm_file_write(path, out.bytes, out.length);
    gm_buffer_free(&out);
    return status;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

typedef struct gm_config_reader {
    const char *path;
    gm_status status; /* the first failure */
} gm_config_reader;

static void bad(gm_config_reader *reader, const char *name, const char *needed) {
    if (reader->status == GM_OK) reader->status = gm_error(GM_BAD_FILE, "%s: \"%s\" is missing or is not %s", reader->path, name, needed);
}

static int64_t read_integer(gm_config_reader *reader, const cJSON *object, const char *name) {
    int64_t value = 0;
    if (!gm_json_is_integer(gm_json_member(object, name), &value)) bad(reader, name, "an integer");
    return value;
}

static double read_number(gm_config_reader *reader, const cJSON *object, const char *name, double absent) {
    const cJSON *item = gm_json_member(object, name);
    if (item && !cJSON_IsNumber(item)) bad(reader, name, "a number");
    return item ? item->valuedouble : absent;
}

static bool read_bool(gm_config_reader *reader, const cJSON *object, const char *name, bool absent) {
    const cJSON *item = gm_json_member(object, name);
    if (item && !cJSON_IsBool(item)) bad(reader, name, "true or false");
    return item ? cJSON_IsTrue(item) : absent;
}

enum { REQUIRED = -1 };

static int read_choice(gm_config_reader *reader, const cJSON *object, const char *name, const char *const *names, int absent) {
    const cJSON *item = gm_json_member(object, name);
    if (!item && absent != REQUIRED) return absent;
    for (int i = 0; cJSON_IsString(item) && names[i]; i++)
        if (strcmp(item->valuestring, names[i]) == 0) return i;
    bad(reader, name, "a value that this version knows");
    return 0;
}

static void read_targets(gm_config_reader *reader, gm_adapter_config *c, const cJSON *list) {
    const cJSON *item;
    if (!cJSON_IsArray(list)) bad(reader, "target_modules", "a list of module names");
    cJSON_ArrayForEach(item, list) {
        int found = -1;
        for (int i = 0; i < GM_TARGETS && cJSON_IsString(item); i++)
            if (strcmp(item->valuestring, gm_target_modules[i]) == 0) found = i;
        if (found < 0)
            bad(reader, "target_modules", "made of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj alone");
        else
            c->target[found] = true;
    }
}

/* Beginnings that leave the base model as it is. The others (pissa, olora, …) take a part of its weights out, which the adapter then
 * holds: on the whole base model it counts twice. */
static void read_beginning(gm_config_reader *reader, const cJSON *item) {
    static const char *const fine[] = {"gaussian", "eva", "orthogonal"};
    if (!item || cJSON_IsBool(item)) return;
    for (size_t i = 0; i < sizeof fine / sizeof *fine && cJSON_IsString(item); i++)
        if (strcmp(item->valuestring, fine[i]) == 0) return;
    bad(reader, "init_lora_weights", "true, false, gaussian, eva or orthogonal; others change the base model's weights");
}

static void read_router(gm_config_reader *reader, gm_adapter_config *c, const cJSON *root) {
    const cJSON *router = gm_json_member(root, "router"), *losses = gm_json_member(root, "losses");
    c->num_experts = read_integer(reader, root, "num_experts");
    c->top_k = read_integer(reader, root, "top_k");
    c->router.type = (gm_router_type)read_choice(reader, router, "type", gm_router_type_names, REQUIRED);
    if (c->router.type == GM_ROUTER_GRAPH) {
        c->router.layers = read_integer(reader, router, "layers");
        c->router.hidden_size = read_integer(reader, router, "hidden_size");
        c->router.expert_features = (gm_features)read_choice(reader, router, "expert_features", gm_features_names, REQUIRED);
        c->router.edges = (gm_edges)read_choice(reader, router, "edges", gm_edges_names, GM_EDGES_RANDOM);
        if (gm_json_member(router, "edge_seed")) c->router.edge_seed = read_integer(reader, router, "edge_seed");
        c->router.edge_density = read_number(reader, router, "edge_density", c->router.edge_density);
        c->router.token_gain = read_number(reader, router, "token_gain", c->router.token_gain);
    }
    c->losses.divergence = (gm_divergence)read_choice(reader, losses, "divergence", gm_divergence_names, GM_DIVERGENCE_KL);
    c->losses.count = (gm_count)read_choice(reader, losses, "count", gm_count_names, GM_COUNT_CUMULATIVE);
    c->losses.count_at = (gm_count_at)read_choice(reader, losses, "count_at", gm_count_at_names, GM_COUNT_AT_STEP);
    c->losses.normal_target = (gm_normal_target)read_choice(reader, losses, "normal_target", gm_normal_target_names, GM_NORMAL_LAYER);
    c->losses.ema_decay = read_number(reader, losses, "ema_decay", c->losses.ema_decay);
    c->losses.poisson = read_number(reader, losses, "poisson", 0);
    c->losses.normal = read_number(reader, losses, "normal", 0);
    c->losses.balance = read_number(reader, losses, "balance", 0);
}

static gm_status read_tree(gm_adapter_config *c, const char *path, const cJSON *root) {
    gm_config_reader reader = {.path = path};
    const cJSON *type = gm_json_member(root, "peft_type");
    bool plain = cJSON_IsString(type) && strcmp(type->valuestring, "LORA") == 0;
    if (!plain && !(cJSON_IsString(type) && strcmp(type->valuestring, "GMOE") == 0)) bad(&reader, "peft_type", "\"LORA\" or \"GMOE\"");
    GM_TRY(reader.status);
    GM_TRY(gm_key_rules_check(file_keys, path, root));
    *c = plain ? gm_method_lora.defaults : gm_method_gmoe.defaults;
    memset(c->target, 0, sizeof c->target);
    c->rank = plain && !gm_json_member(root, "r") ? PEFT_RANK : read_integer(&reader, root, "r");
    c->alpha = read_number(&reader, root, "lora_alpha", PEFT_ALPHA);
    c->dropout = read_number(&reader, root, "lora_dropout", 0);
    c->rslora = read_bool(&reader, root, "use_rslora", false);
    read_targets(&reader, c, gm_json_member(root, "target_modules"));
    read_beginning(&reader, gm_json_member(root, "init_lora_weights"));
    if (!plain) read_router(&reader, c, root);
    GM_TRY(reader.status);
    if (gm_adapter_config_check(c) != GM_OK) return gm_error_prefix(GM_BAD_FILE, "%s", path);
    return GM_OK;
}

gm_status gm_adapter_config_read(gm_adapter_config *config, const char *path) {
    cJSON *root = NULL;
    gm_status status = gm_json_parse_file(path, 1 << 20, GM_BAD_FILE, &root);
    if (status == GM_OK) status = read_tree(config, path, root);
    cJSON_Delete(root);
    return status;
}

gm_status gm_adapter_config_refuse(const char *path) {
    cJSON *root = NULL;
    gm_status status = gm_json_parse_file(path, 1 << 20, GM_BAD_FILE, &root);
    if (status == GM_OK) status = gm_key_rules_refuse(file_keys, path, root);
    cJSON_Delete(root);
    return status;
}
