/* gmoe-train: the command line of a training run. */
#include "base/file.h"
#include "base/log.h"
#include "base/number.h"
#include "cli/options.h"
#include "cli/run_directory.h"
#include "cli/spinning.h"
#include "io/mapped_guard.h"
#include "train/config_keys.h"
#include "train/run.h"
#include "train/signals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    const char *config, *base_model, *output_dir, *data_dir, *seeds, *init_adapter, *device, *log_level;
    gm_option_list sets;
    bool parity, resume, overwrite, dry_run, skip_bad, quiet, schema;
} arguments;

static void list_keys(gm_buffer *out) {
    gm_buffer_text(
        out, "  JSON, nested as the names say; \"method\" is a preset of adapter.…, explicit keys win, but for those that contradict it\n"
             "  a file of MoE-PEFT, mLoRA or the reference program, {\"cutoff_len\": …, \"lora\": [{…}]}, is translated; what has no\n"
             "  counterpart is said, what cannot be done is refused\n");
    gm_config_write_help(out);
}

static void list_parity(gm_buffer *out) {
    gm_buffer_text(
        out,
        "  defaults stronger than the method's and weaker than --config and --set; each is a key of its own; a line says which are kept\n");
    for (size_t i = 0; i < gm_config_parity_count; i++)
        gm_buffer_format(out, "  %-32s %-14s %s\n", gm_config_parity[i].path, gm_config_parity[i].value, gm_config_parity[i].meaning);
    gm_buffer_text(
        out, "  not imitated: padding in losses and counts, batches that go on into the next epoch, dropout and counting in evaluation,\n"
             "  the scoring of digit labels one token early, gates in the base model's type\n");
}

/* What --set is completed to: every key with its "=", and with its values where they are few. */
static void complete_set(gm_buffer *out, const gm_option *option) {
    if (strcmp(option->name, "set") != 0) return;
    for (size_t i = 0; i < gm_config_key_count; i++) {
        const gm_config_key *key = &gm_config_keys[i];
        if (key->type == GM_CONFIG_BOOL || key->type == GM_CONFIG_MAYBE) {
            gm_buffer_format(out, "%s=true\n%s=false\n", key->path, key->path);
        } else if (key->type == GM_CONFIG_CHOICE) {
            for (int c = 0; key->choices[c]; c++)
                if (gm_config_choice_works(key, c)) gm_buffer_format(out, "%s=%s\n", key->path, key->choices[c]);
        } else {
            gm_buffer_format(out, "%s=\n", key->path);
        }
    }
}

/* --dtype f32, --learning-rate 1e-3, --lr 1e-3: keys that were taken for options. */
static void key_instead(gm_buffer *out, const char *name, size_t length, const char *value) {
    char other[64] = "";
    for (size_t c = 0; c < length && length < sizeof other; c++) other[c] = name[c] == '-' ? '_' : name[c];
    const char *meant = gm_config_meant_by(other);
    if (meant && strchr(meant, '.')) { /* the others have options of their own, which are near */
        gm_buffer_format(out, "--set %s=%.60s", meant, value ? value : "VALUE");
        return;
    }
    for (size_t i = 0; i < gm_config_key_count; i++) {
        const char *leaf = gm_config_leaf(&gm_config_keys[i]);
        bool same = strlen(leaf) == length;
        for (size_t c = 0; same && c < length; c++) same = leaf[c] == (name[c] == '-' ? '_' : name[c]);
        if (!same) continue;
        gm_buffer_format(out, "--set %s=%.60s", gm_config_keys[i].path, value ? value : "VALUE");
        return;
    }
}

static gm_status parse(arguments *a, int argc, char **argv, bool *done) {
    const gm_option options[] = {
        {"config", "FILE", GM_OPTION_TEXT, &a->config,
         "the run's configuration, JSON (keys below); not needed where options and --set say enough"},
        {"base-model", "DIR", GM_OPTION_TEXT, &a->base_model, "base_model"},
        {"output-dir", "DIR", GM_OPTION_TEXT, &a->output_dir, "output_dir"},
        {"data-dir", "DIR", GM_OPTION_TEXT, &a->data_dir, "data_dir"},
        {"set", "KEY=VALUE", GM_OPTION_LIST, &a->sets, "one key, stronger than the file; may be repeated"},
        {"parity", NULL, GM_OPTION_FLAG, &a->parity, "take the reference program's readings where they differ from ours (listed below)"},
        {"seeds", "1,2,3", GM_OPTION_TEXT, &a->seeds, "a run for each seed, in output_dir/seed-N, then mean, Std and standard error"},
        {"init-adapter", "DIR|FILE", GM_OPTION_TEXT, &a->init_adapter, "initial values of every adapter tensor"},
        {"resume", NULL, GM_OPTION_FLAG, &a->resume,
         "go on from the newest good checkpoint in output_dir; a finished run is not scored again"},
        {"overwrite", NULL, GM_OPTION_FLAG, &a->overwrite, "replace the run that is in output_dir"},
        {"device", "auto|cpu|cuda[:N]", GM_OPTION_TEXT, &a->device, "where to compute (default auto)"},
        {"dry-run", NULL, GM_OPTION_FLAG, &a->dry_run,
         "say what the run would do or refuse: configuration, where --resume goes on, memory, steps, one sample; --log-level debug: every "
         "key, all its tokens"},
        {"skip-bad", NULL, GM_OPTION_FLAG, &a->skip_bad, "leave bad data lines out, counted, instead of stopping"},
        {"quiet", NULL, GM_OPTION_FLAG, &a->quiet, "only warnings and errors"},
        {"log-level", GM_LOG_LEVELS, GM_OPTION_TEXT, &a->log_level, "what is said: least to most (default info)"},
        {"schema", NULL, GM_OPTION_FLAG, &a->schema, "print the configuration's JSON Schema"},
    };
    static const gm_section sections[] = {{"configuration keys", list_keys}, {"--parity sets", list_parity}};
    const gm_program program = {.name = "gmoe-train",
                                .summary = "Fine-tunes a language model with a mixture of LoRA experts.",
                                .options = options,
                                .count = sizeof options / sizeof *options,
                                .sections = sections,
                                .section_count = sizeof sections / sizeof *sections,
                                .computes = true,
                                .reads_tasks = true,
                                .words = complete_set,
                                .instead = key_instead};
    return gm_options_parse(&program, argc, argv, done);
}

static gm_status print_schema(void) {
    gm_buffer text = {0};
    gm_config_write_schema(&text);
    gm_status status = gm_print_text(&text);
    gm_buffer_free(&text);
    return status;
}

/* --set and the options that stand for keys, in the order of their strength. */
static gm_status collect_settings(const arguments *a, gm_setting *settings, gm_region *region, size_t *count) {
    const struct {
        const char *source, *path, *value;
    } named[] = {{"--base-model", "base_model", a->base_model},
                 {"--output-dir", "output_dir", a->output_dir},
                 {"--data-dir", "data_dir", a->data_dir}};
    *count = 0;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (named[i].value) settings[(*count)++] = (gm_setting){named[i].source, named[i].path, named[i].value};
    for (size_t i = 0; i < a->sets.count; i++) {
        const char *text = a->sets.values[i], *equals = strchr(text, '=');
        if (!equals || equals == text) return gm_error(GM_USAGE, "--set: \"%.100s\" is not KEY=VALUE", text);
        char *path = gm_region_copy(region, text, (size_t)(equals - text));
        if (!path) return GM_NO_MEMORY;
        settings[(*count)++] = (gm_setting){"--set", path, equals + 1};
    }
    return GM_OK;
}

static gm_status load_config(const arguments *a, gm_config *config) {
    gm_region region = {0};
    gm_setting *settings = gm_region_alloc(&region, a->sets.count + 3, sizeof *settings);
    size_t count;
    gm_status status = settings ? collect_settings(a, settings, &region, &count) : GM_NO_MEMORY;
    if (status == GM_OK) status = (a->parity ? gm_config_load_parity : gm_config_load)(config, a->config, settings, count);
    if (status == GM_OK) status = gm_config_require_paths(config, a->config);
    gm_region_free(&region);
    return status;
}

static gm_status parse_seeds(const char *text, gm_region *region, int64_t **seeds, size_t *count) {
    size_t most = 1;
    for (const char *p = text; *p; p++) most += *p == ',';
    GM_REGION_ALLOC(region, *seeds, most);
    *count = 0;
    for (const char *p = text;; p++) {
        size_t length = strcspn(p, ",");
        if (!gm_parse_integer(p, length, 0, GM_EXACT_INTEGER - 1, &(*seeds)[*count]))
            return gm_error(GM_USAGE, "--seeds: \"%.60s\" is no list of whole numbers; write them as 1,2,3", text);
        for (size_t i = 0; i < *count; i++)
            if ((*seeds)[i] == (*seeds)[*count]) return gm_error(GM_USAGE, "--seeds: %.*s stands twice", (int)length, p);
        ++*count;
        p += length;
        if (!*p) return GM_OK;
    }
}

static gm_status run(const arguments *a, gm_config *config) {
    gm_region region = {0};
    GM_TRY(gm_set_verbosity(a->quiet, a->log_level));
    if (a->schema) return print_schema();
    if (a->resume && a->overwrite) return gm_error(GM_USAGE, "--resume and --overwrite exclude each other");
    if (a->init_adapter) GM_TRY(gm_check_adapter_path("--init-adapter", a->init_adapter));
    GM_TRY(load_config(a, config));
    gm_run_options options = {.device = a->device ? a->device : "auto",
                              .init_adapter = a->init_adapter,
                              .dry_run = a->dry_run,
                              .skip_bad = a->skip_bad,
                              .existing = a->resume      ? GM_EXISTING_RESUME
                                          : a->overwrite ? GM_EXISTING_OVERWRITE
                                                         : GM_EXISTING_REFUSE};
    if (!a->seeds) return gm_run(config, &options);
    int64_t *seeds;
    size_t count;
    gm_status status = parse_seeds(a->seeds, &region, &seeds, &count);
    if (status == GM_OK) status = gm_run_seeds(config, &options, seeds, count);
    gm_region_free(&region);
    return status;
}

int main(int argc, char **argv) {
    arguments a = {0};
    bool done;
    gm_signals_hold(); /* first: SIGUSR2 would end the program */
    gm_file_hold_standard();
    gm_bound_spinning(argv);
    gm_signals_install();
    gm_mapped_guard_install("gmoe-train");
    gm_config *config = gm_alloc(1, sizeof *config);
    gm_status status = config ? parse(&a, argc, argv, &done) : GM_NO_MEMORY;
    if (status == GM_OK && !done) status = run(&a, config);
    free(a.sets.values);
    free(config);
    return gm_program_end("gmoe-train", status);
}
