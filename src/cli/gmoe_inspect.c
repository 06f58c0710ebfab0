/* gmoe-inspect: what is in a safetensors file, a model, an adapter or a run directory, and what is wrong with it.
 * Results go to standard output, every problem among them; the first one goes to standard error as well, and the exit status is
 * 3 then. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "base/text.h"
#include "cli/folder.h"
#include "cli/inspect.h"
#include "cli/options.h"
#include "cli/run_directory.h"
#include "io/mapped_guard.h"
#include "io/weights.h"
#include "model/adapter/adapter_config.h"

#include <stdio.h>
#include <string.h>

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
static void check_pair(gm_findings *findings, const gm_safetensors *file, const gm_file_tensor *t, adapter_facts *facts) {
    const char *mark = strstr(t->name, ".lora_A."), *other_mark = strstr(t->name, ".lora_B.");
    if (!mark && !other_mark) return;
    gm_buffer other = {0};
    const char *at = mark ? mark : other_mark;
    gm_buffer_append(&other, t->name, (size_t)(at - t->name));
    gm_buffer_text(&other, mark ? ".lora_B." : ".lora_A.");
    gm_buffer_text(&other, at + strlen(".lora_A."));
    const gm_file_tensor *b = gm_safetensors_find(file, gm_buffer_string(&other));
    if (!b) {
        gm_inspect_problem(findings, "%.200s: its other half %.200s is missing", t->name, gm_buffer_string(&other));
    } else if (mark) {
        facts->pairs++;
        if (t->rank != 2 || b->rank != 2 || t->dim[0] != b->dim[1]) {
            gm_inspect_problem(findings, "%.200s: its rank differs from that of its lora_B", t->name);
        } else {
            if (facts->low_rank == 0 || t->dim[0] < facts->low_rank) facts->low_rank = t->dim[0];
            if (t->dim[0] > facts->high_rank) facts->high_rank = t->dim[0];
        }
    }
    gm_buffer_free(&other);
}

static adapter_facts gather_adapter(gm_findings *findings, const gm_safetensors *file) {
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
        if (!edges && !features) facts.trainable += gm_inspect_elements(t);
        check_pair(findings, file, t, &facts);
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
    printf(", %s trainable parameters\n", gm_inspect_commas(f->trainable, text));
}

/* What --init-adapter refuses is a problem; what keeps gmoe-eval alone from it is told. */
static void judge_config(gm_findings *findings, const char *path) {
    gm_adapter_config config;
    if (gm_adapter_config_refuse(path) != GM_OK) {
        gm_inspect_problem(findings, "%s", gm_error_text());
    } else if (gm_adapter_config_read(&config, path) != GM_OK) {
        printf("note: not for gmoe-eval --adapter: ");
        gm_inspect_name(gm_error_text(), 0);
        putchar('\n');
    }
}

/* What adapter_config.json says, in the spelling of PEFT and of the reference program. */
static gm_status check_adapter_config(gm_findings *findings, const char *directory, const adapter_facts *facts) {
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
            gm_inspect_name(cJSON_IsString(item)   ? item->valuestring
                            : cJSON_IsNumber(item) ? number
                            : cJSON_IsTrue(item)   ? "true"
                                                   : "false",
                            0);
        }
        putchar('\n');
        int64_t rank;
        if (gm_json_is_integer(gm_json_member(root, "r"), &rank) && facts->high_rank && (rank < facts->low_rank || rank > facts->high_rank))
            gm_inspect_problem(findings, "%s: r is %lld, and the tensors have rank %lld", path, (long long)rank,
                               (long long)facts->high_rank);
        judge_config(findings, path);
    } else if (status == GM_BAD_FILE) {
        gm_inspect_problem(findings, "%s", gm_error_text());
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

static gm_status inspect_file(gm_findings *findings, const char *path, const char *adapter_directory) {
    gm_safetensors *file;
    GM_TRY(gm_safetensors_open(&file, path));
    gm_status status = gm_inspect_tensors(file, 0);
    if (status == GM_OK && (adapter_directory || holds_adapter(file))) {
        adapter_facts facts = gather_adapter(findings, file);
        print_adapter(&facts);
        if (facts.pairs == 0) gm_inspect_problem(findings, "%s: holds no lora_A and lora_B", path);
        if (adapter_directory) status = check_adapter_config(findings, adapter_directory, &facts);
        gm_inspect_print_problems(findings, "problem: ");
        if (findings->problems == 0) puts("training: gmoe can start from it (--init-adapter), on the base model that it was made for");
    } else if (status == GM_OK) {
        bool model = gm_weights_find(file, 0, "self_attn.o_proj.weight") != NULL;
        printf("kind: %s\n", model ? "weights of a decoder" : "tensors");
        printf("training: %s\n", model ? "gmoe trains on a directory that holds them with config.json and tokenizer.json"
                                       : "gmoe cannot train on it: no decoder's weights");
    }
    gm_safetensors_close(file);
    return status;
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
        gm_inspect_name(line, 0);
        putchar('\n');
        line = next;
    }
    gm_buffer_free(&text);
    return status;
}

static bool has(const char *directory, const char *name) {
    char path[GM_PATH];
    return gm_path_join(path, directory, name) == GM_OK && gm_file_exists(path);
}

static gm_status inspect(gm_findings *findings, const char *path) {
    char adapter[GM_PATH];
    bool said = false;
    if (!gm_directory_exists(path)) return inspect_file(findings, path, NULL);
    if (gm_inspect_is_tokenizer(path)) return gm_inspect_tokenizer(findings, path);
    GM_TRY(gm_path_join(adapter, path, "adapter_model.safetensors"));
    if (gm_is_run_directory(path)) return print_description(gm_describe_run, path, &said);
    if (has(path, "adapter_model.safetensors") || has(path, "adapter_config.json")) return inspect_file(findings, adapter, path);
    if (!has(path, "config.json") && !has(path, "model.safetensors") && !has(path, "model.safetensors.index.json"))
        GM_TRY(print_description(gm_describe_folder, path, &said));
    return said ? GM_OK : gm_inspect_model(findings, path);
}

static void list_kinds(gm_buffer *out) {
    gm_buffer_text(out, "  FILE.safetensors    any safetensors file\n"
                        "  MODEL DIRECTORY     config.json with model.safetensors, or model.safetensors.index.json and its shards\n"
                        "  ADAPTER DIRECTORY   adapter_config.json with adapter_model.safetensors\n"
                        "  TOKENIZER DIRECTORY tokenizer.json without a model\n"
                        "  RUN DIRECTORY       what gmoe-train wrote, for one seed or several: how far it came and what it gave\n"
                        "  FOLDER              of runs, adapters (a run's checkpoints), models or data files\n"
                        "A model's last line is the verdict: works, or does not work and every reason why not (exit status 3).\n"
                        "Numbers in names (layers, experts) are shown as *, tensors of one type and shape as one line.\n");
}

int main(int argc, char **argv) {
    const char *path = NULL;
    gm_findings findings = {0};
    bool done;
    static const gm_section sections[] = {{"PATH", list_kinds}};
    const gm_program program = {
        .name = "gmoe-inspect",
        .operand = "PATH",
        .operand_target = &path,
        .sections = sections,
        .section_count = 1,
        .summary = "Says what PATH is and whether gmoe can use it: tensors (type, shape, count, bytes), parameter counts, problems."};
    gm_file_hold_standard();
    gm_mapped_guard_install(program.name);
    gm_status status = gm_options_parse(&program, argc, argv, &done);
    if (status == GM_OK && !done) status = path ? inspect(&findings, path) : gm_error(GM_USAGE, "no PATH given; --help says more");
    if (status == GM_OK && findings.problems)
        status = findings.text[0] ? gm_error(GM_BAD_FILE, "%s", findings.text[0]) : gm_error(GM_NO_MEMORY, "out of memory");
    gm_findings_free(&findings);
    return gm_program_end(program.name, status);
}
