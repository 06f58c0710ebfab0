/* One training or scoring sample: the ids of prompt + completion, or of a conversation (data/sample_chat.h). */
#ifndef GM_DATA_SAMPLE_H
#define GM_DATA_SAMPLE_H

#include "data/item.h"

typedef struct gm_tokenizer gm_tokenizer; /* io/tokenizer/tokenizer.h */
typedef struct gm_chat gm_chat;           /* data/chat.h */

typedef struct gm_sample_span {
    int32_t begin, end; /* ids[begin..end) */
} gm_sample_span;

typedef struct gm_sample {
    int32_t *ids;                /* length; in the caller's region */
    int32_t length;              /* EOS included */
    int32_t prompt_length;       /* ids[prompt_length..length) is the completion's part; 0 only where the prompt has no id at all */
    bool cut;                    /* the prompt lost ids from its left, or the conversation its oldest turns */
    bool unended;                /* no token of the chat template ends the last answer: EOS was put there */
    const gm_sample_span *spans; /* span_count, ascending: the ids that carry loss, if it is not the completion's part; in the region */
    int32_t span_count;          /* 0: ids[prompt_length..length) */
} gm_sample;

/* ids of the joined text with the template's special tokens (special tokens within the text are plain text; an
 * EOS that the template puts behind it is left out), then EOS if append_eos.
 * The prompt's part is the first len(ids(prompt)) of them, taken without the white space that ends the prompt. Over
 * max_length the prompt loses ids from its left, but for BOS; at least one id of it stays and the completion stays whole,
 * else GM_BAD_FILE, without file and line. */
gm_status gm_sample_encode(gm_sample *sample, const gm_tokenizer *tokenizer, const char *prompt, const char *completion, bool append_eos,
                           int64_t max_length, gm_region *region);

/* The item's prompt and completion, or its conversation, as trained. `chat` is looked at for conversations only. */
gm_status gm_sample_encode_item(gm_sample *sample, const gm_tokenizer *tokenizer, const gm_chat *chat, const gm_item *item, bool append_eos,
                                int64_t max_length, gm_region *region);

/* Every item as trained; samples[set->count]. On OpenMP's threads; what comes out does not depend on their number. Messages name
 * file and line. *cut: how many were cut. */
gm_status gm_sample_encode_set(gm_sample *samples, int64_t *cut, const gm_tokenizer *tokenizer, const gm_chat *chat, const gm_item_set *set,
                               bool append_eos, int64_t max_length, gm_region *region);

/* The stretch `index` of ids that carry loss, all but the first under loss_on_all; a sequence's first id never does, as
 * nothing comes before it. False behind the last. */
bool gm_sample_loss_span(const gm_sample *sample, bool loss_on_all, int32_t index, gm_sample_span *span);

bool gm_sample_learns(const gm_sample *sample, bool loss_on_all, int32_t place); /* whether ids[place] carries loss */

/* Goes on with a CRC-32 over one sample's ids and what of them carries loss: items alone do not say what a task file makes of them. */
uint32_t gm_sample_checksum(uint32_t checksum, const gm_sample *sample);

#endif
