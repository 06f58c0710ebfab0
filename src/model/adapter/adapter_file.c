/* Adapter values and files: adapter_model.safetensors holds every tensor under its name, in f32, B matrices as O×R. */
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "io/safetensors.h"
#include "model/adapter/adapter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char model_file[] = "adapter_model.safetensors", config_file[] = "adapter_config.json", format_version[] = "1";

static void transpose(float *out, const float *in, int64_t rows, int64_t columns) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) out[c * rows + r] = in[r * columns + c];
}

/* Shape in files: B is kept R×O and written O×R. */
static void file_shape(const gm_parameter *parameter, int64_t dim[2]) {
    bool transposed = parameter->kind == GM_PARAMETER_LORA_B;
    dim[0] = transposed ? parameter->tensor.columns : parameter->tensor.rows;
    dim[1] = transposed ? parameter->tensor.rows : parameter->tensor.columns;
}

static void to_file_form(float *out, const float *values, const gm_parameter *parameter) {
    int64_t rows = parameter->tensor.rows, columns = parameter->tensor.columns;
    if (parameter->kind == GM_PARAMETER_LORA_B)
        transpose(out, values, rows, columns);
    else
        memcpy(out, values, (size_t)(rows * columns) * sizeof *out);
}

static gm_status write_file(const gm_adapter *adapter, const char *path, const float *values, float *staging, gm_write_tensor *tensors,
                            int64_t step) {
    const gm_parameters *parameters = &adapter->parameters;
    size_t used = 0;
    for (size_t i = 0; i < parameters->count; i++) {
        const gm_parameter *parameter = parameters->list[i];
        const float *from = (parameter->kind == GM_PARAMETER_FROZEN ? parameters->frozen_host : values) + parameter->offset;
        tensors[i] = (gm_write_tensor){.name = parameter->name, .type = GM_F32, .rank = parameter->file_rank, .data = staging + used};
        file_shape(parameter, tensors[i].dim);
        to_file_form(staging + used, from, parameter);
        used += (size_t)(parameter->tensor.rows * parameter->tensor.columns);
    }
    char step_text[24], hash_text[24];
    snprintf(step_text, sizeof step_text, "%lld", (long long)step);
    snprintf(hash_text, sizeof hash_text, "%016llx", (unsigned long long)gm_model_hash(adapter->model));
    const gm_metadata_entry metadata[] = {
        {"format", "pt"}, {"gmoe_format_version", format_version}, {"base_model_hash", hash_text}, {"step", step_text}};
    return gm_safetensors_write(path, tensors, parameters->count, metadata, sizeof metadata / sizeof *metadata);
}

gm_status gm_adapter_save(const gm_adapter *adapter, const char *directory, int64_t step, const char *base_name) {
    const gm_parameters *parameters = &adapter->parameters;
    char path[GM_PATH];
    GM_TRY(gm_path_join(path, directory, model_file));
    size_t bytes = (size_t)parameters->trained * sizeof(float);
    float *values = gm_alloc((size_t)parameters->trained, sizeof *values);
    float *staging = gm_alloc((size_t)(parameters->trained + parameters->frozen), sizeof *staging);
    gm_write_tensor *tensors = gm_alloc(parameters->count, sizeof *tensors);
    gm_status status = GM_NO_MEMORY;
    if (values && staging && tensors) {
        adapter->backend->read(adapter->backend, values, parameters->value, bytes);
        status = gm_backend_check(adapter->backend);
        if (status == GM_OK) status = write_file(adapter, path, values, staging, tensors, step);
    }
    free(values);
    free(staging);
    free(tensors);
    GM_TRY(status);
    GM_TRY(gm_path_join(path, directory, config_file));
    return gm_adapter_config_write(adapter, path, base_name);
}

/* What decides the names and shapes that are looked for. */
static const char *decided_by(const gm_adapter *adapter) {
    return adapter->of_files ? "this base model" : "this run's configuration on this base model";
}

static gm_status check_tensor(const gm_adapter *adapter, const gm_safetensors *file, const gm_parameter *parameter,
                              const gm_file_tensor *tensor) {
    int64_t dim[2];
    file_shape(parameter, dim);
    const char *path = gm_safetensors_path(file, tensor);
    if (tensor->type != GM_F32 && tensor->type != GM_BF16 && tensor->type != GM_F16)
        return gm_error(GM_BAD_FILE, "%s: %s: is %s; an adapter's tensors are F32, BF16 or F16", path, tensor->name,
                        gm_type_name(tensor->type));
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++) count *= tensor->dim[i];
    bool fits = parameter->file_rank == 0 ? count == 1 : tensor->rank == 2 && tensor->dim[0] == dim[0] && tensor->dim[1] == dim[1];
    if (!fits)
        return gm_error(GM_BAD_FILE, "%s: %s: has %lld elements, shape %lld×%lld…; %s needs %lld×%lld", path, tensor->name,
                        (long long)count, (long long)(tensor->rank > 0 ? tensor->dim[0] : 1),
                        (long long)(tensor->rank > 1 ? tensor->dim[1] : 1), decided_by(adapter), (long long)dim[0], (long long)dim[1]);
    return GM_OK;
}

static gm_status read_values(gm_adapter *adapter, const gm_safetensors *file, const char *path, float *values, float *staging) {
    const gm_parameters *parameters = &adapter->parameters;
    for (size_t i = 0; i < parameters->count; i++) {
        const gm_parameter *parameter = parameters->list[i];
        const gm_file_tensor *tensor = gm_safetensors_find(file, parameter->name);
        if (!tensor) return gm_error(GM_BAD_FILE, "%s: %s: is missing; %s needs it", path, parameter->name, decided_by(adapter));
        GM_TRY(check_tensor(adapter, file, parameter, tensor));
        int64_t rows = parameter->tensor.rows, columns = parameter->tensor.columns;
        float *out = (parameter->kind == GM_PARAMETER_FROZEN ? parameters->frozen_host : values) + parameter->offset;
        gm_convert(staging, GM_F32, tensor->bytes, tensor->type, (size_t)(rows * columns));
        if (parameter->kind == GM_PARAMETER_LORA_B)
            transpose(out, staging, columns, rows);
        else
            memcpy(out, staging, (size_t)(rows * columns) * sizeof *out);
    }
    return GM_OK;
}

static gm_status refuse_extra(const gm_adapter *adapter, const gm_safetensors *file, const char *path) {
    gm_map names = {0};
    gm_status status = GM_OK;
    for (size_t i = 0; i < adapter->parameters.count; i++) {
        const char *name = adapter->parameters.list[i]->name;
        GM_TRY_GOTO(gm_map_put(&names, name, strlen(name), 0, NULL, NULL));
    }
    for (size_t i = 0; i < gm_safetensors_count(file); i++) {
        const char *name = gm_safetensors_at(file, i)->name;
        int64_t ignored;
        if (gm_map_get(&names, name, strlen(name), &ignored)) continue;
        status = gm_error(GM_BAD_FILE, "%s: %s: %s has no such tensor", path, name, decided_by(adapter));
        break;
    }
done:
    gm_map_free(&names);
    return status;
}

/* Adapters of another base model with the same shapes load; the numbers would mean little. */
static void check_base(const gm_adapter *adapter, const gm_safetensors *file, const char *path) {
    const char *hash = gm_safetensors_metadata(file, "base_model_hash");
    char mine[24];
    snprintf(mine, sizeof mine, "%016llx", (unsigned long long)gm_model_hash(adapter->model));
    if (hash && strcmp(hash, mine) != 0)
        gm_log(GM_LOG_WARN, "%s: was trained on another base model (hash %s; this one has %s)", path, hash, mine);
}

/* Files of other programs, PEFT's among them, say nothing of it. */
static gm_status check_version(const gm_safetensors *file, const char *path) {
    const char *version = gm_safetensors_metadata(file, "gmoe_format_version");
    if (!version || strcmp(version, format_version) == 0) return GM_OK;
    return gm_error(GM_BAD_FILE, "%s: has gmoe_format_version %.20s; this program reads %s", path, version, format_version);
}

static gm_status load_file(gm_adapter *adapter, const gm_safetensors *file, const char *path) {
    gm_parameters *parameters = &adapter->parameters;
    float *values = gm_alloc((size_t)parameters->trained, sizeof *values);
    float *staging = gm_alloc((size_t)(parameters->trained + parameters->frozen), sizeof *staging);
    gm_status status = values && staging ? read_values(adapter, file, path, values, staging) : GM_NO_MEMORY;
    if (status == GM_OK) status = refuse_extra(adapter, file, path);
    if (status == GM_OK) check_base(adapter, file, path);
    if (status == GM_OK) adapter->backend->write(adapter->backend, parameters->value, values, (size_t)parameters->trained * sizeof *values);
    free(values);
    free(staging);
    if (status == GM_OK) gm_adapter_refresh_frozen(adapter);
    return status;
}

gm_status gm_adapter_load(gm_adapter *adapter, const char *path) {
    char name[GM_PATH];
    if (gm_directory_exists(path))
        GM_TRY(gm_path_join(name, path, model_file));
    else if (snprintf(name, sizeof name, "%s", path) >= (int)sizeof name)
        return gm_error(GM_USAGE, "%s: the path is too long", path);
    gm_safetensors *file;
    GM_TRY(gm_safetensors_open(&file, name));
    gm_status status = check_version(file, name);
    if (status == GM_OK) status = load_file(adapter, file, name);
    gm_safetensors_close(file);
    return status;
}

gm_status gm_adapter_open(gm_adapter **adapter, gm_model *model, const char *directory) {
    char path[GM_PATH];
    gm_adapter_config config;
    gm_adapter *opened;
    if (!gm_directory_exists(directory)) return gm_error(GM_USAGE, "%s: no such adapter directory", directory);
    GM_TRY(gm_path_join(path, directory, config_file));
    GM_TRY(gm_adapter_config_read(&config, path));
    GM_TRY(gm_adapter_create(&opened, model, &config, 0));
    opened->of_files = true;
    gm_status status = gm_adapter_load(opened, directory);
    if (status != GM_OK) return gm_adapter_close(opened), status;
    *adapter = opened;
    return GM_OK;
}

/* adapter_config.json of a directory, or beside a file; *there: it exists. */
static gm_status find_config(char name[GM_PATH], const char *path, bool *there) {
    int length = (int)strlen(path);
    const char *slash = strrchr(path, '/');
    if (!gm_directory_exists(path)) length = slash ? (int)(slash - path) : 0;
    if (snprintf(name, GM_PATH, "%.*s%s%s", length, path, length || slash ? "/" : "", config_file) >= GM_PATH)
        return gm_error(GM_USAGE, "%s: the path is too long", path);
    *there = gm_file_exists(name);
    return GM_OK;
}

/* Scale and routing are in no tensor: other ones than the values were trained with make another adapter of them. */
static gm_status compare_config(const gm_adapter *adapter, const char *name) {
    const gm_adapter_config *now = &adapter->config;
    gm_adapter_config there;
    gm_status status = gm_adapter_config_read(&there, name);
    if (status == GM_BAD_FILE)
        return gm_log(GM_LOG_WARN, "%s; what it says is not compared with this run's adapter", gm_error_text()), GM_OK;
    GM_TRY(status);
    gm_buffer text = {0};
    if (there.alpha != now->alpha) gm_buffer_format(&text, "; alpha %g there, %g now", there.alpha, now->alpha);
    if (there.rslora != now->rslora)
        gm_buffer_format(&text, "; rslora %s there, %s now", there.rslora ? "true" : "false", now->rslora ? "true" : "false");
    if (there.top_k != now->top_k) gm_buffer_format(&text, "; top_k %lld there, %lld now", (long long)there.top_k, (long long)now->top_k);
    if (text.length) gm_log(GM_LOG_WARN, "%s: the same values give another adapter with%s", name, gm_buffer_string(&text) + 1);
    gm_buffer_free(&text);
    return GM_OK;
}

gm_status gm_adapter_begin_with(gm_adapter *adapter, const char *path) {
    char config[GM_PATH];
    bool there = false;
    GM_TRY(find_config(config, path, &there));
    if (there) GM_TRY(gm_adapter_config_refuse(config)); /* before its tensors are found to be too many */
    GM_TRY(gm_adapter_load(adapter, path));
    return there ? compare_config(adapter, config) : GM_OK;
}
