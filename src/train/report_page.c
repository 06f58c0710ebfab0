#include "train/report_parts.h"

#include "base/number.h"
#include "train/metrics.h"
#include "train/report_style.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char head[] = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" "
                           "content=\"width=device-width, initial-scale=1\"/>\n"
                           "<meta name=\"color-scheme\" content=\"light dark\"/>\n";

/* Mark-up characters become entities, control bytes a mark: neither can be part of a page. */
void gm_page_text(gm_buffer *out, const char *text) {
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        switch (*p) {
        case '&': gm_buffer_text(out, "&amp;"); break;
        case '<': gm_buffer_text(out, "&lt;"); break;
        case '>': gm_buffer_text(out, "&gt;"); break;
        case '"': gm_buffer_text(out, "&quot;"); break;
        case '\'': gm_buffer_text(out, "&#39;"); break;
        default:
            if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
                gm_buffer_text(out, "\xef\xbf\xbd");
            else
                gm_buffer_char(out, (char)*p);
        }
    }
}

/* ---- what was run ----------------------------------------------------------------------------------------------- */

static const char *last_part(const char *path) { /* "models/Qwen2-7B/" → "Qwen2-7B/" */
    const char *part = path;
    for (const char *p = path; *p; p++)
        if (*p == '/' && p[1]) part = p + 1;
    return part;
}

/* The tasks' names, a path's without its folders. */
static void write_task_names(gm_buffer *out, const gm_report *r) {
    const cJSON *given = gm_json_member(r->config, "task"), *first = cJSON_IsArray(given) ? given->child : given;
    for (const cJSON *task = first; task; task = cJSON_IsArray(given) ? task->next : NULL) {
        if (task != first) gm_buffer_text(out, " + ");
        gm_page_text(out, cJSON_IsString(task) ? last_part(task->valuestring) : "");
    }
}

static void write_head(gm_buffer *out, const gm_report *r) {
    gm_buffer_text(out, head);
    gm_buffer_text(out, "<title>");
    write_task_names(out, r);
    gm_buffer_text(out, ", ");
    gm_page_text(out, gm_json_text_at(r->config, "method"));
    gm_buffer_text(out, " · gmoe</title>\n");
    gm_buffer_text(out, "<style>\n");
    gm_buffer_text(out, report_style);
    gm_buffer_text(out, "</style></head>\n");
    gm_buffer_text(out, "<body>\n<h1>");
    write_task_names(out, r);
    gm_buffer_text(out, ", ");
    gm_page_text(out, gm_json_text_at(r->config, "method"));
    gm_buffer_text(out, "</h1>\n<p class=\"soft\">on the base model <b>");
    gm_page_text(out, last_part(gm_json_text_at(r->config, "base_model")));
    gm_buffer_format(out, "</b>, seed %.0f, in %s</p>\n", gm_json_number_at(r->config, "seed"), gm_json_text_at(r->config, "dtype"));
}

static void begin_tile(gm_buffer *out) { gm_buffer_text(out, "<div><b>"); }

static void end_tile(gm_buffer *out, const char *name) {
    gm_buffer_text(out, "</b><span>");
    gm_page_text(out, name);
    gm_buffer_text(out, "</span></div>\n");
}

static void write_large(gm_buffer *out, double value) { /* 296 844, 7.62 G */
    static const char *const units[] = {"", " k", " M", " G", " T"};
    int unit = 0;
    if (!isfinite(value)) {
        gm_buffer_text(out, "–");
        return;
    }
    if (value >= 1e7)
        while (value >= 999.5 && unit < 4) value /= 1e3, unit++;
    value = unit ? value : round(value);
    if (unit)
        gm_buffer_format(out, "%.3g%s", value, units[unit]);
    else if (value >= 1e6)
        gm_buffer_format(out, "%.0f %03.0f %03.0f", floor(value / 1e6), floor(fmod(value, 1e6) / 1e3), floor(fmod(value, 1e3)));
    else if (value >= 1e3)
        gm_buffer_format(out, "%.0f %03.0f", floor(value / 1e3), floor(fmod(value, 1e3)));
    else
        gm_buffer_format(out, "%.0f", value);
}

static void write_score_tile(gm_buffer *out, const cJSON *score, const char *what) {
    char name[64];
    double accuracy = gm_json_number_at(score, "accuracy"), loss = gm_json_number_at(score, "loss");
    if (!isfinite(accuracy) && !isfinite(loss)) return;
    begin_tile(out);
    if (isfinite(accuracy))
        gm_buffer_format(out, "%.2f %%", 100 * accuracy);
    else
        gm_buffer_format(out, "%.4f", loss);
    snprintf(name, sizeof name, "%s, %s", isfinite(accuracy) ? "accuracy" : "loss", what);
    end_tile(out, name);
}

static void write_tiles(gm_buffer *out, const gm_report *r) {
    char duration[32];
    gm_buffer_text(out, "<div class=\"tiles\">\n");
    write_score_tile(out, cJSON_GetArrayItem(gm_json_member(r->result, "tasks"), 0), "test");
    write_score_tile(out, gm_json_member(r->result, "best"), "best on validation");
    begin_tile(out), write_large(out, gm_json_number_at(r->result, "trainable_parameters")), end_tile(out, "trainable parameters");
    begin_tile(out), write_large(out, (double)r->steps), end_tile(out, r->steps == 1 ? "step" : "steps");
    gm_format_duration(duration, gm_json_number_at(r->result, "train_seconds"));
    begin_tile(out), gm_page_text(out, duration), end_tile(out, "time in steps");
    begin_tile(out), write_large(out, gm_json_number_at(r->result, "train_tokens_per_s")), end_tile(out, "tokens/s");
    begin_tile(out), write_large(out, (double)r->tokens), end_tile(out, "tokens trained on");
    begin_tile(out), gm_buffer_format(out, "%.3g GiB", gm_json_number_at(r->result, "peak_memory_bytes") / (1 << 30)),
        end_tile(out, "peak memory");
    gm_buffer_text(out, "</div>\n");
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

static void write_cell(gm_buffer *out, const char *text) {
    gm_buffer_text(out, "<td>");
    gm_page_text(out, text);
    gm_buffer_text(out, "</td>");
}

static void write_share(gm_buffer *out, double value, double error) {
    gm_buffer_text(out, "<td class=\"number\">");
    if (isfinite(value)) gm_buffer_format(out, "%.2f %%", 100 * value);
    if (isfinite(value) && isfinite(error)) gm_buffer_format(out, " ± %.2f", 100 * error);
    gm_buffer_text(out, "</td>");
}

/* Nothing where the task has no such number. */
static void write_number(gm_buffer *out, int decimals, double value) {
    gm_buffer_text(out, "<td class=\"number\">");
    if (isfinite(value)) gm_buffer_format(out, "%.*f", decimals, value);
    gm_buffer_text(out, "</td>");
}

static void write_results(gm_buffer *out, const gm_report *r) {
    const cJSON *tasks = gm_json_member(r->result, "tasks"), *task;
    bool by_loss = false, by_accuracy = false, by_character = false;
    cJSON_ArrayForEach(task, tasks) {
        by_loss = by_loss || isfinite(gm_json_number_at(task, "loss"));
        by_accuracy = by_accuracy || isfinite(gm_json_number_at(task, "accuracy"));
        by_character = by_character || isfinite(gm_json_number_at(task, "accuracy_norm"));
    }
    gm_buffer_text(out, "<h2>Results</h2>\n");
    if (cJSON_GetArraySize(tasks) == 0) {
        gm_buffer_text(out, "<p>The task has no test split: nothing was evaluated at the end.</p>\n");
        return;
    }
    gm_buffer_format(out,
                     "<div class=\"scroll\"><table><tr><th>adapter</th>%s%s%s<th class=\"number\">items</th><th>task</th><th>split</th>"
                     "<th>prompt</th><th>scoring</th></tr>\n",
                     by_loss ? "<th class=\"number\">loss</th>" : "",
                     by_accuracy ? "<th class=\"number\">accuracy</th><th class=\"number\">right</th>" : "",
                     by_character ? "<th class=\"number\">by character</th>" : "");
    cJSON_ArrayForEach(task, tasks) {
        gm_buffer_text(out, "<tr>");
        write_cell(out, gm_json_text_at(task, "adapter")); /* what matters comes first: a narrow screen cuts the rest */
        if (by_loss) write_number(out, 4, gm_json_number_at(task, "loss"));
        if (by_accuracy) write_share(out, gm_json_number_at(task, "accuracy"), gm_json_number_at(task, "stderr"));
        if (by_accuracy) write_number(out, 0, gm_json_number_at(task, "correct"));
        if (by_character) write_share(out, gm_json_number_at(task, "accuracy_norm"), gm_json_number_at(task, "stderr_norm"));
        write_number(out, 0, gm_json_number_at(task, "n"));
        write_cell(out, gm_json_text_at(task, "task"));
        write_cell(out, gm_json_text_at(task, "split"));
        write_cell(out, gm_json_text_at(task, "prompt"));
        write_cell(out, isfinite(gm_json_number_at(task, "loss")) ? "loss" : gm_json_text_at(task, "scoring"));
        gm_buffer_text(out, "</tr>\n");
    }
    gm_buffer_text(out, "</table></div>\n");
}

/* ---- curves ----------------------------------------------------------------------------------------------------- */

static bool has_term(const gm_report *r, const char *coefficient) { return gm_json_number_at(r->config, coefficient) > 0; }

static void write_losses(gm_buffer *out, const gm_report *r) {
    char title[96];
    const struct {
        const char *coefficient, *name;
        gm_report_curve curve;
        int colour;
    } terms[] = {{"adapter.losses.poisson", "Poisson distinction", GM_CURVE_POISSON, 3},
                 {"adapter.losses.normal", "Normal balance", GM_CURVE_NORMAL, 4},
                 {"adapter.losses.balance", "Mixtral balance", GM_CURVE_BALANCE, 5}};
    bool several = has_term(r, terms[0].coefficient) || has_term(r, terms[1].coefficient) || has_term(r, terms[2].coefficient);
    gm_buffer_text(out, "<h2>Training</h2>\n");
    if (r->curves[GM_CURVE_LOSS].count == 0) gm_buffer_text(out, "<p>metrics.jsonl holds no steps.</p>\n");
    if (several)
        gm_buffer_text(out, "<p class=\"soft\">The loss is the cross-entropy and each other term times its coefficient; the terms are "
                            "shown before their coefficients.</p>\n");
    gm_buffer_text(out, "<div class=\"charts\">\n");
    if (several) gm_page_chart(out, "loss", &r->curves[GM_CURVE_LOSS], false, 1);
    gm_page_chart(out, several ? "cross-entropy" : "loss: cross-entropy", &r->curves[GM_CURVE_CE], false, several ? 2 : 1);
    for (int i = 0; i < 3; i++) {
        if (!has_term(r, terms[i].coefficient)) continue;
        snprintf(title, sizeof title, "%s (× %g)", terms[i].name, gm_json_number_at(r->config, terms[i].coefficient));
        gm_page_chart(out, title, &r->curves[terms[i].curve], false, terms[i].colour);
    }
    gm_page_chart(out, "gradient norm before clipping", &r->curves[GM_CURVE_GRADIENT], false, 6);
    gm_page_chart(out, "learning rate", &r->curves[GM_CURVE_RATE], false, 6);
    gm_buffer_text(out, "</div>\n");
}

static void write_validation(gm_buffer *out, const gm_report *r) {
    const gm_curve *curve = &r->curves[GM_CURVE_VALIDATION];
    double best = gm_json_number_at(r->result, "best.step");
    gm_buffer_text(out, "<h2>Evaluations on the validation split</h2>\n");
    if (curve->count == 0) {
        gm_buffer_text(out, "<p>There were none.</p>\n");
        return;
    }
    if (isfinite(best))
        gm_buffer_format(out, "<p class=\"soft\">The best is from step %.0f (best/).%s</p>\n", best,
                         r->validation_is_loss ? "" : " The band is one standard error to both sides.");
    gm_buffer_text(out, "<div class=\"charts\">\n");
    gm_page_chart(out, r->validation_is_loss ? "validation loss" : "validation accuracy", curve, !r->validation_is_loss, 3);
    gm_buffer_text(out, "</div>\n");
}

/* ---- settings --------------------------------------------------------------------------------------------------- */

static void write_settings(gm_buffer *out, const gm_report *r) {
    static const struct {
        const char *path, *name;
        bool experts;
    } shown[] = {{"adapter.rank", "LoRA rank", false},
                 {"adapter.alpha", "alpha", false},
                 {"adapter.num_experts", "experts a layer", true},
                 {"adapter.top_k", "experts a token", true},
                 {"adapter.router.type", "router", true},
                 {"adapter.router.hidden_size", "router width", true},
                 {"adapter.router.edges", "edges", true},
                 {"adapter.router.edge_density", "edge density", true},
                 {"adapter.router.token_gain", "token gain", true},
                 {"train.batch_size", "samples a step", false},
                 {"train.learning_rate", "learning rate", false},
                 {"train.scheduler", "schedule", false},
                 {"train.warmup_steps", "warm-up steps", false},
                 {"train.weight_decay", "weight decay", false},
                 {"train.max_grad_norm", "gradient norm at most", false},
                 {"train.epochs", "epochs", false},
                 {"seed", "seed", false}};
    char number[GM_DOUBLE_TEXT];
    gm_buffer_text(out, "<h2>Settings</h2>\n<div class=\"settings\">\n");
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        double value = gm_json_number_at(r->config, shown[i].path);
        const char *text = gm_json_text_at(r->config, shown[i].path);
        if (shown[i].experts && r->layers == 0) continue;
        if (!text[0] && !gm_format_double(value, number)) continue;
        gm_buffer_format(out, "<div><span>%s</span><span>", shown[i].name);
        bool off = value == 0 && strcmp(shown[i].path, "train.max_grad_norm") == 0;
        gm_page_text(out, off ? "no limit" : text[0] ? text : number);
        gm_buffer_text(out, "</span></div>\n");
    }
    gm_buffer_text(out, "</div>\n<details><summary>All of config.json</summary><pre>");
    char *all = cJSON_Print(r->config);
    if (all)
        gm_page_text(out, all);
    else
        out->failed = true;
    cJSON_free(all);
    gm_buffer_text(out, "</pre></details>\n");
}

/* ---- the page --------------------------------------------------------------------------------------------------- */

static void write_page(gm_buffer *out, const gm_report *r) {
    write_head(out, r);
    write_tiles(out, r);
    write_results(out, r);
    write_losses(out, r);
    write_validation(out, r);
    if (r->layers) {
        gm_buffer_text(out, "<h2>Expert load</h2>\n<p class=\"soft\">Each expert's share of its layer's token slots over the whole "
                            "training, in percent; “effective” is the number of evenly "
                            "used experts that would be as diverse (exp of the entropy).</p>\n");
        gm_page_load(out, r);
    }
    if (r->edges) {
        gm_buffer_text(out, "<h2>Expert graph</h2>\n<p class=\"soft\">Experts that share an edge pass messages in the router; a node's "
                            "area is its load.</p>\n");
        gm_page_graphs(out, r);
    }
    write_settings(out, r);
    gm_buffer_format(out, "<p class=\"soft\"><small>gmoe %s</small></p>\n</body></html>\n", GMOE_VERSION);
}

gm_status gm_report_page_write(const char *directory) {
    gm_report *report;
    gm_buffer page = {0};
    char path[GM_PATH];
    GM_ALLOC(report, 1);
    gm_status status = gm_report_read(report, directory);
    if (status == GM_OK) write_page(&page, report);
    if (status == GM_OK) status = gm_buffer_status(&page);
    if (status == GM_OK) status = gm_path_join(path, directory, "report.html");
    if (status == GM_OK) status = gm_file_replace(path, page.bytes, page.length);
    gm_buffer_free(&page);
    gm_report_free(report);
    free(report);
    return status;
}
