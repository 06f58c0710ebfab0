#include "base/hash.h"

#include <string.h>

static const uint64_t p1 = 0x9e3779b185ebca87u, p2 = 0xc2b2ae3d27d4eb4fu, p3 = 0x165667b19e3779f9u, p4 = 0x85ebca77c2b2ae63u,
                      p5 = 0x27d4eb2f165667c5u;

static inline uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static inline uint64_t word(const unsigned char *p, size_t bytes) { /* little-endian on every machine */
    uint64_t value = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&value, p, bytes);
#else
    for (size_t i = 0; i < bytes; i++) value |= (uint64_t)p[i] << (8 * i);
#endif
    return value;
}

static inline uint64_t stir(uint64_t lane, uint64_t input) { return rotate(lane + input * p2, 31) * p1; }
static inline uint64_t join(uint64_t h, uint64_t lane) { return (h ^ stir(0, lane)) * p1 + p4; }

/* The whole blocks of 32 bytes: `p` moves to what is left. */
static uint64_t hash_blocks(const unsigned char **p, size_t blocks, uint64_t seed) {
    uint64_t a = seed + p1 + p2, b = seed + p2, c = seed, d = seed - p1;
    const unsigned char *at = *p;
    for (; blocks > 0; blocks--, at += 32) {
        a = stir(a, word(at, 8));
        b = stir(b, word(at + 8, 8));
        c = stir(c, word(at + 16, 8));
        d = stir(d, word(at + 24, 8));
    }
    *p = at;
    uint64_t h = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
    return join(join(join(join(h, a), b), c), d);
}

uint64_t gm_hash(const void *bytes, size_t length, uint64_t seed) {
    const unsigned char *p = bytes;
    uint64_t h = (length >= 32 ? hash_blocks(&p, length / 32, seed) : seed + p5) + length;
    size_t left = length % 32;
    for (; left >= 8; left -= 8, p += 8) h = rotate(h ^ stir(0, word(p, 8)), 27) * p1 + p4;
    if (left >= 4) {
        h = rotate(h ^ word(p, 4) * p1, 23) * p2 + p3;
        left -= 4;
        p += 4;
    }
    for (; left > 0; left--, p++) h = rotate(h ^ *p * p5, 11) * p1;
    h = (h ^ h >> 33) * p2;
    h = (h ^ h >> 29) * p3;
    return h ^ h >> 32;
}
