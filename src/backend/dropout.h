/* Dropout's mask, a pure function of a key and the element's index: forward and backward see the same without storing it,
 * and so does every backend. The hash is Wellons' triple32, with half of the key before it and half after its first round. */
#ifndef GM_BACKEND_DROPOUT_H
#define GM_BACKEND_DROPOUT_H

#include "backend/everywhere.h"

#include <stdint.h>

typedef struct gm_dropout {
    float rate; /* 0: none; below 1 */
    uint32_t key[2];
} gm_dropout;

/* What element `index` is multiplied with: 0 with probability `rate`, else 1 / (1 − rate). */
GM_EVERYWHERE static inline float gm_dropout_factor(const gm_dropout *dropout, uint32_t index) {
    uint32_t hash = index * 0x9e3779b1u + dropout->key[0];
    hash = (hash ^ (hash >> 17)) * 0xed5ad4bbu ^ dropout->key[1];
    hash = (hash ^ (hash >> 11)) * 0xac4c1b51u;
    hash = (hash ^ (hash >> 15)) * 0x31848babu;
    hash ^= hash >> 14;
    return (float)(hash >> 8) * 0x1p-24f < dropout->rate ? 0.0f : 1.0f / (1.0f - dropout->rate);
}

#endif
