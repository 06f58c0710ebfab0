/* A conversation's sample: rendered, encoded with the template's special tokens alone, cut to its newest turns. */
#include "data/sample_chat.h"

#include "data/chat.h"
#include "io/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* A stretch of the text that is to be learnt has three places: its begin, where its message ends, and where the next message
 * begins; of one that the template marks, the last is its own end. */
enum { BEGIN, END, NEXT, PLACES };

typedef struct gm_chat_work {
    const gm_tokenizer *tokenizer;
    const gm_chat *chat;
    const gm_message *messages; /* count: those of the conversation that are in the text */
    size_t count;
    gm_message *kept; /* room for a cut conversation, owned as all below */
    gm_marked_text text;
    unsigned char *plain;
    gm_place *places;      /* PLACES a stretch */
    gm_sample_span *spans; /* one a stretch */
    size_t stretches, plain_capacity, place_capacity, span_capacity;
    bool generation; /* the template tells itself what is to be learnt */
    gm_ids ids;
    bool unended; /* of the sample */
} gm_chat_work;

static void free_work(gm_chat_work *work) {
    gm_marked_free(&work->text);
    gm_ids_free(&work->ids);
    free(work->kept);
    free(work->plain);
    free(work->places);
    free(work->spans);
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

static size_t place_of(gm_mark mark) { return mark & GM_MARK_PLACE; }

/* Where bytes of a message go on behind what the template put into it (a replaced line break, marks around a thought); `at`
 * where they do not. */
static size_t skip_inside(const gm_chat_work *work, size_t at, size_t place) {
    size_t next = at, length = work->text.text.length;
    while (next < length && place_of(work->text.marks[next]) == 0) next++;
    return next < length && place_of(work->text.marks[next]) == place ? next : at;
}

/* Where the stretch that begins here ends, and whether it is learnt: a message, or what the template marks. */
static size_t stretch_end(const gm_chat_work *work, size_t begin, bool *learnt) {
    const gm_mark *marks = work->text.marks;
    size_t end = begin, length = work->text.text.length, place = place_of(marks[begin]);
    if (!work->generation) {
        *learnt = place && work->messages[place - 1].learnt;
        while (end < length && place_of(marks[end]) == place)
            if (++end < length && place && place_of(marks[end]) == 0) end = skip_inside(work, end, place);
        return end;
    }
    *learnt = marks[begin] & GM_MARK_GENERATION;
    for (; end < length && (marks[end] & GM_MARK_GENERATION) == (marks[begin] & GM_MARK_GENERATION); end++)
        if (place_of(marks[end])) *learnt = *learnt && work->messages[place_of(marks[end]) - 1].learnt;
    return end;
}

static gm_status add_stretch(gm_chat_work *work, size_t begin, size_t end) {
    const gm_mark *marks = work->text.marks;
    size_t next = end;
    if (work->generation)
        while (end > begin && place_of(marks[end - 1]) == 0) end--;
    else
        while (next < work->text.text.length && place_of(marks[next]) == 0) next++;
    GM_GROW(work->places, work->place_capacity, (work->stretches + 1) * PLACES);
    gm_place *places = &work->places[work->stretches++ * PLACES];
    places[BEGIN] = (gm_place){.byte = begin};
    places[END] = (gm_place){.byte = end};
    places[NEXT] = (gm_place){.byte = next};
    return GM_OK;
}

/* Every learnt message must be there, if not as a whole: some templates drop what the assistant thought. */
static gm_status check_messages(const gm_chat_work *work) {
    size_t at = 0, length = work->text.text.length;
    for (size_t i = 0; i < work->count; i++) {
        if (!work->messages[i].learnt) continue;
        while (at < length && place_of(work->text.marks[at]) != i + 1) at++;
        if (at == length) return gm_error(GM_BAD_FILE, "message %zu: the chat template leaves it out", i + 1);
    }
    return GM_OK;
}

/* The text and its stretches; there may be none. */
static gm_status render(gm_chat_work *work) {
    gm_marked_clear(&work->text);
    work->stretches = 0;
    work->generation = false;
    GM_TRY(gm_chat_render(work->chat, work->messages, work->count, &work->text));
    GM_TRY(check_messages(work));
    size_t length = work->text.text.length;
    const gm_mark *marks = work->text.marks;
    GM_GROW(work->plain, work->plain_capacity, length + 1);
    for (size_t i = 0; i < length; i++) {
        work->plain[i] = place_of(marks[i]) != 0;
        work->generation = work->generation || (marks[i] & GM_MARK_GENERATION);
    }
    for (size_t begin = 0, end; begin < length; begin = end) {
        bool learnt;
        end = stretch_end(work, begin, &learnt);
        if (learnt) GM_TRY(add_stretch(work, begin, end));
    }
    return GM_OK;
}

/* ---- ids -------------------------------------------------------------------------------------------------------- */

static size_t id_behind(const gm_place *place) { return place->id + place->within; }

/* The special token that ends the assistant's turn: the first behind the message and before `limit`; where there is none, the
 * place behind it. */
static bool turn_end(const gm_chat_work *work, const gm_place *places, size_t limit, size_t *end) {
    *end = id_behind(&places[END]);
    for (size_t i = *end; i < limit; i++) {
        if (!gm_tokenizer_is_added(work->tokenizer, work->ids.ids[i])) continue;
        *end = i + 1;
        return true;
    }
    return false;
}

static gm_sample_span span_of(const gm_chat_work *work, const gm_place *places) {
    size_t end, next = id_behind(&places[NEXT]);
    turn_end(work, places, next, &end);
    return (gm_sample_span){(int32_t)places[BEGIN].id, (int32_t)(work->generation ? next : end)};
}

static gm_status put_in_front(gm_ids *ids, const int32_t *front, size_t count) {
    GM_GROW(ids->ids, ids->capacity, ids->count + count);
    memmove(ids->ids + count, ids->ids, ids->count * sizeof *ids->ids);
    memcpy(ids->ids, front, count * sizeof *ids->ids);
    ids->count += count;
    return GM_OK;
}

/* What the tokenizer's template puts before a text; an EOS behind it is append_end's. */
static gm_status insert_front(gm_chat_work *work) {
    gm_ids front = {0};
    int32_t bos = gm_tokenizer_bos(work->tokenizer), eos = gm_tokenizer_eos(work->tokenizer);
    gm_status status = gm_tokenizer_encode(work->tokenizer, "", 0, GM_ENCODE_SPECIAL, &front);
    size_t count = front.count, old = work->ids.count;
    if (eos >= 0 && count > (bos == eos) && front.ids[count - 1] == eos) count--;
    if (status == GM_OK && count) status = put_in_front(&work->ids, front.ids, count);
    for (size_t i = 0; work->ids.count > old && i < work->stretches * PLACES; i++) work->places[i].id += count;
    gm_ids_free(&front);
    return status;
}

/* A template that ends turns with a special token needs no EOS behind the last one; the token may stand behind what the template
 * marks. */
static gm_status append_end(gm_chat_work *work) {
    int32_t eos = gm_tokenizer_eos(work->tokenizer);
    gm_sample_span *last = &work->spans[work->stretches - 1];
    size_t end;
    if (!work->messages[work->count - 1].learnt) return GM_OK;
    if (turn_end(work, &work->places[(work->stretches - 1) * PLACES], work->ids.count, &end)) return GM_OK;
    if (eos < 0)
        return gm_error(GM_BAD_FILE, "nothing ends the assistant's last turn, and the tokenizer has no EOS token; name eos_token in "
                                     "tokenizer_config.json or set append_eos to false");
    GM_GROW(work->ids.ids, work->ids.capacity, work->ids.count + 1);
    work->ids.ids[work->ids.count++] = eos;
    work->unended = true;
    if (last->end == (int32_t)work->ids.count - 1)
        last->end++;
    else
        work->spans[work->stretches++] = (gm_sample_span){(int32_t)work->ids.count - 1, (int32_t)work->ids.count};
    return GM_OK;
}

/* What render left; at least one stretch. */
static gm_status encode_rendered(gm_chat_work *work, bool append_eos) {
    work->unended = false;
    GM_TRY(gm_tokenizer_encode_marked(work->tokenizer, gm_buffer_string(&work->text.text), work->text.text.length, work->plain,
                                      work->places, work->stretches * PLACES, &work->ids));
    if (gm_chat_wants_bos(work->chat)) GM_TRY(insert_front(work));
    if (work->ids.count >= INT32_MAX) return gm_error(GM_BAD_FILE, "%zu tokens are too many", work->ids.count);
    GM_GROW(work->spans, work->span_capacity, work->stretches + 1);
    for (size_t i = 0; i < work->stretches; i++) work->spans[i] = span_of(work, &work->places[i * PLACES]);
    return append_eos ? append_end(work) : GM_OK;
}

static gm_status encode(gm_chat_work *work, bool append_eos) {
    GM_TRY(render(work));
    if (work->stretches) return encode_rendered(work, append_eos);
    return gm_error(GM_BAD_FILE,
                    "nothing that the assistant is to learn is left within max_length, or in what the template marks as its own");
}

/* ---- too long --------------------------------------------------------------------------------------------------- */

/* Leaves out the first `dropped` exchanges; a message of the system stays. */
static void keep_newest(gm_chat_work *work, const gm_conversation *conversation, size_t dropped) {
    size_t system = conversation->count % 2, from = system + 2 * dropped;
    work->count = system + conversation->count - from;
    if (system) work->kept[0] = conversation->messages[0];
    memcpy(work->kept + system, conversation->messages + from, (conversation->count - from) * sizeof *work->kept);
    work->messages = work->kept;
}

static gm_status drop_exchanges(gm_chat_work *work, const gm_conversation *conversation, bool append_eos, int64_t max_length) {
    size_t few = 1, enough = conversation->count / 2 - 1; /* the newest exchange stays */
    if (enough == 0) return GM_OK;
    while (few < enough) {
        size_t half = few + (enough - few) / 2;
        keep_newest(work, conversation, half);
        GM_TRY(render(work));
        if (work->stretches) GM_TRY(encode_rendered(work, append_eos));
        /* where nothing is left to learn, too much is dropped: fewer may fit as well */
        if (!work->stretches || (int64_t)work->ids.count <= max_length)
            enough = half;
        else
            few = half + 1;
    }
    keep_newest(work, conversation, enough);
    return encode(work, append_eos);
}

/* What comes before the last answer loses ids from its left, but for BOS. */
static gm_status cut_left(gm_chat_work *work, int64_t max_length) {
    size_t excess = work->ids.count - (size_t)max_length, first = (size_t)work->spans[0].begin;
    size_t kept = work->ids.ids[0] == gm_tokenizer_bos(work->tokenizer);
    if (first < excess + 1)
        return gm_error(GM_BAD_FILE, "the last answer takes %zu tokens and max_length is %lld: raise train.max_length or shorten it",
                        work->ids.count - first, (long long)max_length);
    work->ids.count -= excess;
    memmove(work->ids.ids + kept, work->ids.ids + kept + excess, (work->ids.count - kept) * sizeof *work->ids.ids);
    for (size_t i = 0; i < work->stretches; i++) {
        work->spans[i].begin -= (int32_t)excess;
        work->spans[i].end -= (int32_t)excess;
    }
    return GM_OK;
}

/* ---- the sample ------------------------------------------------------------------------------------------------- */

static gm_status store(gm_sample *sample, const gm_chat_work *work, gm_region *region) {
    gm_sample_span *spans;
    sample->length = (int32_t)work->ids.count;
    sample->prompt_length = work->spans[0].begin;
    sample->span_count = (int32_t)work->stretches;
    sample->unended = work->unended;
    GM_REGION_ALLOC(region, sample->ids, work->ids.count);
    GM_REGION_ALLOC(region, spans, work->stretches);
    memcpy(sample->ids, work->ids.ids, work->ids.count * sizeof *sample->ids);
    memcpy(spans, work->spans, work->stretches * sizeof *spans);
    sample->spans = spans;
    return GM_OK;
}

gm_status gm_sample_encode_chat(gm_sample *sample, const gm_tokenizer *tokenizer, const gm_chat *chat, const gm_conversation *conversation,
                                bool append_eos, int64_t max_length, gm_region *region) {
    gm_chat_work work = {.tokenizer = tokenizer, .chat = chat, .messages = conversation->messages, .count = conversation->count};
    *sample = (gm_sample){0};
    GM_CHECK(max_length > 0, "max_length %lld", (long long)max_length);
    gm_status status = encode(&work, append_eos);
    sample->cut = status == GM_OK && (int64_t)work.ids.count > max_length;
    if (sample->cut) {
        work.kept = gm_alloc(conversation->count, sizeof *work.kept);
        status = work.kept ? drop_exchanges(&work, conversation, append_eos, max_length) : GM_NO_MEMORY;
        if (status == GM_OK && (int64_t)work.ids.count > max_length) status = cut_left(&work, max_length);
    }
    if (status == GM_OK) status = store(sample, &work, region);
    free_work(&work);
    return status;
}
