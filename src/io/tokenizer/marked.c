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

/* An added token at [begin, end), the last of the ids. White space that it took belongs to nobody; its own text is a whole. */
static void pass_token(gm_marked_job *job, size_t begin, size_t end, const gm_added_token *token) {
    while (job->count && job->places->byte < end) {
        bool inside = job->places->byte > begin && !token->special;
        set_place(job, job->ids->count - (job->places->byte <= begin || inside), inside);
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

/* Words whose ids begin at `first`; `offset`: where the text begins in the normalised stretch. Where the ids of what stands
 * before a place are not the first of all ids, tokens go over it. */
static gm_status place_in_words(gm_marked_job *job, gm_slice text, size_t offset, size_t head, size_t first, size_t pending) {
    for (size_t i = 0; i < pending; i++) {
        size_t before = job->places->byte - offset, same = 0;
        job->probe.count = 0;
        if (before) GM_TRY(gm_tokenizer_encode_words(job->tokenizer, job->encoder, (gm_slice){text.bytes, before}, head, &job->probe));
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
    for (size_t at = 0; gm_added_search_next(&search, &words, &token);) {
        size_t first = job->ids->count;
        if (token) {
            GM_TRY(gm_ids_append(job->ids, &token->id, 1));
            pass_token(job, at, search.done, token);
            at = search.done;
            continue;
        }
        size_t begin = (size_t)(words.bytes - text.bytes);
        at = begin + words.length;
        GM_TRY(gm_tokenizer_encode_words(t, job->encoder, words, gm_head_after(head, begin), job->ids));
        GM_TRY(place_in_words(job, words, begin, gm_head_after(head, begin), first, pending_before(job, at)));
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
    for (size_t at = 0; gm_added_search_next(&search, &stretch, &token);) {
        if (token) {
            GM_TRY(gm_ids_append(job->ids, &token->id, 1));
            pass_token(job, at, search.done, token);
            at = search.done;
        } else {
            at = (size_t)(stretch.bytes - text.bytes);
            GM_TRY(encode_stretch(job, stretch, at, at == 0 ? gm_utf8_size(text.bytes[0]) : 0));
            at += stretch.length;
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
