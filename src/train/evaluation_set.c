/* From items to sequences, queries and batches. */
#include "train/evaluation.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct gm_set_builder {
    gm_eval_set *set;
    const gm_item_set *items;
    const gm_shots *shots; /* NULL: none */
    const gm_tokenizer *tokenizer;
    gm_region scratch; /* of one item: prompts with their shots, the choices' samples */
    size_t sequence_capacity;
} gm_set_builder;

/* ---- queries and sequences -------------------------------------------------------------------------------------- */

/* Adds ids first … end of the sample as the item's next sequence, which comes after `prefix` tokens of its first. */
static gm_status add_sequence(gm_set_builder *b, const gm_sample *sample, int32_t first, int32_t end, int32_t prefix, size_t item) {
    gm_eval_set *set = b->set;
    gm_eval_sequence sequence = {.item = (uint32_t)item, .first_query = (uint32_t)set->query_count, .prefix = prefix};
    sequence.sample = (gm_sample){.length = end - first, .prompt_length = sample->prompt_length};
    GM_REGION_ALLOC(&set->region, sequence.sample.ids, (size_t)(end - first));
    memcpy(sequence.sample.ids, sample->ids + first, (size_t)(end - first) * sizeof *sample->ids);
    if (prefix + end - first > set->longest) set->longest = prefix + end - first;
    GM_GROW(set->sequences, b->sequence_capacity, set->sequence_count + 1);
    set->sequences[set->sequence_count++] = sequence;
    return GM_OK;
}

static gm_status add_query(gm_eval_set *set, int32_t row, int32_t token, int32_t choice) {
    GM_GROW(set->queries, set->query_capacity, set->query_count + 1);
    set->queries[set->query_count++] = (gm_eval_query){row, token, choice};
    set->sequences[set->sequence_count - 1].queries++;
    return GM_OK;
}

/* ---- an item's samples ------------------------------------------------------------------------------------------ */

/* The prompt behind the shots, in scratch memory. */
static gm_status prompt_with_shots(gm_set_builder *b, const char *prompt, size_t index, const char **result) {
    gm_buffer text = {0};
    *result = prompt;
    if (!b->shots) return GM_OK;
    gm_shots_write(&text, b->shots, index);
    gm_buffer_text(&text, prompt);
    gm_status status = gm_buffer_status(&text);
    if (status == GM_OK && !(*result = gm_region_copy(&b->scratch, gm_buffer_string(&text), text.length))) status = GM_NO_MEMORY;
    gm_buffer_free(&text);
    return status;
}

static gm_status keep_texts(gm_eval_set *set, int choice, const char *prompt, bool same, const char *text) {
    gm_eval_item *item = &set->items[set->count];
    if (!set->options.keep_texts) return GM_OK;
    item->prompts[choice] = same ? item->prompts[choice - 1] : gm_region_copy(&set->region, prompt, strlen(prompt));
    item->texts[choice] = gm_region_copy(&set->region, text, strlen(text));
    return item->prompts[choice] && item->texts[choice] ? GM_OK : GM_NO_MEMORY;
}

/* Each choice behind its prompt, in scratch memory. `index`: of the item in its split. */
static gm_status encode_choices(gm_set_builder *b, const gm_item *item, size_t index, gm_sample **samples) {
    gm_eval_set *set = b->set;
    const char *prompt = NULL;
    bool cut = false;
    GM_REGION_ALLOC(&b->scratch, *samples, (size_t)item->choice_count);
    for (int c = 0; c < item->choice_count; c++) {
        if (c == 0 || item->prompts) GM_TRY(prompt_with_shots(b, item->prompts ? item->prompts[c] : item->prompt, index, &prompt));
        GM_TRY(gm_sample_encode(&(*samples)[c], b->tokenizer, prompt, item->choices[c], false, set->options.max_length, &b->scratch));
        GM_TRY(keep_texts(set, c, prompt, c > 0 && !item->prompts, item->choices[c]));
        cut |= (*samples)[c].cut;
    }
    set->cut += cut;
    return GM_OK;
}

/* ---- label scoring ---------------------------------------------------------------------------------------------- */

static int32_t tail_length(const gm_sample *sample) { return sample->length - sample->prompt_length; }

/* Whether no choice changes the tokens of the prompt that it follows, as one does that makes a token with the prompt's end. Of
 * prompts that lost their beginning the same ends are compared, without BOS. */
static bool same_prompts(const gm_sample *samples, int choices) {
    for (int c = 1; c < choices; c++) {
        const gm_sample *a = &samples[0], *b = &samples[c];
        bool cut = a->cut || b->cut;
        int32_t length = (a->prompt_length < b->prompt_length ? a->prompt_length : b->prompt_length) - cut;
        if (!cut && a->prompt_length != b->prompt_length) return false;
        if (length > 0 &&
            memcmp(a->ids + a->prompt_length - length, b->ids + b->prompt_length - length, (size_t)length * sizeof *a->ids) != 0)
            return false;
    }
    return true;
}

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
    gm_sample *samples;
    GM_TRY(encode_choices(b, item, index, &samples));
    if (!same_prompts(samples, item->choice_count))
        return gm_error(GM_BAD_FILE,
                        "a choice and the prompt's end make a token that other choices do not make: label scoring cannot compare "
                        "them; use likelihood, or begin choices with a space");
    int32_t common = common_tokens(samples, item->choice_count);
    if (common < 0)
        return gm_error(GM_BAD_FILE,
                        "the tokens of one choice are the beginning of the others': label scoring cannot tell them apart; use likelihood");
    set->tied += has_ties(samples, item->choice_count, common);
    gm_sample sequence = samples[0];
    sequence.length = sequence.prompt_length + common;
    if (sequence.length == 0) return gm_error(GM_BAD_FILE, "the prompt has no token: there is nothing that the first token could follow");
    set->checksum = gm_sample_checksum(set->checksum, &sequence);
    GM_TRY(add_sequence(b, &sequence, 0, sequence.length, 0, set->count));
    for (int c = 0; c < item->choice_count; c++)
        GM_TRY(add_query(set, sequence.length - 1, samples[c].ids[samples[c].prompt_length + common], c));
    return GM_OK;
}

/* ---- likelihood scoring ----------------------------------------------------------------------------------------- */

static void measure_choice(gm_eval_item *item, int choice, const char *text) { /* without one leading space */
    if (*text == ' ') text++;
    for (; *text; text++) item->bytes[choice]++, item->characters[choice] += ((unsigned char)*text & 0xc0) != 0x80;
}

/* How many tokens all samples begin with. */
static int32_t shared_tokens(const gm_sample *samples, int choices) {
    int32_t shared = samples[0].length;
    for (int c = 1; c < choices; c++) {
        int32_t length = shared < samples[c].length ? shared : samples[c].length;
        for (shared = 0; shared < length && samples[c].ids[shared] == samples[0].ids[shared];) shared++;
    }
    return shared;
}

/* Queries of row `row` of the whole sequence where it is the choice's: it predicts the choice's next token. */
static gm_status ask(gm_eval_set *set, const gm_sample *sample, int32_t row, int32_t first, int choice) {
    bool asked = row >= sample->prompt_length - 1 && row < sample->length;
    return asked ? add_query(set, row - first, sample->ids[row + 1], choice) : GM_OK;
}

/* Two choices that are one: they get one score, whatever the model. */
static bool has_twins(const gm_sample *samples, int choices) {
    for (int a = 0; a < choices; a++)
        for (int b = 0; b < a; b++)
            if (samples[a].length == samples[b].length && samples[a].prompt_length == samples[b].prompt_length &&
                memcmp(samples[a].ids, samples[b].ids, (size_t)samples[a].length * sizeof *samples[a].ids) == 0)
                return true;
    return false;
}

static gm_status add_likelihood_item(gm_set_builder *b, const gm_item *item, size_t index) {
    gm_eval_set *set = b->set;
    gm_sample *samples;
    GM_TRY(encode_choices(b, item, index, &samples));
    set->tied += has_twins(samples, item->choice_count);
    for (int c = 0; c < item->choice_count; c++) {
        if (samples[c].prompt_length == 0)
            return gm_error(GM_BAD_FILE, "the prompt has no token: there is nothing that the first token could follow");
        if (tail_length(&samples[c]) < 1) return gm_error(GM_BAD_FILE, "choice %d has no token", c);
        samples[c].length--; /* the last token is only a target: nothing needs its row */
        set->checksum = gm_sample_checksum(set->checksum, &samples[c]);
        measure_choice(&set->items[set->count], c, item->choices[c]);
    }
    int32_t shared = shared_tokens(samples, item->choice_count);
    if (shared) GM_TRY(add_sequence(b, &samples[0], 0, shared, 0, set->count));
    for (int32_t row = 0; row < shared; row++)
        for (int c = 0; c < item->choice_count; c++) GM_TRY(ask(set, &samples[c], row, 0, c));
    for (int c = 0; c < item->choice_count; c++) {
        if (samples[c].length == shared) continue;
        GM_TRY(add_sequence(b, &samples[c], shared, samples[c].length, shared, set->count));
        for (int32_t row = shared; row < samples[c].length; row++) GM_TRY(ask(set, &samples[c], row, shared, c));
    }
    return GM_OK;
}

/* ---- data without choices --------------------------------------------------------------------------------------- */

/* A conversation's loss is on spans of it, which the last sequence takes over. */
static gm_status keep_spans(gm_eval_set *set, const gm_sample *sample) {
    gm_sample *kept = &set->sequences[set->sequence_count - 1].sample;
    gm_sample_span *spans;
    if (sample->span_count == 0) return GM_OK;
    GM_REGION_ALLOC(&set->region, spans, (size_t)sample->span_count);
    memcpy(spans, sample->spans, (size_t)sample->span_count * sizeof *spans);
    kept->spans = spans;
    kept->span_count = sample->span_count;
    return GM_OK;
}

static gm_status add_loss_item(gm_set_builder *b, const gm_item *item, size_t index) {
    gm_eval_set *set = b->set;
    gm_sample sample;
    const gm_eval_options *options = &set->options;
    gm_item shown = *item;
    if (item->conversation && b->shots) return gm_error(GM_BAD_FILE, "a conversation has no examples before it: shots are for prompts");
    if (!item->conversation) GM_TRY(prompt_with_shots(b, item->prompt, index, &shown.prompt));
    GM_TRY(gm_sample_encode_item(&sample, b->tokenizer, options->chat, &shown, options->append_eos, options->max_length, &b->scratch));
    set->cut += sample.cut;
    set->checksum = gm_sample_checksum(set->checksum, &sample);
    GM_TRY(add_sequence(b, &sample, 0, sample.length, 0, index));
    return keep_spans(set, &sample);
}

static gm_status add_item(gm_set_builder *b, const gm_item *item, size_t index) {
    gm_eval_set *set = b->set;
    if (b->items->with_choices == 0) return add_loss_item(b, item, index);
    if (item->choice_count == 0) return GM_OK;
    set->lone += item->choice_count == 1;
    gm_eval_item *result = &set->items[set->count];
    *result = (gm_eval_item){.index = (int64_t)index, .answer = item->answer, .choices = item->choice_count};
    GM_REGION_ALLOC(&set->region, result->scores, (size_t)item->choice_count);
    GM_REGION_ALLOC(&set->region, result->characters, (size_t)item->choice_count);
    GM_REGION_ALLOC(&set->region, result->bytes, (size_t)item->choice_count);
    if (set->options.keep_texts) {
        GM_REGION_ALLOC(&set->region, result->prompts, (size_t)item->choice_count);
        GM_REGION_ALLOC(&set->region, result->texts, (size_t)item->choice_count);
    }
    gm_status status = set->options.scoring == GM_SCORING_LABEL ? add_label_item(b, item, index) : add_likelihood_item(b, item, index);
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

/* The sequences of the item whose first one is `first`: up to which one, and what they take. */
static size_t measure_item(const gm_eval_set *set, size_t first, gm_batch_size *size) {
    size_t i = first;
    *size = (gm_batch_size){0};
    for (; i < set->sequence_count && set->sequences[i].item == set->sequences[first].item; i++) {
        size->tokens += (size_t)set->sequences[i].sample.length;
        size->sequences++;
        size->rows += set->sequences[i].queries; /* at most */
        size->queries += set->sequences[i].queries;
    }
    return i;
}

static gm_status make_batches(gm_eval_set *set) {
    gm_batch_size size = {0}, item, largest = {0};
    GM_REGION_ALLOC(&set->region, set->batches, set->sequence_count + 1);
    for (size_t i = 0, next; i < set->sequence_count; i = next) {
        next = measure_item(set, i, &item);
        if (i == 0 || (int64_t)(size.tokens + item.tokens) > set->options.batch_tokens) {
            set->batches[set->batch_count++] = i;
            size = (gm_batch_size){0};
        }
        size.tokens += item.tokens, size.sequences += item.sequences, size.rows += item.rows, size.queries += item.queries;
        set->tokens += (int64_t)item.tokens;
        enlarge(&largest, &size);
    }
    set->batches[set->batch_count] = set->sequence_count;
    GM_TRY(gm_pack_reserve(&set->pack, largest.tokens, largest.sequences));
    GM_REGION_ALLOC(&set->region, set->prefix, largest.sequences);
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

static gm_status build(gm_eval_set *set, const gm_item_set *items, const gm_shots *shots, const gm_eval_source *source,
                       const gm_tokenizer *tokenizer, const gm_eval_options *options) {
    const char *split = source->split;
    gm_item_set first = first_items(items, options->limit);
    GM_CHECK(options->scoring != GM_SCORING_AUTO && strlen(split) < sizeof set->split, "scoring of split %s", split);
    *set = (gm_eval_set){.options = *options,
                         .task = gm_task_name(source->task),
                         .total = first.count,
                         .left_out = items->count - first.count,
                         .checksum = items->checksum};
    strcpy(set->split, split);
    strcpy(set->file, items->file);
    if (items->count == 0) return gm_error(GM_BAD_FILE, "%s: holds no item", items->file);
    gm_set_builder builder = {.set = set, .items = &first, .shots = shots, .tokenizer = tokenizer};
    gm_status status = add_items(&builder);
    gm_region_free(&builder.scratch);
    GM_TRY(status);
    return make_batches(set);
}

gm_status gm_eval_set_load(gm_eval_set *set, const gm_eval_source *source, const gm_tokenizer *tokenizer, const gm_eval_options *options,
                           bool *unlabelled) {
    gm_item_set items = {0};
    gm_shots shots = {0};
    gm_status status = gm_task_load(source->task, source->data_dir, source->split, source->prompt, source->skip_bad, &items);
    *unlabelled = items.unlabelled;
    if (status == GM_OK && options->shots) {
        status = gm_shots_load(&shots, source->task, source->data_dir, source->prompt, source->skip_bad, options->shots, items.file);
        if (status == GM_USAGE || status == GM_BAD_FILE) status = gm_error_prefix(status, "%s", source->shots_name);
    }
    if (status == GM_OK) status = build(set, &items, options->shots ? &shots : NULL, source, tokenizer, options);
    gm_shots_free(&shots);
    gm_item_set_free(&items);
    return status;
}

void gm_eval_set_warn(const gm_eval_set *set, const char *max_length_name, const char *scoring_name) {
    if (set->cut)
        gm_log(GM_LOG_WARN, "%s %s: %" PRId64 " samples are longer than %s and lost their beginning%s", set->task, set->split, set->cut,
               max_length_name, set->options.shots ? ", the first shots" : "");
    if (set->tied && set->options.scoring == GM_SCORING_LABEL)
        gm_log(GM_LOG_WARN,
               "%s %s: in %" PRId64 " of %zu items some choices have the same token where label scoring compares them, and the first of "
               "these is taken; %s likelihood compares whole choices",
               set->task, set->split, set->tied, set->count, scoring_name);
    else if (set->tied)
        gm_log(GM_LOG_WARN, "%s %s: in %" PRId64 " of %zu items some choices are the same, and the first of these is taken", set->task,
               set->split, set->tied, set->count);
    if (set->lone)
        gm_log(GM_LOG_WARN, "%s %s: %" PRId64 " of %zu items have one choice, which is always right", set->task, set->split, set->lone,
               set->count);
}

void gm_eval_set_free(gm_eval_set *set) {
    free(set->sequences);
    free(set->queries);
    gm_pack_free(&set->pack);
    gm_region_free(&set->region);
    *set = (gm_eval_set){0};
}
