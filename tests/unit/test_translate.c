/* Configurations of MoE-PEFT, mLoRA and the reference program: what becomes of every key, what is noted, what is refused. */
#include "train/translate.h"

#include "base/log.h"

#include "test_support.h"

static gm_config config; /* large: not on the stack */

/* A file with one adapter: its keys, and those beside the list. */
static char *file_of(const char *adapter, const char *top) {
    static char text[8192];
    snprintf(text, sizeof text, "{%s\"lora\": [{%s}]}", top, adapter);
    return text;
}

static gm_status load(const char *text, bool parity) {
    char directory[4096], path[4200];
    gm_test_directory(directory);
    snprintf(path, sizeof path, "%s/run.json", directory);
    assert_int_equal(gm_file_write(path, text, strlen(text)), GM_OK);
    gm_status status = (parity ? gm_config_load_parity : gm_config_load)(&config, path, NULL, 0);
    unlink(path);
    rmdir(directory);
    return status;
}

static void check_loads(const char *text) {
    if (load(text, false) != GM_OK) fail_msg("%s\n gave: %s", text, gm_error_text());
}

static void check_refused(const char *text, const char *message) {
    gm_status status = load(text, false);
    const char *have = strstr(gm_error_text(), "run.json: ");
    if (status != GM_USAGE || !have || strcmp(have + strlen("run.json: "), message) != 0)
        fail_msg("%s\n gave: %s\n not:  %s", text, gm_error_text(), message);
}

/* The notes, all of them, in their order; and a line that the list of what was translated holds (NULL: any). */
static void check_notes(const char *text, const char *notes, const char *taken) {
    gm_translation translation;
    cJSON *file = cJSON_Parse(text);
    assert_non_null(file);
    if (gm_translate(&translation, "f", file, NULL, 0) != GM_OK) fail_msg("%s\n gave: %s", text, gm_error_text());
    if (strcmp(gm_buffer_string(&translation.notes), notes) != 0)
        fail_msg("%s\n notes: %s\n not:   %s", text, gm_buffer_string(&translation.notes), notes);
    if (taken && !strstr(gm_buffer_string(&translation.taken), taken))
        fail_msg("%s\n takes: %s\n lacks: %s", text, gm_buffer_string(&translation.taken), taken);
    cJSON_Delete(translation.ours);
    gm_translation_free(&translation);
    cJSON_Delete(file);
}

/* Keys that the command line gives are not looked at, and nothing is noted of them. */
static void what_the_command_line_gives(void **state) {
    (void)state;
    static const gm_setting settings[] = {
        {"--set", "task", "jsonl"}, {"--set", "train.warmup_steps", "7"}, {"--set", "train.max_length", "99"}};
    gm_translation translation;
    cJSON *file = cJSON_Parse("{\"cutoff_len\": -1, \"lora\": [{\"task_name\": \"casual\", \"warmup_steps\": 0.1, \"scheduler_type\": "
                              "\"linear\", \"data\": \"x\", \"r\": 3}]}");
    assert_non_null(file);
    if (gm_translate(&translation, "f", file, settings, 3) != GM_OK) fail_msg("%s", gm_error_text());
    assert_string_equal(
        gm_buffer_string(&translation.notes),
        "lora[0].data: has no counterpart: data of your own are prompts and completions, --data-dir DIR --set task=jsonl\n");
    assert_non_null(strstr(gm_buffer_string(&translation.taken), "warmup_steps             given on the command line"));
    assert_null(gm_json_member(translation.ours, "task"));
    assert_true(gm_json_number_at(translation.ours, "adapter.rank") == 3);
    cJSON_Delete(translation.ours);
    gm_translation_free(&translation);
    cJSON_Delete(file);
}

static void recognition(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool known;
    } files[] = {{"{\"lora\": []}", true},
                 {"{\"cutoff_len\": 3}", true},
                 {"{\"lora\": {}}", false},
                 {"{\"method\": \"lora\"}", false},
                 {"[]", false}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        cJSON *file = cJSON_Parse(files[i].text);
        assert_int_equal(gm_translate_knows(file), files[i].known);
        cJSON_Delete(file);
    }
    check_refused("{\"cutoff_len\": 512}",
                  "cutoff_len: is a key of MoE-PEFT, whose files have a list \"lora\"; in ours it is train.max_length");
    check_refused("{\"lora\": []}", "lora: must be a list that holds the adapter to train");
    check_refused("{\"lora\": [3]}", "lora[0]: must be an object");
    check_refused("{\"lora\": [{\"r\": 1}, {\"r\": 2}]}", "lora: holds 2 adapters; one is trained at a time: give a file for each");
}

static const char graph[] =
    "\"name\": \"out\", \"task_name\": \"arc-c\", \"optim\": \"adamw\", \"scheduler_type\": \"constant\", \"warmup_steps\": 3,"
    "\"lr\": 0.001, \"batch_size\": 12, \"micro_batch_size\": 4, \"num_epochs\": 7, \"r\": 3, \"lora_alpha\": 6,"
    "\"lora_dropout\": 0.25, \"target_modules\": {\"q_proj\": true, \"k_proj\": false, \"w1_proj\": true, \"w2_proj\": true},"
    "\"routing_strategy\": \"goe\", \"balance_strategy\": \"goe\", \"num_experts\": 6, \"top_k\": 1, \"router_loss\": true,"
    "\"num_gcnlayer\": 1, \"edges_thresholds\": 0.3, \"dim_gcn\": 32, \"router_route_loss_coef_\": 0.02,"
    "\"router_count_loss_coef_\": 4.0";

static void a_graph_router(void **state) {
    (void)state;
    check_loads(file_of(graph, "\"cutoff_len\": 300, \"save_step\": 50,"));
    assert_string_equal(config.output_dir, "out");
    assert_string_equal(config.task.name[0], "arc-c");
    assert_string_equal(gm_config_method_name(&config), "gmoe");
    assert_true(config.train.learning_rate == 0.001 && config.train.warmup_steps == 0 && config.train.epochs == 7);
    assert_true(config.train.batch_size == 12 && config.train.micro_batch_samples == 4 && config.train.max_length == 300);
    assert_true(config.train.save_every == 17 && config.train.eval_every == 17); /* 50 micro-batches of 3 a step */
    const gm_adapter_config *a = &config.adapter;
    assert_true(a->rank == 3 && a->alpha == 6 && a->dropout == 0.25 && a->num_experts == 6 && a->top_k == 1);
    assert_true(a->target[GM_TARGET_Q] && !a->target[GM_TARGET_K] && !a->target[GM_TARGET_V] && a->target[GM_TARGET_GATE] &&
                a->target[GM_TARGET_DOWN] && !a->target[GM_TARGET_UP]);
    assert_true(a->router.type == GM_ROUTER_GRAPH && a->router.layers == 1 && a->router.hidden_size == 32);
    assert_true(a->router.edges == GM_EDGES_SIMILARITY && a->router.edge_density == 0.3); /* their densities are of similarities */
    assert_true(a->losses.poisson == 0.02 && a->losses.normal == 4 && a->losses.balance == 0);
    /* not --parity's readings, unless they are asked for; and then the file still wins */
    assert_true(a->losses.divergence == GM_DIVERGENCE_KL && config.train.loss_mean == GM_LOSS_MEAN_STEP);
    assert_int_equal(load(file_of(graph, "\"cutoff_len\": 300,"), true), GM_OK);
    assert_true(a->losses.divergence == GM_DIVERGENCE_ABS && config.train.loss_mean == GM_LOSS_MEAN_MICRO_BATCH);
    assert_true(a->router.hidden_size == 32 && config.train.micro_batch_samples == 4);
}

static void what_they_take_where_nothing_is_given(void **state) {
    (void)state;
    check_loads(
        file_of("\"routing_strategy\": \"goe\", \"num_experts\": 8, \"edges_thresholds\": 0.25, \"target_modules\": [\"up_proj\"]", ""));
    const gm_adapter_config *a = &config.adapter;
    assert_true(a->top_k == 3 && a->router.layers == 3 && a->router.hidden_size == 128 && a->losses.poisson == 0.01 &&
                a->losses.normal == 0.01);
    check_loads(file_of("\"routing_strategy\": \"gmoe\", \"num_experts\": 8", ""));
    assert_true(a->router.type == GM_ROUTER_GRAPH && a->top_k == 3 && a->router.layers == 3 && a->losses.normal == 0.01);
    check_loads(file_of("\"peft_type\": \"MIXLORA\", \"routing_strategy\": \"goe\"", ""));
    assert_string_equal(gm_config_method_name(&config), "gmoe");
    check_loads(file_of("\"peft_type\": \"LORA\", \"r\": 4", ""));
    assert_string_equal(gm_config_method_name(&config), "lora");
    check_loads(file_of("\"r\": 4, \"target_modules\": [\"q_proj\", \"v_proj\"], \"loraplus_lr_ratio\": 16, \"use_rslora\": true", ""));
    assert_string_equal(gm_config_method_name(&config), "lora"); /* without routing_strategy */
    assert_true(a->rank == 4 && a->rslora && a->num_experts == 1 && config.train.lora_plus_ratio == 16 && a->target[GM_TARGET_V]);
}

static void losses(void **state) {
    (void)state;
    const gm_adapter_config *a = &config.adapter;
    check_loads(file_of("\"routing_strategy\": \"goe\", \"balance_strategy\": \"mixtral\", \"router_aux_loss_coef\": 0.5", ""));
    assert_true(a->losses.poisson == 0 && a->losses.normal == 0 && a->losses.balance == 0.5);
    check_loads(file_of("\"routing_strategy\": \"goe\", \"balance_strategy\": \"goe\", \"router_loss\": false", ""));
    assert_true(a->losses.poisson == 0 && a->losses.normal == 0 && a->losses.balance == 0);
    check_loads(file_of("\"routing_strategy\": \"mixtral\", \"balance_strategy\": \"goe\", \"num_experts\": [4, 4, 4]", ""));
    assert_string_equal(gm_config_method_name(&config), "gmoe"); /* without its graph */
    assert_true(a->router.type == GM_ROUTER_LINEAR && a->losses.normal == 0.01 && a->num_experts == 4);
    check_notes(file_of("\"routing_strategy\": \"goe\", \"router_aux_loss_coef\": 0.5", ""),
                "lora[0].router_aux_loss_coef: is not used with this balance_strategy and router_loss\n",
                "adapter.losses.balance 0   (not used)");
    check_notes(file_of("\"router_aux_loss_coef\": 0.5", ""), "lora[0].router_aux_loss_coef: is not used without routing_strategy\n", NULL);
}

static void spellings(void **state) {
    (void)state;
    check_loads(file_of("\"task_name\": \"glue:sst2\", \"scheduler_type\": \"constant_with_warmup\", \"alpha\": 5, \"dropout\": 0.5,"
                        "\"routing_strategy\": \"goe\", \"experts\": 5, \"topk\": 2, \"evaluate_steps\": 7, \"batch_size\": 8,"
                        "\"micro_batch_size\": 8",
                        "\"save_step\": 20, "));
    assert_string_equal(config.task.name[0], "sst2");
    assert_true(config.adapter.alpha == 5 && config.adapter.dropout == 0.5 && config.adapter.num_experts == 5 && config.adapter.top_k == 2);
    assert_true(config.train.scheduler == GM_SCHEDULER_CONSTANT && config.train.eval_every == 7 && config.train.save_every == 20);
    static const char *const warm[] = {"constant_with_warmup", "linear", "cosine"};
    for (size_t i = 0; i < sizeof warm / sizeof *warm; i++) {
        char members[100];
        snprintf(members, sizeof members, "\"warmup_steps\": 3, \"scheduler_type\": \"%s\"", warm[i]);
        check_loads(file_of(members, ""));
        assert_int_equal(config.train.warmup_steps, 3);
    }
    check_notes(file_of("\"alpha\": 5, \"lora_alpha\": 5.0", ""), "lora[0].lora_alpha: left out: another key gives the same\n",
                "    alpha                    adapter.alpha 5\n");
}

static void task_lists(void **state) {
    (void)state;
    check_loads(file_of("\"task_name\": \"arc-c;glue:sst2;\"", ""));
    assert_int_equal(config.task.count, 2);
    assert_string_equal(config.task.name[0], "arc-c");
    assert_string_equal(config.task.name[1], "sst2");
}

static void notes(void **state) {
    (void)state;
    check_notes(file_of("\"momentum\": 0, \"group_by_length\": false, \"weight_decay\": null", "\"load_4bit\": false, "), "",
                "    group_by_length          as here\n");
    check_notes(file_of("\"scheduler_type\": \"constant\", \"warmup_steps\": 0", ""), "", NULL);
    static const char *const constant[] = {"\"scheduler_type\": \"constant\", \"warmup_steps\": 3", "\"warmup_steps\": 3"};
    for (int i = 0; i < 2; i++) {
        check_notes(file_of(constant[i], ""),
                    "lora[0].warmup_steps: is not used with scheduler_type \"constant\"; \"constant_with_warmup\" has a warm-up\n", NULL);
        check_loads(file_of(constant[i], ""));
        assert_int_equal(config.train.warmup_steps, 0);
    }
    check_notes(file_of("\"task_name\": \"causal\"", ""),
                "lora[0].task_name: names no task; for data of your own write prompts and completions and take --set task=jsonl\n", NULL);
    check_notes(file_of("\"momentum\": 0.9, \"expand_side\": \"right\", \"a.b\": 1, \"zzz\": null",
                        "\"train_strategy\": \"optim\", \"adapters\": {}, "),
                "lora[0].momentum: has no counterpart: it is SGD's, and the optimiser is AdamW\n"
                "lora[0].expand_side: has no counterpart: nothing is padded here\n"
                "lora[0].a.b: unknown, left out\n"
                "lora[0].zzz: unknown, left out\n"
                "train_strategy: has no counterpart: one adapter is trained, and then evaluated\n"
                "adapters: unknown, left out\n",
                "    routing_strategy         method \"lora\"   (not given)\n");
    check_notes(file_of("\"task_name\": \"casual\", \"data\": \"x.json\"", "\"cutoff_len\": -1, "),
                "lora[0].task_name: names no task; for data of your own write prompts and completions and take --set task=jsonl\n"
                "lora[0].data: has no counterpart: data of your own are prompts and completions, --data-dir DIR --set task=jsonl\n"
                "cutoff_len: -1, the model's own limit, has no counterpart; train.max_length has its default\n",
                NULL);
}

static void refusals(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"\"use_dora\": true", "lora[0].use_dora (adapter.dora): true is not built yet; only false is"},
        {"\"load_8bit\": true", "lora[0].load_8bit: true: quantised base models are not here; set it to false"},
        {"\"peft_type\": \"IA3\"", "lora[0].peft_type: \"IA3\": is a kind of adapter that is not here; LORA is, with experts and without"},
        {"\"optim\": \"sgd\"", "lora[0].optim (train.optimizer): \"sgd\" is none of adamw"},
        {"\"scheduler_type\": \"polynomial\"",
         "lora[0].scheduler_type (train.scheduler): \"polynomial\" is none of constant, linear, cosine"},
        {"\"routing_strategy\": \"switch\"",
         "lora[0].routing_strategy: \"switch\": is a routing that is not here; goe, or gmoe, mixtral, mixlora, loramoe and mola are known"},
        {"\"routing_strategy\": \"goe\", \"balance_strategy\": \"switch\"",
         "lora[0].balance_strategy: \"switch\": is a loss that is not here; goe and mixtral are"},
        {"\"routing_strategy\": \"goe\", \"num_experts\": [2, 4]",
         "lora[0].num_experts: [2,4]: a number that differs between layers is not built yet; give one for all"},
        {"\"router_loss\": 1", "lora[0].router_loss: 1: must be true or false"},
        {"\"target_modules\": {\"fc1\": true}",
         "lora[0].target_modules: fc1: models of the Llama family have no such layer; set it to false"},
        {"\"target_modules\": \"all\"",
         "lora[0].target_modules: \"all\": must be a list of names, or an object that has true or false for each"},
        {"\"target_modules\": {\"q_proj\": 1}", "lora[0].target_modules: {\"q_proj\":1}: must have true or false for each name"},
        {"\"target_modules\": [\"w1_proj\", \"gate_proj\"]", "lora[0].target_modules (adapter.targets): \"gate\" stands twice"},
        {"\"expert_lora\": {\"r\": 2}", "lora[0].expert_lora: {\"r\":2}: experts with settings of their own are not here"},
        {"\"jitter_noise\": 0.01", "lora[0].jitter_noise: 0.01: noise on the router's input is not here; set it to 0"},
        {"\"lora_init\": \"gaussian\"", "lora[0].lora_init: \"gaussian\": only \"original\" is here: A uniform, B zero"},
        {"\"lora_alpha\": 16, \"alpha\": 32", "lora[0].alpha: gives 32 for adapter.alpha, and lora_alpha gives 16; leave one of them out"},
        {"\"dropout\": 0, \"lora_dropout\": 0.5",
         "lora[0].lora_dropout: gives 0.5 for adapter.dropout, and dropout gives 0; leave one of them out"},
        {"\"routing_strategy\": \"goe\", \"experts\": 4, \"num_experts\": [8, 8]",
         "lora[0].num_experts: gives 8 for adapter.num_experts, and experts gives 4; leave one of them out"},
        {"\"routing_strategy\": \"goe\", \"topk\": 1, \"top_k\": 2",
         "lora[0].top_k: gives 2 for adapter.top_k, and topk gives 1; leave one of them out"},
        {"\"peft_type\": \"MIXLORA\", \"num_experts\": 8", "lora[0].peft_type (method): \"mixlora\" is not built yet; built are gmoe, "
                                                           "lora; the nearest is gmoe with adapter.router.type linear "
                                                           "and a coefficient adapter.losses.balance"},
        {"\"routing_strategy\": \"mixlora\"",
         "lora[0].routing_strategy: \"mixlora\": is not built yet; \"goe\", GMoE's, is, and without the key it is plain LoRA"},
        {"\"scheduler_type\": \"linear\", \"warmup_steps\": 0.1",
         "lora[0].warmup_steps: 0.1: is a share of the run's steps, and train.warmup_steps counts them: --dry-run with --set "
         "train.warmup_steps=0 tells the run's"},
        {"\"peft_type\": \"LORAMOE\"",
         "lora[0].peft_type (method): \"loramoe\" is not built yet; built are gmoe, lora; the nearest is gmoe "
         "with adapter.router.type linear and a coefficient adapter.losses.balance"},
        {"\"peft_type\": \"LORAMOE\", \"routing_strategy\": \"goe\"",
         "lora[0].peft_type: \"LORAMOE\" contradicts routing_strategy \"goe\"; leave out the one that is not meant"},
        {"\"routing_strategy\": \"goe\", \"peft_type\": \"LORA\"",
         "lora[0].peft_type: \"LORA\" contradicts routing_strategy \"goe\"; leave out the one that is not meant"},
        {"\"r\": \"x\"", "lora[0].r (adapter.rank): is \"x\"; it must be an integer"},
        {"\"batch_size\": 0", "lora[0].batch_size (train.batch_size): is 0; it must be between 1 and 1048576"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_refused(file_of(cases[i][0], ""), cases[i][1]);
    check_refused(file_of("\"r\": 1", "\"train\": {}, "),
                  "train: is a key of ours beside a list \"lora\", which is MoE-PEFT's; write the file in one of the two formats, or give "
                  "it with --set");
    check_refused(file_of("\"r\": 1", "\"load_4bit\": true, "), "load_4bit: true: quantised base models are not here; set it to false");
    check_refused(file_of("\"r\": 1", "\"cutoff_len\": 0, "), "cutoff_len (train.max_length): is 0; it must be between 2 and 16777216");
    check_refused(file_of("\"r\": 1", "\"save_step\": \"x\", "), "save_step (train.eval_every): is \"x\"; it must be an integer");
}

/* What --parity's table and the translation name are keys, with values of theirs. */
static void every_row(void **state) {
    (void)state;
    for (int top = 0; top < 2; top++)
        for (const gm_foreign_key *key = top ? gm_foreign_top_keys : gm_foreign_adapter_keys; key->name; key++) {
            assert_true(!key->path || gm_config_find_key(key->path));
            assert_true(key->path || key->convert || key->remark); /* something is done or said */
            cJSON *same = key->same ? cJSON_Parse(key->same) : NULL;
            assert_true(!key->same == !same);
            cJSON_Delete(same);
        }
}

int main(void) {
    gm_log_set_level(GM_LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(recognition),
                                       cmocka_unit_test(what_the_command_line_gives),
                                       cmocka_unit_test(a_graph_router),
                                       cmocka_unit_test(losses),
                                       cmocka_unit_test(what_they_take_where_nothing_is_given),
                                       cmocka_unit_test(spellings),
                                       cmocka_unit_test(task_lists),
                                       cmocka_unit_test(notes),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(every_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
