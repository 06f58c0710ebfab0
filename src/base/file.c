#include "base/file.h"
#include "base/hash.h"

#include "base/byte_reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

gm_status gm_file_open_regular(const char *path, gm_status missing, int *descriptor, size_t *length) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: a FIFO must not hang us */
    if (fd < 0) return gm_error(errno == ENOENT || errno == ENOTDIR ? missing : GM_FAIL, "%s: %s", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return gm_error(GM_BAD_FILE, "%s: is not a regular file", path);
    }
    *descriptor = fd;
    if (length) *length = (size_t)info.st_size;
    return GM_OK;
}

gm_status gm_file_map(gm_mapped_file *file, const char *path, gm_status missing) {
    *file = (gm_mapped_file){0};
    int fd;
    size_t length;
    GM_TRY(gm_file_open_regular(path, missing, &fd, &length));
    void *bytes = length ? mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    int reason = errno;
    close(fd);
    if (bytes == MAP_FAILED) return gm_error(reason == ENOMEM ? GM_NO_MEMORY : GM_FAIL, "%s: cannot be mapped: %s", path, strerror(reason));
    *file = (gm_mapped_file){bytes, length};
    return GM_OK;
}

void gm_file_unmap(gm_mapped_file *file) {
    if (file->bytes) munmap((void *)file->bytes, file->length);
    *file = (gm_mapped_file){0};
}

gm_status gm_file_hash(const char *path, uint64_t *hash) {
    gm_mapped_file file;
    GM_TRY(gm_file_map(&file, path, GM_BAD_FILE));
    *hash = gm_hash(file.bytes, file.length, *hash);
    gm_file_unmap(&file);
    return GM_OK;
}

gm_status gm_file_read(gm_buffer *buffer, const char *path, size_t limit, gm_status missing) {
    gm_byte_reader reader;
    char chunk[16384];
    size_t n = 0;
    gm_buffer_clear(buffer);
    GM_TRY(gm_byte_reader_open(&reader, path, missing));
    gm_status status;
    while ((status = gm_byte_reader_read(&reader, chunk, sizeof chunk, &n)) == GM_OK && n > 0) {
        if (buffer->length + n > limit) status = gm_error(GM_BAD_FILE, "%s: is larger than %zu bytes", path, limit);
        if (status == GM_OK) gm_buffer_append(buffer, chunk, n);
        if (status == GM_OK) status = gm_buffer_status(buffer);
        if (status != GM_OK) break;
    }
    gm_byte_reader_close(&reader);
    return status;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static gm_status write_failed(const char *path) { return gm_error(GM_FAIL, "%s: cannot be written: %s", path, strerror(errno)); }

gm_status gm_file_put(int descriptor, const char *path, const void *bytes, size_t length) {
    const unsigned char *at = bytes;
    while (length > 0) {
        ssize_t n = write(descriptor, at, length);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return write_failed(path);
        at += n;
        length -= (size_t)n;
    }
    return GM_OK;
}

/* EINVAL, EROFS: what is open is nothing that can be synced, a pipe or a directory of some file systems. */
static bool sync_descriptor(int fd) { return fsync(fd) == 0 || errno == EINVAL || errno == EROFS; }

/* Closes the descriptor. */
static gm_status write_opened(int fd, const char *path, gm_file_writer write_bytes, void *context) {
    gm_status status = write_bytes(context, fd, path);
    if (status == GM_OK && !sync_descriptor(fd)) status = write_failed(path);
    if (close(fd) != 0 && status == GM_OK) status = write_failed(path);
    return status;
}

gm_status gm_file_write_by(const char *path, gm_file_writer write_bytes, void *context) {
    struct stat info;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0666); /* O_NONBLOCK: a FIFO must not hang us */
    if (fd < 0) return write_failed(path);
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) { /* and a device must not be removed below */
        close(fd);
        return gm_error(GM_FAIL, "%s: cannot be written: is not a regular file", path);
    }
    gm_status status = write_opened(fd, path, write_bytes, context);
    if (status != GM_OK) unlink(path);
    return status;
}

typedef struct gm_bytes {
    const void *bytes;
    size_t length;
} gm_bytes;

static gm_status put_bytes(void *context, int descriptor, const char *path) {
    const gm_bytes *b = context;
    return gm_file_put(descriptor, path, b->bytes, b->length);
}

gm_status gm_file_write(const char *path, const void *bytes, size_t length) {
    return gm_file_write_by(path, put_bytes, &(gm_bytes){bytes, length});
}

/* ---- replacing -------------------------------------------------------------------------------------------------- */

enum { DRAFT_NAME = 200 }; /* so much of the file's own name, of which a long one leaves no room for more */
static const char draft_mark[] = ".gmoe-", draft_end[] = ".tmp";

/* "directory/" of a path, "" where it names none, and the name behind it. */
static const char *split_path(const char *path, int *directory) {
    const char *slash = strrchr(path, '/');
    *directory = slash ? (int)(slash + 1 - path) : 0;
    return path + *directory;
}

static bool is_draft_of(const char *name, const char *of) {
    size_t length = strnlen(of, DRAFT_NAME), mark = strlen(draft_mark);
    if (strncmp(name, of, length) != 0 || strncmp(name + length, draft_mark, mark) != 0) return false;
    name += length + mark;
    return strspn(name, "0123456789abcdef") == 6 && strcmp(name + 6, draft_end) == 0;
}

/* A new file, never one that is there: another's, or a link. Its mode is as the umask says. */
static gm_status open_draft(const char *path, char draft[GM_PATH], int *fd) {
    enum { TRIES = 1000 };
    int directory;
    const char *name = split_path(path, &directory);
    for (unsigned i = 0; i < TRIES; i++) {
        unsigned number = ((unsigned)getpid() + i) & 0xffffff;
        if (snprintf(draft, GM_PATH, "%.*s%.*s%s%06x%s", directory, path, DRAFT_NAME, name, draft_mark, number, draft_end) >= GM_PATH)
            return gm_error(GM_USAGE, "%s: the path is too long", path);
        *fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (*fd >= 0) return GM_OK;
        if (errno != EEXIST) break;
    }
    return write_failed(draft);
}

/* The file is in place already: of a directory that may not be read it stays unknown when that is on the disk. */
static gm_status sync_parent(const char *path) {
    char parent[GM_PATH];
    int directory;
    split_path(path, &directory);
    if (snprintf(parent, sizeof parent, "%.*s", directory ? directory : 1, directory ? path : ".") >= GM_PATH) return GM_OK;
    return access(parent, R_OK) == 0 ? gm_directory_sync(parent) : GM_OK;
}

gm_status gm_file_replace_by(const char *path, gm_file_writer write_bytes, void *context) {
    char draft[GM_PATH], target[PATH_MAX];
    struct stat info;
    int fd = -1;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* a device, a pipe: nothing to replace */
        fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd >= 0 ? write_opened(fd, path, write_bytes, context) : write_failed(path);
    }
    if (realpath(path, target)) path = target; /* a link stays, its target is replaced */
    GM_TRY(open_draft(path, draft, &fd));
    gm_status status = write_opened(fd, draft, write_bytes, context);
    if (status == GM_OK && rename(draft, path) != 0) status = write_failed(path);
    if (status == GM_OK) return sync_parent(path);
    unlink(draft);
    return status;
}

gm_status gm_file_replace(const char *path, const void *bytes, size_t length) {
    return gm_file_replace_by(path, put_bytes, &(gm_bytes){bytes, length});
}

gm_status gm_file_remove_drafts(const char *path) {
    char parent[GM_PATH], draft[GM_PATH];
    struct stat info;
    int length;
    const char *name = split_path(path, &length);
    snprintf(parent, sizeof parent, "%.*s", length ? length : 1, length ? path : ".");
    DIR *directory = opendir(parent);
    if (!directory) return errno == ENOENT ? GM_OK : gm_error(GM_FAIL, "%s: cannot be listed: %s", parent, strerror(errno));
    gm_status status = GM_OK;
    for (struct dirent *entry; status == GM_OK && (entry = readdir(directory)) != NULL;) {
        if (!is_draft_of(entry->d_name, name)) continue;
        status = gm_path_join(draft, parent, entry->d_name);
        if (status != GM_OK || lstat(draft, &info) != 0 || !S_ISREG(info.st_mode)) continue;
        if (unlink(draft) != 0 && errno != ENOENT) status = gm_error(GM_FAIL, "%s: cannot be removed: %s", draft, strerror(errno));
    }
    closedir(directory);
    return status;
}

/* ---- standard descriptors --------------------------------------------------------------------------------------- */

void gm_file_hold_standard(void) {
    static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY}; /* the wrong way round for input and output: no end of file, no success */
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd) _exit(GM_FAIL); /* nowhere to say it */
}

/* ---- directories ------------------------------------------------------------------------------------------------ */

gm_status gm_directory_make(const char *path) {
    char part[GM_PATH];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part) return gm_error(GM_USAGE, "%s: the path is empty or too long", path);
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        char kept = part[i];
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) return gm_error(GM_FAIL, "%s: cannot be made: %s", part, strerror(errno));
        part[i] = kept;
    }
    return gm_directory_exists(path) ? GM_OK : gm_error(GM_FAIL, "%s: is not a directory", path);
}

gm_status gm_directory_sync(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    gm_status status = fd < 0 || !sync_descriptor(fd) ? write_failed(path) : GM_OK;
    if (fd >= 0) close(fd);
    return status;
}

gm_status gm_directory_remove(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); /* what a link points to is not ours */
    if (fd < 0) return errno == ENOENT ? GM_OK : gm_error(GM_FAIL, "%s: cannot be removed: %s", path, strerror(errno));
    DIR *directory = fdopendir(fd);
    if (!directory) {
        close(fd);
        return gm_error(GM_NO_MEMORY, "%s: out of memory while removing", path);
    }
    gm_status status = GM_OK;
    for (struct dirent *entry; status == GM_OK && (entry = readdir(directory)) != NULL;) {
        char name[GM_PATH];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        status = gm_path_join(name, path, entry->d_name);
        if (status != GM_OK || unlink(name) == 0) continue;
        status = errno == EISDIR || errno == EPERM ? gm_directory_remove(name)
                                                   : gm_error(GM_FAIL, "%s: cannot be removed: %s", name, strerror(errno));
    }
    closedir(directory);
    if (status == GM_OK && rmdir(path) != 0) status = gm_error(GM_FAIL, "%s: cannot be removed: %s", path, strerror(errno));
    return status;
}

bool gm_file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool gm_directory_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* The directory that a name stands in. */
static bool look_at_parent(const char *path, struct stat *info, const char **name) {
    char parent[GM_PATH];
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if ((size_t)snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash + 1 - path) : 1, slash ? path : ".") >= sizeof parent)
        return false;
    return stat(parent, info) == 0;
}

bool gm_same_file(const char *a, const char *b) {
    struct stat of_a, of_b;
    const char *name_a, *name_b;
    int seen = (stat(a, &of_a) == 0) + 2 * (stat(b, &of_b) == 0);
    if (seen == 1 || seen == 2) return false;
    if (seen == 0 && (!look_at_parent(a, &of_a, &name_a) || !look_at_parent(b, &of_b, &name_b) || strcmp(name_a, name_b) != 0))
        return false;
    return of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

gm_status gm_path_join(char path[GM_PATH], const char *directory, const char *name) {
    const char *slash = directory[0] && directory[strlen(directory) - 1] != '/' ? "/" : "";
    if (snprintf(path, GM_PATH, "%s%s%s", directory, slash, name) >= GM_PATH)
        return gm_error(GM_USAGE, "%s/%s: the path is too long", directory, name);
    return GM_OK;
}
