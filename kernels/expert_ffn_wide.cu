/* The expert FFN for ranks above FFN_RANK (formulas: src/ops/expert_ffn.c). What registers have no room for is in shared memory:
 * a tile of tokens, of which each thread has its own columns, and a slot's h1_k, h3_k and more of them. The products with B and
 * A go over the tile with ROWS rows in registers at a time, and so do the gradients. */
#include "expert_ffn.cuh"

enum { TILE = 16, ROWS = FFN_RANK, N = 2 /* columns of a thread */, TOGETHER = 2, STEP = FFN_THREADS * N, LEAD = FFN_HEAD };

struct wide { /* where a block is, and its shared memory */
    int column;
    int64_t begin, end, position; /* tokens begin … end of the tile; the position taken */
    float (*parts)[TOGETHER * ROWS][FFN_THREADS];
    int32_t (*slot_of)[TOGETHER];
    int buffer;
};

__device__ __forceinline__ int64_t place_of(const gm_ffn &n, const wide &w, int64_t i) { return i * n.slots + w.position; }

/* x (the thread's columns, a token every STEP floats) += Σ_j c_j row_j for every token of the tile. */
__device__ static void expand(float *x, const float *site, const gm_ffn &n, const wide &w, int64_t coefficients) {
    float rows[ROWS][N], c[ROWS], v[N];
    for (int64_t first = 0; site && first < n.rank; first += ROWS) {
        int cached = -1;
        for (int64_t i = w.begin; i < w.end; i++) {
            const int expert = n.place[place_of(n, w, i)].x;
            float *mine = x + (i - w.begin) * STEP;
            if (expert != cached) gm_ffn_rows(rows, site, n, expert, first, w.column), cached = expert;
            gm_load_vector(c, n.record + place_of(n, w, i) * n.each + coefficients + first);
            gm_row_load(v, mine, 0, N, true);
#pragma unroll
            for (int j = 0; j < ROWS; j++) {
#pragma unroll
                for (int k = 0; k < N; k++) v[k] += c[j] * rows[j][k];
            }
            gm_raw_store(mine, v, 0, N, true);
        }
    }
}

/* The block's sums row_j · x of every token of the tile, to sums[slot·stride + lead + j]; and row_j's gradient += c_j x. */
template <bool SUMS, bool GRADIENT>
__device__ static void contract(float *sums, int64_t stride, int64_t lead, const gm_ffn_part &part, const float *x, const float *site,
                                const gm_ffn &n, wide &w, int64_t coefficients) {
    float rows[ROWS][N], gradient[ROWS][N] = {}, c[ROWS], v[N];
    for (int64_t first = 0; site && first < n.rank; first += ROWS) {
        int cached = -1, together = 0;
        for (int64_t i = w.begin; i < w.end; i++) {
            const int2 place = n.place[place_of(n, w, i)];
            if (place.x != cached) {
                if (GRADIENT) gm_ffn_flush(gradient, part, n, cached, first, w.column);
                if (SUMS) gm_ffn_rows(rows, site, n, place.x, first, w.column);
                cached = place.x;
            }
            gm_row_load(v, x + (i - w.begin) * STEP, 0, N, true);
            if (GRADIENT) gm_load_vector(c, n.record + place_of(n, w, i) * n.each + coefficients + first);
            if (SUMS && threadIdx.x == 0) w.slot_of[w.buffer][together] = place.y;
#pragma unroll
            for (int j = 0; j < ROWS; j++) {
                float dot = 0;
#pragma unroll
                for (int k = 0; k < N; k++) {
                    if (SUMS) dot += rows[j][k] * v[k];
                    if (GRADIENT) gradient[j][k] += c[j] * v[k];
                }
                if (SUMS) w.parts[w.buffer][together * ROWS + j][threadIdx.x] = dot;
            }
            if (!SUMS || (++together < TOGETHER && i + 1 < w.end)) continue;
            __syncthreads(); /* two buffers: one is written while the other is added up */
            gm_ffn_add_up(sums, w.parts[w.buffer], together * ROWS, [&](int r) {
                const int row = (int)first + r % ROWS;
                return row < n.rank ? w.slot_of[w.buffer][r / ROWS] * (int)stride + (int)lead + row : -1;
            });
            w.buffer = !w.buffer, together = 0;
        }
        if (GRADIENT) gm_ffn_flush(gradient, part, n, cached, first, w.column);
    }
}

/* A row of h as the tile's floats. */
template <class T> __device__ __forceinline__ void fetch(float (&v)[N], const T *h, const gm_ffn &n, const wide &w, int64_t i) {
    gm_raw<T, N> raw;
    gm_raw_load(raw, h + (int64_t)n.order[i] * n.columns, w.column, n.columns, n.aligned);
    gm_widen(v, raw);
}

template <class T> __device__ static void fetch_tile(float *x, const T *h, const gm_ffn &n, const wide &w) {
    float v[N];
    for (int64_t i = w.begin; i < w.end; i++) {
        fetch(v, h, n, w, i);
        gm_raw_store(x + (i - w.begin) * STEP, v, 0, N, true);
    }
}

__device__ static void clear_tile(float *x) {
    const float zero[N] = {0};
    for (int i = 0; i < TILE; i++) gm_raw_store(x + i * STEP, zero, 0, N, true);
}

template <class T> __device__ static void store_tile(T *h, const float *x, const gm_ffn &n, const wide &w) {
    float v[N];
    for (int64_t i = w.begin; i < w.end; i++) {
        gm_row_load(v, x + (i - w.begin) * STEP, 0, N, true);
        gm_raw_store(h + (int64_t)n.order[i] * n.columns, v, w.column, n.columns, n.aligned);
    }
}

__device__ __forceinline__ float mask_of(const gm_dropout &dropout, const gm_ffn &n, const wide &w, int32_t slot, int k) {
    return dropout.rate > 0 ? gm_dropout_factor(&dropout, (uint32_t)slot * (uint32_t)n.columns + (uint32_t)(w.column + k)) : 1.0f;
}

/* z += g a; a, masked, in x1's place. */
__device__ static void forward_values(float *z, float *x1, const float *x3, const gm_ffn &n, const wide &w, const gm_dropout &dropout) {
    for (int64_t i = w.begin; i < w.end; i++) {
        const int64_t at = (i - w.begin) * STEP, position = place_of(n, w, i);
        const float gate = n.record[position * n.each];
#pragma unroll
        for (int k = 0; k < N; k++) {
            const float x = x1[at + k], a = x * gm_quick_sigmoid(x) * x3[at + k];
            z[at + k] += gate * a;
            x1[at + k] = a * mask_of(dropout, n, w, n.place[position].y, k);
        }
    }
}

__device__ __forceinline__ wide wide_begin(const gm_ffn &n, float (*parts)[TOGETHER * ROWS][FFN_THREADS], int32_t (*slot_of)[TOGETHER]) {
    wide w = {};
    w.column = (int)(((n.first_strip + blockIdx.x) * FFN_THREADS + threadIdx.x) * N);
    w.begin = (int64_t)blockIdx.y * n.chunk, w.end = gm_least(gm_least(w.begin + TILE, (blockIdx.y + (int64_t)1) * n.chunk), n.tokens);
    w.parts = parts, w.slot_of = slot_of;
    return w;
}

__device__ __forceinline__ void wide_next(const gm_ffn &n, wide &w) {
    w.begin = w.end, w.end = gm_least(gm_least(w.begin + TILE, (blockIdx.y + (int64_t)1) * n.chunk), n.tokens);
}

template <class T> __global__ void __launch_bounds__(FFN_THREADS) wide_forward(gm_ffn_forward<T> a) {
    GM_DYNAMIC_SHARED(float, tile);
    GM_SHARED(float, parts, [2][TOGETHER * ROWS][FFN_THREADS]);
    GM_SHARED(int32_t, slot_of, [2][TOGETHER]);
    const gm_ffn n = a.n;
    const int64_t padded = (n.rank + ROWS - 1) / ROWS * ROWS;
    float *x1 = tile + threadIdx.x * N, *x3 = x1 + TILE * STEP, *z = x3 + TILE * STEP;
    for (wide w = wide_begin(n, parts, slot_of); w.begin < w.end; wide_next(n, w)) {
        clear_tile(z);
        for (w.position = 0; w.position < n.slots; w.position++) {
            fetch_tile(x1, a.h1, n, w), fetch_tile(x3, a.h3, n, w);
            expand(x1, a.b1, n, w, LEAD), expand(x3, a.b3, n, w, LEAD + padded);
            forward_values(z, x1, x3, n, w, a.dropout);
            if (a.u2) contract<true, false>(a.u2 + blockIdx.x * n.tokens * n.slots * n.rank, n.rank, 0, gm_ffn_part(), x1, a.a2, n, w, 0);
        }
        store_tile(a.z, z, n, w);
    }
}

/* From x1 = h1_k, x3 = h3_k and through = g s A2ᵀ w: dh1_k, dh3_k and a, masked, in their places; dh1 and dh3 added; ⟨a, dz⟩. */
template <class T>
__device__ static void backward_values(float *dh1, float *dh3, float *x1, float *x3, float *through, float *sums, const T *dz_rows,
                                       const gm_ffn &n, const wide &w, const gm_dropout &dropout) {
    float (*rows)[FFN_THREADS] = w.parts[0]; /* a row a token: TILE of them */
    static_assert(TILE <= TOGETHER * ROWS, "a row a token");
    __syncthreads(); /* what used them is done */
    for (int64_t i = w.begin; i < w.end; i++) {
        const int64_t at = (i - w.begin) * STEP, position = place_of(n, w, i);
        const float gate = n.record[position * n.each];
        float dz[N], dot = 0;
        fetch(dz, dz_rows, n, w, i);
#pragma unroll
        for (int k = 0; k < N; k++) {
            const float mask = mask_of(dropout, n, w, n.place[position].y, k), x = x1[at + k], sigmoid = gm_quick_sigmoid(x);
            const float silu = x * sigmoid, value = silu * x3[at + k], da = gate * dz[k] + mask * through[at + k];
            dot += value * dz[k];
            x1[at + k] = da * x3[at + k] * (sigmoid + silu * (1.0f - sigmoid)), x3[at + k] = da * silu;
            dh1[at + k] += x1[at + k], dh3[at + k] += x3[at + k];
            through[at + k] = mask * value;
        }
        rows[i - w.begin][threadIdx.x] = dot;
    }
    __syncthreads();
    gm_ffn_add_up(sums, rows, (int)(w.end - w.begin), [&](int r) { return n.place[place_of(n, w, w.begin + r)].y * (1 + 2 * n.rank); });
    __syncthreads();
}

template <class T> __global__ void __launch_bounds__(FFN_THREADS) wide_backward(gm_ffn_backward<T> a) {
    GM_DYNAMIC_SHARED(float, tile);
    GM_SHARED(float, parts, [2][TOGETHER * ROWS][FFN_THREADS]);
    GM_SHARED(int32_t, slot_of, [2][TOGETHER]);
    const gm_ffn n = a.n;
    const int64_t padded = (n.rank + ROWS - 1) / ROWS * ROWS, stride = 1 + 2 * (int64_t)n.rank;
    float *x1 = tile + threadIdx.x * N, *x3 = x1 + TILE * STEP, *through = x3 + TILE * STEP, *dh1 = through + TILE * STEP,
          *dh3 = dh1 + TILE * STEP, *sums = a.sums + blockIdx.x * n.tokens * n.slots * stride;
    wide w = wide_begin(n, parts, slot_of);
    gm_ffn_clear(a.db1, a.touched, n, w.column, N), gm_ffn_clear(a.db3, a.touched, n, w.column, N);
    gm_ffn_clear(a.da2, a.touched, n, w.column, N);
    for (; w.begin < w.end; wide_next(n, w)) {
        clear_tile(dh1), clear_tile(dh3);
        for (w.position = 0; w.position < n.slots; w.position++) {
            fetch_tile(x1, a.h1, n, w), fetch_tile(x3, a.h3, n, w), clear_tile(through);
            expand(x1, a.b1, n, w, LEAD), expand(x3, a.b3, n, w, LEAD + padded), expand(through, a.a2, n, w, LEAD + 2 * padded);
            backward_values(dh1, dh3, x1, x3, through, sums, a.dz, n, w, a.dropout);
            contract<true, true>(sums, stride, 1, a.db1, x1, a.b1, n, w, LEAD);
            contract<true, true>(sums, stride, 1 + n.rank, a.db3, x3, a.b3, n, w, LEAD + padded);
            contract<false, true>(NULL, 0, 0, a.da2, through, a.a2, n, w, LEAD + 2 * padded);
        }
        store_tile(a.h1, dh1, n, w), store_tile(a.h3, dh3, n, w);
    }
}

enum { TILE_BYTES = TILE * STEP * sizeof(float) };

void gm_ffn_wide_forward(gm_backend *backend, const gm_ffn_forward<float> &a, dim3 grid) {
    GM_LAUNCH(backend, wide_forward<float>, grid, FFN_THREADS, 3 * TILE_BYTES, a);
}
void gm_ffn_wide_forward(gm_backend *backend, const gm_ffn_forward<gm_bf16> &a, dim3 grid) {
    GM_LAUNCH(backend, wide_forward<gm_bf16>, grid, FFN_THREADS, 3 * TILE_BYTES, a);
}
void gm_ffn_wide_backward(gm_backend *backend, const gm_ffn_backward<float> &a, dim3 grid) {
    GM_LAUNCH(backend, wide_backward<float>, grid, FFN_THREADS, 5 * TILE_BYTES, a);
}
void gm_ffn_wide_backward(gm_backend *backend, const gm_ffn_backward<gm_bf16> &a, dim3 grid) {
    GM_LAUNCH(backend, wide_backward<gm_bf16>, grid, FFN_THREADS, 5 * TILE_BYTES, a);
}
