/* What a run says at its end, or, dry, before its beginning. */
#include "train/report_page.h"
#include "train/run_parts.h"
#include "train/score.h"

#include "base/json.h"
#include "base/log.h"
#include "io/weights.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

gm_status gm_run_read_earlier(gm_run_state *run) {
    enum { BYTES = 1 << 24 };
    cJSON *tree = NULL;
    char path[GM_PATH];
    gm_run_result *earlier = &run->earlier;
    *earlier = (gm_run_result){.steps = -1, .best_step = -1};
    GM_TRY(gm_output_path(&run->output, path, "result.json"));
    if (!gm_file_exists(path)) return GM_OK;
    gm_status status = gm_json_parse_file(path, BYTES, GM_FAIL, &tree);
    if (status == GM_NO_MEMORY) return status;
    earlier->steps = gm_json_integer_at(tree, "steps", -1); /* of a file that is damaged there is nothing to take */
    earlier->best_step = gm_json_integer_at(tree, "best.step", -1);
    const cJSON *task, *tasks = gm_json_member(tree, "tasks");
    cJSON_ArrayForEach(task, tasks) {
        if (earlier->score_count == GM_RUN_SCORES) break;
        gm_run_score *score = &earlier->scores[earlier->score_count];
        score->adapter = strcmp(gm_json_text_at(task, "adapter"), "best") == 0 ? "best" : "final";
        snprintf(score->task, sizeof score->task, "%s", gm_json_text_at(task, "task"));
        earlier->score_count += gm_score_read(task, &score->result);
    }
    cJSON_Delete(tree);
    return GM_OK;
}

/* ---- result.json ------------------------------------------------------------------------------------------------ */

static void write_load(gm_buffer *out, const gm_adapter *adapter) {
    int64_t layers = 0, experts = 0;
    const double *load = gm_adapter_expert_load(adapter, &layers, &experts);
    gm_buffer_text(out, ",\n \"expert_load\": ");
    if (!load) {
        gm_buffer_text(out, "null");
        return;
    }
    gm_buffer_char(out, '[');
    for (int64_t l = 0; l < layers; l++) {
        double sum = 0;
        for (int64_t e = 0; e < experts; e++) sum += load[l * experts + e];
        gm_buffer_text(out, l ? ",\n  [" : "\n  [");
        for (int64_t e = 0; e < experts; e++) {
            if (e) gm_buffer_text(out, ", ");
            gm_json_write_double(out, sum > 0 ? load[l * experts + e] / sum : 0);
        }
        gm_buffer_char(out, ']');
    }
    gm_buffer_char(out, ']');
}

/* ---- experts to which no token of the whole training was routed ------------------------------------------------ */

static int64_t list_idle(gm_buffer *out, const double *load, int64_t experts) {
    int64_t idle = 0;
    for (int64_t e = 0; e < experts; e++)
        if (load[e] <= 0) gm_buffer_format(out, "%s%" PRId64, idle++ ? ", " : "", e);
    return idle;
}

/* [{"layer": 0, "experts": [1, 2]}, …] */
static void write_idle(gm_buffer *out, const gm_adapter *adapter) {
    int64_t layers = 0, experts = 0;
    const double *load = gm_adapter_expert_load(adapter, &layers, &experts);
    const char *between = "";
    gm_buffer list = {0};
    gm_buffer_text(out, ",\n \"idle_experts\": [");
    for (int64_t l = 0; load && l < layers; l++) {
        gm_buffer_clear(&list);
        if (list_idle(&list, load + l * experts, experts) == 0) continue;
        gm_buffer_format(out, "%s{\"layer\": %" PRId64 ", \"experts\": [%s]}", between, l, gm_buffer_string(&list));
        between = ", ";
    }
    gm_buffer_char(out, ']');
    gm_buffer_pass_failure(out, &list);
    gm_buffer_free(&list);
}

/* What spreads tokens, of this run's keys (configs/README.md says more). */
static void write_remedy(char *out, size_t size, const gm_adapter_config *c) {
    bool alike = c->router.type == GM_ROUTER_GRAPH && c->router.token_gain < 100;
    char gain[100] = "";
    if (alike)
        snprintf(gain, sizeof gain, "adapter.router.token_gain 100 (here %g) lets tokens differ from the first step; ",
                 c->router.token_gain);
    snprintf(out, size, "%smore steps, a higher %s, or fewer experts %shelp", gain,
             c->losses.balance > 0 || c->router.type == GM_ROUTER_LINEAR ? "adapter.losses.balance" : "adapter.losses.normal",
             alike ? "also " : "");
}

static void warn_of_idle(const gm_adapter *adapter, const gm_adapter_config *config) {
    enum { SHOWN = 3 }; /* layers */
    int64_t layers = 0, experts = 0, idle = 0, shown = 0;
    const double *load = gm_adapter_expert_load(adapter, &layers, &experts);
    char remedy[256];
    gm_buffer text = {0}, list = {0};
    write_remedy(remedy, sizeof remedy, config);
    for (int64_t l = 0; load && l < layers; l++) {
        gm_buffer_clear(&list);
        int64_t here = list_idle(&list, load + l * experts, experts);
        if (here > 0 && shown++ < SHOWN) gm_buffer_format(&text, "%slayer %" PRId64 ": %s", idle ? "; " : "", l, gm_buffer_string(&list));
        idle += here;
    }
    if (idle)
        gm_log(GM_LOG_WARN, "%" PRId64 " expert%s never got a token: %s%s (idle_experts in result.json); %s", idle, idle > 1 ? "s" : "",
               gm_buffer_string(&text), shown > SHOWN ? "; …" : "", remedy);
    gm_buffer_free(&text);
    gm_buffer_free(&list);
}

/* What the numbers above depend on beside the configuration. */
static void write_setup(gm_buffer *out, const gm_run_state *run) {
    const gm_backend *backend = run->backend;
    gm_buffer_text(out, ",\n ");
    gm_json_write_text(out, "version", GMOE_VERSION);
    gm_json_write_text(out, "dtype", run->config.dtype == GM_F32 ? "f32" : "bf16");
    gm_json_write_text(out, "device", backend->name);
    if (backend->level)
        gm_json_write_text(out, "cpu_level", backend->level);
    else
        gm_json_write_text(out, "device_name", backend->device_name);
    gm_buffer_format(out, "\"threads\": %d", omp_get_max_threads());
}

static gm_status write_result(gm_run_state *run, const gm_run_result *result) {
    const gm_config *c = &run->config;
    gm_buffer text = {0};
    char path[GM_PATH];
    gm_buffer_text(&text, "{\"tasks\": [");
    for (int i = 0; i < result->score_count; i++) {
        gm_buffer_text(&text, i ? ",\n  " : "\n  ");
        const gm_run_score *score = &result->scores[i];
        gm_score_write(&text, score->task, "test", score->adapter, c->eval.prompt, gm_scoring_name(score->scoring), &score->result);
    }
    gm_buffer_text(&text, "],\n \"best\": ");
    if (result->best_step >= 0) {
        gm_buffer_format(&text, "{\"step\": %" PRId64 ", \"split\": \"validation\"", result->best_step);
        gm_json_write_number(&text, gm_metric_name(result->best_metric), result->best);
        gm_json_write_number(&text, "n", result->best_n >= 0 ? (double)result->best_n : NAN);
        gm_buffer_char(&text, '}');
    } else {
        gm_buffer_text(&text, "null");
    }
    gm_buffer_format(&text, ",\n \"method\": \"%s\", \"seed\": %" PRId64 ", \"steps\": %" PRId64 ", \"trainable_parameters\": %" PRId64,
                     gm_config_method_name(c), c->seed, result->steps, result->trainable);
    double samples = (double)result->steps / (double)run->trainer.steps_an_epoch * (double)run->data.count;
    gm_json_write_number(&text, "train_seconds", result->seconds);
    gm_json_write_number(&text, "train_samples_per_s", samples / fmax(result->seconds, 1e-9));
    gm_json_write_number(&text, "train_tokens_per_s", result->tokens_per_s);
    gm_json_write_number(&text, "samples_per_s", result->score_count ? result->scores[0].result.samples_per_s : NAN);
    gm_buffer_format(&text, ", \"peak_memory_bytes\": %" PRId64 ", \"device_memory_bytes\": %zu", gm_peak_memory(),
                     gm_backend_device_peak(run->backend));
    write_setup(&text, run);
    gm_buffer_text(&text, ",\n \"made_from\": {"); /* read by seeds.c */
    gm_identity_write(&text, &run->trainer.identity);
    gm_buffer_char(&text, '}');
    write_load(&text, run->adapter);
    write_idle(&text, run->adapter);
    gm_buffer_text(&text, "}\n");
    gm_status status = gm_buffer_status(&text);
    if (status == GM_OK) status = gm_output_path(&run->output, path, "result.json");
    if (status == GM_OK) status = gm_file_replace(path, text.bytes, text.length);
    gm_buffer_free(&text);
    return status;
}

static void print_scores(const gm_run_result *result) {
    for (int i = 0; i < result->score_count; i++) {
        const gm_run_score *score = &result->scores[i];
        gm_score_print(score->task, "test", score->adapter, gm_scoring_name(score->scoring), &score->result);
    }
    static const char *const adapters[] = {"final", "best"};
    for (int a = 0; a < 2; a++) {
        gm_eval_result of[GM_TASKS];
        int count = 0;
        for (int i = 0; i < result->score_count; i++)
            if (strcmp(result->scores[i].adapter, adapters[a]) == 0) of[count++] = result->scores[i].result;
        if (count < 2) continue;
        gm_mean_result mean = gm_mean_of_results(of, count, GM_METRIC_ACCURACY);
        printf("%-12s %-10s %-8s %s %.4f", "mean", "test", adapters[a], gm_metric_name(mean.metric), mean.value);
        if (mean.metric != GM_METRIC_LOSS) printf(" ± %.4f", mean.stderr_);
        printf("  (of %d tasks)\n", mean.tasks);
    }
}

gm_status gm_run_report(gm_run_state *run) {
    const gm_run_result *result = &run->result;
    char duration[32];
    GM_TRY(write_result(run, result));
    gm_format_duration(duration, result->seconds);
    gm_log(GM_LOG_INFO, "%" PRId64 " steps in %s, %.0f tokens/s, %" PRId64 " trainable parameters", result->steps, duration,
           result->tokens_per_s, result->trainable);
    gm_log(GM_LOG_DEBUG, "allocated at most %zu bytes on %s", run->backend->allocated_peak, run->backend->name);
    warn_of_idle(run->adapter, &run->config.adapter);
    if (result->best_step >= 0)
        gm_log(GM_LOG_INFO, "best/ is from step %" PRId64 ": %s %.4f on validation", result->best_step, gm_metric_name(result->best_metric),
               result->best);
    print_scores(result);
    if (gm_report_page_write(run->output.directory) == GM_OK)
        gm_log(GM_LOG_INFO, "report: %s/report.html", run->output.directory);
    else /* it only shows what the other files hold: no reason to fail a run that is done */
        gm_log(GM_LOG_WARN, "report.html could not be written: %s", gm_error_text());
    return GM_OK;
}

/* ---- at the beginning ------------------------------------------------------------------------------------------- */

void gm_run_describe_setup(const gm_run_state *run) {
    const gm_backend *backend = run->backend;
    const gm_model_config *model = gm_model_config_of(run->model);
    gm_buffer device = {0};
    gm_buffer_text(&device, backend->name);
    if (backend->level)
        gm_buffer_format(&device, ", %d thread%s, instruction set %s", omp_get_max_threads(), omp_get_max_threads() > 1 ? "s" : "",
                         backend->level);
    else
        gm_buffer_format(&device, " %s", backend->device_name);
    gm_log(GM_LOG_INFO, "gmoe %s on %s, %s; %s model of %" PRId64 " layers, %" PRId64 " parameters; %s, %" PRId64 " trainable",
           GMOE_VERSION, gm_buffer_string(&device), run->config.dtype == GM_F32 ? "f32" : "bf16", model->model_type, model->layers,
           (int64_t)gm_weights_elements(gm_model_config_of(run->model)), gm_config_method_name(&run->config),
           gm_adapter_trainable(run->adapter));
    gm_buffer_free(&device);
}

/* ---- dry run ---------------------------------------------------------------------------------------------------- */

static void print_bytes(const char *what, size_t bytes) {
    printf("  %-34s %16zu bytes  %8.1f MiB\n", what, bytes, (double)bytes / (1 << 20));
}

/* Before the step is placed: all that is allocated so far stays. */
static void print_memory(const gm_run_state *run) {
    const gm_adapter_buffers *buffers = gm_adapter_buffers_of(run->adapter);
    const gm_step_plan *plan = &run->trainer.plan;
    size_t adapter = 4 * (size_t)buffers->count * sizeof(float), copied = gm_model_memory(run->model), placed = run->backend->allocated;
    printf("memory on %s\n", run->backend->name);
    print_bytes("base model, copied", copied);
    print_bytes("adapter, gradients, two moments", adapter);
    print_bytes("frozen tensors, losses, rotations", placed - copied - adapter);
    print_bytes("activations", plan->activations);
    print_bytes("scratch", plan->scratch);
    print_bytes("tape (host)", plan->host);
    print_bytes("in all", placed + plan->activations + plan->scratch + plan->host);
    printf("  beside them the base model's files are mapped: %" PRId64 " parameters\n",
           (int64_t)gm_weights_elements(gm_model_config_of(run->model)));
}

/* Tokens with marks between them, wrapped; what carries loss in ⟦ ⟧. Of a long sample the first and the last lines. */
typedef struct token_lines {
    gm_buffer text;
    size_t *starts; /* of lines, owned */
    size_t count, capacity;
    int columns; /* of the line so far */
} token_lines;

static gm_status begin_line(token_lines *lines) {
    GM_GROW(lines->starts, lines->capacity, lines->count + 1);
    lines->starts[lines->count++] = lines->text.length;
    lines->columns = 0;
    return GM_OK;
}

static gm_status add_token(token_lines *lines, const char *token, const char *before, const char *after) {
    enum { WIDTH = 104 };
    int columns = 1;
    for (const char *p = token; *p; p++) columns += (*p & 0xc0) != 0x80;
    if (lines->count == 0 || lines->columns + columns > WIDTH) GM_TRY(begin_line(lines));
    gm_buffer_text(&lines->text, lines->columns ? "│" : "");
    gm_buffer_text(&lines->text, before);
    for (const char *p = token; *p; p++) {
        if (*p == '\n')
            gm_buffer_text(&lines->text, "\\n");
        else
            gm_buffer_char(&lines->text, (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
    }
    gm_buffer_text(&lines->text, after);
    lines->columns += columns;
    return GM_OK;
}

static void print_token_lines(const token_lines *lines) {
    enum { FIRST = 5, LAST = 3 };
    for (size_t i = 0; i < lines->count; i++) {
        size_t end = i + 1 < lines->count ? lines->starts[i + 1] : lines->text.length;
        bool left_out = lines->count > FIRST + LAST + 1 && i >= FIRST && i + LAST < lines->count;
        if (!left_out) printf("  %.*s\n", (int)(end - lines->starts[i]), gm_buffer_string(&lines->text) + lines->starts[i]);
        if (left_out && i == FIRST) printf("  … %zu lines more; --log-level debug shows every token\n", lines->count - FIRST - LAST);
    }
}

/* The text that a token adds after the one before it: decoded alone, some tokenizers take its space away. */
static gm_status decode_one(gm_buffer *out, const gm_tokenizer *tokenizer, const int32_t *ids, int64_t i) {
    gm_buffer before = {0};
    gm_buffer_clear(out);
    if (i == 0) return gm_tokenizer_decode(tokenizer, ids, 1, false, out);
    gm_status status = gm_tokenizer_decode(tokenizer, ids + i - 1, 1, false, &before);
    if (status == GM_OK) status = gm_tokenizer_decode(tokenizer, ids + i - 1, 2, false, out);
    size_t known = before.length;
    bool follows = status == GM_OK && out->length >= known && memcmp(gm_buffer_string(out), gm_buffer_string(&before), known) == 0;
    gm_buffer_free(&before);
    if (status != GM_OK) return status;
    if (!follows) { /* parts of one character */
        gm_buffer_clear(out);
        return gm_tokenizer_decode(tokenizer, ids + i, 1, false, out);
    }
    if (known) memmove(out->bytes, out->bytes + known, out->length - known + 1);
    out->length -= known;
    return GM_OK;
}

static gm_status print_sample(const gm_run_state *run) {
    const gm_dataset *data = &run->data;
    const gm_sample shown = gm_dataset_sample(data, 0), *sample = &shown;
    token_lines lines = {0};
    gm_buffer token = {0};
    gm_status status = GM_OK;
    bool learnt = false;
    for (int32_t i = 0; i < sample->length && status == GM_OK; i++) {
        bool learns = gm_sample_learns(sample, data->loss_on_all, i), last = i == sample->length - 1;
        bool ends = learns && (last || !gm_sample_learns(sample, data->loss_on_all, i + 1));
        status = decode_one(&token, run->tokenizer, sample->ids, i);
        const char *before = learns && !learnt ? "⟦" : "", *after = ends ? "⟧" : "";
        learnt = learns;
        if (status == GM_OK) status = add_token(&lines, gm_buffer_string(&token), before, after);
    }
    if (status == GM_OK) status = gm_buffer_status(&lines.text);
    if (status == GM_OK) {
        printf("sample 1 (%s, line %" PRId64 "), %d tokens, what carries loss in ⟦ ⟧\n", data->part[0].file, data->part[0].first_line,
               (int)sample->length);
        print_token_lines(&lines);
    }
    gm_buffer_free(&token);
    gm_buffer_free(&lines.text);
    free(lines.starts);
    return status;
}

static gm_status print_sample_table(const gm_run_state *run) {
    const gm_dataset *data = &run->data;
    gm_buffer text = {0};
    gm_status status = gm_dataset_show_tokens(&text, data, run->tokenizer, 0);
    if (status == GM_OK)
        printf("sample 1 (%s, line %" PRId64 "): place, id, loss, token\n%s", data->part[0].file, data->part[0].first_line,
               gm_buffer_string(&text));
    gm_buffer_free(&text);
    return status;
}

/* The resolved configuration: in a line what is no default, for debug the whole. */
static gm_status print_config(const gm_config *config) {
    gm_buffer text = {0};
    bool whole = gm_log_enabled(GM_LOG_DEBUG);
    if (whole)
        gm_config_write(&text, config);
    else
        gm_config_write_changes(&text, config);
    gm_status status = gm_buffer_status(&text);
    if (status == GM_OK) printf("configuration%s%s", whole ? "\n" : ": ", gm_buffer_string(&text));
    gm_buffer_free(&text);
    return status;
}

static void print_training(const gm_run_state *run) {
    const gm_trainer *t = &run->trainer;
    const gm_dataset *data = &run->data;
    const gm_config *c = &run->config;
    double epoch_tokens = 0;
    printf("training\n  method %s, %" PRId64 " trainable parameters\n", gm_config_method_name(c), gm_adapter_trainable(run->adapter));
    for (int i = 0; i < data->parts; i++) {
        const gm_dataset_part *part = &data->part[i];
        uint32_t share = t->order.parts ? t->order.part[i].share : (uint32_t)part->count;
        epoch_tokens += (double)part->tokens / (double)part->count * share;
        if (data->parts > 1)
            printf("  %s: %zu samples, %" PRId64 " tokens, %s EOS; %" PRIu32 " samples of an epoch\n", part->task, part->count,
                   part->tokens, part->append_eos ? "with" : "without", share);
        if (part->conversations) printf("  %zu conversations, rendered by the chat template %s\n", part->conversations, part->chat);
    }
    printf("  %zu samples, %" PRId64 " tokens, %" PRId64 " with loss; %" PRId64 " samples cut to train.max_length %" PRId64 "%s\n",
           data->count, data->tokens, data->loss_tokens, data->cut, c->train.max_length,
           data->parts > 1            ? ""
           : data->part[0].append_eos ? "; with EOS"
                                      : "; without EOS");
    printf("  %" PRId64 " steps, %" PRId64 " an epoch, about %.0f tokens a step, micro-batches of at most %" PRId64 " %s\n", t->total_steps,
           t->steps_an_epoch, epoch_tokens / (double)t->steps_an_epoch,
           c->train.micro_batch_samples                  ? c->train.micro_batch_samples
           : c->train.micro_batch_tokens > data->longest ? c->train.micro_batch_tokens
                                                         : data->longest,
           c->train.micro_batch_samples ? "samples" : "tokens");
}

static void print_evaluations(const char *split, const gm_eval_set *sets, int count, const char *prompt) {
    for (int i = 0; i < count; i++)
        printf("%s%s%s: %zu items%s, %zu with labels, %" PRId64 " tokens, %" PRId64 " cut, prompt %s, %" PRId64 " shots, scoring %s\n",
               count > 1 ? sets[i].task : "", count > 1 ? " " : "", split, sets[i].total,
               sets[i].left_out ? ", the first (eval.limit)" : "", sets[i].count, sets[i].tokens, sets[i].cut, prompt,
               sets[i].options.shots, gm_scoring_name(sets[i].options.scoring));
    if (count == 0) printf("%s: not evaluated\n", split);
}

gm_status gm_run_print_plan(const gm_run_state *run) {
    const gm_config *c = &run->config;
    GM_TRY(print_config(c));
    if (run->options->existing == GM_EXISTING_RESUME && run->checkpoint[0])
        printf("resume: from %s, step %" PRId64 " of %" PRId64 "\n", run->checkpoint, run->trainer.state.step, run->trainer.total_steps);
    else if (run->options->existing == GM_EXISTING_RESUME)
        printf("resume: %s holds no checkpoint, so from the start\n", c->output_dir);
    print_memory(run);
    print_training(run);
    print_evaluations("validation", run->validation, run->validations, c->eval.prompt);
    print_evaluations("test", run->test, run->tests, c->eval.prompt);
    return gm_log_enabled(GM_LOG_DEBUG) ? print_sample_table(run) : print_sample(run);
}
