/* The CUDA module's one entry: opens device number `device`, completeness of the table not looked at. */
#ifndef GM_BACKEND_CUDA_MODULE_H
#define GM_BACKEND_CUDA_MODULE_H

#include "backend/backend.h"

__attribute__((visibility("default"))) gm_status gm_cuda_open(gm_backend **backend, int device);

#endif
