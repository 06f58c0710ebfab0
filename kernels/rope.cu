/* Rotary position embedding (Su et al. 2021), in place, with Hugging Face's pairing of i and i + C/2:
 *     θ = position · frequency_i  (rounded to f32, as there)
 *     x_i, x_{i+C/2}  ←  m (x_i cos θ − x_{i+C/2} sin θ),  m (x_{i+C/2} cos θ + x_i sin θ)          m: amplitude
 *     x: T×heads×C
 * `inverse` is the transpose, the backward pass: θ ← −θ. A block has a token: cosines and sines are computed once for all heads
 * and lie in shared memory, PAIRS of them at a time. Blocks are small: a token has few keys, and waits more than it computes. */
#include "common.cuh"

enum { THREADS = 64, PAIRS = 256, VECTOR = 4 };

struct rotation {
    int heads, pairs; /* a token's elements are an int, too */
    float amplitude, sign;
    bool aligned;
};

/* VECTOR neighbouring pairs of one head; `x` is the head's row, c and s the angles' from pair `first` on. */
template <class T> __device__ static void rotate(T *x, const float *c, const float *s, int i, int first, const rotation &n) {
    float a[VECTOR], b[VECTOR], turned[VECTOR];
    if (n.aligned) { /* both loads are on their way before the first one's bits are widened */
        gm_load_vector(a, x + i);
        gm_load_vector(b, x + n.pairs + i);
    } else {
        gm_load_some(a, x, i, n.pairs, false);
        gm_load_some(b, x + n.pairs, i, n.pairs, false);
    }
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
        float cosine = c[i - first + j], sine = s[i - first + j];
        turned[j] = a[j] * cosine - b[j] * sine;
        b[j] = b[j] * cosine + a[j] * sine;
    }
    gm_store_some(x, turned, i, n.pairs, n.aligned);
    gm_store_some(x + n.pairs, b, i, n.pairs, n.aligned);
}

template <class T> __global__ void __launch_bounds__(THREADS) rope(T *x, const int32_t *positions, const float *frequencies, rotation n) {
    GM_SHARED(float, c, [PAIRS]);
    GM_SHARED(float, s, [PAIRS]);
    const float position = (float)positions[blockIdx.x];
    x += (int64_t)blockIdx.x * (n.heads * n.pairs * 2);
    for (int first = 0; first < n.pairs; first += PAIRS) {
        const unsigned vectors = (unsigned)gm_parts(gm_least(n.pairs - first, (int)PAIRS), VECTOR), heads = (unsigned)n.heads;
        for (int i = threadIdx.x; i < (int)vectors * VECTOR; i += THREADS) {
            float sine = 0, cosine = 0;
            if (first + i < n.pairs) sincosf(position * frequencies[first + i], &sine, &cosine);
            c[i] = cosine * n.amplitude, s[i] = sine * n.amplitude * n.sign;
        }
        __syncthreads();
        for (unsigned i = threadIdx.x; i < heads * vectors; i += THREADS)
            rotate(x + i / vectors * n.pairs * 2, c, s, first + (int)(i % vectors) * VECTOR, first, n);
        __syncthreads();
    }
}

extern "C" void gm_cuda_rope(gm_backend *backend, const gm_rope_args *a) {
    GM_CHECK(a->head_size % 2 == 0, "rotation of heads of odd size %lld", (long long)a->head_size);
    GM_CHECK(a->heads * a->head_size < (int64_t)1 << 31, "rotation of %lld heads of size %lld", (long long)a->heads,
             (long long)a->head_size);
    const rotation n = {(int)a->heads, (int)a->head_size / 2, a->amplitude, a->inverse ? -1.0f : 1.0f,
                        gm_aligned(a->x, a->type, a->head_size / 2, VECTOR)};
    GM_WITH_TYPE(a->type, T, GM_LAUNCH(backend, rope<T>, a->tokens, THREADS, 0, (T *)a->x, a->positions, a->frequencies, n));
}
