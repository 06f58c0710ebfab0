/* What one call needs of its own, lent from a pool of the tokenizer: texts, spans, the symbols of a word, a cache of words.
 * A pool rather than thread-local storage, so that closing the tokenizer frees all of it. */
#ifndef GM_IO_TOKENIZER_ENCODER_H
#define GM_IO_TOKENIZER_ENCODER_H

#include "io/tokenizer/regex.h"
#include "io/tokenizer/tokenizer.h"
#include "io/tokenizer/word_cache.h"

/* A part of a text. The package remembers where each character came from, and Metaspace puts its mark before parts that
 * came from the very beginning of the caller's text. All we need for that is how many bytes at the beginning of a text, its
 * head, came from the caller's first character: the pieces of "…" that NFKD made "..." are three such parts. */
typedef struct gm_span {
    size_t begin, end;
    size_t head; /* of its bytes */
} gm_span;

/* What is left of a head when the text goes on at `offset`. */
static inline size_t gm_head_after(size_t head, size_t offset) { return head > offset ? head - offset : 0; }

/* A text in parts; a step of the pre-tokenizer reads one and writes another. */
typedef struct gm_pieces {
    gm_buffer changed; /* the text, where a step has changed it */
    gm_slice text;     /* what the spans count in: `changed` or somebody else's */
    gm_span *spans;
    size_t count, capacity;
} gm_pieces;

typedef struct gm_symbol {
    int32_t id; /* -1: gone into the one before */
    uint32_t previous, next;
} gm_symbol;

typedef struct gm_merge_entry {
    uint64_t order; /* rank << 32 | position: the lowest is merged first, the leftmost of equal ones */
    int32_t id;     /* what the pair becomes */
} gm_merge_entry;

typedef struct gm_encoder {
    struct gm_encoder *next; /* in the pool */
    gm_buffer normal[2];     /* the normalizer's steps write one and read the other */
    gm_pieces pieces[2];
    gm_buffer word; /* a word or a character in the vocabulary's spelling */
    gm_symbol *symbols;
    size_t symbol_count, symbol_capacity;
    gm_merge_entry *queue; /* heap */
    size_t queue_count, queue_capacity;
    gm_regex_scratch *regex;
    gm_word_cache cache;
    size_t longest; /* that the file's rules may make the text at hand */
} gm_encoder;

/* Rules make a text longer: three bytes of a space, eighteen characters of one. A few lines of them could make gigabytes: more
 * than 64 times the text and a megabyte is GM_BAD_FILE. */
void gm_encoder_begin_text(gm_encoder *encoder, size_t length);
gm_status gm_encoder_check_length(const gm_encoder *encoder, size_t length);

typedef struct gm_encoder_pool gm_encoder_pool;

gm_encoder_pool *gm_encoder_pool_new(void);         /* NULL: out of memory */
void gm_encoder_pool_free(gm_encoder_pool *pool);   /* with all encoders; none may be lent. NULL is fine */
gm_encoder *gm_encoder_take(gm_encoder_pool *pool); /* any thread; NULL: out of memory */
void gm_encoder_give_back(gm_encoder_pool *pool, gm_encoder *encoder);

gm_status gm_pieces_add(gm_pieces *pieces, size_t begin, size_t end, size_t head); /* empty spans are dropped */
gm_status gm_ids_append(gm_ids *ids, const int32_t *more, size_t count);

#endif
