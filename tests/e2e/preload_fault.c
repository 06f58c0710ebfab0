/* Loaded before the C library (LD_PRELOAD): makes the Nth call that changes the file system fail, or ends the program there.
 *
 *   FAULT_AT=N              which call, from 1; 0: none
 *   FAULT=kill              the program dies right after the call, as by kill -9
 *   FAULT=ENOSPC|EIO|EDQUOT the call fails with this error
 *   FAULT=short             a write writes half of what it was given (other calls work)
 *   FAULT_COUNT=FILE        the number of calls is written there at the end
 *   FAULT_NO_EXCHANGE=1     renameat2 cannot exchange names, as on some file systems
 *
 * Counted: write to files, fsync, close of written files is not (nothing is lost by it after fsync), rename, renameat2, mkdir,
 * rmdir, unlink, and open that creates. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int calls;

static int is_file(int fd) {
    struct stat info;
    return fd > 2 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

/* The error that this call gets; 0: none; −1: die after it; −2: a short write. */
static int fault(void) {
    const char *at = getenv("FAULT_AT"), *kind = getenv("FAULT");
    calls++;
    if (!at || !kind || calls != atoi(at)) return 0;
    if (strcmp(kind, "kill") == 0) return -1;
    if (strcmp(kind, "short") == 0) return -2;
    return strcmp(kind, "EIO") == 0 ? EIO : strcmp(kind, "EDQUOT") == 0 ? EDQUOT : ENOSPC;
}

static long end(int kind, long result) {
    if (kind == -1) kill(getpid(), SIGKILL);
    return result;
}

#define FAIL_FIRST(kind)                                                                                                                   \
    if ((kind) > 0) {                                                                                                                      \
        errno = (kind);                                                                                                                    \
        return -1;                                                                                                                         \
    }

ssize_t write(int fd, const void *bytes, size_t length) {
    int kind = is_file(fd) ? fault() : 0;
    FAIL_FIRST(kind)
    if (kind == -2 && length > 1) length /= 2;
    return end(kind, syscall(SYS_write, fd, bytes, length));
}

int fsync(int fd) {
    int kind = fault();
    FAIL_FIRST(kind)
    return (int)end(kind, syscall(SYS_fsync, fd));
}

int rename(const char *from, const char *to) {
    int kind = fault();
    FAIL_FIRST(kind)
    return (int)end(kind, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    if (flags && getenv("FAULT_NO_EXCHANGE")) {
        errno = EINVAL;
        return -1;
    }
    int kind = fault();
    FAIL_FIRST(kind)
    return (int)end(kind, syscall(SYS_renameat2, from_at, from, to_at, to, flags));
}

int mkdir(const char *path, mode_t mode) {
    int kind = fault();
    FAIL_FIRST(kind)
    return (int)end(kind, syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

int rmdir(const char *path) {
    int kind = fault();
    FAIL_FIRST(kind)
    return (int)end(kind, syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR));
}

int unlink(const char *path) {
    int kind = fault();
    FAIL_FIRST(kind)
    return (int)end(kind, syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    int kind = flags & O_CREAT ? fault() : 0;
    FAIL_FIRST(kind)
    return (int)end(kind, syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

__attribute__((destructor)) static void write_count(void) {
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%d\n", calls);
    fclose(file);
}
