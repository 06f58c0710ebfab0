/* Folders that hold what programs can be given, and are none of it themselves. */
#ifndef GM_CLI_FOLDER_H
#define GM_CLI_FOLDER_H

#include "base/buffer.h"

/* Appends what the folder holds: runs, adapters (a run's checkpoints), models, or data files; nothing where it holds none of these. */
gm_status gm_describe_folder(gm_buffer *out, const char *directory);

#endif
