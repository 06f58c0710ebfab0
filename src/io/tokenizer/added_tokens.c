#include "io/tokenizer/added_tokens.h"

#include "base/number.h"

#include <stdlib.h>
#include <string.h>

static gm_status read_flag(const char *file, const cJSON *object, const char *name, bool otherwise, bool *flag) {
    const cJSON *item = gm_json_member(object, name);
    *flag = otherwise;
    if (!item) return GM_OK;
    if (!cJSON_IsBool(item)) return gm_error(GM_BAD_FILE, "%s: added tokens: \"%s\" should be true or false", file, name);
    *flag = cJSON_IsTrue(item);
    return GM_OK;
}

/* The id is a member of the object in tokenizer.json and the object's name in added_tokens_decoder. */
static gm_status read_token(gm_added_token *token, int64_t *id, const char *file, const cJSON *object) {
    const cJSON *content = cJSON_IsObject(object) ? gm_json_member(object, "content") : NULL;
    if (!content || !cJSON_IsString(content))
        return gm_error(GM_BAD_FILE, "%s: added tokens: each should be an object with a \"content\"", file);
    *token = (gm_added_token){.text = {content->valuestring, strlen(content->valuestring)}};
    const cJSON *number = gm_json_member(object, "id");
    bool has_id = object->string ? gm_parse_integer(object->string, strlen(object->string), 0, GM_HIGHEST_ID, id)
                                 : number && gm_json_is_integer(number, id);
    if (!has_id)
        return gm_error(GM_BAD_FILE, "%s: added tokens: \"%.*s\" should have a whole number as its id", file, gm_utf8_shown(token->text),
                        token->text.bytes);
    GM_TRY(read_flag(file, object, "special", false, &token->special));
    GM_TRY(read_flag(file, object, "normalized", !token->special, &token->normalized));
    GM_TRY(read_flag(file, object, "single_word", false, &token->single_word));
    GM_TRY(read_flag(file, object, "lstrip", false, &token->left));
    return read_flag(file, object, "rstrip", false, &token->right);
}

static gm_status place_of(gm_added_tokens *added, int32_t id, int32_t **place) {
    size_t capacity = added->by_id_capacity;
    GM_GROW(added->by_id, added->by_id_capacity, (size_t)id + 1);
    memset(added->by_id + capacity, 0, (added->by_id_capacity - capacity) * sizeof *added->by_id);
    *place = &added->by_id[id];
    return GM_OK;
}

static gm_status add_token(gm_added_tokens *added, const char *file, gm_added_token token, int64_t id, gm_vocabulary *vocabulary,
                           gm_region *region) {
    int32_t known = gm_vocabulary_id(vocabulary, token.text), expected = known >= 0 ? known : added->next_id, *place;
    if (id != expected)
        return gm_error(GM_BAD_FILE, "%s: added tokens: \"%.*s\" has the id %lld there, but %d %s", file, gm_utf8_shown(token.text),
                        token.text.bytes, (long long)id, expected, known >= 0 ? "in the vocabulary" : "is the next free one");
    if (known < 0) {
        gm_status status = gm_vocabulary_add_added(vocabulary, region, token.text, id);
        if (status != GM_OK) return gm_error_prefix(status, "%s: added tokens", file);
    }
    token.id = expected;
    token.text = vocabulary->tokens[id];
    if (token.id >= added->next_id) added->next_id = token.id + 1;
    GM_TRY(place_of(added, token.id, &place));
    if (*place) {
        added->tokens[*place - 1] = token; /* the later flags hold */
        return GM_OK;
    }
    GM_GROW(added->tokens, added->capacity, added->count + 1);
    added->tokens[added->count++] = token;
    *place = (int32_t)added->count;
    return GM_OK;
}

typedef struct gm_listed_token {
    gm_added_token token;
    int64_t id;
} gm_listed_token;

static int by_id(const void *a, const void *b) {
    int64_t left = ((const gm_listed_token *)a)->id, right = ((const gm_listed_token *)b)->id;
    return (left > right) - (left < right);
}

gm_status gm_added_tokens_load(gm_added_tokens *added, const char *file, const cJSON *list, gm_vocabulary *vocabulary, gm_region *region) {
    bool is_object = cJSON_IsObject(list);
    gm_listed_token *listed;
    size_t count = 0;
    GM_ALLOC(listed, (size_t)cJSON_GetArraySize(list));
    const cJSON *object;
    gm_status status = GM_OK;
    cJSON_ArrayForEach(object, list) {
        GM_TRY_GOTO(read_token(&listed[count].token, &listed[count].id, file, object));
        if (listed[count].token.text.length > 0) count++; /* the package leaves an empty one out */
    }
    if (is_object && count > 1) qsort(listed, count, sizeof *listed, by_id); /* its keys are sorted as text */
    for (size_t i = 0; i < count; i++) GM_TRY_GOTO(add_token(added, file, listed[i].token, listed[i].id, vocabulary, region));
done:
    free(listed);
    return status;
}

static gm_status trie_node(gm_trie *trie, unsigned char byte, int32_t sibling, int32_t *node) {
    GM_GROW(trie->nodes, trie->capacity, trie->count + 1);
    *node = (int32_t)trie->count++;
    trie->nodes[*node] = (gm_trie_node){.child = -1, .sibling = sibling, .token = -1, .byte = byte};
    return GM_OK;
}

static int32_t trie_step(const gm_trie *trie, int32_t node, unsigned char byte) {
    int32_t child = trie->nodes[node].child;
    while (child >= 0 && trie->nodes[child].byte != byte) child = trie->nodes[child].sibling;
    return child;
}

/* Of two equal texts the first stays. */
static gm_status trie_add(gm_trie *trie, gm_slice text, int32_t token) {
    int32_t *root = &trie->roots[(unsigned char)text.bytes[0]], node, child;
    if (*root < 0) GM_TRY(trie_node(trie, (unsigned char)text.bytes[0], -1, root));
    node = *root;
    for (size_t i = 1; i < text.length; i++, node = child) {
        unsigned char byte = (unsigned char)text.bytes[i];
        child = trie_step(trie, node, byte);
        if (child >= 0) continue;
        GM_TRY(trie_node(trie, byte, trie->nodes[node].child, &child));
        trie->nodes[node].child = child;
    }
    if (trie->nodes[node].token < 0) trie->nodes[node].token = token;
    return GM_OK;
}

gm_status gm_added_tokens_finish(gm_added_tokens *added, const char *file, const gm_normalizer *normalizer, gm_encoder *encoder) {
    for (int i = 0; i < 256; i++) added->raw.roots[i] = added->normalized.roots[i] = -1;
    for (int special = 1; special >= 0; special--) { /* where two become equal, a special one goes first */
        for (size_t i = 0; i < added->count; i++) {
            const gm_added_token *token = &added->tokens[i];
            if (token->special != (special == 1)) continue;
            gm_slice text = token->text;
            size_t head = 0;
            gm_status status = token->normalized ? gm_normalizer_apply(normalizer, encoder, &text, &head) : GM_OK;
            if (status == GM_BAD_FILE) return gm_error_prefix(status, "%s", file);
            GM_TRY(status);
            if (text.length == 0)
                return gm_error(GM_BAD_FILE, "%s: added tokens: the normalizer leaves nothing of \"%.*s\"", file,
                                gm_utf8_shown(token->text), token->text.bytes);
            GM_TRY(trie_add(token->normalized ? &added->normalized : &added->raw, text, (int32_t)i));
        }
    }
    return GM_OK;
}

void gm_added_tokens_free(gm_added_tokens *added) {
    free(added->tokens);
    free(added->by_id);
    free(added->raw.nodes);
    free(added->normalized.nodes);
}

const gm_added_token *gm_added_tokens_by_id(const gm_added_tokens *added, int32_t id) {
    int32_t place = id >= 0 && (size_t)id < added->by_id_capacity ? added->by_id[id] : 0;
    return place ? &added->tokens[place - 1] : NULL;
}

gm_added_search gm_added_search_begin(const gm_added_tokens *added, const gm_trie *trie, gm_slice text, bool plain) {
    return (gm_added_search){.added = added, .trie = trie, .text = text, .plain = plain};
}

/* The leftmost token from search->from on, the longest of those that begin there. */
static bool next_match(gm_added_search *search, size_t *begin, size_t *end, const gm_added_token **token) {
    const gm_trie *trie = search->trie;
    const unsigned char *bytes = (const unsigned char *)search->text.bytes;
    for (size_t at = search->from; trie->count > 0 && at < search->text.length; at++) {
        int32_t node = trie->roots[bytes[at]], best = -1;
        for (size_t i = at; node >= 0; node = trie_step(trie, node, bytes[i])) {
            i++;
            if (trie->nodes[node].token >= 0) {
                best = trie->nodes[node].token;
                *end = i;
            }
            if (i == search->text.length) break;
        }
        if (best < 0) continue;
        *begin = at;
        *token = &search->added->tokens[best];
        search->from = *end;
        return true;
    }
    search->from = search->text.length;
    return false;
}

static bool word_before(gm_slice text, size_t at) {
    uint32_t code;
    if (at == 0) return false;
    size_t begin = at - 1;
    while ((text.bytes[begin] & 0xc0) == 0x80) begin--;
    gm_utf8_decode(text.bytes + begin, at - begin, &code);
    return gm_unicode_is_word(code);
}

static bool word_after(gm_slice text, size_t at) {
    uint32_t code;
    if (at == text.length) return false;
    gm_utf8_decode(text.bytes + at, text.length - at, &code);
    return gm_unicode_is_word(code);
}

static size_t spaces_before(gm_slice text, size_t at, size_t limit) {
    uint32_t code;
    while (at > limit) {
        size_t begin = at - 1;
        while ((text.bytes[begin] & 0xc0) == 0x80) begin--;
        gm_utf8_decode(text.bytes + begin, at - begin, &code);
        if (!gm_unicode_is_space(code)) break;
        at = begin;
    }
    return at;
}

static size_t spaces_after(gm_slice text, size_t at) {
    uint32_t code;
    while (at < text.length) {
        size_t size = (size_t)gm_utf8_decode(text.bytes + at, text.length - at, &code);
        if (!gm_unicode_is_space(code)) break;
        at += size;
    }
    return at;
}

/* What the normalizer may have put before the token's own text does not count. */
static bool touches_mark(const gm_added_search *search, const gm_added_token *token, size_t begin, size_t end) {
    size_t length = token->text.length < end - begin ? token->text.length : end - begin;
    return search->marks && memchr(search->marks + end - length, 1, length) != NULL;
}

bool gm_added_search_next(gm_added_search *search, gm_slice *stretch, const gm_added_token **token) {
    *token = search->found;
    if (*token) { /* the stretch before it went out last time */
        search->found = NULL;
        search->done = search->found_end;
        return true;
    }
    size_t begin, end;
    const gm_added_token *found;
    while (next_match(search, &begin, &end, &found)) {
        if (search->plain && found->special) continue;
        if (found->special && touches_mark(search, found, begin, end)) {
            search->from = begin + 1;
            continue;
        }
        if (found->single_word && (word_before(search->text, begin) || word_after(search->text, end))) continue;
        search->own_begin = begin;
        search->own_end = end;
        if (found->left) begin = search->done < begin ? spaces_before(search->text, begin, search->done) : search->done;
        search->found_end = found->right ? spaces_after(search->text, end) : end;
        if (begin >= search->found_end) { /* itself white space that the last token took: nothing is left of it */
            search->done = search->found_end;
            continue;
        }
        search->found = found;
        if (search->done >= begin) return gm_added_search_next(search, stretch, token);
        *stretch = (gm_slice){search->text.bytes + search->done, begin - search->done};
        return true;
    }
    *stretch = (gm_slice){search->text.bytes + search->done, search->text.length - search->done};
    search->done = search->text.length;
    return stretch->length > 0;
}
