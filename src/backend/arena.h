/* A bump allocator over memory of a backend. Measuring, it has no memory: it hands out addresses that nobody may use
 * and counts, so that running the real code once tells exactly how much the real run needs. */
#ifndef GM_BACKEND_ARENA_H
#define GM_BACKEND_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GM_ARENA_ALIGN = 64 };

typedef struct gm_arena {
    const char *name;
    unsigned char *base; /* not owned */
    size_t capacity, used, peak;
    bool measuring;
    bool foreign; /* memory that the host cannot touch */
} gm_arena;

void gm_arena_measure(gm_arena *arena, const char *name);                              /* start counting */
void gm_arena_place(gm_arena *arena, const char *name, void *memory, size_t capacity); /* start using    */
void *gm_arena_take(gm_arena *arena, size_t bytes);                                    /* aligned; overflow is our own mistake and aborts */
static inline size_t gm_arena_mark(const gm_arena *arena) { return arena->used; }
void gm_arena_release(gm_arena *arena, size_t mark); /* debug builds fill what is given back with NaN */

#endif
