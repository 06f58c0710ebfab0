#include "model/adapter/parameters.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN_ELEMENTS = 16 };

struct gm_parameter_view {
    struct gm_parameter_view *next;
    const gm_parameter *first;
    gm_tensor tensor;
};

static int64_t elements(const gm_parameter *parameter) { return parameter->tensor.rows * parameter->tensor.columns; }

static gm_parameter *append(gm_parameters *parameters, const char *name) {
    void *list = parameters->list;
    if (gm_grow(&list, &parameters->capacity, parameters->count + 1, sizeof *parameters->list) != GM_OK) return NULL;
    parameters->list = list;
    gm_parameter *parameter = gm_region_alloc(&parameters->region, 1, sizeof *parameter);
    char *copy = gm_region_copy(&parameters->region, name, strlen(name));
    if (!parameter || !copy) return NULL;
    parameter->name = copy;
    return parameters->list[parameters->count++] = parameter;
}

gm_parameter *gm_parameters_add(gm_parameters *parameters, gm_parameter like, const char *format, ...) {
    char name[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    GM_CHECK(length > 0 && length < (int)sizeof name, "a parameter's name of %d bytes", length);
    gm_parameter *parameter = append(parameters, name);
    if (!parameter) return NULL;
    int64_t *used = like.kind == GM_PARAMETER_FROZEN ? &parameters->frozen : &parameters->trained;
    like.name = parameter->name;
    like.offset = *used;
    like.tensor = gm_tensor_frozen(NULL, GM_F32, like.tensor.rows, like.tensor.columns);
    *parameter = like;
    *used += elements(parameter);
    return parameter;
}

void gm_parameters_align(gm_parameters *parameters) {
    parameters->trained = (parameters->trained + ALIGN_ELEMENTS - 1) / ALIGN_ELEMENTS * ALIGN_ELEMENTS;
    parameters->frozen = (parameters->frozen + ALIGN_ELEMENTS - 1) / ALIGN_ELEMENTS * ALIGN_ELEMENTS;
}

gm_tensor *gm_parameters_stack(gm_parameters *parameters, const gm_parameter *first, int64_t count) {
    struct gm_parameter_view *view = gm_region_alloc(&parameters->region, 1, sizeof *view);
    if (!view) return NULL;
    view->tensor = first->tensor;
    view->tensor.rows *= count;
    view->first = first;
    view->next = parameters->views;
    parameters->views = view;
    return &view->tensor;
}

static void resolve(gm_tensor *tensor, const gm_parameters *parameters, const gm_parameter *parameter) {
    bool frozen = parameter->kind == GM_PARAMETER_FROZEN;
    tensor->data = (frozen ? parameters->frozen_value : parameters->value) + parameter->offset;
    tensor->parameter = tensor->needs_grad = !frozen;
    tensor->grad = frozen || !parameters->gradient ? NULL : parameters->gradient + parameter->offset;
}

static void resolve_all(gm_parameters *parameters) {
    for (size_t i = 0; i < parameters->count; i++) resolve(&parameters->list[i]->tensor, parameters, parameters->list[i]);
    for (struct gm_parameter_view *view = parameters->views; view; view = view->next) resolve(&view->tensor, parameters, view->first);
}

static gm_status take(gm_backend *backend, float **buffer, int64_t count, const char *what) {
    void *memory = NULL;
    GM_TRY(backend->allocate(backend, &memory, (size_t)count * sizeof(float), what));
    *buffer = memory;
    if (count) backend->kernels->zero(backend, memory, (size_t)count * sizeof(float));
    return GM_OK;
}

gm_status gm_parameters_place(gm_parameters *parameters, gm_backend *backend) {
    gm_parameters_align(parameters);
    GM_TRY(take(backend, &parameters->value, parameters->trained, "the adapter"));
    GM_TRY(take(backend, &parameters->frozen_value, parameters->frozen, "the adapter's frozen tensors"));
    GM_ALLOC(parameters->frozen_host, (size_t)parameters->frozen);
    resolve_all(parameters);
    for (size_t i = 0; i < parameters->count; i++) GM_CHECK(elements(parameters->list[i]) > 0, "%s is empty", parameters->list[i]->name);
    return GM_OK;
}

static gm_status take_training(gm_parameters *parameters, gm_backend *backend) {
    GM_TRY(take(backend, &parameters->gradient, parameters->trained, "the adapter's gradients"));
    GM_TRY(take(backend, &parameters->moment1, parameters->trained, "AdamW's first moments"));
    return take(backend, &parameters->moment2, parameters->trained, "AdamW's second moments");
}

gm_status gm_parameters_place_training(gm_parameters *parameters, gm_backend *backend) {
    gm_status status = take_training(parameters, backend);
    if (status == GM_NO_MEMORY)
        return gm_error(status, "%s, and values, gradients and both moments are %.1f MB", gm_error_text(),
                        4e-6 * (double)parameters->trained * (double)sizeof(float));
    GM_TRY(status);
    resolve_all(parameters);
    return GM_OK;
}

void gm_parameters_free(gm_parameters *parameters, gm_backend *backend) {
    float *buffers[] = {parameters->value, parameters->gradient, parameters->moment1, parameters->moment2};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (buffers[i]) backend->release(backend, buffers[i], (size_t)parameters->trained * sizeof(float));
    if (parameters->frozen_value) backend->release(backend, parameters->frozen_value, (size_t)parameters->frozen * sizeof(float));
    free(parameters->frozen_host);
    free(parameters->list);
    gm_region_free(&parameters->region);
    *parameters = (gm_parameters){0};
}
