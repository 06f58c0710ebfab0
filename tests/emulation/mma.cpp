/* Tensor cores' instructions, element by element after the PTX manual's layouts (kernels/mma.cuh repeats them). */
#include "emulated_mma.h"
#include "internal.h"

#include <cstring>

namespace {

struct operands {
    const unsigned *a, *b;
};

float element(unsigned pair, int high) { return __uint_as_float(high ? pair & 0xffff0000u : pair << 16); }

/* Element (row, k) of a, (k, column) of b, from the lane and the register that have it. */
float a_at(int row, int k) {
    const operands *o = static_cast<const operands *>(gm_emulated_lane(row % 8 * 4 + k % 8 / 2));
    return element(o->a[row / 8 + k / 8 * 2], k % 2);
}

float b_at(int k, int column) {
    const operands *o = static_cast<const operands *>(gm_emulated_lane(column * 4 + k % 8 / 2));
    return element(o->b[k / 8], k % 2);
}

void check_aligned(const void *p, const char *what, const char *file, int line) {
    if (reinterpret_cast<size_t>(p) % 16) gm_emulated_fail("%s:%d: %s at %p, which is no multiple of 16", file, line, what, p);
}

} // namespace

void gm_emulated_mma(float *c, const unsigned *a, const unsigned *b, const char *file, int line) {
    const operands mine = {a, b};
    const int lane = gm_emulated_my_lane();
    gm_emulated_show(&mine, file, line);
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; k++) c[i] += a_at(row, k) * b_at(k, column);
    }
    gm_emulated_show(nullptr, file, line); /* nobody goes on while others read */
}

void gm_emulated_load_matrices(unsigned *r, int count, bool transposed, const void *row, const char *file, int line) {
    const int lane = gm_emulated_my_lane();
    check_aligned(row, "a matrix's row", file, line);
    gm_emulated_show(row, file, line);
    for (int i = 0; i < count; i++) {
        uint16_t pair[2];
        for (int j = 0; j < 2; j++) {
            const int down = transposed ? lane % 4 * 2 + j : lane / 4, right = transposed ? lane / 4 : lane % 4 * 2 + j;
            memcpy(&pair[j], static_cast<const char *>(gm_emulated_lane(i * 8 + down)) + right * 2, 2);
        }
        r[i] = pair[0] | static_cast<unsigned>(pair[1]) << 16;
    }
    gm_emulated_show(nullptr, file, line);
}

void gm_emulated_copy_async(void *shared, const void *in, bool valid, const char *file, int line) {
    gm_emulated_copies *copies = gm_emulated_my_copies();
    check_aligned(shared, "a copy's end", file, line);
    if (valid) check_aligned(in, "a copy's start", file, line);
    if (copies->count == 256) gm_emulated_fail("%s:%d: more than 256 copies on their way for one thread", file, line);
    memset(shared, 0xff, 16);
    copies->pending[copies->count++] = {shared, valid ? in : nullptr, copies->group};
}

void gm_emulated_copy_async_commit() { gm_emulated_my_copies()->group++; }

void gm_emulated_copy_async_wait(int but) {
    gm_emulated_copies *copies = gm_emulated_my_copies();
    int kept = 0;
    for (int i = 0; i < copies->count; i++) {
        const auto &p = copies->pending[i];
        if (p.group >= copies->group - but) {
            copies->pending[kept++] = p;
        } else if (p.in) {
            memcpy(p.out, p.in, 16);
        } else {
            memset(p.out, 0, 16);
        }
    }
    copies->count = kept;
}
