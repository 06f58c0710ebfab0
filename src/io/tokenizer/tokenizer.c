/* The way of a text: added tokens are cut out, what is left is normalised, added tokens are cut out of that, what is left
 * is split into words, and the model turns each word into ids; the template puts special tokens around them all. */
#include "io/tokenizer/tokenizer.h"

#include "base/file.h"
#include "io/tokenizer/tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_FILE = 64 << 20 /* twice the largest that is published */, LONGEST_TEXT = INT32_MAX };

/* The tokenizer.json that `path` means. */
static gm_status find_file(char file[GM_PATH], const char *path) {
    if (!gm_directory_exists(path))
        return snprintf(file, GM_PATH, "%s", path) < GM_PATH ? GM_OK : gm_error(GM_USAGE, "%s: the path is too long", path);
    GM_TRY(gm_path_join(file, path, "tokenizer.json"));
    if (gm_file_exists(file)) return GM_OK;
    GM_TRY(gm_path_join(file, path, "tokenizer.json.gz"));
    return gm_file_exists(file) ? GM_OK : gm_error(GM_BAD_FILE, "%s: has no tokenizer.json and no tokenizer.json.gz", path);
}

/* tokenizer_config.json in the same directory; false where there is none. */
static bool find_config(char config[GM_PATH], const char *file) {
    const char *slash = strrchr(file, '/'), *name = "tokenizer_config.json";
    int directory = slash ? (int)(slash - file + 1) : 0;
    return snprintf(config, GM_PATH, "%.*s%s", directory, file, name) < GM_PATH && gm_file_exists(config);
}

static gm_status open_parts(gm_tokenizer *tokenizer, const char *path, gm_buffer *text) {
    char file[GM_PATH], config[GM_PATH];
    GM_TRY(find_file(file, path));
    GM_TRY(gm_file_read(text, file, LARGEST_FILE, GM_USAGE));
    GM_TRY(gm_tokenizer_load(tokenizer, file, text));
    if (find_config(config, file)) {
        GM_TRY(gm_file_read(text, config, LARGEST_FILE, GM_BAD_FILE));
        GM_TRY(gm_tokenizer_overlay(tokenizer, config, text));
    }
    return gm_tokenizer_finish(tokenizer);
}

gm_status gm_tokenizer_open(gm_tokenizer **tokenizer, const char *path) {
    gm_buffer text = {0};
    *tokenizer = NULL;
    gm_tokenizer *made;
    GM_ALLOC(made, 1);
    gm_status status = open_parts(made, path, &text);
    gm_buffer_free(&text);
    if (status == GM_OK)
        *tokenizer = made;
    else
        gm_tokenizer_close(made);
    return status;
}

void gm_tokenizer_close(gm_tokenizer *tokenizer) {
    if (!tokenizer) return;
    gm_encoder_pool_free(tokenizer->pool);
    gm_vocabulary_free(&tokenizer->vocabulary);
    gm_added_tokens_free(&tokenizer->added);
    gm_normalizer_free(&tokenizer->normalizer);
    gm_pre_tokenizer_free(&tokenizer->pre_tokenizer);
    gm_pair_model_free(&tokenizer->model);
    gm_post_processor_free(&tokenizer->post_processor);
    gm_token_decoder_free(&tokenizer->decoder);
    gm_region_free(&tokenizer->region);
    free(tokenizer);
}

gm_status gm_tokenizer_encode_words(const gm_tokenizer *t, gm_encoder *encoder, gm_slice text, size_t head, gm_ids *ids) {
    gm_pieces *words;
    GM_TRY(gm_pre_tokenizer_apply(&t->pre_tokenizer, t->split_steps, encoder, text, head, &words));
    for (size_t i = 0; i < words->count; i++) {
        const gm_span *span = &words->spans[i];
        GM_TRY(gm_pair_model_encode(&t->model, &t->vocabulary, encoder,
                                    (gm_slice){words->text.bytes + span->begin, span->end - span->begin}, ids));
    }
    return GM_OK;
}

/* Raw text without the added tokens that are looked for in raw text. */
static gm_status encode_stretch(const gm_tokenizer *t, gm_encoder *encoder, gm_slice text, size_t head, bool plain, gm_ids *ids) {
    GM_TRY(gm_normalizer_apply(&t->normalizer, encoder, &text, &head));
    gm_added_search search = gm_added_search_begin(&t->added, &t->added.normalized, text, plain);
    const gm_added_token *token;
    gm_slice stretch;
    while (gm_added_search_next(&search, &stretch, &token)) {
        if (token)
            GM_TRY(gm_ids_append(ids, &token->id, 1));
        else
            GM_TRY(gm_tokenizer_encode_words(t, encoder, stretch, gm_head_after(head, (size_t)(stretch.bytes - text.bytes)), ids));
    }
    return GM_OK;
}

static gm_status encode_text(const gm_tokenizer *t, gm_encoder *encoder, gm_slice text, bool plain, gm_ids *ids) {
    gm_added_search search = gm_added_search_begin(&t->added, &t->added.raw, text, plain);
    const gm_added_token *token;
    gm_slice stretch;
    while (gm_added_search_next(&search, &stretch, &token)) {
        if (token)
            GM_TRY(gm_ids_append(ids, &token->id, 1));
        else
            GM_TRY(encode_stretch(t, encoder, stretch, stretch.bytes == text.bytes ? gm_utf8_size(text.bytes[0]) : 0, plain, ids));
    }
    return GM_OK;
}

/* The template may have the text more than once: later ones are copies. */
static gm_status encode_template(const gm_tokenizer *t, gm_encoder *encoder, gm_slice text, unsigned flags, gm_ids *ids) {
    size_t begin = 0, count = 0;
    bool done = false;
    for (size_t i = 0; i < t->post_processor.count; i++) {
        int32_t piece = t->post_processor.pieces[i];
        if (piece != GM_TEMPLATE_TEXT) {
            if (flags & GM_ENCODE_SPECIAL) GM_TRY(gm_ids_append(ids, &piece, 1));
        } else if (!done) {
            begin = ids->count;
            GM_TRY(encode_text(t, encoder, text, (flags & GM_ENCODE_PLAIN) != 0, ids));
            count = ids->count - begin;
            done = true;
        } else {
            for (size_t j = 0; j < count; j++) {
                int32_t id = ids->ids[begin + j];
                GM_TRY(gm_ids_append(ids, &id, 1));
            }
        }
    }
    return GM_OK;
}

gm_status gm_tokenizer_encode(const gm_tokenizer *tokenizer, const char *text, size_t length, unsigned flags, gm_ids *ids) {
    ids->count = 0;
    size_t valid = gm_utf8_check(text, length);
    if (valid < length) return gm_error(GM_BAD_FILE, "the text is not UTF-8 at byte %zu (0x%02x)", valid, (unsigned char)text[valid]);
    if (length > LONGEST_TEXT) return gm_error(GM_BAD_FILE, "a text of %zu bytes is too long; at most %d", length, LONGEST_TEXT);
    gm_encoder *encoder = gm_encoder_take(tokenizer->pool);
    if (!encoder) return GM_NO_MEMORY;
    gm_status status = encode_template(tokenizer, encoder, (gm_slice){length ? text : "", length}, flags, ids);
    gm_encoder_give_back(tokenizer->pool, encoder);
    if (status != GM_OK) ids->count = 0;
    return status;
}

static gm_status decode(const gm_tokenizer *t, gm_encoder *encoder, const int32_t *ids, size_t count, bool skip_special,
                        gm_token_list *tokens, gm_buffer *text) {
    for (size_t i = 0; i < count; i++) {
        if (!gm_vocabulary_has(&t->vocabulary, ids[i]))
            return gm_error(GM_BAD_FILE, "%s: there is no token with the id %d", t->file, ids[i]);
        const gm_added_token *added = skip_special ? gm_added_tokens_by_id(&t->added, ids[i]) : NULL;
        if (added && added->special) continue;
        gm_slice token = t->vocabulary.tokens[ids[i]];
        gm_buffer_append(&tokens->text, token.bytes, token.length);
        GM_TRY(gm_token_list_end(tokens));
    }
    return gm_token_decoder_apply(&t->decoder, encoder, tokens, text);
}

gm_status gm_tokenizer_decode(const gm_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special, gm_buffer *text) {
    gm_encoder *encoder = gm_encoder_take(tokenizer->pool);
    if (!encoder) return GM_NO_MEMORY;
    gm_token_list tokens = {0};
    gm_status status = decode(tokenizer, encoder, ids, count, skip_special, &tokens, text);
    gm_token_list_free(&tokens);
    gm_encoder_give_back(tokenizer->pool, encoder);
    return status;
}

int32_t gm_tokenizer_bos(const gm_tokenizer *tokenizer) { return tokenizer->bos; }
int32_t gm_tokenizer_eos(const gm_tokenizer *tokenizer) { return tokenizer->eos; }
bool gm_tokenizer_is_added(const gm_tokenizer *tokenizer, int32_t id) { return gm_added_tokens_by_id(&tokenizer->added, id) != NULL; }
int32_t gm_tokenizer_vocabulary(const gm_tokenizer *tokenizer) { return tokenizer->vocabulary.limit; }

const char *gm_tokenizer_token(const gm_tokenizer *tokenizer, int32_t id) {
    return gm_vocabulary_has(&tokenizer->vocabulary, id) ? tokenizer->vocabulary.tokens[id].bytes : NULL;
}

const char *gm_tokenizer_kind(const gm_tokenizer *tokenizer) {
    const gm_pre_tokenizer *pre = &tokenizer->pre_tokenizer;
    if (pre->count > 0 && pre->steps[pre->count - 1].kind == GM_PRE_BYTES) return "byte-level BPE";
    return tokenizer->model.byte_fallback ? "BPE with byte fallback" : "BPE";
}

void gm_ids_free(gm_ids *ids) {
    free(ids->ids);
    *ids = (gm_ids){0};
}
