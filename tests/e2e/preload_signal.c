/* Sends the program SIGUSR2, or the signal of the number $SIGNAL, when it opens the file $SIGNAL_AT: a moment before it has read it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int open(const char *path, int flags, ...) {
    const char *at = getenv("SIGNAL_AT"), *number = getenv("SIGNAL");
    va_list arguments;
    va_start(arguments, flags);
    int mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
    va_end(arguments);
    if (at && strcmp(path, at) == 0) raise(number ? atoi(number) : SIGUSR2);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
