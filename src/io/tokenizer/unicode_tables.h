/* Generated ranges of code points, sorted: what the `tokenizers` package holds to be a space, a digit and so on. */
#ifndef GM_IO_TOKENIZER_UNICODE_TABLES_H
#define GM_IO_TOKENIZER_UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

typedef struct gm_code_range {
    uint32_t first, last;
} gm_code_range;

typedef struct gm_added_range {
    uint32_t first, last;
    char category[3]; /* "Lu" … */
} gm_added_range;

typedef struct gm_lower_range {
    uint32_t first, last;
    int32_t difference; /* lower case = code + difference */
} gm_lower_range;

extern const gm_code_range gm_unicode_space[], gm_unicode_numeric[], gm_unicode_punctuation[], gm_unicode_word[], gm_unicode_mark[],
    gm_unicode_unnormalized[];
extern const size_t gm_unicode_space_count, gm_unicode_numeric_count, gm_unicode_punctuation_count, gm_unicode_word_count,
    gm_unicode_mark_count, gm_unicode_unnormalized_count;
extern const gm_added_range gm_unicode_added[];
extern const size_t gm_unicode_added_count;
extern const gm_lower_range gm_unicode_lower[];
extern const size_t gm_unicode_lower_count;

#endif
