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
/* Goes on with *hash over the file's bytes (base/hash.h); a file that is not there is GM_BAD_FILE. */
gm_status gm_file_hash(const char *path, uint64_t *hash);

/* The same kinds of files, to be read; *length may be NULL. */
gm_status gm_file_open_regular(const char *path, gm_status missing, int *descriptor, size_t *length);

/* The whole file into `buffer`, decompressed as base/byte_reader.h does; GM_BAD_FILE past `limit` bytes. */
gm_status gm_file_read(gm_buffer *buffer, const char *path, size_t limit, gm_status missing);

/* Puts a file's bytes on a descriptor that stays open; `path` is for messages. */
typedef gm_status (*gm_file_writer)(void *context, int descriptor, const char *path);
/* All of the bytes, for such a writer. GM_FAIL with the system's reason. */
gm_status gm_file_put(int descriptor, const char *path, const void *bytes, size_t length);

/* Writes the regular file in place, fsyncs and closes; a half-written one is removed. GM_FAIL with the system's reason. */
gm_status gm_file_write_by(const char *path, gm_file_writer write, void *context);
gm_status gm_file_write(const char *path, const void *bytes, size_t length);
/* The same through a new file beside it, path.gmoe-XXXXXX.tmp, and rename: readers see the old file or the new one, and no other
 * file is touched. Of a link the target is replaced; a device or a pipe is written to. */
gm_status gm_file_replace_by(const char *path, gm_file_writer write, void *context);
gm_status gm_file_replace(const char *path, const void *bytes, size_t length);
/* Removes what replacements of `path` left that were broken off. */
gm_status gm_file_remove_drafts(const char *path);

/* Where standard input, output or error is closed, takes its number, so that no file gets it and what is meant for it: reading
 * standard input and writing standard output still fail, and standard error goes nowhere. First in main. */
void gm_file_hold_standard(void);

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
