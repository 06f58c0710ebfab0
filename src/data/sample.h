/* One training or scoring sample: the ids of prompt + completion. */
#ifndef GM_DATA_SAMPLE_H
#define GM_DATA_SAMPLE_H

#include "data/item.h"

typedef struct gm_tokenizer gm_tokenizer; /* io/tokenizer/tokenizer.h */

typedef struct gm_sample {
    int32_t *ids;          /* length; in the caller's region */
    int32_t length;        /* EOS included */
    int32_t prompt_length; /* ids[prompt_length..length) is the completion's part; 0 only where the prompt has no id at all */
    bool cut;              /* the prompt lost ids from its left */
} gm_sample;

/* ids of the joined text with the template's special tokens (special tokens within the text are plain text; an
 * EOS that the template puts behind it is left out), then EOS if append_eos.
 * The prompt's part is the first len(ids(prompt)) of them, taken without the white space that ends the prompt. Over
 * max_length the prompt loses ids from its left, but for BOS; at least one id of it stays and the completion stays whole,
 * else GM_BAD_FILE, without file and line. */
gm_status gm_sample_encode(gm_sample *sample, const gm_tokenizer *tokenizer, const char *prompt, const char *completion, bool append_eos,
                           int64_t max_length, gm_region *region);

/* Every item's prompt and completion, as trained; samples[set->count]. Messages name file and line. *cut: how many were cut. */
gm_status gm_sample_encode_set(gm_sample *samples, int64_t *cut, const gm_tokenizer *tokenizer, const gm_item_set *set, bool append_eos,
                               int64_t max_length, gm_region *region);

/* Goes on with a CRC-32 over one sample's ids and its prompt's end: items alone do not say what a task file makes of them. */
uint32_t gm_sample_checksum(uint32_t checksum, const gm_sample *sample);

#endif
