/* gmoe-inspect's parts. All of them print to standard output; names come from files, and no control byte of theirs reaches the
 * terminal. */
#ifndef GM_CLI_INSPECT_H
#define GM_CLI_INSPECT_H

#include "io/safetensors.h"
#include <stdbool.h>

enum { GM_INSPECT_PROBLEMS = 10 }; /* shown; the rest is counted */

typedef struct gm_findings {
    int problems;
    char *text[GM_INSPECT_PROBLEMS]; /* owned; NULL where there was no memory for it */
} gm_findings;                       /* {0} is none */

/* A fault of the file: the exit status becomes 3. */
void gm_inspect_problem(gm_findings *findings, const char *format, ...) GM_PRINTF(2, 3);
/* Those that were found, a line each behind `before`. */
void gm_inspect_print_problems(const gm_findings *findings, const char *before);
void gm_findings_free(gm_findings *findings);

void gm_inspect_name(const char *text, int width); /* padded to `width` columns, cut by no limit */
const char *gm_inspect_commas(uint64_t value, char text[32]);
const char *gm_inspect_bytes(uint64_t bytes, char text[32]); /* "1.5 GiB" */
uint64_t gm_inspect_elements(const gm_file_tensor *tensor);

/* The tensors as a table, at most `most` rows of it (0: all), their totals and the metadata. Only failure: GM_NO_MEMORY. */
gm_status gm_inspect_tensors(const gm_safetensors *file, size_t most);

/* A base model's directory: what it is, and whether gmoe can train on it. A bad file is a finding, not a failure. */
gm_status gm_inspect_model(gm_findings *findings, const char *directory);

/* For gmoe-tokenize a whole model is not needed. */
bool gm_inspect_is_tokenizer(const char *directory);
gm_status gm_inspect_tokenizer(gm_findings *findings, const char *directory);

#endif
