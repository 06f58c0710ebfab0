/* The low-rank branch of a linear layer at small ranks (formulas: src/ops/lora_linear.c): one pass over the rows forward and
 * one backward, where matrix products as thin as the rank would read them two and four times.
 *
 * TOKENS rows go together, so that a row of A or B is read once for all of them, over strips of columns that stay in the
 * first-level cache. Backward adds up dA and dB over groups of tokens, each in a buffer of its own, and the groups in order:
 * the number of threads changes nothing. */
#include "backend/cpu/kernels/kernel.h"

enum { TOKENS = 4, STRIP = 512, GROUPS = 16, GROUP_TOKENS = 64 };

typedef struct rows { /* a strip of TOKENS rows in f32; rows past the last token repeat it */
    const float *row[TOKENS];
    float buffer[TOKENS][STRIP];
} rows;

typedef struct sums { /* of each of the TOKENS rows, for every j < R */
    float of[GM_LORA_RANK][TOKENS];
} sums;

static void load(rows *r, const void *matrix, gm_type type, int64_t columns, int64_t token, int64_t tokens, int64_t first, int64_t n) {
    for (int64_t i = 0; i < TOKENS; i++)
        r->row[i] = i < tokens ? gm_row_f32(matrix, type, (token + i) * columns + first, n, r->buffer[i]) : r->row[tokens - 1];
}

/* sum_i += ⟨m, x_i⟩ */
static void dots(float *restrict sum, const float *restrict m, const rows *r, int64_t n) {
    const float *restrict x0 = r->row[0], *restrict x1 = r->row[1], *restrict x2 = r->row[2], *restrict x3 = r->row[3];
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int64_t i = 0; i < n; i++) s0 += m[i] * x0[i], s1 += m[i] * x1[i], s2 += m[i] * x2[i], s3 += m[i] * x3[i];
    sum[0] += s0, sum[1] += s1, sum[2] += s2, sum[3] += s3;
}

/* dm += Σ_i weight_i x_i */
static void add_rows(float *restrict dm, const float *restrict weight, const rows *r, int64_t n) {
    const float *restrict x0 = r->row[0], *restrict x1 = r->row[1], *restrict x2 = r->row[2], *restrict x3 = r->row[3];
    const float w0 = weight[0], w1 = weight[1], w2 = weight[2], w3 = weight[3];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) dm[i] += w0 * x0[i] + w1 * x1[i] + w2 * x2[i] + w3 * x3[i];
}

/* Row `at` of out, of `type`, += Σ_j weight_j m_j over n columns from `first` on */
static void expand(void *out, gm_type type, int64_t at, const float *matrix, int64_t columns, const sums *weight, int64_t i, int64_t rank,
                   int64_t first, int64_t n) {
    float buffer[STRIP], *restrict y = type == GM_F32 ? (float *)out + at : buffer;
    gm_row_f32(out, type, at, n, buffer);
    for (int64_t j = 0; j < rank; j += 2) {
        const float *restrict m0 = matrix + j * columns + first, *restrict m1 = j + 1 < rank ? m0 + columns : m0;
        const float w0 = weight->of[j][i], w1 = j + 1 < rank ? weight->of[j + 1][i] : 0.0f;
#pragma omp simd
        for (int64_t c = 0; c < n; c++) y[c] += w0 * m0[c] + w1 * m1[c];
    }
    gm_row_store(out, type, at, n, y);
}

static void forward_tokens(const gm_lora_args *args, int64_t token, int64_t tokens) {
    rows x;
    sums u = {0};
    for (int64_t first = 0; first < args->inputs; first += STRIP) {
        int64_t n = gm_least(STRIP, args->inputs - first);
        load(&x, args->x, args->type, args->inputs, token, tokens, first, n);
        for (int64_t j = 0; j < args->rank; j++) dots(u.of[j], args->a + j * args->inputs + first, &x, n);
    }
    for (int64_t i = 0; i < tokens; i++)
        for (int64_t j = 0; j < args->rank; j++) args->u[(token + i) * args->rank + j] = u.of[j][i] *= args->scale;
    for (int64_t i = 0; i < tokens; i++)
        for (int64_t first = 0; first < args->outputs; first += STRIP)
            expand(args->y, args->y_type, (token + i) * args->outputs + first, args->b, args->outputs, &u, i, args->rank, first,
                   gm_least(STRIP, args->outputs - first));
}

void GM_KERNEL(gm_cpu_lora_forward)(gm_backend *backend, const gm_lora_args *args) {
    (void)backend;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < args->tokens; t += TOKENS) forward_tokens(args, t, gm_least(TOKENS, args->tokens - t));
}

static void backward_tokens(const gm_lora_args *args, float *da, float *db, int64_t token, int64_t tokens) {
    rows r;
    sums u = {0}, du = {0}; /* zero for rows past the last */
    for (int64_t j = 0; j < args->rank; j++)
        for (int64_t i = 0; i < tokens; i++) u.of[j][i] = args->u[(token + i) * args->rank + j];
    for (int64_t first = 0; first < args->outputs; first += STRIP) {
        int64_t n = gm_least(STRIP, args->outputs - first);
        load(&r, args->dy, args->type, args->outputs, token, tokens, first, n);
        for (int64_t j = 0; j < args->rank; j++) {
            dots(du.of[j], args->b + j * args->outputs + first, &r, n);
            add_rows(db + j * args->outputs + first, u.of[j], &r, n);
        }
    }
    for (int64_t j = 0; j < args->rank; j++)
        for (int64_t i = 0; i < TOKENS; i++) du.of[j][i] = i < tokens ? args->scale * du.of[j][i] : 0.0f;
    for (int64_t first = 0; first < args->inputs; first += STRIP) {
        int64_t n = gm_least(STRIP, args->inputs - first);
        load(&r, args->x, args->type, args->inputs, token, tokens, first, n);
        for (int64_t j = 0; j < args->rank; j++) add_rows(da + j * args->inputs + first, du.of[j], &r, n);
        for (int64_t i = 0; args->dx && i < tokens; i++)
            expand(args->dx, args->dx_type, (token + i) * args->inputs + first, args->a, args->inputs, &du, i, args->rank, first, n);
    }
}

/* Elements [first, last) of dA, then dB, += those of every group, in order. */
static void add_groups(const gm_lora_args *args, const float *gradients, int64_t groups, int64_t first, int64_t last) {
    int64_t a_size = args->rank * args->inputs, size = a_size + args->rank * args->outputs;
    int64_t a_last = gm_least(a_size, last), b_first = first > a_size ? first : a_size;
    for (int64_t g = 0; g < groups; g++, gradients += size) {
        if (first < a_last) gm_axpy(args->da + first, 1.0f, gradients + first, a_last - first);
        if (b_first < last) gm_axpy(args->db + (b_first - a_size), 1.0f, gradients + b_first, last - b_first);
    }
}

void GM_KERNEL(gm_cpu_lora_backward)(gm_backend *backend, const gm_lora_args *args) {
    int64_t a_size = args->rank * args->inputs, size = a_size + args->rank * args->outputs;
    int64_t group = (args->tokens + GROUPS - 1) / GROUPS;
    if (group < GROUP_TOKENS) group = GROUP_TOKENS;
    int64_t groups = (args->tokens + group - 1) / group;
    size_t mark = gm_arena_mark(&backend->scratch);
    float *gradients = gm_arena_take(&backend->scratch, (size_t)(groups * size) * sizeof *gradients);
    if (!gm_backend_measures(backend)) {
#pragma omp parallel for schedule(static, 1)
        for (int64_t g = 0; g < groups; g++) {
            float *da = gradients + g * size, *db = da + a_size;
            int64_t last = gm_least((g + 1) * group, args->tokens);
            memset(da, 0, (size_t)size * sizeof *da);
            for (int64_t t = g * group; t < last; t += TOKENS) backward_tokens(args, da, db, t, gm_least(TOKENS, last - t));
        }
#pragma omp parallel for schedule(static) if (size > STRIP)
        for (int64_t first = 0; first < size; first += STRIP) add_groups(args, gradients, groups, first, gm_least(size, first + STRIP));
    }
    gm_arena_release(&backend->scratch, mark);
}
