/* f32 with a b of bf16: one product of f32 over b widened before, or three of bf16, a taken apart into three terms? f32's GFLOP/s, best of
 * 12, with what packs b and takes a apart.
 *   gcc -O3 -march=native -fopenmp scripts/bench/gemm_split.c -o gemm_split -ldnnl && OMP_NUM_THREADS=2 ./gemm_split       (oneDNN 2) */
#include <dnnl.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 12, TERMS = 3 };

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void check(dnnl_status_t status) {
    if (status == dnnl_success) return;
    fprintf(stderr, "oneDNN: status %d\n", (int)status);
    exit(1);
}

static void *memory_of(size_t bytes) {
    void *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    memset(memory, 0, bytes);
    return memory;
}

static dnnl_memory_t object(const dnnl_memory_desc_t *desc) {
    dnnl_memory_t memory;
    check(dnnl_memory_create(&memory, desc, engine, memory_of(dnnl_memory_desc_get_size(desc))));
    return memory;
}

static uint16_t narrow(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static float widen(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

typedef struct product {
    dnnl_primitive_t first, added, pack;
    dnnl_memory_t a, b, packed, out;
} product;

static dnnl_primitive_t matmul(const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *b, const dnnl_memory_desc_t *out, int adds,
                               dnnl_memory_desc_t *chosen) {
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t plan;
    dnnl_primitive_t primitive;
    dnnl_primitive_attr_t attributes;
    dnnl_post_ops_t post;
    check(dnnl_primitive_attr_create(&attributes));
    check(dnnl_post_ops_create(&post));
    if (adds) check(dnnl_post_ops_append_sum(post, 1.0f));
    check(dnnl_primitive_attr_set_post_ops(attributes, post));
    check(dnnl_matmul_desc_init(&desc, a, b, NULL, out));
    check(dnnl_primitive_desc_create(&plan, &desc, attributes, engine, NULL));
    *chosen = *dnnl_primitive_desc_query_md(plan, dnnl_query_weights_md, 0);
    check(dnnl_primitive_create(&primitive, plan));
    return primitive;
}

static product make(int64_t m, int64_t n, int64_t k, dnnl_data_type_t type, int transposed) {
    dnnl_dims_t dims[3] = {{m, k}, {k, n}, {m, n}};
    dnnl_memory_desc_t a, b, any, out, packed, same;
    dnnl_primitive_desc_t plan;
    product p;
    check(dnnl_memory_desc_init_by_tag(&a, 2, dims[0], type, dnnl_ab));
    check(dnnl_memory_desc_init_by_tag(&b, 2, dims[1], type, transposed ? dnnl_ba : dnnl_ab));
    check(dnnl_memory_desc_init_by_tag(&any, 2, dims[1], type, dnnl_format_tag_any));
    check(dnnl_memory_desc_init_by_tag(&out, 2, dims[2], dnnl_f32, dnnl_ab));
    p.first = matmul(&a, &any, &out, 0, &packed);
    p.added = matmul(&a, &packed, &out, 1, &same);
    check(dnnl_reorder_primitive_desc_create(&plan, &b, engine, &packed, engine, NULL));
    check(dnnl_primitive_create(&p.pack, plan));
    p.a = object(&a), p.b = object(&b), p.packed = object(&packed), p.out = object(&out);
    return p;
}

static void pack(const product *p) {
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, p->b}, {DNNL_ARG_TO, p->packed}};
    check(dnnl_primitive_execute(p->pack, stream, 2, arguments));
}

static void multiply(const product *p, void *a, int adds) {
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, p->a}, {DNNL_ARG_WEIGHTS, p->packed}, {DNNL_ARG_DST, p->out}};
    if (a) check(dnnl_memory_set_data_handle(p->a, a));
    check(dnnl_primitive_execute(adds ? p->added : p->first, stream, 3, arguments));
}

static void take_apart(uint16_t *out, const float *in, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        uint16_t first = narrow(in[i]);
        float left = in[i] - widen(first);
        uint16_t second = narrow(left);
        out[i] = first, out[count + i] = second, out[2 * count + i] = narrow(left - widen(second));
    }
}

static void compare(int64_t m, int64_t n, int64_t k, int transposed) {
    const double gflop = 2e-9 * (double)(m * n * k);
    product wide = make(m, n, k, dnnl_f32, transposed), split = make(m, n, k, dnnl_bf16, transposed);
    float *a = memory_of((size_t)(m * k) * sizeof *a);
    uint16_t *terms = memory_of((size_t)(TERMS * m * k) * sizeof *terms);
    double best[2] = {1e9, 1e9};
    for (int64_t i = 0; i < m * k; i++) a[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int r = 0; r < REPEATS; r++) {
        double begin = omp_get_wtime(), middle, end;
        pack(&wide), multiply(&wide, NULL, 0);
        middle = omp_get_wtime();
        pack(&split), take_apart(terms, a, m * k);
        for (int i = TERMS - 1; i >= 0; i--) multiply(&split, terms + i * m * k, i < TERMS - 1);
        end = omp_get_wtime();
        if (middle - begin < best[0]) best[0] = middle - begin;
        if (end - middle < best[1]) best[1] = end - middle;
    }
    printf("| %4lld × %4lld × %4lld | %s | %.0f | %.0f |\n", (long long)m, (long long)n, (long long)k, transposed ? "transposed" : "plain",
           gflop / best[0], gflop / best[1]);
}

int main(void) {
    check(dnnl_engine_create(&engine, dnnl_cpu, 0));
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    compare(2048, 512, 512, 1), compare(2048, 512, 512, 0);
    compare(2048, 1408, 512, 1), compare(2048, 1408, 512, 0);
    compare(2048, 512, 1408, 1), compare(2048, 512, 1408, 0);
    compare(1020, 2048, 512, 1), compare(1020, 512, 4096, 0);
    compare(510, 2048, 512, 1), compare(64, 1408, 512, 1);
    return 0;
}
