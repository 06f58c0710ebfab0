/* The device named on the command line. */
#ifndef GM_TRAIN_DEVICE_H
#define GM_TRAIN_DEVICE_H

#include "backend/backend.h"

/* "cpu", "cuda" (the first), "cuda:N", or "auto": the first CUDA device where one can be opened, else the CPU. Where there is a CUDA
 * module the log says why: a warning where there is a driver, since a GPU may be left unused. GM_USAGE for another name, GM_FAIL
 * where the device cannot be opened. */
gm_status gm_device_open(gm_backend **backend, const char *name);
/* Whether the name is one of these; nothing is opened. */
gm_status gm_device_check(const char *name);

#endif
