/* The configuration of a run: defaults, then the method's, then the file's keys, then the command line's.
 * One table (config_keys.c) says everything about a key; parsing, help, the resolved dump and the JSON Schema read it. */
#ifndef GM_TRAIN_CONFIG_H
#define GM_TRAIN_CONFIG_H

#include "base/file.h"
#include "model/adapter/adapter_config.h"

typedef enum gm_scoring { GM_SCORING_AUTO, GM_SCORING_LABEL, GM_SCORING_LIKELIHOOD } gm_scoring; /* auto: as the task's prompt says */
/* Loss is that of data without choices, whatever is asked for. */
typedef enum gm_metric { GM_METRIC_ACCURACY, GM_METRIC_ACCURACY_NORM, GM_METRIC_ACCURACY_BYTES, GM_METRIC_LOSS } gm_metric;
typedef enum gm_scheduler { GM_SCHEDULER_CONSTANT, GM_SCHEDULER_LINEAR, GM_SCHEDULER_COSINE } gm_scheduler;
typedef enum gm_loss_on { GM_LOSS_ON_ANSWER, GM_LOSS_ON_ALL } gm_loss_on;
typedef enum gm_loss_mean { GM_LOSS_MEAN_STEP, GM_LOSS_MEAN_MICRO_BATCH } gm_loss_mean;

enum { GM_TASKS = 16 }; /* of a run */

typedef struct gm_config {
    char base_model[GM_PATH], data_dir[GM_PATH], output_dir[GM_PATH];
    struct {
        int count;
        char name[GM_TASKS][GM_PATH]; /* names or paths, distinct */
    } task;
    int64_t seed;
    gm_type dtype; /* f32 or bf16 */
    int method;    /* gm_config_method_name */
    gm_adapter_config adapter;
    struct {
        int64_t epochs, max_steps, batch_size, micro_batch_tokens;
        int64_t micro_batch_samples; /* 0: by tokens */
        double learning_rate, betas[2], eps, weight_decay, lora_plus_ratio;
        gm_scheduler scheduler;
        int64_t warmup_steps;
        double max_grad_norm; /* 0: no clipping */
        gm_loss_on loss_on;
        gm_loss_mean loss_mean;
        int append_eos; /* −1: as the task says */
        bool shuffle, reshuffle, activation_checkpointing;
        int64_t max_length, eval_every, save_every, keep_checkpoints;
        int64_t map_above_mb;
        char token_cache[GM_PATH]; /* "": beside output_dir */
        struct {
            int count; /* 0: by size */
            double weight[GM_TASKS];
        } mix;
    } train;
    struct {
        int64_t batch_tokens;
        gm_scoring scoring;
        gm_metric metric; /* none of loss */
        char prompt[64];
        int64_t limit;    /* items of a split; 0: all */
        int64_t shots;    /* before a question */
        int64_t patience; /* evaluations without improvement that end the run; 0: never */
    } eval;
    struct { /* keys of the interface with one value that is built so far */
        bool dora;
        int routing, optimizer;
    } only;
} gm_config;

typedef struct gm_setting { /* from the command line, stronger than the file */
    const char *source;     /* for messages: "--set", "--base-model" */
    const char *path;       /* "train.batch_size" */
    const char *value;      /* JSON, or a bare string */
} gm_setting;

/* The whole configuration from a file (NULL: none) and settings, in this order, checked. All faults are GM_USAGE. */
gm_status gm_config_load(gm_config *config, const char *path, const gm_setting *settings, size_t count);
/* The same with --parity: the reference program's readings are stronger than the method's preset and weaker than the file. */
gm_status gm_config_load_parity(gm_config *config, const char *path, const gm_setting *settings, size_t count);
/* From text that gm_config_write wrote (a checkpoint's). */
gm_status gm_config_parse(gm_config *config, const char *source, const char *text, size_t length);
/* base_model, output_dir and task are given; gm_config_load does not ask for them. `source`: the file, or NULL. */
gm_status gm_config_require_paths(const gm_config *config, const char *source);

const char *gm_config_method_name(const gm_config *config);
const char *gm_metric_name(gm_metric metric); /* as files call it */
const char *gm_scoring_name(gm_scoring scoring);
bool gm_scoring_parse(const char *name, gm_scoring *scoring);

/* Appends the configuration as JSON, every key: gm_config_load reads it back equal. */
void gm_config_write(gm_buffer *out, const gm_config *config);
/* Appends "key value, key value", a line, of what differs from the defaults and the method's. */
void gm_config_write_changes(gm_buffer *out, const gm_config *config);
/* Appends a JSON Schema of the configuration file (draft 2020-12). */
void gm_config_write_schema(gm_buffer *out);
/* Appends every key with type, default and meaning, one a line. */
void gm_config_write_help(gm_buffer *out);

/* The first key, of those that a resumed run must keep, whose values differ: appends "key: one in the checkpoint, other now"
 * and returns false; so it does where `difference` fails. */
bool gm_config_same_run(const gm_config *saved, const gm_config *now, gm_buffer *difference);

#endif
