/* A step: the memory and the tape of one micro-batch.
 *
 * Operations run at once (eagerly) and, while training, append a record with their backward function; gm_step_backward
 * runs the records from the last to the first. Memory is three arenas: activations (and gradients, and what a record
 * saves), scratch (the backend's, given back within an operation), and host memory for tensors and records. Sizes come
 * from running the same code once on a measuring backend (gm_step_measure … gm_step_place), so that the plan cannot
 * drift from the code; after that nothing is allocated.
 *
 * Gradients: the first write to a tensor's gradient stores, later ones add; gm_grad_begin says which. A gradient's
 * memory is reused once the record that made its tensor has run backward. */
#ifndef GM_TENSOR_STEP_H
#define GM_TENSOR_STEP_H

#include "base/random.h"
#include "tensor/tensor.h"

typedef struct gm_step gm_step;
typedef struct gm_record gm_record;
typedef void (*gm_backward)(gm_step *step, const void *saved);

enum { GM_RECORD_OUTPUTS = 2, GM_STEP_FREE = 64 };

/* What a stretch of a step works on: time is kept per part, a record's backward counts for the part that made it. */
typedef enum gm_part {
    GM_PART_OTHER,
    GM_PART_PROJECTIONS,
    GM_PART_ATTENTION,
    GM_PART_ROUTER,
    GM_PART_FEED_FORWARD,
    GM_PART_HEAD,
    GM_PART_OPTIMIZER,
    GM_PARTS
} gm_part;

struct gm_record {
    gm_record *previous;
    gm_backward backward;
    const void *saved; /* the operation's own struct, in the host arena */
    gm_part part;
    gm_tensor *output[GM_RECORD_OUTPUTS]; /* their gradients end with this record; unused: NULL */
};

struct gm_step {
    gm_backend *backend;
    gm_type type;  /* of activations: f32 or bf16 */
    bool training; /* record, and make gradients */
    float dropout_rate;
    gm_random *dropout; /* draws the masks' keys; NULL: no dropout. Forgotten by gm_step_reset */
    gm_arena activations, host;
    gm_record *last;
    struct {
        void *memory;
        size_t bytes;
    } free_gradients[GM_STEP_FREE];
    int free_count, free_base;     /* those below the base belong to what is outside of the stretch */
    gm_part part;                  /* at work */
    double part_seconds[GM_PARTS]; /* since gm_step_init or the owner's last reset */
    double part_begin;
    /* owned memory, by gm_step_place */
    void *memory, *host_memory; /* activations, then scratch; tape */
};

typedef struct gm_step_plan { /* bytes */
    size_t activations, scratch, host;
} gm_step_plan;

void gm_step_init(gm_step *step, gm_backend *backend, gm_type type);

/* From here on the step and its backend only count. */
gm_status gm_step_measure(gm_step *step);
/* What was counted since: the peak over all resets. */
gm_step_plan gm_step_planned(const gm_step *step);
/* Allocates the plan, all of the backend's memory at once, and leaves measuring. GM_NO_MEMORY says what all of it needs. */
gm_status gm_step_place(gm_step *step, const gm_step_plan *plan);
void gm_step_free(gm_step *step);

/* Begins a micro-batch: forgets all tensors and records. */
void gm_step_reset(gm_step *step, bool training);
/* Runs the tape backward, then forgets the records. */
void gm_step_backward(gm_step *step);

/* A stretch of the step that is dropped as a whole: the tensors, gradients and records made in it. What is to stay is copied
 * into memory taken before it began. Records made before are out of gm_step_backward's sight until its end. */
typedef struct gm_step_stretch {
    gm_record *last;
    size_t activations, host;
    int free_count, free_base;
} gm_step_stretch;
gm_step_stretch gm_step_begin_stretch(gm_step *step);
void gm_step_end_stretch(gm_step *step, const gm_step_stretch *stretch);

/* From here on time counts for `part`; returns the part before. */
gm_part gm_step_enter(gm_step *step, gm_part part);

gm_tensor *gm_step_tensor(gm_step *step, gm_type type, int64_t rows, int64_t columns);
void *gm_step_memory(gm_step *step, size_t bytes);  /* backend memory until the reset */
void *gm_step_scratch(gm_step *step, size_t bytes); /* until the operation's gm_step_unscratch */
static inline size_t gm_step_mark(const gm_step *step) { return gm_arena_mark(&step->backend->scratch); }
static inline void gm_step_unscratch(gm_step *step, size_t mark) { gm_arena_release(&step->backend->scratch, mark); }
const void *gm_step_save(gm_step *step, const void *bytes, size_t size); /* a copy in the host arena */

/* Appends a record and marks the outputs as needing gradients. `saved` is copied. Only while training. */
void gm_step_record(gm_step *step, gm_backward backward, const void *saved, size_t size, gm_tensor *output, gm_tensor *second_output);

/* Makes room for tensor's gradient; true: it holds something already, add to it; false: write it. */
bool gm_grad_begin(gm_step *step, gm_tensor *tensor);
/* Gradient `from` becomes, or is added to, that of `to` (same shape, both f32); `from` has none afterwards. */
void gm_grad_pass(gm_step *step, gm_tensor *from, gm_tensor *to);

/* The mask of the next site that drops; rate 0 outside training. */
gm_dropout gm_step_next_dropout(gm_step *step);

/* `in` as `type`: itself, or a converted copy in scratch. */
const void *gm_step_as(gm_step *step, const void *in, gm_type in_type, gm_type type, int64_t count);

#endif
