/* The first inputs of every fuzz target: make_seeds SOURCE-TREE DIRECTORY writes DIRECTORY/TARGET/NAME. Good files of every
 * shape, so that mutations begin behind the first check; bad ones of each kind are in tests/hostile. */
#include "base/buffer.h"
#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char *source, *directory;

static void check(gm_status status) { GM_CHECK(status == GM_OK, "%s", gm_error_text()); }

/* gm_file_write would wait for the disk at every seed. */
static void put(const char *target, const char *name, const void *bytes, size_t length) {
    char folder[GM_PATH], path[GM_PATH];
    check(gm_path_join(folder, directory, target));
    check(gm_directory_make(folder));
    check(gm_path_join(path, folder, name));
    FILE *out = fopen(path, "wb");
    GM_CHECK(out && fwrite(bytes, 1, length, out) == length && fclose(out) == 0, "%s: cannot be written", path);
}

/* The table's texts as 0, 1, 2 …; those of safetensors behind their length. */
static void put_texts(const char *target, const char *const *texts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "%zu", i);
        put(target, name, texts[i], strlen(texts[i]));
    }
}
#define PUT_TEXTS(target, texts) put_texts(target, texts, sizeof(texts) / sizeof *(texts))

/* A file of the source tree of at most 16 KB, as `name`. */
static void put_copy(const char *target, const char *folder, const char *file, const char *name) {
    enum { LARGEST = 16 * 1024 };
    char place[GM_PATH], path[GM_PATH];
    gm_buffer text = {0};
    check(gm_path_join(place, source, folder));
    check(gm_path_join(path, place, file));
    if (gm_file_exists(path) && gm_file_read(&text, path, LARGEST, GM_USAGE) == GM_OK) put(target, name, text.bytes, text.length);
    gm_buffer_free(&text);
}

/* Every DIRECTORY/ENTRY/FILE of the source tree, or DIRECTORY/ENTRY where `file` is "". */
static void put_copies(const char *target, const char *folder, const char *file) {
    char place[GM_PATH], within[GM_PATH];
    struct dirent **entries;
    check(gm_path_join(place, source, folder));
    int count = scandir(place, &entries, NULL, alphasort);
    GM_CHECK(count >= 0, "%s: cannot be read", place);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        check(gm_path_join(within, folder, name));
        if (name[0] != '.') put_copy(target, *file ? within : folder, *file ? file : name, name);
        free(entries[i]);
    }
    free(entries);
}

static void put_safetensors(void) {
    static const struct {
        const char *json;
        size_t data;
    } files[] = {
        {"{}", 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", 24},
        {"{\"__metadata__\":{\"format\":\"pt\",\"step\":\"7\"},\"a.b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]},"
         "\"c\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[8,10]},\"d\":{\"dtype\":\"U8\",\"shape\":[3,0],\"data_offsets\":[10,10]}}"
         "   ",
         10},
        {"{\"b\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[1,9]},\"a\":{\"x\":[{\"y\":null}],\"dtype\":\"BOOL\",\"shape\":[1],"
         "\"data_offsets\":[0,1]}}",
         9},
        {"{\"\\u00e9\\ud83d\\ude00\":{\"dtype\":\"F64\",\"shape\":[1,1,1,1,1,1,1,2],\"data_offsets\":[0,16]}}", 16},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        gm_buffer out = {0};
        char name[32];
        uint64_t length = strlen(files[i].json);
        for (int k = 0; k < 8; k++) gm_buffer_char(&out, (char)(length >> (8 * k) & 255));
        gm_buffer_text(&out, files[i].json);
        for (size_t k = 0; k < files[i].data; k++) gm_buffer_char(&out, (char)k);
        snprintf(name, sizeof name, "%zu", i);
        put("safetensors", name, out.bytes, out.length);
        gm_buffer_free(&out);
    }
}

static void put_json(void) {
    static const char *const texts[] = {
        "{\"a\":[1,-2.5e-3,true,false,null,\"x\\n\\u00e9\\ud83d\\ude00\"],\"b\":{\"c\":{}}}",
        " [ [ [ ] ] , { } , 0 , 9007199254740993, 1e308 ] \r\n",
        "\"\xc3\xa9\xe2\x96\x81\xf0\x9f\x98\x80 \\\"\\\\\\/\\b\\f\\r\\t\"",
        "{\"a\":1,\"a\":2}",
        "[\"\\u0000\"]",
        "-0",
    };
    static const char *const indices[] = {
        "{\"metadata\":{\"total_size\":3},\"weight_map\":{\"a\":\"s1\",\"b\":\"s2\",\"c\":\"s2\"}}",
        "{\"weight_map\":{\"c\":\"s2\"}}",
        "{\"weight_map\":{\"a\":\"../s1\",\"b\":\"s3\"}}",
    };
    static const char *const adapters[] = {
        "{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":16,\"lora_dropout\":0.05,\"bias\":\"none\",\"use_rslora\":true,\"target_modules\":["
        "\"q_proj\",\"v_proj\"],"
        "\"init_lora_weights\":\"gaussian\",\"rank_pattern\":{},\"task_type\":\"CAUSAL_LM\"}",
        "{\"peft_type\":\"GMOE\",\"r\":2,\"lora_alpha\":4,\"target_modules\":[\"gate_proj\",\"up_proj\",\"down_proj\"],\"num_experts\":8,"
        "\"top_k\":2,"
        "\"router\":{\"type\":\"graph\",\"layers\":2,\"hidden_size\":64,\"edges\":\"random\",\"edge_seed\":1,\"expert_features\":"
        "\"frozen\",\"edge_density\":0.1,"
        "\"token_gain\":1},\"losses\":{\"divergence\":\"kl\",\"count\":\"ema\",\"ema_decay\":0.9,\"poisson\":0.005,\"normal\":8}}",
        "{\"peft_type\":\"GMOE\",\"r\":2,\"target_modules\":[\"up_proj\"],\"num_experts\":4,\"top_k\":4,\"router\":{\"type\":\"linear\"},"
        "\"losses\":{\"balance\":0.01}}",
    };
    PUT_TEXTS("json", texts);
    PUT_TEXTS("index", indices);
    PUT_TEXTS("adapter_config", adapters);
}

static void put_configs(void) {
    static const char *const configs[] = {
        "{\"model_type\":\"qwen3\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":8,\"num_key_value_heads\":4,\"head_"
        "dim\":16,"
        "\"use_sliding_window\":true,\"sliding_window\":16,\"layer_types\":[\"full_attention\",\"sliding_attention\"],\"rope_parameters\":{"
        "\"rope_theta\":1e6,"
        "\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64},"
        "\"eos_token_id\":[1,2]}",
        "{\"model_type\":\"mistral\",\"sliding_window\":12,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4},\"tie_word_embeddings\":"
        "true,\"hidden_act\":\"silu\"}",
    };
    PUT_TEXTS("model_config", configs);
    put_copies("model_config", "tests/golden", "base/config.json");
}

static void put_tokenizers(void) {
    static const char *const texts[] = {
        "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":4,\"content\":\"<s>\",\"rstrip\":true,\"normalized\":false,\"special\":true},{"
        "\"id\":6,\"content\":\"x y\","
        "\"normalized\":true}],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":"
        "{\"Regex\":"
        "\"[^a-z&&\\\\p{L}]+\"},\"content\":\"a\"}]},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
        "\"pattern\":{\"String\":\" \"},"
        "\"behavior\":\"MergedWithNext\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_"
        "regex\":true}]},"
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{"
        "\"id\":\"A\",\"type_id\":0}}],"
        "\"pair\":[],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[4],\"tokens\":[\"<s>\"]}}},\"decoder\":{\"type\":\"ByteLevel\","
        "\"add_prefix_space\":true,"
        "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"unk_token\":\"<s>\",\"ignore_merges\":true,\"vocab\":{"
        "\"a\":0,\"b\":1,\"c\":2,\"ab\":3,"
        "\"<s>\":4,\"</s>\":5},\"merges\":[\"a b\",[\"a\",\"b\"]]}}",
        "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},{\"type\":\"Replace\","
        "\"pattern\":{\"String\":\" \"},"
        "\"content\":\"\xe2\x96\x81\"}]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
        "\"\xe2\x96\x81\"},\"content\":\" \"},"
        "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
        "\",\"start\":1,\"stop\":0}]},\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\","
        "\"fuse_unk\":true,\"byte_fallback\":true,\"vocab\":{\"<unk>\":0,\"<0xC3>\":1,\"<0xA9>\":2,\"\xe2\x96\x81\":3,\"a\":4,"
        "\"\xe2\x96\x81"
        "a\":5},\"merges\":[\"\xe2\x96\x81 a\"]}}",
        "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t)|[^"
        "\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"
        "\\\\p{N}{1,3}|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"Digits\",\"individual_digits\":"
        "true},{\"type\":\"Metaspace\","
        "\"replacement\":\"_\",\"prepend_scheme\":\"first\",\"split\":false}]},\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"_\":2},\"merges\":[]"
        "}}",
    };
    PUT_TEXTS("tokenizer", texts);
    put_copies("tokenizer", "tests/golden/tokenizer", "");
}

static void put_tasks(void) {
    static const char *const texts[] = {
        "{\"summary\":\"s\",\"splits\":{\"train\":{\"files\":[\"t.jsonl\"]}},\"fields\":{\"q\":\"q\"},\"choices\":{\"texts\":\"c[].text\","
        "\"labels\":\"c[].label\"},"
        "\"answer\":\"a\",\"prompts\":{\"p\":{\"prompt\":\"{q}{options}:\",\"option\":\" ({label}) {text}\",\"completion\":\" "
        "{label}\",\"scoring\":\"label\"},"
        "\"l\":{\"prompt\":\"{q}\",\"completion\":\" {text}\",\"scoring\":\"likelihood\",\"clean\":true}}}",
        "{\"summary\":\"s\",\"folders\":[\"x\"],\"splits\":{\"train\":{\"files\":[\"t.tsv\"]},\"test\":{\"same_as\":\"train\"}},\"fields\":"
        "{\"q\":\"z | q\"},\"choices\":{\"labels\":"
        "{\"A\":\"yes\",\"B\":\"no\"}},\"answer\":\"a\",\"append_eos\":true,\"prompts\":{\"p\":{\"prompt\":\"{q}\",\"completion\":\" "
        "{label}\",\"scoring\":\"label\"}}}",
        "{\"summary\":\"s\",\"splits\":{\"train\":{\"files\":[\"t.jsonl\"]}},\"fields\":{\"q\":\"q\"},\"completion\":\"d\",\"prompts\":{"
        "\"p\":{\"prompt\":\"{q}\","
        "\"scoring\":\"likelihood\"}}}",
    };
    PUT_TEXTS("task", texts);
    put_copies("task", "configs/tasks", "");
}

/* The first byte chooses the tokenizer, the second how it is used (fuzz_encode.c). */
static void put_texts_to_encode(void) {
    static const char *const texts[] = {
        "\x05\x01the cup is on the shelf.\n\nI'M here, they'll 12345 \xe2\x96\x81x",
        "\x06\x02 \xc3\xa9 e\xcc\x81 \xef\xac\x81 \xe2\x80\x8b\x1c \xf0\x9f\x98\x80\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa",
        "\x07\x03<s> </s> <unk><|begin|>",
        "\x08\x04\xe0\xb8\x81\xe0\xb8\xb3 \xe4\xb8\xad\xe6\x96\x87 \xd8\xb9",
        "\x09\x07"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabababababababab\t\t  \r\n  ",
    };
    PUT_TEXTS("encode", texts);
}

#define ARC                                                                                                                                \
    "{\"question\":{\"stem\":\"s\",\"choices\":[{\"text\":\"a\",\"label\":\"A\"},{\"text\":\"b\",\"label\":\"B\"}]},\"answerKey\":\"A\"}"  \
    "\n"

/* The first byte chooses the task (fuzz_jsonl.c): 5 is a multiple of the number of tasks. */
static void put_data(void) {
    static const char *const lines[] = {
        "\x05{\"prompt\":\"p\",\"completion\":\" c\"}\n{\"prompt\":\"p\",\"choices\":[\" a\",\" "
        "b\"],\"answer\":1}\r\n\n{\"prompt\":\"\\u00e9\",\"completion\":\"\xc3\xa9\"}",
        "\x06" ARC "{\"question\":\"s\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"1\",\"2\"]},\"answerKey\":\"2\"}\n",
        "\x07{\"question\":\"is it\",\"answer\":true,\"title\":\"t\",\"passage\":\"p\"}\n",
        "\x08{\"context\":\"c\",\"question\":\"q\",\"answerA\":\"a\",\"answerB\":\"b\",\"answerC\":\"c\",\"label\":\"2\"}\n",
        "\x09{\"ind\":4,\"activity_label\":\"Removing ice\",\"ctx_a\":\"A man.\",\"ctx_b\":\"he\",\"ctx\":\"A man. he\",\"endings\":[\"is "
        "[title] x\",\"b\",\"c\",\"d\"],\"label\":\"3\"}\n",
        "\x05\xef\xbb\xbf{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":1}\n",
        "\x05{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"}]},"
        "{\"role\":\"assistant\",\"content\":\"a\",\"weight\":0},{\"role\":\"user\",\"content\":\"\"},{\"role\":\"assistant\",\"content\":"
        "\"b\"}]}\n",
        "\x05{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}]}\n{\"instruction\":\"i\","
        "\"input\":\"\","
        "\"output\":\"o\"}\n",
    };
    static const char *const tables[] = {
        "sentence\tlabel\nhide new secretions\t0\ngood\t1\r\n",
        "\xef\xbb\xbfindex\tsentence\tlabel\n0\t\xc3\xa9\t1\n\n1\ta\"b\t0",
        "sentence\tlabel\nb\t0\na\n",
    };
    PUT_TEXTS("jsonl", lines);
    PUT_TEXTS("tsv", tables);
}

static void put_templates(void) {
    static const char *const texts[] = {
        "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message['content'] | trim + '<|im_end|>\n' }}{% endfor "
        "-%}",
        "{% if messages[0]['role'] == 'system' %}{% set s = messages[0].content %}{% set rest = messages[1:] %}{% else %}{% set s = none %}"
        "{% set rest = messages %}{% endif %}{{ bos_token }}{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('turns') }}{% elif loop.first and s is defined and s is not none %}[INST] {{ s ~ m.content }} [/INST]"
        "{% else %}{{ m.content }}{{ eos_token if m.role == 'assistant' else '' }}{% endif %}{% endfor %}",
        "{#- a comment -#}{% set ns = namespace(found=false, at=-1) %}{% for i in range(messages | length - 1, -1, -1) %}"
        "{% if messages[i].role == \"assistant\" and not ns.found %}{% set ns.found = true %}{% set ns.at = i %}{% endif %}{% endfor %}"
        "{% for m in messages if m.content is string %}{% generation %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% endgeneration "
        "%}"
        "{{ loop.last and ns.at >= 0 or 'x' in m.content }}{% endfor %}",
        "{% macro say(m) %}{{ m }}{% endmacro %}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ [1, 2.5, {'a': "
        "[none]}] | tojson }}",
        "{{ 7 // 2 * -3 % 4 - 1 }}{{ 'a' * 5 }}{{ (messages | map(attribute='content') | join(', '))[::-1] }}",
    };
    PUT_TEXTS("template", texts);
}

/* One gzip member. */
static void append_gzip(gm_buffer *out, const char *text, size_t length) {
    z_stream stream = {0};
    unsigned char bytes[4096];
    GM_CHECK(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib");
    stream.next_in = (Bytef *)(uintptr_t)text;
    stream.avail_in = (uInt)length;
    stream.next_out = bytes;
    stream.avail_out = sizeof bytes;
    GM_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib");
    gm_buffer_append(out, bytes, stream.total_out);
    deflateEnd(&stream);
}

static void put_gzip(void) {
    static const char text[] = "{\"prompt\":\"p\",\"completion\":\"c\"}\n\r\nsecond line\n\xef\xbb\xbf\nlast";
    char many[3000];
    gm_buffer out = {0};
    for (size_t i = 0; i < sizeof many; i++) many[i] = i % 61 == 60 ? '\n' : (char)('a' + i * i % 26);
    append_gzip(&out, text, sizeof text - 1);
    put("gz", "member", out.bytes, out.length);
    append_gzip(&out, many, sizeof many);
    put("gz", "members", out.bytes, out.length);
    gm_buffer_clear(&out);
    append_gzip(&out, "", 0);
    put("gz", "empty", out.bytes, out.length);
    put("gz", "plain", text, sizeof text - 1);
    gm_buffer_free(&out);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s SOURCE-TREE DIRECTORY\n", argv[0]);
        return 2;
    }
    source = argv[1], directory = argv[2];
    put_safetensors();
    put_json();
    put_configs();
    put_tokenizers();
    put_texts_to_encode();
    put_tasks();
    put_data();
    put_templates();
    put_gzip();
    return 0;
}
