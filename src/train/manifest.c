#include "train/manifest.h"

#include "base/number.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { VERSION = 1, MANIFEST_BYTES = 1 << 20 };
static const char manifest_name[] = "MANIFEST";

static uint32_t crc_of(const void *bytes, size_t length) { return (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, length); }

static gm_status measure_file(const char *path, size_t *size, uint32_t *crc) {
    gm_mapped_file file;
    GM_TRY(gm_file_map(&file, path, GM_BAD_FILE));
    *size = file.length;
    *crc = file.length ? crc_of(file.bytes, file.length) : crc_of("", 0);
    gm_file_unmap(&file);
    return GM_OK;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static gm_status list_files(gm_buffer *out, const char *directory) {
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, NULL, alphasort);
    gm_status status = count < 0 ? gm_error(GM_FAIL, "%s: cannot be listed", directory) : GM_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char path[GM_PATH];
        size_t size;
        uint32_t crc;
        if (status == GM_OK && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            status = gm_path_join(path, directory, name);
            if (status == GM_OK) status = measure_file(path, &size, &crc);
            if (status == GM_OK) gm_buffer_format(out, "file %zu %08x %s\n", size, crc, name);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

gm_status gm_manifest_write(const char *directory, int64_t step) {
    gm_buffer body = {0}, text = {0};
    char path[GM_PATH];
    gm_buffer_format(&body, "step %lld\n", (long long)step);
    gm_status status = list_files(&body, directory);
    if (status == GM_OK) status = gm_buffer_status(&body);
    if (status == GM_OK) {
        gm_buffer_format(&text, "gmoe-manifest %d %08x\n%s", VERSION, crc_of(body.bytes, body.length), body.bytes);
        status = gm_buffer_status(&text);
    }
    if (status == GM_OK) status = gm_path_join(path, directory, manifest_name);
    if (status == GM_OK) status = gm_file_write(path, text.bytes, text.length);
    if (status == GM_OK) status = gm_directory_sync(directory);
    gm_buffer_free(&body);
    gm_buffer_free(&text);
    return status;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static gm_status verify_file(const char *directory, const char *line) {
    unsigned long long want_size;
    unsigned want_crc;
    int name_at = 0;
    char path[GM_PATH];
    size_t size;
    uint32_t crc;
    if (sscanf(line, "file %llu %8x %n", &want_size, &want_crc, &name_at) != 2 || name_at == 0 || strchr(line + name_at, '/'))
        return gm_error(GM_BAD_FILE, "%s: MANIFEST: a line that makes no sense", directory);
    GM_TRY(gm_path_join(path, directory, line + name_at));
    GM_TRY(measure_file(path, &size, &crc));
    if (size != want_size) return gm_error(GM_BAD_FILE, "%s: has %zu bytes, not %llu", path, size, want_size);
    if (crc != want_crc) return gm_error(GM_BAD_FILE, "%s: its bytes have changed (CRC32 %08x, not %08x)", path, crc, want_crc);
    return GM_OK;
}

static gm_status verify_lines(const char *directory, char *body, int64_t step) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "step %lld", (long long)step);
    for (char *line = body, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) return gm_error(GM_BAD_FILE, "%s: MANIFEST: is cut short", directory);
        *end = '\0';
        if (line != body)
            GM_TRY(verify_file(directory, line));
        else if (strcmp(line, wanted) != 0)
            return gm_error(GM_BAD_FILE, "%s: MANIFEST: belongs to another step (%.40s)", directory, line);
    }
    return GM_OK;
}

/* The first line is compared with the one that the rest should have, byte by byte: a changed letter in it counts too. */
static gm_status verify_first_line(const char *path, const gm_buffer *text, size_t *body_at) {
    char wanted[64];
    const char *whole = gm_buffer_string(text), *end = strchr(whole, '\n');
    int version;
    if (!end || strlen(whole) != text->length || sscanf(whole, "gmoe-manifest %d ", &version) != 1)
        return gm_error(GM_BAD_FILE, "%s: is no manifest", path);
    if (version != VERSION) return gm_error(GM_BAD_FILE, "%s: has format version %d; this program reads %d", path, version, VERSION);
    *body_at = (size_t)(end + 1 - whole);
    snprintf(wanted, sizeof wanted, "gmoe-manifest %d %08x\n", VERSION, crc_of(end + 1, text->length - *body_at));
    if (strncmp(whole, wanted, *body_at) != 0) return gm_error(GM_BAD_FILE, "%s: its bytes have changed", path);
    return GM_OK;
}

gm_status gm_manifest_verify(const char *directory, int64_t step) {
    gm_buffer text = {0};
    char path[GM_PATH];
    size_t body_at = 0;
    GM_TRY(gm_path_join(path, directory, manifest_name));
    gm_status status = gm_file_read(&text, path, MANIFEST_BYTES, GM_BAD_FILE);
    if (status == GM_OK) status = verify_first_line(path, &text, &body_at);
    if (status == GM_OK) status = verify_lines(directory, text.bytes + body_at, step);
    gm_buffer_free(&text);
    return status;
}
