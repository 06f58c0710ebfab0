/* Does packing frozen weights into oneDNN's own layouts pay? Rates of the products of a step with weights as they lie in
 * the file (used transposed forward, plain backward) and in the layout that oneDNN chooses, interleaved, best of 8.
 *   gcc -O2 -fopenmp scripts/bench/gemm_layouts.c -o gemm_layouts -ldnnl && OMP_NUM_THREADS=1 ./gemm_layouts
 * Time is the process's own, so that a busy machine disturbs little; with several threads divide by their number. */
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { IN_FILE_FORWARD, IN_FILE_BACKWARD, PACKED, LAYOUTS };

typedef struct product {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arguments[4];
    double best;
} product;

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void check(dnnl_status_t status) {
    if (status == dnnl_success) return;
    fprintf(stderr, "oneDNN: status %d\n", (int)status);
    exit(1);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static dnnl_exec_arg_t argument(int kind, const dnnl_memory_desc_t *desc) {
    dnnl_memory_t memory;
    size_t bytes = (dnnl_memory_desc_get_size(desc) + 127) / 64 * 64;
    void *data = aligned_alloc(64, bytes);
    memset(data, 0, bytes);
    check(dnnl_memory_create(&memory, desc, engine, data));
    return (dnnl_exec_arg_t){kind, memory};
}

static product make(int64_t m, int64_t n, int64_t k, dnnl_data_type_t type, int layout) {
    static const dnnl_format_tag_t tags[LAYOUTS] = {dnnl_ba, dnnl_ab, dnnl_format_tag_any};
    dnnl_memory_desc_t a, b, out;
    dnnl_dims_t a_dims = {m, k}, b_dims = {k, n}, out_dims = {m, n};
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t primitive_desc;
    check(dnnl_memory_desc_init_by_tag(&a, 2, a_dims, type, dnnl_ab));
    check(dnnl_memory_desc_init_by_tag(&b, 2, b_dims, type, tags[layout]));
    check(dnnl_memory_desc_init_by_tag(&out, 2, out_dims, dnnl_f32, dnnl_ab));
    check(dnnl_matmul_desc_init(&desc, &a, &b, NULL, &out));
    check(dnnl_primitive_attr_create(&attributes));
    check(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user));
    check(dnnl_primitive_desc_create(&primitive_desc, &desc, attributes, engine, NULL));
    product made = {.best = 1e9};
    check(dnnl_primitive_create(&made.primitive, primitive_desc));
    made.arguments[0] = argument(DNNL_ARG_SRC, &a);
    made.arguments[1] = argument(DNNL_ARG_WEIGHTS, dnnl_primitive_desc_query_md(primitive_desc, dnnl_query_weights_md, 0));
    made.arguments[2] = argument(DNNL_ARG_DST, &out);
    made.arguments[3] = argument(DNNL_ARG_SCRATCHPAD, dnnl_primitive_desc_query_md(primitive_desc, dnnl_query_scratchpad_md, 0));
    return made;
}

static void compare(int64_t m, int64_t n, int64_t k, dnnl_data_type_t type) {
    product products[LAYOUTS];
    for (int l = 0; l < LAYOUTS; l++) products[l] = make(m, n, k, type, l);
    for (int repeat = 0; repeat < 8; repeat++)
        for (int l = 0; l < LAYOUTS; l++) {
            double begin = seconds();
            check(dnnl_primitive_execute(products[l].primitive, stream, 4, products[l].arguments));
            double taken = seconds() - begin;
            if (taken < products[l].best) products[l].best = taken;
        }
    printf("| %s | %5lld × %5lld × %5lld |", type == dnnl_f32 ? "f32 " : "bf16", (long long)m, (long long)n, (long long)k);
    for (int l = 0; l < LAYOUTS; l++) printf(" %7.0f |", 2e-9 * (double)m * (double)n * (double)k / products[l].best);
    printf("\n");
    for (int l = 0; l < LAYOUTS; l++)
        for (int i = 0; i < 4; i++) {
            void *data;
            check(dnnl_memory_get_data_handle(products[l].arguments[i].memory, &data));
            dnnl_memory_destroy(products[l].arguments[i].memory);
            free(data);
        }
}

int main(void) {
    static const int64_t shapes[][3] = {{2048, 512, 512},   {2048, 1408, 512},   {2048, 512, 1408}, {512, 32000, 512},
                                        {2048, 3584, 3584}, {2048, 18944, 3584}, {64, 3584, 3584}};
    check(dnnl_engine_create(&engine, dnnl_cpu, 0));
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    printf("| type | M × N × K | file, transposed | file, plain | packed |\n| --- | --- | --- | --- | --- |\n");
    for (int t = 0; t < 2; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            compare(shapes[i][0], shapes[i][1], shapes[i][2], t ? dnnl_bf16 : dnnl_f32);
    return 0;
}
