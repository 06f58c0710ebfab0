/* The emulation's side of kernels/common.cuh, and what tests ask of it. C++ and C. */
#ifndef GM_EMULATION_H
#define GM_EMULATION_H

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the host's code may look at device memory between kernels and copies. A test may; the backend may not, and ends with
 * the address if it does. Off at the start. */
void gm_emulation_host_access(bool on);
/* Also in the environment: GMOE_EMULATION_KB, the device's memory; GMOE_EMULATION_FAULT=N, the Nth launch fails as one that
 * touched memory that is not there. */

/* Seed of the threads' and the blocks' order; GMOE_EMULATION_SEED in the environment, or 1. */
uint64_t gm_emulation_seed(void);

#ifdef __cplusplus
}

#include <new>
#include <tuple>

/* ---- shared memory: filled with NaN when the block's first thread comes by */

void gm_emulated_shared(void *memory, size_t bytes, uint64_t *block);
void *gm_emulated_dynamic_shared(size_t alignment);

#define GM_SHARED(type, name, dimensions)                                                                                                  \
    alignas(16) static type name dimensions;                                                                                               \
    static uint64_t name##_block_;                                                                                                         \
    gm_emulated_shared(&name, sizeof name, &name##_block_)
#define GM_DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(gm_emulated_dynamic_shared(alignof(type)))

/* ---- launches: the arguments are copied now, as a launch does; the kernel runs when somebody waits for the stream */

enum { GM_EMULATED_ARGUMENTS = 4096 }; /* bytes, as on the device */

struct gm_emulated_launch {
    const char *name;
    const void *kernel;
    dim3 grid, block;
    size_t shared;
    bool leave;                          /* for more than 48 KB of shared memory */
    void (*call)(const void *arguments); /* one thread */
    alignas(64) unsigned char arguments[GM_EMULATED_ARGUMENTS];
};
gm_emulated_launch *gm_emulated_begin_launch(cudaStream_t stream);
void gm_emulated_end_launch(gm_emulated_launch *launch);
void gm_emulated_check_pointer(const char *kernel, const void *pointer);

template <class T> static inline void gm_emulated_check_argument(const char *, const T &) {}
template <class T> static inline void gm_emulated_check_argument(const char *kernel, T *const &pointer) {
    gm_emulated_check_pointer(kernel, pointer);
}

template <class... P, class... A>
static inline void gm_emulated_start(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                                     const A &...arguments) {
    struct packed {
        void (*kernel)(P...);
        std::tuple<P...> arguments;
    };
    static_assert(sizeof...(P) == sizeof...(A), "the kernel takes another number of arguments");
    static_assert(sizeof(packed) <= GM_EMULATED_ARGUMENTS, "arguments of a kernel are 4 KB at most");
    gm_emulated_launch *launch = gm_emulated_begin_launch(stream);
    launch->name = name, launch->kernel = reinterpret_cast<const void *>(kernel);
    launch->grid = grid, launch->block = block, launch->shared = shared;
    launch->call = [](const void *bytes) {
        const packed *p = static_cast<const packed *>(bytes);
        std::apply(p->kernel, p->arguments);
    };
    packed *p = new (launch->arguments) packed{kernel, std::tuple<P...>(static_cast<P>(arguments)...)};
    std::apply([name](const P &...argument) { (gm_emulated_check_argument(name, argument), ...); }, p->arguments);
    gm_emulated_end_launch(launch);
}

#define GM_START(kernel, grid, block, shared, stream, ...) gm_emulated_start(#kernel, kernel, grid, block, shared, stream, __VA_ARGS__)
#endif
#endif
