#include "cli/spinning.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Turns of its loop: next to nothing lost on a quiet machine, little on a busy one (measured in docs/cpu/threads.md). */
static const char turns[] = "3000";

void gm_bound_spinning(char **argv) {
    char program[GM_PATH]; /* not /proc/self/exe itself: the process would be called "exe" */
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program);
    if (length <= 0 || (size_t)length >= sizeof program) return;
    program[length] = '\0';
    const char *slash = strrchr(argv[0] ? argv[0] : "", '/'), *called = slash ? slash + 1 : argv[0] ? argv[0] : "";
    if (strcmp(strrchr(program, '/') + 1, called) != 0) return; /* started through the loader, or under another name */
    if (setenv("GOMP_SPINCOUNT", turns, 1) == 0) execv(program, argv);
}
