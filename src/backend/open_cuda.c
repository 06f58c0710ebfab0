/* Loads the CUDA backend, a module of its own: the CUDA libraries take most of a second to load, and programs start without.
 * It lies in lib/gmoe beside the programs' folder, in a build as once installed. What it needs of us (status, arenas) it finds in the
 * program, which exports it. */
#include "backend/backend.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 4096 };

/* False where there is no module. */
static bool find_module(char *path) {
    char program[PATH];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = '\0';
    *strrchr(program, '/') = '\0';
    return snprintf(path, PATH, "%s/../lib/gmoe/libgmoe_cuda.so", program) < PATH && access(path, R_OK) == 0;
}

bool gm_backend_has_cuda(void) {
    char path[PATH];
    return find_module(path);
}

bool gm_backend_cuda_is_likely(void) {
    void *driver = gm_backend_has_cuda() ? dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) : NULL;
    if (driver) dlclose(driver);
    return driver != NULL;
}

gm_status gm_backend_open_cuda(gm_backend **backend, int device) {
    char path[PATH];
    if (!find_module(path))
        return gm_error(GM_FAIL, "this build has no CUDA backend; build it with cmake -DGMOE_CUDA=ON, or use --device cpu");
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays until the program ends */
    if (!module) return gm_error(GM_FAIL, "the CUDA backend does not load: %s; use --device cpu", dlerror());
    gm_status (*open_module)(gm_backend **, int);
    void *symbol = dlsym(module, "gm_cuda_open");
    memcpy(&open_module, &symbol, sizeof symbol);
    if (!symbol) return gm_error(GM_FAIL, "%s: no module of this program; build it again", path);
    GM_TRY(open_module(backend, device));
    const char *missing = gm_kernels_missing((*backend)->real);
    if (!missing) return GM_OK;
    gm_backend_close(*backend);
    return gm_error(GM_FAIL, "the CUDA backend has no kernel %s; use --device cpu", missing);
}
