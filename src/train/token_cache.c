#include "train/token_cache.h"
#include "train/checkpoint.h"
#include "train/manifest.h"
#include "train/signals.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static const char tokens_name[] = "tokens", samples_name[] = "samples", totals_name[] = "totals";
enum { NO_STEP = 0 }; /* of its manifest */

_Static_assert(sizeof(gm_sample_span) == 2 * sizeof(int32_t), "spans lie among the tokens");

/* ---- writing ---------------------------------------------------------------------------------------------------- */

typedef struct cache_writer {
    gm_next_samples next;
    void *context;
    int tokens, samples; /* descriptors */
    char tokens_path[GM_PATH], samples_path[GM_PATH];
    gm_buffer token_bytes, sample_bytes; /* of one call of `next` */
    int64_t at;                          /* int32 written or in token_bytes */
} cache_writer;

static gm_status make_file(int *file, char path[GM_PATH], const char *directory, const char *name) {
    GM_TRY(gm_path_join(path, directory, name));
    *file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return *file >= 0 ? GM_OK : gm_error(GM_FAIL, "%s: cannot be written: %s", path, strerror(errno));
}

static void append(cache_writer *w, const gm_sample *sample) {
    gm_cached_sample record = {w->at, sample->length, sample->prompt_length, sample->span_count, sample->cut};
    gm_buffer_append(&w->sample_bytes, (const char *)&record, sizeof record);
    gm_buffer_append(&w->token_bytes, (const char *)sample->ids, (size_t)sample->length * sizeof *sample->ids);
    gm_buffer_append(&w->token_bytes, (const char *)sample->spans, (size_t)sample->span_count * sizeof *sample->spans);
    w->at += sample->length + 2 * (int64_t)sample->span_count;
}

static gm_status flush(int file, const char *path, gm_buffer *buffer) {
    GM_TRY(gm_buffer_status(buffer));
    gm_status status = buffer->length ? gm_file_put(file, path, buffer->bytes, buffer->length) : GM_OK;
    gm_buffer_clear(buffer);
    return status;
}

static gm_status write_samples(cache_writer *w, gm_split_totals *totals) {
    const gm_sample *samples;
    size_t count;
    for (;;) {
        GM_TRY(w->next(w->context, &samples, &count, totals));
        if (count == 0) return GM_OK;
        for (size_t i = 0; i < count; i++) append(w, &samples[i]);
        GM_TRY(flush(w->tokens, w->tokens_path, &w->token_bytes));
        GM_TRY(flush(w->samples, w->samples_path, &w->sample_bytes));
    }
}

static gm_status close_file(int file, const char *path, gm_status status) {
    if (file < 0) return status;
    if (status == GM_OK && fsync(file) != 0) status = gm_error(GM_FAIL, "%s: cannot be written: %s", path, strerror(errno));
    if (close(file) != 0 && status == GM_OK) status = gm_error(GM_FAIL, "%s: cannot be written: %s", path, strerror(errno));
    return status;
}

/* A gm_checkpoint_writer. */
static gm_status write_cache(void *context, const char *directory) {
    cache_writer *w = context;
    gm_split_totals totals = {0};
    char path[GM_PATH];
    w->tokens = w->samples = -1;
    gm_status status = make_file(&w->tokens, w->tokens_path, directory, tokens_name);
    if (status == GM_OK) status = make_file(&w->samples, w->samples_path, directory, samples_name);
    if (status == GM_OK) status = write_samples(w, &totals);
    status = close_file(w->tokens, w->tokens_path, status);
    status = close_file(w->samples, w->samples_path, status);
    gm_buffer_free(&w->token_bytes);
    gm_buffer_free(&w->sample_bytes);
    GM_TRY(status);
    GM_TRY(gm_path_join(path, directory, totals_name));
    GM_TRY(gm_file_write(path, &totals, sizeof totals));
    return gm_manifest_write(directory, NO_STEP);
}

/* ---- mapping ---------------------------------------------------------------------------------------------------- */

static gm_status map_totals(gm_mapped_file *file, const char *directory) {
    char path[GM_PATH];
    GM_TRY(gm_path_join(path, directory, totals_name));
    return gm_file_map(file, path, GM_BAD_FILE);
}

/* As long as it is mapped, a file that becomes shorter ends the program with its name. */
static gm_status map_part(gm_cache_file *part, const char *directory, const char *name) {
    GM_TRY(gm_path_join(part->path, directory, name));
    GM_TRY(gm_file_map(&part->file, part->path, GM_BAD_FILE));
    gm_mapped_guard_add(&part->guard, part->file.bytes, part->file.length, part->path);
    return GM_OK;
}

static void unmap_part(gm_cache_file *part) {
    gm_mapped_guard_remove(&part->guard);
    gm_file_unmap(&part->file);
    *part = (gm_cache_file){0};
}

static gm_status map_cache(gm_token_cache *cache, gm_split_totals *totals, const char *directory) {
    gm_mapped_file file;
    GM_TRY(gm_manifest_verify(directory, NO_STEP));
    GM_TRY(map_totals(&file, directory));
    bool whole = file.length == sizeof *totals;
    if (whole) memcpy(totals, file.bytes, sizeof *totals);
    gm_file_unmap(&file);
    GM_TRY(map_part(&cache->tokens, directory, tokens_name));
    GM_TRY(map_part(&cache->samples, directory, samples_name));
    whole = whole && totals->count > 0 && (uint64_t)totals->count * sizeof(gm_cached_sample) == cache->samples.file.length;
    return whole ? GM_OK : gm_error(GM_BAD_FILE, "%s: its files do not belong together", directory);
}

static gm_status find_or_make(gm_token_cache *cache, gm_split_totals *totals, const char *folder, uint64_t key, gm_next_samples next,
                              void *context) {
    char name[32], directory[GM_PATH];
    cache_writer writer = {.next = next, .context = context};
    snprintf(name, sizeof name, "%016" PRIx64, key);
    GM_TRY(gm_path_join(directory, folder, name));
    if (gm_directory_exists(directory)) {
        gm_status status = map_cache(cache, totals, directory);
        if (status != GM_BAD_FILE) return status;
        gm_log(GM_LOG_WARN, "%s; the data set is tokenized again", gm_error_text());
        gm_token_cache_close(cache);
    }
    GM_TRY(gm_directory_publish(folder, name, write_cache, &writer));
    return map_cache(cache, totals, directory);
}

gm_status gm_token_cache_open(gm_token_cache *cache, gm_split_totals *totals, const char *folder, uint64_t key, gm_next_samples next,
                              void *context) {
    *cache = (gm_token_cache){0};
    GM_TRY(gm_directory_make(folder));
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0) return gm_error(GM_FAIL, "%s: cannot be opened: %s", folder, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        gm_log(GM_LOG_INFO, "%s: another program tokenizes a data set there; waiting for it", folder);
        while (flock(lock, LOCK_EX | LOCK_NB) != 0 && !gm_signals_stop()) nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
    if (gm_signals_stop()) return close(lock), gm_error(GM_INTERRUPTED, "interrupted before the first step: nothing to save");
    gm_status status = find_or_make(cache, totals, folder, key, next, context);
    if (status != GM_OK) gm_token_cache_close(cache);
    close(lock);
    return status;
}

void gm_token_cache_close(gm_token_cache *cache) {
    unmap_part(&cache->tokens);
    unmap_part(&cache->samples);
}

gm_sample gm_token_cache_sample(const gm_token_cache *cache, size_t index) {
    const gm_cached_sample *record = (const gm_cached_sample *)(const void *)cache->samples.file.bytes + index;
    int32_t *ids = (int32_t *)(uintptr_t)cache->tokens.file.bytes + record->at; /* mapped to be read: nobody writes a dataset's ids */
    return (gm_sample){.ids = ids,
                       .length = record->length,
                       .prompt_length = record->prompt_length,
                       .cut = record->cut,
                       .spans = (const gm_sample_span *)(void *)(ids + record->length),
                       .span_count = record->span_count};
}
