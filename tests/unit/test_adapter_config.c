/* adapter_config.json: what is written is read again; PEFT's files get PEFT's defaults; a key that would change the result is
 * refused by name. */
#include "test_support.h"

#include "base/file.h"
#include "base/log.h"
#include "model/adapter/adapter.h"

static char directory[4096], path[4200];

static gm_status read_text(gm_adapter_config *config, const char *text) {
    assert_int_equal(gm_file_write(path, text, strlen(text)), GM_OK);
    return gm_adapter_config_read(config, path);
}

/* A LoRA's file with these members. */
static gm_status read_lora(gm_adapter_config *config, const char *members) {
    char text[1000];
    snprintf(text, sizeof text, "{\"peft_type\": \"LORA\", \"target_modules\": [\"q_proj\", \"up_proj\"]%s}", members);
    return read_text(config, text);
}

static void check_refused(const char *members, const char *message) {
    gm_adapter_config config;
    gm_status status = read_lora(&config, members);
    const char *have = strstr(gm_error_text(), "adapter_config.json: ");
    if (status != GM_BAD_FILE || !have || strcmp(have + strlen("adapter_config.json: "), message) != 0)
        fail_msg("%s\n gave %d: %s\n not: %s", members, (int)status, gm_error_text(), message);
}

/* PEFT's LoraConfig as its 0.21 saves it, every key at its default but for the targets. */
static const char peft_file[] =
    ", \"alora_invocation_tokens\": null, \"alpha_pattern\": {}, \"arrow_config\": null, \"auto_mapping\": null,"
    "\"base_model_name_or_path\": \"m\", \"bias\": \"none\", \"corda_config\": null, \"ensure_weight_tying\": false, \"eva_config\": null,"
    "\"exclude_modules\": null, \"fan_in_fan_out\": false, \"inference_mode\": true, \"init_lora_weights\": true,"
    "\"layer_replication\": null, \"kasa_config\": null, \"lora_ga_config\": null, \"monteclora_config\": null, \"use_bdlora\": null,"
    "\"velora_config\": null, \"layers_pattern\": null, \"layers_to_transform\": null, \"loftq_config\": {}, \"lora_alpha\": 8,"
    "\"lora_bias\": false, \"lora_dropout\": 0.0, \"megatron_config\": null, \"megatron_core\": \"megatron.core\","
    "\"modules_to_save\": null, \"peft_version\": \"0.21.2\", \"qalora_group_size\": 16, \"r\": 8, \"rank_pattern\": {},"
    "\"revision\": null, \"target_parameters\": null, \"task_type\": \"CAUSAL_LM\", \"trainable_token_indices\": null,"
    "\"use_dora\": false, \"use_qalora\": false, \"use_rslora\": false";

static void defaults_are_pefts(void **state) {
    (void)state;
    gm_adapter_config config, whole;
    if (read_lora(&config, "") != GM_OK) fail_msg("%s", gm_error_text());
    assert_true(config.rank == 8 && config.alpha == 8 && config.dropout == 0 && !config.rslora);
    assert_true(config.target[GM_TARGET_Q] && config.target[GM_TARGET_UP] && !config.target[GM_TARGET_K]);
    if (read_lora(&whole, peft_file) != GM_OK) fail_msg("%s", gm_error_text());
    assert_memory_equal(&whole, &config, sizeof config);
}

static void what_is_refused(void **state) {
    (void)state;
    static const char *const changes[][2] = {{"alpha_pattern", "an object"},
                                             {"rank_pattern", "an object"},
                                             {"exclude_modules", "\"k_proj\""},
                                             {"layers_to_transform", "an array"},
                                             {"layer_replication", "an array"},
                                             {"target_parameters", "an array"},
                                             {"modules_to_save", "an array"},
                                             {"trainable_token_indices", "an array"},
                                             {"bias", "\"all\""},
                                             {"lora_bias", "true"},
                                             {"use_dora", "true"},
                                             {"use_qalora", "true"},
                                             {"alora_invocation_tokens", "an array"},
                                             {"arrow_config", "an object"},
                                             {"use_bdlora", "true"},
                                             {"kasa_config", "an object"},
                                             {"monteclora_config", "an object"}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const char *kind = changes[i][1], *value = strcmp(kind, "an object") == 0  ? "{\"x\": 2}"
                                                   : strcmp(kind, "an array") == 0 ? "[1]"
                                                                                   : kind;
        char members[200], message[200];
        snprintf(members, sizeof members, ", \"%s\": %s", changes[i][0], value);
        snprintf(message, sizeof message, "%s: %s is not supported: it would change the model's result", changes[i][0], kind);
        check_refused(members, message);
    }
    check_refused(", \"layers_to_transform\": 0", "layers_to_transform: 0 is not supported: it would change the model's result");
    check_refused(
        ", \"init_lora_weights\": \"pissa_niter_16\"",
        "\"init_lora_weights\" is missing or is not true, false, gaussian, eva or orthogonal; others change the base model's weights");
    check_refused(", \"use_rslora\": \"yes\"", "\"use_rslora\" is missing or is not true or false");
    check_refused(", \"lora_alpha\": \"x\"", "\"lora_alpha\" is missing or is not a number");
    check_refused(", \"r\": 0", "adapter.rank: 0 is not at least 1");
    gm_adapter_config config;
    assert_int_equal(read_lora(&config, ", \"init_lora_weights\": \"gaussian\", \"fan_in_fan_out\": true, \"of_tomorrow\": 3"), GM_OK);
}

static gm_adapter_config chosen(gm_router_type type) {
    gm_adapter_config config = gm_method_gmoe.defaults;
    config.rank = 3, config.alpha = 5, config.rslora = true, config.dropout = 0.125;
    config.num_experts = 7, config.top_k = 3;
    config.router.type = type;
    config.losses.divergence = GM_DIVERGENCE_ABS, config.losses.count = GM_COUNT_EMA, config.losses.ema_decay = 0.625;
    config.losses.count_at = GM_COUNT_AT_MICRO_BATCH, config.losses.normal_target = GM_NORMAL_JOINT;
    config.losses.poisson = 0.25, config.losses.normal = 0.5, config.losses.balance = 0.75;
    if (type != GM_ROUTER_GRAPH) return config;
    config.router.layers = 3, config.router.hidden_size = 40, config.router.edges = GM_EDGES_FULL;
    config.router.edge_density = 0.375, config.router.edge_seed = 99, config.router.token_gain = 12;
    config.router.expert_features = GM_FEATURES_EMBEDDING;
    return config;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    static const gm_router_type types[] = {GM_ROUTER_GRAPH, GM_ROUTER_LINEAR};
    for (int i = 0; i < 2; i++) {
        gm_adapter adapter = {.config = chosen(types[i])};
        gm_adapter_config config;
        assert_int_equal(gm_adapter_config_write(&adapter, path, "base"), GM_OK);
        if (gm_adapter_config_read(&config, path) != GM_OK) fail_msg("%s", gm_error_text());
        assert_memory_equal(&config, &adapter.config, sizeof config);
    }
}

/* A file without what only training needs; and without what the tensors' shapes hang on. */
static void what_is_required(void **state) {
    (void)state;
    gm_adapter_config config;
    static const char file[] =
        "{\"peft_type\": \"GMOE\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"up_proj\"], \"num_experts\": 4,"
        "\"top_k\": 2, \"router\": {\"type\": \"graph\", \"layers\": 2, \"hidden_size\": 16, \"expert_features\": \"frozen\"%s}}";
    char text[1000];
    snprintf(text, sizeof text, file, "");
    if (read_text(&config, text) != GM_OK) fail_msg("%s", gm_error_text());
    assert_true(config.losses.poisson == 0 && config.router.edges == GM_EDGES_RANDOM && config.losses.count_at == GM_COUNT_AT_STEP);
    snprintf(text, sizeof text, file, ", \"edges\": \"learned\"");
    assert_int_equal(read_text(&config, text), GM_BAD_FILE);
    assert_non_null(strstr(gm_error_text(), "adapter.router.edges: \"learned\" is not built yet"));
    static const char *const needed[] = {"num_experts", "top_k", "type", "layers", "hidden_size", "expert_features"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        snprintf(text, sizeof text, file, "");
        char *name = strstr(text, needed[i]);
        if (strcmp(needed[i], "type") == 0) name = strstr(text, "\"type\"") + 1;
        name[0] = '_';
        assert_int_equal(read_text(&config, text), GM_BAD_FILE);
        char message[100];
        snprintf(message, sizeof message, "\"%s\" is missing", needed[i]);
        if (!strstr(gm_error_text(), message)) fail_msg("%s: %s", message, gm_error_text());
    }
}

static int make_directory(void **state) {
    (void)state;
    gm_test_directory(directory);
    snprintf(path, sizeof path, "%s/adapter_config.json", directory);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    return gm_directory_remove(directory);
}

int main(void) {
    gm_log_set_level(GM_LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults_are_pefts), cmocka_unit_test(what_is_refused),
                                       cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(what_is_required)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
