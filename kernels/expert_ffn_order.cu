/* The order in which the expert FFN's kernels visit tokens: sorted by the two smallest experts of their slots, stably; and what
 * a token's slots multiply with, side by side in that order.
 * A token's place is the number of tokens before it, which a warp counts: T² comparisons of integers are 7 µs of an H100 at
 * T = 8192, no more than the launches of a sort by counting, and there are no atomics. */
#include "expert_ffn.cuh"

enum { THREADS = 128 };

/* place: T×K, the slots of token t by (expert, slot). */
__global__ void __launch_bounds__(THREADS)
    token_keys(int32_t *key, int2 *place, int32_t *order, const int32_t *expert, int64_t tokens, int slots, int experts) {
    const int64_t t = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (t >= tokens) return;
    int32_t first = 0, second = 0;
    for (int k = 0; k < slots; k++) {
        const int32_t e = expert ? expert[t * slots + k] : 0;
        int position = 0;
        for (int other = 0; other < slots && expert; other++) {
            const int32_t o = expert[t * slots + other];
            position += o < e || (o == e && other < k);
        }
        place[t * slots + position] = make_int2(e, (int)(t * slots + k));
        if (position == 0) first = e;
        if (position == 1) second = e;
    }
    key[t] = first * experts + second;
    if (experts == 1) order[t] = (int32_t)t;
}

/* A warp has a token: its place is how many have a smaller key, or the same one and a smaller number. */
__global__ void __launch_bounds__(THREADS) token_order(int32_t *order, const int32_t *key, int64_t tokens) {
    const int64_t t = (int64_t)blockIdx.x * (THREADS / GM_WARP) + threadIdx.x / GM_WARP;
    if (t >= tokens) return; /* a whole warp, or nobody */
    const int32_t mine = key[t];
    int before = 0;
    for (int64_t other = threadIdx.x % GM_WARP; other < tokens; other += GM_WARP) before += key[other] < mine + (other < t);
    before = gm_warp_sum(before);
    if (threadIdx.x % GM_WARP == 0) order[before] = (int32_t)t;
}

__global__ void __launch_bounds__(THREADS)
    sort_places(int2 *sorted, const int2 *place, const int32_t *order, int64_t tokens, int64_t slots) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (at < tokens * slots) sorted[at] = place[order[at / slots] * slots + at % slots];
}

__global__ void __launch_bounds__(THREADS)
    touch(int32_t *touched, const int2 *place, int64_t places, int64_t experts, int64_t chunk_places) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (at < places) touched[at / chunk_places * experts + place[at].x] = 1; /* by all that write it */
}

struct records {
    float *out;
    const int2 *place;
    const float *gate, *u, *w;
    int64_t slots, per_token, experts, rank;
    int64_t padded, each; /* rank with zero rows; floats of a record */
    float scale;
    bool site1, site3;
};

/* Zeros for absent rows and sites. */
__global__ void __launch_bounds__(THREADS) pack(records c) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= c.slots) return;
    const int64_t e = c.place[at].x, slot = c.place[at].y, u1 = ((slot / c.per_token * 2) * c.experts + e) * c.rank;
    const float gate = c.gate ? c.gate[slot] : 1.0f;
    float *out = c.out + at * c.each;
    gm_store_vector(out, {gate, __uint_as_float((unsigned)e), __uint_as_float((unsigned)slot), 0.0f});
    out += FFN_HEAD;
    for (int64_t j = 0; j < c.padded; j++) {
        const bool there = j < c.rank;
        out[j] = c.site1 && there ? c.scale * c.u[u1 + j] : 0.0f;
        out[c.padded + j] = c.site3 && there ? c.scale * c.u[u1 + c.experts * c.rank + j] : 0.0f;
        out[2 * c.padded + j] = c.w && there ? gate * c.scale * c.w[slot * c.rank + j] : 0.0f;
    }
}

gm_ffn_order gm_ffn_sort(gm_backend *backend, const gm_expert_ffn_args *args) {
    const int64_t tokens = args->tokens, places = tokens * args->slots, experts = gm_ffn_experts(args);
    gm_ffn_order o = {(int32_t *)gm_cuda_scratch(backend, (size_t)tokens * sizeof(int32_t)),
                      (int2 *)gm_cuda_scratch(backend, (size_t)places * sizeof(int2))};
    int32_t *key = (int32_t *)gm_cuda_scratch(backend, (size_t)tokens * sizeof *key);
    int2 *place = (int2 *)gm_cuda_scratch(backend, (size_t)places * sizeof *place);
    GM_LAUNCH(backend, token_keys, gm_parts(tokens, THREADS), THREADS, 0, key, place, o.order, args->expert, tokens, (int)args->slots,
              (int)experts);
    if (experts > 1) GM_LAUNCH(backend, token_order, gm_parts(tokens, THREADS / GM_WARP), THREADS, 0, o.order, key, tokens);
    GM_LAUNCH(backend, sort_places, gm_parts(places, THREADS), THREADS, 0, o.place, place, o.order, tokens, args->slots);
    return o;
}

int32_t *gm_ffn_touch(gm_backend *backend, const gm_expert_ffn_args *args, const gm_ffn_order *order, int64_t chunk, int64_t bound) {
    const int64_t places = args->tokens * args->slots, experts = gm_ffn_experts(args);
    const size_t bytes = (size_t)(gm_parts(args->tokens, chunk) * experts) * sizeof(int32_t);
    int32_t *touched = (int32_t *)gm_cuda_scratch(backend, (size_t)(bound * experts) * sizeof(int32_t));
    gm_cuda_zero(backend, touched, bytes);
    GM_LAUNCH(backend, touch, gm_parts(places, THREADS), THREADS, 0, touched, order->place, places, experts, chunk * args->slots);
    return touched;
}

gm_ffn gm_ffn_shape(const gm_expert_ffn_args *args, const gm_ffn_order *order, int64_t columns, int64_t chunk) {
    GM_CHECK(args->tokens * args->slots * (1 + 2 * args->rank) < (int64_t)1 << 31 && columns < (int64_t)1 << 31,
             "an expert FFN of %lld tokens, rank %lld and %lld columns", (long long)args->tokens, (long long)args->rank,
             (long long)columns);
    gm_ffn n = {
        args->tokens, (int)columns, (int)gm_ffn_experts(args), (int)args->slots, (int)args->rank, (int)chunk, 0, 0, true, order->order,
        order->place, NULL};
    const void *f32[] = {args->w1.b, args->w3.b, args->w2.a, args->w2.b, args->w1.db, args->w3.db, args->w2.da, args->w2.db, args->dy};
    const void *act[] = {args->h1, args->h3, args->z, args->dz};
    for (size_t i = 0; i < sizeof f32 / sizeof *f32; i++) n.aligned = n.aligned && gm_aligned(f32[i], GM_F32, columns, 4);
    for (size_t i = 0; i < sizeof act / sizeof *act; i++) n.aligned = n.aligned && gm_aligned(act[i], args->type, columns, 4);
    return n;
}

int64_t gm_ffn_round(const gm_expert_ffn_args *args, int64_t strips, int64_t sums) {
    const int64_t room = sums > 0 ? gm_ffn_room(args) / (sums * (int64_t)sizeof(float)) : strips;
    return gm_least(strips, gm_most(room, (int64_t)1));
}

int64_t gm_ffn_round_bound(const gm_expert_ffn_args *args, int64_t strips, int64_t sums) {
    return gm_least(strips * sums, gm_most(gm_ffn_room(args) / (int64_t)sizeof(float), sums));
}

void gm_ffn_pack(gm_backend *backend, gm_ffn *n, const gm_expert_ffn_args *args, const float *w) {
    const int64_t slots = args->tokens * args->slots, padded = gm_ffn_padded(args->rank, args->slots);
    n->each = (int)(FFN_HEAD + (3 * padded + 3) / 4 * 4);
    float *out = (float *)gm_cuda_scratch(backend, (size_t)(slots * n->each) * sizeof *out);
    const records c = {out,     n->place,    args->gate,         args->u,           w, slots, args->slots, n->experts, n->rank, padded,
                       n->each, args->scale, args->w1.b != NULL, args->w3.b != NULL};
    GM_LAUNCH(backend, pack, gm_parts(slots, THREADS), THREADS, 0, c);
    n->record = out;
}
