/* Files: mapped read-only, read whole, written with every error checked, replaced atomically. */
#ifndef GM_BASE_FILE_H
#define GM_BASE_FILE_H

#include "base/buffer.h"

enum { GM_PATH = 4096 };

typedef struct gm_mapped_file {
    const unsigned char *bytes; /* NULL for an empty file */
    size_t length;
} gm_mapped_file;

/* Regular files only (symbolic links are followed). A missing file is `missing` (GM_USAGE where the user named it,
 * GM_BAD_FILE where another file did). */
gm_status gm_file_map(gm_mapped_file *file, const char *path, gm_status missing);
void gm_file_unmap(gm_mapped_file *file);

/* The whole file, decompressed where its name ends in .gz, into `buffer`; GM_BAD_FILE past `limit` bytes. */
gm_status gm_file_read(gm_buffer *buffer, const char *path, size_t limit, gm_status missing);

/* All of the bytes to a descriptor that stays open; `path` is for the message. GM_FAIL with the system's reason. */
gm_status gm_file_put(int descriptor, const char *path, const void *bytes, size_t length);
/* Writes, fsyncs and closes; a half-written file is removed. GM_FAIL with the system's reason. */
gm_status gm_file_write(const char *path, const void *bytes, size_t length);
/* The same through path.tmp and rename: readers see the old file or the new one. */
gm_status gm_file_replace(const char *path, const void *bytes, size_t length);

gm_status gm_directory_make(const char *path); /* with its parents; fine where it exists */
gm_status gm_directory_sync(const char *path); /* fsync of the directory entry           */
/* With what is in it; fine where absent. Links in it are removed, never followed; `path` itself being one is GM_FAIL. */
gm_status gm_directory_remove(const char *path);
bool gm_file_exists(const char *path);
bool gm_directory_exists(const char *path);

/* Both names lead to one file, or would, where it is not there yet. */
bool gm_same_file(const char *a, const char *b);

/* "directory/name" into `path`; GM_USAGE when it does not fit. */
gm_status gm_path_join(char path[GM_PATH], const char *directory, const char *name);

#endif
