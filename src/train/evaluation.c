/* A query asks for log p(token | what stands up to its row); a choice's score is the sum of its queries. Under label
 * scoring a choice has one query and the scores are normalised over the item's choices, which leaves
 * log-softmax over these choices' logits. */
#include "train/evaluation.h"
#include "base/clock.h"
#include "train/batch.h"

#include <math.h>

/* Packs the batch's sequences; one that comes after a prefix counts its positions from the prefix's end. */
static gm_status fill_pack(gm_eval_set *set, size_t batch) {
    int32_t first = 0; /* of the item's sequences, in the pack */
    gm_pack_clear(&set->pack);
    for (size_t i = set->batches[batch]; i < set->batches[batch + 1]; i++) {
        const gm_eval_sequence *sequence = &set->sequences[i];
        int32_t number = set->pack.sequences, begin = set->pack.tokens;
        if (number == 0 || sequence->item != sequence[-1].item) first = number;
        GM_TRY(gm_pack_add(&set->pack, &sequence->sample, false));
        for (int32_t row = begin; row < set->pack.tokens; row++) set->pack.positions[row] += sequence->prefix;
        set->prefix[number] = sequence->prefix ? first : -1;
    }
    return GM_OK;
}

/* What the batch's queries ask of the logits; a row that several ask for is computed once. */
static gm_score_request request_of(gm_eval_set *set, size_t batch) {
    gm_score_request request = {.row = set->row, .which = set->which, .token = set->token, .logit = set->logit, .log_sum = set->log_sum};
    for (size_t i = set->batches[batch], at = 0; i < set->batches[batch + 1]; i++, at++) {
        const gm_eval_sequence *sequence = &set->sequences[i];
        for (uint32_t q = 0; q < sequence->queries; q++) {
            const gm_eval_query *query = &set->queries[sequence->first_query + q];
            int32_t row = set->pack.starts[at] + query->row;
            if (request.rows == 0 || set->row[request.rows - 1] != row) set->row[request.rows++] = row;
            set->which[request.count] = (int32_t)request.rows - 1;
            set->token[request.count++] = query->token;
        }
    }
    return request;
}

static void add_scores(gm_eval_set *set, size_t batch) {
    size_t n = 0;
    for (size_t i = set->batches[batch]; i < set->batches[batch + 1]; i++) {
        const gm_eval_sequence *sequence = &set->sequences[i];
        for (uint32_t q = 0; q < sequence->queries; q++, n++)
            set->items[sequence->item].scores[set->queries[sequence->first_query + q].choice] +=
                (double)set->logit[n] - (double)set->log_sum[set->which[n]];
    }
}

static gm_status compute_batch(gm_eval_set *set, gm_model *model, gm_step *step, size_t batch, gm_eval_result *result) {
    GM_TRY(fill_pack(set, batch));
    gm_batch packed = gm_batch_of(&set->pack);
    gm_step_reset(step, false);
    if (set->count == 0) {
        result->loss += gm_model_evaluate_loss(model, step, &packed);
        result->loss_tokens += packed.loss_rows;
        return gm_backend_check(step->backend);
    }
    packed.loss_rows = 0;
    packed.prefix = set->options.scoring == GM_SCORING_LIKELIHOOD ? set->prefix : NULL;
    gm_score_request request = request_of(set, batch);
    gm_model_score(model, step, &packed, &request);
    if (gm_backend_measures(step->backend)) return GM_OK;
    GM_TRY(gm_backend_check(step->backend));
    add_scores(set, batch);
    return GM_OK;
}

static gm_status run_batch(gm_eval_set *set, gm_model *model, gm_step *step, size_t batch, gm_eval_result *result) {
    step->backend->rows_apart = true; /* an item's scores are its own */
    gm_status status = compute_batch(set, model, step, batch, result);
    step->backend->rows_apart = false;
    return status;
}

gm_status gm_eval_set_measure(gm_eval_set *set, gm_model *model, gm_step *step) {
    gm_eval_result unused = {0};
    for (size_t batch = 0; batch < set->batch_count; batch++) GM_TRY(run_batch(set, model, step, batch, &unused));
    return GM_OK;
}

/* ---- from scores to accuracies ---------------------------------------------------------------------------------- */

static void normalise_over_choices(gm_eval_item *item) {
    double highest = -INFINITY, sum = 0;
    for (int c = 0; c < item->choices; c++) highest = fmax(highest, item->scores[c]);
    for (int c = 0; c < item->choices; c++) sum += exp(item->scores[c] - highest);
    for (int c = 0; c < item->choices; c++) item->scores[c] -= highest + log(sum);
}

/* The choice of the highest score, with `lengths` of the highest score over its length; ties: the first. A choice without length has
 * no such mean. */
static int best_choice(const gm_eval_item *item, const int32_t *lengths) {
    int best = 0;
    for (int c = 1; c < item->choices; c++)
        if (!lengths ? item->scores[c] > item->scores[best]
                     : lengths[c] > 0 && (lengths[best] == 0 || item->scores[c] / lengths[c] > item->scores[best] / lengths[best]))
            best = c;
    return best;
}

static double standard_error(double share, int64_t n) { return n > 1 ? sqrt(share * (1 - share) / (double)(n - 1)) : 0; }

static gm_status summarise(gm_eval_set *set, gm_eval_result *result) {
    if (set->count == 0) {
        result->by_loss = true;
        result->n = (int64_t)set->total;
        result->loss /= result->loss_tokens ? (double)result->loss_tokens : 1;
        return isfinite(result->loss) ? GM_OK : gm_error(GM_DIVERGED, "%s: the loss is not finite", set->file);
    }
    result->n = (int64_t)set->count;
    for (size_t i = 0; i < set->count; i++) {
        gm_eval_item *item = &set->items[i];
        if (set->options.scoring == GM_SCORING_LABEL) normalise_over_choices(item);
        for (int c = 0; c < item->choices; c++)
            if (!isfinite(item->scores[c]))
                return gm_error(GM_DIVERGED, "%s: item %lld: a score is not finite", set->file, (long long)item->index);
        item->prediction = best_choice(item, NULL);
        item->prediction_norm = best_choice(item, item->characters);
        item->prediction_bytes = best_choice(item, item->bytes);
        result->correct += item->prediction == item->answer;
        result->correct_norm += item->prediction_norm == item->answer;
        result->correct_bytes += item->prediction_bytes == item->answer;
    }
    result->accuracy = (double)result->correct / (double)result->n;
    result->accuracy_norm = (double)result->correct_norm / (double)result->n;
    result->accuracy_bytes = (double)result->correct_bytes / (double)result->n;
    result->stderr_ = standard_error(result->accuracy, result->n);
    result->stderr_norm = standard_error(result->accuracy_norm, result->n);
    result->stderr_bytes = standard_error(result->accuracy_bytes, result->n);
    return GM_OK;
}

gm_status gm_evaluate_items(gm_eval_set *set, gm_model *model, gm_step *step, gm_eval_result *result, gm_eval_progress progress,
                            void *context) {
    *result =
        (gm_eval_result){.scoring = set->options.scoring, .checksum = set->checksum, .shots = set->options.shots, .tokens = set->tokens};
    double begin = gm_clock_seconds();
    for (size_t i = 0; i < set->count; i++)
        for (int c = 0; c < set->items[i].choices; c++) set->items[i].scores[c] = 0;
    for (size_t batch = 0; batch < set->batch_count; batch++) {
        if (progress) GM_TRY(progress(context, (double)batch / (double)set->batch_count));
        GM_TRY(run_batch(set, model, step, batch, result));
    }
    result->seconds = gm_clock_seconds() - begin;
    result->samples_per_s = (double)(set->count ? set->count : set->total) / fmax(result->seconds, 1e-9);
    return summarise(set, result);
}

static double value_of(const gm_eval_result *result, gm_metric metric, double *error) {
    *error = 0;
    switch (metric) {
    case GM_METRIC_ACCURACY: return *error = result->stderr_, result->accuracy;
    case GM_METRIC_ACCURACY_NORM: return *error = result->stderr_norm, result->accuracy_norm;
    case GM_METRIC_ACCURACY_BYTES: return *error = result->stderr_bytes, result->accuracy_bytes;
    case GM_METRIC_LOSS: break;
    }
    return result->loss;
}

gm_mean_result gm_mean_of_results(const gm_eval_result *results, int count, gm_metric metric) {
    bool by_loss = true;
    double variance = 0, error;
    for (int i = 0; i < count; i++) by_loss = by_loss && results[i].by_loss;
    gm_mean_result mean = {.metric = by_loss ? GM_METRIC_LOSS : metric};
    for (int i = 0; i < count; i++) {
        if (results[i].by_loss != by_loss) continue;
        mean.value += value_of(&results[i], mean.metric, &error);
        variance += error * error;
        mean.n += results[i].n;
        mean.tasks++;
    }
    mean.value /= mean.tasks;
    mean.stderr_ = sqrt(variance) / mean.tasks;
    return mean;
}
