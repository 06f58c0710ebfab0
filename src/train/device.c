#include "train/device.h"

#include "base/log.h"
#include "base/number.h"

#include <limits.h>
#include <string.h>

typedef enum gm_device_kind { GM_DEVICE_AUTO, GM_DEVICE_CPU, GM_DEVICE_CUDA } gm_device_kind;

static gm_status parse(const char *name, gm_device_kind *kind, int *number) {
    int64_t n = 0;
    *number = 0;
    if (strcmp(name, "auto") == 0) return *kind = GM_DEVICE_AUTO, GM_OK;
    if (strcmp(name, "cpu") == 0) return *kind = GM_DEVICE_CPU, GM_OK;
    if (strcmp(name, "cuda") != 0 && (strncmp(name, "cuda:", 5) != 0 || !gm_parse_integer(name + 5, strlen(name + 5), 0, INT_MAX, &n)))
        return gm_error(GM_USAGE, "--device: \"%.40s\" is none of auto, cpu, cuda, cuda:N (N from 0 to %d)", name, INT_MAX);
    *number = (int)n;
    *kind = GM_DEVICE_CUDA;
    return GM_OK;
}

gm_status gm_device_check(const char *name) {
    gm_device_kind kind;
    int number;
    return parse(name, &kind, &number);
}

gm_status gm_device_open(gm_backend **backend, const char *name) {
    gm_device_kind kind;
    int number;
    GM_TRY(parse(name, &kind, &number));
    if (kind == GM_DEVICE_CUDA) return gm_backend_open_cuda(backend, number);
    if (kind == GM_DEVICE_AUTO && gm_backend_has_cuda()) {
        bool driver = gm_backend_has_driver();
        if (!driver) gm_error(GM_FAIL, "no NVIDIA driver is found (libcuda.so.1)");
        if (driver && gm_backend_open_cuda(backend, 0) == GM_OK) return GM_OK;
        gm_log(driver ? GM_LOG_WARN : GM_LOG_INFO, "--device auto takes the CPU: %s", gm_error_text());
    }
    return gm_backend_open_cpu(backend, 0);
}
