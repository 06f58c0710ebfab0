#include "train/config_keys.h"

#include <stddef.h>

static const char *const dtypes[] = {[GM_F32] = "f32", [GM_BF16] = "bf16", NULL};
static const char *const methods[] = {"gmoe", "lora", "mixlora", "loramoe", "mola", "ming-moe", NULL};
static const char *const routings[] = {"ffn", "linear", NULL};
static const char *const schedulers[] = {
    [GM_SCHEDULER_CONSTANT] = "constant", [GM_SCHEDULER_LINEAR] = "linear", [GM_SCHEDULER_COSINE] = "cosine", NULL};
static const char *const loss_ons[] = {[GM_LOSS_ON_ANSWER] = "answer", [GM_LOSS_ON_ALL] = "all", NULL};
static const char *const loss_means[] = {[GM_LOSS_MEAN_STEP] = "step", [GM_LOSS_MEAN_MICRO_BATCH] = "micro_batch", NULL};
static const char *const optimizers[] = {"adamw", NULL};
static const char *const scorings[] = {
    [GM_SCORING_AUTO] = "auto", [GM_SCORING_LABEL] = "label", [GM_SCORING_LIKELIHOOD] = "likelihood", NULL};
static const char *const metrics[] = {
    [GM_METRIC_ACCURACY] = "accuracy", [GM_METRIC_ACCURACY_NORM] = "accuracy_norm", [GM_METRIC_ACCURACY_BYTES] = "accuracy_bytes", NULL};

/* Most keys are called as their member is. */
#define AT(name, member, kind) .path = name, .type = kind, .offset = offsetof(gm_config, member)
#define TEXT(name, member) AT(name, member, GM_CONFIG_STRING), .size = sizeof(((gm_config *)0)->member)
#define INTEGER(name, member, least, most) AT(name, member, GM_CONFIG_INTEGER), .low = least, .high = most
#define NUMBER(name, member, least, most) AT(name, member, GM_CONFIG_NUMBER), .low = least, .high = most
#define BOOL(name, member) AT(name, member, GM_CONFIG_BOOL)
#define CHOICE(name, member, list) AT(name, member, GM_CONFIG_CHOICE), .choices = list

#define MANY 9007199254740991.0 /* 2^53 − 1: from there on a double may be a rounded integer */
#define HUGE_NUMBER 1e30

/* Keys of one section stand together: the dump opens and closes objects as it goes. */
const gm_config_key gm_config_keys[] = {
    {TEXT("base_model", base_model), .resume_may_change = true, .meaning = "Hugging Face directory of the frozen base model"},
    {TEXT("data_dir", data_dir), .fallback = "\"data\"", .resume_may_change = true,
     .meaning = "the data set's folder, or one that holds it"},
    {TEXT("output_dir", output_dir), .resume_may_change = true, .meaning = "where the run is written"},
    {AT("task", task, GM_CONFIG_TASKS), .meaning = "a task's name, the path of a task file, or an array of these"},
    {INTEGER("seed", seed, 0, MANY), .fallback = "42", .meaning = "of initial values and sample order"},
    {CHOICE("dtype", dtype, dtypes), .fallback = "\"bf16\"", .meaning = "type of the base model's products"},
    {CHOICE("method", method, methods), .fallback = "\"gmoe\"", .meaning = "preset of the adapter's keys"},

    {INTEGER("adapter.rank", adapter.rank, 1, 4096), .meaning = "LoRA rank r"},
    {NUMBER("adapter.alpha", adapter.alpha, 0, HUGE_NUMBER), .meaning = "LoRA magnitude: the scale is alpha / rank"},
    {NUMBER("adapter.dropout", adapter.dropout, 0, 0.99), .meaning = "on the LoRA branches' inputs, in training"},
    {AT("adapter.targets", adapter.target, GM_CONFIG_TARGETS), .choices = gm_target_names, .meaning = "linear layers that get LoRA"},
    {BOOL("adapter.rslora", adapter.rslora), .meaning = "rank-stabilised scale alpha / sqrt(rank)"},
    {BOOL("adapter.dora", only.dora), .fallback = "false", .only_default = true, .meaning = "weight-decomposed LoRA"},
    {CHOICE("adapter.routing", only.routing, routings), .fallback = "\"ffn\"", .built = 1,
     .meaning = "one router for each FFN, or each linear layer"},
    {INTEGER("adapter.num_experts", adapter.num_experts, 1, GM_EXPERTS), .meaning = "LoRA experts a layer"},
    {INTEGER("adapter.top_k", adapter.top_k, 1, GM_EXPERTS), .meaning = "experts active for a token"},
    {CHOICE("adapter.router.type", adapter.router.type, gm_router_type_names), .meaning = "how experts are chosen"},
    {INTEGER("adapter.router.layers", adapter.router.layers, 1, GM_ROUTER_LAYERS), .meaning = "graph convolutions"},
    {INTEGER("adapter.router.hidden_size", adapter.router.hidden_size, 1, 65536), .meaning = "width of the graph router"},
    {CHOICE("adapter.router.edges", adapter.router.edges, gm_edges_names), .built = GM_EDGES_LEARNED, .meaning = "edges among experts"},
    {NUMBER("adapter.router.edge_density", adapter.router.edge_density, 0, 1), .meaning = "share of the possible edges"},
    {INTEGER("adapter.router.edge_seed", adapter.router.edge_seed, 0, MANY), .meaning = "of random edges"},
    {CHOICE("adapter.router.expert_features", adapter.router.expert_features, gm_features_names),
     .meaning = "frozen random vectors, or trained ones"},
    {NUMBER("adapter.router.token_gain", adapter.router.token_gain, 0, HUGE_NUMBER),
     .meaning = "gain of the token projection's initial values"},
    {CHOICE("adapter.losses.divergence", adapter.losses.divergence, gm_divergence_names), .meaning = "of the Poisson and Normal losses"},
    {NUMBER("adapter.losses.poisson", adapter.losses.poisson, 0, HUGE_NUMBER), .meaning = "coefficient of the Poisson distinction loss"},
    {NUMBER("adapter.losses.normal", adapter.losses.normal, 0, HUGE_NUMBER), .meaning = "coefficient of the Normal balance loss"},
    {NUMBER("adapter.losses.balance", adapter.losses.balance, 0, HUGE_NUMBER), .meaning = "coefficient of the Mixtral balance loss"},
    {CHOICE("adapter.losses.count", adapter.losses.count, gm_count_names), .meaning = "what the Normal loss remembers of earlier steps"},
    {NUMBER("adapter.losses.ema_decay", adapter.losses.ema_decay, 0, 1), .meaning = "decay of count ema"},
    {CHOICE("adapter.losses.count_at", adapter.losses.count_at, gm_count_at_names),
     .meaning = "when the counts are taken and join the past; micro_batch: the Normal loss is each micro-batch's"},
    {CHOICE("adapter.losses.normal_target", adapter.losses.normal_target, gm_normal_target_names),
     .meaning = "the Normal loss's target: for each layer, or all together"},

    {INTEGER("train.epochs", train.epochs, 1, 1000000), .fallback = "5", .resume_may_change = true,
     .meaning = "passes over the training split"},
    {INTEGER("train.max_steps", train.max_steps, 0, MANY), .fallback = "0", .resume_may_change = true,
     .meaning = "ends the run before its epochs; 0: does not"},
    {AT("train.mix", train.mix, GM_CONFIG_WEIGHTS), .fallback = "[]", .low = 0, .high = HUGE_NUMBER,
     .meaning = "the tasks' shares of an epoch's samples, in their order; []: each has all of its own"},
    {INTEGER("train.batch_size", train.batch_size, 1, 1 << 20), .fallback = "16", .meaning = "samples of an optimiser step"},
    {INTEGER("train.micro_batch_tokens", train.micro_batch_tokens, 1, 1 << 30), .fallback = "8192", .resume_may_change = true,
     .meaning = "tokens computed at once (a longer sample stands alone); several micro-batches a step estimate the Normal loss's gradient"},
    {INTEGER("train.micro_batch_samples", train.micro_batch_samples, 0, 1 << 20), .fallback = "0",
     .meaning = "samples computed at once, whatever their tokens; 0: by micro_batch_tokens"},
    {NUMBER("train.learning_rate", train.learning_rate, 0, 1e6), .fallback = "2e-4", .meaning = "of AdamW"},
    {AT("train.betas", train.betas, GM_CONFIG_PAIR), .fallback = "[0.9, 0.999]", .low = 0, .high = 1, .meaning = "of AdamW"},
    {NUMBER("train.eps", train.eps, 1e-30, 1), .fallback = "1e-8", .meaning = "of AdamW, outside the root"},
    {NUMBER("train.weight_decay", train.weight_decay, 0, 1e6), .fallback = "0.01", .meaning = "decoupled; every trainable tensor decays"},
    {NUMBER("train.lora_plus_ratio", train.lora_plus_ratio, 0, 1e6), .fallback = "1",
     .meaning = "LoRA+: learning rate of B over that of the others"},
    {CHOICE("train.scheduler", train.scheduler, schedulers), .fallback = "\"constant\"", .meaning = "learning rate over the run"},
    {INTEGER("train.warmup_steps", train.warmup_steps, 0, MANY), .fallback = "0", .meaning = "steps of a rate that grows from 0"},
    {NUMBER("train.max_grad_norm", train.max_grad_norm, 0, HUGE_NUMBER), .fallback = "0",
     .meaning = "gradients are clipped to this norm; 0: not"},
    {CHOICE("train.loss_on", train.loss_on, loss_ons), .fallback = "\"answer\"",
     .meaning = "tokens that carry loss: completions and the assistant's turns, or all"},
    {CHOICE("train.loss_mean", train.loss_mean, loss_means), .fallback = "\"step\"",
     .meaning = "each term's mean: over the step's tokens, or over each micro-batch's and then over the micro-batches"},
    {AT("train.append_eos", train.append_eos, GM_CONFIG_MAYBE), .fallback = "null",
     .meaning = "a training sample ends with EOS (a conversation, where its template ends no turn); null: as the task says"},
    {BOOL("train.shuffle", train.shuffle), .fallback = "true", .meaning = "samples in random order; false: the file's"},
    {BOOL("train.reshuffle", train.reshuffle), .fallback = "true", .meaning = "a new order each epoch; false: the first epoch's again"},
    {INTEGER("train.max_length", train.max_length, 2, 1 << 24), .fallback = "4096",
     .meaning = "tokens of a sample; a longer prompt loses its beginning, a longer conversation its oldest turns"},
    {INTEGER("train.map_above_mb", train.map_above_mb, 0, 1 << 30), .fallback = "256", .resume_may_change = true,
     .meaning = "a larger training file (.gz: of a quarter) is tokenized once into files, which are mapped and found again"},
    {TEXT("train.token_cache", train.token_cache), .resume_may_change = true,
     .meaning = "the folder of these files; not given: token-cache beside output_dir"},
    {INTEGER("train.eval_every", train.eval_every, 0, MANY), .fallback = "50", .resume_may_change = true,
     .meaning = "steps between evaluations on the validation split; 0: never"},
    {INTEGER("train.save_every", train.save_every, 0, MANY), .fallback = "50", .resume_may_change = true,
     .meaning = "steps between checkpoints; 0: never"},
    {INTEGER("train.keep_checkpoints", train.keep_checkpoints, 2, 1 << 20), .fallback = "2", .resume_may_change = true,
     .meaning = "newest checkpoints that stay"},
    {BOOL("train.activation_checkpointing", train.activation_checkpointing), .fallback = "false", .resume_may_change = true,
     .meaning = "layers are computed again in backward: less memory, up to half more time, the same bits"},
    {CHOICE("train.optimizer", only.optimizer, optimizers), .fallback = "\"adamw\"", .meaning = "PyTorch's AdamW"},

    {INTEGER("eval.batch_tokens", eval.batch_tokens, 1, 1 << 30), .fallback = "16384", .resume_may_change = true,
     .meaning = "tokens computed at once"},
    {CHOICE("eval.scoring", eval.scoring, scorings), .fallback = "\"auto\"",
     .meaning = "by the choices' first differing token, or their likelihood; auto: as the prompt says"},
    {TEXT("eval.prompt", eval.prompt), .fallback = "\"paper\"", .meaning = "the task's prompt of this name, in training too"},
    {INTEGER("eval.limit", eval.limit, 0, MANY), .fallback = "0",
     .meaning = "items that are scored, the first of the validation split in training and of the test split at the end; 0: all"},
    {INTEGER("eval.shots", eval.shots, 0, 1000), .fallback = "0",
     .meaning = "solved examples before each question, those that the task names; training has none"},
    {CHOICE("eval.metric", eval.metric, metrics), .fallback = "\"accuracy\"",
     .meaning = "what best/ is chosen by; _norm and _bytes: likelihoods a character, a byte; data without choices has its loss"},
    {INTEGER("eval.patience", eval.patience, 0, 1 << 30), .fallback = "0", .resume_may_change = true,
     .meaning = "evaluations without improvement that end the run; 0: none do"},
};
const size_t gm_config_key_count = sizeof gm_config_keys / sizeof *gm_config_keys;

const char *gm_config_meant_by(const char *name) {
    static const struct {
        const char *name, *path;
    } others[] = {{"lr", "train.learning_rate"},
                  {"lr_scheduler", "train.scheduler"},
                  {"warmup", "train.warmup_steps"},
                  {"wd", "train.weight_decay"},
                  {"clip", "train.max_grad_norm"},
                  {"grad_clip", "train.max_grad_norm"},
                  {"bs", "train.batch_size"},
                  {"steps", "train.max_steps"},
                  {"num_epochs", "train.epochs"},
                  {"cutoff_len", "train.max_length"},
                  {"gradient_checkpointing", "train.activation_checkpointing"},
                  {"r", "adapter.rank"},
                  {"lora_r", "adapter.rank"},
                  {"lora_alpha", "adapter.alpha"},
                  {"lora_dropout", "adapter.dropout"},
                  {"target_modules", "adapter.targets"},
                  {"experts", "adapter.num_experts"},
                  {"model", "base_model"},
                  {"output", "output_dir"},
                  {"data", "data_dir"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i].name, name) == 0) return others[i].path;
    return NULL;
}

bool gm_config_choice_works(const gm_config_key *key, int choice) {
    bool planned = key->built && choice >= key->built, method = key->choices == methods;
    return !planned && (!method || gm_method_find(key->choices[choice]));
}

const char *gm_config_type_name(gm_config_type type) {
    static const char *const names[] = {
        [GM_CONFIG_STRING] = "string",           [GM_CONFIG_INTEGER] = "integer",          [GM_CONFIG_NUMBER] = "number",
        [GM_CONFIG_BOOL] = "true|false",         [GM_CONFIG_MAYBE] = "true|false|null",    [GM_CONFIG_CHOICE] = "string",
        [GM_CONFIG_PAIR] = "two numbers",        [GM_CONFIG_TARGETS] = "array of strings", [GM_CONFIG_TASKS] = "string or array of strings",
        [GM_CONFIG_WEIGHTS] = "array of numbers"};
    return names[type];
}

const char *gm_config_method_name(const gm_config *config) { return methods[config->method]; }
const char *gm_metric_name(gm_metric metric) { return metric == GM_METRIC_LOSS ? "loss" : metrics[metric]; }
const char *gm_scoring_name(gm_scoring scoring) { return scorings[scoring]; }

bool gm_scoring_parse(const char *name, gm_scoring *scoring) {
    for (int i = 0; scorings[i]; i++)
        if (strcmp(name, scorings[i]) == 0) return *scoring = (gm_scoring)i, true;
    return false;
}
