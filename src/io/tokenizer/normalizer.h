/* "normalizer" of tokenizer.json: steps that rewrite the text before it is split. */
#ifndef GM_IO_TOKENIZER_NORMALIZER_H
#define GM_IO_TOKENIZER_NORMALIZER_H

#include "io/tokenizer/encoder.h"
#include "io/tokenizer/pattern.h"

typedef enum gm_normalizer_kind {
    GM_NORMALIZE_FORM,
    GM_NORMALIZE_LOWER,
    GM_NORMALIZE_MARKS, /* takes combining marks out */
    GM_NORMALIZE_BYTES, /* each byte to its character of the byte-level alphabet */
    GM_NORMALIZE_STRIP,
    GM_NORMALIZE_PREPEND,
    GM_NORMALIZE_REPLACE
} gm_normalizer_kind;

typedef struct gm_normalizer_step {
    gm_normalizer_kind kind;
    gm_normal_form form;
    bool left, right;   /* strip */
    gm_pattern pattern; /* replace */
    gm_slice content;   /* replace, prepend: in the tokenizer's region */
} gm_normalizer_step;

typedef struct gm_normalizer {
    gm_normalizer_step *steps; /* nested sequences are flat here; in the tokenizer's region */
    size_t count;
} gm_normalizer; /* {0} leaves the text alone */

/* `object` is NULL or a JSON null where the file has none. Free even after a failure. */
gm_status gm_normalizer_load(gm_normalizer *normalizer, const char *file, const cJSON *object, gm_region *region);
void gm_normalizer_free(gm_normalizer *normalizer);

/* *text becomes the normal form: itself, or a text in the encoder until the next call; *head (see gm_span) goes with it. */
gm_status gm_normalizer_apply(const gm_normalizer *normalizer, gm_encoder *encoder, gm_slice *text, size_t *head);

#endif
