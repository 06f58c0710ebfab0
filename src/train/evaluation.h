/* Scoring a split, for gmoe-eval and within training.
 *
 * A set is built once: items become sequences and queries (this row's probability of this token counts for this choice),
 * and items become batches of at most batch_tokens tokens. Label scoring: one sequence an item, the prompt with the choices'
 * common beginning. Likelihood: one of the tokens that all choices begin with, prompt and all, and one of the rest of each
 * choice, which comes after it (gm_batch's prefix); a choice that is one token has no rest, since its last token is only a
 * target. Each choice is encoded as a whole before, so that its tokens are those it has alone. Data without choices has its
 * loss as the result. Nothing of one item reaches another's scores; the batch's size only changes how products round. */
#ifndef GM_TRAIN_EVALUATION_H
#define GM_TRAIN_EVALUATION_H

#include "data/packing.h"
#include "data/task.h"
#include "io/tokenizer/tokenizer.h"
#include "model/model.h"
#include "train/config.h"
#include "train/shots.h"

typedef struct gm_eval_options {
    gm_scoring scoring;                      /* label or likelihood */
    int64_t batch_tokens, max_length, limit; /* limit: only the first so many items; 0: all */
    bool append_eos;                         /* of data without choices, whose loss is the result */
    bool keep_texts;                         /* in the items */
    int64_t shots;                           /* solved examples before each prompt */
    const gm_chat *chat;                     /* for conversations; borrowed while the set is built */
} gm_eval_options;

typedef struct gm_eval_item {
    int64_t index; /* in the split, from 0 */
    int answer, choices;
    int prediction, prediction_norm, prediction_bytes; /* by score, by score a character and a byte: those of likelihood only */
    double *scores;                                    /* choices */
    int32_t *characters, *bytes;                       /* choices: Unicode characters and bytes without the leading space */
    const char **prompts, **texts; /* choices, with keep_texts: the prompt of each, shots and all, and the choice as it is scored */
} gm_eval_item;

typedef struct gm_eval_query {
    int32_t row, token, choice; /* row within the sequence; rows ascend */
} gm_eval_query;

typedef struct gm_eval_sequence {
    gm_sample sample;
    uint32_t item; /* index among the set's items */
    uint32_t first_query, queries;
    int32_t prefix; /* tokens of the item's first sequence that stand before it: all of them, or 0 */
} gm_eval_sequence;

typedef struct gm_eval_set {
    gm_eval_options options;
    const char *task; /* its name, the task's own */
    char split[16], file[GM_PATH];
    gm_eval_item *items;         /* count, those with choices; none: the loss is the result */
    size_t count, total;         /* total: items of the split up to options.limit */
    size_t left_out;             /* those after it */
    gm_eval_sequence *sequences; /* in `region`, as all is */
    gm_eval_query *queries;
    size_t sequence_count, query_count, query_capacity;
    size_t *batches; /* batch_count + 1: first sequence of each */
    size_t batch_count;
    int64_t tokens;     /* of all batches */
    uint32_t checksum;  /* of the split's items and of their tokens */
    int64_t cut;        /* items that lost the beginning of a prompt                       */
    int64_t longest;    /* tokens before and in a sequence */
    int64_t tied, lone; /* items with choices that no score can tell apart; items with one choice */
    gm_region region;
    /* one batch, room for the largest */
    gm_pack pack;
    int32_t *prefix, *row, *which, *token;
    float *logit, *log_sum;
} gm_eval_set; /* {0} is empty */

/* Warns of what the set's building noticed: cut prompts (by the limit `max_length_name`), choices that cannot be told apart. */
void gm_eval_set_warn(const gm_eval_set *set, const char *max_length_name, const char *scoring_name);

typedef struct gm_eval_result {
    gm_scoring scoring; /* of data with choices */
    int64_t n, correct, correct_norm, correct_bytes;
    double accuracy, stderr_;                                        /* stderr: s/√n with n − 1 */
    double accuracy_norm, stderr_norm, accuracy_bytes, stderr_bytes; /* likelihood only */
    double loss;                                                     /* mean over loss_tokens, where data has no choices */
    int64_t loss_tokens;
    bool by_loss;
    int64_t shots, tokens; /* tokens: computed */
    uint32_t checksum;     /* of the split's items */
    double seconds, samples_per_s;
} gm_eval_result;

typedef struct gm_mean_result { /* over tasks: of a metric, or, where none has choices, of their losses */
    gm_metric metric;
    double value, stderr_; /* stderr_: of the mean, from the tasks' own; of a loss none */
    int64_t n;             /* their items */
    int tasks;
} gm_mean_result;

gm_mean_result gm_mean_of_results(const gm_eval_result *results, int count, gm_metric metric);

typedef struct gm_eval_source { /* what a set is read from */
    const gm_task *task;
    const char *data_dir, *split, *prompt;
    const char *shots_name; /* the option or key that asked for shots, for messages */
    bool skip_bad;
} gm_eval_source;

/* Reads and encodes the split's items, behind their shots. Faults of an item are GM_BAD_FILE with file and line.
 * *unlabelled: it failed because the split as such has no labels. */
gm_status gm_eval_set_load(gm_eval_set *set, const gm_eval_source *source, const gm_tokenizer *tokenizer, const gm_eval_options *options,
                           bool *unlabelled);
void gm_eval_set_free(gm_eval_set *set);

/* Runs every batch on the measuring backend, between gm_step_measure and gm_step_planned. */
gm_status gm_eval_set_measure(gm_eval_set *set, gm_model *model, gm_step *step);

/* Fills the items' scores and predictions. `progress` (may be NULL) is called between batches with the share done;
 * it ends the evaluation by returning another status than GM_OK, which is passed on. */
typedef gm_status (*gm_eval_progress)(void *context, double done);
gm_status gm_evaluate_items(gm_eval_set *set, gm_model *model, gm_step *step, gm_eval_result *result, gm_eval_progress progress,
                            void *context);

#endif
