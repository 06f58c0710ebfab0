/* Frozen weights. Where the backend's memory is the host's and the file holds the wanted type, a weight is used in the
 * file's mapping; otherwise it is converted into one block, whose size is known before anything is read, and the
 * mapping's pages are given back. Two passes over the same list: the first counts, the second loads. */
#include "io/weights.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "model/decoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Both ways of filling a weight go in pieces, so that a conversion never needs a second whole tensor. */
enum { PIECE = 1 << 16 };

typedef struct gm_weight_loader {
    gm_model *model;
    bool counting;
    size_t used;       /* of the block of copies */
    gm_random *random; /* random weights in place of a file's */
    float *drawn;      /* PIECE values, owned: random ones before they are converted */
    void *piece;       /* the same, owned: converted, on their way to the backend    */
} gm_weight_loader;

static void *take_copy(gm_weight_loader *loader, size_t bytes) {
    size_t at = loader->used;
    loader->used += (bytes + GM_ARENA_ALIGN - 1) / GM_ARENA_ALIGN * GM_ARENA_ALIGN;
    return loader->counting ? NULL : (unsigned char *)loader->model->copies + at;
}

static void write_piece(gm_weight_loader *loader, void *out, gm_type type, int64_t at, size_t count) {
    gm_backend *backend = loader->model->backend;
    size_t size = gm_type_size(type);
    backend->write(backend, (unsigned char *)out + (size_t)at * size, loader->piece, count * size);
}

static size_t piece_at(int64_t done, int64_t count) { return (size_t)(count - done < PIECE ? count - done : PIECE); }

/* Every piece of a tensor is like its first: billions of numbers would take minutes to draw. */
static void fill_random(gm_weight_loader *loader, gm_tensor *tensor) {
    int64_t count = tensor->rows * tensor->columns;
    tensor->data = take_copy(loader, gm_tensor_bytes(tensor));
    if (loader->counting) return;
    float bound = sqrtf(3.0f / (float)tensor->columns);
    size_t first = piece_at(0, count);
    for (size_t i = 0; i < first; i++)
        loader->drawn[i] = tensor->rows == 1 ? 1.0f : bound * (2.0f * gm_random_uniform(loader->random) - 1.0f);
    gm_convert(loader->piece, tensor->type, loader->drawn, GM_F32, first);
    for (int64_t done = 0; done < count; done += PIECE) write_piece(loader, tensor->data, tensor->type, done, piece_at(done, count));
}

static void copy_weight(gm_weight_loader *loader, void *out, gm_type type, const gm_file_tensor *from, int64_t count) {
    gm_backend *backend = loader->model->backend;
    size_t from_size = gm_type_size(from->type);
    if (from->type == type) {
        backend->write(backend, out, from->bytes, from->byte_count);
        gm_safetensors_release_pages(loader->model->file, from);
        return;
    }
    for (int64_t done = 0; done < count; done += PIECE) {
        size_t n = piece_at(done, count);
        gm_convert(loader->piece, type, from->bytes + (size_t)done * from_size, from->type, n);
        write_piece(loader, out, type, done, n);
    }
    gm_safetensors_release_pages(loader->model->file, from);
}

/* A matrix of bf16 stays so in a model of f32 where the backend's products take it: no copy, and faster, but for small ones. */
static gm_type type_of(const gm_model *model, gm_type from, int64_t rows, int64_t columns) {
    int64_t least = model->backend->narrow_least;
    bool narrow = model->type == GM_F32 && from == GM_BF16 && least > 0 && rows >= least && columns >= least;
    return narrow ? GM_BF16 : model->type;
}

static void load(gm_weight_loader *loader, gm_tensor *tensor, int layer, const char *part, int64_t rows, int64_t columns) {
    gm_model *model = loader->model;
    if (loader->random) {
        *tensor = gm_tensor_frozen(NULL, type_of(model, GM_BF16, rows, columns), rows, columns);
        fill_random(loader, tensor);
        return;
    }
    gm_file_tensor from;
    bool found = gm_weights_part(&from, model->file, &model->config, layer, part);
    GM_CHECK(found && (int64_t)from.byte_count == rows * columns * (int64_t)gm_type_size(from.type), "%s was checked before", part);
    *tensor = gm_tensor_frozen(NULL, type_of(model, from.type, rows, columns), rows, columns);
    bool aligned = (uintptr_t)from.bytes % gm_type_size(from.type) == 0;
    if (model->backend->host_memory && from.type == tensor->type && aligned) {
        tensor->data = (void *)from.bytes; /* read-only mapping: frozen */
        return;
    }
    tensor->data = take_copy(loader, gm_tensor_bytes(tensor));
    if (!loader->counting) copy_weight(loader, tensor->data, tensor->type, &from, rows * columns);
}

static void load_linear(gm_weight_loader *loader, gm_linear *linear, int layer, const char *name, int64_t outputs, int64_t inputs,
                        bool bias) {
    char part[64];
    snprintf(part, sizeof part, "self_attn.%s.weight", name);
    load(loader, &linear->weight, layer, part, outputs, inputs);
    snprintf(part, sizeof part, "self_attn.%s.bias", name);
    if (bias) load(loader, &linear->bias, layer, part, 1, outputs);
}

static void load_block(gm_weight_loader *loader, gm_block *block, int l) {
    const gm_model_config *c = &loader->model->config;
    int64_t hidden = c->hidden_size, q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    load(loader, &block->attention_norm, l, "input_layernorm.weight", 1, hidden);
    load(loader, &block->ffn_norm, l, "post_attention_layernorm.weight", 1, hidden);
    load_linear(loader, &block->q, l, "q_proj", q, hidden, c->attention_bias);
    load_linear(loader, &block->k, l, "k_proj", kv, hidden, c->attention_bias);
    load_linear(loader, &block->v, l, "v_proj", kv, hidden, c->attention_bias);
    load_linear(loader, &block->o, l, "o_proj", hidden, q, c->output_bias);
    if (c->qk_norm) {
        load(loader, &block->q_norm, l, "self_attn.q_norm.weight", 1, c->head_dim);
        load(loader, &block->k_norm, l, "self_attn.k_norm.weight", 1, c->head_dim);
    }
    load(loader, &block->ffn.w1, l, "mlp.gate_proj.weight", c->ffn_size, hidden);
    load(loader, &block->ffn.w3, l, "mlp.up_proj.weight", c->ffn_size, hidden);
    load(loader, &block->ffn.w2, l, "mlp.down_proj.weight", hidden, c->ffn_size);
    if (c->mlp_bias) {
        load(loader, &block->ffn.bias1, l, "mlp.gate_proj.bias", 1, c->ffn_size);
        load(loader, &block->ffn.bias3, l, "mlp.up_proj.bias", 1, c->ffn_size);
        load(loader, &block->ffn.bias2, l, "mlp.down_proj.bias", 1, hidden);
    }
    block->window = c->sliding_window > 0 && l >= c->window_from_layer ? c->sliding_window : 0;
    block->ffn.experts = 1;
}

static void load_all(gm_weight_loader *loader) {
    gm_model *model = loader->model;
    const gm_model_config *c = &model->config;
    loader->used = 0;
    load(loader, &model->embedding, -1, "embed_tokens.weight", c->vocabulary, c->hidden_size);
    for (int64_t l = 0; l < c->layers; l++) load_block(loader, &model->blocks[l], (int)l);
    load(loader, &model->final_norm, -1, "norm.weight", 1, c->hidden_size);
    if (c->tied_embeddings)
        model->head = model->embedding;
    else
        load(loader, &model->head, -1, "lm_head.weight", c->vocabulary, c->hidden_size);
}

/* What makes the block of copies smaller. */
static const char *smaller(const gm_weight_loader *loader) {
    const gm_model *model = loader->model;
    if (!loader->random && model->backend->host_memory) return "with the dtype of its files nothing is copied";
    return model->type == GM_F32 ? "dtype bf16 needs half" : "a smaller base model needs less";
}

static gm_status load_structure(gm_weight_loader *loader) {
    gm_model *model = loader->model;
    GM_ALLOC(model->blocks, (size_t)model->config.layers);
    loader->counting = true;
    load_all(loader);
    model->copy_bytes = loader->used;
    GM_TRY(gm_error_remedy(model->backend->allocate(model->backend, &model->copies, model->copy_bytes, "the base model"), smaller(loader)));
    loader->counting = false;
    loader->drawn = gm_alloc(PIECE, sizeof *loader->drawn);
    loader->piece = gm_alloc(PIECE, sizeof(float));
    bool ready = loader->drawn && loader->piece;
    if (ready) load_all(loader);
    free(loader->drawn);
    free(loader->piece);
    return ready ? gm_backend_check(model->backend) : GM_NO_MEMORY;
}

gm_status gm_model_load_weights(gm_model *model) {
    GM_TRY(gm_weights_check(model->file, &model->config));
    model->hash = gm_weights_hash(model->file, &model->config);
    return load_structure(&(gm_weight_loader){.model = model});
}

gm_status gm_model_random_weights(gm_model *model, uint64_t seed) {
    gm_random random = gm_random_begin(seed, GM_RANDOM_WEIGHTS, 0);
    return load_structure(&(gm_weight_loader){.model = model, .random = &random});
}

void gm_model_free_weights(gm_model *model) {
    if (model->copies) model->backend->release(model->backend, model->copies, model->copy_bytes);
    free(model->blocks);
    gm_safetensors_close(model->file);
}
