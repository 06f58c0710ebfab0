/* Micro-batches without padding: samples one behind the other, T tokens in all.
 * The row of token p predicts token p+1 of the same sequence. Its target carries loss if it is the completion's or the
 * assistant's, or always under loss_on "all"; a sequence's first token is nobody's target. */
#ifndef GM_DATA_PACKING_H
#define GM_DATA_PACKING_H

#include "data/sample.h"

typedef struct gm_pack {
    int32_t tokens, sequences, loss_rows;
    int32_t *ids;         /* tokens */
    int32_t *positions;   /* tokens: within the sequence, from 0 */
    int32_t *starts;      /* sequences + 1, cumulative: starts[0] = 0, starts[sequences] = tokens */
    int32_t *loss_row;    /* loss_rows, ascending: rows whose next token carries loss */
    int32_t *loss_target; /* loss_rows: that next token's id */
    size_t token_capacity, sequence_capacity;
} gm_pack; /* {0} is empty; the arrays are owned */

/* Room for so many; after it gm_pack_add does not allocate up to there. Planning calls it with the run's largest. */
gm_status gm_pack_reserve(gm_pack *pack, size_t tokens, size_t sequences);
void gm_pack_clear(gm_pack *pack); /* keeps the memory */
void gm_pack_free(gm_pack *pack);

/* Grows where the reserved room does not do. */
gm_status gm_pack_add(gm_pack *pack, const gm_sample *sample, bool loss_on_all);

/* True where the sample keeps the pack within micro_batch_tokens; an empty pack takes any sample. */
bool gm_pack_fits(const gm_pack *pack, const gm_sample *sample, int64_t micro_batch_tokens);

#endif
