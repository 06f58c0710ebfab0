/* Products of f32 with a b of bf16, as frozen weights lie in most files: a is taken apart into three terms of bf16,
 *     a = a1 + a2 + a3,   a1 = bf16(a),  a2 = bf16(a − a1),  a3 = a − a1 − a2,
 * which hold its 24 bits exactly. A product of two bf16 numbers is exact in f32, and sums are f32, as those of an f32 product are: three
 * products of bf16 give the same to rounding, and b is neither copied nor widened. It pays where a processor multiplies bf16 more than
 * three times as fast as f32 (AMX: five times; docs/cpu/gemm.md). */
#include "backend/cpu/cpu.h"

enum { TERMS = 3 };

void gm_cpu_gemm_split(gm_backend *backend, const gm_gemm *gemm) {
    gm_cpu_context *cpu = gm_cpu(backend);
    GM_CHECK(backend->narrow_least > 0 && !gemm->transpose_a && gemm->out_type == GM_F32, "no product of f32 and bf16 here");
    const int64_t stride = gemm->a_stride ? gemm->a_stride : gemm->k, term = gemm->m * gemm->k;
    gm_gemm first = *gemm, rest;
    first.type = GM_BF16, first.a_stride = 0;
    rest = first;
    rest.accumulate = true;
    const size_t terms = ((size_t)(TERMS * term) * sizeof(uint16_t) + 63) & ~(size_t)63;
    size_t bytes = gm_onednn_scratch(cpu->onednn, &first, false), more = gm_onednn_scratch(cpu->onednn, &rest, false);
    uint16_t *split = gm_cpu_gemm_reserve(backend, terms + (more > bytes ? more : bytes));
    unsigned char *scratch = (unsigned char *)split + terms;
    cpu->split(split, gemm->a, gemm->m, gemm->k, stride);
    first.a = split + (TERMS - 1) * term; /* the smallest one first */
    gm_onednn_multiply(cpu->onednn, &first, scratch, false);
    const gm_gemm *before = &first;
    for (int i = TERMS - 2; i >= 0; i--) {
        rest.a = split + i * term;
        gm_onednn_multiply_again(cpu->onednn, &rest, before, scratch);
        before = &rest;
    }
}
