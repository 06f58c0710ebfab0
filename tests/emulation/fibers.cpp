/* Blocks run one after another in shuffled order, a block's threads as fibers: each runs until it waits or returns, then
 * another goes on: in every second block or so one chosen at random, in the others that which could go on last, so that a warp
 * runs as far ahead as barriers let it. So a barrier that is missing shows as a wrong result. A thread that waits where the others do not
 * come ends the program with both places.
 *
 * Stacks are taken from a pool when a thread starts and given back when it returns: threads that never wait share one. */
#include "internal.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace {

enum { MOST_THREADS = 1024, STACK = 128 << 10, WARP = 32 };
enum state { NEW, READY, AT_BARRIER, AT_WARP, DONE };

struct fiber {
    void *stack_pointer;
    unsigned char *stack;
    state at;
    uint3 index;
    const char *file; /* where it waits */
    int line, operand, width;
    gm_emulated_collective kind;
    unsigned mask;
    uint64_t value;
    void (*work)(void *const *lanes); /* what the last of the warp does, or NULL */
    gm_emulated_copies copies;
};

struct machine {
    fiber fibers[MOST_THREADS];
    unsigned char *stacks[MOST_THREADS]; /* free ones */
    int free_stacks, threads, alive, waiting, running;
    bool ahead; /* the last that could go on does */
    int ready[MOST_THREADS], ready_count;
    int at_warp[MOST_THREADS / WARP]; /* lanes that wait */
    void *scheduler;                  /* stack pointer */
    const gm_emulated_launch *launch;
    uint64_t block; /* number of blocks begun */
    size_t static_shared;
    alignas(64) unsigned char shared[GM_EMULATED_SHARED_MOST];
};

machine *m;

/* ---- switching stacks */

#if defined(__x86_64__)
extern "C" void gm_emulated_switch(void **from, void *to);
asm(R"(
.text
.globl gm_emulated_switch
.type gm_emulated_switch, @function
gm_emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size gm_emulated_switch, .-gm_emulated_switch
)");
enum { SAVED = 6 }; /* words below the return address */
#elif defined(__aarch64__)
extern "C" void gm_emulated_switch(void **from, void *to);
asm(R"(
.text
.globl gm_emulated_switch
.type gm_emulated_switch, %function
gm_emulated_switch:
    sub sp, sp, #160
    stp x30, x29, [sp]
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x30, x29, [sp]
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size gm_emulated_switch, .-gm_emulated_switch
)");
#else
#error "the emulation switches stacks on x86-64 and aarch64"
#endif

void thread_main();

/* A stack that begins in `entry`. */
void *prepare_stack(unsigned char *stack, void (*entry)()) {
#if defined(__x86_64__)
    void **top = reinterpret_cast<void **>(stack + STACK - 72); /* a call leaves the stack so */
    *top = nullptr;                                             /* where entry would return to: it never does */
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < SAVED; i++) *--top = nullptr;
    return top;
#else
    void **top = reinterpret_cast<void **>(stack + STACK - 64 - 160);
    memset(top, 0, 160);
    top[0] = reinterpret_cast<void *>(entry);
    return top;
#endif
}

void to_scheduler() { gm_emulated_switch(&m->fibers[m->running].stack_pointer, m->scheduler); }

void thread_main() {
    m->launch->call(m->launch->arguments);
    m->fibers[m->running].at = DONE;
    to_scheduler();
    abort();
}

void make_ready(int thread) {
    m->fibers[thread].at = READY;
    m->ready[m->ready_count++] = thread;
}

void start(int thread) {
    fiber *f = &m->fibers[thread];
    f->stack = m->free_stacks ? m->stacks[--m->free_stacks] : static_cast<unsigned char *>(gm_emulated_pages(STACK));
    f->stack_pointer = prepare_stack(f->stack, thread_main);
}

/* ---- waiting */

/* The first thread of some warp. */
int random_warp() { return static_cast<int>(gm_emulated_random(static_cast<uint32_t>(m->threads / WARP))) * WARP; }

void release_barrier() {
    const fiber *first = nullptr;
    for (int n = 0, turn = random_warp(); n < m->threads; n++) {
        const int i = (turn + n) % m->threads;
        fiber *f = &m->fibers[i];
        if (f->at != AT_BARRIER) continue;
        if (first && (first->file != f->file || first->line != f->line))
            gm_emulated_fail("threads %u and %u wait at different barriers: %s:%d and %s:%d", first->index.x, f->index.x, first->file,
                             first->line, f->file, f->line);
        if (!first) first = f;
        make_ready(i);
    }
    m->waiting = 0;
}

uint64_t shuffled(const fiber *lanes, int lane, const fiber *f) {
    int first = lane / f->width * f->width, from = lane;
    if (f->kind == GM_SHUFFLE) from = first + (f->operand & (f->width - 1));
    if (f->kind == GM_SHUFFLE_UP && lane - f->operand >= first) from = lane - f->operand;
    if (f->kind == GM_SHUFFLE_DOWN && lane + f->operand < first + f->width) from = lane + f->operand;
    if (f->kind == GM_SHUFFLE_XOR && (lane ^ f->operand) < first + f->width) from = lane ^ f->operand;
    if (!(f->mask >> from & 1))
        gm_emulated_fail("%s:%d: lane %d asks lane %d, which is not in the mask %08x", f->file, f->line, lane, from, f->mask);
    return lanes[from].value;
}

uint64_t reduced(const fiber *lanes, const fiber *f) {
    int64_t result = 0;
    for (int i = 0, any = 0; i < WARP; i++) {
        if (!(f->mask >> i & 1)) continue;
        int64_t value = static_cast<int64_t>(lanes[i].value);
        if (f->kind == GM_BALLOT) result |= static_cast<int64_t>(value != 0) << i;
        if (f->kind == GM_REDUCE_ADD) result += value;
        if (f->kind == GM_REDUCE_MAX) result = !any || value > result ? value : result;
        if (f->kind == GM_REDUCE_MIN) result = !any || value < result ? value : result;
        any = 1;
    }
    return static_cast<uint64_t>(result);
}

/* Lets the lanes of f's mask go on if all of them are there. */
void try_warp(int warp, const fiber *f) {
    fiber *lanes = &m->fibers[warp * WARP];
    unsigned mask = f->mask;
    if (m->at_warp[warp] < __builtin_popcount(mask)) return;
    uint64_t result[WARP];
    for (int i = 0; i < WARP; i++) {
        if (!(mask >> i & 1)) continue;
        if (lanes[i].at != AT_WARP) return;
        if (lanes[i].kind != f->kind || lanes[i].mask != mask || lanes[i].line != f->line || lanes[i].file != f->file)
            gm_emulated_fail("lanes of warp %d wait at %s:%d (mask %08x) and %s:%d (mask %08x)", warp, f->file, f->line, mask,
                             lanes[i].file, lanes[i].line, lanes[i].mask);
    }
    if (f->kind == GM_SYNC_WARP && f->work) {
        void *all[WARP];
        for (int i = 0; i < WARP; i++) all[i] = reinterpret_cast<void *>(lanes[i].value);
        f->work(all);
    }
    for (int i = 0; i < WARP; i++) {
        if (!(mask >> i & 1)) continue;
        bool shuffle = f->kind >= GM_SHUFFLE && f->kind <= GM_SHUFFLE_XOR;
        result[i] = shuffle ? shuffled(lanes, i, &lanes[i]) : reduced(lanes, &lanes[i]);
    }
    for (int i = 0; i < WARP; i++)
        if (mask >> i & 1) lanes[i].value = result[i], m->at_warp[warp]--, make_ready(warp * WARP + i);
}

/* ---- one block, all blocks */

[[noreturn]] void fail_stuck() {
    char text[2][256] = {"nobody", "nobody"};
    int found = 0;
    for (int i = 0; i < m->threads && found < 2; i++) {
        const fiber *f = &m->fibers[i];
        if (f->at != AT_BARRIER && f->at != AT_WARP) continue;
        if (found && strncmp(text[0], f->file, strlen(f->file)) == 0 && f->at == AT_BARRIER) continue;
        snprintf(text[found++], sizeof *text, "%s:%d (thread %d, %s)", f->file, f->line, i,
                 f->at == AT_BARRIER ? "the block's barrier" : "its warp");
    }
    gm_emulated_fail("threads wait for others that do not come: %s and %s", text[0], text[1]);
}

void run_thread(int thread) {
    fiber *f = &m->fibers[thread];
    m->running = thread;
    threadIdx = f->index;
    if (f->at == NEW) start(thread);
    gm_emulated_switch(&m->scheduler, f->stack_pointer);
    if (f->at != DONE) return;
    m->stacks[m->free_stacks++] = f->stack;
    m->alive--;
    if (m->alive > 0 && m->waiting == m->alive) release_barrier();
}

void run_block(uint3 block) {
    blockIdx = block;
    m->block++;
    m->static_shared = 0;
    m->alive = m->threads;
    m->waiting = m->ready_count = 0;
    m->ahead = gm_emulated_random(2) == 0;
    memset(m->shared, 0xff, m->launch->shared);
    for (int n = 0, turn = random_warp(); n < m->threads; n++) {
        const int i = (turn + n) % m->threads;
        unsigned x = static_cast<unsigned>(i);
        m->fibers[i].at = NEW;
        m->fibers[i].work = nullptr;
        m->fibers[i].copies.count = m->fibers[i].copies.group = 0;
        m->at_warp[i / WARP] = 0;
        m->fibers[i].index = {x % blockDim.x, x / blockDim.x % blockDim.y, x / blockDim.x / blockDim.y};
        m->ready[m->ready_count++] = i;
    }
    while (m->ready_count > 0) {
        int chosen = m->ahead ? m->ready_count - 1 : static_cast<int>(gm_emulated_random(static_cast<uint32_t>(m->ready_count)));
        int thread = m->ready[chosen];
        m->ready[chosen] = m->ready[--m->ready_count];
        run_thread(thread);
    }
    if (m->alive > 0) fail_stuck();
}

/* Number i of `count` in an order that visits each once: a step that has no divisor in common with the count. */
uint64_t permuted(uint64_t i, uint64_t count, uint64_t first, uint64_t step) { return (first + i * step) % count; }

uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

void run_blocks() {
    const dim3 grid = m->launch->grid;
    uint64_t count = static_cast<uint64_t>(grid.x) * grid.y * grid.z, step = 1 + gm_emulated_random(1u << 30) % count;
    uint64_t first = gm_emulated_random(1u << 30) % count;
    while (common_divisor(step, count) != 1) step++;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t b = permuted(i, count, first, step);
        run_block(
            {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y), static_cast<unsigned>(b / grid.x / grid.y)});
    }
}

/* The scheduler has a stack of its own: the program's cannot be touched while a kernel runs. */
void *program;
void scheduler_main() {
    for (;;) {
        gm_emulated_hide_host(true, program);
        run_blocks();
        gm_emulated_hide_host(false, program);
        gm_emulated_switch(&m->scheduler, program);
    }
}

void *scheduler_start;

} // namespace

void gm_emulated_run(const gm_emulated_launch *launch) {
    if (!m) {
        m = static_cast<machine *>(gm_emulated_pages(sizeof *m));
        scheduler_start = prepare_stack(static_cast<unsigned char *>(gm_emulated_pages(STACK)), scheduler_main);
    }
    gridDim = launch->grid, blockDim = launch->block;
    m->threads = static_cast<int>(launch->block.x * launch->block.y * launch->block.z);
    m->launch = launch;
    m->running = -1;
    gm_emulated_enter_device(true);
    void *scheduler = scheduler_start;
    gm_emulated_switch(&program, scheduler);
    scheduler_start = m->scheduler;
    gm_emulated_leave_device();
    m->launch = nullptr;
    gm_emulated_check_sentinels(launch->name);
}

const char *gm_emulated_where(char *text, size_t size) {
    text[0] = '\0';
    if (m && m->launch)
        snprintf(text, size, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u): ", m->launch->name, blockIdx.x, blockIdx.y, blockIdx.z,
                 threadIdx.x, threadIdx.y, threadIdx.z);
    return text;
}

void gm_emulated_barrier(const char *file, int line) {
    fiber *f = &m->fibers[m->running];
    f->at = AT_BARRIER, f->file = file, f->line = line;
    if (++m->waiting == m->alive) release_barrier();
    to_scheduler();
}

uint64_t gm_emulated_exchange(gm_emulated_collective kind, unsigned mask, uint64_t value, int operand, int width, const char *file,
                              int line) {
    int thread = m->running, lane = thread % WARP;
    fiber *f = &m->fibers[thread];
    if (!(mask >> lane & 1)) gm_emulated_fail("%s:%d: lane %d is not in its own mask %08x", file, line, lane, mask);
    f->at = AT_WARP, f->kind = kind, f->mask = mask, f->value = value, f->operand = operand, f->width = width, f->file = file,
    f->line = line;
    m->at_warp[thread / WARP]++;
    try_warp(thread / WARP, f);
    to_scheduler();
    return f->value;
}

void gm_emulated_together(void (*work)(void *const *lanes), void *mine, const char *file, int line) {
    fiber *f = &m->fibers[m->running];
    f->work = work;
    gm_emulated_exchange(GM_SYNC_WARP, 0xffffffffu, reinterpret_cast<uint64_t>(mine), 0, WARP, file, line);
    f->work = nullptr;
}

gm_emulated_copies *gm_emulated_my_copies() { return &m->fibers[m->running].copies; }

void gm_emulated_shared(void *memory, size_t bytes, uint64_t *block) {
    if (*block == m->block) return;
    *block = m->block;
    m->static_shared += bytes;
    const size_t most = m->launch->leave ? static_cast<int>(GM_EMULATED_SHARED_MOST) : 48 << 10;
    if (m->static_shared > (48 << 10) || m->static_shared + m->launch->shared > most)
        gm_emulated_fail("more than 48 KB of static shared memory, or of both kinds without leave");
    memset(memory, 0xff, bytes);
}

void *gm_emulated_dynamic_shared(size_t alignment) {
    if (m->launch->shared == 0) gm_emulated_fail("launched without dynamic shared memory");
    if (alignment > 16) gm_emulated_fail("dynamic shared memory is aligned to 16 bytes");
    return m->shared;
}
