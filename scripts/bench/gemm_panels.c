/* Does oneDNN compute a product of a wide or deep b, stored plainly, faster in pieces? GFLOP/s of the whole, and of pieces of at
 * most 2048 columns and a depth of 4096 (what src/backend/cpu/gemm.c does), best of 5, interleaved.
 *   gcc -O2 -fopenmp scripts/bench/gemm_panels.c -o gemm_panels -ldnnl && OMP_NUM_THREADS=1 ./gemm_panels */
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS = 2048, DEPTH = 4096, REPEATS = 5 };

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void check(dnnl_status_t status) {
    if (status == dnnl_success) return;
    fprintf(stderr, "oneDNN: status %d\n", (int)status);
    exit(1);
}

static int64_t part(int64_t whole, int64_t most) {
    int64_t parts = (whole + most - 1) / most;
    return parts == 1 ? whole : ((whole + parts - 1) / parts + 63) / 64 * 64;
}

static void *filled(int64_t count, size_t size) {
    unsigned char *bytes = malloc((size_t)count * size);
    for (size_t i = 0; i < (size_t)count * size; i++) bytes[i] = (unsigned char)(i % size == size - 1 ? 0x3d + i % 3 : i * 37);
    return bytes;
}

/* out += or = a b, m×n×k, rows n_stride and k_stride apart */
static void multiply(void *out, void *a, void *b, int64_t m, int64_t n, int64_t k, int64_t n_stride, int64_t k_stride,
                     dnnl_data_type_t type, int add) {
    dnnl_memory_desc_t desc[3];
    dnnl_dims_t dims[3] = {{m, k}, {k, n}, {m, n}}, strides[3] = {{k_stride, 1}, {n_stride, 1}, {n_stride, 1}};
    void *data[3] = {a, b, out};
    dnnl_memory_t memory[3];
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t plan;
    dnnl_primitive_t primitive;
    for (int i = 0; i < 3; i++) check(dnnl_memory_desc_init_by_strides(&desc[i], 2, dims[i], i == 2 ? dnnl_f32 : type, strides[i]));
    check(dnnl_primitive_attr_create(&attributes));
    if (add) {
        dnnl_post_ops_t post;
        check(dnnl_post_ops_create(&post));
        check(dnnl_post_ops_append_sum(post, 1.0f));
        check(dnnl_primitive_attr_set_post_ops(attributes, post));
        check(dnnl_post_ops_destroy(post));
    }
    check(dnnl_matmul_desc_init(&matmul, &desc[0], &desc[1], NULL, &desc[2]));
    check(dnnl_primitive_desc_create(&plan, &matmul, attributes, engine, NULL));
    check(dnnl_primitive_create(&primitive, plan)); /* oneDNN keeps the last primitives itself */
    for (int i = 0; i < 3; i++) check(dnnl_memory_create(&memory[i], &desc[i], engine, data[i]));
    dnnl_exec_arg_t arguments[3] = {{DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_WEIGHTS, memory[1]}, {DNNL_ARG_DST, memory[2]}};
    check(dnnl_primitive_execute(primitive, stream, 3, arguments));
    for (int i = 0; i < 3; i++) check(dnnl_memory_destroy(memory[i]));
    check(dnnl_primitive_destroy(primitive));
    check(dnnl_primitive_desc_destroy(plan));
    check(dnnl_primitive_attr_destroy(attributes));
}

static void compare(int64_t m, int64_t n, int64_t k, dnnl_data_type_t type) {
    size_t size = type == dnnl_f32 ? 4 : 2;
    unsigned char *a = filled(m * k, size), *b = filled(k * n, size), *out = filled(m * n, 4);
    double best[2] = {1e9, 1e9};
    for (int repeat = 0; repeat <= REPEATS; repeat++)
        for (int pieces = 0; pieces < 2; pieces++) {
            int64_t columns = pieces ? part(n, COLUMNS) : n, depth = pieces ? part(k, DEPTH) : k;
            double begin = omp_get_wtime();
            for (int64_t i = 0; i < n; i += columns)
                for (int64_t j = 0; j < k; j += depth)
                    multiply(out + i * 4, a + j * (int64_t)size, b + (j * n + i) * (int64_t)size, m, n - i < columns ? n - i : columns,
                             k - j < depth ? k - j : depth, n, k, type, j > 0);
            double taken = omp_get_wtime() - begin;
            if (repeat > 0 && taken < best[pieces]) best[pieces] = taken;
        }
    double flops = 2e-9 * (double)m * (double)n * (double)k;
    printf("| %s | %5lld × %5lld × %6lld | %6.0f | %6.0f |\n", type == dnnl_f32 ? "f32 " : "bf16", (long long)m, (long long)n, (long long)k,
           flops / best[0], flops / best[1]);
    free(a), free(b), free(out);
}

int main(void) {
    static const int64_t shapes[][3] = {{2048, 512, 1408},  {510, 512, 32000},  {512, 3584, 3584},  {512, 18944, 3584},
                                        {512, 3584, 18944}, {512, 11008, 4096}, {110, 3584, 152064}};
    check(dnnl_engine_create(&engine, dnnl_cpu, 0));
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    printf("| type | M × N × K | whole | in pieces |\n| --- | --- | --- | --- |\n");
    for (int t = 0; t < 2; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            compare(shapes[i][0], shapes[i][1], shapes[i][2], t ? dnnl_bf16 : dnnl_f32);
    return 0;
}
