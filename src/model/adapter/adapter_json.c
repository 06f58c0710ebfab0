/* adapter_config.json. A plain LoRA's is the one that Hugging Face PEFT reads and writes; an adapter with experts says
 * "peft_type": "GMOE" and has the router's choices beside PEFT's names for rank, scale and targets. */
#include "base/file.h"
#include "base/json.h"
#include "model/adapter/adapter.h"

#include <string.h>

static const char *const module_names[GM_TARGETS] = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
static const char *const router_type_names[] = {"none", "graph", "linear", NULL};
static const char *const edges_names[] = {"random", "similarity", "full", "none", NULL};
static const char *const features_names[] = {"frozen", "embedding", NULL};
static const char *const divergence_names[] = {"kl", "abs", NULL};
static const char *const count_names[] = {"cumulative", "ema", "batch", NULL};
static const char *const normal_target_names[] = {"layer", "joint", NULL};

static void write_member(gm_buffer *out, const char *name, double value) {
    gm_buffer_format(out, ",\n  \"%s\": ", name);
    gm_json_write_double(out, value);
}

static void write_router(gm_buffer *out, const gm_adapter_config *c) {
    gm_buffer_format(out, ",\n  \"num_experts\": %lld,\n  \"top_k\": %lld,\n  \"router\": {\"type\": \"%s\"", (long long)c->num_experts,
                     (long long)c->top_k, router_type_names[c->router.type]);
    if (c->router.type == GM_ROUTER_GRAPH)
        gm_buffer_format(out, ", \"layers\": %lld, \"hidden_size\": %lld, \"edges\": \"%s\", \"expert_features\": \"%s\"",
                         (long long)c->router.layers, (long long)c->router.hidden_size, edges_names[c->router.edges],
                         features_names[c->router.expert_features]);
    gm_buffer_format(out, "},\n  \"losses\": {\"divergence\": \"%s\", \"count\": \"%s\", \"normal_target\": \"%s\", \"poisson\": ",
                     divergence_names[c->losses.divergence], count_names[c->losses.count], normal_target_names[c->losses.normal_target]);
    gm_json_write_double(out, c->losses.poisson);
    gm_buffer_text(out, ", \"normal\": ");
    gm_json_write_double(out, c->losses.normal);
    gm_buffer_text(out, ", \"balance\": ");
    gm_json_write_double(out, c->losses.balance);
    gm_buffer_text(out, "}");
}

gm_status gm_adapter_config_write(const gm_adapter *adapter, const char *path, const char *base_name) {
    const gm_adapter_config *c = &adapter->config;
    bool plain = c->router.type == GM_ROUTER_NONE;
    gm_buffer out = {0};
    gm_buffer_format(
        &out, "{\n  \"peft_type\": \"%s\",\n  \"task_type\": \"CAUSAL_LM\",\n  \"base_model_name_or_path\": ", plain ? "LORA" : "GMOE");
    gm_json_write_string(&out, base_name, strlen(base_name));
    gm_buffer_text(&out, ",\n  \"bias\": \"none\",\n  \"inference_mode\": true");
    write_member(&out, "lora_dropout", c->dropout);
    gm_buffer_format(&out, ",\n  \"use_rslora\": %s,\n  \"r\": %lld", c->rslora ? "true" : "false", (long long)c->rank);
    write_member(&out, "lora_alpha", c->alpha);
    gm_buffer_text(&out, ",\n  \"target_modules\": [");
    const char *separator = "";
    for (int i = 0; i < GM_TARGETS; i++)
        if (c->target[i]) gm_buffer_format(&out, "%s\"%s\"", separator, module_names[i]), separator = ", ";
    gm_buffer_char(&out, ']');
    if (!plain) write_router(&out, c);
    gm_buffer_text(&out, "\n}\n");
    gm_status status = gm_buffer_status(&out);
    if (status == GM_OK) status = gm_file_write(path, out.bytes, out.length);
    gm_buffer_free(&out);
    return status;
}

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

static int read_choice(gm_config_reader *reader, const cJSON *object, const char *name, const char *const *names) {
    const cJSON *item = gm_json_member(object, name);
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
            if (strcmp(item->valuestring, module_names[i]) == 0) found = i;
        if (found < 0)
            bad(reader, "target_modules", "made of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj alone");
        else
            c->target[found] = true;
    }
}

static void read_router(gm_config_reader *reader, gm_adapter_config *c, const cJSON *root) {
    const cJSON *router = gm_json_member(root, "router"), *losses = gm_json_member(root, "losses");
    c->num_experts = read_integer(reader, root, "num_experts");
    c->top_k = read_integer(reader, root, "top_k");
    c->router.type = (gm_router_type)read_choice(reader, router, "type", router_type_names);
    if (c->router.type == GM_ROUTER_GRAPH) {
        c->router.layers = read_integer(reader, router, "layers");
        c->router.hidden_size = read_integer(reader, router, "hidden_size");
        c->router.edges = (gm_edges)read_choice(reader, router, "edges", edges_names);
        c->router.expert_features = (gm_features)read_choice(reader, router, "expert_features", features_names);
    }
    c->losses.divergence = (gm_divergence)read_choice(reader, losses, "divergence", divergence_names);
    c->losses.count = (gm_count)read_choice(reader, losses, "count", count_names);
    c->losses.normal_target = (gm_normal_target)read_choice(reader, losses, "normal_target", normal_target_names);
    c->losses.poisson = read_number(reader, losses, "poisson", 0);
    c->losses.normal = read_number(reader, losses, "normal", 0);
    c->losses.balance = read_number(reader, losses, "balance", 0);
}

static gm_status read_tree(gm_adapter_config *c, const char *path, const cJSON *root) {
    gm_config_reader reader = {.path = path};
    const cJSON *type = gm_json_member(root, "peft_type");
    bool plain = cJSON_IsString(type) && strcmp(type->valuestring, "LORA") == 0;
    if (!plain && !(cJSON_IsString(type) && strcmp(type->valuestring, "GMOE") == 0)) bad(&reader, "peft_type", "\"LORA\" or \"GMOE\"");
    if (cJSON_IsTrue(gm_json_member(root, "use_dora"))) bad(&reader, "use_dora", "false; DoRA adapters are not supported");
    *c = plain ? gm_method_lora.defaults : gm_method_gmoe.defaults;
    memset(c->target, 0, sizeof c->target);
    c->rank = read_integer(&reader, root, "r");
    c->alpha = read_number(&reader, root, "lora_alpha", 1);
    c->rslora = cJSON_IsTrue(gm_json_member(root, "use_rslora"));
    read_targets(&reader, c, gm_json_member(root, "target_modules"));
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
