#define _GNU_SOURCE /* memfd_create */
#include "fuzz.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char file_path[64], directory[GM_PATH];
static int file = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    gm_log_set_level(GM_LOG_ERROR);
    return 0;
}

static void open_file(void) {
    if (file >= 0) return;
    file = memfd_create("fuzz", MFD_CLOEXEC);
    GM_CHECK(file >= 0, "no file in memory");
    snprintf(file_path, sizeof file_path, "/proc/%d/fd/%d", (int)getpid(), file);
}

const char *gm_fuzz_file(const uint8_t *data, size_t size) {
    open_file();
    GM_CHECK(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size, "the file in memory cannot be written");
    return file_path;
}

static void remove_directory(void) { gm_directory_remove(directory); }

const char *gm_fuzz_directory(const char *name) {
    char link[GM_PATH];
    open_file();
    if (!directory[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(directory, sizeof directory, "%s/gmoe-fuzz-XXXXXX", base && *base ? base : "/tmp");
        GM_CHECK(mkdtemp(directory), "no directory %s", directory);
        atexit(remove_directory);
    }
    GM_CHECK(gm_path_join(link, directory, name) == GM_OK, "%s", gm_error_text());
    if (access(link, F_OK) != 0) GM_CHECK(symlink(file_path, link) == 0, "no link %s", link);
    return directory;
}

void gm_fuzz_check(gm_status status, gm_status refusal, const char *path) {
    if (status == GM_OK) return;
    const char *message = gm_error_text();
    GM_CHECK(status == refusal, "status %d: %s", (int)status, message);
    GM_CHECK(strstr(message, path), "does not name %s: %s", path, message);
    for (const unsigned char *p = (const unsigned char *)message; *p; p++)
        GM_CHECK(*p >= 0x20 && *p != 0x7f, "byte 0x%02x in: %s", *p, message);
}
