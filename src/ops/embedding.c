/* Embedding: x_t = table[id_t]. x: T×D f32, the start of the residual stream. The table is frozen: nothing to record. */
#include "ops/ops.h"

gm_tensor *gm_embedding(gm_step *step, const gm_tensor *table, const int32_t *ids, int64_t tokens) {
    gm_tensor *x = gm_step_tensor(step, GM_F32, tokens, table->columns);
    gm_rows_args args = {
        .out = x->data, .in = table->data, .row = ids, .count = tokens, .columns = table->columns, .out_rows = tokens, .type = GM_F32};
    step->backend->kernels->embedding(step->backend, &args, table->type);
    return x;
}
