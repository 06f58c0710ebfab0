/* A training split that is too large to be kept as text and tokens in memory: its samples in files that are mapped, made once and
 * found again by their key.
 *
 *   FOLDER/KEY/tokens     int32: each sample's ids, then its spans (begin, end), one sample behind the other
 *   FOLDER/KEY/samples    gm_cached_sample, one a sample
 *   FOLDER/KEY/totals     gm_split_totals
 *   FOLDER/KEY/MANIFEST   sizes and CRC-32 (train/manifest.h)
 *
 * Numbers are the machine's own: the files are a cache, which can be deleted at any time, not a format. */
#ifndef GM_TRAIN_TOKEN_CACHE_H
#define GM_TRAIN_TOKEN_CACHE_H

#include "data/sample.h"
#include "io/mapped_guard.h"

typedef struct gm_split_totals { /* of a split's samples */
    int64_t count, tokens, loss_tokens, longest, most_loss_tokens, cut, conversations, unended;
    int64_t first_line;      /* of the file: the first sample's */
    uint32_t items, samples; /* checksums */
} gm_split_totals;

typedef struct gm_cached_sample {
    int64_t at; /* of its ids among the tokens */
    int32_t length, prompt_length, span_count, cut;
} gm_cached_sample;

typedef struct gm_cache_file {
    char path[GM_PATH];
    gm_mapped_file file;
    gm_mapped_guard guard;
} gm_cache_file;

typedef struct gm_token_cache {
    gm_cache_file tokens, samples;
} gm_token_cache; /* {0} is closed; while it is open it stays where it is */

/* The next samples of the split, valid until the next call; *count 0: the end, with *totals. */
typedef gm_status (*gm_next_samples)(void *context, const gm_sample **samples, size_t *count, gm_split_totals *totals);

/* Maps FOLDER/KEY. Where it is absent, or not what its manifest says (which is logged), it is made with `next`, in a folder that
 * takes its name when it is whole; another program that makes one of FOLDER's is waited for. */
gm_status gm_token_cache_open(gm_token_cache *cache, gm_split_totals *totals, const char *folder, uint64_t key, gm_next_samples next,
                              void *context);
void gm_token_cache_close(gm_token_cache *cache);

/* Sample `index`; ids and spans are the cache's. */
gm_sample gm_token_cache_sample(const gm_token_cache *cache, size_t index);

#endif
