/* The keys of MoE-PEFT, mLoRA and the reference program, as their programs read them. */
#include "train/translate.h"

#include <stdio.h>

/* ---- values that are written otherwise -------------------------------------------------------------------------- */

static gm_status give(gm_translation *t, cJSON **ours, cJSON *made) {
    *ours = made;
    return made ? GM_OK : gm_error(GM_NO_MEMORY, "%s: out of memory", t->source);
}

static gm_status as_it_is(gm_translation *t, cJSON **ours, const cJSON *value) { return give(t, ours, cJSON_Duplicate(value, true)); }

/* −1: as many as the model takes. */
static gm_status cutoff(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    if (!cJSON_IsNumber(value) || value->valuedouble != -1) return as_it_is(t, ours, value);
    gm_translate_note(t, key->name, "-1, the model's own limit, has no counterpart; train.max_length has its default");
    return GM_OK;
}

/* Theirs count micro-batches, ours optimiser steps. */
static gm_status steps(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    int64_t batch, micro, count;
    (void)key;
    if (!gm_json_is_integer(value, &count) || count < 1) return as_it_is(t, ours, value);
    const cJSON *whole = gm_json_member(t->adapter, "batch_size"), *part = gm_json_member(t->adapter, "micro_batch_size");
    bool both = whole && part && gm_json_is_integer(whole, &batch) && gm_json_is_integer(part, &micro) && micro > 0 && batch > micro;
    int64_t each = both ? batch / micro : 1;
    return give(t, ours, cJSON_CreateNumber((double)((count + each - 1) / each)));
}

/* The reference program evaluates when it saves; MoE-PEFT has a key for each. */
static gm_status save_steps(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    GM_TRY(steps(t, key, value, ours));
    if (gm_json_member(t->adapter, "evaluate_steps")) return GM_OK;
    return gm_translate_set(t, key->name, "train.eval_every", *ours, NULL);
}

/* "glue:sst2" → "sst2" */
static cJSON *task_of(const char *name, size_t length) {
    char copy[256];
    size_t prefix = length > 5 && strncmp(name, "glue:", 5) == 0 ? 5 : 0;
    snprintf(copy, sizeof copy, "%.*s", (int)(length - prefix), name + prefix);
    return cJSON_CreateString(copy);
}

/* "arc-c;boolq" */
static gm_status task_list(gm_translation *t, const char *names, cJSON **ours) {
    cJSON *list = cJSON_CreateArray();
    for (const char *name = names; list;) {
        size_t length = strcspn(name, ";");
        if (length && !cJSON_AddItemToArray(list, task_of(name, length))) cJSON_Delete(list), list = NULL;
        if (name[length] == '\0') break;
        name += length + 1;
    }
    return give(t, ours, list);
}

static gm_status task(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    const char *name = cJSON_IsString(value) ? value->valuestring : NULL;
    if (!name) return as_it_is(t, ours, value);
    if (strchr(name, ';')) return task_list(t, name, ours);
    if (name[0] && strcmp(name, "casual") != 0 && strcmp(name, "causal") != 0) return give(t, ours, task_of(name, strlen(name)));
    gm_translate_note(t, key->name, "names no task; for data of your own write prompts and completions and take --set task=jsonl");
    return GM_OK;
}

static gm_status scheduler(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    (void)key;
    bool warm = cJSON_IsString(value) && strcmp(value->valuestring, "constant_with_warmup") == 0;
    return warm ? give(t, ours, cJSON_CreateString("constant")) : as_it_is(t, ours, value);
}

/* transformers' constant schedule, theirs where none is given, has no warm-up. */
static gm_status warmup(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    const cJSON *given = gm_json_member(t->adapter, "scheduler_type");
    bool constant = !given || cJSON_IsNull(given) || (cJSON_IsString(given) && strcmp(given->valuestring, "constant") == 0);
    if (!constant && cJSON_IsNumber(value) && value->valuedouble > 0 && value->valuedouble < 1)
        return gm_translate_refuse(t, key->name, value,
                                   "is a share of the run's steps, and train.warmup_steps counts them: --dry-run with --set "
                                   "train.warmup_steps=0 tells the run's");
    if (!constant) return as_it_is(t, ours, value);
    if (!cJSON_IsNumber(value) || value->valuedouble != 0)
        gm_translate_note(t, key->name, "is not used with scheduler_type \"constant\"; \"constant_with_warmup\" has a warm-up");
    return GM_OK;
}

/* A number, or a list of one for each layer. */
static gm_status experts(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    const cJSON *first = cJSON_IsArray(value) ? cJSON_GetArrayItem(value, 0) : NULL, *element;
    if (!first) return as_it_is(t, ours, value);
    cJSON_ArrayForEach(element, value) {
        if (!cJSON_Compare(first, element, true))
            return gm_translate_refuse(t, key->name, value, "a number that differs between layers is not built yet; give one for all");
    }
    return as_it_is(t, ours, first);
}

/* {"q_proj": true, …} or ["q_proj", …]; names that no model of ours has are refused where they are wanted. */
static gm_status targets(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    static const char *const names[][2] = {{"q_proj", "q"},       {"k_proj", "k"},      {"v_proj", "v"},     {"o_proj", "o"},
                                           {"w1_proj", "gate"},   {"w3_proj", "up"},    {"w2_proj", "down"}, {"up_proj", "up"},
                                           {"gate_proj", "gate"}, {"down_proj", "down"}};
    const cJSON *member;
    if (!cJSON_IsObject(value) && !cJSON_IsArray(value))
        return gm_translate_refuse(t, key->name, value, "must be a list of names, or an object that has true or false for each");
    cJSON *list = cJSON_CreateArray();
    GM_TRY(give(t, ours, list));
    cJSON_ArrayForEach(member, value) {
        const char *name = cJSON_IsObject(value) ? member->string : cJSON_IsString(member) ? member->valuestring : "";
        if (cJSON_IsObject(value) && !cJSON_IsBool(member))
            return gm_translate_refuse(t, key->name, value, "must have true or false for each name");
        if (cJSON_IsFalse(member)) continue;
        size_t i = 0, count = sizeof names / sizeof *names;
        while (i < count && strcmp(names[i][0], name) != 0) i++;
        if (i == count)
            return gm_error(GM_USAGE, "%s: lora[0].%s: %.60s: models of the Llama family have no such layer; set it to false", t->source,
                            key->name, name);
        if (!cJSON_AddItemToArray(list, cJSON_CreateString(names[i][1]))) return gm_error(GM_NO_MEMORY, "%s: out of memory", t->source);
    }
    return GM_OK;
}

/* ---- methods ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *strategy, *method;
    const char *balance; /* the loss where balance_strategy does not say; NULL: none where router_loss does not ask for it */
} strategies[] = {{"goe", "gmoe", "goe"},
                  {"gmoe", "gmoe", "goe"}, /* as people call it */
                  {"mixtral", "mixlora", "mixtral"},
                  {"mixlora", "mixlora", "mixtral"},
                  {"loramoe", "loramoe", NULL},
                  {"mola", "mola", NULL}};
enum { STRATEGIES = sizeof strategies / sizeof *strategies };

static const struct {
    const char *type, *own; /* the routing where routing_strategy does not say; NULL: none */
    const char *routings;   /* those that it may say */
} peft_types[] = {{"LORA", NULL, " "},
                  {"MIXLORA", "mixlora", " goe gmoe mixtral mixlora "},
                  {"LORAMOE", "loramoe", " loramoe "},
                  {"MOLA", "mola", " mola "}};
enum { PEFT_TYPES = sizeof peft_types / sizeof *peft_types };

static int peft_type_of(const cJSON *adapter) {
    const char *name = gm_json_text_at(adapter, "peft_type");
    int i = 0;
    while (i < PEFT_TYPES && strcmp(peft_types[i].type, name) != 0) i++;
    return i;
}

/* Theirs, or the one that peft_type stands for; "": none. */
static const char *routing_of(const gm_translation *t) {
    int type = peft_type_of(t->adapter);
    if (gm_json_member(t->adapter, "routing_strategy")) return gm_json_text_at(t->adapter, "routing_strategy");
    return type < PEFT_TYPES && peft_types[type].own ? peft_types[type].own : "";
}

static int strategy_of(const gm_translation *t) {
    const char *name = routing_of(t);
    int i = 0;
    while (i < STRATEGIES && strcmp(strategies[i].strategy, name) != 0) i++;
    return i;
}

static const char *balance_of(const gm_translation *t) {
    const char *given = gm_json_text_at(t->adapter, "balance_strategy");
    const cJSON *wanted = gm_json_member(t->adapter, "router_loss");
    int strategy = strategy_of(t);
    const char *own = strategy < STRATEGIES ? strategies[strategy].balance : NULL;
    if (wanted ? cJSON_IsFalse(wanted) : !own) return "none";
    return given[0] ? given : own ? own : "mixtral";
}

/* The graph router's losses on a linear router: GMoE without its graph. */
static bool is_graphless(const gm_translation *t) {
    return strcmp(gm_json_text_at(t->adapter, "routing_strategy"), "mixtral") == 0 && strcmp(balance_of(t), "goe") == 0;
}

static gm_status method(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    (void)value;
    int i = strategy_of(t);
    if (i == STRATEGIES)
        return gm_translate_refuse(t, key->name, value,
                                   "is a routing that is not here; goe, or gmoe, mixtral, mixlora, loramoe and mola are known");
    const char *name = is_graphless(t) ? "gmoe" : strategies[i].method;
    if (!gm_method_find(name))
        return gm_translate_refuse(t, key->name, value, "is not built yet; \"goe\", GMoE's, is, and without the key it is plain LoRA");
    return give(t, ours, cJSON_CreateString(name));
}

static gm_status peft_type(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    const cJSON *routing = gm_json_member(t->adapter, "routing_strategy");
    char spaced[64];
    int type = peft_type_of(t->adapter);
    (void)ours; /* routing_of reads it */
    if (type == PEFT_TYPES)
        return gm_translate_refuse(t, key->name, value, "is a kind of adapter that is not here; LORA is, with experts and without");
    snprintf(spaced, sizeof spaced, " %.50s ", cJSON_IsString(routing) ? routing->valuestring : "");
    if (!routing || strstr(peft_types[type].routings, spaced)) return GM_OK;
    return gm_error(GM_USAGE, "%s: %s%s: \"%s\" contradicts routing_strategy \"%.50s\"; leave out the one that is not meant", t->source,
                    t->place, key->name, peft_types[type].type, gm_json_text_at(t->adapter, "routing_strategy"));
}

static gm_status router_loss(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    (void)ours; /* balance_of reads it */
    return cJSON_IsBool(value) ? GM_OK : gm_translate_refuse(t, key->name, value, "must be true or false");
}

static gm_status balance(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    const char *name = cJSON_IsString(value) ? value->valuestring : "";
    (void)ours; /* likewise */
    if (strcmp(name, "goe") == 0 || strcmp(name, "mixtral") == 0) return GM_OK;
    return gm_translate_refuse(t, key->name, value, "is a loss that is not here; goe and mixtral are");
}

/* gm_translate_together or gm_translate itself looks at it. */
static gm_status later(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    (void)t, (void)key, (void)value, (void)ours;
    return GM_OK;
}

static const struct {
    const char *name, *path, *balance; /* the balance_strategy that has it */
    double otherwise;                  /* theirs, where it is not given */
} losses[] = {{"router_route_loss_coef_", "adapter.losses.poisson", "goe", 0.01},
              {"router_count_loss_coef_", "adapter.losses.normal", "goe", 0.01},
              {"router_aux_loss_coef", "adapter.losses.balance", "mixtral", 0.001}};

static gm_status set_number(gm_translation *t, const char *name, const char *path, double number, const char *remark) {
    cJSON *value = cJSON_CreateNumber(number);
    gm_status status = value ? gm_translate_set(t, name, path, value, remark) : gm_error(GM_NO_MEMORY, "%s: out of memory", t->source);
    cJSON_Delete(value);
    return status;
}

static gm_status set_losses(gm_translation *t) {
    const char *balanced = balance_of(t);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        const cJSON *given = gm_json_member(t->adapter, losses[i].name);
        bool used = strcmp(balanced, losses[i].balance) == 0;
        if (given && !used) gm_translate_note(t, losses[i].name, "is not used with this balance_strategy and router_loss");
        if (given && used)
            GM_TRY(gm_translate_set(t, losses[i].name, losses[i].path, given, NULL));
        else
            GM_TRY(set_number(t, losses[i].name, losses[i].path, used ? losses[i].otherwise : 0, used ? "theirs, not given" : "not used"));
    }
    return GM_OK;
}

/* What the reference program takes for keys that a graph router's file does not give, where that is not ours. */
static gm_status set_absent(gm_translation *t) {
    static const struct {
        const char *name, *path;
        double value;
    } absent[] = {
        {"top_k", "adapter.top_k", 3}, {"num_gcnlayer", "adapter.router.layers", 3}, {"dim_gcn", "adapter.router.hidden_size", 128}};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (!gm_json_member(t->adapter, absent[i].name) && !(i == 0 && gm_json_member(t->adapter, "topk")))
            GM_TRY(set_number(t, absent[i].name, absent[i].path, absent[i].value, "theirs, not given"));
    return GM_OK;
}

gm_status gm_translate_together(gm_translation *t) {
    cJSON *value = NULL;
    bool given = gm_json_member(t->adapter, "routing_strategy") != NULL, routed = routing_of(t)[0] != '\0';
    if (routed && !given) { /* peft_type says which */
        GM_TRY(give(t, &value, cJSON_CreateString(strategies[strategy_of(t)].method)));
        gm_status set = gm_translate_set(t, "peft_type", "method", value, NULL);
        cJSON_Delete(value);
        value = NULL;
        GM_TRY(set);
    }
    for (size_t i = 0; i < sizeof losses / sizeof *losses && !routed; i++)
        if (gm_json_member(t->adapter, losses[i].name)) gm_translate_note(t, losses[i].name, "is not used without routing_strategy");
    if (!routed) {
        GM_TRY(give(t, &value, cJSON_CreateString("lora")));
    } else if (is_graphless(t)) {
        GM_TRY(give(t, &value, cJSON_CreateString("linear")));
    }
    gm_status status =
        value ? gm_translate_set(t, "routing_strategy", routed ? "adapter.router.type" : "method", value, routed ? NULL : "not given")
              : GM_OK;
    cJSON_Delete(value);
    GM_TRY(status);
    if (routed) GM_TRY(set_losses(t));
    return given && strcmp(strategies[strategy_of(t)].method, "gmoe") == 0 ? set_absent(t) : GM_OK;
}

/* Densities of similarity are on a scale of their own: 0.25 of 8 × 8 pairs counts each expert with itself. */
static gm_status density(gm_translation *t, const gm_foreign_key *key, const cJSON *value, cJSON **ours) {
    cJSON *edges = NULL;
    GM_TRY(give(t, &edges, cJSON_CreateString("similarity")));
    gm_status status = gm_translate_set(t, key->name, "adapter.router.edges", edges, NULL);
    cJSON_Delete(edges);
    return status == GM_OK ? as_it_is(t, ours, value) : status;
}

/* ---- the keys --------------------------------------------------------------------------------------------------- */

#define ONE_RUN "has no counterpart: one adapter is trained, and then evaluated"
#define PADDING "has no counterpart: nothing is padded here"
#define QUANTISED "quantised base models are not here; set it to false"
#define TOKENS "has no counterpart: eval.batch_tokens counts tokens"
#define OWN_DATA "has no counterpart: data of your own are prompts and completions, --data-dir DIR --set task=jsonl"
#define SWITCH "has no counterpart: the switch and dynamic strategies, which read it, are not here"

const gm_foreign_key gm_foreign_top_keys[] = {
    {"lora", .convert = later},
    {"base_model", .path = "base_model"},
    {"cutoff_len", .path = "train.max_length", .convert = cutoff, .remark = "a longer prompt loses its beginning, not its end"},
    {"save_step", .path = "train.save_every", .sets_more = true, .convert = save_steps, .remark = "optimiser steps, not micro-batches"},
    {"load_8bit", .same = "false", .refused = true, .remark = QUANTISED},
    {"load_4bit", .same = "false", .refused = true, .remark = QUANTISED},
    {"quantize", .same = "false", .refused = true, .remark = QUANTISED},
    {"train_lora_candidate_num", .remark = ONE_RUN},
    {"train_lora_simultaneously_num", .remark = ONE_RUN},
    {"inference_lora_simultaneously_num", .remark = ONE_RUN},
    {"eval_lora_simultaneously_num", .remark = ONE_RUN},
    {"eval_rollback_retrying_steps", .remark = ONE_RUN},
    {"train_strategy", .remark = ONE_RUN},
    {"early_stop_test_step", .remark = "has no counterpart; eval.patience ends a run that does not improve"},
    {"evaluate_result", .remark = "has no counterpart: results are in the output directory"},
    {"expand_right", .remark = PADDING},
    {"pad_token_id", .remark = PADDING},
    {"group_by_length", .same = "false", .remark = "has no counterpart: samples are not sorted by their length"},
    {NULL},
};

const gm_foreign_key gm_foreign_adapter_keys[] = {
    {"name", .path = "output_dir"},
    {"output", .remark = "has no counterpart: name gives the output directory"},
    {"task_name", .path = "task", .convert = task},
    {"data", .remark = OWN_DATA},
    {"test_data", .remark = OWN_DATA},
    {"prompt", .remark = OWN_DATA},
    {"val_set_size", .remark = OWN_DATA},
    {"optim", .path = "train.optimizer"},
    {"momentum", .same = "0", .remark = "has no counterpart: it is SGD's, and the optimiser is AdamW"},
    {"lr", .path = "train.learning_rate"},
    {"weight_decay", .path = "train.weight_decay"},
    {"loraplus_lr_ratio", .path = "train.lora_plus_ratio"},
    {"scheduler_type", .path = "train.scheduler", .convert = scheduler},
    {"warmup_steps", .path = "train.warmup_steps", .convert = warmup},
    {"warmup_ratio", .same = "0", .remark = "has no counterpart: train.warmup_steps counts steps, and --dry-run tells the run's"},
    {"batch_size", .path = "train.batch_size"},
    {"micro_batch_size", .path = "train.micro_batch_samples"},
    {"test_batch_size", .remark = TOKENS},
    {"evaluate_batch_size", .remark = TOKENS},
    {"evaluate_steps", .path = "train.eval_every", .convert = steps, .remark = "optimiser steps, not micro-batches"},
    {"num_epochs", .path = "train.epochs"},
    {"group_by_length", .same = "false", .remark = "has no counterpart: samples are not sorted by their length"},
    {"expand_side", .remark = PADDING},

    {"peft_type", .convert = peft_type},
    {"r", .path = "adapter.rank"},
    {"lora_alpha", .path = "adapter.alpha"},
    {"alpha", .path = "adapter.alpha"},
    {"lora_dropout", .path = "adapter.dropout"},
    {"dropout", .path = "adapter.dropout"},
    {"target_modules", .path = "adapter.targets", .convert = targets},
    {"use_dora", .path = "adapter.dora"},
    {"use_rslora", .path = "adapter.rslora"},
    {"lora_init", .same = "\"original\"", .refused = true, .remark = "only \"original\" is here: A uniform, B zero"},
    {"load_8bit", .same = "false", .refused = true, .remark = QUANTISED},
    {"load_4bit", .same = "false", .refused = true, .remark = QUANTISED},

    {"routing_strategy", .path = "method", .sets_more = true, .convert = method},
    {"balance_strategy", .convert = balance},
    {"router_loss", .convert = router_loss},
    {"router_route_loss_coef_", .convert = later},
    {"router_count_loss_coef_", .convert = later},
    {"router_aux_loss_coef", .convert = later},
    {"num_experts", .path = "adapter.num_experts", .convert = experts},
    {"experts", .path = "adapter.num_experts", .convert = experts},
    {"top_k", .path = "adapter.top_k"},
    {"topk", .path = "adapter.top_k"},
    {"num_gcnlayer", .path = "adapter.router.layers"},
    {"edges_thresholds", .path = "adapter.router.edge_density", .sets_more = true, .convert = density},
    {"dim_gcn", .path = "adapter.router.hidden_size"},
    {"expert_lora", .same = "{}", .refused = true, .remark = "experts with settings of their own are not here"},
    {"jitter_noise", .same = "0", .refused = true, .remark = "noise on the router's input is not here; set it to 0"},
    {"router_init_range", .same = "0.02", .refused = true, .remark = "a linear router begins with deviation 0.02 here"},
    {"act_fn", .same = "\"silu\"", .refused = true, .remark = "experts have the base model's activation here, silu"},
    {"router_z_loss_coef", .remark = SWITCH},
    {"expert_capacity", .remark = SWITCH},
    {"ffn_dropout", .remark = SWITCH},
    {"sparse_step", .remark = SWITCH},
    {"top_p", .remark = SWITCH},
    {"temperature", .remark = SWITCH},
    {NULL},
};
