/* A fast 64-bit hash of all of some bytes: XXH64 (Yann Collet's specification, github.com/Cyan4973/xxHash), four lanes of
 * 8-byte words. It tells edits and corruption, not forgeries. */
#ifndef GM_BASE_HASH_H
#define GM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t gm_hash(const void *bytes, size_t length, uint64_t seed); /* at any alignment */

#endif
