/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
 * A number is a pure function of (seed, stream, index), so that the state of a run is a few integers and a resumed
 * run, or another number of threads, draws the same. */
#ifndef GM_BASE_RANDOM_H
#define GM_BASE_RANDOM_H

#include <stdint.h>

/* What a stream of numbers is for. Stored nowhere, but part of every run's result: append only. */
typedef enum gm_random_stream {
    GM_RANDOM_ORDER = 1, /* sample order of an epoch   */
    GM_RANDOM_ADAPTER,   /* initial adapter tensors    */
    GM_RANDOM_EDGES,     /* expert graph               */
    GM_RANDOM_WEIGHTS,   /* random weights of gmoe-bench */
    GM_RANDOM_TEST,
    GM_RANDOM_DROPOUT, /* masks of a step            */
    GM_RANDOM_MIXTURE, /* sample order of a task's pass in a mixture */
} gm_random_stream;

/* The bare generator: 4 words from a counter of 4 and a key of 2. */
void gm_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

typedef struct gm_random {
    uint32_t key[2], counter[4], block[4];
    int used; /* words of `block` handed out */
} gm_random;

/* Numbers of one (seed, stream, substream): substream is an epoch, a tensor's index, a layer. */
gm_random gm_random_begin(uint64_t seed, gm_random_stream stream, uint32_t substream);
uint32_t gm_random_u32(gm_random *random);
uint32_t gm_random_below(gm_random *random, uint32_t bound); /* uniform in [0, bound), unbiased */
float gm_random_uniform(gm_random *random);                  /* [0, 1), 24 bits                  */
float gm_random_normal(gm_random *random);                   /* mean 0, deviation 1 (Box-Muller) */

/* Fisher-Yates: order[0..count) becomes a permutation of 0..count-1. */
void gm_random_permutation(gm_random *random, uint32_t *order, uint32_t count);

#endif
