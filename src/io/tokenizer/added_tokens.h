/* "added_tokens" of tokenizer.json and added_tokens_decoder of tokenizer_config.json: tokens that are cut out of the text
 * before anything else sees it: first those that are looked for in the text as it is, then, in what lies between,
 * those that are looked for in the normalised text. */
#ifndef GM_IO_TOKENIZER_ADDED_TOKENS_H
#define GM_IO_TOKENIZER_ADDED_TOKENS_H

#include "io/tokenizer/normalizer.h"
#include "io/tokenizer/vocabulary.h"

typedef struct gm_added_token {
    gm_slice text; /* in the vocabulary */
    int32_t id;
    bool single_word; /* only where no word character is beside it  */
    bool left, right; /* takes the white space on that side with it */
    bool normalized;  /* looked for in the normalised text          */
    bool special;     /* plain text under GM_ENCODE_PLAIN, left out by a decode that skips special tokens */
} gm_added_token;

/* A trie: children of a node are a list of siblings. */
typedef struct gm_trie_node {
    int32_t child, sibling; /* -1: none */
    int32_t token;          /* that ends here: index in the tokens, or -1 */
    unsigned char byte;
} gm_trie_node;

typedef struct gm_trie {
    gm_trie_node *nodes; /* owned */
    size_t count, capacity;
    int32_t roots[256]; /* node of each first byte, or -1 */
} gm_trie;

typedef struct gm_added_tokens {
    gm_added_token *tokens; /* owned */
    size_t count, capacity;
    int32_t *by_id; /* 1 + index in tokens, 0 for none, of the first ids; owned */
    size_t by_id_capacity;
    int32_t next_id; /* of a token that is new; at first the number of the model's tokens */
    gm_trie raw, normalized;
} gm_added_tokens;

/* Adds the tokens of an array of tokenizer.json, or of the object added_tokens_decoder ({"id": {…}}), which may also
 * change the flags of tokens that are there. A token that the vocabulary lacks gets the next free id, as in the package;
 * GM_BAD_FILE where the file says another. */
gm_status gm_added_tokens_load(gm_added_tokens *added, const char *file, const cJSON *list, gm_vocabulary *vocabulary, gm_region *region);
/* After the last load: makes the tries. */
gm_status gm_added_tokens_finish(gm_added_tokens *added, const char *file, const gm_normalizer *normalizer, gm_encoder *encoder);
void gm_added_tokens_free(gm_added_tokens *added);

const gm_added_token *gm_added_tokens_by_id(const gm_added_tokens *added, int32_t id); /* NULL: not one of them */

/* Goes through a text: *token is NULL for a stretch of plain text, and false is returned at the end. */
typedef struct gm_added_search {
    const gm_added_tokens *added;
    const gm_trie *trie;
    gm_slice text;
    bool plain;                  /* GM_ENCODE_PLAIN */
    const unsigned char *marks;  /* a byte of the text each: special tokens that touch a 1 are plain text; may be NULL */
    size_t from;                 /* where to look on */
    size_t done;                 /* where plain text begins that has not been handed out */
    const gm_added_token *found; /* comes after the stretch just handed out */
    size_t found_end;
    size_t own_begin, own_end; /* of the last token found, without the white space that it takes */
} gm_added_search;

gm_added_search gm_added_search_begin(const gm_added_tokens *added, const gm_trie *trie, gm_slice text, bool plain);
bool gm_added_search_next(gm_added_search *search, gm_slice *stretch, const gm_added_token **token);

#endif
