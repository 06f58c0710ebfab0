/* Matrix products through cuBLASLt. Its matrices are column-major, so that row-major out = op(a) op(b) is asked for as
 * outᵀ = op(b)ᵀ op(a)ᵀ: the operands change places and nothing is transposed in memory.
 *
 * Sums are f32: f32 products without TF32 unless they allow it, bf16 ones on tensor cores. An algorithm is chosen once for a shape and
 * kept; the choice is cuBLASLt's heuristic and depends on nothing but the shape, and none is taken that adds up in the output's type or in
 * the order of arrival, so that a second run gives the same bits. */
#include "backend/cuda/context.h"
#include "backend/cuda/kernels.h"
#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct gm_cuda_shape { /* without padding: compared as bytes */
    int64_t m, n, k, out_stride, a_stride, b_stride;
    uint32_t type, out_type, flags, out_align, a_align, b_align;
} gm_cuda_shape;

struct gm_cuda_product {
    gm_cuda_shape shape; /* m 0: empty */
    cublasLtMatmulAlgo_t algorithm;
};

enum { TRANSPOSE_A = 1, TRANSPOSE_B = 2, ACCUMULATE = 4, TF32 = 8 };

typedef struct gm_cuda_plan { /* cuBLASLt's descriptions of one product; first, second: b, a */
    cublasLtMatmulDescOpaque_t product;
    cublasLtMatrixLayoutOpaque_t first, second, out;
} gm_cuda_plan;

gm_status gm_cuda_blas_open(gm_cuda_context *context) {
    GM_ALLOC(context->products, GM_CUDA_PRODUCTS);
    cublasStatus_t status = cublasLtCreate(&context->blas);
    if (status != CUBLAS_STATUS_SUCCESS) return gm_error(GM_FAIL, "CUDA: cuBLASLt does not start: %s", cublasLtGetStatusString(status));
    cudaError_t error = cudaMalloc(&context->workspace, GM_CUDA_WORKSPACE);
    return error == cudaSuccess ? GM_OK : gm_cuda_not_allocated(context, error, GM_CUDA_WORKSPACE, "cuBLASLt's workspace");
}

void gm_cuda_blas_close(gm_cuda_context *context) {
    if (context->workspace) cudaFree(context->workspace);
    if (context->blas) cublasLtDestroy(context->blas);
    free(context->products);
}

/* The largest power of two that divides the address, up to what every piece of an arena has: where a piece happens to lie, which
 * the run's other memory decides, is not to choose the algorithm. */
static uint32_t alignment(const void *pointer) {
    uint32_t bytes = GM_ARENA_ALIGN;
    while ((uintptr_t)pointer % bytes) bytes /= 2;
    return bytes;
}

/* C of out = product + C */
static const void *added_to(const gm_gemm *g) { return g->addend ? g->addend : g->out; }

static gm_cuda_shape shape_of(const gm_gemm *g) {
    return (gm_cuda_shape){.m = g->m,
                           .n = g->n,
                           .k = g->k,
                           .out_stride = g->out_stride ? g->out_stride : g->n,
                           .a_stride = g->a_stride ? g->a_stride : (g->transpose_a ? g->m : g->k),
                           .b_stride = g->b_stride ? g->b_stride : (g->transpose_b ? g->k : g->n),
                           .type = g->type,
                           .out_type = g->out_type,
                           .flags = (g->transpose_a ? TRANSPOSE_A : 0u) | (g->transpose_b ? TRANSPOSE_B : 0u) |
                                    (g->accumulate || g->addend ? ACCUMULATE : 0u) | (g->tf32 && g->type == GM_F32 ? TF32 : 0u),
                           .out_align = alignment(g->out) < alignment(added_to(g)) ? alignment(g->out) : alignment(added_to(g)),
                           .a_align = alignment(g->a),
                           .b_align = alignment(g->b)};
}

static cudaDataType_t type_of(uint32_t type) { return type == GM_F32 ? CUDA_R_32F : CUDA_R_16BF; }

static cublasStatus_t describe(gm_cuda_plan *plan, const gm_cuda_shape *s) {
    bool a_turned = s->flags & TRANSPOSE_A, b_turned = s->flags & TRANSPOSE_B;
    cublasOperation_t first = b_turned ? CUBLAS_OP_T : CUBLAS_OP_N, second = a_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint64_t m = (uint64_t)s->m, n = (uint64_t)s->n, k = (uint64_t)s->k;
    cublasStatus_t status[] = {
        cublasLtMatmulDescInit(&plan->product, s->flags & TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
        cublasLtMatmulDescSetAttribute(&plan->product, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first),
        cublasLtMatmulDescSetAttribute(&plan->product, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second),
        cublasLtMatrixLayoutInit(&plan->first, type_of(s->type), b_turned ? k : n, b_turned ? n : k, s->b_stride),
        cublasLtMatrixLayoutInit(&plan->second, type_of(s->type), a_turned ? m : k, a_turned ? k : m, s->a_stride),
        cublasLtMatrixLayoutInit(&plan->out, type_of(s->out_type), n, m, s->out_stride),
    };
    for (size_t i = 0; i < sizeof status / sizeof *status; i++)
        if (status[i] != CUBLAS_STATUS_SUCCESS) return status[i];
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t choose(gm_cuda_context *context, gm_cuda_plan *plan, const gm_cuda_shape *s, cublasLtMatmulAlgo_t *algorithm) {
    cublasLtMatmulPreferenceOpaque_t preference;
    size_t workspace = GM_CUDA_WORKSPACE;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t size;
    } wanted[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
                  {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &s->b_align, sizeof s->b_align},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &s->a_align, sizeof s->a_align},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &s->out_align, sizeof s->out_align},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &s->out_align, sizeof s->out_align}};
    cublasStatus_t status = cublasLtMatmulPreferenceInit(&preference);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && status == CUBLAS_STATUS_SUCCESS; i++)
        status = cublasLtMatmulPreferenceSetAttribute(&preference, wanted[i].name, wanted[i].value, wanted[i].size);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    status = cublasLtMatmulAlgoGetHeuristic(context->blas, &plan->product, &plan->first, &plan->second, &plan->out, &plan->out, &preference,
                                            1, &result, &found);
    if (status == CUBLAS_STATUS_SUCCESS) status = found ? result.state : CUBLAS_STATUS_NOT_SUPPORTED;
    if (status == CUBLAS_STATUS_SUCCESS) *algorithm = result.algo;
    return status;
}

/* The shape's place in the table; another shape that has it is forgotten. */
static gm_cuda_product *place_of(gm_cuda_context *context, const gm_cuda_shape *shape) {
    const unsigned char *bytes = (const unsigned char *)shape;
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < sizeof *shape; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return &context->products[(hash ^ (hash >> 32)) % GM_CUDA_PRODUCTS];
}

static void multiply(gm_backend *backend, const gm_gemm *gemm) {
    gm_cuda_context *context = gm_cuda(backend);
    gm_cuda_shape shape = shape_of(gemm);
    gm_cuda_product *product = place_of(context, &shape);
    gm_cuda_plan plan;
    cublasStatus_t status = describe(&plan, &shape);
    if (status == CUBLAS_STATUS_SUCCESS && memcmp(&product->shape, &shape, sizeof shape) != 0) {
        product->shape = (gm_cuda_shape){0};
        status = choose(context, &plan, &shape, &product->algorithm);
        if (status == CUBLAS_STATUS_SUCCESS) product->shape = shape;
    }
    const float one = 1, other = shape.flags & ACCUMULATE ? 1 : 0;
    if (status == CUBLAS_STATUS_SUCCESS)
        status =
            cublasLtMatmul(context->blas, &plan.product, &one, gemm->b, &plan.first, gemm->a, &plan.second, &other, added_to(gemm),
                           &plan.out, gemm->out, &plan.out, &product->algorithm, context->workspace, GM_CUDA_WORKSPACE, context->stream);
    if (status == CUBLAS_STATUS_SUCCESS) return;
    char operation[96];
    snprintf(operation, sizeof operation, "product %lldx%lldx%lld of %s", (long long)gemm->m, (long long)gemm->n, (long long)gemm->k,
             gm_type_name(gemm->type));
    gm_cuda_check(backend, cudaStreamSynchronize(context->stream), operation); /* a fault from before */
    gm_cuda_fail(backend, operation, cublasLtGetStatusString(status));
}

void gm_cuda_gemm(gm_backend *backend, const gm_gemm *gemm) {
    GM_CHECK(gemm->type == GM_F32 || gemm->type == GM_BF16, "a product of %s", gm_type_name(gemm->type));
    GM_CHECK(gemm->k > 0, "a product over nothing");
    GM_CHECK(!gemm->addend || !gemm->out_stride, "a product with an addend and gaps between its rows");
    if (gemm->m == 0 || gemm->n == 0 || gm_backend_measures(backend)) return;
    if (!backend->synchronous) {
        multiply(backend, gemm);
        return;
    }
    cudaStreamSynchronize(gm_cuda_stream(backend)); /* `check` tells of errors */
    double begin = gm_clock_seconds();
    multiply(backend, gemm);
    cudaStreamSynchronize(gm_cuda_stream(backend));
    gm_cuda(backend)->gemm_seconds += gm_clock_seconds() - begin;
}
