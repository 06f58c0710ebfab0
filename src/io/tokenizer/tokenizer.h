/* Tokenizers from Hugging Face's tokenizer.json: text to ids and back, equal to the `tokenizers` package.
 *
 * Everything comes from the file, nothing from the model's name; a component or option that is not supported is
 * refused by name when the file is opened. Models: byte-pair encoding, on bytes (GPT-2, Llama 3, Qwen) or on characters
 * with byte fallback (Llama 2, Mistral, Gemma). */
#ifndef GM_IO_TOKENIZER_H
#define GM_IO_TOKENIZER_H

#include "base/buffer.h"

typedef struct gm_tokenizer gm_tokenizer; /* immutable after open: any number of threads may encode and decode with one */

typedef struct gm_ids {
    int32_t *ids; /* count, owned by the caller: gm_ids_free */
    size_t count, capacity;
} gm_ids; /* {0} is empty */

enum {
    GM_ENCODE_SPECIAL = 1, /* add the special tokens of the file's template (a leading BOS, say) */
    GM_ENCODE_PLAIN = 2,   /* special tokens that stand in the text are plain text: for fields of data sets */
};

/* Opens a model directory, a tokenizer.json or a tokenizer.json.gz; its "truncation" and "padding" are left alone. A
 * tokenizer_config.json beside it overlays add_bos_token, add_eos_token, bos_token, eos_token and added_tokens_decoder.
 * GM_USAGE where `path` does not exist, GM_BAD_FILE where its contents are not a supported tokenizer; *tokenizer is NULL
 * after a failure. */
gm_status gm_tokenizer_open(gm_tokenizer **tokenizer, const char *path);
void gm_tokenizer_close(gm_tokenizer *tokenizer); /* NULL is fine */

/* Replaces what `ids` holds by the ids of `text` (`length` bytes, NUL bytes included). `flags` are GM_ENCODE_* or 0.
 * GM_BAD_FILE names the first byte that is not UTF-8; `ids` is empty after a failure. */
gm_status gm_tokenizer_encode(const gm_tokenizer *tokenizer, const char *text, size_t length, unsigned flags, gm_ids *ids);

/* A place in a text and where it falls among the ids. */
typedef struct gm_place {
    size_t byte; /* at a character's begin, or the text's length; ascending */
    size_t id;   /* set: the first of the ids that takes something from there on */
    bool within; /* set: that one takes something from before it too */
} gm_place;

/* The same without the template's tokens, where special tokens are special in parts of the text: those that touch a byte whose
 * mark (`length` of them) is 1 are plain text. Sets `count` places. */
gm_status gm_tokenizer_encode_marked(const gm_tokenizer *tokenizer, const char *text, size_t length, const unsigned char *marks,
                                     gm_place *places, size_t count, gm_ids *ids);

/* Appends the text of `count` ids to `text`, without special tokens under `skip_special`. Bytes that make no character
 * become U+FFFD. GM_BAD_FILE names an id that the vocabulary lacks; `text` keeps its former contents then. */
gm_status gm_tokenizer_decode(const gm_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special, gm_buffer *text);

/* bos_token and eos_token of tokenizer_config.json; without them what the template puts first and last; -1 where there
 * is none. */
int32_t gm_tokenizer_bos(const gm_tokenizer *tokenizer);
int32_t gm_tokenizer_eos(const gm_tokenizer *tokenizer);

bool gm_tokenizer_is_added(const gm_tokenizer *tokenizer, int32_t id);     /* one of the added tokens, special or not */
int32_t gm_tokenizer_vocabulary(const gm_tokenizer *tokenizer);            /* highest id + 1 */
const char *gm_tokenizer_token(const gm_tokenizer *tokenizer, int32_t id); /* as it stands in the vocabulary; NULL if none */

const char *gm_tokenizer_kind(const gm_tokenizer *tokenizer); /* for people: "byte-level BPE" */

void gm_ids_free(gm_ids *ids);

#endif
