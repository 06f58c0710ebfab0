/* Does copying b into oneDNN's blocked layout pay even when it is done for each product? GFLOP/s of b as it lies, of b packed
 * before, and of both steps together, best of 10, interleaved.
 *   gcc -O2 -fopenmp scripts/bench/gemm_packing.c -o gemm_packing -ldnnl && OMP_NUM_THREADS=2 ./gemm_packing       (oneDNN 2) */
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 2048, REPEATS = 10 };

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void check(dnnl_status_t status) {
    if (status == dnnl_success) return;
    fprintf(stderr, "oneDNN: status %d\n", (int)status);
    exit(1);
}

static dnnl_memory_t memory_of(const dnnl_memory_desc_t *desc, size_t element) {
    dnnl_memory_t memory;
    size_t bytes = (dnnl_memory_desc_get_size(desc) + 63) / 64 * 64;
    unsigned char *data = aligned_alloc(64, bytes);
    for (size_t i = 0; i < bytes; i++) data[i] = (unsigned char)(i % element == element - 1 ? 0x3d + i % 3 : i * 37);
    check(dnnl_memory_create(&memory, desc, engine, data));
    return memory;
}

static void forget(dnnl_memory_t memory) {
    void *data;
    check(dnnl_memory_get_data_handle(memory, &data));
    check(dnnl_memory_destroy(memory));
    free(data);
}

static double run(dnnl_primitive_t primitive, int count, const dnnl_exec_arg_t *arguments) {
    double begin = omp_get_wtime();
    check(dnnl_primitive_execute(primitive, stream, count, arguments));
    return omp_get_wtime() - begin;
}

static dnnl_primitive_t matmul(const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *b, const dnnl_memory_desc_t *out,
                               dnnl_memory_desc_t *chosen) {
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t plan;
    dnnl_primitive_t primitive;
    check(dnnl_matmul_desc_init(&desc, a, b, NULL, out));
    check(dnnl_primitive_desc_create(&plan, &desc, NULL, engine, NULL));
    *chosen = *dnnl_primitive_desc_query_md(plan, dnnl_query_weights_md, 0);
    check(dnnl_primitive_create(&primitive, plan));
    check(dnnl_primitive_desc_destroy(plan));
    return primitive;
}

static void compare(int64_t n, int64_t k, dnnl_data_type_t type, int transposed) {
    size_t element = type == dnnl_f32 ? 4 : 2;
    dnnl_dims_t dims[3] = {{ROWS, k}, {k, n}, {ROWS, n}};
    dnnl_memory_desc_t a, b, any, out, packed, same;
    check(dnnl_memory_desc_init_by_tag(&a, 2, dims[0], type, dnnl_ab));
    check(dnnl_memory_desc_init_by_tag(&b, 2, dims[1], type, transposed ? dnnl_ba : dnnl_ab));
    check(dnnl_memory_desc_init_by_tag(&any, 2, dims[1], type, dnnl_format_tag_any));
    check(dnnl_memory_desc_init_by_tag(&out, 2, dims[2], dnnl_f32, dnnl_ab));
    dnnl_primitive_t in_place = matmul(&a, &b, &out, &same), from_packed = matmul(&a, &any, &out, &packed), packing;
    dnnl_primitive_desc_t plan;
    check(dnnl_reorder_primitive_desc_create(&plan, &b, engine, &packed, engine, NULL));
    check(dnnl_primitive_create(&packing, plan));
    check(dnnl_primitive_desc_destroy(plan));
    dnnl_memory_t memory[4] = {memory_of(&a, element), memory_of(&b, element), memory_of(&packed, element), memory_of(&out, 4)};
    double best[3] = {1e9, 1e9, 1e9};
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double taken[3] = {
            run(in_place, 3, (dnnl_exec_arg_t[]){{DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_WEIGHTS, memory[1]}, {DNNL_ARG_DST, memory[3]}}),
            run(packing, 2, (dnnl_exec_arg_t[]){{DNNL_ARG_FROM, memory[1]}, {DNNL_ARG_TO, memory[2]}}),
            run(from_packed, 3, (dnnl_exec_arg_t[]){{DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_WEIGHTS, memory[2]}, {DNNL_ARG_DST, memory[3]}})};
        for (int i = 0; i < 3; i++) best[i] = taken[i] < best[i] ? taken[i] : best[i];
    }
    double flops = 2e-9 * ROWS * (double)n * (double)k;
    printf("| %s | %4lld × %4lld | %s | %.0f | %.0f | %.0f |\n", type == dnnl_f32 ? "f32 " : "bf16", (long long)n, (long long)k,
           transposed ? "transposed" : "plain", flops / best[0], flops / best[2], flops / (best[1] + best[2]));
    for (int i = 0; i < 4; i++) forget(memory[i]);
    check(dnnl_primitive_destroy(in_place)), check(dnnl_primitive_destroy(from_packed)), check(dnnl_primitive_destroy(packing));
}

int main(void) {
    static const int64_t shapes[][2] = {{512, 512}, {1408, 512}, {512, 1408}};
    check(dnnl_engine_create(&engine, dnnl_cpu, 0));
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    printf("| type | N × K | b | in place | packed before | packed each time |\n| --- | --- | --- | --- | --- | --- |\n");
    for (int t = 0; t < 2; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int transposed = 1; transposed >= 0; transposed--)
                compare(shapes[i][0], shapes[i][1], t ? dnnl_bf16 : dnnl_f32, transposed);
    return 0;
}
