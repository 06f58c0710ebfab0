/* Opens the CUDA backend, and its memory: one device, one stream. This folder is a module of its own (libgmoe_cuda.so), so that
 * programs start without the CUDA libraries; backend/open_cuda.c loads it. */
#include "backend/cuda/context.h"
#include "backend/cuda/module.h"
#include "backend/interface.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gm_cuda_fail(gm_backend *backend, const char *operation, const char *text) {
    gm_cuda_context *context = gm_cuda(backend);
    if (context->failed) return;
    context->failed = true;
    snprintf(context->error, sizeof context->error, "%s: %s", operation, text);
}

/* What a kernel does while it runs: the host is told by whatever it asks for next. */
static bool is_told_late(cudaError_t error) {
    const char *blocking = getenv("CUDA_LAUNCH_BLOCKING");
    if (blocking && strcmp(blocking, "1") == 0) return false;
    switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorLaunchTimeout:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorUnknown: return true;
    default: return false;
    }
}

void gm_cuda_check(gm_backend *backend, cudaError_t error, const char *operation) {
    char text[256], name[96];
    if (error == cudaSuccess) return;
    bool bracketed = operation[0] == '('; /* as a kernel's name is that has commas, where it is launched */
    snprintf(name, sizeof name, "%.*s", (int)strlen(operation) - 2 * bracketed, operation + bracketed);
    snprintf(text, sizeof text, "%s%s", cudaGetErrorString(error),
             is_told_late(error) ? " (noticed there; the fault is in it or before it: CUDA_LAUNCH_BLOCKING=1 names the kernel)" : "");
    gm_cuda_fail(backend, name, text);
}

cudaStream_t gm_cuda_stream(gm_backend *backend) { return gm_cuda(backend)->stream; }
double *gm_cuda_sums(gm_backend *backend) { return gm_cuda(backend)->sums; }
void *gm_cuda_scratch(gm_backend *backend, size_t bytes) { return gm_arena_take(&backend->scratch, bytes); }

void *gm_cuda_upload(gm_backend *backend, const void *host, size_t bytes) {
    void *memory = gm_cuda_scratch(backend, bytes);
    if (!gm_backend_measures(backend)) gm_cuda_write(backend, memory, host, bytes);
    return memory;
}

void gm_cuda_fetch(gm_backend *backend, void *host, const void *in, size_t bytes) {
    gm_cuda_context *context = gm_cuda(backend);
    if (gm_backend_measures(backend) || bytes == 0) return;
    gm_cuda_check(backend, cudaMemcpyAsync(host, in, bytes, cudaMemcpyDeviceToHost, context->stream), "reading from the device");
    gm_cuda_check(backend, cudaStreamSynchronize(context->stream), "reading from the device");
    if (context->failed) memset(host, 0, bytes);
}

gm_status gm_cuda_not_allocated(const gm_cuda_context *context, cudaError_t error, size_t bytes, const char *what) {
    size_t available = 0, all = 0;
    cudaGetLastError();
    if (error != cudaErrorMemoryAllocation) return gm_error(GM_FAIL, "CUDA: memory for %s: %s", what, cudaGetErrorString(error));
    cudaMemGetInfo(&available, &all);
    return gm_error(GM_NO_MEMORY, "out of device memory: %s needs %.1f MB, %.1f of cuda:%d's %.1f MB are free", what, (double)bytes / 1e6,
                    (double)available / 1e6, context->device, (double)all / 1e6);
}

static gm_status allocate(gm_backend *backend, void **memory, size_t bytes, const char *what) {
    *memory = NULL;
    if (bytes == 0) return GM_OK;
    cudaError_t error = gm_cuda(backend)->managed ? cudaMallocManaged(memory, bytes, cudaMemAttachGlobal) : cudaMalloc(memory, bytes);
    if (error == cudaSuccess) {
        gm_backend_count(backend, bytes, 0);
        return GM_OK;
    }
    return gm_cuda_not_allocated(gm_cuda(backend), error, bytes, what);
}

static void release(gm_backend *backend, void *memory, size_t bytes) {
    gm_backend_count(backend, 0, bytes);
    gm_cuda_check(backend, cudaFree(memory), "giving back device memory");
}

static gm_status check(gm_backend *backend) {
    gm_cuda_context *context = gm_cuda(backend);
    gm_cuda_check(backend, cudaStreamSynchronize(context->stream), "waiting for the device");
    return context->failed ? gm_error(GM_FAIL, "CUDA: %s", context->error) : GM_OK;
}

static double gemm_seconds(gm_backend *backend) {
    double seconds = gm_cuda(backend)->gemm_seconds;
    gm_cuda(backend)->gemm_seconds = 0;
    return seconds;
}

static void close_backend(gm_backend *backend) {
    gm_cuda_context *context = gm_cuda(backend);
    if (context->stream) cudaStreamSynchronize(context->stream);
    gm_cuda_blas_close(context);
    gm_cuda_staging_close(&context->staging);
    if (context->sums) cudaFree(context->sums);
    if (context->stream) cudaStreamDestroy(context->stream);
    free(context);
    free(backend);
}

static gm_status no_devices(cudaError_t error) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        return gm_error(GM_FAIL, "no NVIDIA driver is loaded; install one (for CUDA %d.%d or newer), or use --device cpu", runtime / 1000,
                        runtime % 100 / 10);
    if (error == cudaErrorInsufficientDriver)
        return gm_error(GM_FAIL, "the NVIDIA driver is too old: it knows CUDA %d.%d and %d.%d is needed; update it, or use --device cpu",
                        driver / 1000, driver % 100 / 10, runtime / 1000, runtime % 100 / 10);
    if (error == cudaErrorNoDevice)
        return gm_error(GM_FAIL, "there is no CUDA device%s; use --device cpu",
                        getenv("CUDA_VISIBLE_DEVICES") ? " that CUDA_VISIBLE_DEVICES leaves visible" : "");
    return gm_error(GM_FAIL, "CUDA: looking for devices: %s; use --device cpu", cudaGetErrorString(error));
}

static gm_status choose_device(int device) {
    int count = 0, major = 0, minor = 0;
    struct cudaDeviceProp properties;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) return no_devices(error == cudaSuccess ? cudaErrorNoDevice : error);
    if (device < 0 || device >= count)
        return gm_error(GM_FAIL, "there is no device cuda:%d; the last one here is cuda:%d", device, count - 1);
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    if (error == cudaSuccess && major < GM_CUDA_LEAST_MAJOR && (error = cudaGetDeviceProperties(&properties, device)) == cudaSuccess)
        return gm_error(GM_FAIL, "cuda:%d (%s) has compute capability %d.%d; %d.0 is needed; use another device or --device cpu", device,
                        properties.name, major, minor, GM_CUDA_LEAST_MAJOR);
    if (error == cudaSuccess) error = cudaSetDevice(device);
    return error == cudaSuccess ? GM_OK : gm_error(GM_FAIL, "CUDA: opening cuda:%d: %s", device, cudaGetErrorString(error));
}

static gm_status prepare(gm_cuda_context *context, int device) {
    GM_TRY(choose_device(device));
    context->device = device;
    cudaError_t error = cudaStreamCreateWithFlags(&context->stream, cudaStreamNonBlocking);
    if (error != cudaSuccess) return gm_error(GM_FAIL, "CUDA: opening cuda:%d: %s", device, cudaGetErrorString(error));
    void *sums = NULL;
    error = cudaMalloc(&sums, GM_CUDA_SUMS * sizeof *context->sums);
    if (error != cudaSuccess) return gm_cuda_not_allocated(context, error, GM_CUDA_SUMS * sizeof *context->sums, "partial sums");
    context->sums = sums;
    GM_TRY(gm_cuda_staging_open(&context->staging));
    return gm_cuda_blas_open(context);
}

const char gm_cuda_interface[] = GM_BACKEND_INTERFACE;

/* GMOE_CUDA_MANAGED in the environment makes memory that tests can look at without copying. */
gm_status gm_cuda_open(gm_backend **backend, int device) {
    gm_backend *opened;
    gm_cuda_context *context;
    GM_ALLOC(opened, 1);
    context = gm_alloc(1, sizeof *context);
    if (!context) return free(opened), GM_NO_MEMORY;
    context->managed = getenv("GMOE_CUDA_MANAGED") != NULL;
    *opened = (gm_backend){.name = "cuda",
                           .largest_head = GM_CUDA_LARGEST_HEAD,
                           .kernels = &gm_cuda_kernels,
                           .real = &gm_cuda_kernels,
                           .measuring = &gm_cuda_kernels_measuring,
                           .context = context,
                           .allocate = allocate,
                           .release = release,
                           .write = gm_cuda_write,
                           .read = gm_cuda_fetch,
                           .check = check,
                           .gemm_seconds = gemm_seconds,
                           .close = close_backend};
    gm_status status = prepare(context, device);
    if (status != GM_OK) return close_backend(opened), status;
    struct cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, device) == cudaSuccess)
        snprintf(opened->device_name, sizeof opened->device_name, "%.63s", properties.name);
    *backend = opened;
    return GM_OK;
}
