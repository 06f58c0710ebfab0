#include "base/file.h"

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
#include <zlib.h>

static gm_status open_regular(const char *path, gm_status missing, int *descriptor, size_t *length) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: a FIFO must not hang us */
    if (fd < 0) return gm_error(errno == ENOENT || errno == ENOTDIR ? missing : GM_FAIL, "%s: %s", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return gm_error(GM_BAD_FILE, "%s: is not a regular file", path);
    }
    *descriptor = fd;
    *length = (size_t)info.st_size;
    return GM_OK;
}

gm_status gm_file_map(gm_mapped_file *file, const char *path, gm_status missing) {
    *file = (gm_mapped_file){0};
    int fd;
    size_t length;
    GM_TRY(open_regular(path, missing, &fd, &length));
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

static gm_status read_stream(gm_buffer *buffer, gzFile stream, const char *path, size_t limit) {
    char chunk[16384];
    for (;;) {
        int n = gzread(stream, chunk, sizeof chunk);
        if (n < 0) {
            int code;
            const char *reason = gzerror(stream, &code);
            return gm_error(code == Z_ERRNO ? GM_FAIL : GM_BAD_FILE, "%s: %s", path, code == Z_ERRNO ? strerror(errno) : reason);
        }
        if (n == 0) break;
        if (buffer->length + (size_t)n > limit) return gm_error(GM_BAD_FILE, "%s: is larger than %zu bytes", path, limit);
        gm_buffer_append(buffer, chunk, (size_t)n);
        GM_TRY(gm_buffer_status(buffer));
    }
    return GM_OK;
}

gm_status gm_file_read(gm_buffer *buffer, const char *path, size_t limit, gm_status missing) {
    int fd;
    size_t length;
    GM_TRY(open_regular(path, missing, &fd, &length));
    gm_buffer_clear(buffer);
    gzFile stream = gzdopen(fd, "rb"); /* passes plain files through */
    if (!stream) {
        close(fd);
        return gm_error(GM_NO_MEMORY, "%s: out of memory while opening", path);
    }
    gm_status status = read_stream(buffer, stream, path, limit);
    if (gzclose(stream) == Z_BUF_ERROR && status == GM_OK) status = gm_error(GM_BAD_FILE, "%s: the gzip stream is cut short", path);
    return status;
}

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

static gm_status write_all(int fd, const char *path, const void *bytes, size_t length) {
    GM_TRY(gm_file_put(fd, path, bytes, length));
    return fsync(fd) == 0 || errno == EINVAL || errno == EROFS ? GM_OK : write_failed(path); /* EINVAL: not a file that can be synced */
}

gm_status gm_file_write(const char *path, const void *bytes, size_t length) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return write_failed(path);
    gm_status status = write_all(fd, path, bytes, length);
    if (close(fd) != 0 && status == GM_OK) status = write_failed(path);
    if (status != GM_OK && gm_file_exists(path)) unlink(path); /* a device is not ours to remove */
    return status;
}

gm_status gm_file_replace(const char *path, const void *bytes, size_t length) {
    char temporary[GM_PATH], target[PATH_MAX];
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return gm_file_write(path, bytes, length); /* a device, a pipe: nothing to replace */
    if (realpath(path, target)) path = target;     /* a link stays, its target is replaced */
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.tmp", path) >= sizeof temporary)
        return gm_error(GM_USAGE, "%s: the path is too long", path);
    GM_TRY(gm_file_write(temporary, bytes, length));
    if (rename(temporary, path) != 0) {
        gm_status status = write_failed(path);
        unlink(temporary);
        return status;
    }
    return GM_OK;
}

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
    int failed = fd < 0 || fsync(fd) != 0;
    gm_status status = failed ? write_failed(path) : GM_OK;
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
