/* Next-token cross-entropy through the language model's head, in chunks of rows: only rows that carry a loss are
 * gathered, and the logits (rows×V) never exist as a whole. The loss is the end of the path, so the gradient of the
 * logits takes their place at once and is pushed through the head: d logits = (softmax − onehot) · scale,
 * dx_row = d logits · head. Saved: dx of the gathered rows, scattered over the tokens in backward. The head is frozen.
 * Evaluation reads single logits and the rows' log-sums instead. */
#include "ops/ops.h"

enum { LOGITS_BYTES = 128 << 20, CHUNK_ROWS_LEAST = 128, CHUNK_ROWS_LEAST_DEVICE = 1024 };

typedef struct saved_loss {
    gm_tensor *x;
    const int32_t *row;
    float *dx; /* count×D */
    int64_t count;
} saved_loss;

static void loss_backward(gm_step *step, const void *saved) {
    const saved_loss *s = saved;
    bool used = gm_grad_begin(step, s->x);
    GM_CHECK(!used, "the head is the only use of the last hidden states");
    gm_rows_args args = {
        .out = s->x->grad, .in = s->dx, .row = s->row, .count = s->count, .columns = s->x->columns, .out_rows = s->x->rows, .type = GM_F32};
    step->backend->kernels->scatter_rows(step->backend, &args);
}

/* A chunk is a compromise between memory and the head's products, which read all of the head for each chunk: a device needs more rows
 * to be kept busy by that than a processor. Even chunks: few distinct shapes. Then 513 rows may make two chunks of 257 where 512 make one,
 * so that the plan takes the largest chunk that this count or a smaller one can have. */
static int64_t chunk_rows(const gm_step *step, int64_t count, int64_t vocabulary) {
    int64_t rows = LOGITS_BYTES / (vocabulary * (int64_t)sizeof(float));
    int64_t least = step->backend->host_memory ? CHUNK_ROWS_LEAST : CHUNK_ROWS_LEAST_DEVICE;
    if (rows < least) rows = least;
    if (gm_backend_measures(step->backend)) return count < rows ? count : rows;
    int64_t chunks = (count + rows - 1) / rows;
    return chunks ? (count + chunks - 1) / chunks : 0;
}

static void *gather(gm_step *step, const gm_tensor *x, const int32_t *row, int64_t count) {
    void *rows = gm_step_scratch(step, (size_t)(count * x->columns) * gm_type_size(x->type));
    gm_rows_args args = {.out = rows, .in = x->data, .row = row, .count = count, .columns = x->columns, .out_rows = count, .type = x->type};
    step->backend->kernels->gather_rows(step->backend, &args);
    return rows;
}

static float *logits_of(gm_step *step, const void *rows, const gm_tensor *head, int64_t count) {
    float *logits = gm_step_scratch(step, (size_t)(count * head->rows) * sizeof *logits);
    step->backend->kernels->gemm(step->backend, &(gm_gemm){.out = logits,
                                                           .a = rows,
                                                           .b = head->data,
                                                           .m = count,
                                                           .n = head->rows,
                                                           .k = head->columns,
                                                           .type = step->type,
                                                           .narrow_b = gm_is_narrow(step, head),
                                                           .transpose_b = true});
    return logits;
}

void gm_cross_entropy_loss(gm_step *step, gm_tensor *x, const gm_tensor *head, const int32_t *row, const int32_t *target, int64_t count,
                           gm_loss_scale scale, double *loss) {
    const gm_kernels *kernels = step->backend->kernels;
    GM_CHECK(x->columns == head->columns && x->type == step->type, "hidden states and head do not fit");
    saved_loss saved = {.x = x, .row = row, .count = count};
    if (step->training) saved.dx = gm_step_memory(step, (size_t)(count * x->columns) * sizeof(float));
    int64_t most = chunk_rows(step, count, head->rows);
    for (int64_t begin = 0; begin < count; begin += most) {
        int64_t rows = count - begin < most ? count - begin : most;
        size_t mark = gm_step_mark(step);
        float *logits = logits_of(step, gather(step, x, row + begin, rows), head, rows);
        void *dlogits = NULL;
        if (step->training)
            dlogits = x->type == GM_F32 ? logits : gm_step_scratch(step, (size_t)(rows * head->rows) * gm_type_size(x->type));
        gm_cross_entropy_args args = {.logits = logits,
                                      .target = target + begin,
                                      .rows = rows,
                                      .vocabulary = head->rows,
                                      .loss = loss,
                                      .loss_scale = scale.value,
                                      .gradient_scale = scale.gradient,
                                      .dlogits = dlogits,
                                      .gradient_type = x->type};
        kernels->cross_entropy(step->backend, &args);
        if (step->training)
            kernels->gemm(step->backend, &(gm_gemm){.out = saved.dx + begin * x->columns,
                                                    .a = dlogits,
                                                    .b = head->data,
                                                    .m = rows,
                                                    .n = head->columns,
                                                    .k = head->rows,
                                                    .type = x->type,
                                                    .narrow_b = gm_is_narrow(step, head)});
        gm_step_unscratch(step, mark);
    }
    if (x->needs_grad) gm_step_record(step, loss_backward, &saved, sizeof saved, NULL, NULL);
}

void gm_score_rows(gm_step *step, const gm_tensor *x, const gm_tensor *head, const gm_score_request *request) {
    gm_backend *backend = step->backend;
    int64_t most = chunk_rows(step, request->rows, head->rows), done = 0;
    for (int64_t begin = 0; begin < request->rows; begin += most) {
        int64_t rows = request->rows - begin < most ? request->rows - begin : most, count = 0;
        while (done + count < request->count && request->which[done + count] < begin + rows) count++;
        size_t mark = gm_step_mark(step);
        int32_t *row = gm_step_scratch(step, (size_t)rows * sizeof *row), *which = gm_step_scratch(step, (size_t)count * sizeof *which);
        int32_t *token = gm_step_scratch(step, (size_t)count * sizeof *token);
        float *logit = gm_step_scratch(step, (size_t)count * sizeof *logit),
              *log_sum = gm_step_scratch(step, (size_t)rows * sizeof *log_sum);
        const float *logits;
        if (gm_backend_measures(backend)) { /* host data is not looked at: nothing is there to write to */
            logits_of(step, gather(step, x, row, rows), head, rows);
            gm_step_unscratch(step, mark);
            done += count;
            continue;
        }
        backend->write(backend, row, request->row + begin, (size_t)rows * sizeof *row);
        backend->write(backend, which, request->which + done, (size_t)count * sizeof *which);
        backend->write(backend, token, request->token + done, (size_t)count * sizeof *token);
        logits = logits_of(step, gather(step, x, row, rows), head, rows);
        gm_score_args args = {.logits = logits,
                              .rows = rows,
                              .vocabulary = head->rows,
                              .count = count,
                              .row = which,
                              .token = token,
                              .logit = logit,
                              .log_sum = log_sum,
                              .first_row = (int32_t)begin};
        backend->kernels->score(backend, &args);
        backend->read(backend, request->logit + done, logit, (size_t)count * sizeof *logit);
        backend->read(backend, request->log_sum + begin, log_sum, (size_t)rows * sizeof *log_sum);
        gm_step_unscratch(step, mark);
        done += count;
    }
}
