/* Loaded before the C library (LD_PRELOAD): makes the Nth allocation that the program itself asks for fail. What its libraries
 * allocate for themselves is left alone: it is not the program's to check.
 *
 *   MEMORY_FAIL_AT=N     which allocation, from 1; 0: none
 *   MEMORY_FAIL_ON=1     and all that come after it
 *   MEMORY_COUNT=FILE    the number of allocations is written there at the end
 *
 * Counted: malloc, calloc, realloc, aligned_alloc, posix_memalign and mmap whose caller lies in the program's own code. */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static uintptr_t code_begin, code_end; /* of the program; empty until it is known */
static long calls, fail_at;
static bool fail_on;

static int find_code(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size, (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
        code_begin = info->dlpi_addr + part->p_vaddr;
        code_end = code_begin + part->p_memsz;
    }
    return 1; /* the program comes first; libraries follow */
}

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("MEMORY_FAIL_AT");
    fail_at = at ? atol(at) : 0;
    fail_on = getenv("MEMORY_FAIL_ON") != NULL;
    dl_iterate_phdr(find_code, NULL);
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("MEMORY_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld\n", calls);
    fclose(file);
}

static bool fails(void *caller) {
    if ((uintptr_t)caller < code_begin || (uintptr_t)caller >= code_end) return false;
    long call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (fail_at == 0 || (call != fail_at && !(fail_on && call > fail_at))) return false;
    errno = ENOMEM;
    return true;
}

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

void *malloc(size_t size) { return fails(CALLER) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return fails(CALLER) ? NULL : __libc_calloc(count, size); }
void *realloc(void *block, size_t size) { return fails(CALLER) ? NULL : __libc_realloc(block, size); }
void *aligned_alloc(size_t alignment, size_t size) { return fails(CALLER) ? NULL : __libc_memalign(alignment, size); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    if (fails(CALLER)) return ENOMEM;
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    if (fails(CALLER)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}
