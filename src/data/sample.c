#include "data/sample.h"
#include "base/parallel.h"
#include "data/sample_chat.h"
#include "data/text.h"
#include "io/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { FLAGS = GM_ENCODE_SPECIAL | GM_ENCODE_PLAIN };

/* How many ids the template puts behind a text: an EOS (add_eos_token), which is this file's to add or to leave out.
 * Where BOS and EOS are one token, a single one stands in front. */
static gm_status template_suffix(size_t *suffix, const gm_tokenizer *tokenizer) {
    gm_ids specials = {0};
    int32_t eos = gm_tokenizer_eos(tokenizer), bos = gm_tokenizer_bos(tokenizer);
    gm_status status = gm_tokenizer_encode(tokenizer, "", 0, FLAGS, &specials);
    *suffix = eos >= 0 && specials.count > (bos == eos) && specials.ids[specials.count - 1] == eos;
    gm_ids_free(&specials);
    return status;
}

/* Encodes the joined texts and the prompt alone. */
static gm_status encode_both(gm_ids *whole, gm_ids *part, const gm_tokenizer *tokenizer, const char *prompt, const char *completion) {
    gm_buffer text = {0};
    size_t length = strlen(prompt), suffix = 0;
    gm_status status = template_suffix(&suffix, tokenizer);
    gm_buffer_append(&text, prompt, length);
    gm_buffer_text(&text, completion);
    if (status == GM_OK) status = gm_buffer_status(&text);
    if (status == GM_OK) status = gm_tokenizer_encode(tokenizer, gm_buffer_string(&text), text.length, FLAGS, whole);
    if (status == GM_OK) status = gm_tokenizer_encode(tokenizer, prompt, gm_text_rstrip(prompt, length), FLAGS, part);
    gm_buffer_free(&text);
    if (status != GM_OK) return status;
    whole->count -= suffix;
    part->count -= suffix;
    return GM_OK;
}

/* Drops `excess` ids behind the first `kept` ones. */
static void cut_left(gm_sample *sample, int32_t kept, int32_t excess) {
    sample->length -= excess;
    sample->prompt_length -= excess;
    sample->cut = true;
    memmove(sample->ids + kept, sample->ids + kept + excess, (size_t)(sample->length - kept) * sizeof *sample->ids);
}

gm_status gm_sample_encode(gm_sample *sample, const gm_tokenizer *tokenizer, const char *prompt, const char *completion, bool append_eos,
                           int64_t max_length, gm_region *region) {
    gm_ids whole = {0}, part = {0};
    gm_status status = GM_OK;
    int32_t eos = gm_tokenizer_eos(tokenizer);
    *sample = (gm_sample){0};
    GM_CHECK(max_length > 0, "max_length %lld", (long long)max_length);
    if (append_eos && eos < 0)
        return gm_error(GM_BAD_FILE, "the tokenizer has no EOS token to append; name eos_token in tokenizer_config.json "
                                     "or set append_eos to false");
    GM_TRY_GOTO(encode_both(&whole, &part, tokenizer, prompt, completion));
    if (whole.count >= INT32_MAX) GM_TRY_GOTO(gm_error(GM_BAD_FILE, "%zu tokens are too many", whole.count));
    sample->length = (int32_t)whole.count + append_eos;
    sample->prompt_length = part.count < whole.count ? (int32_t)part.count : (int32_t)whole.count;
    sample->ids = gm_region_alloc(region, (size_t)sample->length, sizeof *sample->ids);
    GM_TRY_GOTO(sample->ids ? GM_OK : GM_NO_MEMORY);
    if (whole.count) memcpy(sample->ids, whole.ids, whole.count * sizeof *whole.ids);
    if (append_eos) sample->ids[whole.count] = eos;

    int32_t completion_length = sample->length - sample->prompt_length, bos = gm_tokenizer_bos(tokenizer);
    bool has_bos = sample->prompt_length > 0 && bos >= 0 && sample->ids[0] == bos;
    if (completion_length == 0) GM_TRY_GOTO(gm_error(GM_BAD_FILE, "the completion \"%.100s\" adds no token to its prompt", completion));
    if (sample->length < 2) GM_TRY_GOTO(gm_error(GM_BAD_FILE, "a single token: there is nothing to predict it from"));
    if (sample->length > max_length) {
        if (completion_length >= max_length)
            GM_TRY_GOTO(gm_error(GM_BAD_FILE,
                                 "the completion takes %d tokens and max_length is "
                                 "%lld: raise train.max_length or shorten it",
                                 completion_length, (long long)max_length));
        cut_left(sample, has_bos, sample->length - (int32_t)max_length);
    }
done:
    gm_ids_free(&whole);
    gm_ids_free(&part);
    return status;
}

gm_status gm_sample_encode_item(gm_sample *sample, const gm_tokenizer *tokenizer, const gm_chat *chat, const gm_item *item, bool append_eos,
                                int64_t max_length, gm_region *region) {
    if (item->conversation) return gm_sample_encode_chat(sample, tokenizer, chat, item->conversation, append_eos, max_length, region);
    return gm_sample_encode(sample, tokenizer, item->prompt, item->completion, append_eos, max_length, region);
}

/* Samples of one set, encoded by several threads at once, each into a region of its own. */
typedef struct gm_set_encoder {
    gm_sample *samples;
    const gm_tokenizer *tokenizer;
    const gm_chat *chat;
    const gm_item_set *set;
    bool append_eos;
    int64_t max_length;
    gm_region *regions; /* gm_workers() */
} gm_set_encoder;

static gm_status encode_item(void *context, size_t worker, size_t index) {
    const gm_set_encoder *e = context;
    const gm_item *item = &e->set->items[index];
    gm_status status =
        gm_sample_encode_item(&e->samples[index], e->tokenizer, e->chat, item, e->append_eos, e->max_length, &e->regions[worker]);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "%s: line %lld", e->set->file, (long long)item->line);
}

gm_status gm_sample_encode_set(gm_sample *samples, int64_t *cut, const gm_tokenizer *tokenizer, const gm_chat *chat, const gm_item_set *set,
                               bool append_eos, int64_t max_length, gm_region *region) {
    gm_set_encoder encoder = {samples, tokenizer, chat, set, append_eos, max_length, NULL};
    size_t workers = gm_workers();
    GM_ALLOC(encoder.regions, workers);
    gm_status status = gm_parallel_for(set->count, encode_item, &encoder, NULL);
    for (size_t i = 0; i < workers; i++) gm_region_join(region, &encoder.regions[i]);
    free(encoder.regions);
    GM_TRY(status);
    *cut = 0;
    for (size_t i = 0; i < set->count; i++) *cut += samples[i].cut;
    return GM_OK;
}

bool gm_sample_loss_span(const gm_sample *sample, bool loss_on_all, int32_t index, gm_sample_span *span) {
    bool listed = !loss_on_all && sample->span_count > 0;
    if (index >= (listed ? sample->span_count : 1)) return false;
    *span = listed ? sample->spans[index] : (gm_sample_span){loss_on_all ? 0 : sample->prompt_length, sample->length};
    if (span->begin < 1) span->begin = 1;
    if (span->end < span->begin) span->end = span->begin;
    return true;
}

bool gm_sample_learns(const gm_sample *sample, bool loss_on_all, int32_t place) {
    gm_sample_span span;
    for (int32_t i = 0; gm_sample_loss_span(sample, loss_on_all, i, &span) && place >= span.begin; i++)
        if (place < span.end) return true;
    return false;
}

uint32_t gm_sample_checksum(uint32_t checksum, const gm_sample *sample) {
    uLong sum = crc32_z(checksum, (const Bytef *)&sample->length, sizeof sample->length);
    sum = crc32_z(sum, (const Bytef *)&sample->prompt_length, sizeof sample->prompt_length);
    if (sample->span_count) sum = crc32_z(sum, (const Bytef *)sample->spans, (size_t)sample->span_count * sizeof *sample->spans);
    return (uint32_t)crc32_z(sum, (const Bytef *)sample->ids, (size_t)sample->length * sizeof *sample->ids);
}
