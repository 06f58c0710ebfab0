#include "tensor/step.h"
#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_ARENA_MEASURING = 64 << 20 }; /* tensors and records of the measuring run: reserved, touched as used */

void gm_step_init(gm_step *step, gm_backend *backend, gm_type type) { *step = (gm_step){.backend = backend, .type = type}; }

gm_status gm_step_measure(gm_step *step) {
    gm_step_free(step);
    gm_backend_measure(step->backend, true);
    gm_arena_measure(&step->activations, "activations");
    gm_arena_measure(&step->backend->scratch, "scratch");
    step->host_memory = aligned_alloc(GM_ARENA_ALIGN, HOST_ARENA_MEASURING);
    if (!step->host_memory) return gm_error(GM_NO_MEMORY, "out of memory: the measuring run's tape needs %d bytes", HOST_ARENA_MEASURING);
    gm_arena_place(&step->host, "host", step->host_memory, HOST_ARENA_MEASURING);
    gm_step_reset(step, true);
    return GM_OK;
}

gm_step_plan gm_step_planned(const gm_step *step) {
    return (gm_step_plan){step->activations.peak, step->backend->scratch.peak, step->host.peak};
}

/* One block: where it does not fit, the message is of the whole. */
static gm_status allocate(gm_step *step, const gm_step_plan *plan) {
    gm_backend *backend = step->backend;
    char what[128];
    snprintf(what, sizeof what, "a step (%.1f MB of activations, %.1f MB of scratch)", (double)plan->activations / 1e6,
             (double)plan->scratch / 1e6);
    gm_status status = backend->allocate(backend, &step->memory, plan->activations + plan->scratch, what);
    if (status != GM_NO_MEMORY) return status;
    return gm_error(status, "%s beside the base model's and the adapter's %.1f MB", gm_error_text(), (double)backend->allocated / 1e6);
}

gm_status gm_step_place(gm_step *step, const gm_step_plan *plan) {
    gm_backend *backend = step->backend;
    gm_step_free(step);
    gm_backend_measure(backend, false);
    GM_TRY(allocate(step, plan));
    gm_arena_place(&step->activations, "activations", step->memory, plan->activations);
    gm_arena_place(&backend->scratch, "scratch", (unsigned char *)step->memory + plan->activations, plan->scratch);
    step->activations.foreign = backend->scratch.foreign = !backend->host_memory;
    step->host_memory = aligned_alloc(GM_ARENA_ALIGN, (plan->host + GM_ARENA_ALIGN) / GM_ARENA_ALIGN * GM_ARENA_ALIGN);
    if (!step->host_memory) return gm_error(GM_NO_MEMORY, "out of memory: the tape needs %zu bytes", plan->host);
    gm_arena_place(&step->host, "host", step->host_memory, plan->host);
    gm_step_reset(step, false);
    return GM_OK;
}

void gm_step_free(gm_step *step) {
    gm_backend *backend = step->backend;
    if (step->memory) {
        backend->release(backend, step->memory, step->activations.capacity + backend->scratch.capacity);
        backend->scratch = (gm_arena){0};
    }
    free(step->host_memory);
    step->memory = step->host_memory = NULL;
    step->activations = step->host = (gm_arena){0};
    step->last = NULL;
}

void gm_step_reset(gm_step *step, bool training) {
    gm_arena_release(&step->activations, 0);
    gm_arena_release(&step->host, 0);
    step->last = NULL;
    step->free_count = step->free_base = 0;
    step->dropout = NULL;
    step->training = training;
}

gm_step_stretch gm_step_begin_stretch(gm_step *step) {
    gm_step_stretch stretch = {step->last, gm_arena_mark(&step->activations), gm_arena_mark(&step->host), step->free_count,
                               step->free_base};
    step->last = NULL;
    step->free_base = step->free_count;
    return stretch;
}

void gm_step_end_stretch(gm_step *step, const gm_step_stretch *stretch) {
    gm_arena_release(&step->activations, stretch->activations);
    gm_arena_release(&step->host, stretch->host);
    step->last = stretch->last;
    step->free_count = stretch->free_count;
    step->free_base = stretch->free_base;
}

gm_part gm_step_enter(gm_step *step, gm_part part) {
    gm_part before = step->part;
    if (before == part) return before;
    if (step->backend->synchronous) gm_backend_check(step->backend);
    double now = gm_clock_seconds();
    if (step->part_begin > 0) step->part_seconds[before] += now - step->part_begin;
    step->part_begin = now;
    step->part = part;
    return before;
}

void *gm_step_memory(gm_step *step, size_t bytes) { return gm_arena_take(&step->activations, bytes); }
void *gm_step_scratch(gm_step *step, size_t bytes) { return gm_arena_take(&step->backend->scratch, bytes); }

const void *gm_step_save(gm_step *step, const void *bytes, size_t size) { return memcpy(gm_arena_take(&step->host, size), bytes, size); }

gm_tensor *gm_step_tensor(gm_step *step, gm_type type, int64_t rows, int64_t columns) {
    gm_tensor *tensor = gm_arena_take(&step->host, sizeof *tensor);
    *tensor = (gm_tensor){.type = type, .grad_type = type, .rows = rows, .columns = columns};
    tensor->data = gm_step_memory(step, gm_tensor_bytes(tensor));
    return tensor;
}

void gm_step_record(gm_step *step, gm_backward backward, const void *saved, size_t size, gm_tensor *output, gm_tensor *second_output) {
    if (!step->training) return;
    gm_record *record = gm_arena_take(&step->host, sizeof *record);
    *record = (gm_record){.previous = step->last,
                          .backward = backward,
                          .saved = gm_step_save(step, saved, size),
                          .part = step->part,
                          .output = {output, second_output}};
    for (int i = 0; i < GM_RECORD_OUTPUTS; i++)
        if (record->output[i]) record->output[i]->needs_grad = true;
    step->last = record;
}

static size_t grad_bytes(const gm_tensor *tensor) {
    return (size_t)tensor->rows * (size_t)tensor->columns * gm_type_size(tensor->grad_type);
}

bool gm_grad_begin(gm_step *step, gm_tensor *tensor) {
    if (tensor->grad) return true;
    size_t bytes = grad_bytes(tensor);
    for (int i = step->free_count - 1; i >= step->free_base; i--) {
        if (step->free_gradients[i].bytes != bytes) continue;
        tensor->grad = step->free_gradients[i].memory;
        step->free_gradients[i] = step->free_gradients[--step->free_count];
        return false;
    }
    tensor->grad = gm_step_memory(step, bytes);
    return false;
}

static void grad_end(gm_step *step, gm_tensor *tensor) {
    if (!tensor || tensor->parameter || !tensor->grad) return;
    if (step->free_count < GM_STEP_FREE) {
        step->free_gradients[step->free_count].memory = tensor->grad;
        step->free_gradients[step->free_count++].bytes = grad_bytes(tensor);
    }
    tensor->grad = NULL;
}

void gm_grad_pass(gm_step *step, gm_tensor *from, gm_tensor *to) {
    GM_CHECK_SHAPE(to, from->rows, from->columns);
    GM_CHECK(from->grad && from->grad_type == GM_F32 && to->grad_type == GM_F32, "a gradient passed on that is not f32 or not there");
    if (to->grad)
        step->backend->kernels->add(step->backend, to->grad, from->grad, GM_F32, from->rows * from->columns);
    else
        to->grad = from->grad, from->grad = NULL;
    grad_end(step, from);
}

void gm_step_backward(gm_step *step) {
    for (const gm_record *record = step->last; record; record = record->previous) {
        bool wanted = false;
        for (int i = 0; i < GM_RECORD_OUTPUTS; i++) wanted |= record->output[i] && record->output[i]->grad;
        gm_step_enter(step, record->part);
        if (wanted || !record->output[0]) record->backward(step, record->saved);
        for (int i = 0; i < GM_RECORD_OUTPUTS; i++) grad_end(step, record->output[i]);
    }
    step->last = NULL;
    gm_step_enter(step, GM_PART_OTHER);
}

gm_dropout gm_step_next_dropout(gm_step *step) {
    if (!step->training || !step->dropout || step->dropout_rate == 0) return (gm_dropout){0};
    gm_dropout dropout = {.rate = step->dropout_rate};
    for (int i = 0; i < 2; i++) dropout.key[i] = gm_random_u32(step->dropout);
    return dropout;
}

const void *gm_step_as(gm_step *step, const void *in, gm_type in_type, gm_type type, int64_t count) {
    if (in_type == type) return in;
    void *out = gm_step_scratch(step, (size_t)count * gm_type_size(type));
    step->backend->kernels->convert(step->backend, out, type, in, in_type, count);
    return out;
}
