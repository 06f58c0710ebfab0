#ifndef GM_DATA_SAMPLE_CHAT_H
#define GM_DATA_SAMPLE_CHAT_H

#include "data/chat.h"
#include "data/sample.h"

/* The conversation as `chat` renders it; special tokens count where the template writes them, within a message they are plain
 * text. Loss is on every answer that is to be learnt and on the special token that the template ends it with (or on what
 * the template itself marks with {% generation %}); where nothing ends the last one, append_eos puts EOS there.
 * Over max_length the oldest exchanges go, as few as will do; the system's message stays. An exchange that is too long by
 * itself loses ids from its left, but for BOS and the answer, else GM_BAD_FILE. Messages are without file and line. */
gm_status gm_sample_encode_chat(gm_sample *sample, const gm_tokenizer *tokenizer, const gm_chat *chat, const gm_conversation *conversation,
                                bool append_eos, int64_t max_length, gm_region *region);

#endif
