/* The fixed graph among the experts (method.md §2). */
#include "base/random.h"
#include "model/adapter/adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void join(float *edges, int64_t n, int64_t i, int64_t j) { edges[i * n + j] = edges[j * n + i] = 1; }

/* round(β·N(N−1)/2) pairs, drawn without replacement. */
static void draw_random(float *edges, int64_t n, double density, uint64_t seed, int64_t layer) {
    uint32_t pairs = (uint32_t)(n * (n - 1) / 2), wanted = (uint32_t)llround(density * (double)pairs);
    gm_random random = gm_random_begin(seed, GM_RANDOM_EDGES, (uint32_t)layer);
    uint32_t left = pairs, needed = wanted;
    for (int64_t i = 0; i < n; i++) /* selection sampling (Knuth 3.4.2 S): every set of `wanted` pairs is as likely */
        for (int64_t j = i + 1; j < n; j++, left--)
            if (needed > 0 && gm_random_below(&random, left) < needed) {
                join(edges, n, i, j);
                needed--;
            }
}

void gm_edges_draw(float *edges, const gm_adapter_config *config, int64_t layer) {
    int64_t n = config->num_experts;
    memset(edges, 0, (size_t)(n * n) * sizeof *edges);
    if (config->router.edges == GM_EDGES_RANDOM)
        draw_random(edges, n, config->router.edge_density, (uint64_t)config->router.edge_seed, layer);
    if (config->router.edges == GM_EDGES_FULL)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = i + 1; j < n; j++) join(edges, n, i, j);
}

static double cosine(const float *a, const float *b, int64_t size) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < size; i++) ab += (double)a[i] * b[i], aa += (double)a[i] * a[i], bb += (double)b[i] * b[i];
    return ab / fmax(sqrt(aa) * sqrt(bb), 1e-8);
}

/* The highest threshold of 1, 0.99 … 0 at which `needed` of the N² pairs are alike; the diagonal counts. */
static double find_threshold(const double *alike, int64_t pairs, int64_t experts, double needed) {
    for (int step = 0; step < 100; step++) {
        double threshold = 1.0 - 0.01 * step;
        int64_t found = experts;
        for (int64_t p = 0; p < pairs; p++) found += alike[p] < threshold ? 0 : 2;
        if ((double)found >= needed) return threshold;
    }
    return 0;
}

gm_status gm_edges_similar(float *edges, const float *features, int64_t experts, int64_t size, double density) {
    int64_t pairs = experts * (experts - 1) / 2, p = 0;
    double *alike; /* |cos| of every pair (i, j), j < i */
    GM_ALLOC(alike, (size_t)pairs);
    for (int64_t i = 0; i < experts; i++)
        for (int64_t j = 0; j < i; j++) alike[p++] = fabs(cosine(features + i * size, features + j * size, size));
    double threshold = find_threshold(alike, pairs, experts, density * (double)(experts * experts));
    memset(edges, 0, (size_t)(experts * experts) * sizeof *edges);
    p = 0;
    for (int64_t i = 0; i < experts; i++)
        for (int64_t j = 0; j < i; j++)
            if (!(alike[p++] < threshold)) join(edges, experts, i, j);
    free(alike);
    return GM_OK;
}

void gm_edges_normalise(float *adjacency, const float *edges, int64_t experts) {
    int64_t nodes = experts + 1;
    for (int64_t i = 0; i < nodes; i++)
        for (int64_t j = 0; j < nodes; j++) {
            bool joined = i == j || i == experts || j == experts || edges[i * experts + j] != 0;
            adjacency[i * nodes + j] = joined ? 1.0f : 0.0f;
        }
    double degree[GM_EXPERTS + 1] = {0};
    GM_CHECK(experts <= GM_EXPERTS, "%lld experts", (long long)experts);
    for (int64_t i = 0; i < nodes; i++)
        for (int64_t j = 0; j < nodes; j++) degree[i] += adjacency[i * nodes + j];
    for (int64_t i = 0; i < nodes; i++)
        for (int64_t j = 0; j < nodes; j++) adjacency[i * nodes + j] = (float)(adjacency[i * nodes + j] / sqrt(degree[i] * degree[j]));
}
