/* cuBLASLt's products as loops over column-major matrices: d = alpha op(a) op(b) + beta c, sums in double. An algorithm is the
 * description it was chosen for, and refuses another. */
#include "internal.h"

#include <cublasLt.h>
#include <cuda_bf16.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace {

struct product {
    cublasLtMatmulDescOpaque_t description;
    cublasLtMatrixLayoutOpaque_t a_layout, b_layout, d_layout;
    const void *a, *b, *c;
    void *d;
    float alpha, beta;
};

/* To the nearest of TF32's values: 10 bits of fraction. */
float tf32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

double get(const void *matrix, cudaDataType_t type, int64_t i) {
    if (type == CUDA_R_32F) return static_cast<const float *>(matrix)[i];
    return __bfloat162float(static_cast<const __nv_bfloat16 *>(matrix)[i]);
}

void put(void *matrix, cudaDataType_t type, int64_t i, double value) {
    if (type == CUDA_R_32F)
        static_cast<float *>(matrix)[i] = static_cast<float>(value);
    else
        static_cast<__nv_bfloat16 *>(matrix)[i] = __float2bfloat16_rn(static_cast<float>(value));
}

/* Column `j` of op(matrix), or row `j` where `by_rows`. */
void line(std::vector<double> &out, const void *matrix, const cublasLtMatrixLayoutOpaque_t &layout, bool turned, bool by_rows, bool rounded,
          int64_t j) {
    int64_t step = turned == by_rows ? 1 : layout.stride, first = turned == by_rows ? j * layout.stride : j;
    for (size_t i = 0; i < out.size(); i++) {
        const double value = get(matrix, layout.type, first + static_cast<int64_t>(i) * step);
        out[i] = rounded ? static_cast<double>(tf32(static_cast<float>(value))) : value;
    }
}

void multiply(const void *arguments) {
    const product &p = *static_cast<const product *>(arguments);
    const bool a_turned = p.description.a == CUBLAS_OP_T, b_turned = p.description.b == CUBLAS_OP_T;
    const int64_t m = static_cast<int64_t>(p.d_layout.rows), n = static_cast<int64_t>(p.d_layout.columns);
    const size_t k = a_turned ? p.a_layout.rows : p.a_layout.columns;
    std::vector<std::vector<double>> rows(static_cast<size_t>(m), std::vector<double>(k));
    for (int64_t i = 0; i < m; i++) line(rows[static_cast<size_t>(i)], p.a, p.a_layout, a_turned, true, p.description.tf32, i);
    std::vector<double> column(k);
    for (int64_t j = 0; j < n; j++) {
        line(column, p.b, p.b_layout, b_turned, false, p.description.tf32, j);
        for (int64_t i = 0; i < m; i++) {
            const double *row = rows[static_cast<size_t>(i)].data();
            double sum = 0;
            for (size_t l = 0; l < k; l++) sum += row[l] * column[l];
            int64_t at = j * p.d_layout.stride + i;
            double before = p.beta != 0 ? static_cast<double>(p.beta) * get(p.c, p.d_layout.type, at) : 0;
            put(p.d, p.d_layout.type, at, static_cast<double>(p.alpha) * sum + before);
        }
    }
}

size_t extent(const cublasLtMatrixLayoutOpaque_t &l) {
    return (static_cast<size_t>(l.stride) * (l.columns - 1) + l.rows) * (l.type == CUDA_R_32F ? 4 : 2);
}

cublasLtMatmulAlgo_t algorithm_of(const cublasLtMatmulDescOpaque_t &d, const cublasLtMatrixLayoutOpaque_t &a,
                                  const cublasLtMatrixLayoutOpaque_t &b, const cublasLtMatrixLayoutOpaque_t &out) {
    return {{a.rows, a.columns, b.rows, b.columns, static_cast<uint64_t>(a.stride), static_cast<uint64_t>(b.stride),
             static_cast<uint64_t>(out.stride), static_cast<uint64_t>(d.a * 2 + d.b + a.type * 4 + out.type * 64 + d.tf32 * 4096)}};
}

} // namespace

extern "C" {

const char *cublasLtGetStatusString(cublasStatus_t status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "not supported";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "execution failed";
    default: return "invalid value";
    }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    static int one;
    return *handle = reinterpret_cast<cublasLtHandle_t>(&one), CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDesc_t description, cublasComputeType_t compute, cudaDataType_t scale) {
    *description = {CUBLAS_OP_N, CUBLAS_OP_N, compute == CUBLAS_COMPUTE_32F_FAST_TF32};
    return (compute == CUBLAS_COMPUTE_32F || description->tf32) && scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS
                                                                                       : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t name, const void *value,
                                              size_t size) {
    if (size != sizeof(cublasOperation_t)) return CUBLAS_STATUS_INVALID_VALUE;
    (name == CUBLASLT_MATMUL_DESC_TRANSA ? description->a : description->b) = *static_cast<const cublasOperation_t *>(value);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutInit(cublasLtMatrixLayout_t layout, cudaDataType_t type, uint64_t rows, uint64_t columns,
                                        int64_t stride) {
    *layout = {type, rows, columns, stride};
    return rows > 0 && columns > 0 && stride >= static_cast<int64_t>(rows) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreference_t preference) {
    *preference = {};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t size) {
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
        if (size != sizeof(size_t)) return CUBLAS_STATUS_INVALID_VALUE;
        preference->workspace = *static_cast<const size_t *>(value);
    } else if (size != sizeof(uint32_t)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    } else if (name >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES) {
        preference->align[name - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] = *static_cast<const uint32_t *>(value);
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t *results, int *found) {
    results[0] = {algorithm_of(*description, *a, *b, *d), 0, CUBLAS_STATUS_SUCCESS};
    *found = a->type != CUDA_R_32F || d->type == CUDA_R_32F; /* the library has no product of f32 that is written as bf16 */
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout, const void *beta,
                              const void *c, cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspace_bytes, cudaStream_t) {
    const bool a_turned = description->a == CUBLAS_OP_T, b_turned = description->b == CUBLAS_OP_T;
    const uint64_t k = a_turned ? a_layout->rows : a_layout->columns;
    if ((a_turned ? a_layout->columns : a_layout->rows) != d_layout->rows ||
        (b_turned ? b_layout->rows : b_layout->columns) != d_layout->columns || (b_turned ? b_layout->columns : b_layout->rows) != k ||
        a_layout->type != b_layout->type || c_layout->type != d_layout->type || c_layout->rows != d_layout->rows ||
        c_layout->columns != d_layout->columns || c_layout->stride != d_layout->stride)
        return CUBLAS_STATUS_INVALID_VALUE;
    cublasLtMatmulAlgo_t mine = algorithm_of(*description, *a_layout, *b_layout, *d_layout);
    if (!std::equal(mine.data, mine.data + 8, algorithm->data)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!gm_emulated_is_device(a, extent(*a_layout)) || !gm_emulated_is_device(b, extent(*b_layout)) ||
        !gm_emulated_is_device(c, extent(*c_layout)) || !gm_emulated_is_device(d, extent(*d_layout)) ||
        !gm_emulated_is_device(workspace, workspace_bytes))
        gm_emulated_fail("a product over memory that is not the device's");
    product p = {
        *description, *a_layout, *b_layout, *d_layout, a, b, c, d, *static_cast<const float *>(alpha), *static_cast<const float *>(beta)};
    gm_emulated_enqueue("a product", multiply, &p, sizeof p);
    return gm_emulated_fault() == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
}
