/* The page in its parts, for report_page.c and the files beside it. */
#ifndef GM_TRAIN_REPORT_PARTS_H
#define GM_TRAIN_REPORT_PARTS_H

#include "base/json.h"
#include "train/report_page.h"

/* ---- report_data.c ---------------------------------------------------------------------------------------------- */

enum { GM_CURVE_POINTS = 500 };

typedef struct gm_curve_point {
    double step, value, low, high; /* sums of `count` of the first two until gm_curve_finish, then means; the extremes */
    int64_t count;
} gm_curve_point;

typedef struct gm_curve { /* values over steps 1 … steps, as few points as fit: neighbours are averaged */
    int64_t steps;
    gm_curve_point points[GM_CURVE_POINTS];
    int count; /* points in use, after gm_curve_finish */
} gm_curve;

void gm_curve_begin(gm_curve *curve, int64_t steps);
/* `spread` is added to and taken from the value for the extremes. What is no number, or out of 0 … steps, is left out. */
void gm_curve_add(gm_curve *curve, int64_t step, double value, double spread);
void gm_curve_finish(gm_curve *curve); /* empty points go, sums become means */

typedef enum gm_report_curve {
    GM_CURVE_LOSS,
    GM_CURVE_CE,
    GM_CURVE_POISSON,
    GM_CURVE_NORMAL,
    GM_CURVE_BALANCE,
    GM_CURVE_GRADIENT,
    GM_CURVE_RATE,
    GM_CURVE_VALIDATION,
    GM_REPORT_CURVES
} gm_report_curve;

typedef struct gm_report {
    cJSON *config, *result;
    gm_curve curves[GM_REPORT_CURVES];
    int64_t steps, tokens; /* tokens: of the steps in metrics.jsonl */
    bool validation_is_loss;
    int64_t layers, experts; /* 0: none */
    double *load;            /* layers×experts, owned: shares of a layer */
    unsigned char *edges;    /* layers×experts×experts of 0/1, owned; NULL: no graph */
} gm_report;                 /* {0} is empty */

gm_status gm_report_read(gm_report *report, const char *directory);
void gm_report_free(gm_report *report);

/* ---- report_chart.c, report_experts.c: figures as inline SVG ---------------------------------------------------- */

void gm_page_text(gm_buffer *out, const char *text); /* escaped */
void gm_page_chart(gm_buffer *out, const char *title, const gm_curve *curve, bool percent, int colour);
void gm_page_load(gm_buffer *out, const gm_report *report);
void gm_page_graphs(gm_buffer *out, const gm_report *report);

#endif
