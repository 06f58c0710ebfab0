/* A split as the trainer uses it: items and their tokens. */
#ifndef GM_TRAIN_DATASET_H
#define GM_TRAIN_DATASET_H

#include "data/sample.h"
#include "data/task.h"
#include "io/tokenizer/tokenizer.h"
#include "train/config.h"

typedef struct gm_dataset {
    gm_item_set items;
    gm_sample *samples; /* items.count; in `region` */
    gm_region region;
    int64_t cut;                       /* samples that lost their beginning   */
    int64_t tokens, loss_tokens;       /* of all samples                      */
    int64_t longest, most_loss_tokens; /* of one sample                    */
    bool loss_on_all, append_eos;
    uint32_t checksum; /* of the items and of their tokens */
} gm_dataset;          /* {0} is empty */

/* The training split, encoded; conversations by `chat`. */
gm_status gm_dataset_load(gm_dataset *dataset, const gm_task *task, const gm_tokenizer *tokenizer, const gm_chat *chat,
                          const gm_config *config, bool skip_bad);
void gm_dataset_free(gm_dataset *dataset);

bool gm_dataset_append_eos(const gm_task *task, const gm_config *config);
int64_t gm_sample_loss_tokens(const gm_sample *sample, bool loss_on_all);

/* Appends sample `index` decoded, what carries loss in ⟦ ⟧. */
gm_status gm_dataset_show(gm_buffer *out, const gm_dataset *dataset, const gm_tokenizer *tokenizer, size_t index);
/* Appends one line a token: place, id, text, whether it carries loss. */
gm_status gm_dataset_show_tokens(gm_buffer *out, const gm_dataset *dataset, const gm_tokenizer *tokenizer, size_t index);

#endif
