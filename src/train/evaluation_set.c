/* From items to sequences, queries and batches. */
#include "train/evaluation.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct gm_set_builder {
    gm_eval_set *set;
    const gm_item_set *items;
    const gm_tokenizer *tokenizer;
    gm_region scratch; /* the choices' samples under label scoring: only their common part stays */
    size_t sequence_capacity;
} gm_set_builder;

/* ---- queries and sequences -------------------------------------------------------------------------------------- */

static gm_status add_sequence(gm_set_builder *b, const gm_sample *sample, size_t item) {
    gm_eval_set *set = b->set;
    GM_GROW(set->sequences, b->sequence_capacity, set->sequence_count + 1);
    set->cut += sample->cut;
    set->sequences[set->sequence_count++] =
        (gm_eval_sequence){.sample = *sample, .item = (uint32_t)item, .first_query = (uint32_t)set->query_count};
    return GM_OK;
}

static gm_status add_query(gm_eval_set *set, int32_t row, int32_t token, int32_t choice) {
    GM_GROW(set->queries, set->query_capacity, set->query_count + 1);
    set->queries[set->query_count++] = (gm_eval_query){row, token, choice};
    set->sequences[set->sequence_count - 1].queries++;
    return GM_OK;
}

/* ---- label scoring ---------------------------------------------------------------------------------------------- */

static int32_t tail_length(const gm_sample *sample) { return sample->length - sample->prompt_length; }

/* Tokens after the prompt that all choices share; −1 where one choice is the beginning of all others. */
static int32_t common_tokens(const gm_sample *samples, int choices) {
    for (int32_t common = 0;; common++) {
        if (choices == 1 && common == 0 && tail_length(samples) > 0) return 0;
        for (int c = 0; c < choices; c++)
            if (tail_length(&samples[c]) <= common) return -1;
        int32_t token = samples[0].ids[samples[0].prompt_length + common];
        for (int c = 1; c < choices; c++)
            if (samples[c].ids[samples[c].prompt_length + common] != token) return common;
    }
}

/* Some choices' tokens at `common` are equal: they get one score, whatever the model. */
static bool has_ties(const gm_sample *samples, int choices, int32_t common) {
    for (int a = 0; a < choices; a++)
        for (int b = 0; b < a; b++)
            if (samples[a].ids[samples[a].prompt_length + common] == samples[b].ids[samples[b].prompt_length + common]) return true;
    return false;
}

static gm_status add_label_item(gm_set_builder *b, const gm_item *item, size_t index) {
    gm_eval_set *set = b->set;
    if (item->prompts)
        return gm_error(GM_BAD_FILE, "each choice has a prompt of its own: label scoring cannot compare them; use likelihood");
    gm_sample *samples = gm_region_alloc(&b->scratch, (size_t)item->choice_count, sizeof *samples);
    if (!samples) return GM_NO_MEMORY;
    for (int c = 0; c < item->choice_count; c++)
        GM_TRY(gm_sample_encode(&samples[c], b->tokenizer, item->prompt, item->choices[c], false, set->options.max_length, &b->scratch));
    int32_t common = common_tokens(samples, item->choice_count);
    if (common < 0)
        return gm_error(GM_BAD_FILE,
                        "the tokens of one choice are the beginning of the others': label scoring cannot tell them apart; use likelihood");
    set->tied += has_ties(samples, item->choice_count, common);
    gm_sample sequence = samples[0];
    for (int c = 1; c < item->choice_count; c++) sequence.cut |= samples[c].cut;
    sequence.length = sequence.prompt_length + common;
    if (sequence.length == 0) return gm_error(GM_BAD_FILE, "the prompt has no token: there is nothing that the first token could follow");
    sequence.ids = gm_region_alloc(&set->region, (size_t)sequence.length, sizeof *sequence.ids);
    if (!sequence.ids) return GM_NO_MEMORY;
    memcpy(sequence.ids, samples[0].ids, (size_t)sequence.length * sizeof *sequence.ids);
    GM_TRY(add_sequence(b, &sequence, index));
    for (int c = 0; c < item->choice_count; c++)
        GM_TRY(add_query(set, sequence.length - 1, samples[c].ids[samples[c].prompt_length + common], c));
    return GM_OK;
}

/* ---- likelihood scoring ----------------------------------------------------------------------------------------- */

static int32_t count_characters(const char *text) { /* code points, without one leading space */
    int32_t count = 0;
    if (*text == ' ') text++;
    for (; *text; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static gm_status add_likelihood_item(gm_set_builder *b, const gm_item *item, size_t index) {
    gm_eval_set *set = b->set;
    for (int c = 0; c < item->choice_count; c++) {
        const char *prompt = item->prompts ? item->prompts[c] : item->prompt;
        gm_sample sample;
        GM_TRY(gm_sample_encode(&sample, b->tokenizer, prompt, item->choices[c], false, set->options.max_length, &set->region));
        if (sample.prompt_length == 0)
            return gm_error(GM_BAD_FILE, "the prompt has no token: there is nothing that the first token could follow");
        if (tail_length(&sample) < 1) return gm_error(GM_BAD_FILE, "choice %d has no token", c);
        GM_TRY(add_sequence(b, &sample, index));
        for (int32_t p = sample.prompt_length; p < sample.length; p++) GM_TRY(add_query(set, p - 1, sample.ids[p], c));
        /* the last token is only a target: nothing needs its row */
        set->sequences[set->sequence_count - 1].sample.length--;
        set->items[index].characters[c] = count_characters(item->choices[c]);
    }
    return GM_OK;
}

/* ---- data without choices --------------------------------------------------------------------------------------- */

static gm_status add_loss_item(gm_set_builder *b, const gm_item *item) {
    gm_sample sample;
    const gm_eval_options *options = &b->set->options;
    GM_TRY(gm_sample_encode_item(&sample, b->tokenizer, options->chat, item, options->append_eos, options->max_length, &b->set->region));
    return add_sequence(b, &sample, 0);
}

static gm_status add_item(gm_set_builder *b, const gm_item *item, size_t index) {
    gm_eval_set *set = b->set;
    if (b->items->with_choices == 0) return add_loss_item(b, item);
    if (item->choice_count == 0) return GM_OK;
    gm_eval_item *result = &set->items[set->count];
    *result = (gm_eval_item){.index = (int64_t)index, .answer = item->answer, .choices = item->choice_count};
    GM_REGION_ALLOC(&set->region, result->scores, (size_t)item->choice_count);
    GM_REGION_ALLOC(&set->region, result->characters, (size_t)item->choice_count);
    gm_status status =
        set->options.scoring == GM_SCORING_LABEL ? add_label_item(b, item, set->count) : add_likelihood_item(b, item, set->count);
    if (status == GM_OK) set->count++;
    return status;
}

static gm_status add_items(gm_set_builder *b) {
    gm_status status = GM_OK;
    GM_REGION_ALLOC(&b->set->region, b->set->items, b->items->with_choices ? b->items->with_choices : 1);
    for (size_t i = 0; i < b->items->count && status == GM_OK; i++) {
        const gm_item *item = &b->items->items[i];
        status = add_item(b, item, i);
        if (status == GM_BAD_FILE) status = gm_error_prefix(status, "%s: line %lld", b->items->file, (long long)item->line);
        gm_region_free(&b->scratch);
    }
    return status;
}

/* ---- batches ---------------------------------------------------------------------------------------------------- */

typedef struct gm_batch_size {
    size_t tokens, sequences, rows, queries;
} gm_batch_size;

static void enlarge(gm_batch_size *largest, const gm_batch_size *size) {
    if (size->tokens > largest->tokens) largest->tokens = size->tokens;
    if (size->sequences > largest->sequences) largest->sequences = size->sequences;
    if (size->rows > largest->rows) largest->rows = size->rows;
    if (size->queries > largest->queries) largest->queries = size->queries;
}

static gm_status make_batches(gm_eval_set *set) {
    gm_batch_size size = {0}, largest = {0};
    GM_REGION_ALLOC(&set->region, set->batches, set->sequence_count + 1);
    for (size_t i = 0; i < set->sequence_count; i++) {
        const gm_eval_sequence *sequence = &set->sequences[i];
        size_t length = (size_t)sequence->sample.length;
        if (i == 0 || (int64_t)(size.tokens + length) > set->options.batch_tokens) {
            set->batches[set->batch_count++] = i;
            size = (gm_batch_size){0};
        }
        size.tokens += length;
        size.sequences++;
        size.queries += sequence->queries;
        size.rows += sequence->queries; /* at most */
        enlarge(&largest, &size);
    }
    set->batches[set->batch_count] = set->sequence_count;
    GM_TRY(gm_pack_reserve(&set->pack, largest.tokens, largest.sequences));
    GM_REGION_ALLOC(&set->region, set->row, largest.rows);
    GM_REGION_ALLOC(&set->region, set->log_sum, largest.rows);
    GM_REGION_ALLOC(&set->region, set->which, largest.queries);
    GM_REGION_ALLOC(&set->region, set->token, largest.queries);
    GM_REGION_ALLOC(&set->region, set->logit, largest.queries);
    return GM_OK;
}

/* The set up to the limit; it owns nothing. */
static gm_item_set first_items(const gm_item_set *items, int64_t limit) {
    gm_item_set first = *items;
    if (limit <= 0 || items->count <= (size_t)limit) return first;
    first.count = (size_t)limit;
    first.with_choices = 0;
    for (size_t i = 0; i < first.count; i++) first.with_choices += first.items[i].choice_count > 0;
    return first;
}

gm_status gm_eval_set_build(gm_eval_set *set, const gm_item_set *items, const char *task, const char *split, const gm_tokenizer *tokenizer,
                            const gm_eval_options *options) {
    gm_item_set first = first_items(items, options->limit);
    GM_CHECK(options->scoring != GM_SCORING_AUTO && strlen(split) < sizeof set->split, "scoring of split %s", split);
    *set = (gm_eval_set){.options = *options, .task = task, .total = first.count, .left_out = items->count - first.count};
    strcpy(set->split, split);
    strcpy(set->file, items->file);
    if (items->count == 0) return gm_error(GM_BAD_FILE, "%s: holds no item", items->file);
    gm_set_builder builder = {.set = set, .items = &first, .tokenizer = tokenizer};
    gm_status status = add_items(&builder);
    gm_region_free(&builder.scratch);
    GM_TRY(status);
    set->checksum = items->checksum;
    for (size_t i = 0; i < set->sequence_count; i++) set->checksum = gm_sample_checksum(set->checksum, &set->sequences[i].sample);
    return make_batches(set);
}

void gm_eval_set_warn(const gm_eval_set *set, const char *max_length_name, const char *scoring_name) {
    if (set->cut)
        gm_log(GM_LOG_WARN, "%s %s: %" PRId64 " samples are longer than %s and lost their beginning", set->task, set->split, set->cut,
               max_length_name);
    if (set->tied)
        gm_log(GM_LOG_WARN,
               "%s %s: in %" PRId64 " of %zu items some choices have the same token where label scoring compares them, and the first of "
               "these is taken; %s likelihood compares whole choices",
               set->task, set->split, set->tied, set->count, scoring_name);
}

void gm_eval_set_free(gm_eval_set *set) {
    free(set->sequences);
    free(set->queries);
    gm_pack_free(&set->pack);
    gm_region_free(&set->region);
    *set = (gm_eval_set){0};
}
