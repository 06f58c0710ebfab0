/* A curve with its axes. Where a point stands for several steps, a band shows their extremes. */
#include "train/report_parts.h"

#include "base/number.h"

#include <math.h>
#include <stdio.h>

enum { WIDTH = 460, HEIGHT = 230, LEFT = 56, RIGHT = 14, TOP = 10, BOTTOM = 30, DOTTED = 40, TICKS = 64 };

typedef struct gm_axis {
    double low, high; /* logarithms where `log` is true */
    bool log;
    double ticks[TICKS];
    int count;
    double between; /* ticks, of a linear axis */
} gm_axis;

/* ---- axes ------------------------------------------------------------------------------------------------------- */

/* 1, 2 or 5 times a power of ten, so that about `most` of them fill the range. */
static double nice_distance(double range, int most, double least) {
    double rough = range / most, power = pow(10, floor(log10(rough))), part = rough / power;
    double distance = power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
    return distance > least ? distance : least;
}

static void add_tick(gm_axis *axis, double value) {
    if (axis->count < TICKS) axis->ticks[axis->count++] = value == 0 ? 0 : value; /* no −0 */
}

static void linear_axis(gm_axis *axis, double low, double high, int most, double least) {
    axis->log = false;
    axis->count = 0;
    axis->between = nice_distance(high - low, most, least);
    axis->low = low;
    axis->high = high;
    for (double i = ceil(low / axis->between - 1e-9); i * axis->between <= high + 1e-9 * axis->between; i++)
        add_tick(axis, i * axis->between);
}

static void log_axis(gm_axis *axis, double low, double high) {
    axis->log = true;
    axis->count = 0;
    axis->low = log10(low);
    axis->high = log10(high);
    double decades = axis->high - axis->low, every = ceil(decades / 6);
    for (double power = floor(axis->low); power <= axis->high; power += every) {
        const double parts[] = {1, 2, 5};
        for (int p = 0; p < (decades <= 2.5 ? 3 : 1); p++) {
            double at = power + log10(parts[p]);
            if (at >= axis->low - 1e-9 && at <= axis->high + 1e-9) add_tick(axis, pow(10, power) * parts[p]);
        }
    }
}

/* All of the curve with a little room, or from 0 where that is near; logarithmic where values of a loss span much. */
static void value_axis(gm_axis *axis, const gm_curve *curve, bool percent) {
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < curve->count; i++) {
        low = fmin(low, curve->points[i].low);
        high = fmax(high, curve->points[i].high);
    }
    if (!percent && low > 0 && high / low >= 10) {
        log_axis(axis, low / 1.15, high * 1.15);
        return;
    }
    bool positive = low >= 0;
    double room = 0.06 * (high - low);
    if (room <= 1e-9 * fabs(high)) room = high != 0 ? 0.5 * fabs(high) : 1; /* a constant */
    low -= room;
    high += room;
    if (positive && (low < 0 || low < 0.3 * high)) low = 0;
    if (percent && high > 1) high = 1;
    linear_axis(axis, low, high, 5, 0);
}

static void format_value(char text[32], const gm_axis *axis, double value, bool percent) {
    double scale = percent ? 100 : 1, shown = value * scale;
    int digits = axis->log ? 0 : (int)fmax(0, -floor(log10(axis->between * scale) + 1e-9));
    if (fabs(shown) < 1e-12) shown = 0;
    if (axis->log || digits > 5 || fabs(shown) >= 1e6)
        snprintf(text, 32, "%.4g", shown);
    else
        snprintf(text, 32, "%.*f%s", digits, shown, percent ? " %" : "");
}

static void format_step(char text[32], const gm_axis *axis, double step) { /* all of an axis in one unit */
    const char *unit = axis->high >= 1e6 ? "M" : axis->high >= 1e4 ? "k" : "";
    double scale = axis->high >= 1e6 ? 1e6 : axis->high >= 1e4 ? 1e3 : 1;
    snprintf(text, 32, "%g%s", step / scale, step > 0 ? unit : "");
}

/* ---- drawing ---------------------------------------------------------------------------------------------------- */

static double place_x(const gm_axis *axis, double step) {
    return LEFT + (step - axis->low) / (axis->high - axis->low) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const gm_axis *axis, double value) {
    double at = axis->log ? log10(value) : value;
    return HEIGHT - BOTTOM - (at - axis->low) / (axis->high - axis->low) * (HEIGHT - TOP - BOTTOM);
}

static void draw_axes(gm_buffer *out, const gm_axis *x, const gm_axis *y, bool percent) {
    char text[32];
    gm_buffer_text(out, "<g class=\"grid\">");
    for (int i = 0; i < y->count; i++) {
        double at = place_y(y, y->ticks[i]);
        format_value(text, y, y->ticks[i], percent);
        gm_buffer_format(out, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                         LEFT, WIDTH - RIGHT, at, at, LEFT - 7, at + 4, text);
    }
    for (int i = 0; i < x->count; i++) {
        format_step(text, x, x->ticks[i]);
        gm_buffer_format(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>", place_x(x, x->ticks[i]), HEIGHT - 11, text);
    }
    gm_buffer_format(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/></g>\n", LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM,
                     HEIGHT - BOTTOM);
}

static void draw_band(gm_buffer *out, const gm_curve *curve, const gm_axis *x, const gm_axis *y) {
    bool wide = false;
    for (int i = 0; i < curve->count; i++) wide = wide || curve->points[i].high > curve->points[i].low;
    if (!wide || curve->count < 2) return;
    gm_buffer_text(out, "<path class=\"band\" d=\"M");
    for (int i = 0; i < curve->count; i++)
        gm_buffer_format(out, "%s%.1f,%.1f", i ? "L" : "", place_x(x, curve->points[i].step),
                         place_y(y, fmin(curve->points[i].high, y->log ? INFINITY : y->high)));
    for (int i = curve->count - 1; i >= 0; i--)
        gm_buffer_format(out, "L%.1f,%.1f", place_x(x, curve->points[i].step),
                         place_y(y, fmax(curve->points[i].low, y->log ? -INFINITY : y->low)));
    gm_buffer_text(out, "Z\"/>\n");
}

static void draw_line(gm_buffer *out, const gm_curve *curve, const gm_axis *x, const gm_axis *y, bool percent) {
    char number[GM_DOUBLE_TEXT];
    if (curve->count > 1) gm_buffer_text(out, "<path class=\"line\" d=\"M");
    for (int i = 0; curve->count > 1 && i < curve->count; i++)
        gm_buffer_format(out, "%s%.1f,%.1f", i ? "L" : "", place_x(x, curve->points[i].step), place_y(y, curve->points[i].value));
    if (curve->count > 1) gm_buffer_text(out, "\"/>\n");
    for (int i = 0; curve->count <= DOTTED && i < curve->count; i++) {
        const gm_curve_point *point = &curve->points[i];
        gm_buffer_format(out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>step %.0f: ", place_x(x, point->step),
                         place_y(y, point->value), point->step);
        gm_format_double(percent ? round(point->value * 1e4) / 100 : point->value, number);
        gm_buffer_format(out, "%s%s</title></circle>\n", number, percent ? " %" : "");
    }
}

static void write_caption(gm_buffer *out, const char *title, const gm_curve *curve, bool percent, bool log) {
    double last = curve->points[curve->count - 1].value;
    int64_t most = 0;
    for (int i = 0; i < curve->count; i++) most = curve->points[i].count > most ? curve->points[i].count : most;
    gm_buffer_text(out, "<figcaption><b>");
    gm_page_text(out, title);
    gm_buffer_text(out, "</b>");
    if (log) gm_buffer_text(out, ", logarithmic");
    gm_buffer_format(out, percent ? "<span class=\"last\">last %.2f %%</span>" : "<span class=\"last\">last %.4g</span>",
                     percent ? 100 * last : last);
    if (most > 1) gm_buffer_format(out, "<br/><small>mean of %lld steps a point; the band: lowest to highest</small>", (long long)most);
    gm_buffer_text(out, "</figcaption>\n");
}

void gm_page_chart(gm_buffer *out, const char *title, const gm_curve *curve, bool percent, int colour) {
    gm_axis x, y;
    if (curve->count == 0) return;
    double first = curve->points[0].step, last = curve->points[curve->count - 1].step, end = (double)curve->steps;
    if (last > 0.97 * end) last = end; /* a mean of the last steps lies before the last one */
    if (last > first)
        linear_axis(&x, first < 0.1 * last ? 0 : first, last, 6, 1);
    else
        linear_axis(&x, first - 1, first + 1, 2, 1);
    value_axis(&y, curve, percent);
    gm_buffer_format(out, "<figure class=\"chart colour%d\">", colour);
    write_caption(out, title, curve, percent, y.log);
    gm_buffer_format(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    gm_page_text(out, title);
    gm_buffer_text(out, " over steps\">\n");
    draw_axes(out, &x, &y, percent);
    draw_band(out, curve, &x, &y);
    draw_line(out, curve, &x, &y, percent);
    gm_buffer_text(out, "</svg></figure>\n");
}
