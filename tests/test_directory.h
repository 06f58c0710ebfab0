/* A directory for all tests of a program: make_directory and remove_directory are its group's set-up and tear-down. */
#ifndef GM_TEST_DIRECTORY_H
#define GM_TEST_DIRECTORY_H

#include "test_support.h"

#include "base/file.h"

static char directory[GM_PATH];

static inline int make_directory(void **state) {
    (void)state;
    gm_test_directory(directory);
    return 0;
}

static inline int remove_directory(void **state) {
    (void)state;
    return gm_directory_remove(directory);
}

#endif
