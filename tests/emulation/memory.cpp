/* Device memory: one region of addresses. The host's code cannot touch it but while a kernel or a copy runs (or a test asks to
 * look), and a kernel cannot touch the program's stack and heap: a wrong pointer ends the program with its kernel's name.
 * Allocations are filled with NaN and have sentinels on both sides, looked at after every kernel. */
#include "internal.h"

#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

enum {
    SENTINEL = 256,
    SENTINEL_BYTE = 0x5a,
    ALIGN = 256,
    MOST_BLOCKS = 1 << 16,
    FILLED = 4 << 20 /* of a larger block the beginning: pages cost time */
};
const size_t REGION = size_t(16) << 30;

struct block {
    size_t at, bytes; /* of what the caller got, from the region's start */
};

unsigned char *region;
block *blocks; /* by address */
int block_count;
size_t used, whole;    /* bytes handed out; end of the last block, in whole pages */
size_t limit = REGION; /* of `used` */
bool host_access, in_kernel;
int depth;
int protection = PROT_NONE;

struct range {
    unsigned char *begin;
    size_t bytes;
} heap, stack, hidden_stack;

void protect(int wanted) {
    if (wanted == protection || !region) return;
    if (whole && mprotect(region, whole, wanted) != 0) gm_emulated_fail("mprotect of device memory");
    protection = wanted;
}

size_t pages(size_t bytes) { return (bytes + 4095) & ~size_t(4095); }

void show_host() {
    if (heap.bytes) mprotect(heap.begin, heap.bytes, PROT_READ | PROT_WRITE);
    if (hidden_stack.bytes) mprotect(hidden_stack.begin, hidden_stack.bytes, PROT_READ | PROT_WRITE);
}

void on_fault(int, siginfo_t *info, void *) {
    unsigned char *at = static_cast<unsigned char *>(info->si_addr);
    show_host();
    bool device = region && at >= region && at < region + REGION;
    if (in_kernel)
        gm_emulated_fail("touches %p: %s", static_cast<void *>(at),
                         device ? "device memory that is not there" : "not memory of the device");
    if (device) gm_emulated_fail("the host's code touches device memory (%p)", static_cast<void *>(at));
    signal(SIGSEGV, SIG_DFL);
}

void find_host();

void open_region() {
    if (region) return;
    mallopt(M_MMAP_MAX, 0); /* large blocks lie in the heap too */
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    gm_emulated_random(1); /* reads the environment, which kernels must not */
    const char *kilobytes = getenv("GMOE_EMULATION_KB");
    if (kilobytes) limit = strtoull(kilobytes, nullptr, 10) * 1000;
    void *memory = mmap(nullptr, REGION, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) gm_emulated_fail("no addresses for device memory");
    region = static_cast<unsigned char *>(memory);
    blocks = static_cast<block *>(gm_emulated_pages(MOST_BLOCKS * sizeof *blocks));
    stack_t alternate = {};
    alternate.ss_sp = gm_emulated_pages(64 << 10), alternate.ss_size = 64 << 10;
    sigaltstack(&alternate, nullptr);
    find_host();
}

/* Where heap and stack of the program begin and end, as the kernel lists them. */
void find_host() {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (maps && fgets(line, sizeof line, maps)) {
        size_t begin, end;
        if (sscanf(line, "%zx-%zx", &begin, &end) != 2) continue;
        if (strstr(line, "[heap]")) heap = {reinterpret_cast<unsigned char *>(begin), end - begin};
        if (strstr(line, "[stack]")) stack = {reinterpret_cast<unsigned char *>(begin), end - begin};
    }
    if (maps) fclose(maps);
}

void hide(const range &r, bool hidden) {
    if (r.bytes && mprotect(r.begin, r.bytes, hidden ? PROT_NONE : PROT_READ | PROT_WRITE) != 0)
        gm_emulated_fail("mprotect of the program");
}

void catch_faults() {
    struct sigaction action = {};
    action.sa_sigaction = on_fault, action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr); /* anew each time: cmocka sets its own for each test */
}

bool sentinel_holds(size_t at) {
    for (size_t i = 0; i < SENTINEL; i++)
        if (region[at + i] != SENTINEL_BYTE) return false;
    return true;
}

} // namespace

void gm_emulated_fail(const char *format, ...) {
    char where[256];
    if (region) mprotect(region, whole, PROT_READ | PROT_WRITE);
    show_host();
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "emulation (seed %llu): %s", static_cast<unsigned long long>(gm_emulation_seed()),
            gm_emulated_where(where, sizeof where));
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    signal(SIGABRT, SIG_DFL);
    abort();
}

void *gm_emulated_pages(size_t bytes) {
    void *memory = mmap(nullptr, pages(bytes) + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) gm_emulated_fail("out of memory");
    mprotect(memory, 4096, PROT_NONE); /* below a stack: running over it ends here */
    return static_cast<unsigned char *>(memory) + 4096;
}

bool gm_emulated_is_device(const void *memory, size_t bytes) {
    const unsigned char *p = static_cast<const unsigned char *>(memory);
    if (!region || p < region || p >= region + REGION) return false;
    size_t at = static_cast<size_t>(p - region);
    for (int i = 0; i < block_count; i++)
        if (at >= blocks[i].at && at + bytes <= blocks[i].at + blocks[i].bytes) return true;
    return false;
}

void gm_emulated_enter_device(bool kernel) {
    if (depth++ > 0) return;
    protect(PROT_READ | PROT_WRITE);
    if (kernel) catch_faults();
    in_kernel = kernel;
}

void gm_emulated_hide_host(bool hidden, const void *stack_pointer) {
    static size_t page = 4096;
    unsigned char *end = static_cast<unsigned char *>(sbrk(0)), *top = stack.begin + stack.bytes;
    unsigned char *used_stack = reinterpret_cast<unsigned char *>(reinterpret_cast<size_t>(stack_pointer) / page * page);
    if (heap.begin) heap.bytes = pages(static_cast<size_t>(end - heap.begin));
    if (used_stack < top && used_stack > top - (size_t(64) << 20)) {
        hidden_stack = {used_stack, static_cast<size_t>(top - used_stack)};
        hide(hidden_stack, hidden);
    }
    hide(heap, hidden);
}

void gm_emulated_leave_device() {
    if (--depth > 0) return;
    in_kernel = false;
    protect(host_access ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void gm_emulation_host_access(bool on) {
    gm_emulated_flush();
    host_access = on;
    catch_faults();
    if (depth == 0) protect(on ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void gm_emulated_check_sentinels(const char *after) {
    gm_emulated_enter_device(false);
    for (int i = 0; i < block_count; i++) {
        if (!sentinel_holds(blocks[i].at - SENTINEL)) gm_emulated_fail("%s wrote before the start of %zu bytes", after, blocks[i].bytes);
        size_t end = blocks[i].at + blocks[i].bytes;
        if (!sentinel_holds(end)) gm_emulated_fail("%s wrote past the end of %zu bytes", after, blocks[i].bytes);
    }
    gm_emulated_leave_device();
}

extern "C" {

cudaError_t cudaMalloc(void **memory, size_t bytes) {
    open_region();
    gm_emulated_flush();
    size_t needed = SENTINEL + (bytes + SENTINEL + ALIGN - 1) / ALIGN * ALIGN, at = SENTINEL;
    int place = 0;
    for (; place < block_count; place++) { /* the first gap that is wide enough */
        if (at + needed <= blocks[place].at) break;
        at = (blocks[place].at + blocks[place].bytes + 2 * SENTINEL + ALIGN - 1) / ALIGN * ALIGN;
    }
    if (block_count == MOST_BLOCKS || at + needed > REGION || used + bytes > limit) return cudaErrorMemoryAllocation;
    memmove(blocks + place + 1, blocks + place, static_cast<size_t>(block_count - place) * sizeof *blocks);
    blocks[place] = {at, bytes};
    block_count++;
    used += bytes;
    protect(PROT_NONE);
    if (pages(at + needed) > whole) whole = pages(at + needed);
    gm_emulated_enter_device(false);
    memset(region + at - SENTINEL, SENTINEL_BYTE, SENTINEL);
    memset(region + at, 0xff, bytes < size_t(FILLED) ? bytes : size_t(FILLED));
    memset(region + at + bytes, SENTINEL_BYTE, SENTINEL);
    gm_emulated_leave_device();
    *memory = region + at;
    return cudaSuccess;
}

cudaError_t cudaMallocManaged(void **memory, size_t bytes, unsigned) { return cudaMalloc(memory, bytes); }

cudaError_t cudaFree(void *memory) {
    if (!memory) return cudaSuccess;
    gm_emulated_check_sentinels("somebody");
    gm_emulated_flush();
    for (int i = 0; i < block_count; i++)
        if (region + blocks[i].at == memory) {
            used -= blocks[i].bytes;
            memmove(blocks + i, blocks + i + 1, static_cast<size_t>(--block_count - i) * sizeof *blocks);
            return cudaSuccess;
        }
    gm_emulated_fail("cudaFree of %p, which is no allocation", memory);
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *all) {
    *available = limit - used, *all = limit;
    return cudaSuccess;
}
}
