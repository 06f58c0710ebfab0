/* What a run is besides its configuration: how far it has come, and what it was made from. A checkpoint holds
 *   adapter_model.safetensors, adapter_config.json   the adapter, as gmoe-eval reads it
 *   optimizer.safetensors                            both moments, the counts that the Normal loss remembers, the expert load
 *   state.json                                       gm_train_state and gm_run_identity
 *   config.json                                      the resolved configuration
 * Random numbers and the data order are functions of (seed, step), so that the step is all of their state. */
#ifndef GM_TRAIN_STATE_H
#define GM_TRAIN_STATE_H

#include "base/json.h"
#include "model/model.h"
#include "train/config.h"

typedef struct gm_train_state {
    int64_t step;           /* optimiser steps done                                            */
    int64_t tokens;         /* that went through the model in them                             */
    double seconds;         /* spent in them                                                   */
    int64_t evaluated_step; /* last step evaluated on the validation split; −1: none           */
    int64_t best_step;      /* −1: none                                                        */
    double best;            /* its accuracy, or loss where data has no choices                 */
    int64_t stale;          /* evaluations since then without improvement                      */
} gm_train_state;

typedef struct gm_run_identity { /* what a resumed run must find unchanged */
    uint64_t base;               /* gm_model_hash                          */
    uint32_t tokenizer, dataset; /* CRC32 of its files; of the training samples, as items and as tokens */
    uint32_t validation, test;   /* of what chooses best/, and of what is scored at the end; 0: none */
    int64_t samples;
    int threads; /* not its identity, but sums are taken in another order with another number: said, not refused */
} gm_run_identity;

/* Appends it as the members of a JSON object, without braces. */
void gm_identity_write(gm_buffer *out, const gm_run_identity *identity);

/* Whether what `tree` (of the file `path`) says that `directory` was made from is `now`: GM_USAGE names what differs, GM_BAD_FILE
 * what is missing. `validates`: a run goes on and asks the validation split. `scored`: the scores of the test split are compared too. */
gm_status gm_identity_check(const gm_run_identity *now, const cJSON *tree, const char *path, const char *directory, bool validates,
                            bool scored);

typedef struct gm_snapshot {
    const gm_config *config;
    gm_run_identity *identity;
    gm_adapter *adapter; /* prepared for training */
    gm_backend *backend;
    gm_train_state *state;
} gm_snapshot;

/* A gm_checkpoint_writer; the context is a gm_snapshot. */
gm_status gm_state_write(void *snapshot, const char *directory);

/* Restores adapter, moments, counts and state from a checkpoint that verified; into the identity goes the validation split where this
 * run does not ask it, so that a later one is still held to it. GM_USAGE names what differs between the
 * checkpoint's configuration, base model, tokenizer or data and this run's. */
gm_status gm_state_read(const gm_snapshot *snapshot, const char *directory);

/* The part of it that is the configuration's. *same_length (may be NULL): what ends the run is the same too. */
gm_status gm_state_check_config(const gm_config *config, const char *directory, bool *same_length);

/* CRC32 over the tokenizer's files in a model directory. */
gm_status gm_tokenizer_checksum(const char *directory, uint32_t *checksum);

/* A gm_checkpoint_writer for adapter/ and best/; the context is a gm_snapshot. */
gm_status gm_state_write_adapter(void *snapshot, const char *directory);

#endif
