/* Merging one word: its symbols are a doubly linked list in an array, the pairs that have a rank wait in a heap. A merge
 * makes up to two new pairs, so that n symbols cost O(n log n); entries whose symbols have gone or changed since are
 * recognised when they come up and dropped. */
#include "io/tokenizer/byte_alphabet.h"
#include "io/tokenizer/pair_model.h"

#include <string.h>

enum { NOWHERE = -1 };
static const uint32_t no_symbol = UINT32_MAX;

static gm_status add_symbol(gm_encoder *e, int32_t id) {
    GM_GROW(e->symbols, e->symbol_capacity, e->symbol_count + 1);
    uint32_t at = (uint32_t)e->symbol_count++;
    e->symbols[at] = (gm_symbol){.id = id, .previous = at ? at - 1 : no_symbol, .next = at + 1};
    return GM_OK;
}

/* Unknown characters wait, so that neighbours can fuse. */
typedef struct gm_unknowns {
    bool waiting;
} gm_unknowns;

static gm_status flush_unknown(const gm_pair_model *model, gm_encoder *e, gm_unknowns *unknowns) {
    if (!unknowns->waiting) return GM_OK;
    unknowns->waiting = false;
    return add_symbol(e, model->unknown_id);
}

static gm_status add_unknown(const gm_pair_model *model, gm_encoder *e, gm_unknowns *unknowns) {
    if (!model->unknown.bytes) return GM_OK; /* the package drops what it has no token for */
    if (model->unknown_id < 0)
        return gm_error(GM_BAD_FILE, "%s: model: unk_token \"%s\" is needed and not in the vocabulary", model->file, model->unknown.bytes);
    if (!model->fuse_unknown) GM_TRY(flush_unknown(model, e, unknowns));
    unknowns->waiting = true;
    return GM_OK;
}

/* One character that is no token: its bytes where all of them are tokens, else an unknown. The package does not let
 * waiting unknowns go first when it falls back to bytes; neither do we. */
static gm_status add_fallback(const gm_pair_model *model, gm_encoder *e, gm_slice character, gm_unknowns *unknowns) {
    bool known = model->byte_fallback;
    for (size_t i = 0; i < character.length && known; i++) known = model->fallback_ids[(unsigned char)character.bytes[i]] >= 0;
    if (!known) return add_unknown(model, e, unknowns);
    for (size_t i = 0; i < character.length; i++) GM_TRY(add_symbol(e, model->fallback_ids[(unsigned char)character.bytes[i]]));
    return GM_OK;
}

static gm_status begin_with_bytes(const gm_pair_model *model, gm_encoder *e, gm_slice word, gm_unknowns *unknowns) {
    for (size_t i = 0; i < word.length; i++) {
        int32_t id = model->byte_ids[(unsigned char)word.bytes[i]];
        if (id < 0) {
            GM_TRY(add_unknown(model, e, unknowns));
        } else {
            GM_TRY(flush_unknown(model, e, unknowns));
            GM_TRY(add_symbol(e, id));
        }
    }
    return GM_OK;
}

static gm_status begin_with_characters(const gm_pair_model *model, const gm_vocabulary *vocabulary, gm_encoder *e, gm_slice word,
                                       gm_unknowns *unknowns) {
    for (size_t at = 0; at < word.length;) {
        size_t size = gm_utf8_size(word.bytes[at]);
        gm_slice character = {word.bytes + at, size};
        bool prefixed = at > 0 && model->prefix.length, suffixed = at + size == word.length && model->suffix.length;
        if (prefixed || suffixed) {
            gm_buffer_clear(&e->word);
            if (prefixed) gm_buffer_append(&e->word, model->prefix.bytes, model->prefix.length);
            gm_buffer_append(&e->word, character.bytes, character.length);
            if (suffixed) gm_buffer_append(&e->word, model->suffix.bytes, model->suffix.length);
            GM_TRY(gm_buffer_status(&e->word));
            character = (gm_slice){gm_buffer_string(&e->word), e->word.length};
        }
        int32_t id =
            character.length == 1 ? model->byte_ids[(unsigned char)character.bytes[0]] : gm_vocabulary_model_id(vocabulary, character);
        if (id < 0) {
            GM_TRY(add_fallback(model, e, character, unknowns));
        } else {
            GM_TRY(flush_unknown(model, e, unknowns));
            GM_TRY(add_symbol(e, id));
        }
        at += size;
    }
    return GM_OK;
}

static gm_status queue_push(gm_encoder *e, gm_merge_entry entry) {
    GM_GROW(e->queue, e->queue_capacity, e->queue_count + 1);
    size_t at = e->queue_count++;
    for (size_t parent; at > 0 && e->queue[parent = (at - 1) / 2].order > entry.order; at = parent) e->queue[at] = e->queue[parent];
    e->queue[at] = entry;
    return GM_OK;
}

static gm_merge_entry queue_pop(gm_encoder *e) {
    gm_merge_entry top = e->queue[0], last = e->queue[--e->queue_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < e->queue_count; at = child) {
        if (child + 1 < e->queue_count && e->queue[child + 1].order < e->queue[child].order) child++;
        if (e->queue[child].order >= last.order) break;
        e->queue[at] = e->queue[child];
    }
    if (e->queue_count > 0) e->queue[at] = last;
    return top;
}

static gm_status queue_pair(const gm_pair_model *model, gm_encoder *e, uint32_t left) {
    uint32_t right = e->symbols[left].next;
    const gm_pair *pair = gm_pair_find(model, e->symbols[left].id, e->symbols[right].id);
    return pair ? queue_push(e, (gm_merge_entry){.order = (uint64_t)pair->rank << 32 | left, .id = pair->id}) : GM_OK;
}

static gm_status merge_symbols(const gm_pair_model *model, gm_encoder *e) {
    size_t count = e->symbol_count;
    e->queue_count = 0;
    if (count > 0) e->symbols[count - 1].next = no_symbol;
    for (uint32_t i = 0; i + 1 < count; i++) GM_TRY(queue_pair(model, e, i));
    while (e->queue_count > 0) {
        gm_merge_entry top = queue_pop(e);
        gm_symbol *left = &e->symbols[(uint32_t)top.order];
        if (left->id < 0 || left->next == no_symbol) continue;
        gm_symbol *right = &e->symbols[left->next];
        const gm_pair *pair = gm_pair_find(model, left->id, right->id);
        if (!pair || pair->id != top.id) continue; /* one of the two has changed since */
        left->id = top.id;
        left->next = right->next;
        right->id = NOWHERE;
        if (left->next != no_symbol) e->symbols[left->next].previous = (uint32_t)top.order;
        if (left->previous != no_symbol) GM_TRY(queue_pair(model, e, left->previous));
        if (left->next != no_symbol) GM_TRY(queue_pair(model, e, (uint32_t)top.order));
    }
    return GM_OK;
}

/* The whole word as it stands in the vocabulary, where that goes before any merge. */
static gm_status find_whole(const gm_pair_model *model, const gm_vocabulary *vocabulary, gm_encoder *e, gm_slice word, int32_t *id) {
    if (model->takes_bytes) {
        gm_buffer_clear(&e->word);
        gm_byte_alphabet_append(&e->word, word);
        GM_TRY(gm_buffer_status(&e->word));
        word = (gm_slice){gm_buffer_string(&e->word), e->word.length};
    }
    *id = gm_vocabulary_model_id(vocabulary, word);
    return GM_OK;
}

static gm_status encode_word(const gm_pair_model *model, const gm_vocabulary *vocabulary, gm_encoder *e, gm_slice word, gm_ids *ids) {
    if (model->ignore_merges) {
        int32_t id;
        GM_TRY(find_whole(model, vocabulary, e, word, &id));
        if (id >= 0) return gm_ids_append(ids, &id, 1);
    }
    gm_unknowns unknowns = {false};
    e->symbol_count = 0;
    if (model->takes_bytes)
        GM_TRY(begin_with_bytes(model, e, word, &unknowns));
    else
        GM_TRY(begin_with_characters(model, vocabulary, e, word, &unknowns));
    GM_TRY(flush_unknown(model, e, &unknowns));
    GM_TRY(merge_symbols(model, e));
    for (size_t i = 0; i < e->symbol_count; i++)
        if (e->symbols[i].id >= 0) GM_TRY(gm_ids_append(ids, &e->symbols[i].id, 1));
    return GM_OK;
}

static gm_status encode_cached(const gm_pair_model *model, const gm_vocabulary *vocabulary, gm_encoder *e, gm_slice word, gm_ids *ids) {
    bool known;
    gm_cached_word *place = gm_word_cache_find(&e->cache, word, &known);
    if (known) return gm_ids_append(ids, place->ids, place->count);
    size_t before = ids->count;
    GM_TRY(encode_word(model, vocabulary, e, word, ids));
    size_t count = ids->count - before;
    gm_word_cache_put(place, word, count ? ids->ids + before : NULL, count);
    return GM_OK;
}

gm_status gm_pair_model_encode(const gm_pair_model *model, const gm_vocabulary *vocabulary, gm_encoder *e, gm_slice word, gm_ids *ids) {
    if (!model->parts_at_mark || model->takes_bytes) return encode_cached(model, vocabulary, e, word, ids);
    static const char mark[] = "▁";
    size_t begin = 0;
    bool after_mark = true; /* a part ends where a mark follows another character */
    for (size_t at = 0; at < word.length;) {
        bool is_mark = word.length - at >= 3 && memcmp(word.bytes + at, mark, 3) == 0;
        if (is_mark && !after_mark) {
            GM_TRY(encode_cached(model, vocabulary, e, (gm_slice){word.bytes + begin, at - begin}, ids));
            begin = at;
        }
        after_mark = is_mark;
        at += gm_utf8_size(word.bytes[at]);
    }
    return encode_cached(model, vocabulary, e, (gm_slice){word.bytes + begin, word.length - begin}, ids);
}
