/* Tensor cores' instructions after the PTX manual's layouts (kernels/mma.cuh repeats them). The last lane of the warp to come does
 * the work of all. */
#include "emulated_mma.h"
#include "internal.h"

#include <cstring>

namespace {

enum { WARP = 32 };

struct product {
    float *c;
    const unsigned *a, *b;
};

float element(unsigned pair, int high) { return __uint_as_float(high ? pair & 0xffff0000u : pair << 16); }

void multiply(void *const *lanes) {
    static float a[16][16], b[16][8];
    for (int lane = 0; lane < WARP; lane++) {
        const product *p = static_cast<const product *>(lanes[lane]);
        const int down = lane / 4, right = lane % 4 * 2;
        for (int i = 0; i < 8; i++) a[down + i / 2 % 2 * 8][right + i % 2 + i / 4 * 8] = element(p->a[i / 2], i % 2);
        for (int i = 0; i < 4; i++) b[right + i % 2 + i / 2 * 8][down] = element(p->b[i / 2], i % 2);
    }
    for (int row = 0; row < 16; row++) {
        float sum[8] = {0};
        for (int k = 0; k < 16; k++)
            for (int column = 0; column < 8; column++) sum[column] += a[row][k] * b[k][column];
        for (int column = 0; column < 8; column++)
            static_cast<const product *>(lanes[row % 8 * 4 + column / 2])->c[row / 8 * 2 + column % 2] += sum[column];
    }
}

struct matrices {
    unsigned *r;
    const char *row;
    int count;
    bool transposed;
};

void load(void *const *lanes) {
    for (int lane = 0; lane < WARP; lane++) {
        const matrices *my = static_cast<const matrices *>(lanes[lane]);
        for (int i = 0; i < my->count; i++) {
            uint16_t pair[2];
            for (int j = 0; j < 2; j++) {
                const int down = my->transposed ? lane % 4 * 2 + j : lane / 4, right = my->transposed ? lane / 4 : lane % 4 * 2 + j;
                memcpy(&pair[j], static_cast<const matrices *>(lanes[i * 8 + down])->row + right * 2, 2);
            }
            my->r[i] = pair[0] | static_cast<unsigned>(pair[1]) << 16;
        }
    }
}

void check_aligned(const void *p, int bytes, const char *what, const char *file, int line) {
    if (reinterpret_cast<size_t>(p) % static_cast<size_t>(bytes))
        gm_emulated_fail("%s:%d: %s at %p, which is no multiple of %d", file, line, what, p, bytes);
}

} // namespace

void gm_emulated_mma(float *c, const unsigned *a, const unsigned *b, const char *file, int line) {
    product mine = {c, a, b};
    gm_emulated_together(multiply, &mine, file, line);
}

void gm_emulated_load_matrices(unsigned *r, int count, bool transposed, const void *row, const char *file, int line) {
    check_aligned(row, 16, "a matrix's row", file, line);
    matrices mine = {r, static_cast<const char *>(row), count, transposed};
    gm_emulated_together(load, &mine, file, line);
}

void gm_emulated_copy_async(void *shared, const void *in, int bytes, bool valid, const char *file, int line) {
    gm_emulated_copies *copies = gm_emulated_my_copies();
    check_aligned(shared, bytes, "a copy's end", file, line);
    check_aligned(in, bytes, "a copy's start", file, line);
    if (copies->count == 256) gm_emulated_fail("%s:%d: more than 256 copies on their way for one thread", file, line);
    memset(shared, 0xff, static_cast<size_t>(bytes));
    copies->pending[copies->count++] = {shared, valid ? in : nullptr, bytes, copies->group};
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
            memcpy(p.out, p.in, static_cast<size_t>(p.bytes));
        } else {
            memset(p.out, 0, static_cast<size_t>(p.bytes));
        }
    }
    copies->count = kept;
}
