/* Every matrix product of the CPU backend, through oneDNN's matmul (the C API of its versions 2 and 3).
 *
 * Frozen weights are used where they lie, in the mapped file: oneDNN's own layouts gain little (docs/cpu/gemm.md has the
 * figures) and would double or triple the memory.
 * A primitive is made once per shape and kept, PRODUCTS_MOST of them at most: packed micro-batches differ in their number of
 * tokens, and each primitive takes about 100 KB. Scratchpads share one buffer that grows when a new shape asks for more:
 * oneDNN bounds their size by nothing that could be planned (a smaller product may need a larger one). Where oneDNN has
 * only its reference code for bf16 (processors without AVX-512), operands are widened to f32 panel by panel. */
#include "backend/cpu/cpu.h"
#include "base/map.h"
#include "base/memory.h"

#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PRODUCTS_MOST = 512, PANEL_COLUMNS = 2048, PANEL_DEPTH = 4096 };

enum { A, B, OUT, SCRATCH, MEMORIES }; /* a product's arguments */

typedef struct gm_product_key {
    gm_gemm shape;      /* pointers zeroed */
    int64_t on_thread;  /* made for one thread: oneDNN cuts the work up by the threads it sees */
} gm_product_key;

typedef struct gm_product { /* one shape's primitive */
    gm_product_key key;
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t a, b, out, pad; /* version 2: structs; 3: owned pointers */
    dnnl_memory_t (*memory)[MEMORIES]; /* of each thread (owned): making them anew costs as much as a small product */
    size_t scratch;
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
    void *scratch;        /* owned: of products outside parallel regions */
    size_t scratch_bytes;
};

#define DNNL_CHECK(expression)                                                                           \
    do {                                                                                                 \
        dnnl_status_t dnnl_status_ = (expression);                                                       \
        GM_CHECK(dnnl_status_ == dnnl_success, "oneDNN status %d from %s", (int)dnnl_status_, #expression); \
    } while (0)

#if DNNL_VERSION_MAJOR >= 3
#define DESC(desc) (desc)
static void keep_desc(dnnl_memory_desc_t *desc, const_dnnl_memory_desc_t of) { DNNL_CHECK(dnnl_memory_desc_clone(desc, of)); }
static void forget_desc(dnnl_memory_desc_t *desc) {
    if (*desc) DNNL_CHECK(dnnl_memory_desc_destroy(*desc));
}
static dnnl_status_t append_sum(dnnl_post_ops_t post) { return dnnl_post_ops_append_sum(post, 1.0f, 0, dnnl_data_type_undef); }
static dnnl_status_t plan_matmul(dnnl_primitive_desc_t *plan, dnnl_engine_t engine, dnnl_memory_desc_t *a, dnnl_memory_desc_t *b, dnnl_memory_desc_t *out,
                                 dnnl_primitive_attr_t attributes) {
    return dnnl_matmul_primitive_desc_create(plan, engine, *a, *b, NULL, *out, attributes);
}
#else
#define DESC(desc) (&(desc))
static void keep_desc(dnnl_memory_desc_t *desc, const dnnl_memory_desc_t *of) { *desc = *of; }
static void forget_desc(dnnl_memory_desc_t *desc) { (void)desc; }
static dnnl_status_t append_sum(dnnl_post_ops_t post) { return dnnl_post_ops_append_sum(post, 1.0f); }
static dnnl_status_t plan_matmul(dnnl_primitive_desc_t *plan, dnnl_engine_t engine, dnnl_memory_desc_t *a, dnnl_memory_desc_t *b, dnnl_memory_desc_t *out,
                                 dnnl_primitive_attr_t attributes) {
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
        free(onednn->products->memory);
        forget_desc(&onednn->products->a), forget_desc(&onednn->products->b), forget_desc(&onednn->products->out), forget_desc(&onednn->products->pad);
        free(onednn->products);
        onednn->products = next;
    }
    gm_map_free(&onednn->table);
}

void gm_onednn_close(gm_onednn *onednn) {
    if (!onednn) return;
    forget_products(onednn);
    free(onednn->scratch);
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
    if (stride == 0) stride = transposed ? rows : columns;
    dnnl_dims_t strides = {transposed ? 1 : stride, transposed ? stride : 1};
#if DNNL_VERSION_MAJOR >= 3
    DNNL_CHECK(dnnl_memory_desc_create_with_strides(desc, 2, dims, data_type(type), strides));
#else
    DNNL_CHECK(dnnl_memory_desc_init_by_strides(desc, 2, dims, data_type(type), strides));
#endif
}

static void make_key(gm_product_key *key, const gm_gemm *gemm, bool on_thread) {
    gm_gemm *shape = &key->shape;
    memset(key, 0, sizeof *key); /* compared byte by byte, padding too */
    shape->m = gemm->m, shape->n = gemm->n, shape->k = gemm->k;
    shape->type = gemm->type, shape->out_type = gemm->out_type;
    shape->transpose_a = gemm->transpose_a, shape->transpose_b = gemm->transpose_b, shape->accumulate = gemm->accumulate;
    shape->out_stride = gemm->out_stride, shape->a_stride = gemm->a_stride, shape->b_stride = gemm->b_stride;
    key->on_thread = on_thread;
}

static gm_product *make_product(gm_onednn *onednn, const gm_product_key *key) {
    const gm_gemm *shape = &key->shape;
    gm_product *product = gm_alloc(1, sizeof *product);
    GM_CHECK(product, "%s", gm_error_text());
    product->memory = gm_alloc((size_t)onednn->threads, sizeof *product->memory);
    GM_CHECK(product->memory, "%s", gm_error_text());
    memcpy(&product->key, key, sizeof *key);
    describe(&product->a, shape->m, shape->k, shape->type, shape->transpose_a, shape->a_stride);
    describe(&product->b, shape->k, shape->n, shape->type, shape->transpose_b, shape->b_stride);
    describe(&product->out, shape->m, shape->n, shape->out_type, false, shape->out_stride);
    dnnl_primitive_attr_t attributes;
    DNNL_CHECK(dnnl_primitive_attr_create(&attributes));
    DNNL_CHECK(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user));
    if (shape->accumulate) {
        dnnl_post_ops_t post;
        DNNL_CHECK(dnnl_post_ops_create(&post));
        DNNL_CHECK(append_sum(post));
        DNNL_CHECK(dnnl_primitive_attr_set_post_ops(attributes, post));
        DNNL_CHECK(dnnl_post_ops_destroy(post));
    }
    dnnl_primitive_desc_t primitive_desc;
    int threads = omp_get_max_threads();
    if (key->on_thread) omp_set_num_threads(1);
    dnnl_status_t made = plan_matmul(&primitive_desc, onednn->engine, &product->a, &product->b, &product->out, attributes);
    if (made == dnnl_unimplemented && shape->type == GM_BF16) { /* no bf16 at all on this processor */
        omp_set_num_threads(threads);
        DNNL_CHECK(dnnl_primitive_attr_destroy(attributes));
        product->reference = true;
        return product;
    }
    DNNL_CHECK(made);
    DNNL_CHECK(dnnl_primitive_create(&product->primitive, primitive_desc));
    omp_set_num_threads(threads);
    keep_desc(&product->pad, dnnl_primitive_desc_query_md(primitive_desc, dnnl_query_scratchpad_md, 0));
    product->scratch = dnnl_memory_desc_get_size(DESC(product->pad));
    const char *implementation = "";
    DNNL_CHECK(dnnl_primitive_desc_query(primitive_desc, dnnl_query_impl_info_str, 0, &implementation));
    product->reference = shape->type == GM_BF16 && strncmp(implementation, "ref", 3) == 0;
    DNNL_CHECK(dnnl_primitive_desc_destroy(primitive_desc));
    DNNL_CHECK(dnnl_primitive_attr_destroy(attributes));
    return product;
}

static gm_product *find_product(gm_onednn *onednn, const gm_gemm *gemm, bool on_thread) {
    gm_product_key key;
    int64_t found;
    make_key(&key, gemm, on_thread);
    pthread_mutex_lock(&onednn->lock);
    if (!gm_map_get(&onednn->table, (const char *)&key, sizeof key, &found)) {
        gm_product *product = make_product(onednn, &key);
        product->next = onednn->products;
        onednn->products = product;
        found = (int64_t)(intptr_t)product;
        GM_CHECK(gm_map_put(&onednn->table, (const char *)&product->key, sizeof key, found, NULL, NULL) == GM_OK, "%s", gm_error_text());
    }
    pthread_mutex_unlock(&onednn->lock);
    return (gm_product *)(intptr_t)found;
}

/* The product's memory object of the calling thread for `data`. */
static dnnl_memory_t memory_for(gm_onednn *onednn, gm_product *product, int argument, dnnl_memory_desc_t *desc, const void *data) {
    int thread = product->key.on_thread ? omp_get_thread_num() : 0;
    GM_CHECK(thread < onednn->threads, "thread %d of %d in a product", thread, onednn->threads);
    dnnl_memory_t *memory = &product->memory[thread][argument];
    if (*memory)
        DNNL_CHECK(dnnl_memory_set_data_handle(*memory, (void *)data));
    else
        DNNL_CHECK(dnnl_memory_create(memory, DESC(*desc), onednn->engine, (void *)data));
    return *memory;
}

static void execute(gm_onednn *onednn, gm_product *product, const gm_gemm *gemm, void *scratch) {
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, memory_for(onednn, product, A, &product->a, gemm->a)},
                                   {DNNL_ARG_WEIGHTS, memory_for(onednn, product, B, &product->b, gemm->b)},
                                   {DNNL_ARG_DST, memory_for(onednn, product, OUT, &product->out, gemm->out)},
                                   {DNNL_ARG_SCRATCHPAD, memory_for(onednn, product, SCRATCH, &product->pad, scratch)}};
    DNNL_CHECK(dnnl_primitive_execute(product->primitive, onednn->stream, 4, arguments));
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* bf16 without bf16 instructions: widen both operands (whole rows as stored), multiply in f32. */
static gm_gemm widened(const gm_gemm *gemm, size_t *a_count, size_t *b_count) {
    gm_gemm wide = *gemm;
    int64_t a_rows = gemm->transpose_a ? gemm->k : gemm->m, a_columns = gemm->transpose_a ? gemm->m : gemm->k;
    int64_t b_rows = gemm->transpose_b ? gemm->n : gemm->k, b_columns = gemm->transpose_b ? gemm->k : gemm->n;
    *a_count = (size_t)((a_rows - 1) * (gemm->a_stride ? gemm->a_stride : a_columns) + a_columns);
    *b_count = (size_t)((b_rows - 1) * (gemm->b_stride ? gemm->b_stride : b_columns) + b_columns);
    wide.type = wide.out_type = GM_F32;
    if (gemm->out_type != GM_F32) wide.out_stride = 0; /* goes to a compact copy first */
    return wide;
}

static size_t whole_lines(size_t count) { return (count * sizeof(float) + 63) & ~(size_t)63; }

static size_t out_count(const gm_gemm *gemm) { return gemm->out_type == GM_F32 ? 0 : (size_t)(gemm->m * gemm->n); }

static size_t wide_bytes(const gm_gemm *gemm, size_t a_count, size_t b_count) {
    return whole_lines(a_count) + whole_lines(b_count) + whole_lines(out_count(gemm)) + 64;
}

static size_t scratch_bytes(gm_backend *backend, const gm_gemm *gemm, bool on_thread) {
    const gm_product *product = find_product(gm_cpu(backend)->onednn, gemm, on_thread);
    if (!product->reference) return product->scratch + 64;
    size_t a_count, b_count;
    gm_gemm wide = widened(gemm, &a_count, &b_count);
    return wide_bytes(gemm, a_count, b_count) + scratch_bytes(backend, &wide, on_thread);
}

size_t gm_cpu_gemm_scratch(gm_backend *backend, const gm_gemm *gemm) { return scratch_bytes(backend, gemm, true); }

static void run(gm_backend *backend, const gm_gemm *gemm, void *scratch, bool on_thread) {
    gm_onednn *onednn = gm_cpu(backend)->onednn;
    gm_product *product = find_product(onednn, gemm, on_thread);
    scratch = (void *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    if (!product->reference) {
        execute(onednn, product, gemm, scratch);
        return;
    }
    size_t a_count, b_count;
    gm_gemm wide = widened(gemm, &a_count, &b_count);
    unsigned char *a = scratch, *b = a + whole_lines(a_count), *out = b + whole_lines(b_count);
    gm_convert(a, GM_F32, gemm->a, GM_BF16, a_count);
    gm_convert(b, GM_F32, gemm->b, GM_BF16, b_count);
    wide.a = a, wide.b = b;
    if (gemm->out_type == GM_F32) {
        run(backend, &wide, out, on_thread);
        return;
    }
    int64_t stride = gemm->out_stride ? gemm->out_stride : gemm->n;
    float *rows = (float *)out;
    for (int64_t r = 0; gemm->accumulate && r < gemm->m; r++)
        gm_convert(rows + r * gemm->n, GM_F32, (const uint16_t *)gemm->out + r * stride, GM_BF16, (size_t)gemm->n);
    wide.out = rows;
    run(backend, &wide, out + whole_lines(out_count(gemm)), on_thread);
    for (int64_t r = 0; r < gemm->m; r++) gm_convert((uint16_t *)gemm->out + r * stride, GM_BF16, rows + r * gemm->n, GM_F32, (size_t)gemm->n);
}

static void reserve_scratch(gm_backend *backend, const gm_gemm *gemm) {
    gm_onednn *onednn = gm_cpu(backend)->onednn;
    size_t needed = scratch_bytes(backend, gemm, false);
    if (needed <= onednn->scratch_bytes) return;
    free(onednn->scratch);
    onednn->scratch = gm_alloc(1, needed);
    GM_CHECK(onednn->scratch, "%s", gm_error_text());
    onednn->scratch_bytes = needed;
}

/* Even parts of at most `most`, in whole cache lines. */
static int64_t part(int64_t whole, int64_t most) {
    if (whole <= most) return whole;
    int64_t parts = (whole + most - 1) / most;
    return ((whole + parts - 1) / parts + 63) & ~(int64_t)63;
}

/* A product as several, where oneDNN 2.6 takes a half to a quarter of the time for the pieces (docs/cpu/gemm.md): wide b that
 * is not transposed by columns; long sums in pieces, which needs the exact out of f32. `call` sees each piece. */
static void in_panels(gm_backend *backend, const gm_gemm *gemm, void (*call)(gm_backend *, const gm_gemm *)) {
    int64_t columns = gemm->transpose_b ? gemm->n : part(gemm->n, PANEL_COLUMNS), depth = gemm->out_type == GM_F32 ? part(gemm->k, PANEL_DEPTH) : gemm->k;
    if (columns >= gemm->n && depth >= gemm->k) {
        call(backend, gemm);
        return;
    }
    gm_gemm piece = *gemm;
    if (!piece.a_stride) piece.a_stride = gemm->transpose_a ? gemm->m : gemm->k;
    if (!piece.b_stride) piece.b_stride = gemm->transpose_b ? gemm->k : gemm->n;
    if (!piece.out_stride) piece.out_stride = gemm->n;
    size_t size = gm_type_size(gemm->type), out_size = gm_type_size(gemm->out_type);
    for (int64_t n = 0; n < gemm->n; n += columns)
        for (int64_t k = 0; k < gemm->k; k += depth) {
            piece.n = gemm->n - n < columns ? gemm->n - n : columns;
            piece.k = gemm->k - k < depth ? gemm->k - k : depth;
            piece.a = (const char *)gemm->a + (size_t)(gemm->transpose_a ? k * piece.a_stride : k) * size;
            piece.b = (const char *)gemm->b + (size_t)(gemm->transpose_b ? n * piece.b_stride + k : k * piece.b_stride + n) * size;
            piece.out = (char *)gemm->out + (size_t)n * out_size;
            piece.accumulate = gemm->accumulate || k > 0;
            call(backend, &piece);
        }
}

static void run_piece(gm_backend *backend, const gm_gemm *gemm) {
    reserve_scratch(backend, gemm);
    run(backend, gemm, gm_cpu(backend)->onednn->scratch, false);
}

static bool begin_gemm(gm_backend *backend, const gm_gemm *gemm) {
    gm_onednn *onednn = gm_cpu(backend)->onednn;
    if (onednn->table.count >= PRODUCTS_MOST) forget_products(onednn); /* no other thread is in a product here */
    return gemm->m > 0 && gemm->n > 0;
}

void gm_cpu_gemm(gm_backend *backend, const gm_gemm *gemm) {
    if (!begin_gemm(backend, gemm)) return;
    double begin = seconds();
    in_panels(backend, gemm, run_piece);
    gm_cpu(backend)->gemm_seconds += seconds() - begin;
}

void gm_cpu_gemm_measure(gm_backend *backend, const gm_gemm *gemm) {
    if (begin_gemm(backend, gemm)) in_panels(backend, gemm, reserve_scratch);
}

void gm_cpu_gemm_on_thread(gm_backend *backend, const gm_gemm *gemm, void *scratch) {
    double begin = seconds();
    run(backend, gemm, scratch, true);
    gm_cpu(backend)->thread_gemm_seconds[omp_get_thread_num() & 255] += seconds() - begin;
}
