/* A pack (src/data) as what the model takes. */
#ifndef GM_TRAIN_BATCH_H
#define GM_TRAIN_BATCH_H

#include "data/packing.h"
#include "model/model.h"

/* Valid until the pack changes. */
static inline gm_batch gm_batch_of(const gm_pack *pack) {
    return (gm_batch){.tokens = pack->tokens,
                      .sequences = pack->sequences,
                      .ids = pack->ids,
                      .positions = pack->positions,
                      .starts = pack->starts,
                      .loss_rows = pack->loss_rows,
                      .loss_row = pack->loss_row,
                      .loss_target = pack->loss_target};
}

#endif
