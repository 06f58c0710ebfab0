/* For tokenizer_library.py: many texts by as many threads as are asked for, the way samples of a data set are encoded. */
#include "base/parallel.h"
#include "io/tokenizer/tokenizer.h"

#include <omp.h>

typedef struct text_batch {
    const gm_tokenizer *tokenizer;
    const char *const *texts;
    const size_t *lengths;
    gm_ids *ids; /* one for each text; the caller's */
} text_batch;

static gm_status encode_one(void *context, size_t worker, size_t index) {
    const text_batch *b = context;
    (void)worker;
    return gm_tokenizer_encode(b->tokenizer, b->texts[index], b->lengths[index], GM_ENCODE_SPECIAL, &b->ids[index]);
}

gm_status gm_encode_batch(const gm_tokenizer *tokenizer, const char *const *texts, const size_t *lengths, size_t count, int threads,
                          gm_ids *ids) {
    text_batch batch = {tokenizer, texts, lengths, ids};
    omp_set_num_threads(threads);
    return gm_parallel_for(count, encode_one, &batch, NULL);
}
