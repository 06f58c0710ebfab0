/* What a tokenizer consists of: filled by tokenizer_load.c, used by tokenizer.c. */
#ifndef GM_IO_TOKENIZER_PARTS_H
#define GM_IO_TOKENIZER_PARTS_H

#include "io/tokenizer/added_tokens.h"
#include "io/tokenizer/normalizer.h"
#include "io/tokenizer/pair_model.h"
#include "io/tokenizer/post_processor.h"
#include "io/tokenizer/pre_tokenizer.h"
#include "io/tokenizer/token_decoder.h"
#include "io/tokenizer/tokenizer.h"
#include "io/tokenizer/vocabulary.h"

struct gm_tokenizer {
    gm_region region; /* texts and tables of the parts */
    const char *file; /* for messages */
    gm_vocabulary vocabulary;
    gm_added_tokens added;
    gm_normalizer normalizer;
    gm_pre_tokenizer pre_tokenizer;
    size_t split_steps; /* of the pre-tokenizer: all, or all but a last one to bytes where the model takes bytes */
    gm_pair_model model;
    gm_post_processor post_processor;
    gm_token_decoder decoder;
    int32_t bos, eos;      /* -1: none */
    gm_encoder_pool *pool; /* the one thing that changes after open, under a lock of its own */
};

/* Reads tokenizer.json from `text`, whose name is `file`. */
gm_status gm_tokenizer_load(gm_tokenizer *tokenizer, const char *file, const gm_buffer *text);
/* Lays tokenizer_config.json over it; to be followed by gm_tokenizer_finish in any case. */
gm_status gm_tokenizer_overlay(gm_tokenizer *tokenizer, const char *file, const gm_buffer *text);
gm_status gm_tokenizer_finish(gm_tokenizer *tokenizer);

/* Appends the ids of normalised text without added tokens. */
gm_status gm_tokenizer_encode_words(const gm_tokenizer *t, gm_encoder *encoder, gm_slice text, size_t head, gm_ids *ids);

#endif
