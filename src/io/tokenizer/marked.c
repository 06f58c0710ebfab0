/* Texts of which a part is somebody else's (a conversation's messages within their template), and where places of such a
 * text fall among its ids. The way is that of tokenizer.c; what is more is that places and marks have to be followed
 * through the normalizer, which is done by normalising what stands before each. */
#include "io/tokenizer/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

typedef struct gm_marked_job {
    const gm_tokenizer *tokenizer;
    gm_encoder *encoder;
    const unsigned char *marks;
    gm_place *places; /* those not set yet */
    size_t count;
    gm_ids *ids, probe;
    unsigned char *normal_marks; /* owned; of the stretch at hand */
    size_t normal_capacity;
    bool special_normalized; /* a special token is looked for in normalised text */
} gm_marked_job;

static void set_place(gm_marked_job *job, size_t id, bool within) {
    job->places->id = id;
    job->places->within = within;
    job->places++;
    job->count--;
}

/* The added token that the search just gave, the last of the ids. White space that it took is nobody's. */
static void pass_token(gm_marked_job *job, const gm_added_search *search) {
    while (job->count && job->places->byte < search->done) {
        bool behind = job->places->byte >= search->own_end;
        set_place(job, job->ids->count - !behind, !behind && job->places->byte > search->own_begin);
    }
}

/* ---- within a stretch: places count in the normalised text ------------------------------------------------------ */

static gm_status normal_length(gm_marked_job *job, gm_slice text, size_t head, size_t *length) {
    GM_TRY(gm_normalizer_apply(&job->tokenizer->normalizer, job->encoder, &text, &head));
    *length = text.length;
    return GM_OK;
}

/* The marks of the stretch's normalised text. */
static gm_status move_marks(gm_marked_job *job, gm_slice text, const unsigned char *marks, size_t head, size_t normal) {
    GM_GROW(job->normal_marks, job->normal_capacity, normal + 1);
    memset(job->normal_marks, 0, normal + 1);
    for (size_t begin = 0, from = 0, to; begin < text.length; from = to) {
        size_t end = begin;
        while (end < text.length && marks[end] == marks[begin]) end++;
        GM_TRY(normal_length(job, (gm_slice){text.bytes, end}, head, &to));
        if (to > normal) to = normal;
        if (to > from && marks[begin]) memset(job->normal_marks + from, 1, to - from);
        if (to < from) to = from;
        begin = end;
    }
    return GM_OK;
}

/* Goes along the ids from `first` on by the text of the probe's: true where that is the beginning of theirs, and then they are
 * set to where it ends. */
static bool follow_text(const gm_marked_job *job, size_t first, size_t *id, bool *within) {
    const gm_slice *tokens = job->tokenizer->vocabulary.tokens;
    size_t at = first, used = 0;
    for (size_t i = 0; i < job->probe.count; i++) {
        gm_slice token = tokens[job->probe.ids[i]];
        for (size_t byte = 0; byte < token.length; byte++) {
            while (at < job->ids->count && used == tokens[job->ids->ids[at]].length) {
                at++;
                used = 0;
            }
            if (at == job->ids->count || tokens[job->ids->ids[at]].bytes[used++] != token.bytes[byte]) return false;
        }
    }
    bool whole = at < job->ids->count && used == tokens[job->ids->ids[at]].length;
    *id = at + whole;
    *within = !whole && used > 0;
    return true;
}

/* Words whose ids begin at `first`; `offset`: where the text begins in the normalised stretch. A place falls where the text of
 * what stands before it ends; where an unknown character hides the text, where the ids of it are no longer the same. */
static gm_status place_in_words(gm_marked_job *job, gm_slice text, size_t offset, size_t head, size_t first, size_t pending) {
    for (size_t i = 0; i < pending; i++) {
        size_t before = job->places->byte - offset, same = 0, id;
        bool within;
        job->probe.count = 0;
        if (before) GM_TRY(gm_tokenizer_encode_words(job->tokenizer, job->encoder, (gm_slice){text.bytes, before}, head, &job->probe));
        if (follow_text(job, first, &id, &within)) {
            set_place(job, id, within);
            continue;
        }
        while (same < job->probe.count && first + same < job->ids->count && job->probe.ids[same] == job->ids->ids[first + same]) same++;
        set_place(job, first + same, same < job->probe.count);
    }
    return GM_OK;
}

/* How many of the places lie before `end`. */
static size_t pending_before(const gm_marked_job *job, size_t end) {
    size_t count = 0;
    while (count < job->count && job->places[count].byte < end) count++;
    return count;
}

static gm_status encode_normal(gm_marked_job *job, gm_slice text, size_t head, const unsigned char *marks) {
    const gm_tokenizer *t = job->tokenizer;
    gm_added_search search = gm_added_search_begin(&t->added, &t->added.normalized, text, false);
    search.marks = marks;
    const gm_added_token *token;
    gm_slice words;
    while (gm_added_search_next(&search, &words, &token)) {
        size_t first = job->ids->count;
        if (token) {
            GM_TRY(gm_ids_append(job->ids, &token->id, 1));
            pass_token(job, &search);
            continue;
        }
        size_t begin = (size_t)(words.bytes - text.bytes);
        GM_TRY(gm_tokenizer_encode_words(t, job->encoder, words, gm_head_after(head, begin), job->ids));
        GM_TRY(place_in_words(job, words, begin, gm_head_after(head, begin), first, pending_before(job, begin + words.length)));
    }
    return GM_OK;
}

/* A stretch of the raw text, from its byte `offset` on. Its places are moved to the normalised text, and stay there: they
 * are set when it is done. */
static gm_status encode_stretch(gm_marked_job *job, gm_slice text, size_t offset, size_t head) {
    size_t inside = pending_before(job, offset + text.length), normal;
    gm_place *places = job->places, *rest = places + inside;
    size_t after = job->count - inside;
    GM_TRY(normal_length(job, text, head, &normal));
    for (size_t i = 0; i < inside; i++) {
        size_t byte;
        GM_TRY(normal_length(job, (gm_slice){text.bytes, places[i].byte - offset}, head, &byte));
        places[i].byte = places[i].byte == offset ? 0 : byte < normal ? byte : normal; /* nothing has a mark before it */
    }
    if (job->special_normalized) GM_TRY(move_marks(job, text, job->marks + offset, head, normal));
    GM_TRY(gm_normalizer_apply(&job->tokenizer->normalizer, job->encoder, &text, &head));
    job->count = inside;
    GM_TRY(encode_normal(job, text, head, job->special_normalized ? job->normal_marks : NULL));
    while (job->count) set_place(job, job->ids->count, false); /* at the end of a text that became shorter */
    job->places = rest;
    job->count = after;
    return GM_OK;
}

static gm_status encode_raw(gm_marked_job *job, gm_slice text) {
    const gm_tokenizer *t = job->tokenizer;
    gm_added_search search = gm_added_search_begin(&t->added, &t->added.raw, text, false);
    search.marks = job->marks;
    const gm_added_token *token;
    gm_slice stretch;
    while (gm_added_search_next(&search, &stretch, &token)) {
        size_t at = token ? 0 : (size_t)(stretch.bytes - text.bytes);
        if (token) {
            GM_TRY(gm_ids_append(job->ids, &token->id, 1));
            pass_token(job, &search);
        } else {
            GM_TRY(encode_stretch(job, stretch, at, at == 0 ? gm_utf8_size(text.bytes[0]) : 0));
        }
    }
    while (job->count) set_place(job, job->ids->count, false);
    return GM_OK;
}

gm_status gm_tokenizer_encode_marked(const gm_tokenizer *tokenizer, const char *text, size_t length, const unsigned char *marks,
                                     gm_place *places, size_t count, gm_ids *ids) {
    ids->count = 0;
    size_t valid = gm_utf8_check(text, length);
    if (valid < length) return gm_error(GM_BAD_FILE, "the text is not UTF-8 at byte %zu (0x%02x)", valid, (unsigned char)text[valid]);
    if (length > INT32_MAX) return gm_error(GM_BAD_FILE, "a text of %zu bytes is too long; at most %d", length, INT32_MAX);
    gm_marked_job job = {.tokenizer = tokenizer, .marks = marks, .places = places, .count = count, .ids = ids};
    for (size_t i = 0; i < tokenizer->added.count; i++)
        job.special_normalized |= tokenizer->added.tokens[i].normalized && tokenizer->added.tokens[i].special;
    if ((job.encoder = gm_encoder_take(tokenizer->pool)) == NULL) return GM_NO_MEMORY;
    gm_status status = encode_raw(&job, (gm_slice){length ? text : "", length});
    gm_encoder_give_back(tokenizer->pool, job.encoder);
    gm_ids_free(&job.probe);
    free(job.normal_marks);
    if (status != GM_OK) ids->count = 0;
    return status;
}
