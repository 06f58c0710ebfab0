/* "pre_tokenizer" of tokenizer.json: steps that split a normalised text into words, and some that rewrite it. */
#ifndef GM_IO_TOKENIZER_PRE_TOKENIZER_H
#define GM_IO_TOKENIZER_PRE_TOKENIZER_H

#include "io/tokenizer/encoder.h"
#include "io/tokenizer/pattern.h"

/* What becomes of the matches that a text is split at. */
typedef enum gm_split_behavior {
    GM_SPLIT_REMOVED,
    GM_SPLIT_ISOLATED,
    GM_SPLIT_MERGED_WITH_PREVIOUS,
    GM_SPLIT_MERGED_WITH_NEXT,
    GM_SPLIT_CONTIGUOUS
} gm_split_behavior;

typedef enum gm_pre_tokenizer_kind {
    GM_PRE_SPLIT,      /* at a pattern                                            */
    GM_PRE_WHITESPACE, /* keep runs of word characters and runs of other visible  */
    GM_PRE_METASPACE,  /* spaces to a mark, one before the text, split at marks   */
    GM_PRE_SPACE,      /* a space before each part that begins with none          */
    GM_PRE_BYTES,      /* each byte to its character of the byte-level alphabet   */
} gm_pre_tokenizer_kind;

typedef enum gm_prepend_scheme { GM_PREPEND_FIRST, GM_PREPEND_NEVER, GM_PREPEND_ALWAYS } gm_prepend_scheme;

typedef struct gm_pre_tokenizer_step {
    gm_pre_tokenizer_kind kind;
    gm_pattern pattern; /* split; metaspace: its mark */
    gm_split_behavior behavior;
    bool invert;              /* split: what is between the matches is the match */
    gm_prepend_scheme scheme; /* metaspace */
    bool split;
} gm_pre_tokenizer_step;

typedef struct gm_pre_tokenizer {
    gm_pre_tokenizer_step *steps; /* nested sequences are flat here, ByteLevel is up to three; in the tokenizer's region */
    size_t count;
} gm_pre_tokenizer; /* {0} does not split */

/* As gm_normalizer_load. */
gm_status gm_pre_tokenizer_load(gm_pre_tokenizer *pre_tokenizer, const char *file, const cJSON *object, gm_region *region);
void gm_pre_tokenizer_free(gm_pre_tokenizer *pre_tokenizer);

/* Splits `text` by the first `steps` steps; *pieces stays in the encoder until the next call. */
gm_status gm_pre_tokenizer_apply(const gm_pre_tokenizer *pre_tokenizer, size_t steps, gm_encoder *encoder, gm_slice text, size_t head,
                                 gm_pieces **pieces);

#endif
