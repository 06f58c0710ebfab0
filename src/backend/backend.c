#include "backend/backend.h"

void gm_backend_measure(gm_backend *backend, bool on) { backend->kernels = on ? backend->measuring : backend->real; }

const char *gm_kernels_missing(const gm_kernels *kernels) {
#define MISSING(name, parameters)                                                                                                          \
    if (!kernels->name) return #name;
    GM_KERNEL_LIST(MISSING)
#undef MISSING
    return NULL;
}

void gm_backend_count(gm_backend *backend, size_t given, size_t taken_back) {
    backend->allocated += given;
    backend->allocated -= taken_back;
    if (backend->allocated > backend->allocated_peak) backend->allocated_peak = backend->allocated;
}

void gm_backend_close(gm_backend *backend) {
    if (backend) backend->close(backend);
}
