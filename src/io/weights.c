#include "io/weights.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/number.h"

#include <stdio.h>
#include <string.h>

typedef enum axis {
    NONE,
    HIDDEN,
    FFN,
    QUERY /* heads × head_dim */,
    KEY /* kv_heads × head_dim */,
    QUERY_KEY_VALUE,
    GATE_UP,
    HEAD,
    VOCABULARY
} axis;
typedef enum need { ALWAYS, SEPARATE, FUSED, ATTENTION_BIAS, OUTPUT_BIAS, MLP_BIAS, QK_NORM, UNTIED } need;

typedef struct part {
    const char *name;
    axis rows, columns; /* a vector has rows only */
    need need;
} part;

static const part layer_parts[] = {
    {"input_layernorm.weight", HIDDEN, NONE, ALWAYS},
    {"self_attn.q_proj.weight", QUERY, HIDDEN, SEPARATE},
    {"self_attn.k_proj.weight", KEY, HIDDEN, SEPARATE},
    {"self_attn.v_proj.weight", KEY, HIDDEN, SEPARATE},
    {"self_attn.qkv_proj.weight", QUERY_KEY_VALUE, HIDDEN, FUSED},
    {"self_attn.o_proj.weight", HIDDEN, QUERY, ALWAYS},
    {"self_attn.q_proj.bias", QUERY, NONE, ATTENTION_BIAS},
    {"self_attn.k_proj.bias", KEY, NONE, ATTENTION_BIAS},
    {"self_attn.v_proj.bias", KEY, NONE, ATTENTION_BIAS},
    {"self_attn.o_proj.bias", HIDDEN, NONE, OUTPUT_BIAS},
    {"self_attn.q_norm.weight", HEAD, NONE, QK_NORM},
    {"self_attn.k_norm.weight", HEAD, NONE, QK_NORM},
    {"post_attention_layernorm.weight", HIDDEN, NONE, ALWAYS},
    {"mlp.gate_proj.weight", FFN, HIDDEN, SEPARATE},
    {"mlp.up_proj.weight", FFN, HIDDEN, SEPARATE},
    {"mlp.gate_up_proj.weight", GATE_UP, HIDDEN, FUSED},
    {"mlp.down_proj.weight", HIDDEN, FFN, ALWAYS},
    {"mlp.gate_proj.bias", FFN, NONE, MLP_BIAS},
    {"mlp.up_proj.bias", FFN, NONE, MLP_BIAS},
    {"mlp.down_proj.bias", HIDDEN, NONE, MLP_BIAS},
};
static const part outer_parts[] = {
    {"embed_tokens.weight", VOCABULARY, HIDDEN, ALWAYS},
    {"norm.weight", HIDDEN, NONE, ALWAYS},
    {"lm_head.weight", VOCABULARY, HIDDEN, UNTIED},
};
enum { LAYER_PARTS = sizeof layer_parts / sizeof *layer_parts, OUTER_PARTS = sizeof outer_parts / sizeof *outer_parts };

static int64_t axis_size(const gm_model_config *c, axis a) {
    switch (a) {
    case HIDDEN: return c->hidden_size;
    case FFN: return c->ffn_size;
    case QUERY: return c->heads * c->head_dim;
    case KEY: return c->kv_heads * c->head_dim;
    case QUERY_KEY_VALUE: return (c->heads + 2 * c->kv_heads) * c->head_dim;
    case GATE_UP: return 2 * c->ffn_size;
    case HEAD: return c->head_dim;
    case VOCABULARY: return c->vocabulary;
    case NONE: break;
    }
    return 0;
}

static bool is_needed(const gm_model_config *c, need n) {
    switch (n) {
    case SEPARATE: return !c->fused;
    case FUSED: return c->fused;
    case ATTENTION_BIAS: return c->attention_bias;
    case OUTPUT_BIAS: return c->output_bias;
    case MLP_BIAS: return c->mlp_bias;
    case QK_NORM: return c->qk_norm;
    case UNTIED: return !c->tied_embeddings;
    case ALWAYS: break;
    }
    return true;
}

enum { NAME = 256 };

static bool make_name(char name[NAME], int layer, const char *part_name) {
    int length = layer >= 0                               ? snprintf(name, NAME, "model.layers.%d.%s", layer, part_name)
                 : strncmp(part_name, "lm_head.", 8) == 0 ? snprintf(name, NAME, "%s", part_name)
                                                          : snprintf(name, NAME, "model.%s", part_name);
    return length < NAME;
}

static const char *without_prefix(const char *name) { return strncmp(name, "model.", 6) == 0 ? name + 6 : name; }

const gm_file_tensor *gm_weights_find(const gm_safetensors *file, int layer, const char *part_name) {
    char name[NAME];
    if (!make_name(name, layer, part_name)) return NULL;
    const gm_file_tensor *tensor = gm_safetensors_find(file, name);
    return tensor ? tensor : gm_safetensors_find(file, without_prefix(name));
}

/* Rows of a fused matrix, in the order in which they lie there. */
static const struct slice {
    const char *whole;
    const char *part;
    axis rows;
} slices[] = {
    {"self_attn.qkv_proj.weight", "self_attn.q_proj.weight", QUERY}, {"self_attn.qkv_proj.weight", "self_attn.k_proj.weight", KEY},
    {"self_attn.qkv_proj.weight", "self_attn.v_proj.weight", KEY},   {"mlp.gate_up_proj.weight", "mlp.gate_proj.weight", FFN},
    {"mlp.gate_up_proj.weight", "mlp.up_proj.weight", FFN},
};

bool gm_weights_part(gm_file_tensor *tensor, const gm_safetensors *file, const gm_model_config *config, int layer, const char *part_name) {
    const gm_file_tensor *found = NULL;
    int64_t before = 0;
    for (size_t i = 0; config->fused && i < sizeof slices / sizeof *slices; i++) {
        if (i > 0 && strcmp(slices[i].whole, slices[i - 1].whole) != 0) before = 0;
        if (strcmp(slices[i].part, part_name) == 0) {
            if (!(found = gm_weights_find(file, layer, slices[i].whole))) return false;
            size_t row = found->byte_count / (size_t)found->dim[0];
            *tensor = *found;
            tensor->dim[0] = axis_size(config, slices[i].rows);
            tensor->bytes += (size_t)before * row;
            tensor->byte_count = (size_t)tensor->dim[0] * row;
            return true;
        }
        before += axis_size(config, slices[i].rows);
    }
    if (!(found = gm_weights_find(file, layer, part_name))) return false;
    *tensor = *found;
    return true;
}

static const char *show_shape(const int64_t *dim, int rank, char text[GM_FILE_TENSOR_RANK * 22]) {
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < rank; i++) at += (size_t)snprintf(text + at, 22, "%s%lld", i ? "×" : "", (long long)dim[i]);
    return rank ? text : "a single number";
}

static const char *any_path(const gm_safetensors *file) {
    return gm_safetensors_count(file) ? gm_safetensors_path(file, gm_safetensors_at(file, 0)) : "the model's file";
}

static gm_status check_part(const gm_safetensors *file, const gm_model_config *c, int layer, const part *p) {
    if (!is_needed(c, p->need)) return GM_OK;
    const gm_file_tensor *t = gm_weights_find(file, layer, p->name);
    char name[NAME], found[GM_FILE_TENSOR_RANK * 22], implied[GM_FILE_TENSOR_RANK * 22];
    make_name(name, layer, p->name);
    if (!t) return gm_error(GM_BAD_FILE, "%s: %s: is missing, and config.json (%s) needs it", any_path(file), name, c->model_type);
    const char *path = gm_safetensors_path(file, t);
    int64_t dim[2] = {axis_size(c, p->rows), axis_size(c, p->columns)};
    int rank = p->columns == NONE ? 1 : 2;
    if (t->rank != rank || t->dim[0] != dim[0] || (rank == 2 && t->dim[1] != dim[1]))
        return gm_error(GM_BAD_FILE, "%s: %s: shape %s where config.json implies %s", path, name, show_shape(t->dim, t->rank, found),
                        show_shape(dim, rank, implied));
    if (t->type != GM_F32 && t->type != GM_F16 && t->type != GM_BF16)
        return gm_error(GM_BAD_FILE, "%s: %s: type %s where F32, F16 or BF16 should be", path, name, gm_type_name(t->type));
    return GM_OK;
}

static bool is_part(const gm_model_config *c, const part *parts, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(parts[i].name, name) == 0)
            return is_needed(c, parts[i].need) || parts[i].need == UNTIED; /* a copy of tied embeddings is harmless */
    return false;
}

/* Used by the model, or known to be without effect. */
static bool is_expected(const gm_model_config *c, const char *name) {
    name = without_prefix(name);
    const char *dot = strncmp(name, "layers.", 7) == 0 ? strchr(name + 7, '.') : NULL;
    int64_t layer;
    if (strstr(name, "rotary_emb.inv_freq")) return true; /* computed from config.json */
    if (!dot) return is_part(c, outer_parts, OUTER_PARTS, name);
    if (!gm_parse_integer(name + 7, (size_t)(dot - name - 7), 0, c->layers - 1, &layer)) return false;
    return is_part(c, layer_parts, LAYER_PARTS, dot + 1);
}

/* The layer of a tensor's name; −1: none. */
static int64_t layer_of(const char *name) {
    int64_t layer;
    name = without_prefix(name);
    size_t digits = strncmp(name, "layers.", 7) == 0 ? strspn(name + 7, "0123456789") : 0;
    return digits && name[7 + digits] == '.' && gm_parse_integer(name + 7, digits, 0, GM_EXACT_INTEGER, &layer) ? layer : -1;
}

/* A model cut short by its config.json is another model, which no other message would tell. */
static void warn_of_layers(const gm_safetensors *file, const gm_model_config *c) {
    int64_t last = -1;
    for (size_t i = 0; i < gm_safetensors_count(file); i++) {
        int64_t layer = layer_of(gm_safetensors_at(file, i)->name);
        if (layer > last) last = layer;
    }
    if (last >= c->layers)
        gm_log(GM_LOG_WARN, "%s: holds layers up to %lld; num_hidden_layers in config.json is %lld, the others are not used",
               any_path(file), (long long)last, (long long)c->layers);
}

static void note_extra(const gm_safetensors *file, const gm_model_config *c) {
    enum { SHOWN = 3 };
    size_t extra = 0;
    gm_buffer names = {0};
    warn_of_layers(file, c);
    for (size_t i = 0; i < gm_safetensors_count(file); i++) {
        const char *name = gm_safetensors_at(file, i)->name;
        if (is_expected(c, name)) continue;
        if (extra++ < SHOWN) gm_buffer_format(&names, "%s%.100s", extra > 1 ? ", " : "", name);
    }
    if (extra)
        gm_log(GM_LOG_INFO, "%s: %zu tensors that the model does not use: %s%s", any_path(file), extra, gm_buffer_string(&names),
               extra > SHOWN ? " …" : "");
    gm_buffer_free(&names);
}

gm_status gm_weights_check(const gm_safetensors *file, const gm_model_config *config) {
    for (int i = 0; i < OUTER_PARTS; i++) GM_TRY(check_part(file, config, -1, &outer_parts[i]));
    for (int64_t layer = 0; layer < config->layers; layer++)
        for (int i = 0; i < LAYER_PARTS; i++) GM_TRY(check_part(file, config, (int)layer, &layer_parts[i]));
    note_extra(file, config);
    return GM_OK;
}

static uint64_t count_elements(const gm_model_config *c, const part *parts, int count) {
    uint64_t elements = 0;
    for (int i = 0; i < count; i++)
        if (is_needed(c, parts[i].need))
            elements += (uint64_t)axis_size(c, parts[i].rows) * (uint64_t)(parts[i].columns == NONE ? 1 : axis_size(c, parts[i].columns));
    return elements;
}

uint64_t gm_weights_elements(const gm_model_config *config) {
    return count_elements(config, outer_parts, OUTER_PARTS) + (uint64_t)config->layers * count_elements(config, layer_parts, LAYER_PARTS);
}

static uint64_t fnv(uint64_t hash, const void *bytes, size_t length) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < length; i++) hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t fnv_integer(uint64_t hash, uint64_t value) { /* the same on every byte order */
    for (int i = 0; i < 8; i++) hash = (hash ^ (value >> (8 * i) & 255)) * 0x100000001b3u;
    return hash;
}

static uint64_t fnv_double(uint64_t hash, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return fnv_integer(hash, bits);
}

static uint64_t mix(uint64_t h) { /* the finaliser of SplitMix64: a sum of hashes needs all bits stirred */
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}

static const uint64_t fnv_begin = 0xcbf29ce484222325u;

static uint64_t tensor_hash(const gm_file_tensor *t) {
    const char *name = without_prefix(t->name), *type = gm_type_name(t->type);
    uint64_t h = fnv(fnv_begin, name, strlen(name) + 1);
    h = fnv(h, type, strlen(type) + 1);
    for (int i = 0; i < t->rank; i++) h = fnv_integer(h, (uint64_t)t->dim[i]);
    return mix(gm_hash(t->bytes, t->byte_count, h));
}

/* A sum, so that the order and the number of files do not matter. */
static uint64_t hash_tensors(const gm_safetensors *file) {
    uint64_t sum = 0;
    int64_t count = (int64_t)gm_safetensors_count(file);
#pragma omp parallel for schedule(dynamic, 1) reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) {
        const gm_file_tensor *tensor = gm_safetensors_at(file, (size_t)i);
        sum += tensor_hash(tensor);
        gm_safetensors_release_pages(file, tensor); /* memory that is used is what the run uses, not what was looked at once */
    }
    return sum;
}

uint64_t gm_weights_hash(const gm_safetensors *file, const gm_model_config *c) {
    const int64_t integers[] = {c->hidden_size, c->ffn_size,       c->layers,        c->heads,          c->kv_heads,
                                c->head_dim,    c->vocabulary,     c->max_positions, c->sliding_window, c->window_from_layer,
                                c->rope,        c->attention_bias, c->output_bias,   c->mlp_bias,       c->tied_embeddings,
                                c->qk_norm,     c->eos_token,      c->bos_token};
    const double reals[] = {c->norm_eps,        c->rope_theta,       c->rope_factor,
                            c->rope_low_factor, c->rope_high_factor, c->rope_original_positions};
    uint64_t h = fnv(fnv_begin, c->model_type, strlen(c->model_type) + 1);
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) h = fnv_integer(h, (uint64_t)integers[i]);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) h = fnv_double(h, reals[i]);
    return mix(h) + hash_tensors(file);
}
