/* What an adapter is: the choices of method.md as one struct. A method (gmoe, lora, …) is a set of these choices;
 * the run's configuration starts from the method's and lets explicit keys win. */
#ifndef GM_MODEL_ADAPTER_ADAPTER_CONFIG_H
#define GM_MODEL_ADAPTER_ADAPTER_CONFIG_H

#include "backend/backend.h"

enum { GM_EXPERTS = 256 }; /* at most */

typedef enum gm_target {
    GM_TARGET_Q,
    GM_TARGET_K,
    GM_TARGET_V,
    GM_TARGET_O,
    GM_TARGET_GATE,
    GM_TARGET_UP,
    GM_TARGET_DOWN,
    GM_TARGETS
} gm_target;
extern const char *const gm_target_names[];   /* "q" …      */
extern const char *const gm_target_modules[]; /* "q_proj" … */

/* Beside each enum its values' names in configurations and adapter files, NULL at the end (adapter_config.c). */
typedef enum gm_router_type { GM_ROUTER_NONE, GM_ROUTER_GRAPH, GM_ROUTER_LINEAR } gm_router_type;
extern const char *const gm_router_type_names[];
typedef enum gm_edges {
    GM_EDGES_RANDOM,
    GM_EDGES_SIMILARITY,
    GM_EDGES_FULL,
    GM_EDGES_NONE,
    GM_EDGES_LEARNED /* planned, as is what may follow */
} gm_edges;
extern const char *const gm_edges_names[];
typedef enum gm_features { GM_FEATURES_FROZEN, GM_FEATURES_EMBEDDING } gm_features;
extern const char *const gm_features_names[];
extern const char *const gm_divergence_names[]; /* of gm_divergence */
typedef enum gm_count { GM_COUNT_CUMULATIVE, GM_COUNT_EMA, GM_COUNT_BATCH } gm_count;
extern const char *const gm_count_names[];
/* When counts join the past: after the step, whose micro-batches make one count; or after each of them. */
typedef enum gm_count_at { GM_COUNT_AT_STEP, GM_COUNT_AT_MICRO_BATCH } gm_count_at;
extern const char *const gm_count_at_names[];
typedef enum gm_normal_target { GM_NORMAL_LAYER, GM_NORMAL_JOINT } gm_normal_target;
extern const char *const gm_normal_target_names[];

typedef struct gm_adapter_config {
    int64_t rank;
    double alpha; /* scale s = α/r, rank-stabilised: α/√r */
    bool rslora;
    double dropout; /* on the branches' inputs, in training */
    bool target[GM_TARGETS];
    int64_t num_experts, top_k; /* 1, 1 without a router */
    struct {
        gm_router_type type;
        int64_t layers, hidden_size;
        gm_edges edges;
        double edge_density;
        int64_t edge_seed;
        gm_features expert_features;
        double token_gain;
    } router;
    struct {
        gm_divergence divergence;
        double poisson, normal, balance; /* coefficients; 0: the loss is neither computed nor logged */
        gm_count count;
        double ema_decay; /* ρ of count "ema" */
        gm_count_at count_at;
        gm_normal_target normal_target;
    } losses;
} gm_adapter_config;

typedef struct gm_method {
    const char *name, *summary;
    gm_adapter_config defaults;
} gm_method;

extern const gm_method gm_method_gmoe, gm_method_lora;
/* All methods, NULL at the end; and the one of this name, or NULL. */
extern const gm_method *const gm_methods[];
const gm_method *gm_method_find(const char *name);

/* Contradictions within (top_k over num_experts, a rank of 0, a density outside 0…1, …): GM_USAGE, key named as "adapter.…". */
gm_status gm_adapter_config_check(const gm_adapter_config *config);
double gm_adapter_scale(const gm_adapter_config *config); /* s */

/* Of an adapter_config.json (adapter_json.c), as gm_adapter_open takes it; GM_BAD_FILE names the key. */
gm_status gm_adapter_config_read(gm_adapter_config *config, const char *path);
/* For values whose shapes come from elsewhere: GM_BAD_FILE only where a key says that they are meant for other formulas or places. */
gm_status gm_adapter_config_refuse(const char *path);

#endif
