/* oneDNN's matmul, through the C API of its versions 2 and 3: nothing else of gmoe computes with oneDNN.
 *
 * A primitive is made once per shape and kept, PRODUCTS_MOST of them at most: packed micro-batches differ in their number of
 * tokens, and each primitive takes about 100 KB. oneDNN's own cache of primitives would keep 1024 more of those that are
 * forgotten here: it is switched off.
 * With many rows of a, b is first copied into the blocked layout that oneDNN likes best: that takes a fiftieth of the product's
 * time and saves two to sixteen per cent of it (docs/cpu/gemm.md). The copy lies in the caller's scratch memory, so that the
 * base model as a whole is never there twice. */
#include "backend/cpu/onednn.h"
#include "base/map.h"
#include "base/memory.h"

#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PRODUCTS_MOST = 512, PACKING_ROWS = 1024, PACKING_COLUMNS = 64 };

enum { A, B, PACKED, OUT, SCRATCH, MEMORIES }; /* a product's arguments */

enum { KEY_NUMBERS = 14 };

typedef struct gm_product_key { /* compared byte by byte */
    int64_t number[KEY_NUMBERS];
} gm_product_key;

typedef struct gm_product { /* one shape's primitive */
    gm_product_key key;
    gm_gemm shape;  /* pointers NULL */
    bool on_thread; /* made for one thread: oneDNN cuts the work up by the threads it sees */
    dnnl_primitive_t primitive;
    dnnl_primitive_t pack;                     /* b into its packed layout, or NULL */
    dnnl_memory_desc_t a, b, packed, out, pad; /* version 2: structs; 3: owned pointers */
    dnnl_memory_t (*memory)[MEMORIES];         /* of each thread (owned): making them anew costs as much as a small product */
    size_t pad_bytes, packed_bytes;
    bool reference; /* oneDNN has only its slow path for this type here, or none (primitive NULL) */
    struct gm_product *next;
} gm_product;

struct gm_onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    pthread_mutex_t lock; /* of the table: products are looked up inside parallel regions */
    gm_map table;
    gm_product *products; /* owned */
    int threads;          /* that may be inside a product at once */
};

static void check(dnnl_status_t status, const char *expression) {
    if (status == dnnl_out_of_memory) {
        gm_error(GM_NO_MEMORY, "out of memory: oneDNN got none in %s", expression);
        gm_out_of_memory();
    }
    GM_CHECK(status == dnnl_success, "oneDNN status %d from %s", (int)status, expression);
}

#define DNNL_CHECK(expression) check((expression), #expression)

#if DNNL_VERSION_MAJOR >= 3
#define DESC(desc) (desc)
static void keep_desc(dnnl_memory_desc_t *desc, const_dnnl_memory_desc_t of) { DNNL_CHECK(dnnl_memory_desc_clone(desc, of)); }
static void forget_desc(dnnl_memory_desc_t *desc) {
    if (*desc) DNNL_CHECK(dnnl_memory_desc_destroy(*desc));
}
static dnnl_status_t append_sum(dnnl_post_ops_t post) { return dnnl_post_ops_append_sum(post, 1.0f, 0, dnnl_data_type_undef); }
static dnnl_status_t plan_matmul(dnnl_primitive_desc_t *plan, dnnl_engine_t engine, dnnl_memory_desc_t *a, dnnl_memory_desc_t *b,
                                 dnnl_memory_desc_t *out, dnnl_primitive_attr_t attributes) {
    return dnnl_matmul_primitive_desc_create(plan, engine, *a, *b, NULL, *out, attributes);
}
#else
#define DESC(desc) (&(desc))
static void keep_desc(dnnl_memory_desc_t *desc, const dnnl_memory_desc_t *of) { *desc = *of; }
static void forget_desc(dnnl_memory_desc_t *desc) { (void)desc; }
static dnnl_status_t append_sum(dnnl_post_ops_t post) { return dnnl_post_ops_append_sum(post, 1.0f); }
static dnnl_status_t plan_matmul(dnnl_primitive_desc_t *plan, dnnl_engine_t engine, dnnl_memory_desc_t *a, dnnl_memory_desc_t *b,
                                 dnnl_memory_desc_t *out, dnnl_primitive_attr_t attributes) {
    dnnl_matmul_desc_t desc;
    DNNL_CHECK(dnnl_matmul_desc_init(&desc, a, b, NULL, out));
    return dnnl_primitive_desc_create(plan, &desc, attributes, engine, NULL);
}
#endif

gm_status gm_onednn_open(gm_onednn **onednn, int threads) {
    gm_onednn *opened;
    GM_ALLOC(opened, 1);
    opened->threads = threads;
    pthread_mutex_init(&opened->lock, NULL);
    *onednn = opened;
    DNNL_CHECK(dnnl_set_primitive_cache_capacity(0));
    if (dnnl_engine_create(&opened->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&opened->stream, opened->engine, dnnl_stream_default_flags) != dnnl_success)
        return gm_error(GM_FAIL, "oneDNN: no CPU engine could be made");
    return GM_OK;
}

static void forget_products(gm_onednn *onednn) {
    while (onednn->products) {
        gm_product *next = onednn->products->next;
        for (int t = 0; t < onednn->threads; t++)
            for (int i = 0; i < MEMORIES; i++)
                if (onednn->products->memory[t][i]) dnnl_memory_destroy(onednn->products->memory[t][i]);
        if (onednn->products->primitive) dnnl_primitive_destroy(onednn->products->primitive);
        if (onednn->products->pack) dnnl_primitive_destroy(onednn->products->pack);
        free(onednn->products->memory);
        forget_desc(&onednn->products->a), forget_desc(&onednn->products->b), forget_desc(&onednn->products->packed),
            forget_desc(&onednn->products->out), forget_desc(&onednn->products->pad);
        free(onednn->products);
        onednn->products = next;
    }
    gm_map_free(&onednn->table);
}

void gm_onednn_close(gm_onednn *onednn) {
    if (!onednn) return;
    forget_products(onednn);
    if (onednn->stream) dnnl_stream_destroy(onednn->stream);
    if (onednn->engine) dnnl_engine_destroy(onednn->engine);
    pthread_mutex_destroy(&onednn->lock);
    free(onednn);
}

static dnnl_data_type_t data_type(gm_type type) {
    GM_CHECK(type == GM_F32 || type == GM_BF16, "a product of %s", gm_type_name(type));
    return type == GM_F32 ? dnnl_f32 : dnnl_bf16;
}

/* rows×columns as the product sees it; stored transposed, its row stride becomes the column stride. */
static void describe(dnnl_memory_desc_t *desc, int64_t rows, int64_t columns, gm_type type, bool transposed, int64_t stride) {
    dnnl_dims_t dims = {rows, columns};
    dnnl_dims_t strides = {transposed ? 1 : stride, transposed ? stride : 1};
#if DNNL_VERSION_MAJOR >= 3
    DNNL_CHECK(dnnl_memory_desc_create_with_strides(desc, 2, dims, data_type(type), strides));
#else
    DNNL_CHECK(dnnl_memory_desc_init_by_strides(desc, 2, dims, data_type(type), strides));
#endif
}

/* rows×columns in whichever layout suits the primitive */
static void describe_any(dnnl_memory_desc_t *desc, int64_t rows, int64_t columns, gm_type type) {
    dnnl_dims_t dims = {rows, columns};
#if DNNL_VERSION_MAJOR >= 3
    DNNL_CHECK(dnnl_memory_desc_create_with_tag(desc, 2, dims, data_type(type), dnnl_format_tag_any));
#else
    DNNL_CHECK(dnnl_memory_desc_init_by_tag(desc, 2, dims, data_type(type), dnnl_format_tag_any));
#endif
}

static int64_t a_stride(const gm_gemm *gemm) { return gemm->a_stride ? gemm->a_stride : gemm->transpose_a ? gemm->m : gemm->k; }
static int64_t b_stride(const gm_gemm *gemm) { return gemm->b_stride ? gemm->b_stride : gemm->transpose_b ? gemm->k : gemm->n; }
static int64_t out_stride(const gm_gemm *gemm) { return gemm->out_stride ? gemm->out_stride : gemm->n; }

static gm_product_key make_key(const gm_gemm *g, bool on_thread) {
    int64_t threads = on_thread ? 0 : omp_get_max_threads();
    return (gm_product_key){{g->m, g->n, g->k, g->type, g->out_type, g->transpose_a, g->transpose_b, g->accumulate, a_stride(g),
                             b_stride(g), out_stride(g), threads, on_thread, g->narrow_b}};
}

static dnnl_primitive_attr_t make_attributes(bool accumulate) {
    dnnl_primitive_attr_t attributes;
    DNNL_CHECK(dnnl_primitive_attr_create(&attributes));
    DNNL_CHECK(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user));
    if (accumulate) {
        dnnl_post_ops_t post;
        DNNL_CHECK(dnnl_post_ops_create(&post));
        DNNL_CHECK(append_sum(post));
        DNNL_CHECK(dnnl_primitive_attr_set_post_ops(attributes, post));
        DNNL_CHECK(dnnl_post_ops_destroy(post));
    }
    return attributes;
}

static bool wants_packing(const gm_product *product) {
    const gm_gemm *shape = &product->shape;
    int64_t rows = shape->narrow_b ? 3 * shape->m : shape->m; /* one of three products with the same b (gemm_split.c) */
    return !product->on_thread && rows >= PACKING_ROWS && shape->n >= PACKING_COLUMNS && shape->k >= PACKING_COLUMNS;
}

/* The primitive that copies b into the layout that `plan` has chosen for it, if that is another one. */
static void make_packing(gm_onednn *onednn, gm_product *product, dnnl_primitive_desc_t plan) {
    dnnl_primitive_desc_t packing;
    keep_desc(&product->packed, dnnl_primitive_desc_query_md(plan, dnnl_query_weights_md, 0));
    if (dnnl_memory_desc_equal(DESC(product->packed), DESC(product->b))) return;
    DNNL_CHECK(dnnl_reorder_primitive_desc_create(&packing, DESC(product->b), onednn->engine, DESC(product->packed), onednn->engine, NULL));
    DNNL_CHECK(dnnl_primitive_create(&product->pack, packing));
    DNNL_CHECK(dnnl_primitive_desc_destroy(packing));
    product->packed_bytes = (dnnl_memory_desc_get_size(DESC(product->packed)) + 63) & ~(size_t)63;
}

/* oneDNN writes a primitive's code without looking whether it got memory for it: that there is as much as it may take is asked here. */
static void check_code_memory(void) {
    enum { MEGABYTES = 16 };
    const size_t bytes = (size_t)MEGABYTES << 20;
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) {
        gm_error(GM_NO_MEMORY, "out of memory: oneDNN wants up to %d MB for the code of a product", MEGABYTES);
        gm_out_of_memory();
    }
    munmap(room, bytes);
}

static void make_primitive(gm_onednn *onednn, gm_product *product) {
    const gm_gemm *shape = &product->shape;
    dnnl_primitive_attr_t attributes = make_attributes(shape->accumulate);
    dnnl_primitive_desc_t plan;
    dnnl_memory_desc_t b = product->b;
    bool packs = wants_packing(product);
    check_code_memory();
    if (packs) describe_any(&b, shape->k, shape->n, shape->type);
    dnnl_status_t made = plan_matmul(&plan, onednn->engine, &product->a, &b, &product->out, attributes);
    if (packs) forget_desc(&b);
    DNNL_CHECK(dnnl_primitive_attr_destroy(attributes));
    if (made == dnnl_unimplemented && shape->type == GM_BF16) { /* no bf16 at all on this processor */
        product->reference = true;
        return;
    }
    DNNL_CHECK(made);
    DNNL_CHECK(dnnl_primitive_create(&product->primitive, plan));
    if (packs) make_packing(onednn, product, plan);
    keep_desc(&product->pad, dnnl_primitive_desc_query_md(plan, dnnl_query_scratchpad_md, 0));
    product->pad_bytes = (dnnl_memory_desc_get_size(DESC(product->pad)) + 63) & ~(size_t)63;
    const char *implementation = "";
    DNNL_CHECK(dnnl_primitive_desc_query(plan, dnnl_query_impl_info_str, 0, &implementation));
    product->reference = shape->type == GM_BF16 && strncmp(implementation, "ref", 3) == 0;
    DNNL_CHECK(dnnl_primitive_desc_destroy(plan));
}

static gm_product *make_product(gm_onednn *onednn, const gm_gemm *gemm, const gm_product_key *key, bool on_thread) {
    gm_product *product = gm_alloc(1, sizeof *product);
    if (!product) gm_out_of_memory();
    product->memory = gm_alloc((size_t)onednn->threads, sizeof *product->memory);
    if (!product->memory) gm_out_of_memory();
    product->key = *key, product->shape = *gemm, product->on_thread = on_thread;
    product->shape.a = product->shape.b = product->shape.out = NULL;
    describe(&product->a, gemm->m, gemm->k, gemm->type, gemm->transpose_a, a_stride(gemm));
    describe(&product->b, gemm->k, gemm->n, gemm->type, gemm->transpose_b, b_stride(gemm));
    describe(&product->out, gemm->m, gemm->n, gemm->out_type, false, out_stride(gemm));
    int threads = omp_get_max_threads();
    if (on_thread) omp_set_num_threads(1);
    make_primitive(onednn, product);
    omp_set_num_threads(threads);
    return product;
}

static gm_product *find_product(gm_onednn *onednn, const gm_gemm *gemm, bool on_thread) {
    gm_product_key key = make_key(gemm, on_thread);
    int64_t found;
    pthread_mutex_lock(&onednn->lock);
    if (!gm_map_get(&onednn->table, (const char *)&key, sizeof key, &found)) {
        gm_product *product = make_product(onednn, gemm, &key, on_thread);
        product->next = onednn->products;
        onednn->products = product;
        found = (int64_t)(intptr_t)product;
        if (gm_map_put(&onednn->table, (const char *)&product->key, sizeof key, found, NULL, NULL) != GM_OK) gm_out_of_memory();
    }
    pthread_mutex_unlock(&onednn->lock);
    return (gm_product *)(intptr_t)found;
}

/* The product's memory object of the calling thread for `data`. */
static dnnl_memory_t memory_for(gm_onednn *onednn, gm_product *product, int argument, dnnl_memory_desc_t *desc, const void *data) {
    int thread = product->on_thread ? omp_get_thread_num() : 0;
    GM_CHECK(thread < onednn->threads, "thread %d of %d in a product", thread, onednn->threads);
    dnnl_memory_t *memory = &product->memory[thread][argument];
    if (*memory)
        DNNL_CHECK(dnnl_memory_set_data_handle(*memory, (void *)data));
    else
        DNNL_CHECK(dnnl_memory_create(memory, DESC(*desc), onednn->engine, (void *)data));
    return *memory;
}

bool gm_onednn_is_fast(gm_onednn *onednn, const gm_gemm *gemm, bool on_thread) { return !find_product(onednn, gemm, on_thread)->reference; }

bool gm_onednn_mixes_rows(void) { return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) != dnnl_cpu_isa_avx512_core; }

bool gm_onednn_bf16_is_much_faster(void) {
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
}

size_t gm_onednn_scratch(gm_onednn *onednn, const gm_gemm *gemm, bool on_thread) {
    const gm_product *product = find_product(onednn, gemm, on_thread);
    return product->pad_bytes + product->packed_bytes;
}

void gm_onednn_limit(gm_onednn *onednn) {
    if (onednn->table.count >= PRODUCTS_MOST) forget_products(onednn);
}

/* Scratch holds b packed, then oneDNN's own. */
static void multiply(gm_onednn *onednn, gm_product *product, const gm_gemm *gemm, unsigned char *scratch, bool is_packed) {
    GM_CHECK(product->primitive, "oneDNN has no product of %s for this processor", gm_type_name(gemm->type));
    dnnl_memory_t b = memory_for(onednn, product, B, &product->b, gemm->b);
    if (product->pack) {
        dnnl_memory_t packed = memory_for(onednn, product, PACKED, &product->packed, scratch);
        dnnl_exec_arg_t packing[] = {{DNNL_ARG_FROM, b}, {DNNL_ARG_TO, packed}};
        if (!is_packed) DNNL_CHECK(dnnl_primitive_execute(product->pack, onednn->stream, 2, packing));
        b = packed;
    }
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, memory_for(onednn, product, A, &product->a, gemm->a)},
        {DNNL_ARG_WEIGHTS, b},
        {DNNL_ARG_DST, memory_for(onednn, product, OUT, &product->out, gemm->out)},
        {DNNL_ARG_SCRATCHPAD, memory_for(onednn, product, SCRATCH, &product->pad, scratch + product->packed_bytes)}};
    DNNL_CHECK(dnnl_primitive_execute(product->primitive, onednn->stream, 4, arguments));
    DNNL_CHECK(dnnl_stream_wait(onednn->stream));
}

void gm_onednn_multiply(gm_onednn *onednn, const gm_gemm *gemm, void *scratch, bool on_thread) {
    multiply(onednn, find_product(onednn, gemm, on_thread), gemm, scratch, false);
}

void gm_onednn_multiply_again(gm_onednn *onednn, const gm_gemm *gemm, const gm_gemm *before, void *scratch) {
    gm_product *product = find_product(onednn, gemm, false), *last = find_product(onednn, before, false);
    bool is_packed = product->pack && last->pack && dnnl_memory_desc_equal(DESC(product->packed), DESC(last->packed));
    multiply(onednn, product, gemm, scratch, is_packed);
}
