/* Bad files as the programs meet them: a good model, adapter and data set with one file of them replaced by what a row says.
 * The program must end with 3 and one line on standard error that names the file and the reason, within a few seconds of
 * processor time, and in less than 100 MB of memory. The library's own tables are in the other tests of this folder. */
#include "data_files.h"

#include "base/buffer.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A program that goes on for ever, or for as long as the file likes, is ended. The sanitizers' own memory is not counted. */
#ifdef __SANITIZE_ADDRESS__
enum { SECONDS = 30, MEGABYTES = 0 };
#else
enum { SECONDS = 5, MEGABYTES = 100 };
#endif
enum { BIG = 100 << 20 };
static const char golden[] = "tests/golden/llama-lora";
static char directory[GM_PATH - 300], programs[GM_PATH - 100];

/* ---- the files: each appends what is to stand in place of the good one ------------------------------------------- */

typedef void (*writer)(gm_buffer *out);

static void repeat(gm_buffer *out, const char *text, size_t count) {
    for (size_t i = 0; i < count; i++) gm_buffer_text(out, text);
}

/* The text becomes a safetensors header. */
static void put_length_before(gm_buffer *out) {
    gm_buffer whole = {0};
    for (int i = 0; i < 8; i++) gm_buffer_char(&whole, (char)((uint64_t)out->length >> (8 * i) & 255));
    gm_buffer_append(&whole, out->bytes, out->length);
    gm_buffer_free(out);
    *out = whole;
}

static void pack(gm_buffer *out) {
    size_t length;
    unsigned char *member = gm_test_gzip(out->bytes, out->length, &length);
    gm_buffer_clear(out);
    gm_buffer_append(out, member, length);
    free(member);
}

static void empty(gm_buffer *out) { gm_buffer_clear(out); }
static void nonsense(gm_buffer *out) { gm_buffer_text(out, "this is not it"); }
static void lfs_pointer(gm_buffer *out) { gm_buffer_text(out, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"); }
static void not_utf8(gm_buffer *out) { gm_buffer_text(out, "{\"model\":\"\xff\"}"); }
static void not_utf8_line(gm_buffer *out) {
    gm_buffer_text(out, "{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":\"\xff\",\"completion\":\"c\"}\n");
}
static void truncated(gm_buffer *out) { gm_buffer_text(out, "{\"model\":[1,2"); }
static void nesting(gm_buffer *out) { gm_buffer_text(out, "{\"model\":"), repeat(out, "[", 1000000); }
static void many_values(gm_buffer *out) { gm_buffer_text(out, "{\"model\":[1"), repeat(out, ",1", 2000000), gm_buffer_text(out, "]}"); }
static void many_members(gm_buffer *out) {
    gm_buffer_text(out, "{\"a\":0");
    for (int i = 0; i < 600000; i++) gm_buffer_format(out, ",\"%x\":0", i);
    gm_buffer_text(out, "}");
}

static void header_too_long(gm_buffer *out) { gm_buffer_append(out, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10); }
static void header_empty(gm_buffer *out) { gm_buffer_append(out, "\0\0\0\0\0\0\0\0", 8); }
static void header_nesting(gm_buffer *out) {
    gm_buffer_text(out, "{\"a\":{\"x\":");
    repeat(out, "[", 1000000);
    put_length_before(out);
}
static void tensors_overlap(gm_buffer *out) {
    gm_buffer_text(
        out,
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}");
    put_length_before(out);
    gm_buffer_append(out, "123", 3);
}
static void tensor_wraps(gm_buffer *out) {
    gm_buffer_text(out, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}");
    put_length_before(out);
}
static void many_tensors(gm_buffer *out) {
    gm_buffer_char(out, '{');
    for (int i = 0; i < 300000; i++)
        gm_buffer_format(out, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "", i);
    gm_buffer_char(out, '}');
    put_length_before(out);
}
static void long_name(gm_buffer *out) {
    gm_buffer_text(out, "{\"");
    repeat(out, "nnnnnnnnnn", 3000000);
    gm_buffer_text(out, "\":{}}");
    put_length_before(out);
}
static void escaping_shard(gm_buffer *out) { gm_buffer_text(out, "{\"weight_map\":{\"model.norm.weight\":\"../../../etc/passwd\"}}"); }
static void absent_shard(gm_buffer *out) {
    gm_buffer_text(out, "{\"weight_map\":{\"model.norm.weight\":\"model-00001-of-00002.safetensors\"}}");
}

static void no_layers(gm_buffer *out) { gm_buffer_text(out, "{\"model_type\":\"llama\",\"num_hidden_layers\":0}"); }
static void huge_model(gm_buffer *out) { gm_buffer_text(out, "{\"model_type\":\"llama\",\"hidden_size\":9007199254740991}"); }
static void soft_capping(gm_buffer *out) { gm_buffer_text(out, "{\"model_type\":\"llama\",\"final_logit_softcapping\":30.0}"); }
static void big_config(gm_buffer *out) { repeat(out, "          ", 500000); }

static void unknown_tokenizer(gm_buffer *out) { gm_buffer_text(out, "{\"model\":{\"type\":\"Mystery\",\"vocab\":{}}}"); }
static void far_token(gm_buffer *out) { gm_buffer_text(out, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4294967295},\"merges\":[]}}"); }
static void bad_merge(gm_buffer *out) { gm_buffer_text(out, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a z\"]}}"); }
static void many_added(gm_buffer *out) {
    gm_buffer_text(out, "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[1");
    repeat(out, ",1", 2000000);
    gm_buffer_text(out, "]}");
}
/* Twelve replacements of a letter by fifty: 10^20 bytes of the added token. */
static void growing_rules(gm_buffer *out) {
    gm_buffer_text(out, "{\"model\":{\"vocab\":{\"a\":0,\"<s>\":1,\"</s>\":2},\"merges\":[]},\"added_tokens\":[{\"id\":3,"
                        "\"content\":\"xa\",\"normalized\":true}],");
    gm_buffer_text(out, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 12; i++) {
        gm_buffer_format(out, "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"", i ? "," : "");
        repeat(out, "aaaaaaaaaa", 5);
        gm_buffer_text(out, "\"}");
    }
    gm_buffer_text(out, "]}}");
}
static void packed_zeros(gm_buffer *out) { repeat(out, "          ", BIG / 10), pack(out); }

static void lone_brace(gm_buffer *out) { gm_buffer_text(out, "{\"prompt\":\"p\",\"completion\":\"c\"}\n{\n"); }
static void long_line(gm_buffer *out) { gm_buffer_text(out, "{\"prompt\":\""), repeat(out, "xxxxxxxxxx", BIG / 10); }
static void packed_long_line(gm_buffer *out) { long_line(out), pack(out); }
static void packed_blank_lines(gm_buffer *out) { repeat(out, "\n\n\n\n\n\n\n\n\n\n", BIG / 10), pack(out); }
static void packed_cut(gm_buffer *out) { repeat(out, "{\"prompt\":\"p\",\"completion\":\"c\"}\n", 100), pack(out), out->length -= 9; }
static void packed_wrong(gm_buffer *out) {
    repeat(out, "{\"prompt\":\"p\",\"completion\":\"c\"}\n", 100);
    pack(out);
    out->bytes[out->length - 7] ^= 1;
}
static void no_completion(gm_buffer *out) { gm_buffer_text(out, "{\"prompt\":\"p\",\"completion\":\"c\"}\n\n{\"prompt\":\"p\"}\n"); }
static void no_answer(gm_buffer *out) { gm_buffer_text(out, "{\"prompt\":\"p\",\"choices\":[\"a\",\"b\"],\"answer\":2}\n"); }
static void wrong_label(gm_buffer *out) { gm_buffer_text(out, "sentence\tlabel\na\t1\nb\t2\n"); }
static void no_column(gm_buffer *out) { gm_buffer_text(out, "sentence\tlabel\na\t1\nb\n"); }

static void other_adapter(gm_buffer *out) { gm_buffer_text(out, "{\"peft_type\":\"IA3\"}"); }
static void dora(gm_buffer *out) {
    gm_buffer_text(out, "{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":[\"q_proj\"],\"use_dora\":true}");
}
static void endless_rank(gm_buffer *out) { gm_buffer_text(out, "{\"peft_type\":\"LORA\",\"r\":1e15,\"target_modules\":[\"q_proj\"]}"); }

/* ---- the rows ---------------------------------------------------------------------------------------------------- */

typedef enum program { INSPECT, TOKENIZE, TRAIN, TRAIN_TSV, EVAL } program;

static const struct {
    program program;
    const char *file; /* in the copy */
    writer write;
    const char *says;
} rows[] = {
    {INSPECT, "base/model.safetensors", empty, "0 bytes"},
    {INSPECT, "base/model.safetensors", nonsense, "not a safetensors file"},
    {INSPECT, "base/model.safetensors", lfs_pointer, "git lfs pull"},
    {INSPECT, "base/model.safetensors", header_too_long, "not a safetensors file"},
    {INSPECT, "base/model.safetensors", header_empty, "the text ends"},
    {INSPECT, "base/model.safetensors", header_nesting, "nested more than 64 deep"},
    {INSPECT, "base/model.safetensors", tensors_overlap, "b: overlaps a"},
    {INSPECT, "base/model.safetensors", tensor_wraps, "more elements than memory has bytes"},
    {INSPECT, "base/model.safetensors", many_tensors, "more than 262144 tensors"},
    {INSPECT, "base/model.safetensors", long_name, "a string is longer than 16777216 bytes"},
    {TRAIN, "base/model.safetensors", tensors_overlap, "b: overlaps a"},
    {EVAL, "base/model.safetensors", many_tensors, "more than 262144 tensors"},
    {INSPECT, "base/model.safetensors.index.json", escaping_shard, "not a plain file name"},
    {INSPECT, "base/model.safetensors.index.json", absent_shard, "No such file"},
    {TRAIN, "base/model.safetensors.index.json", escaping_shard, "not a plain file name"},
    {INSPECT, "base/model.safetensors.index.json", nesting, "nested more than 64 deep"},
    {INSPECT, "base/config.json", empty, "the text ends"},
    {INSPECT, "base/config.json", lfs_pointer, "git lfs pull"},
    {INSPECT, "base/config.json", not_utf8, "invalid UTF-8"},
    {INSPECT, "base/config.json", nesting, "nested more than 64 deep"},
    {INSPECT, "base/config.json", many_values, "more than 524288 values"},
    {INSPECT, "base/config.json", no_layers, "num_hidden_layers: 0 is not"},
    {INSPECT, "base/config.json", huge_model, "hidden_size: "},
    {INSPECT, "base/config.json", soft_capping, "final_logit_softcapping: 30 is not supported"},
    {INSPECT, "base/config.json", big_config, "is larger than"},
    {TRAIN, "base/config.json", soft_capping, "final_logit_softcapping: 30 is not supported"},
    {EVAL, "base/config.json", huge_model, "hidden_size: "},
    {TOKENIZE, "base/tokenizer.json", empty, "the text ends"},
    {TOKENIZE, "base/tokenizer.json", lfs_pointer, "git lfs pull"},
    {TOKENIZE, "base/tokenizer.json", truncated, "the text ends"},
    {TOKENIZE, "base/tokenizer.json", not_utf8, "invalid UTF-8"},
    {TOKENIZE, "base/tokenizer.json", nesting, "nested more than 64 deep"},
    {TOKENIZE, "base/tokenizer.json", unknown_tokenizer, "Mystery"},
    {TOKENIZE, "base/tokenizer.json", far_token, "4294967295"},
    {TOKENIZE, "base/tokenizer.json", bad_merge, "second half is not in the vocabulary"},
    {TOKENIZE, "base/tokenizer.json", growing_rules, "the tokenizer's rules make more than"},
    {TOKENIZE, "base/tokenizer.json", many_added, "more than 524288 values"},
    {TOKENIZE, "base/tokenizer.json.gz", packed_zeros, "is larger than 67108864 bytes"},
    {TOKENIZE, "base/tokenizer.json.gz", packed_cut, "tokenizer.json.gz"},
    {TOKENIZE, "base/tokenizer_config.json", many_members, "more than 524288 values"},
    {TOKENIZE, "base/tokenizer_config.json", nesting, "nested more than 64 deep"},
    {TRAIN, "base/tokenizer.json", unknown_tokenizer, "Mystery"},
    {TRAIN, "train.jsonl", empty, "holds no item"},
    {TRAIN, "train.jsonl", lone_brace, "line 2: "},
    {TRAIN, "train.jsonl", not_utf8_line, "line 2: "},
    {TRAIN, "train.jsonl", no_completion, "line 3: "},
    {TRAIN, "train.jsonl", no_answer, "line 1: answer: \"2\" is no index of 2 choices"},
    {TRAIN, "train.jsonl", long_line, "line 1: is longer than 64 MB"},
    {TRAIN, "train.jsonl", nesting, "nested more than 64 deep"},
    {TRAIN, "train.jsonl", many_values, "more than 524288 values"},
    {TRAIN, "train.jsonl.gz", nonsense, "is not a gzip file"},
    {TRAIN, "train.jsonl.gz", packed_cut, "cut short"},
    {TRAIN, "train.jsonl.gz", packed_wrong, "the gzip stream is damaged"},
    {TRAIN, "train.jsonl.gz", packed_long_line, "line 1: is longer than 64 MB"},
    {TRAIN, "train.jsonl.gz", packed_blank_lines, "more than 16 MB of blank lines"},
    {TRAIN_TSV, "train.tsv", wrong_label, "line 3: the answer \"2\" is none of 0, 1"},
    {TRAIN_TSV, "train.tsv", no_column, "line 3: 1 columns where the header has 2"},
    {TRAIN_TSV, "train.tsv", empty, "is empty"},
    {EVAL, "adapter/adapter_config.json", nonsense, "not JSON"},
    {EVAL, "adapter/adapter_config.json", nesting, "nested more than 64 deep"},
    {EVAL, "adapter/adapter_config.json", other_adapter, "peft_type"},
    {EVAL, "adapter/adapter_config.json", dora, "use_dora: true is not supported"},
    {EVAL, "adapter/adapter_config.json", endless_rank, "rank"},
    {EVAL, "adapter/adapter_model.safetensors", header_too_long, "not a safetensors file"},
    {EVAL, "adapter/adapter_model.safetensors", tensor_wraps, "more elements than memory has bytes"},
    {TRAIN, "init/adapter_model.safetensors", many_tensors, "more than 262144 tensors"},
    {TRAIN, "init/adapter_model.safetensors", header_empty, "the text ends"},
};

/* ---- running ----------------------------------------------------------------------------------------------------- */

static const char *at(const char *name) {
    static char paths[8][GM_PATH];
    static int turn;
    char *path = paths[turn++ % 8];
    assert_int_equal(gm_path_join(path, directory, name), GM_OK);
    return path;
}

static void copy(const char *from, const char *to) {
    char path[GM_PATH];
    gm_buffer text = {0};
    assert_int_equal(gm_path_join(path, golden, from), GM_OK);
    assert_int_equal(gm_file_read(&text, path, 1 << 20, GM_USAGE), GM_OK);
    gm_test_write(directory, to, text.bytes, text.length);
    gm_buffer_free(&text);
}

/* The good files again, without those that would be taken in place of the one that is to be `replaced`. */
static void restore(const char *replaced) {
    static const char adapter[] = "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"target_modules\":"
                                  "[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\",\"gate_proj\",\"up_proj\",\"down_proj\"]}";
    static const char *const other[] = {"base/model.safetensors.index.json", "base/tokenizer.json.gz", "train.jsonl.gz", "train.tsv"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) unlink(at(other[i]));
    assert_int_equal(gm_directory_remove(at("out")), GM_OK);
    copy("base/config.json", "base/config.json");
    copy("base/model.safetensors", "base/model.safetensors");
    copy("base/tokenizer.json", "base/tokenizer.json");
    copy("base/tokenizer_config.json", "base/tokenizer_config.json");
    copy("train.jsonl", "train.jsonl");
    copy("test.jsonl", "test.jsonl");
    copy("init/adapter_model.safetensors", "init/adapter_model.safetensors");
    copy("init/adapter_model.safetensors", "adapter/adapter_model.safetensors");
    gm_test_write(directory, "adapter/adapter_config.json", adapter, sizeof adapter - 1);
    size_t length = strlen(replaced);
    if (strcmp(replaced, "base/model.safetensors.index.json") == 0) unlink(at("base/model.safetensors"));
    if (length > 3 && strcmp(replaced + length - 3, ".gz") == 0) { /* the plain one would be taken */
        char plain[GM_PATH];
        snprintf(plain, sizeof plain, "%.*s", (int)length - 3, replaced);
        unlink(at(plain));
    }
}

static void arguments(const char *argv[16], char program_path[GM_PATH], program which) {
    static const char *const names[] = {"gmoe-inspect", "gmoe-tokenize", "gmoe-train", "gmoe-train", "gmoe-eval"};
    static char config[GM_PATH];
    snprintf(config, sizeof config, "%s/config.json", golden);
    assert_int_equal(gm_path_join(program_path, programs, names[which]), GM_OK);
    const char *inspect[] = {program_path, at("base"), NULL};
    const char *tokenize[] = {program_path, "--tokenizer", at("base"), NULL};
    const char *train[] = {program_path,
                           "--config",
                           config,
                           "--base-model",
                           at("base"),
                           "--data-dir",
                           directory,
                           "--output-dir",
                           at("out"),
                           "--init-adapter",
                           at("init"),
                           "--quiet",
                           which == TRAIN_TSV ? "--set" : NULL,
                           "task=sst2",
                           NULL};
    const char *eval[] = {program_path, "--base-model", at("base"), "--adapter", at("adapter"), "--data-dir",
                          directory,    "--task",       "jsonl",    "--quiet",   NULL};
    switch (which) {
    case INSPECT: memcpy(argv, inspect, sizeof inspect); break;
    case TOKENIZE: memcpy(argv, tokenize, sizeof tokenize); break;
    case EVAL: memcpy(argv, eval, sizeof eval); break;
    default: memcpy(argv, train, sizeof train);
    }
}

/* In the child. */
static void become(const char *const *argv, int error) {
    struct rlimit limit = {SECONDS, SECONDS};
    int null = open("/dev/null", O_RDWR);
    setrlimit(RLIMIT_CPU, &limit);
    setenv("OMP_NUM_THREADS", "1", 1);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static int run(const char *const *argv, char text[4096], long *kilobytes) {
    int pipes[2], status;
    struct rusage usage;
    assert_int_equal(pipe(pipes), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) become(argv, pipes[1]);
    close(pipes[1]);
    size_t length = 0;
    for (ssize_t n = 1; n > 0 && length < 4095; length += (size_t)(n > 0 ? n : 0)) n = read(pipes[0], text + length, 4095 - length);
    text[length] = '\0';
    close(pipes[0]);
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    *kilobytes = usage.ru_maxrss;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool check_row(size_t index) {
    const char *argv[16];
    char program_path[GM_PATH], text[4096];
    gm_buffer bytes = {0};
    long kilobytes;
    restore(rows[index].file);
    rows[index].write(&bytes);
    gm_test_write(directory, rows[index].file, gm_buffer_string(&bytes), bytes.length);
    gm_buffer_free(&bytes); /* before the child is forked: its peak counts what it had of ours */
    arguments(argv, program_path, rows[index].program);
    int status = run(argv, text, &kilobytes);
    const char *file = at(rows[index].file), *line = strchr(text, '\n'), *fault = NULL;
    if (status != GM_BAD_FILE) fault = "is not ended with 3";
    if (!strstr(text, file)) fault = "is not named";
    if (!strstr(text, rows[index].says)) fault = "has another reason";
    if (!line || line[1]) fault = "has not one line";
    if (gm_directory_exists(at("out"))) fault = "leaves an output directory";
    if (MEGABYTES && kilobytes > MEGABYTES * 1024L) fault = "takes too much memory";
    if (!fault) return true;
    printf("row %zu: %s (%s) %s: status %d, %ld MB: %s\n", index, file, rows[index].says, fault, status, kilobytes / 1024, text);
    return false;
}

static void test_rows(void **state) {
    (void)state;
    size_t bad = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) bad += !check_row(i);
    assert_int_equal(bad, 0);
}

/* Without a bad file the same programs do what they are for: the rows fail for their own reason. */
static void test_good_files(void **state) {
    (void)state;
    const char *argv[16];
    char program_path[GM_PATH], text[4096];
    long kilobytes;
    for (program which = INSPECT; which <= EVAL; which++) {
        if (which == TRAIN_TSV) continue; /* the files are those of the task jsonl */
        restore("");
        arguments(argv, program_path, which);
        if (run(argv, text, &kilobytes) != 0) fail_msg("program %d: %s", which, text);
    }
}

/* What is not a file at all. */
static void test_odd_files(void **state) {
    (void)state;
    static const struct {
        program program;
        const char *file;
    } odd[] = {
        {INSPECT, "base/model.safetensors"}, {INSPECT, "base/config.json"}, {TRAIN, "train.jsonl"}, {TRAIN, "base/model.safetensors"}};
    const char *argv[16];
    char program_path[GM_PATH], text[4096];
    long kilobytes;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        for (int kind = 0; kind < 3; kind++) {
            restore("");
            const char *path = at(odd[i].file);
            unlink(path);
            assert_int_equal(kind == 0 ? mkfifo(path, 0600) : kind == 1 ? mkdir(path, 0700) : symlink("/dev/zero", path), 0);
            arguments(argv, program_path, odd[i].program);
            int status = run(argv, text, &kilobytes);
            if (status != GM_BAD_FILE || !strstr(text, path) || !strstr(text, "regular file"))
                fail_msg("%s, kind %d: %d %s", path, kind, status, text);
            remove(path);
        }
    }
}

static int make_directory(void **state) {
    (void)state;
    static const char *const folders[] = {"base", "init", "adapter"};
    ssize_t length = readlink("/proc/self/exe", programs, sizeof programs - 16); /* BUILD/tests/…; the programs are in BUILD/bin */
    assert_true(length > 0);
    programs[length] = '\0';
    *strrchr(programs, '/') = '\0';
    strcat(programs, "/../bin");
    gm_test_directory(directory);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) assert_int_equal(mkdir(at(folders[i]), 0700), 0);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    return gm_directory_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good_files), cmocka_unit_test(test_rows), cmocka_unit_test(test_odd_files)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
