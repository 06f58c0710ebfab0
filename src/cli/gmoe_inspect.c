/* gmoe-inspect: what is in a safetensors file, a model, an adapter or a run directory, and what is wrong with it.
 * Results go to standard output; a problem makes the exit status 3. Names come from the file: no control byte of theirs
 * reaches the terminal. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/number.h"
#include "base/text.h"
#include "cli/folder.h"
#include "cli/options.h"
#include "cli/run_directory.h"
#include "io/mapped_guard.h"
#include "io/tokenizer/tokenizer.h"
#include "io/weights.h"
#include "model/adapter/adapter_config.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct report {
    gm_status status; /* GM_BAD_FILE after the first problem */
    int problems;
} report;

static void put_name(const char *text, int width) { /* padded to `width` columns, cut by no limit */
    int columns = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool c1_control = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;
        putchar(*p < 0x20 || *p == 0x7f || c1_control ? '?' : *p);
        if (c1_control) p++;
        if ((*p & 0xc0) != 0x80 || c1_control) columns++;
    }
    while (columns++ < width) putchar(' ');
}

static void problem(report *r, const char *format, ...) GM_PRINTF(2, 3);
static void problem(report *r, const char *format, ...) {
    enum { SHOWN = 10 };
    char text[1100];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    r->status = GM_BAD_FILE;
    if (r->problems++ == SHOWN) puts("problem: … and more");
    if (r->problems > SHOWN) return;
    printf("problem: ");
    put_name(text, 0);
    putchar('\n');
}

static const char *with_commas(uint64_t value, char text[32]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

static const char *with_unit(uint64_t bytes, char text[32]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 4) value /= 1024, unit++;
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

static uint64_t elements(const gm_file_tensor *t) { return t->byte_count / gm_type_size(t->type); }

/* ---- the table: one row for the tensors whose names differ in their numbers only ---- */

typedef struct row {
    const char *pattern;
    char shape[GM_FILE_TENSOR_RANK * 22];
    gm_type type;
    size_t count;
    uint64_t bytes;
} row;

typedef struct table {
    gm_region region;
    gm_map index; /* "pattern type shape" → row */
    row *rows;
    size_t count, capacity;
} table;

static void format_shape(const gm_file_tensor *t, char text[GM_FILE_TENSOR_RANK * 22]) {
    size_t at = 0;
    snprintf(text, 2, "-");
    for (int i = 0; i < t->rank; i++) at += (size_t)snprintf(text + at, 22, "%s%lld", i ? "×" : "", (long long)t->dim[i]);
}

/* "model.layers.12.mlp" → "model.layers.*.mlp" */
static void append_pattern(gm_buffer *key, const char *name) {
    for (const char *p = name; *p;) {
        size_t digits = strspn(p, "0123456789");
        bool whole = digits > 0 && (p == name || p[-1] == '.') && (p[digits] == '.' || p[digits] == '\0');
        size_t length = digits ? digits : strcspn(p, "0123456789");
        gm_buffer_append(key, whole ? "*" : p, whole ? 1 : length);
        p += length;
    }
}

static gm_status add_tensor(table *t, gm_buffer *key, const gm_file_tensor *tensor) {
    row made = {.type = tensor->type};
    format_shape(tensor, made.shape);
    gm_buffer_clear(key);
    append_pattern(key, tensor->name);
    size_t pattern_length = key->length;
    gm_buffer_format(key, " %d %s", (int)tensor->type, made.shape);
    GM_TRY(gm_buffer_status(key));
    int64_t at;
    if (!gm_map_get(&t->index, key->bytes, key->length, &at)) {
        GM_GROW(t->rows, t->capacity, t->count + 1);
        const char *kept = gm_region_copy(&t->region, key->bytes, key->length);
        made.pattern = kept ? gm_region_copy(&t->region, key->bytes, pattern_length) : NULL;
        if (!made.pattern) return GM_NO_MEMORY;
        at = (int64_t)t->count++;
        t->rows[at] = made;
        GM_TRY(gm_map_put(&t->index, kept, key->length, at, NULL, NULL));
    }
    t->rows[at].count++;
    t->rows[at].bytes += tensor->byte_count;
    return GM_OK;
}

static void print_rows(const table *t) {
    int width = 6;
    char text[32];
    for (size_t i = 0; i < t->count; i++)
        if ((int)strlen(t->rows[i].pattern) > width && strlen(t->rows[i].pattern) <= 72) width = (int)strlen(t->rows[i].pattern);
    printf("%-*s  type  %-14s  count  bytes\n", width, "tensor", "shape");
    for (size_t i = 0; i < t->count; i++) {
        const row *r = &t->rows[i];
        put_name(r->pattern, width);
        printf("  %-4s  ", gm_type_name(r->type));
        put_name(r->shape, 14);
        printf("  %5zu  %s\n", r->count, with_unit(r->bytes, text));
    }
}

static void print_totals(const gm_safetensors *file) {
    uint64_t total = 0, bytes = 0, by_type[GM_TYPE_COUNT] = {0};
    char text[32], size[32];
    for (size_t i = 0; i < gm_safetensors_count(file); i++) {
        const gm_file_tensor *t = gm_safetensors_at(file, i);
        total += elements(t), bytes += t->byte_count, by_type[t->type] += elements(t);
    }
    printf("total: %zu tensors, %s parameters, %s in %zu file%s\n", gm_safetensors_count(file), with_commas(total, text),
           with_unit(bytes, size), gm_safetensors_shards(file), gm_safetensors_shards(file) == 1 ? "" : "s");
    printf("types:");
    for (int type = 0; type < GM_TYPE_COUNT; type++)
        if (by_type[type]) printf(" %s %s", gm_type_name((gm_type)type), with_commas(by_type[type], text));
    printf("%s\n", total ? "" : " none");
}

static void print_metadata(const gm_safetensors *file) {
    enum { SHOWN = 10 };
    size_t shown = 0;
    for (size_t i = 0; i < gm_safetensors_metadata_count(file); i++) {
        gm_metadata_entry entry = gm_safetensors_metadata_at(file, i);
        char value[100];
        if (gm_safetensors_metadata(file, entry.key) != entry.value) continue; /* an earlier shard has the key */
        if (shown++ == SHOWN) puts("metadata: … and more");
        if (shown > SHOWN) return;
        snprintf(value, sizeof value, "%s", entry.value);
        printf("metadata: ");
        put_name(entry.key, 0);
        printf(" = ");
        put_name(value, 0);
        puts(strlen(entry.value) >= sizeof value ? "…" : "");
    }
}

static gm_status print_tensors(const gm_safetensors *file) {
    table t = {0};
    gm_buffer key = {0};
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < gm_safetensors_count(file); i++) status = add_tensor(&t, &key, gm_safetensors_at(file, i));
    if (status == GM_OK) {
        if (t.count) print_rows(&t);
        print_totals(file);
        print_metadata(file);
    }
    gm_buffer_free(&key);
    gm_map_free(&t.index);
    gm_region_free(&t.region);
    free(t.rows);
    return status;
}

/* ---- adapters ---- */

/* The number after `mark` in the name, or -1. */
static int number_after(const char *name, const char *mark) {
    const char *at = strstr(name, mark), *end;
    int64_t value;
    if (!at) return -1;
    at += strlen(mark);
    end = at + strspn(at, "0123456789");
    return gm_parse_integer(at, (size_t)(end - at), 0, 1 << 20, &value) ? (int)value : -1;
}

typedef struct adapter_facts {
    size_t pairs;
    int layers, experts; /* highest number + 1 */
    int64_t low_rank, high_rank;
    bool mixture, graph, linear;
    uint64_t trainable;
} adapter_facts;

/* lora_A is rank × in, lora_B is out × rank; one without the other is useless. */
static void check_pair(report *r, const gm_safetensors *file, const gm_file_tensor *t, adapter_facts *facts) {
    const char *mark = strstr(t->name, ".lora_A."), *other_mark = strstr(t->name, ".lora_B.");
    if (!mark && !other_mark) return;
    gm_buffer other = {0};
    const char *at = mark ? mark : other_mark;
    gm_buffer_append(&other, t->name, (size_t)(at - t->name));
    gm_buffer_text(&other, mark ? ".lora_B." : ".lora_A.");
    gm_buffer_text(&other, at + strlen(".lora_A."));
    const gm_file_tensor *b = gm_safetensors_find(file, gm_buffer_string(&other));
    if (!b) {
        problem(r, "%.200s: its other half %.200s is missing", t->name, gm_buffer_string(&other));
    } else if (mark) {
        facts->pairs++;
        if (t->rank != 2 || b->rank != 2 || t->dim[0] != b->dim[1]) {
            problem(r, "%.200s: its rank differs from that of its lora_B", t->name);
        } else {
            if (facts->low_rank == 0 || t->dim[0] < facts->low_rank) facts->low_rank = t->dim[0];
            if (t->dim[0] > facts->high_rank) facts->high_rank = t->dim[0];
        }
    }
    gm_buffer_free(&other);
}

static adapter_facts gather_adapter(report *r, const gm_safetensors *file) {
    adapter_facts facts = {0};
    for (size_t i = 0; i < gm_safetensors_count(file); i++) {
        const gm_file_tensor *t = gm_safetensors_at(file, i);
        int layer = number_after(t->name, "layers."), expert = number_after(t->name, ".experts.");
        if (layer >= facts.layers) facts.layers = layer + 1;
        if (expert >= facts.experts) facts.experts = expert + 1;
        bool edges = gm_text_ends_with(t->name, ".gate.edges"), features = gm_text_ends_with(t->name, ".gate.X");
        facts.graph = facts.graph || edges;
        facts.linear = facts.linear || gm_text_ends_with(t->name, ".gate.weight");
        facts.mixture = facts.mixture || strncmp(t->name, "mixlora.", 8) == 0;
        if (!edges && !features) facts.trainable += elements(t);
        check_pair(r, file, t, &facts);
    }
    return facts;
}

static void print_adapter(const adapter_facts *f) {
    char text[32];
    printf("kind: %s", f->experts   ? "adapter, a mixture of LoRA experts"
                       : f->mixture ? "adapter, LoRA with the reference program's names"
                                    : "adapter, LoRA");
    if (f->experts) printf(" (%d experts, %s)", f->experts, f->graph ? "graph router" : f->linear ? "linear router" : "no router");
    printf(", %d layers, %zu pairs, rank %lld", f->layers, f->pairs, (long long)f->low_rank);
    if (f->high_rank != f->low_rank) printf(" to %lld", (long long)f->high_rank);
    printf(", %s trainable parameters\n", with_commas(f->trainable, text));
}

/* What --init-adapter refuses is a problem; what keeps gmoe-eval alone from it is told. */
static void judge_config(report *r, const char *path) {
    gm_adapter_config config;
    if (gm_adapter_config_refuse(path) != GM_OK) {
        problem(r, "%s", gm_error_text());
    } else if (gm_adapter_config_read(&config, path) != GM_OK) {
        printf("note: not for gmoe-eval --adapter: ");
        put_name(gm_error_text(), 0);
        putchar('\n');
    }
}

/* What adapter_config.json says, in the spelling of PEFT and of the reference program. */
static gm_status check_adapter_config(report *r, const char *directory, const adapter_facts *facts) {
    static const char *const shown[] = {"peft_type", "base_model_name_or_path", "r", "lora_alpha", "num_experts", "top_k", "use_dora",
                                        "use_rslora"};
    enum { LIMIT = 4 * 1024 * 1024 };
    char path[GM_PATH];
    cJSON *root = NULL;
    GM_TRY(gm_path_join(path, directory, "adapter_config.json"));
    if (!gm_file_exists(path)) { /* as an --init-adapter it can do without: its shapes come from the run's config */
        puts("note: adapter_config.json is missing");
        return GM_OK;
    }
    gm_status status = gm_json_parse_file(path, LIMIT, GM_BAD_FILE, &root);
    if (status == GM_OK) {
        printf("adapter_config.json:");
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
            const cJSON *item = gm_json_member(root, shown[i]);
            char number[GM_DOUBLE_TEXT];
            if (!cJSON_IsString(item) && !cJSON_IsNumber(item) && !cJSON_IsBool(item)) continue;
            if (cJSON_IsNumber(item)) gm_format_double(item->valuedouble, number);
            printf(" %s ", shown[i]);
            put_name(cJSON_IsString(item) ? item->valuestring : cJSON_IsNumber(item) ? number : cJSON_IsTrue(item) ? "true" : "false", 0);
        }
        putchar('\n');
        int64_t rank;
        if (gm_json_is_integer(gm_json_member(root, "r"), &rank) && facts->high_rank && (rank < facts->low_rank || rank > facts->high_rank))
            problem(r, "%s: r is %lld, and the tensors have rank %lld", path, (long long)rank, (long long)facts->high_rank);
        judge_config(r, path);
    } else if (status == GM_BAD_FILE) {
        problem(r, "%s", gm_error_text());
        status = GM_OK;
    }
    cJSON_Delete(root);
    return status;
}

static bool holds_adapter(const gm_safetensors *file) {
    for (size_t i = 0; i < gm_safetensors_count(file); i++)
        if (strstr(gm_safetensors_at(file, i)->name, ".lora_A.")) return true;
    return false;
}

/* ---- what the path is ---- */

static gm_status inspect_file(report *r, const char *path, const char *adapter_directory) {
    gm_safetensors *file;
    GM_TRY(gm_safetensors_open(&file, path));
    gm_status status = print_tensors(file);
    if (status == GM_OK && (adapter_directory || holds_adapter(file))) {
        adapter_facts facts = gather_adapter(r, file);
        print_adapter(&facts);
        if (facts.pairs == 0) problem(r, "%s: holds no lora_A and lora_B", path);
        if (adapter_directory) status = check_adapter_config(r, adapter_directory, &facts);
        if (r->status == GM_OK) puts("training: gmoe can start from it (--init-adapter), on the base model that it was made for");
    } else if (status == GM_OK) {
        bool model = gm_weights_find(file, 0, "self_attn.o_proj.weight") != NULL;
        printf("kind: %s\n", model ? "weights of a decoder" : "tensors");
        printf("training: %s\n", model ? "gmoe trains on a directory that holds them with config.json and tokenizer.json"
                                       : "gmoe cannot train on it: no decoder's weights");
    }
    gm_safetensors_close(file);
    return status;
}

static void print_config(const gm_model_config *c) {
    printf("kind: %s model, %lld layers, hidden %lld, %lld heads (%lld for keys) of %lld, feed-forward %lld, vocabulary %lld, positions "
           "%lld\n",
           c->model_type, (long long)c->layers, (long long)c->hidden_size, (long long)c->heads, (long long)c->kv_heads,
           (long long)c->head_dim, (long long)c->ffn_size, (long long)c->vocabulary, (long long)c->max_positions);
    printf("details: rope theta %g%s, norm eps %g, %s embeddings", c->rope_theta,
           c->rope == GM_ROPE_LLAMA3   ? " scaled as llama3"
           : c->rope == GM_ROPE_LINEAR ? " scaled linearly"
                                       : "",
           c->norm_eps, c->tied_embeddings ? "tied" : "untied");
    if (c->rope != GM_ROPE_PLAIN) printf(", rope factor %g", c->rope_factor);
    if (c->attention_bias) printf(", biases on q k v%s", c->output_bias ? " o" : "");
    if (c->mlp_bias) printf(", biases in the feed-forward");
    if (c->qk_norm) printf(", norms on q k");
    if (c->sliding_window) printf(", window of %lld from layer %lld", (long long)c->sliding_window, (long long)c->window_from_layer);
    putchar('\n');
}

static void print_special(const gm_tokenizer *tokenizer, const char *what, int32_t id) {
    const char *text = id >= 0 ? gm_tokenizer_token(tokenizer, id) : NULL;
    printf(", %s ", what);
    put_name(text ? text : "none", 0);
    if (text) printf(" (%d)", (int)id);
}

static bool has(const char *directory, const char *name) {
    char path[GM_PATH];
    return gm_path_join(path, directory, name) == GM_OK && gm_file_exists(path);
}

/* Opening it is the proof that gmoe knows all of its parts. `vocabulary`: the model's, 0 where it is not known. */
static gm_status inspect_tokenizer(report *r, const char *directory, int64_t vocabulary) {
    char path[GM_PATH];
    gm_tokenizer *tokenizer;
    GM_TRY(gm_path_join(path, directory, "tokenizer.json"));
    if (!gm_file_exists(path) && !has(directory, "tokenizer.json.gz")) return problem(r, "%s: is missing", path), GM_OK;
    gm_status status = gm_tokenizer_open(&tokenizer, directory);
    if (status == GM_BAD_FILE) return problem(r, "%s", gm_error_text()), GM_OK;
    GM_TRY(status);
    int32_t tokens = gm_tokenizer_vocabulary(tokenizer);
    printf("tokenizer: %d tokens", (int)tokens);
    print_special(tokenizer, "BOS", gm_tokenizer_bos(tokenizer));
    print_special(tokenizer, "EOS", gm_tokenizer_eos(tokenizer));
    putchar('\n');
    if (vocabulary && tokens > vocabulary) problem(r, "%s: has %d tokens, the model %lld", path, (int)tokens, (long long)vocabulary);
    gm_tokenizer_close(tokenizer);
    return GM_OK;
}

static gm_status inspect_model(report *r, const char *directory) {
    gm_safetensors *file;
    gm_model_config config = {0};
    GM_TRY(gm_safetensors_open_model(&file, directory));
    gm_status status = print_tensors(file);
    if (status == GM_OK) {
        gm_status read = gm_model_config_read(&config, directory);
        if (read == GM_OK) print_config(&config);
        if (read == GM_OK) read = gm_weights_check(file, &config);
        if (read == GM_OK) printf("hash: %016llx\n", (unsigned long long)gm_weights_hash(file, &config));
        if (read == GM_BAD_FILE)
            problem(r, "%s", gm_error_text());
        else
            status = read;
    }
    gm_safetensors_close(file);
    GM_TRY(status);
    GM_TRY(inspect_tokenizer(r, directory, config.vocabulary));
    if (r->status == GM_OK)
        puts("training: gmoe can train on it");
    else
        printf("training: gmoe cannot train on it: %s above\n", r->problems == 1 ? "the problem" : "the problems");
    return GM_OK;
}

/* *said: there was something to say. */
static gm_status print_description(gm_status (*describe)(gm_buffer *out, const char *directory), const char *directory, bool *said) {
    gm_buffer text = {0};
    gm_status status = describe(&text, directory);
    *said = text.length > 0;
    char *line = text.bytes;
    while (status == GM_OK && line && *line) { /* names of the run's files and tasks are cleaned like those of tensors */
        char *end = line + strcspn(line, "\n"), *next = end + (*end == '\n');
        *end = '\0';
        put_name(line, 0);
        putchar('\n');
        line = next;
    }
    gm_buffer_free(&text);
    return status;
}

/* For gmoe-tokenize a whole model is not needed. */
static bool is_tokenizer_alone(const char *directory) {
    static const char *const model[] = {"config.json", "model.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof model / sizeof *model; i++)
        if (has(directory, model[i])) return false;
    return has(directory, "tokenizer.json") || has(directory, "tokenizer.json.gz");
}

static gm_status inspect_tokenizer_alone(report *r, const char *directory) {
    puts("kind: a tokenizer without a model");
    GM_TRY(inspect_tokenizer(r, directory, 0));
    puts("training: gmoe trains on a directory that also holds config.json and model.safetensors; gmoe-tokenize needs no more");
    return GM_OK;
}

static gm_status inspect(report *r, const char *path) {
    char adapter[GM_PATH];
    bool said = false;
    if (!gm_directory_exists(path)) return inspect_file(r, path, NULL);
    if (is_tokenizer_alone(path)) return inspect_tokenizer_alone(r, path);
    GM_TRY(gm_path_join(adapter, path, "adapter_model.safetensors"));
    if (gm_is_run_directory(path)) return print_description(gm_describe_run, path, &said);
    if (has(path, "adapter_model.safetensors") || has(path, "adapter_config.json")) return inspect_file(r, adapter, path);
    if (!has(path, "model.safetensors") && !has(path, "model.safetensors.index.json"))
        GM_TRY(print_description(gm_describe_folder, path, &said));
    return said ? GM_OK : inspect_model(r, path);
}

static void list_kinds(gm_buffer *out) {
    gm_buffer_text(out, "  FILE.safetensors    any safetensors file\n"
                        "  MODEL DIRECTORY     config.json with model.safetensors, or model.safetensors.index.json and its shards\n"
                        "  ADAPTER DIRECTORY   adapter_config.json with adapter_model.safetensors\n"
                        "  TOKENIZER DIRECTORY tokenizer.json without a model\n"
                        "  RUN DIRECTORY       what gmoe-train wrote, for one seed or several: how far it came and what it gave\n"
                        "  FOLDER              of runs, adapters (a run's checkpoints), models or data files\n"
                        "Numbers in names (layers, experts) are shown as *, tensors of one type and shape as one line.\n");
}

int main(int argc, char **argv) {
    const char *path = NULL;
    report r = {GM_OK, 0};
    bool done;
    static const gm_section sections[] = {{"PATH", list_kinds}};
    const gm_program program = {
        .name = "gmoe-inspect",
        .operand = "PATH",
        .operand_target = &path,
        .sections = sections,
        .section_count = 1,
        .summary = "Says what PATH is and whether gmoe can use it: tensors (type, shape, count, bytes), parameter counts, problems."};
    gm_mapped_guard_install(program.name);
    gm_status status = gm_options_parse(&program, argc, argv, &done);
    if (status == GM_OK && !done) status = path ? inspect(&r, path) : gm_error(GM_USAGE, "no PATH given; --help says more");
    int code = gm_program_end(program.name, status);
    return code ? code : (int)r.status; /* problems stand on standard output */
}
