/* The CUDA module's entry: opens device number `device`, completeness of the table not looked at; and what it was compiled against,
 * GM_BACKEND_INTERFACE, to be compared before anything is called. */
#ifndef GM_BACKEND_CUDA_MODULE_H
#define GM_BACKEND_CUDA_MODULE_H

#include "backend/backend.h"

__attribute__((visibility("default"))) gm_status gm_cuda_open(gm_backend **backend, int device);
__attribute__((visibility("default"))) extern const char gm_cuda_interface[];

#endif
