#include "io/tokenizer/pair_model.h"

#include "io/tokenizer/byte_alphabet.h"

#include <stdlib.h>
#include <string.h>

static size_t pair_hash(int32_t left, int32_t right) {
    uint64_t both = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    both *= 0x9e3779b97f4a7c15u;
    return (size_t)(both >> 32 ^ both >> 12);
}

const gm_pair *gm_pair_find(const gm_pair_model *model, int32_t left, int32_t right) {
    for (size_t i = pair_hash(left, right) & (model->capacity - 1);; i = (i + 1) & (model->capacity - 1)) {
        const gm_pair *pair = &model->pairs[i];
        if (pair->left == left && pair->right == right) return pair;
        if (pair->left < 0) return NULL;
    }
}

/* A pair that is there twice keeps its last rank, as in the package. */
static void put_pair(gm_pair_model *model, gm_pair pair) {
    size_t i = pair_hash(pair.left, pair.right) & (model->capacity - 1);
    while (model->pairs[i].left >= 0 && (model->pairs[i].left != pair.left || model->pairs[i].right != pair.right))
        i = (i + 1) & (model->capacity - 1);
    model->pairs[i] = pair;
}

static gm_status load_vocabulary(gm_vocabulary *vocabulary, gm_json_reader *reader, gm_region *region) {
    bool more;
    GM_TRY(gm_json_open(reader, GM_JSON_OBJECT));
    for (;;) {
        GM_TRY(gm_json_next_member(reader, &more));
        if (!more) return GM_OK;
        int64_t id;
        gm_buffer token = reader->string; /* an integer leaves it alone */
        GM_TRY(gm_json_read_integer(reader, &id));
        gm_status status = gm_vocabulary_add_model(vocabulary, region, (gm_slice){gm_buffer_string(&token), token.length}, id);
        if (status != GM_OK) return gm_error_prefix(status, "%s: model: vocab", reader->source);
    }
}

/* "a b", or ["a", "b"]: both halves, copied to `text` one after the other. */
static gm_status read_merge(gm_json_reader *reader, gm_buffer *text, size_t *left) {
    gm_buffer_clear(text);
    if (gm_json_peek(reader) != GM_JSON_ARRAY) {
        GM_TRY(gm_json_read_string(reader));
        const char *bytes = gm_buffer_string(&reader->string), *end = bytes + reader->string.length;
        const char *space = memchr(bytes, ' ', reader->string.length);
        if (!space || memchr(space + 1, ' ', (size_t)(end - space - 1)))
            return gm_json_error(reader, "model: merges: \"%.*s\" should be two tokens with a space between",
                                 gm_utf8_shown(gm_slice_buffer(&reader->string)), bytes);
        *left = (size_t)(space - bytes);
        gm_buffer_append(text, bytes, *left);
        gm_buffer_append(text, space + 1, (size_t)(end - space - 1));
        return gm_buffer_status(text);
    }
    bool more;
    int count = 0;
    GM_TRY(gm_json_open(reader, GM_JSON_ARRAY));
    for (;;) {
        GM_TRY(gm_json_next(reader, &more));
        if (!more) break;
        GM_TRY(gm_json_read_string(reader));
        gm_buffer_append(text, gm_buffer_string(&reader->string), reader->string.length);
        if (++count == 1) *left = text->length;
    }
    if (count != 2) return gm_json_error(reader, "model: merges: %d tokens where a pair should be", count);
    return gm_buffer_status(text);
}

/* Turns one merge into a pair of ids: both halves and the two together must be tokens. */
static gm_status resolve_merge(const gm_pair_model *model, const gm_vocabulary *vocabulary, gm_json_reader *reader, gm_buffer *text,
                               size_t left, gm_pair *pair) {
    const char *bytes = gm_buffer_string(text);
    size_t right = text->length - left, prefix = model->prefix.length;
    pair->left = gm_vocabulary_model_id(vocabulary, (gm_slice){bytes, left});
    pair->right = gm_vocabulary_model_id(vocabulary, (gm_slice){bytes + left, right});
    const char *missing = pair->left < 0 ? "its first half" : pair->right < 0 ? "its second half" : NULL;
    if (!missing && right < prefix)
        return gm_json_error(reader, "model: merges: \"%.*s\" is shorter than continuing_subword_prefix", (int)right, bytes + left);
    if (!missing) { /* the second half's prefix is not there in the middle */
        memmove(text->bytes + left, text->bytes + left + prefix, right - prefix);
        pair->id = gm_vocabulary_model_id(vocabulary, (gm_slice){bytes, text->length - prefix});
        if (pair->id < 0) missing = "the two together";
    }
    if (!missing) return GM_OK;
    return gm_json_error(reader, "model: merges: merge %u \"%.*s\": %s is not in the vocabulary", pair->rank + 1,
                         gm_utf8_shown(gm_slice_buffer(text)), bytes, missing);
}

/* First counts, so that the table has its size from the beginning. */
static gm_status load_merges(gm_pair_model *model, const gm_vocabulary *vocabulary, gm_json_reader *reader) {
    gm_json_reader counter = *reader;
    counter.string = (gm_buffer){0};
    size_t count = 0;
    bool more;
    gm_status status = gm_json_open(&counter, GM_JSON_ARRAY);
    while (status == GM_OK && (status = gm_json_next(&counter, &more)) == GM_OK && more) {
        count++;
        status = gm_json_skip(&counter);
    }
    gm_json_reader_free(&counter);
    GM_TRY(status);
    for (model->capacity = 16; model->capacity < count + count / 2; model->capacity *= 2) continue;
    GM_ALLOC(model->pairs, model->capacity);
    for (size_t i = 0; i < model->capacity; i++) model->pairs[i].left = -1;

    gm_buffer text = {0};
    gm_pair pair = {0};
    size_t left = 0;
    GM_TRY(gm_json_open(reader, GM_JSON_ARRAY));
    for (;;) {
        GM_TRY_GOTO(gm_json_next(reader, &more));
        if (!more) break;
        bool is_header = gm_json_peek(reader) == GM_JSON_STRING && reader->end - reader->at > 9 && memcmp(reader->at, "\"#version", 9) == 0;
        if (is_header) { /* the first line of a merges.txt: no merge, and no rank */
            GM_TRY_GOTO(gm_json_skip(reader));
            continue;
        }
        GM_TRY_GOTO(read_merge(reader, &text, &left));
        GM_TRY_GOTO(resolve_merge(model, vocabulary, reader, &text, left, &pair));
        put_pair(model, pair);
        pair.rank++;
    }
done:
    gm_buffer_free(&text);
    return status;
}

static gm_status read_text(gm_slice *text, gm_json_reader *reader, gm_region *region) {
    if (gm_json_peek(reader) == GM_JSON_NULL) return gm_json_skip(reader);
    GM_TRY(gm_json_read_string(reader));
    *text = (gm_slice){gm_region_copy(region, gm_buffer_string(&reader->string), reader->string.length), reader->string.length};
    return text->bytes ? GM_OK : GM_NO_MEMORY;
}

static gm_status read_switch(bool *value, gm_json_reader *reader) {
    return gm_json_peek(reader) == GM_JSON_NULL ? gm_json_skip(reader) : gm_json_read_bool(reader, value);
}

static gm_status read_type(gm_json_reader *reader) {
    GM_TRY(gm_json_read_string(reader));
    if (gm_json_name_is(reader, "BPE")) return GM_OK;
    return gm_error(GM_BAD_FILE, "%s: model: a model of type \"%.*s\" is not supported; only BPE is", reader->source,
                    gm_utf8_shown(gm_slice_buffer(&reader->string)), gm_buffer_string(&reader->string));
}

static gm_status read_dropout(gm_json_reader *reader) {
    double rate = 0;
    if (gm_json_peek(reader) == GM_JSON_NULL) return gm_json_skip(reader);
    GM_TRY(gm_json_read_number(reader, &rate));
    if (rate == 0) return GM_OK;
    return gm_error(GM_BAD_FILE, "%s: model: \"dropout\" %g is not supported: ids would be random", reader->source, rate);
}

static gm_status unknown_name(const gm_json_reader *reader, const char *kind) {
    return gm_json_error(reader, "%s \"%.*s\" is not supported", kind, gm_utf8_shown(gm_slice_buffer(&reader->string)),
                         gm_buffer_string(&reader->string));
}

/* The options before the tables: merges need the vocabulary and the prefix, wherever the file has them. */
typedef struct gm_model_parts {
    gm_json_reader vocabulary, merges; /* standing at the value; `at` NULL where there is none */
} gm_model_parts;

static gm_status keep_place(gm_json_reader *place, gm_json_reader *reader) {
    *place = *reader;
    place->string = (gm_buffer){0};
    return gm_json_skip(reader);
}

static gm_status read_options(gm_pair_model *model, gm_json_reader *reader, gm_region *region, gm_model_parts *parts) {
    static const char *const names[] = {"type",
                                        "dropout",
                                        "unk_token",
                                        "continuing_subword_prefix",
                                        "end_of_word_suffix",
                                        "fuse_unk",
                                        "byte_fallback",
                                        "ignore_merges",
                                        "vocab",
                                        "merges",
                                        "cache_capacity"};
    enum { NAMES = sizeof names / sizeof *names };
    unsigned seen = 0;
    bool more;
    GM_TRY(gm_json_open(reader, GM_JSON_OBJECT));
    for (;;) {
        GM_TRY(gm_json_next_member(reader, &more));
        if (!more) return GM_OK;
        unsigned which = 0;
        while (which < NAMES && !gm_json_name_is(reader, names[which])) which++;
        if (which == NAMES) return unknown_name(reader, "model: the option");
        if (seen & 1u << which) return gm_json_error(reader, "model: \"%s\" is there twice", names[which]);
        seen |= 1u << which;
        switch (which) {
        case 0: GM_TRY(read_type(reader)); break;
        case 1: GM_TRY(read_dropout(reader)); break;
        case 2: GM_TRY(read_text(&model->unknown, reader, region)); break;
        case 3: GM_TRY(read_text(&model->prefix, reader, region)); break;
        case 4: GM_TRY(read_text(&model->suffix, reader, region)); break;
        case 5: GM_TRY(read_switch(&model->fuse_unknown, reader)); break;
        case 6: GM_TRY(read_switch(&model->byte_fallback, reader)); break;
        case 7: GM_TRY(read_switch(&model->ignore_merges, reader)); break;
        case 8: GM_TRY(keep_place(&parts->vocabulary, reader)); break;
        case 9: GM_TRY(keep_place(&parts->merges, reader)); break;
        default: GM_TRY(gm_json_skip(reader)); break; /* changes no id */
        }
    }
}

static bool begins_with_mark(gm_slice token) { return token.length >= 3 && memcmp(token.bytes, "▁", 3) == 0; }
static bool ends_with_mark(gm_slice token) { return token.length >= 3 && memcmp(token.bytes + token.length - 3, "▁", 3) == 0; }

/* Where no pair joins a token that ends otherwise with one that begins with ▁, nothing ever crosses that border and the
 * words on its sides can be worked out, and remembered, apart. The mark must be a token, or unknowns could fuse over it, and
 * no character may vanish, or the mark's neighbour would be another than it seems. */
static bool parts_at_mark(const gm_pair_model *model, const gm_vocabulary *vocabulary) {
    bool all_bytes = model->byte_fallback;
    for (int i = 0; i < 256; i++) all_bytes = all_bytes && model->fallback_ids[i] >= 0;
    if (!all_bytes && model->unknown_id < 0) return false;
    if (model->ignore_merges || model->prefix.length || model->suffix.length || gm_vocabulary_model_id(vocabulary, (gm_slice){"▁", 3}) < 0)
        return false;
    for (size_t i = 0; i < model->capacity; i++) {
        const gm_pair *pair = &model->pairs[i];
        if (pair->left >= 0 && begins_with_mark(vocabulary->tokens[pair->right]) && !ends_with_mark(vocabulary->tokens[pair->left]))
            return false;
    }
    return true;
}

static void find_single_ids(gm_pair_model *model, const gm_vocabulary *vocabulary) {
    for (int i = 0; i < 256; i++) {
        static const char hex[] = "0123456789ABCDEF";
        char character = (char)i, code[6] = {'<', '0', 'x', hex[i >> 4], hex[i & 15], '>'};
        model->fallback_ids[i] = gm_vocabulary_model_id(vocabulary, (gm_slice){code, sizeof code});
        model->byte_ids[i] = i < 0x80 ? gm_vocabulary_model_id(vocabulary, (gm_slice){&character, 1}) : -1;
    }
    model->unknown_id = model->unknown.bytes ? gm_vocabulary_model_id(vocabulary, model->unknown) : -1;
}

gm_status gm_pair_model_load(gm_pair_model *model, gm_vocabulary *vocabulary, gm_json_reader *reader, gm_region *region) {
    gm_model_parts parts = {0};
    model->file = gm_region_copy(region, reader->source, strlen(reader->source));
    if (!model->file) return GM_NO_MEMORY;
    GM_TRY(read_options(model, reader, region, &parts));
    if (!parts.vocabulary.at || !parts.merges.at)
        return gm_error(GM_BAD_FILE, "%s: model: \"%s\" is missing", reader->source, parts.vocabulary.at ? "merges" : "vocab");
    gm_status status = load_vocabulary(vocabulary, &parts.vocabulary, region);
    if (status == GM_OK) status = load_merges(model, vocabulary, &parts.merges);
    gm_json_reader_free(&parts.vocabulary);
    gm_json_reader_free(&parts.merges);
    GM_TRY(status);
    find_single_ids(model, vocabulary);
    model->parts_at_mark = parts_at_mark(model, vocabulary);
    return GM_OK;
}

void gm_pair_model_free(gm_pair_model *model) {
    free(model->pairs);
    model->pairs = NULL;
}

bool gm_pair_model_take_bytes(gm_pair_model *model, const gm_vocabulary *vocabulary) {
    if (model->byte_fallback || model->prefix.length || model->suffix.length) return false;
    for (int i = 0; i < 256; i++) {
        char character[4];
        size_t size = (size_t)gm_utf8_encode(character, gm_byte_alphabet_code((unsigned char)i));
        model->byte_ids[i] = gm_vocabulary_model_id(vocabulary, (gm_slice){character, size});
    }
    model->takes_bytes = true;
    return true;
}
