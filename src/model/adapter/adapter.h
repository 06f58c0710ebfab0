/* The adapter's inside: what its files and the decoder share. */
#ifndef GM_MODEL_ADAPTER_ADAPTER_H
#define GM_MODEL_ADAPTER_ADAPTER_H

#include "model/adapter/parameters.h"
#include "model/model.h"

typedef struct gm_lora { /* of one linear layer, or of one site over all experts */
    gm_tensor *a, *b;
} gm_lora;

typedef struct gm_layer_adapter {
    gm_lora attention[4];   /* q, k, v, o; NULL pointers where there is none */
    gm_lora gate, up, down; /* experts stacked */
    gm_router_graph graph;
    gm_parameter *nodes, *structure, *edges; /* of the graph: X N×D and W_s G×D (NULL without), N×N of 0/1 */
    gm_tensor *linear_router;                /* N×D */
    gm_tensor *rate, *width;                 /* λ and σ; NULL where the loss is off */
    float *adjacency;                        /* (N+1)×(N+1): Â, owned */
} gm_layer_adapter;

struct gm_adapter {
    gm_model *model;
    gm_backend *backend;
    gm_adapter_config config;
    gm_parameters parameters;
    gm_adapter_buffers buffers;
    gm_layer_adapter *layers; /* owned */
    int64_t layer_count;
    bool of_files;       /* its configuration is its files': where shapes differ, it is the base model's fault */
    double *past, *load; /* layers×N, owned: counts of the Normal loss; slots given to each expert */
};

/* src/model/adapter/edges.c: the expert graph and its normalised adjacency */
void gm_edges_draw(float *edges, const gm_adapter_config *config, int64_t layer); /* N×N; not "similarity" */
/* features: N×G (method.md §2, "similarity") */
gm_status gm_edges_similar(float *edges, const float *features, int64_t experts, int64_t size, double density);
/* Â = Dg^(-1/2) (A + I) Dg^(-1/2) of the graph with the token's node, which is joined to every expert. */
void gm_edges_normalise(float *adjacency, const float *edges, int64_t experts);

/* src/model/adapter/initialise.c: values drawn from the seed */
gm_status gm_adapter_initialise(gm_adapter *adapter, uint64_t seed);
/* After the frozen tensors changed: copies them to the backend and rebuilds Â. */
void gm_adapter_refresh_frozen(gm_adapter *adapter);

/* src/model/adapter/adapter_json.c */
gm_status gm_adapter_config_write(const gm_adapter *adapter, const char *path, const char *base_name);

#endif
