/* Loads the CUDA backend, a module of its own: the CUDA libraries take most of a second to load, and programs start without.
 * It lies in lib/gmoe beside the programs' folder, in a build as once installed. What it needs of us (status, arenas) it finds in the
 * program, which exports it. */
#include "backend/backend.h"
#include "backend/interface.h"
#include "base/file.h"

#include <dlfcn.h>
#include <link.h>
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

bool gm_backend_has_driver(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver) dlclose(driver);
    return driver != NULL;
}

/* dlopen maps the segments that the file's headers name without asking whether the file has them: touching what it lacks ends the
 * program (SIGBUS). Anything else that is wrong with the file dlopen itself says. */
static gm_status check_whole(const char *path) {
    gm_mapped_file file;
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;
    size_t end = 0;
    GM_TRY(gm_file_map(&file, path, GM_FAIL));
    if (file.length >= sizeof header) {
        memcpy(&header, file.bytes, sizeof header);
        bool known = memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_phentsize == sizeof segment && header.e_phoff <= file.length;
        for (size_t i = 0; known && i < header.e_phnum && (i + 1) * sizeof segment <= file.length - header.e_phoff; i++) {
            memcpy(&segment, file.bytes + header.e_phoff + i * sizeof segment, sizeof segment);
            if (segment.p_type == PT_LOAD && segment.p_offset + segment.p_filesz > end) end = segment.p_offset + segment.p_filesz;
        }
    }
    size_t length = file.length;
    gm_file_unmap(&file);
    return end <= length ? GM_OK
                         : gm_error(GM_FAIL, "%s: is cut off: %zu of %zu bytes; build it again, or use --device cpu", path, length, end);
}

static gm_status load(const char *path, gm_status (**open_module)(gm_backend **, int)) {
    GM_TRY(check_whole(path));
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays until the program ends */
    if (!module) return gm_error(GM_FAIL, "the CUDA backend does not load: %s; use --device cpu", dlerror());
    const char *interface = dlsym(module, "gm_cuda_interface");
    void *symbol = dlsym(module, "gm_cuda_open");
    memcpy(open_module, &symbol, sizeof symbol);
    if (symbol && interface && strcmp(interface, GM_BACKEND_INTERFACE) == 0) return GM_OK;
    return gm_error(GM_FAIL, "%s: no module of this program; build it again, or use --device cpu", path);
}

gm_status gm_backend_open_cuda(gm_backend **backend, int device) {
    char path[PATH];
    if (!find_module(path))
        return gm_error(GM_FAIL, "this build has no CUDA backend; build it with cmake -DGMOE_CUDA=ON, or use --device cpu");
    gm_status (*open_module)(gm_backend **, int) = NULL;
    GM_TRY(load(path, &open_module));
    GM_TRY(open_module(backend, device));
    const char *missing = gm_kernels_missing((*backend)->real);
    if (!missing) return GM_OK;
    gm_backend_close(*backend);
    return gm_error(GM_FAIL, "the CUDA backend has no kernel %s; use --device cpu", missing);
}
