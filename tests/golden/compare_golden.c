/* compare_golden: what a run gave against what the oracle expects (tests/golden/README.md).
 *
 *   compare_golden steps   EXPECTED.json METRICS.jsonl steps
 *   compare_golden terms   EXPECTED.json METRICS.jsonl KEY           the losses of step 1 only
 *   compare_golden items   EXPECTED.json ITEMS.jsonl KEY             KEY: base_items, items
 *   compare_golden tensors EXPECTED.json WANT.safetensors HAVE.safetensors
 *
 * Prints the worst difference of each kind beside its bound; exit status 1 where one is exceeded. Bounds stand in EXPECTED.json
 * ("bound"); the shared golden has none there and gets those it was published with. */
#include "base/file.h"
#include "base/json.h"
#include "io/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 28 };
static const struct {
    const char *name;
    double bound;
} published[] = {{"step1", 2e-5}, {"steps", 3e-3}, {"normal", 3e-3}, {"scores", 2e-3}, {"final", 1e-2}};

static void stop(const char *what) {
    fprintf(stderr, "compare_golden: %s\n", what);
    exit(2);
}

static cJSON *parse(const char *path, const char *text, size_t length) {
    cJSON *tree = NULL;
    if (gm_json_parse(path, text, length, &tree) != GM_OK) stop(gm_error_text());
    return tree;
}

static gm_buffer read_all(const char *path) {
    gm_buffer text = {0};
    if (gm_file_read(&text, path, FILE_BYTES, GM_USAGE) != GM_OK) stop(gm_error_text());
    return text;
}

/* A file of one value a line as an array of those values. */
static cJSON *read_lines(const char *path) {
    gm_buffer text = read_all(path);
    cJSON *array = cJSON_CreateArray();
    for (char *line = text.bytes, *end; line && (end = strchr(line, '\n')) != NULL; line = end + 1)
        cJSON_AddItemToArray(array, parse(path, line, (size_t)(end - line)));
    gm_buffer_free(&text);
    return array;
}

static double bound_of(const cJSON *expected, const char *name) {
    const cJSON *bounds = gm_json_member(expected, "bound"), *bound = bounds ? gm_json_member(bounds, name) : NULL;
    if (bound) return bound->valuedouble;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        if (strcmp(published[i].name, name) == 0) return published[i].bound;
    stop("a bound without a value");
    return 0;
}

static bool report(const char *what, double worst, double bound) {
    bool good = worst <= bound; /* false for NaN */
    printf("  %-34s %.2e  (bound %.0e)%s\n", what, worst, bound, good ? "" : "  EXCEEDED");
    return good;
}

/* ---- steps ------------------------------------------------------------------------------------------------------ */

static double number(const cJSON *object, const char *name) {
    const cJSON *item = gm_json_member(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static bool compare_counts(const cJSON *want, const cJSON *have) {
    bool both = gm_json_member(want, "loss_tokens") != NULL; /* else `tokens` there counts loss tokens */
    bool same = both ? number(want, "tokens") == number(have, "tokens") && number(want, "loss_tokens") == number(have, "loss_tokens")
                     : number(want, "tokens") == number(have, "loss_tokens");
    if (!same)
        printf("  step %.0f: %.0f tokens, %.0f with loss: not those expected\n", number(have, "step"), number(have, "tokens"),
               number(have, "loss_tokens"));
    return same;
}

static bool compare_steps(const cJSON *expected, const cJSON *events, const char *key, bool only_terms) {
    static const char *const terms[] = {"loss", "ce", "poisson", "balance", "grad_norm", "normal"};
    enum { TERMS = sizeof terms / sizeof *terms, GRAD_NORM = TERMS - 2, NORMAL = TERMS - 1 };
    double worst[TERMS][2] = {{0}}; /* [1]: step 1 */
    bool good = true;
    const cJSON *want = gm_json_member(expected, key), *have = events->child;
    if (!cJSON_IsArray(want)) stop("EXPECTED.json has no such key");
    int step = 0;
    for (want = want->child; want && !(only_terms && step == 1); want = want->next, step++) {
        while (have && strcmp(gm_json_member(have, "event")->valuestring, "step") != 0) have = have->next;
        if (!have || number(have, "step") != number(want, "step")) return printf("  step %d is missing\n", step + 1), false;
        good &= compare_counts(want, have);
        for (int t = 0; t < TERMS; t++) {
            if (!gm_json_member(want, terms[t]) || (only_terms && t == GRAD_NORM)) continue;
            double w = number(want, terms[t]), difference = fabs(number(have, terms[t]) - w) / fabs(w);
            if (!(difference <= worst[t][step == 0])) worst[t][step == 0] = difference;
        }
        have = have->next;
    }
    for (int first = 1; first >= (only_terms ? 1 : 0); first--)
        for (int t = 0; t < TERMS; t++) {
            char what[64];
            snprintf(what, sizeof what, "%s, %s", terms[t], first ? "step 1" : "later steps");
            good &= report(what, worst[t][first], bound_of(expected, t == NORMAL ? "normal" : first ? "step1" : "steps"));
        }
    return good;
}

/* ---- items ------------------------------------------------------------------------------------------------------ */

static bool compare_items(const cJSON *expected, const cJSON *items, const char *key) {
    double worst = 0;
    const cJSON *want = gm_json_member(expected, key), *have = items->child;
    if (!want || cJSON_GetArraySize(want) != cJSON_GetArraySize(items)) return printf("  %s: not as many items as expected\n", key), false;
    for (want = want->child; want; want = want->next, have = have->next) {
        const cJSON *w = gm_json_member(want, "scores"), *h = gm_json_member(have, "scores");
        if (cJSON_GetArraySize(w) != cJSON_GetArraySize(h) || number(want, "answer") != number(have, "answer"))
            return printf("  item %.0f: another item\n", number(have, "index")), false;
        for (w = w->child, h = h->child; w; w = w->next, h = h->next) {
            double difference = fabs(w->valuedouble - h->valuedouble);
            if (!(difference <= worst)) worst = difference;
        }
    }
    return report(key, worst, bound_of(expected, "scores"));
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

static float element(const gm_file_tensor *tensor, size_t index) {
    float value;
    gm_convert(&value, GM_F32, tensor->bytes + index * gm_type_size(tensor->type), tensor->type, 1);
    return value;
}

static bool compare_tensors(const cJSON *expected, const char *want_path, const char *have_path) {
    gm_safetensors *want, *have;
    const char *worst_name = "";
    double worst = 0;
    if (gm_safetensors_open(&want, want_path) != GM_OK || gm_safetensors_open(&have, have_path) != GM_OK) stop(gm_error_text());
    bool good = gm_safetensors_count(want) == gm_safetensors_count(have);
    if (!good) printf("  %zu tensors, not %zu\n", gm_safetensors_count(have), gm_safetensors_count(want));
    for (size_t i = 0; i < gm_safetensors_count(want); i++) {
        const gm_file_tensor *w = gm_safetensors_at(want, i), *h = gm_safetensors_find(have, w->name);
        bool same = h && h->rank == w->rank && memcmp(h->dim, w->dim, (size_t)w->rank * sizeof *w->dim) == 0;
        if (!same) printf("  %s: is missing or has another shape\n", w->name), good = false;
        for (size_t e = 0; same && e < w->byte_count / gm_type_size(w->type); e++) {
            double difference = fabs((double)element(w, e) - (double)element(h, e));
            if (!(difference <= worst)) worst = difference, worst_name = w->name;
        }
    }
    good &= report("final tensors", worst, bound_of(expected, "final"));
    if (!good) printf("  the worst is %s\n", worst_name);
    gm_safetensors_close(want);
    gm_safetensors_close(have);
    return good;
}

int main(int argc, char **argv) {
    if (argc != 5) stop("usage: compare_golden steps|terms|items|tensors EXPECTED.json FILE KEY|FILE");
    gm_buffer text = read_all(argv[2]);
    cJSON *expected = parse(argv[2], gm_buffer_string(&text), text.length), *lines = NULL;
    bool good;
    if (strcmp(argv[1], "tensors") == 0) {
        good = compare_tensors(expected, argv[3], argv[4]);
    } else {
        lines = read_lines(argv[3]);
        bool only_terms = strcmp(argv[1], "terms") == 0;
        good = only_terms || strcmp(argv[1], "steps") == 0 ? compare_steps(expected, lines, argv[4], only_terms)
                                                           : compare_items(expected, lines, argv[4]);
    }
    cJSON_Delete(lines);
    cJSON_Delete(expected);
    gm_buffer_free(&text);
    return good ? 0 : 1;
}
