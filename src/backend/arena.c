#include "backend/arena.h"
#include "base/status.h"

#include <string.h>

void gm_arena_measure(gm_arena *arena, const char *name) {
    *arena = (gm_arena){.name = name, .base = (unsigned char *)GM_ARENA_ALIGN, .capacity = SIZE_MAX / 2, .measuring = true};
}

void gm_arena_place(gm_arena *arena, const char *name, void *memory, size_t capacity) {
    GM_CHECK((uintptr_t)memory % GM_ARENA_ALIGN == 0, "%s: misaligned memory", name);
    *arena = (gm_arena){.name = name, .base = memory, .capacity = capacity};
}

void *gm_arena_take(gm_arena *arena, size_t bytes) {
    size_t rounded = (bytes + GM_ARENA_ALIGN - 1) / GM_ARENA_ALIGN * GM_ARENA_ALIGN;
    GM_CHECK(rounded >= bytes && rounded <= arena->capacity - arena->used, "arena %s: %zu bytes do not fit beside %zu of %zu", arena->name,
             bytes, arena->used, arena->capacity);
    void *memory = (void *)((uintptr_t)arena->base + arena->used);
    arena->used += rounded;
    if (arena->used > arena->peak) arena->peak = arena->used;
    return memory;
}

void gm_arena_release(gm_arena *arena, size_t mark) {
    GM_CHECK(mark <= arena->used, "arena %s: released to %zu of %zu", arena->name, mark, arena->used);
#ifndef NDEBUG
    if (!arena->measuring && !arena->foreign) memset(arena->base + mark, 0xff, arena->used - mark); /* 0xffffffff is a NaN */
#endif
    arena->used = mark;
}
