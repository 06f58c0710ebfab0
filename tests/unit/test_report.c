/* report.html: the numbers that it shows, its form, and runs of unusual kinds. */
#include "io/safetensors.h"
#include "train/report_parts.h"

#include "data_files.h"
#include "test_support.h"

#include <ctype.h>
#include <math.h>

static char folder[4096];

static int set_up(void **state) {
    (void)state;
    gm_test_directory(folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return gm_directory_remove(folder) == GM_OK ? 0 : -1;
}

/* ---- curves ----------------------------------------------------------------------------------------------------- */

/* A curve of value = step over `steps` steps: few enough points, in order, each the mean of what it stands for. */
static void check_thinning(int64_t steps, int points) {
    gm_curve curve;
    int64_t counted = 0, next = 1;
    gm_curve_begin(&curve, steps);
    for (int64_t s = 1; s <= steps; s++) gm_curve_add(&curve, s, (double)s, 0);
    gm_curve_finish(&curve);
    assert_int_equal(curve.count, points);
    for (int i = 0; i < curve.count; i++) {
        const gm_curve_point *p = &curve.points[i];
        assert_true(p->low == (double)next && p->high == (double)(next + p->count - 1));
        assert_true(fabs(p->value - (p->low + p->high) / 2) < 1e-9 * p->high && fabs(p->step - p->value) < 1e-9 * p->high);
        counted += p->count;
        next += p->count;
    }
    assert_int_equal(counted, steps);
}

static void test_thinning(void **state) {
    (void)state;
    const int64_t steps[] = {1, 2, 7, 60, 499, 500};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) check_thinning(steps[i], (int)steps[i]);
    const int64_t more[] = {501, 999, 1000, 20000, 123457};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) check_thinning(more[i], GM_CURVE_POINTS);
}

static void test_curve_faults(void **state) {
    (void)state;
    gm_curve curve;
    gm_curve_begin(&curve, 3);
    gm_curve_add(&curve, 1, NAN, 0);
    gm_curve_add(&curve, 2, INFINITY, 0);
    gm_curve_add(&curve, 4, 1, 0);
    gm_curve_add(&curve, -1, 1, 0);
    gm_curve_finish(&curve);
    assert_int_equal(curve.count, 0);
    gm_curve_begin(&curve, 0);
    gm_curve_add(&curve, 0, 0.5, 0.1); /* evaluated before the first step */
    gm_curve_finish(&curve);
    assert_int_equal(curve.count, 1);
    assert_true(curve.points[0].low == 0.4 && curve.points[0].high == 0.6);
}

/* ---- runs ------------------------------------------------------------------------------------------------------- */

typedef struct run {
    int64_t steps, layers, experts; /* experts 0: none */
    bool terms, evaluations, by_loss, full_graph, no_graph, no_metrics, nulls;
    const char *task; /* as JSON */
} run;

static void write_result(const run *r) {
    gm_buffer text = {0};
    gm_buffer_text(&text, "{\"tasks\": [");
    for (int i = 0; r->evaluations && i < 2; i++) {
        gm_buffer_format(&text, "%s{\"task\": %s, \"split\": \"test\", \"adapter\": \"%s\", \"prompt\": \"paper\", \"n\": 400, ",
                         i ? ", " : "", r->task, i ? "best" : "final");
        gm_buffer_text(&text, r->by_loss ? "\"loss\": 1.25, \"loss_tokens\": 800}"
                                         : "\"scoring\": \"label\", \"correct\": 325, \"accuracy\": 0.8125, \"stderr\": 0.0195}");
    }
    gm_buffer_text(&text, "], \"best\": ");
    gm_buffer_format(&text, r->evaluations ? "{\"step\": %lld, \"split\": \"validation\", \"%s\": 0.75}" : "null", (long long)r->steps,
                     r->by_loss ? "loss" : "accuracy");
    gm_buffer_format(&text,
                     ", \"steps\": %lld, \"trainable_parameters\": 1234567, \"train_seconds\": 3723, \"train_tokens_per_s\": 2048.4, "
                     "\"peak_memory_bytes\": 3221225472, \"expert_load\": ",
                     (long long)r->steps);
    if (!r->experts) gm_buffer_text(&text, "null");
    for (int64_t l = 0; r->experts && l < r->layers; l++)
        for (int64_t e = 0; e < r->experts; e++) { /* expert 0 has half of it */
            double share = r->experts == 1 ? 1 : e == 0 ? 0.5 : 0.5 / (double)(r->experts - 1);
            gm_buffer_format(&text, "%s%.17g%s",
                             e   ? ", "
                             : l ? ", ["
                                 : "[[",
                             share, e == r->experts - 1 ? l == r->layers - 1 ? "]]" : "]" : "");
        }
    gm_buffer_text(&text, "}");
    gm_test_write(folder, "result.json", text.bytes, text.length);
    gm_buffer_free(&text);
}

static void write_metrics(const run *r) {
    gm_buffer text = {0};
    for (int64_t s = 1; s <= r->steps; s++) {
        gm_buffer_format(&text,
                         "{\"event\":\"step\",\"step\":%lld,\"loss\":%s,\"ce\":%.6f,\"poisson\":0.5,\"normal\":0,\"balance\":0,\"lr\":0."
                         "0002,\"grad_norm\":1,\"tokens\":100}\n",
                         (long long)s, r->nulls ? "null" : "2.5", 2 + 1.0 / (double)s);
        if (r->evaluations && s % 2 == 0)
            gm_buffer_format(&text, "{\"event\":\"eval\",\"step\":%lld,\"split\":\"validation\",\"%s\":0.75,\"stderr\":0.02}\n",
                             (long long)s, r->by_loss ? "loss" : "accuracy");
    }
    gm_buffer_text(&text, "{\"event\":\"checkpoint\",\"step\":1}\n{\"event\":\"step\",\"ste"); /* torn */
    gm_test_write(folder, "metrics.jsonl", text.bytes, text.length);
    gm_buffer_free(&text);
}

static void write_adapter(const run *r) {
    char path[GM_PATH], (*names)[64] = malloc((size_t)r->layers * sizeof *names + 1);
    size_t n = (size_t)r->experts, layers = r->experts && !r->no_graph ? (size_t)r->layers : 0;
    float *edges = calloc(n * n + 1, sizeof *edges);
    gm_write_tensor *tensors = calloc(layers + 1, sizeof *tensors);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) edges[a * n + b] = a != b && (r->full_graph || a + 1 == b || b + 1 == a); /* or a path */
    for (size_t l = 0; l < layers; l++) {
        snprintf(names[l], sizeof names[l], "mixlora.layers.%zu.gate.edges", l);
        tensors[l] = (gm_write_tensor){.name = names[l], .type = GM_F32, .rank = 2, .dim = {(int64_t)n, (int64_t)n}, .data = edges};
    }
    assert_int_equal(gm_path_join(path, folder, "adapter"), GM_OK);
    assert_int_equal(gm_directory_make(path), GM_OK);
    assert_int_equal(gm_path_join(path, folder, "adapter/adapter_model.safetensors"), GM_OK);
    assert_int_equal(gm_safetensors_write(path, tensors, layers, NULL, 0), GM_OK);
    free(tensors);
    free(edges);
    free(names);
}

/* The page of such a run; free with gm_buffer_free. */
static gm_buffer page_of(const run *r) {
    gm_buffer text = {0};
    char path[GM_PATH];
    gm_buffer_format(&text,
                     "{\"base_model\": \"models/<Base> & \\\"Co\\\"\", \"task\": %s, \"seed\": 7, \"dtype\": \"bf16\", \"method\": \"%s\", "
                     "\"adapter\": {\"rank\": 2, "
                     "\"losses\": {\"poisson\": %s, \"normal\": 0, \"balance\": 0}}, \"train\": {\"max_grad_norm\": 0}}",
                     r->task, r->experts ? "gmoe" : "lora", r->terms ? "0.005" : "0");
    gm_test_write(folder, "config.json", text.bytes, text.length);
    gm_buffer_clear(&text);
    write_result(r);
    assert_int_equal(gm_path_join(path, folder, "metrics.jsonl"), GM_OK);
    remove(path);
    if (!r->no_metrics) write_metrics(r);
    write_adapter(r);
    assert_int_equal(gm_report_page_write(folder), GM_OK);
    assert_int_equal(gm_path_join(path, folder, "report.html"), GM_OK);
    assert_int_equal(gm_file_read(&text, path, 64 << 20, GM_FAIL), GM_OK);
    return text;
}

static size_t count(const gm_buffer *page, const char *part) {
    size_t found = 0;
    for (const char *p = gm_buffer_string(page); (p = strstr(p, part)); p += strlen(part)) found++;
    return found;
}

static void check_has(const gm_buffer *page, const char *part) {
    if (!count(page, part)) fail_msg("the page lacks: %s", part);
}

static void check_lacks(const gm_buffer *page, const char *part) {
    if (count(page, part)) fail_msg("the page has: %s", part);
}

/* Every element is closed in its turn, & begins an entity that there is, and no number went wrong. */
static void check_form(const gm_buffer *page) {
    enum { DEPTH = 32 };
    char open[DEPTH][24];
    int depth = 0;
    const char *p = gm_buffer_string(page);
    assert_memory_equal(p, "<!DOCTYPE html>\n", 16);
    for (p += 16; *p; p++) {
        if (*p == '&')
            assert_true(!strncmp(p, "&amp;", 5) || !strncmp(p, "&lt;", 4) || !strncmp(p, "&gt;", 4) || !strncmp(p, "&quot;", 6) ||
                        !strncmp(p, "&#39;", 5));
        assert_true((unsigned char)*p >= 0x20 || *p == '\n' || *p == '\t');
        if (*p != '<') continue;
        bool closing = p[1] == '/';
        const char *name = p + 1 + closing, *end = name;
        size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
        assert_true(length > 0 && length < sizeof open[0]);
        while (*end && *end != '>') {
            assert_true(*end != '<');
            if (*end == '"') end = strchr(end + 1, '"');
            assert_non_null(end);
            end++;
        }
        assert_true(*end == '>');
        if (closing) {
            assert_true(depth > 0);
            depth--;
            if (strlen(open[depth]) != length || strncmp(open[depth], name, length) != 0)
                fail_msg("</%.*s> closes <%s>", (int)length, name, open[depth]);
        } else if (end[-1] != '/') {
            assert_true(depth < DEPTH);
            snprintf(open[depth++], sizeof open[0], "%.*s", (int)length, name);
        }
        p = end;
    }
    assert_int_equal(depth, 0);
    const char *const wrong[] = {"nan", "inf\"", "inf,", "-inf", "(null)", "-0.0 ", "<script", "http", "src=", "href="};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) check_lacks(page, wrong[i]);
}

static void test_numbers(void **state) {
    (void)state;
    const run r = {.steps = 2000, .layers = 3, .experts = 4, .terms = true, .evaluations = true, .task = "\"arc-c\""};
    gm_buffer page = page_of(&r);
    check_form(&page);
    const char *const parts[] = {"<h1>arc-c, gmoe</h1>",
                                 "<b>&lt;Base&gt; &amp; &quot;Co&quot;</b>, seed 7, in bf16",
                                 "<b>81.25 %</b><span>accuracy, test</span>",
                                 "<b>75.00 %</b><span>accuracy, best on validation</span>",
                                 "<b>1 234 567</b><span>trainable parameters</span>",
                                 "<b>2 000</b><span>steps</span>",
                                 "<b>1:02:03</b><span>time in steps</span>",
                                 "<b>2 048</b><span>tokens/s</span>",
                                 "<b>200 000</b><span>tokens trained on</span>",
                                 "<b>3 GiB</b><span>peak memory</span>",
                                 "<td class=\"number\">81.25 % ± 1.95</td><td class=\"number\">325</td>",
                                 "<td>best</td><td class=\"number\">",
                                 "Poisson distinction (× 0.005)",
                                 "mean of 4 steps a point",
                                 "last 2.5<",
                                 "layer 2, expert 0: 50.00 %</title>",
                                 "layer 2, expert 3: 16.67 %</title>",
                                 "layer 1, expert 1: 16.67 %, joined to 0, 2</title>",
                                 "layer 0 · 3 edges",
                                 "an even share, 25 %",
                                 "<div><span>LoRA rank</span><span>2</span></div>",
                                 "<div><span>gradient norm at most</span><span>no limit</span></div>"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) check_has(&page, parts[i]);
    check_lacks(&page, "Normal balance");
    check_lacks(&page, "Mixtral balance");
    assert_int_equal(count(&page, "<circle class=\"node\""), 3 * 4);
    assert_int_equal(count(&page, "expert graph of layer"), 3);
    for (const char *p = gm_buffer_string(&page); (p = strstr(p, "class=\"line\" d=\"")); p++) { /* at most 500 points a curve */
        size_t points = 1;
        for (const char *c = p + 16; *c != '"'; c++) points += *c == 'L';
        assert_true(points > 1 && points <= GM_CURVE_POINTS);
    }
    gm_buffer_free(&page);
}

static void test_kinds(void **state) {
    (void)state;
    const run runs[] = {
        {.steps = 1, .task = "\"lora\""}, /* no experts, nothing evaluated */
        {.steps = 1, .layers = 2, .experts = 8, .terms = true, .evaluations = true, .task = "\"one step\""},
        {.steps = 30, .layers = 60, .experts = 64, .terms = true, .full_graph = true, .task = "\"large\""},
        {.steps = 30, .layers = 2, .experts = 1, .task = "\"one expert\""},
        {.steps = 30, .layers = 2, .experts = 4, .no_graph = true, .task = "\"linear router\""},
        {.steps = 30, .layers = 2, .experts = 4, .evaluations = true, .by_loss = true, .task = "\"jsonl\""},
        {.steps = 30, .layers = 2, .experts = 4, .no_metrics = true, .task = "\"lost metrics\""},
        {.steps = 30, .layers = 2, .experts = 4, .terms = true, .nulls = true, .task = "\"no finite loss\""},
        {.steps = 3, .evaluations = true, .task = "\"</title><script>alert('x')</script>&amp;\\u001b\\n\""},
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        const run *r = &runs[i];
        gm_buffer page = page_of(r);
        check_form(&page);
        assert_true((count(&page, "Expert load") > 0) == (r->experts > 0));
        assert_true((count(&page, "Expert graph") > 0) == (r->experts > 0 && !r->no_graph));
        if (r->no_metrics) check_has(&page, "metrics.jsonl holds no steps");
        if (r->by_loss) check_has(&page, "<b>1.2500</b><span>loss, test</span>");
        if (!r->evaluations) check_has(&page, "nothing was evaluated");
        if (r->full_graph) check_has(&page, "layer 59 · 2016 edges");
        assert_true(page.length < 16 << 20);
        gm_buffer_free(&page);
    }
}

static void test_faults(void **state) {
    (void)state;
    const run r = {.steps = 2, .layers = 2, .experts = 3, .task = "\"x\""};
    const char *const needed[] = {"config.json", "result.json", "adapter/adapter_model.safetensors"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        char path[GM_PATH];
        gm_buffer page = page_of(&r);
        gm_buffer_free(&page);
        assert_int_equal(gm_path_join(path, folder, needed[i]), GM_OK);
        remove(path);
        assert_int_not_equal(gm_report_page_write(folder), GM_OK);
    }
    gm_buffer page = page_of(&r);
    gm_buffer_free(&page);
    gm_test_write(folder, "result.json", "{\"steps\": 2, \"expert_load\": [[0.5, 0.5], [1]]}", 45);
    assert_int_equal(gm_report_page_write(folder), GM_BAD_FILE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thinning),
        cmocka_unit_test(test_curve_faults),
        cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kinds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
