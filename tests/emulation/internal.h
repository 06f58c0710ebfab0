/* What the emulation's own files share. */
#ifndef GM_EMULATION_INTERNAL_H
#define GM_EMULATION_INTERNAL_H

#include "emulation.h"

enum { GM_EMULATED_SHARED_MOST = 99 << 10 }; /* of a block: capability 8.6, 8.9 and 12.0; others have more */

/* Prints what is wrong, with kernel, block and thread where one runs, and aborts. */
[[noreturn]] void gm_emulated_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* fibers.cpp */
void gm_emulated_run(const gm_emulated_launch *launch); /* all blocks of it */
/* Every lane of the warp comes with something of its own; the last one to come does the work of all. */
void gm_emulated_together(void (*work)(void *const *lanes), void *mine, const char *file, int line);
struct gm_emulated_copies { /* of one thread, on their way to shared memory */
    struct {
        void *out;
        const void *in; /* NULL: zeros */
        int bytes, group;
    } pending[256];
    int count, group;
};
gm_emulated_copies *gm_emulated_my_copies();
const char *gm_emulated_where(char *text, size_t size); /* kernel, block, thread; "" outside of kernels */

/* memory.cpp */
bool gm_emulated_is_device(const void *memory, size_t bytes);
void gm_emulated_enter_device(bool kernel);                         /* device memory can be touched, in kernels the host's cannot … */
void gm_emulated_leave_device(void);                                /* … until here                                                */
void gm_emulated_hide_host(bool hidden, const void *stack_pointer); /* the program's heap, and its stack from here on */
void gm_emulated_check_sentinels(const char *after);
void *gm_emulated_pages(size_t bytes); /* memory of the emulation itself, never given back */

/* runtime.cpp */
void gm_emulated_flush(void);
cudaError_t gm_emulated_fault(void); /* of a kernel that ran, or cudaSuccess */
typedef void gm_emulated_host_function(const void *arguments);
void gm_emulated_enqueue(const char *name, gm_emulated_host_function *function, const void *arguments, size_t bytes);
uint32_t gm_emulated_random(uint32_t below);

#endif
