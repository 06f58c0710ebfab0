/* What the page shows, from the run's files. metrics.jsonl may be long: it is read a line at a time into curves of fixed size. */
#include "train/report_parts.h"

#include "data/line_reader.h"
#include "io/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 24 };
#define DRAWN_MOST 1e100 /* larger values have no place on an axis: their sums and distances run over */

/* ---- curves ----------------------------------------------------------------------------------------------------- */

void gm_curve_begin(gm_curve *curve, int64_t steps) { *curve = (gm_curve){.steps = steps}; }

void gm_curve_add(gm_curve *curve, int64_t step, double value, double spread) {
    if (!(fabs(value) < DRAWN_MOST) || step < 0 || step > curve->steps) return;
    double low = isfinite(spread) ? value - spread : value, high = isfinite(spread) ? value + spread : value;
    int64_t places = curve->steps < GM_CURVE_POINTS ? curve->steps : GM_CURVE_POINTS;
    int64_t at = step > 0 ? (int64_t)((double)(step - 1) / (double)curve->steps * (double)places + 1e-9) : 0; /* 3/60·60 stays 3 */
    gm_curve_point *point = &curve->points[at < GM_CURVE_POINTS ? at : GM_CURVE_POINTS - 1];
    if (point->count == 0 || low < point->low) point->low = low;
    if (point->count == 0 || high > point->high) point->high = high;
    point->step += (double)step;
    point->value += value;
    point->count++;
}

void gm_curve_finish(gm_curve *curve) {
    curve->count = 0;
    for (int i = 0; i < GM_CURVE_POINTS; i++) {
        gm_curve_point point = curve->points[i];
        if (point.count == 0) continue;
        point.step /= (double)point.count;
        point.value /= (double)point.count;
        curve->points[curve->count++] = point;
    }
}

static gm_status read_tree(cJSON **tree, const char *directory, const char *name) {
    char path[GM_PATH];
    GM_TRY(gm_path_join(path, directory, name));
    return gm_json_parse_file(path, FILE_BYTES, GM_FAIL, tree);
}

/* ---- metrics.jsonl ---------------------------------------------------------------------------------------------- */

/* The curve is then of their mean. */
static bool several_tasks(const gm_report *report) { return cJSON_GetArraySize(gm_json_member(report->config, "task")) > 1; }

static void add_event(gm_report *report, const cJSON *event) {
    static const char *const names[] = {[GM_CURVE_LOSS] = "loss",     [GM_CURVE_CE] = "ce",           [GM_CURVE_POISSON] = "poisson",
                                        [GM_CURVE_NORMAL] = "normal", [GM_CURVE_BALANCE] = "balance", [GM_CURVE_GRADIENT] = "grad_norm",
                                        [GM_CURVE_RATE] = "lr"};
    const char *kind = gm_json_text_at(event, "event");
    int64_t step, tokens;
    if (!gm_json_is_integer(gm_json_member(event, "step"), &step)) return;
    if (strcmp(kind, "step") == 0) {
        for (int i = 0; i < GM_CURVE_VALIDATION; i++) gm_curve_add(&report->curves[i], step, gm_json_number_at(event, names[i]), 0);
        if (gm_json_is_integer(gm_json_member(event, "tokens"), &tokens)) report->tokens += tokens;
    } else if (strcmp(kind, several_tasks(report) ? "eval_mean" : "eval") == 0 &&
               strcmp(gm_json_text_at(event, "split"), "validation") == 0) {
        report->validation_is_loss = !gm_json_member(event, "accuracy");
        gm_curve_add(&report->curves[GM_CURVE_VALIDATION], step, gm_json_number_at(event, report->validation_is_loss ? "loss" : "accuracy"),
                     report->validation_is_loss ? 0 : gm_json_number_at(event, "stderr"));
    }
}

static gm_status read_metrics(gm_report *report, const char *directory) {
    char path[GM_PATH], *line;
    gm_line_reader reader;
    size_t length;
    GM_TRY(gm_path_join(path, directory, "metrics.jsonl"));
    for (int i = 0; i < GM_REPORT_CURVES; i++) gm_curve_begin(&report->curves[i], report->steps);
    if (!gm_file_exists(path)) return GM_OK; /* a full disk may have kept it from being */
    GM_TRY(gm_line_reader_open(&reader, path, GM_FAIL));
    gm_status status;
    while ((status = gm_line_reader_next(&reader, &line, &length)) == GM_OK && line) {
        cJSON *event = NULL;
        if (gm_json_parse(path, line, length, &event) == GM_OK) add_event(report, event); /* torn lines are no reason to show nothing */
        cJSON_Delete(event);
    }
    gm_line_reader_close(&reader);
    for (int i = 0; i < GM_REPORT_CURVES; i++) gm_curve_finish(&report->curves[i]);
    return status;
}

/* ---- experts ---------------------------------------------------------------------------------------------------- */

static gm_status read_load(gm_report *report) {
    const cJSON *layers = gm_json_member(report->result, "expert_load"), *layer, *share;
    if (!cJSON_IsArray(layers) || !cJSON_IsArray(cJSON_GetArrayItem(layers, 0))) return GM_OK;
    int64_t rows = cJSON_GetArraySize(layers), columns = cJSON_GetArraySize(cJSON_GetArrayItem(layers, 0)), at = 0;
    if (columns == 0) return GM_OK;
    GM_ALLOC(report->load, (size_t)(rows * columns));
    cJSON_ArrayForEach(layer, layers) {
        if (cJSON_GetArraySize(layer) != columns) return gm_error(GM_BAD_FILE, "result.json: expert_load: layers of different sizes");
        cJSON_ArrayForEach(share, layer) report->load[at++] = cJSON_IsNumber(share) ? share->valuedouble : 0;
    }
    report->layers = rows;
    report->experts = columns;
    return GM_OK;
}

static gm_status read_edges(gm_report *report, const char *directory) {
    char path[GM_PATH], name[64];
    gm_safetensors *file;
    int64_t n = report->experts;
    if (report->layers == 0) return GM_OK;
    GM_TRY(gm_path_join(path, directory, "adapter/adapter_model.safetensors"));
    GM_TRY(gm_safetensors_open(&file, path));
    gm_status status = GM_OK;
    for (int64_t l = 0; l < report->layers; l++) {
        snprintf(name, sizeof name, "mixlora.layers.%" PRId64 ".gate.edges", l);
        const gm_file_tensor *tensor = gm_safetensors_find(file, name);
        if (!tensor || tensor->type != GM_F32 || tensor->byte_count != (size_t)(n * n) * sizeof(float)) break; /* no graph router */
        if (!report->edges) report->edges = gm_alloc((size_t)(report->layers * n * n), 1);
        if (!report->edges) {
            status = GM_NO_MEMORY;
            break;
        }
        for (int64_t i = 0; i < n * n; i++) {
            float value;
            memcpy(&value, tensor->bytes + (size_t)i * sizeof value, sizeof value);
            report->edges[l * n * n + i] = value != 0;
        }
    }
    gm_safetensors_close(file);
    return status;
}

gm_status gm_report_read(gm_report *report, const char *directory) {
    GM_TRY(read_tree(&report->config, directory, "config.json"));
    GM_TRY(read_tree(&report->result, directory, "result.json"));
    if (!gm_json_is_integer(gm_json_member(report->result, "steps"), &report->steps))
        return gm_error(GM_BAD_FILE, "%s: result.json has no steps", directory);
    GM_TRY(read_metrics(report, directory));
    GM_TRY(read_load(report));
    return read_edges(report, directory);
}

void gm_report_free(gm_report *report) {
    cJSON_Delete(report->config);
    cJSON_Delete(report->result);
    free(report->load);
    free(report->edges);
    *report = (gm_report){0};
}
