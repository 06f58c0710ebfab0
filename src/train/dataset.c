#include "train/dataset.h"
#include "train/signals.h"
#include "train/state.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "data/chat.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool gm_dataset_append_eos(const gm_task *task, const gm_config *config) {
    return config->train.append_eos < 0 ? gm_task_append_eos(task) : config->train.append_eos == 1;
}

int64_t gm_sample_loss_tokens(const gm_sample *sample, bool loss_on_all) {
    gm_sample_span span;
    int64_t count = 0;
    for (int32_t i = 0; gm_sample_loss_span(sample, loss_on_all, i, &span); i++) count += span.end - span.begin;
    return count;
}

/* To the letter: a space before it makes another completion, of other tokens. */
static void warn_of_wrong(const gm_item_set *items, size_t count) {
    if (items->wrong == 0) return;
    gm_log(GM_LOG_WARN,
           "%s: %lld of %zu lines have a completion that is not their right choice (%lld of them none of the choices, spaces count; the "
           "first: line %lld): training teaches the completion, evaluation counts the choice",
           items->file, (long long)items->wrong, count, (long long)items->strange, (long long)items->first_wrong);
}

/* ---- encoding --------------------------------------------------------------------------------------------------- */

/* A split on its way from lines to samples, a part at a time. */
typedef struct split_encoder {
    const gm_dataset *dataset;
    const gm_dataset_part *part;
    const gm_tokenizer *tokenizer;
    gm_chat *chat;
    int64_t max_length;
    size_t bytes; /* of lines at a time */
    gm_task_reader *reader;
    gm_item_set items;
    gm_sample *samples; /* items.count; in `region` */
    gm_region region;
    gm_split_totals totals;
    double said; /* when progress was */
} split_encoder;

static gm_status count_samples(split_encoder *e) {
    gm_split_totals *t = &e->totals;
    for (size_t i = 0; i < e->items.count; i++) {
        const gm_sample *sample = &e->samples[i];
        int64_t loss_tokens = gm_sample_loss_tokens(sample, e->dataset->loss_on_all);
        if (loss_tokens == 0)
            return gm_error(GM_BAD_FILE, "%s: line %lld: no token of this sample carries loss", e->items.file,
                            (long long)e->items.items[i].line);
        t->tokens += sample->length;
        t->loss_tokens += loss_tokens;
        if (sample->length > t->longest) t->longest = sample->length;
        if (loss_tokens > t->most_loss_tokens) t->most_loss_tokens = loss_tokens;
        t->unended += sample->unended;
        t->samples = gm_sample_checksum(t->samples, sample);
    }
    if (t->count == 0) t->first_line = e->items.items[0].line;
    t->count += (int64_t)e->items.count;
    t->conversations = (int64_t)e->items.conversations;
    t->items = e->items.checksum;
    return e->dataset->count + (uint64_t)t->count <= UINT32_MAX
               ? GM_OK
               : gm_error(GM_BAD_FILE, "%s: makes more than %u samples", e->items.file, UINT32_MAX);
}

static void say_progress(split_encoder *e) {
    enum { SECONDS = 5 };
    double now = gm_clock_seconds();
    if (e->said == 0) e->said = now;
    if (now - e->said < SECONDS) return;
    e->said = now;
    gm_log(GM_LOG_INFO, "tokenizing %s: %.0f %%, %lld samples, %.1f million tokens", e->items.file, 100 * gm_task_reader_done(e->reader),
           (long long)e->totals.count, (double)e->totals.tokens / 1e6);
}

/* A gm_next_samples. */
static gm_status next_samples(void *context, const gm_sample **samples, size_t *count, gm_split_totals *totals) {
    split_encoder *e = context;
    int64_t cut = 0;
    if (gm_signals_stop()) return gm_error(GM_INTERRUPTED, "interrupted before the first step: nothing to save");
    gm_region_free(&e->region);
    GM_TRY(gm_task_reader_next(e->reader, e->bytes));
    *samples = NULL;
    *count = e->items.count;
    *totals = e->totals;
    if (*count == 0) return GM_OK;
    GM_REGION_ALLOC(&e->region, e->samples, *count);
    GM_TRY(gm_sample_encode_set(e->samples, &cut, e->tokenizer, e->chat, &e->items, e->part->append_eos, e->max_length, &e->region));
    e->totals.cut += cut;
    GM_TRY(count_samples(e));
    say_progress(e);
    *samples = e->samples;
    *totals = e->totals;
    return GM_OK;
}

static void take_totals(gm_dataset *dataset, gm_dataset_part *part, const gm_split_totals *totals) {
    const uint32_t checksums[] = {totals->items, totals->samples};
    part->count = (size_t)totals->count;
    part->tokens = totals->tokens;
    part->first_line = totals->first_line;
    part->conversations = (size_t)totals->conversations;
    part->unended = (size_t)totals->unended;
    part->checksum = gm_combine_checksums(checksums, 2);
    dataset->count += part->count;
    dataset->cut += totals->cut;
    dataset->tokens += totals->tokens;
    dataset->loss_tokens += totals->loss_tokens;
    if (totals->longest > dataset->longest) dataset->longest = totals->longest;
    if (totals->most_loss_tokens > dataset->most_loss_tokens) dataset->most_loss_tokens = totals->most_loss_tokens;
}

/* ---- loading ---------------------------------------------------------------------------------------------------- */

/* Of all that a sample's tokens depend on. */
static gm_status key_of(uint64_t *key, const gm_task *task, const gm_config *c, const gm_dataset_part *part, bool skip_bad) {
    static const char *const names[] = {"config.json", "chat_template.jinja", "chat_template.json"};
    uint32_t tokenizer;
    GM_TRY(gm_tokenizer_checksum(c->base_model, &tokenizer));
    const int64_t numbers[] = {tokenizer, part->append_eos, c->train.max_length, c->train.loss_on, skip_bad};
    *key = gm_hash(GMOE_VERSION, strlen(GMOE_VERSION), sizeof(gm_split_totals));
    *key = gm_hash(c->eval.prompt, strlen(c->eval.prompt), gm_hash(numbers, sizeof numbers, *key));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[GM_PATH];
        GM_TRY(gm_path_join(path, c->base_model, names[i]));
        if (gm_file_exists(path)) GM_TRY(gm_file_hash(path, key));
    }
    return gm_task_hash(task, c->data_dir, "train", key);
}

/* token-cache in the directory that output_dir stands in. */
static gm_status cache_folder(char path[GM_PATH], const gm_config *c) {
    char parent[GM_PATH];
    if (c->train.token_cache[0]) return strcpy(path, c->train.token_cache), GM_OK;
    strcpy(parent, c->output_dir);
    size_t length = strlen(parent);
    while (length > 1 && parent[length - 1] == '/') parent[--length] = '\0';
    char *slash = strrchr(parent, '/');
    if (!slash) return strcpy(path, "token-cache"), GM_OK;
    slash[slash == parent] = '\0';
    return gm_path_join(path, parent, "token-cache");
}

static gm_status load_cached(gm_dataset *dataset, gm_dataset_part *part, split_encoder *e, const gm_task *task, const gm_config *c,
                             bool skip_bad) {
    enum { LINES = 8 << 20 };
    char folder[GM_PATH];
    uint64_t key;
    gm_split_totals totals;
    e->bytes = LINES;
    GM_TRY(key_of(&key, task, c, part, skip_bad));
    GM_TRY(cache_folder(folder, c));
    gm_status status = gm_token_cache_open(&part->cache, &totals, folder, key, next_samples, e);
    if (status == GM_FAIL) gm_error_prefix(status, "train.token_cache");
    GM_TRY(status);
    take_totals(dataset, part, &totals);
    gm_log(GM_LOG_INFO, "%s: its tokens are in %s", part->file, folder);
    return GM_OK;
}

/* The samples become the part's. */
static gm_status load_whole(gm_dataset *dataset, gm_dataset_part *part, split_encoder *e) {
    const gm_sample *samples;
    size_t count;
    gm_split_totals totals;
    e->bytes = SIZE_MAX;
    GM_TRY(next_samples(e, &samples, &count, &totals));
    part->samples = e->samples;
    part->region = e->region;
    e->region = (gm_region){0};
    take_totals(dataset, part, &totals);
    return GM_OK;
}

/* By its size; of a compressed file the text has about four times as much. */
static bool is_large(const char *path, int64_t megabytes) {
    struct stat info;
    int64_t factor = gm_text_ends_with(path, ".gz") ? 4 : 1;
    return stat(path, &info) == 0 && info.st_size >= (megabytes << 20) / factor;
}

static gm_status load_part(gm_dataset *dataset, gm_dataset_part *part, const gm_task *task, const gm_tokenizer *tokenizer,
                           const gm_config *c, bool skip_bad) {
    split_encoder e = {.dataset = dataset, .part = part, .tokenizer = tokenizer, .max_length = c->train.max_length};
    gm_status status = gm_task_reader_open(&e.reader, task, c->data_dir, "train", c->eval.prompt, skip_bad, &e.items);
    if (status == GM_OK) status = gm_chat_open(&e.chat, c->base_model, tokenizer, gm_task_chat(task));
    if (status == GM_OK) {
        strcpy(part->file, e.items.file);
        part->chat = gm_chat_family_name(e.chat);
        status =
            is_large(part->file, c->train.map_above_mb) ? load_cached(dataset, part, &e, task, c, skip_bad) : load_whole(dataset, part, &e);
    }
    if (status == GM_OK) warn_of_wrong(&e.items, part->count);
    gm_task_reader_close(e.reader);
    gm_chat_close(e.chat);
    gm_item_set_free(&e.items);
    gm_region_free(&e.region);
    return status;
}

gm_status gm_dataset_load(gm_dataset *dataset, gm_task *const *tasks, int count, const gm_tokenizer *tokenizer, const gm_config *config,
                          bool skip_bad) {
    *dataset = (gm_dataset){.loss_on_all = config->train.loss_on == GM_LOSS_ON_ALL};
    for (int i = 0; i < count; i++) {
        gm_dataset_part *part = &dataset->part[dataset->parts++];
        *part = (gm_dataset_part){.task = gm_task_name(tasks[i]), .append_eos = gm_dataset_append_eos(tasks[i], config)};
        gm_status status = load_part(dataset, part, tasks[i], tokenizer, config, skip_bad);
        if (status != GM_OK && count > 1) gm_error_prefix(status, "task %s", part->task);
        GM_TRY(status);
    }
    return GM_OK;
}

void gm_dataset_free(gm_dataset *dataset) {
    for (int i = 0; i < dataset->parts; i++) {
        gm_region_free(&dataset->part[i].region);
        gm_token_cache_close(&dataset->part[i].cache);
    }
    *dataset = (gm_dataset){0};
}

gm_sample gm_dataset_sample(const gm_dataset *dataset, size_t index) {
    const gm_dataset_part *part = dataset->part;
    while (index >= part->count) index -= part++->count;
    return part->samples ? part->samples[index] : gm_token_cache_sample(&part->cache, index);
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
    const gm_sample shown = gm_dataset_sample(dataset, index), *sample = &shown;
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
    const gm_sample shown = gm_dataset_sample(dataset, index), *sample = &shown;
    for (int32_t i = 0; i < sample->length; i++) {
        const char *token = gm_tokenizer_token(tokenizer, sample->ids[i]);
        gm_buffer_format(out, "  %5d %7d  %-6s ", i, sample->ids[i], gm_sample_learns(sample, dataset->loss_on_all, i) ? "loss" : "");
        if (token) append_printable(out, token, strlen(token), false);
        gm_buffer_char(out, '\n');
    }
    return gm_buffer_status(out);
}
