/* The experts: how the tokens spread over them, and how they are joined. */
#include "train/report_parts.h"

#include <inttypes.h>
#include <math.h>

static const double pi = 3.14159265358979323846;

/* exp of the entropy of a layer's shares: as many experts, evenly used, would be as diverse */
static double effective_experts(const double *share, int64_t experts) {
    double entropy = 0;
    for (int64_t e = 0; e < experts; e++)
        if (share[e] > 0) entropy -= share[e] * log(share[e]);
    return exp(entropy);
}

/* ---- heat map --------------------------------------------------------------------------------------------------- */

enum { MAP_WIDTH = 940, MAP_LEFT = 62, MAP_RIGHT = 96, MAP_TOP = 26 };

/* What a full colour stands for: twice the even share, or the highest one if that is more. */
static double highest_share(const gm_report *r) {
    double highest = 2.0 / (double)r->experts;
    for (int64_t i = 0; i < r->layers * r->experts; i++) highest = fmax(highest, r->load[i]);
    return fmin(highest, 1);
}

static void write_map_labels(gm_buffer *out, const gm_report *r, double width, double height) {
    int64_t every_expert = 1, every_layer = height >= 12 ? 1 : 5;
    while ((double)every_expert * width < 22) every_expert *= 2;
    gm_buffer_format(out, "<g class=\"grid\"><text x=\"%d\" y=\"16\" text-anchor=\"end\">expert</text>", MAP_LEFT - 8);
    for (int64_t e = 0; e < r->experts; e += every_expert)
        gm_buffer_format(out, "<text x=\"%.1f\" y=\"16\" text-anchor=\"middle\">%" PRId64 "</text>", MAP_LEFT + ((double)e + 0.5) * width,
                         e);
    gm_buffer_format(out, "<text x=\"%.1f\" y=\"16\">effective</text>\n", MAP_LEFT + (double)r->experts * width + 10);
    for (int64_t l = 0; l < r->layers; l += every_layer) {
        double y = MAP_TOP + ((double)l + 0.5) * height + 4;
        gm_buffer_format(
            out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">layer %" PRId64 "</text><text x=\"%.1f\" y=\"%.1f\">%.1f</text>\n",
            MAP_LEFT - 8, y, l, MAP_LEFT + (double)r->experts * width + 10, y, effective_experts(r->load + l * r->experts, r->experts));
    }
    gm_buffer_text(out, "</g>\n");
}

static void write_map_legend(gm_buffer *out, const gm_report *r, double highest) {
    enum { STEPS = 24 };
    double even = 1.0 / (double)r->experts;
    gm_buffer_text(out, "<p class=\"legend\">0 % <svg viewBox=\"0 0 240 12\" preserveAspectRatio=\"none\" width=\"240\" height=\"12\" "
                        "aria-hidden=\"true\">");
    for (int i = 0; i < STEPS; i++)
        gm_buffer_format(out, "<rect class=\"cell\" x=\"%d\" width=\"10\" height=\"12\" fill-opacity=\"%.3f\"/>", i * 10,
                         (i + 0.5) / STEPS);
    gm_buffer_format(
        out, "<line class=\"even\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"12\"/></svg> %.1f %%; the mark: an even share, %.4g %%</p>\n",
        240 * even / highest, 240 * even / highest, 100 * highest, 100 * even);
}

void gm_page_load(gm_buffer *out, const gm_report *r) {
    double width = fmin((double)(MAP_WIDTH - MAP_LEFT - MAP_RIGHT) / (double)r->experts, 64), height = r->layers <= 32 ? 24 : 14;
    double highest = highest_share(r), total = MAP_LEFT + width * (double)r->experts + MAP_RIGHT,
           bottom = MAP_TOP + height * (double)r->layers + 4;
    bool numbers = width >= 34 && height >= 16;
    gm_buffer_format(out,
                     "<div class=\"scroll\"><svg class=\"map\" viewBox=\"0 0 %.0f %.0f\" style=\"max-width:%.0fpx\" role=\"img\" "
                     "aria-label=\"expert load, layers by experts\">\n",
                     total, bottom, total);
    write_map_labels(out, r, width, height);
    for (int64_t i = 0; i < r->layers * r->experts; i++) {
        int64_t layer = i / r->experts, expert = i % r->experts;
        double x = MAP_LEFT + (double)expert * width, y = MAP_TOP + (double)layer * height, tone = r->load[i] / highest;
        gm_buffer_format(
            out,
            "<rect class=\"cell\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill-opacity=\"%.3f\"><title>layer %" PRId64
            ", expert %" PRId64 ": %.2f %%</title></rect>",
            x, y, width - 1.5, height - 1.5, 0.03 + 0.97 * tone, layer, expert, 100 * r->load[i]);
        if (numbers)
            gm_buffer_format(out, "<text class=\"share%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.1f</text>",
                             tone > 0.6 ? " dark" : "", x + width / 2 - 0.75, y + height / 2 + 3.5, 100 * r->load[i]);
        if (expert == r->experts - 1) gm_buffer_char(out, '\n');
    }
    gm_buffer_text(out, "</svg></div>\n");
    write_map_legend(out, r, highest);
}

/* ---- graphs ----------------------------------------------------------------------------------------------------- */

enum { GRAPH_SIZE = 200, GRAPH_RADIUS = 70, LABEL_RADIUS = 95, LABELLED = 16, NAMED = 12 };

static double node_x(const gm_report *r, int64_t e, double radius) {
    return GRAPH_SIZE / 2 + radius * sin(2 * pi * (double)e / (double)r->experts);
}
static double node_y(const gm_report *r, int64_t e, double radius) {
    return GRAPH_SIZE / 2 - radius * cos(2 * pi * (double)e / (double)r->experts);
}

static bool joined(const gm_report *r, int64_t layer, int64_t a, int64_t b) {
    const unsigned char *edges = r->edges + layer * r->experts * r->experts;
    return edges[a * r->experts + b] || edges[b * r->experts + a];
}

static void write_neighbours(gm_buffer *out, const gm_report *r, int64_t layer, int64_t expert) {
    int64_t count = 0, shown = 0;
    for (int64_t e = 0; e < r->experts; e++) count += e != expert && joined(r, layer, expert, e);
    if (count == 0) gm_buffer_text(out, ", joined to none");
    if (count > NAMED) gm_buffer_format(out, ", joined to %" PRId64 " experts", count);
    if (count == 0 || count > NAMED) return;
    gm_buffer_text(out, ", joined to ");
    for (int64_t e = 0; e < r->experts; e++)
        if (e != expert && joined(r, layer, expert, e)) gm_buffer_format(out, "%s%" PRId64, shown++ ? ", " : "", e);
}

static void write_node(gm_buffer *out, const gm_report *r, int64_t layer, int64_t expert) {
    double even = fmin(8, 0.32 * 2 * pi * GRAPH_RADIUS / (double)r->experts); /* radius of an evenly used expert */
    double share = r->load[layer * r->experts + expert], radius = fmin(fmax(even * sqrt(share * (double)r->experts), 1.2), 2.2 * even);
    gm_buffer_format(out, "<circle class=\"node\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>layer %" PRId64 ", expert %" PRId64 ": %.2f %%",
                     node_x(r, expert, GRAPH_RADIUS), node_y(r, expert, GRAPH_RADIUS), radius, layer, expert, 100 * share);
    write_neighbours(out, r, layer, expert);
    gm_buffer_text(out, "</title></circle>");
    if (r->experts <= LABELLED)
        gm_buffer_format(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%" PRId64 "</text>", node_x(r, expert, LABEL_RADIUS),
                         node_y(r, expert, LABEL_RADIUS) + 4, expert);
    gm_buffer_char(out, '\n');
}

static void write_graph(gm_buffer *out, const gm_report *r, int64_t layer) {
    int64_t count = 0;
    gm_buffer path = {0}; /* all edges in one: a full graph of 64 experts has 2016 */
    for (int64_t a = 0; a < r->experts; a++)
        for (int64_t b = a + 1; b < r->experts; b++) {
            if (!joined(r, layer, a, b)) continue;
            count++;
            gm_buffer_format(&path, "M%.1f,%.1fL%.1f,%.1f", node_x(r, a, GRAPH_RADIUS), node_y(r, a, GRAPH_RADIUS),
                             node_x(r, b, GRAPH_RADIUS), node_y(r, b, GRAPH_RADIUS));
        }
    gm_buffer_format(out, "<figure><svg viewBox=\"-4 -4 %d %d\" role=\"img\" aria-label=\"expert graph of layer %" PRId64 "\">\n",
                     GRAPH_SIZE + 8, GRAPH_SIZE + 8, layer);
    if (count)
        gm_buffer_format(out, "<path class=\"edge\" stroke-opacity=\"%.2f\" d=\"%s\"/>\n", fmax(0.12, fmin(1, 40.0 / (double)count)),
                         gm_buffer_string(&path));
    if (path.failed) out->failed = true;
    gm_buffer_free(&path);
    for (int64_t e = 0; e < r->experts; e++) write_node(out, r, layer, e);
    gm_buffer_format(out, "</svg><figcaption>layer %" PRId64 " · %" PRId64 " edge%s</figcaption></figure>\n", layer, count,
                     count == 1 ? "" : "s");
}

void gm_page_graphs(gm_buffer *out, const gm_report *r) {
    gm_buffer_text(out, "<div class=\"graphs\">\n");
    for (int64_t l = 0; l < r->layers; l++) write_graph(out, r, l);
    gm_buffer_text(out, "</div>\n");
}
