/* Configurations: defaults, presets, strength of sources, every kind of fault with its message, dump and schema. */
#include "base/json.h"
#include "train/config_keys.h"

#include "test_support.h"

#include <glob.h>

static gm_config config; /* large: not on the stack */

static gm_status load(const char *text, const gm_setting *settings, size_t count) {
    char directory[4096], path[4200];
    gm_test_directory(directory);
    snprintf(path, sizeof path, "%s/run.json", directory);
    assert_int_equal(gm_file_write(path, text, strlen(text)), GM_OK);
    gm_status status = gm_config_load(&config, path, settings, count);
    unlink(path);
    rmdir(directory);
    return status;
}

/* The message without the temporary path. */
static void check_refused(const char *text, const char *message) {
    gm_status status = load(text, NULL, 0);
    const char *have = strstr(gm_error_text(), "run.json: ");
    assert_int_equal(status, GM_USAGE);
    if (!have || strcmp(have + strlen("run.json: "), message) != 0) fail_msg("%s\n gave: %s\n not:  %s", text, gm_error_text(), message);
}

static void check_loads(const char *text) {
    if (load(text, NULL, 0) != GM_OK) fail_msg("%s", gm_error_text());
}

static void defaults_and_presets(void **state) {
    (void)state;
    assert_int_equal(load("{}", NULL, 0), GM_OK);
    assert_string_equal(gm_config_method_name(&config), "gmoe");
    assert_int_equal(config.adapter.num_experts, 8);
    assert_int_equal(config.adapter.router.hidden_size, 256);
    assert_true(config.adapter.losses.normal == 8.0 && config.adapter.losses.poisson == 0.005);
    assert_int_equal(config.train.batch_size, 16);
    assert_true(config.train.learning_rate == 2e-4 && config.train.betas[1] == 0.999);
    assert_int_equal(config.train.append_eos, -1);
    assert_int_equal(config.dtype, GM_BF16);
    assert_string_equal(config.data_dir, "data");
    assert_int_equal(load("{\"adapter\": {\"rank\": 7}, \"method\": \"lora\"}", NULL, 0),
                     GM_OK); /* the preset does not undo the key before it */
    assert_int_equal(config.adapter.rank, 7);
    assert_int_equal(config.adapter.router.type, GM_ROUTER_NONE);
    assert_int_equal(config.adapter.num_experts, 1);
}

static void values_of_every_type(void **state) {
    (void)state;
    check_loads("{\"seed\": 7.0, \"dtype\": \"f32\", \"task\": \"a/b.json\", \"adapter\": {\"targets\": [\"v\", \"up\"], \"rslora\": true,"
                "\"router\": {\"edges\": \"none\", \"edge_density\": 0.5}}, \"train\": {\"betas\": [0, 0.5], \"append_eos\": true, "
                "\"shuffle\": false}}");
    assert_int_equal(config.seed, 7);
    assert_int_equal(config.dtype, GM_F32);
    assert_string_equal(config.task.name[0], "a/b.json");
    assert_true(config.adapter.target[GM_TARGET_UP] && config.adapter.target[GM_TARGET_V] && !config.adapter.target[GM_TARGET_K] &&
                !config.adapter.target[GM_TARGET_DOWN]);
    assert_true(config.adapter.rslora && config.adapter.router.edges == GM_EDGES_NONE && config.adapter.router.edge_density == 0.5);
    assert_true(config.train.betas[0] == 0 && config.train.betas[1] == 0.5 && config.train.append_eos == 1 && !config.train.shuffle);
}

static void settings_win(void **state) {
    (void)state;
    const gm_setting settings[] = {{"--base-model", "base_model", "models/x"},
                                   {"--set", "method", "lora"},
                                   {"--set", "adapter.rank", "3"},
                                   {"--set", "task", "123"},
                                   {"--set", "adapter.targets", "[\"q\"]"},
                                   {"--set", "adapter", "{\"alpha\": 9}"},
                                   {"--set", "train.shuffle", "false"}};
    assert_int_equal(load("{\"method\": \"gmoe\", \"adapter\": {\"rank\": 5, \"alpha\": 6}, \"base_model\": \"y\"}", settings, 7), GM_OK);
    assert_string_equal(config.base_model, "models/x");
    assert_string_equal(gm_config_method_name(&config), "lora");
    assert_string_equal(config.task.name[0], "123"); /* a bare string where a string is wanted */
    assert_int_equal(config.adapter.rank, 3);
    assert_true(config.adapter.alpha == 9 && config.adapter.target[GM_TARGET_Q] && !config.adapter.target[GM_TARGET_V] &&
                !config.train.shuffle);
    const gm_setting wrong = {"--set", "adapter.rnak", "3"};
    assert_int_equal(load("{}", &wrong, 1), GM_USAGE);
    assert_string_equal(gm_error_text(), "--set: adapter.rnak: no such key; did you mean adapter.rank?");
}

/* --parity is stronger than the method's preset, and weaker than the file and the command line. */
static void parity(void **state) {
    (void)state;
    const gm_setting settings[] = {{"--set", "adapter.router.edge_density", "0.5"}};
    char directory[4096], path[4200];
    gm_test_directory(directory);
    snprintf(path, sizeof path, "%s/run.json", directory);
    const char *text = "{\"method\": \"gmoe\", \"train\": {\"loss_on\": \"answer\"}}";
    assert_int_equal(gm_file_write(path, text, strlen(text)), GM_OK);
    assert_int_equal(gm_config_load_parity(&config, path, settings, 1), GM_OK);
    unlink(path);
    rmdir(directory);
    const gm_adapter_config *a = &config.adapter;
    assert_true(a->router.hidden_size == 128 && a->router.token_gain == 100 && a->router.edges == GM_EDGES_SIMILARITY);
    assert_true(a->losses.divergence == GM_DIVERGENCE_ABS && a->losses.normal_target == GM_NORMAL_JOINT);
    assert_true(a->losses.count_at == GM_COUNT_AT_MICRO_BATCH && config.train.loss_mean == GM_LOSS_MEAN_MICRO_BATCH);
    assert_true(config.train.micro_batch_samples == 8 && config.train.append_eos == 0 && config.train.shuffle && !config.train.reshuffle);
    assert_true(a->router.edge_density == 0.5 && config.train.loss_on == GM_LOSS_ON_ANSWER);
    assert_true(a->losses.poisson == 0.005 && a->losses.normal == 8); /* what it does not set is the method's */
}

static void unknown_keys(void **state) {
    (void)state;
    check_refused("{\"adapter\": {\"router\": {\"hiden_size\": 3}}}",
                  "adapter.router.hiden_size: no such key; did you mean adapter.router.hidden_size?");
    check_refused("{\"adpter\": {\"rank\": 3}}", "adpter: no such key; did you mean adapter?");
    check_refused("{\"rank\": 3}", "rank: no such key; did you mean adapter.rank?");
    check_refused("{\"train\": {\"batchsize\": 3}}", "train.batchsize: no such key; did you mean train.batch_size?");
    check_refused("{\"train\": {\"lr\": 3}}", "train.lr: no such key; did you mean train.learning_rate?");
    check_refused("{\"wd\": 3}", "wd: no such key; did you mean train.weight_decay?");
    check_refused("{\"qwertyuiop\": 3}", "qwertyuiop: no such key; --help lists all keys");
    check_refused("{\"train\": {\"\": 3}}", "train: a key without a name");
    check_refused("{\"\": 3}", "a key without a name");
}

static void wrong_values(void **state) {
    (void)state;
    check_refused("{\"train\": {\"batch_size\": \"16\"}}", "train.batch_size: is \"16\"; it must be an integer");
    check_refused("{\"train\": {\"batch_size\": 16.5}}", "train.batch_size: is 16.5; it must be an integer");
    check_refused("{\"train\": {\"batch_size\": 0}}", "train.batch_size: is 0; it must be between 1 and 1048576");
    check_refused("{\"eval\": {\"shots\": 1001}}", "eval.shots: is 1001; it must be between 0 and 1000");
    check_refused("{\"train\": {\"batch_size\": null}}", "train.batch_size: is null; it must be an integer");
    check_refused("{\"train\": {\"shuffle\": 1}}", "train.shuffle: is 1; it must be true|false");
    check_refused("{\"train\": {\"betas\": [0.9]}}", "train.betas: is [0.9]; it must be two numbers");
    check_refused("{\"train\": {\"betas\": [0.9, 1]}}", "train.betas: is 1; it must be between 0 and 1");
    check_refused("{\"train\": []}", "train: must be an object");
    check_refused("{\"dtype\": \"fp16\"}", "dtype: \"fp16\" is none of f32, bf16");
    check_refused("{\"method\": \"gmo\"}", "method: \"gmo\" is none of gmoe, lora");
    check_refused("{\"adapter\": {\"targets\": [\"q\", \"x\"]}}", "adapter.targets: \"x\" is none of q, k, v, o, gate, up, down");
    check_refused("{\"adapter\": {\"targets\": [\"q\", \"q\"]}}", "adapter.targets: \"q\" stands twice");
    check_refused("{\"task\": \"\"}", "task: is empty");
    check_refused("[1]", "is no JSON object; a configuration is one: {\"base_model\": \"DIR\", …}, and --help lists the keys");
    check_refused("task: arc-c\n", "is no JSON object; a configuration is one: {\"base_model\": \"DIR\", …}, and --help lists the keys");
    check_refused("", "byte 0: the text ends where an object should be");
    assert_int_equal(load("{\"adapter\": {\"targets\": [\"q_proj\", \"up\"]}}", NULL, 0), GM_OK);
    assert_true(config.adapter.target[GM_TARGET_Q] && config.adapter.target[GM_TARGET_UP] && !config.adapter.target[GM_TARGET_K]);
    check_refused("{\"adapter\": {\"targets\": [\"q_proj\", \"q\"]}}", "adapter.targets: \"q\" stands twice");
}

static void lists_of_tasks(void **state) {
    (void)state;
    check_loads("{\"task\": [\"arc-c\", \"boolq\"], \"train\": {\"mix\": [3, 0.5]}}");
    assert_int_equal(config.task.count, 2);
    assert_string_equal(config.task.name[1], "boolq");
    assert_true(config.train.mix.count == 2 && config.train.mix.weight[0] == 3 && config.train.mix.weight[1] == 0.5);
    const gm_setting one[] = {{"--set", "task", "[\"sst2\"]"}, {"--set", "train.mix", "[]"}};
    assert_int_equal(load("{\"task\": [\"arc-c\", \"boolq\"], \"train\": {\"mix\": [3, 0.5]}}", one, 2), GM_OK);
    assert_true(config.task.count == 1 && config.train.mix.count == 0);
    assert_string_equal(config.task.name[0], "sst2");
    check_refused("{\"task\": []}", "task: is empty");
    check_refused("{\"task\": [\"a\", \"\"]}", "task: is empty");
    check_refused("{\"task\": [\"a\", 1]}", "task: is [\"a\",1]; it must be a string or array of strings");
    check_refused("{\"task\": [\"a\", \"b\", \"a\"]}", "task: \"a\" stands twice");
    check_refused(
        "{\"task\": [\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"16\"]}",
        "task: has more than 16 tasks");
    check_refused("{\"task\": [\"a\", \"b\"], \"train\": {\"mix\": [1]}}",
                  "train.mix: has 1 weight for 2 tasks; give one for each, or [] for all samples of each");
    check_refused("{\"task\": \"a\", \"train\": {\"mix\": [1, 0]}}",
                  "train.mix: has a weight that is not above 0; leave the task out of \"task\" instead");
    check_refused("{\"task\": \"a\", \"train\": {\"mix\": [\"1\"]}}", "train.mix: is [\"1\"]; it must be an array of numbers");
}

static void what_is_planned_is_refused_by_name(void **state) {
    (void)state;
    check_refused("{\"adapter\": {\"dora\": true}}", "adapter.dora: true is not built yet; only false is");
    check_refused("{\"adapter\": {\"router\": {\"edges\": \"learned\"}}}",
                  "adapter.router.edges: \"learned\" is not built yet; built are random, similarity, full, none");
    check_refused("{\"method\": \"mixlora\"}", "method: \"mixlora\" is not built yet; built are gmoe, lora; the nearest is gmoe with "
                                               "adapter.router.type linear and a coefficient adapter.losses.balance");
    check_refused("{\"train\": {\"optimizer\": \"sgd\"}}", "train.optimizer: \"sgd\" is none of adamw");
    assert_int_equal(load("{\"adapter\": {\"dropout\": 0.0, \"dora\": false}, \"eval\": {\"shots\": 0}}", NULL, 0), GM_OK);
}

static void contradictions(void **state) {
    (void)state;
    check_refused("{\"train\": {\"loss_mean\": \"micro_batch\"}}",
                  "train.loss_mean: \"micro_batch\" needs micro-batches of so many samples; "
                  "set train.micro_batch_samples (--parity takes 8)");
    check_refused("{\"parity\": true}", "parity: no such key; the option --parity sets the keys that --help lists under it");
    assert_int_equal(load("{\"adapter\": {\"num_experts\": 2, \"top_k\": 3}}", NULL, 0), GM_USAGE);
    assert_non_null(strstr(gm_error_text(), "run.json: adapter.top_k"));
    assert_int_equal(load("{\"seed\": 1", NULL, 0), GM_USAGE); /* cut short */
    assert_int_equal(load("{\"seed\": 1, \"seed\": 2}", NULL, 0), GM_USAGE);
    assert_int_equal(gm_config_load(&config, "/nowhere/run.json", NULL, 0), GM_USAGE);
    assert_int_equal(load("{\"$schema\": \"./gmoe.json\", \"seed\": 3}", NULL, 0), GM_OK);
    check_refused("{\"train\": {\"$schema\": \"./gmoe.json\"}}", "train.$schema: no such key; --help lists all keys");
    assert_int_equal(load("{\"task\": \"arc-c\", \"output_dir\": \"o\"}", NULL, 0), GM_OK);
    assert_int_equal(gm_config_require_paths(&config, "run.json"), GM_USAGE);
    assert_string_equal(gm_error_text(), "run.json: base_model: is missing; give it there or with --base-model");
    assert_int_equal(gm_config_require_paths(&config, NULL), GM_USAGE);
    assert_string_equal(gm_error_text(), "base_model: is missing; give it with --config FILE or --base-model");
}

/* A run is what its method's name says: variants are allowed, another method under its name is not. */
static void keys_against_the_method(void **state) {
    (void)state;
    const gm_setting lora = {"--set", "method", "lora"}, none = {"--set", "adapter.router.type", "none"};
    const char *spelled_out = "{\"method\": \"gmoe\", \"adapter\": {\"num_experts\": 8, \"top_k\": 2, \"router\": {\"type\": \"graph\"}, "
                              "\"losses\": {\"poisson\": 0.005, \"normal\": 8}}}";
    assert_int_equal(load(spelled_out, &lora, 1), GM_USAGE);
    const char *message =
        strstr(gm_error_text(), "run.json: adapter.num_experts 8 contradicts method lora (--set), which has one expert, ");
    assert_non_null(message);
    assert_non_null(strstr(message, "leave the key out, and so adapter.top_k 2 ("));
    assert_non_null(strstr(message, "adapter.router.type \"graph\" ("));
    assert_non_null(strstr(message, "adapter.losses.normal 8 ("));
    assert_non_null(strstr(message, ", or take method gmoe"));
    assert_null(strchr(message, '\n'));
    assert_int_equal(load("{}", &none, 1), GM_USAGE);
    assert_string_equal(gm_error_text(),
                        "--set: adapter.router.type \"none\" contradicts method gmoe (the default), which has several experts "
                        "and a router; leave the key out, or take method lora");
    assert_int_equal(load("{\"method\": \"lora\", \"adapter\": {\"losses\": {\"balance\": 0.01}}}", NULL, 0), GM_USAGE);
    assert_non_null(strstr(gm_error_text(), "run.json: adapter.losses.balance 0.01 contradicts method lora ("));
    assert_int_equal(load("{\"adapter\": {\"num_experts\": 1, \"top_k\": 1}}", NULL, 0), GM_USAGE);
    check_loads("{\"adapter\": {\"rank\": 3, \"alpha\": 1, \"num_experts\": 5, \"top_k\": 1, \"router\": {\"type\": \"linear\", \"edges\": "
                "\"full\"}, \"losses\": {\"poisson\": 0, \"normal\": 0, \"balance\": 0.01}}}");
    check_loads("{\"method\": \"lora\", \"adapter\": {\"rank\": 3, \"num_experts\": 1, \"top_k\": 1, \"router\": {\"type\": \"none\", "
                "\"hidden_size\": 9}, \"losses\": {\"normal\": 0}}}");
}

/* What a shipped file says besides its method must suit the other methods too, and --parity. */
static void shipped_configurations(void **state) {
    (void)state;
    static const char *const methods[] = {"gmoe", "lora"};
    glob_t files;
    assert_int_equal(glob("configs/*.json", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i];
        for (int m = 0; m < 2; m++) {
            const gm_setting setting = {"--set", "method", methods[m]};
            if (gm_config_load(&config, path, &setting, 1) != GM_OK) fail_msg("%s", gm_error_text());
            gm_buffer changes = {0};
            gm_config_write_changes(&changes, &config);
            bool kept = strstr(gm_buffer_string(&changes), "adapter.router.hidden_size 64, adapter.router.token_gain 100");
            if (kept != (strstr(path, "demo-") != NULL) || (!kept && strstr(gm_buffer_string(&changes), "adapter.")))
                fail_msg("%s, method %s: %s", path, methods[m], gm_buffer_string(&changes));
            gm_buffer_free(&changes);
        }
        if (gm_config_load_parity(&config, path, NULL, 0) != GM_OK) fail_msg("%s", gm_error_text());
        for (size_t r = 0; r < gm_config_parity_count; r++) {
            const char *key = gm_config_parity[r].path;
            gm_buffer value = {0};
            gm_config_write_value(&value, &config, gm_config_find_key(key));
            bool kept = strstr(path, "demo-") && (strstr(key, "hidden_size") || strstr(key, "token_gain"));
            if (!kept && strcmp(gm_buffer_string(&value), gm_config_parity[r].value) != 0)
                fail_msg("%s --parity: %s is %s, not %s", path, key, gm_buffer_string(&value), gm_config_parity[r].value);
            gm_buffer_free(&value);
        }
    }
    assert_true(files.gl_pathc >= 9);
    globfree(&files);
}

static void dump_reads_back(void **state) {
    (void)state;
    assert_int_equal(load("{\"base_model\": \"b \\\"x\\\"\", \"output_dir\": \"o\", \"task\": \"t\", \"method\": \"lora\", \"adapter\": "
                          "{\"alpha\": 0.1, \"targets\": [\"up\"]},"
                          "\"train\": {\"learning_rate\": 3.3e-5, \"append_eos\": false}}",
                          NULL, 0),
                     GM_OK);
    gm_config before = config;
    gm_buffer text = {0}, again = {0}, difference = {0};
    gm_config_write(&text, &before);
    assert_int_equal(gm_config_parse(&config, "dump", text.bytes, text.length), GM_OK);
    gm_config_write(&again, &config);
    assert_string_equal(text.bytes, again.bytes);
    assert_true(gm_config_same_run(&before, &config, &difference));
    config.train.max_steps = 9; /* may change on resume */
    assert_true(gm_config_same_run(&before, &config, &difference));
    config.adapter.rank = 99;
    assert_false(gm_config_same_run(&before, &config, &difference));
    assert_string_equal(gm_buffer_string(&difference), "adapter.rank: 16 there, 99 now");
    gm_buffer_free(&text);
    gm_buffer_free(&again);
    gm_buffer_free(&difference);
}

/* Every key of the table is in schema and help, defaults are of their type, and the schema is JSON. */
static void schema_and_help(void **state) {
    (void)state;
    gm_buffer schema = {0}, help = {0};
    cJSON *tree = NULL;
    gm_config_write_schema(&schema);
    gm_config_write_help(&help);
    assert_int_equal(gm_json_parse("schema", schema.bytes, schema.length, &tree), GM_OK);
    for (size_t i = 0; i < gm_config_key_count; i++) {
        char path[256], *rest = path, *part;
        const cJSON *at = tree;
        snprintf(path, sizeof path, "%s", gm_config_keys[i].path);
        assert_non_null(strstr(help.bytes, path));
        while ((part = strtok_r(rest, ".", &rest)) != NULL) at = gm_json_member(gm_json_member(at, "properties"), part);
        assert_non_null(gm_json_member(at, "description"));
    }
    cJSON_Delete(tree);
    gm_buffer_free(&schema);
    gm_buffer_free(&help);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults_and_presets),   cmocka_unit_test(values_of_every_type),
                                       cmocka_unit_test(settings_win),           cmocka_unit_test(parity),
                                       cmocka_unit_test(unknown_keys),           cmocka_unit_test(wrong_values),
                                       cmocka_unit_test(lists_of_tasks),         cmocka_unit_test(what_is_planned_is_refused_by_name),
                                       cmocka_unit_test(contradictions),         cmocka_unit_test(keys_against_the_method),
                                       cmocka_unit_test(shipped_configurations), cmocka_unit_test(dump_reads_back),
                                       cmocka_unit_test(schema_and_help)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
