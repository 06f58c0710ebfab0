/* Which K of N weights are the largest when several are equal at the boundary.
 *
 * Experts with equal neighbourhoods and an edge between them have exactly equal router weights, for every token and for
 * ever, so ties are common and the choice is part of the result. It is made as torch.topk makes it on a CPU, so that
 * runs agree with the published programs: quickselect around the K-th place as the C++ library's nth_element does it
 * (median of first+1, middle and last as the pivot, unguarded partition, insertion sort below four). With 64 experts and more for
 * each active one PyTorch takes another way (partial_sort), and so other ones of equal experts; we do not follow it there. */
#ifndef GM_BACKEND_TOP_K_H
#define GM_BACKEND_TOP_K_H

#include "backend/everywhere.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct gm_candidate {
    float weight;
    int32_t index;
} gm_candidate;

GM_EVERYWHERE static inline void gm_candidates_swap(gm_candidate *a, gm_candidate *b) {
    gm_candidate kept = *a;
    *a = *b;
    *b = kept;
}

/* The median of three goes to the front. */
GM_EVERYWHERE static inline void gm_candidates_pivot(gm_candidate *front, gm_candidate *a, gm_candidate *b, gm_candidate *c) {
    bool ab = a->weight > b->weight, bc = b->weight > c->weight, ac = a->weight > c->weight;
    gm_candidate *median = ab ? (bc ? b : ac ? c : a) : (ac ? a : bc ? c : b);
    gm_candidates_swap(front, median);
}

GM_EVERYWHERE static inline gm_candidate *gm_candidates_partition(gm_candidate *first, gm_candidate *last) {
    gm_candidates_pivot(first, first + 1, first + (last - first) / 2, last - 1);
    float pivot = first->weight;
    for (gm_candidate *low = first + 1, *high = last;; low++) {
        while (low->weight > pivot) low++;
        high--;
        while (pivot > high->weight) high--;
        if (low >= high) return low;
        gm_candidates_swap(low, high);
    }
}

GM_EVERYWHERE static inline void gm_candidates_sort(gm_candidate *first, gm_candidate *last) {
    for (gm_candidate *next = first + 1; next < last; next++) {
        gm_candidate moved = *next, *hole = next;
        while (hole > first && moved.weight > hole[-1].weight) hole[0] = hole[-1], hole--;
        *hole = moved;
    }
}

/* The K largest come to the front of the N candidates, in no order. */
GM_EVERYWHERE static inline void gm_candidates_select(gm_candidate *first, int64_t n, int64_t k) {
    gm_candidate *place = first + k - 1, *last = first + n;
    while (last - first > 3) {
        gm_candidate *cut = gm_candidates_partition(first, last);
        if (cut <= place)
            first = cut;
        else
            last = cut;
    }
    gm_candidates_sort(first, last);
}

#endif
