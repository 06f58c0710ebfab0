/* The host functions of the kernels, one file each in kernels/ at the top. Usable from C++. */
#ifndef GM_BACKEND_CUDA_KERNELS_H
#define GM_BACKEND_CUDA_KERNELS_H

#include "backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* kernels/elementwise.cu */
void gm_cuda_convert(gm_backend *, void *out, gm_type out_type, const void *in, gm_type in_type, int64_t count);
void gm_cuda_zero(gm_backend *, void *out, size_t bytes);
void gm_cuda_copy(gm_backend *, void *out, const void *in, size_t bytes);
void gm_cuda_add(gm_backend *, float *out, const void *in, gm_type in_type, int64_t count);
void gm_cuda_scale(gm_backend *, float *out, float factor, int64_t count);
void gm_cuda_add_rows(gm_backend *, void *out, gm_type type, const void *row, gm_type row_type, int64_t rows, int64_t columns);
void gm_cuda_silu_forward(gm_backend *, float *out, const float *in, int64_t count);
void gm_cuda_silu_backward(gm_backend *, float *din, const float *dout, const float *in, int64_t count);
/* kernels/rmsnorm.cu */
void gm_cuda_rmsnorm_forward(gm_backend *, const gm_rmsnorm_args *);
void gm_cuda_rmsnorm_backward(gm_backend *, const gm_rmsnorm_args *);

/* kernels/attention_forward.cu, kernels/attention_backward.cu */
void gm_cuda_attention_forward(gm_backend *, const gm_attention_args *);
void gm_cuda_attention_backward(gm_backend *, const gm_attention_args *);
/* kernels/rows.cu */
void gm_cuda_embedding(gm_backend *, const gm_rows_args *, gm_type table_type);
void gm_cuda_gather_rows(gm_backend *, const gm_rows_args *);
void gm_cuda_scatter_rows(gm_backend *, const gm_rows_args *);
/* kernels/expert_ffn_forward.cu, expert_ffn_backward.cu */
void gm_cuda_expert_ffn_forward(gm_backend *, const gm_expert_ffn_args *);
void gm_cuda_expert_ffn_output(gm_backend *, const gm_expert_ffn_args *);
void gm_cuda_expert_ffn_backward(gm_backend *, const gm_expert_ffn_args *);
/* kernels/router_graph.cu */
void gm_cuda_router_graph_forward(gm_backend *, const gm_router_graph_args *);
void gm_cuda_router_graph_backward(gm_backend *, const gm_router_graph_args *);
/* the rest by name */
void gm_cuda_column_sums(gm_backend *, float *out, const float *in, int64_t rows, int64_t columns);
void gm_cuda_dropout(gm_backend *, const gm_dropout_args *);
void gm_cuda_rope(gm_backend *, const gm_rope_args *);
void gm_cuda_lora_forward(gm_backend *, const gm_lora_args *);
void gm_cuda_lora_backward(gm_backend *, const gm_lora_args *);
void gm_cuda_route_forward(gm_backend *, const gm_route_args *);
void gm_cuda_route_backward(gm_backend *, const gm_route_args *);
void gm_cuda_poisson(gm_backend *, const gm_poisson_args *);
void gm_cuda_normal(gm_backend *, const gm_normal_args *);
void gm_cuda_balance(gm_backend *, const gm_balance_args *);
void gm_cuda_cross_entropy(gm_backend *, const gm_cross_entropy_args *);
void gm_cuda_score(gm_backend *, const gm_score_args *);
void gm_cuda_adamw(gm_backend *, const gm_adamw_args *);
void gm_cuda_sum_squares(gm_backend *, double *out, const float *in, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
