#include "train/dataset.h"

#include "base/hash.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

bool gm_dataset_append_eos(const gm_task *task, const gm_config *config) {
    return config->train.append_eos < 0 ? gm_task_append_eos(task) : config->train.append_eos == 1;
}

int64_t gm_sample_loss_tokens(const gm_sample *sample, bool loss_on_all) {
    gm_sample_span span;
    int64_t count = 0;
    for (int32_t i = 0; gm_sample_loss_span(sample, loss_on_all, i, &span); i++) count += span.end - span.begin;
    return count;
}

static gm_status count_samples(gm_dataset *dataset, gm_dataset_part *part, const gm_item_set *items) {
    part->checksum = items->checksum;
    for (size_t i = 0; i < part->count; i++) {
        const gm_sample *sample = &part->samples[i];
        int64_t loss_tokens = gm_sample_loss_tokens(sample, dataset->loss_on_all);
        if (loss_tokens == 0)
            return gm_error(GM_BAD_FILE, "%s: line %lld: no token of this sample carries loss", part->file,
                            (long long)items->items[i].line);
        part->tokens += sample->length;
        dataset->loss_tokens += loss_tokens;
        if (sample->length > dataset->longest) dataset->longest = sample->length;
        if (loss_tokens > dataset->most_loss_tokens) dataset->most_loss_tokens = loss_tokens;
        part->checksum = gm_sample_checksum(part->checksum, sample);
    }
    dataset->count += part->count;
    dataset->tokens += part->tokens;
    return GM_OK;
}

/* To the letter: a space before it makes another completion, of other tokens. */
static void warn_of_wrong(const gm_item_set *items) {
    if (items->wrong == 0) return;
    gm_log(GM_LOG_WARN,
           "%s: %lld of %zu lines have a completion that is not their right choice (%lld of them none of the choices, spaces count; the "
           "first: line %lld): training teaches the completion, evaluation counts the choice",
           items->file, (long long)items->wrong, items->count, (long long)items->strange, (long long)items->first_wrong);
}

static gm_status encode(gm_dataset *dataset, gm_dataset_part *part, const gm_item_set *items, const gm_tokenizer *tokenizer,
                        const gm_chat *chat, int64_t max_length) {
    int64_t cut = 0;
    if (items->count == 0) return gm_error(GM_BAD_FILE, "%s: holds no sample", items->file);
    if (dataset->count + items->count > UINT32_MAX) return gm_error(GM_BAD_FILE, "%s: makes more than %u samples", items->file, UINT32_MAX);
    strcpy(part->file, items->file);
    part->count = items->count;
    part->conversations = items->conversations;
    part->chat = gm_chat_family_name(chat);
    part->first_line = items->items[0].line;
    GM_REGION_ALLOC(&part->region, part->samples, part->count);
    GM_TRY(gm_sample_encode_set(part->samples, &cut, tokenizer, chat, items, part->append_eos, max_length, &part->region));
    dataset->cut += cut;
    return count_samples(dataset, part, items);
}

gm_status gm_dataset_load(gm_dataset *dataset, gm_task *const *tasks, int count, const gm_tokenizer *tokenizer, const gm_config *config,
                          bool skip_bad) {
    *dataset = (gm_dataset){.loss_on_all = config->train.loss_on == GM_LOSS_ON_ALL};
    for (int i = 0; i < count; i++) {
        gm_dataset_part *part = &dataset->part[dataset->parts++];
        gm_item_set items = {0};
        gm_chat *chat = NULL;
        *part = (gm_dataset_part){.task = gm_task_name(tasks[i]), .append_eos = gm_dataset_append_eos(tasks[i], config)};
        gm_status status = gm_task_load(tasks[i], config->data_dir, "train", config->eval.prompt, skip_bad, &items);
        if (status == GM_OK) warn_of_wrong(&items);
        if (status == GM_OK) status = gm_chat_open(&chat, config->base_model, tokenizer, gm_task_chat(tasks[i]));
        if (status == GM_OK) status = encode(dataset, part, &items, tokenizer, chat, config->train.max_length);
        gm_item_set_free(&items);
        gm_chat_close(chat);
        GM_TRY(status);
    }
    return GM_OK;
}

void gm_dataset_free(gm_dataset *dataset) {
    for (int i = 0; i < dataset->parts; i++) gm_region_free(&dataset->part[i].region);
    *dataset = (gm_dataset){0};
}

const gm_sample *gm_dataset_sample(const gm_dataset *dataset, size_t index) {
    const gm_dataset_part *part = dataset->part;
    while (index >= part->count) index -= part++->count;
    return &part->samples[index];
}

uint32_t gm_combine_checksums(const uint32_t *checksums, int count) {
    return count == 1 ? checksums[0] : (uint32_t)gm_hash(checksums, (size_t)count * sizeof *checksums, 0);
}

uint32_t gm_dataset_checksum(const gm_dataset *dataset) {
    uint32_t checksums[GM_TASKS];
    for (int i = 0; i < dataset->parts; i++) checksums[i] = dataset->part[i].checksum;
    return gm_combine_checksums(checksums, dataset->parts);
}

/* ---- showing a sample ------------------------------------------------------------------------------------------- */

static void append_printable(gm_buffer *out, const char *text, size_t length, bool keep_lines) {
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n')
            gm_buffer_text(out, keep_lines ? "\n    " : "\\n");
        else
            gm_buffer_char(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
}

/* The text that ids[begin..end) add to the few before them: decoded on their own where a character goes over the edge. */
static gm_status decode_part(gm_buffer *part, const gm_tokenizer *tokenizer, const int32_t *ids, int32_t begin, int32_t end) {
    enum { FEW = 8 };
    gm_buffer before = {0};
    int32_t from = begin > FEW ? begin - FEW : 0;
    gm_buffer_clear(part);
    gm_status status = gm_tokenizer_decode(tokenizer, ids + from, (size_t)(begin - from), false, &before);
    if (status == GM_OK) status = gm_tokenizer_decode(tokenizer, ids + from, (size_t)(end - from), false, part);
    if (status == GM_OK && before.length <= part->length && memcmp(gm_buffer_string(&before), gm_buffer_string(part), before.length) == 0) {
        if (before.length) memmove(part->bytes, part->bytes + before.length, part->length - before.length + 1);
        part->length -= before.length;
    } else if (status == GM_OK) {
        gm_buffer_clear(part);
        status = gm_tokenizer_decode(tokenizer, ids + begin, (size_t)(end - begin), false, part);
    }
    gm_buffer_free(&before);
    return status;
}

gm_status gm_dataset_show(gm_buffer *out, const gm_dataset *dataset, const gm_tokenizer *tokenizer, size_t index) {
    const gm_sample *sample = gm_dataset_sample(dataset, index);
    gm_buffer part = {0};
    gm_status status = GM_OK;
    gm_buffer_text(out, "    ");
    for (int32_t begin = 0, end; begin < sample->length && status == GM_OK; begin = end) {
        bool learns = gm_sample_learns(sample, dataset->loss_on_all, begin);
        for (end = begin + 1; end < sample->length && gm_sample_learns(sample, dataset->loss_on_all, end) == learns; end++) continue;
        status = decode_part(&part, tokenizer, sample->ids, begin, end);
        gm_buffer_text(out, learns ? "⟦" : "");
        append_printable(out, gm_buffer_string(&part), part.length, true);
        gm_buffer_text(out, learns ? "⟧" : "");
    }
    gm_buffer_free(&part);
    return status == GM_OK ? gm_buffer_status(out) : status;
}

gm_status gm_dataset_show_tokens(gm_buffer *out, const gm_dataset *dataset, const gm_tokenizer *tokenizer, size_t index) {
    const gm_sample *sample = gm_dataset_sample(dataset, index);
    for (int32_t i = 0; i < sample->length; i++) {
        const char *token = gm_tokenizer_token(tokenizer, sample->ids[i]);
        gm_buffer_format(out, "  %5d %7d  %-6s ", i, sample->ids[i], gm_sample_learns(sample, dataset->loss_on_all, i) ? "loss" : "");
        if (token) append_printable(out, token, strlen(token), false);
        gm_buffer_char(out, '\n');
    }
    return gm_buffer_status(out);
}
