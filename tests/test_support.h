/* What every test needs: cmocka behind its required headers, a temporary directory, a process that may end, the shared data. */
#ifndef GM_TEST_SUPPORT_H
#define GM_TEST_SUPPORT_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A new empty directory below $TMPDIR; `path` has room for 4096 bytes. Its test removes it. */
static inline void gm_test_directory(char *path) {
    const char *base = getenv("TMPDIR");
    snprintf(path, 4096, "%s/gmoe-test-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

/* The exit status of `act` in a process of its own, 256 and more: a signal; its standard error is thrown away. */
static inline int gm_test_status_of(void (*act)(void)) {
    int status = -1;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        act();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* Path of a file of the shared data ($GMOE_SHARED, default ../shared); false and a note where it is absent:
 * the caller skips. */
static inline bool gm_test_shared(char *path, const char *name) {
    const char *base = getenv("GMOE_SHARED");
    snprintf(path, 4096, "%s/%s", base && *base ? base : "../shared", name);
    if (access(path, R_OK) == 0) return true;
    printf("skipped: %s is absent\n", path);
    return false;
}

#endif
