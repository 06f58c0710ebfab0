/* Output directories of runs, where a program was given one. */
#ifndef GM_CLI_RUN_DIRECTORY_H
#define GM_CLI_RUN_DIRECTORY_H

#include "base/buffer.h"

/* The directory was written by gmoe-train; an adapter or a model directory is none. */
bool gm_is_run_directory(const char *path);

/* GM_USAGE where the path is a run's directory instead of an adapter: says which one in it to take. */
gm_status gm_check_adapter_path(const char *option, const char *path);

/* Appends what the run was, how far it came and what it gave. GM_BAD_FILE where its files contradict themselves. */
gm_status gm_describe_run(gm_buffer *out, const char *directory);

#endif
