/* Tensors against config.json: what is missing, misshapen or of a wrong type is named; the hash sees what matters. */
#include "test_support.h"

#include "base/file.h"
#include "base/log.h"
#include "io/weights.h"

static const gm_model_config tiny = {.model_type = "qwen3",
                                     .hidden_size = 6,
                                     .ffn_size = 10,
                                     .layers = 2,
                                     .heads = 2,
                                     .kv_heads = 1,
                                     .head_dim = 4,
                                     .vocabulary = 7,
                                     .max_positions = 32,
                                     .norm_eps = 1e-6,
                                     .rope_theta = 1e4,
                                     .attention_bias = true,
                                     .output_bias = true,
                                     .mlp_bias = true,
                                     .qk_norm = true,
                                     .eos_token = -1,
                                     .bos_token = -1};

enum { LIMIT = 64 };

typedef struct set {
    gm_write_tensor tensors[LIMIT];
    char names[LIMIT][80];
    size_t count;
} set;

static float zeros[4096];

static void add(set *s, const char *name, int64_t rows, int64_t columns) { /* columns 0: a vector */
    gm_write_tensor *t = &s->tensors[s->count];
    snprintf(s->names[s->count], sizeof *s->names, "%s", name);
    *t = (gm_write_tensor){.name = s->names[s->count++], .type = GM_F32, .rank = columns ? 2 : 1, .dim = {rows, columns}, .data = zeros};
}

static void fill(set *s) { /* the whole of `tiny` */
    static const struct {
        const char *part;
        int rows, columns;
    } parts[] = {
        {"input_layernorm.weight", 6, 0},  {"post_attention_layernorm.weight", 6, 0},
        {"self_attn.q_proj.weight", 8, 6}, {"self_attn.k_proj.weight", 4, 6},
        {"self_attn.v_proj.weight", 4, 6}, {"self_attn.o_proj.weight", 6, 8},
        {"self_attn.q_proj.bias", 8, 0},   {"self_attn.k_proj.bias", 4, 0},
        {"self_attn.v_proj.bias", 4, 0},   {"self_attn.o_proj.bias", 6, 0},
        {"self_attn.q_norm.weight", 4, 0}, {"self_attn.k_norm.weight", 4, 0},
        {"mlp.gate_proj.weight", 10, 6},   {"mlp.up_proj.weight", 10, 6},
        {"mlp.down_proj.weight", 6, 10},   {"mlp.gate_proj.bias", 10, 0},
        {"mlp.up_proj.bias", 10, 0},       {"mlp.down_proj.bias", 6, 0},
    };
    *s = (set){.count = 0};
    add(s, "model.embed_tokens.weight", 7, 6);
    add(s, "model.norm.weight", 6, 0);
    add(s, "lm_head.weight", 7, 6);
    for (int layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            char name[80];
            snprintf(name, sizeof name, "model.layers.%d.%s", layer, parts[i].part);
            add(s, name, parts[i].rows, parts[i].columns);
        }
}

static gm_safetensors *write_and_open(const char *path, const set *s) {
    gm_safetensors *file;
    assert_int_equal(gm_safetensors_write(path, s->tensors, s->count, NULL, 0), GM_OK);
    if (gm_safetensors_open(&file, path) != GM_OK) fail_msg("%s", gm_error_text());
    return file;
}

static void expect(const char *path, const set *s, const gm_model_config *config, const char *name, const char *says) {
    gm_safetensors *file = write_and_open(path, s);
    gm_status status = gm_weights_check(file, config);
    gm_safetensors_close(file);
    if (status != (says ? GM_BAD_FILE : GM_OK)) fail_msg("%s: status %d: %s", name, status, gm_error_text());
    if (says && (!strstr(gm_error_text(), path) || !strstr(gm_error_text(), name) || !strstr(gm_error_text(), says)))
        fail_msg("%s: \"%s\" is not in: %s", name, says, gm_error_text());
}

static void test_every_tensor_matters(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    set s, full;
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "x.safetensors"), GM_OK);
    gm_log_set_level(GM_LOG_ERROR);
    fill(&full);
    expect(path, &full, &tiny, "all", NULL);
    for (size_t i = 0; i < full.count; i++) {
        fill(&s);
        char name[80];
        snprintf(name, sizeof name, "%s", s.names[i]);
        s.tensors[i].name = "other";
        expect(path, &s, &tiny, name, "is missing");
        fill(&s);
        s.tensors[i].dim[0]++;
        expect(path, &s, &tiny, name, "where config.json implies");
        fill(&s);
        s.tensors[i].dim[s.tensors[i].rank - 1]++;
        expect(path, &s, &tiny, name, "where config.json implies");
        fill(&s);
        s.tensors[i].dim[s.tensors[i].rank++] = 1;
        expect(path, &s, &tiny, name, "where config.json implies");
        fill(&s);
        s.tensors[i].type = GM_F64;
        expect(path, &s, &tiny, name, "type F64");
        s.tensors[i].type = i % 2 ? GM_BF16 : GM_F16;
        expect(path, &s, &tiny, name, NULL);
    }
    fill(&s);
    s.tensors[5].dim[0] = 9; /* both shapes are named */
    expect(path, &s, &tiny, s.names[5], "shape 9×6 where config.json implies 8×6");
    gm_log_set_level(GM_LOG_INFO);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_variants(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    set s;
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "x.safetensors"), GM_OK);
    fill(&s);
    gm_model_config tied = tiny;
    tied.tied_embeddings = true;
    s.tensors[2].name = "model.layers.0.self_attn.rotary_emb.inv_freq"; /* no lm_head; a harmless buffer */
    expect(path, &s, &tied, "tied", NULL);
    fill(&s);
    gm_model_config fused = tiny;
    fused.fused = true;
    expect(path, &s, &fused, "model.layers.0.self_attn.qkv_proj.weight", "is missing");
    float values[16 * 6];
    for (int i = 0; i < 16 * 6; i++) values[i] = (float)i;
    for (int layer = 0; layer < 2; layer++) {
        char name[80];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.qkv_proj.weight", layer);
        add(&s, name, 16, 6);
        s.tensors[s.count - 1].data = values;
        snprintf(name, sizeof name, "model.layers.%d.mlp.gate_up_proj.weight", layer);
        add(&s, name, 20, 6);
    }
    expect(path, &s, &fused, "fused", NULL);
    gm_safetensors *one = write_and_open(path, &s);
    gm_file_tensor part;
    assert_true(gm_weights_part(&part, one, &fused, 1, "self_attn.v_proj.weight")); /* after 8 rows of q and 4 of k */
    float first;
    memcpy(&first, part.bytes, sizeof first);
    assert_true(first == 12 * 6 && part.dim[0] == 4 && part.dim[1] == 6 && part.byte_count == 4 * 6 * sizeof(float));
    assert_true(gm_weights_part(&part, one, &fused, 1, "mlp.up_proj.weight") && part.dim[0] == 10);
    assert_false(gm_weights_part(&part, one, &fused, 7, "mlp.up_proj.weight"));
    gm_safetensors_close(one);
    s.tensors[s.count - 1].dim[0] = 19;
    expect(path, &s, &fused, "model.layers.1.mlp.gate_up_proj.weight", "shape 19×6 where config.json implies 20×6");
    fill(&s);
    for (size_t i = 0; i < s.count; i++) /* saved from the model without its head's wrapper */
        if (strncmp(s.names[i], "model.", 6) == 0) s.tensors[i].name = s.names[i] + 6;
    gm_safetensors *file = write_and_open(path, &s);
    assert_int_equal(gm_weights_check(file, &tiny), GM_OK);
    assert_string_equal(gm_weights_find(file, 1, "mlp.up_proj.bias")->name, "layers.1.mlp.up_proj.bias");
    assert_string_equal(gm_weights_find(file, -1, "lm_head.weight")->name, "lm_head.weight");
    assert_string_equal(gm_weights_find(file, -1, "norm.weight")->name, "norm.weight");
    assert_null(gm_weights_find(file, 2, "mlp.up_proj.bias"));
    gm_safetensors_close(file);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static uint64_t hash_of(const char *path, const set *s, const gm_model_config *config) {
    gm_safetensors *file = write_and_open(path, s);
    uint64_t hash = gm_weights_hash(file, config);
    gm_safetensors_close(file);
    return hash;
}

static void test_hash(void **state) {
    (void)state;
    char directory[4096], path[GM_PATH];
    set s;
    gm_model_config other = tiny;
    gm_test_directory(directory);
    assert_int_equal(gm_path_join(path, directory, "x.safetensors"), GM_OK);
    fill(&s);
    uint64_t hash = hash_of(path, &s, &tiny);
    assert_true(hash == 0xdcc0c9bf12e7e7a7u); /* kept in adapters: it must never change */
    gm_write_tensor moved = s.tensors[3];     /* another order is the same model */
    s.tensors[3] = s.tensors[4];
    s.tensors[4] = moved;
    assert_true(hash_of(path, &s, &tiny) == hash);
    float one = 1, large[2000] = {0};
    fill(&s);
    s.tensors[s.count - 1].data = (float[6]){[3] = one};
    assert_true(hash_of(path, &s, &tiny) != hash);
    fill(&s);
    s.tensors[1].type = GM_I32;
    assert_true(hash_of(path, &s, &tiny) != hash);
    other.rope_theta = 1e6;
    fill(&s);
    assert_true(hash_of(path, &s, &other) != hash);
    add(&s, "large", 2000, 0); /* wherever a byte differs */
    hash = hash_of(path, &s, &tiny);
    s.tensors[s.count - 1].data = large;
    for (size_t i = 0; i < 2000; i += 97) {
        large[i] = 1;
        assert_true(hash_of(path, &s, &tiny) != hash);
        large[i] = 0;
    }
    assert_true(hash_of(path, &s, &tiny) == hash);
    assert_int_equal(gm_directory_remove(directory), GM_OK);
}

static void test_shared_models(void **state) {
    (void)state;
    static const char *const models[] = {"data/models/stories260K", "golden/llama-gmoe/base"};
    bool any = false;
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        gm_model_config config;
        gm_safetensors *file;
        if (!gm_test_shared(path, models[i])) continue;
        any = true;
        if (gm_model_config_read(&config, path) != GM_OK) fail_msg("%s", gm_error_text());
        assert_int_equal(config.tied_embeddings, i == 0);
        assert_int_equal(config.layers, i == 0 ? 5 : 3);
        if (gm_safetensors_open_model(&file, path) != GM_OK) fail_msg("%s", gm_error_text());
        if (gm_weights_check(file, &config) != GM_OK) fail_msg("%s", gm_error_text());
        gm_safetensors_close(file);
    }
    if (!any) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_tensor_matters),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_shared_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
