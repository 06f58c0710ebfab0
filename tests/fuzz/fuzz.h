/* What the fuzz targets share. A target is a fuzz_NAME.c that feeds one parser: libFuzzer drives it (scripts/fuzz.sh), or
 * replay.c does (the ctest fuzz/NAME). A broken promise of the parser ends the process through GM_CHECK. */
#ifndef GM_FUZZ_H
#define GM_FUZZ_H

#include "base/file.h"
#include "base/memory.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);            /* before the first input: nothing is logged from then on */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* 0: the input may go into the corpus */

/* A regular file, in memory, that holds the bytes until the next call; the path stays the same. */
const char *gm_fuzz_file(const uint8_t *data, size_t size);

/* A directory, removed at the end, where `name` is a link to that file. One directory a process; names add up. */
const char *gm_fuzz_directory(const char *name);

/* The parser's promise: GM_OK, or `refusal` with one line of printable text that names `path`. */
void gm_fuzz_check(gm_status status, gm_status refusal, const char *path);

#endif
