/* The training splits of a run's tasks, as tokens: one task's samples behind the other's. */
#ifndef GM_TRAIN_DATASET_H
#define GM_TRAIN_DATASET_H

#include "data/sample.h"
#include "data/task.h"
#include "io/tokenizer/tokenizer.h"
#include "train/config.h"
#include "train/token_cache.h"

typedef struct gm_dataset_part { /* a task's */
    const char *task;            /* its name, the task's own */
    char file[GM_PATH];
    gm_sample *samples;   /* count; in `region`; NULL: in the cache */
    gm_token_cache cache; /* of a split over train.map_above_mb */
    size_t count;
    int64_t tokens;
    gm_region region;
    int64_t first_line; /* of `file`: the first sample's */
    uint32_t checksum;  /* of the items and of their tokens */
    bool append_eos;
    size_t conversations; /* of the samples */
    size_t unended;       /* of these: gm_sample.unended */
    const char *chat;     /* gm_chat_family_name of what rendered them */
} gm_dataset_part;

typedef struct gm_dataset {
    gm_dataset_part part[GM_TASKS];
    int parts;
    size_t count;                      /* samples of all parts             */
    int64_t cut;                       /* samples that lost their beginning */
    int64_t tokens, loss_tokens;       /* of all samples                   */
    int64_t longest, most_loss_tokens; /* of one sample                    */
    bool loss_on_all;
} gm_dataset; /* {0} is empty */

/* The training splits of `count` tasks, encoded, conversations by the chat template of config->base_model or the task's; the
 * tasks must outlive it. A file of more than config->train.map_above_mb is encoded a part at a time into config->train.token_cache, or,
 * where that is empty, into token-cache beside config->output_dir; that may take long, and a stop signal ends it with GM_INTERRUPTED. */
gm_status gm_dataset_load(gm_dataset *dataset, gm_task *const *tasks, int count, const gm_tokenizer *tokenizer, const gm_config *config,
                          bool skip_bad);
void gm_dataset_free(gm_dataset *dataset);

/* Sample `index` of all; its ids are the dataset's, and only to be read. */
gm_sample gm_dataset_sample(const gm_dataset *dataset, size_t index);
/* One of several tasks' checksums; a single one is itself. */
uint32_t gm_combine_checksums(const uint32_t *checksums, int count);
/* Of all parts' items and tokens. */
uint32_t gm_dataset_checksum(const gm_dataset *dataset);

bool gm_dataset_append_eos(const gm_task *task, const gm_config *config);
int64_t gm_sample_loss_tokens(const gm_sample *sample, bool loss_on_all);

/* Appends sample `index` decoded, what carries loss in ⟦ ⟧. */
gm_status gm_dataset_show(gm_buffer *out, const gm_dataset *dataset, const gm_tokenizer *tokenizer, size_t index);
/* Appends one line a token: place, id, text, whether it carries loss. */
gm_status gm_dataset_show_tokens(gm_buffer *out, const gm_dataset *dataset, const gm_tokenizer *tokenizer, size_t index);

#endif
