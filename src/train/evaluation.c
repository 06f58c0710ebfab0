/* A query asks for log p(token | what stands up to its row); a choice's score is the sum of its queries. Under label
 * scoring a choice has one query and the scores are normalised over the item's choices, which leaves
 * log-softmax over these choices' logits. */
#include "train/evaluation.h"
#include "base/clock.h"
#include "train/batch.h"

#include <math.h>

static gm_status fill_pack(gm_eval_set *set, size_t batch) {
    gm_pack_clear(&set->pack);
    for (size_t i = set->batches[batch]; i < set->batches[batch + 1]; i++)
        GM_TRY(gm_pack_add(&set->pack, &set->sequences[i].sample, false));
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

static gm_status run_batch(gm_eval_set *set, gm_model *model, gm_step *step, size_t batch, gm_eval_result *result) {
    GM_TRY(fill_pack(set, batch));
    gm_batch packed = gm_batch_of(&set->pack);
    gm_step_reset(step, false);
    if (set->count == 0) {
        result->loss += gm_model_evaluate_loss(model, step, &packed);
        result->loss_tokens += packed.loss_rows;
        return gm_backend_check(step->backend);
    }
    packed.loss_rows = 0;
    gm_score_request request = request_of(set, batch);
    gm_model_score(model, step, &packed, &request);
    if (gm_backend_measures(step->backend)) return GM_OK;
    GM_TRY(gm_backend_check(step->backend));
    add_scores(set, batch);
    return GM_OK;
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

static void predict(gm_eval_item *item) { /* ties: the first */
    item->prediction = item->prediction_norm = 0;
    for (int c = 1; c < item->choices; c++) {
        if (item->scores[c] > item->scores[item->prediction]) item->prediction = c;
        int n = item->prediction_norm; /* a choice without characters has no mean */
        if (item->characters[c] > 0 &&
            (item->characters[n] == 0 || item->scores[c] / item->characters[c] > item->scores[n] / item->characters[n]))
            item->prediction_norm = c;
    }
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
        predict(item);
        result->correct += item->prediction == item->answer;
        result->correct_norm += item->prediction_norm == item->answer;
    }
    result->accuracy = (double)result->correct / (double)result->n;
    result->accuracy_norm = (double)result->correct_norm / (double)result->n;
    result->stderr_ = standard_error(result->accuracy, result->n);
    result->stderr_norm = standard_error(result->accuracy_norm, result->n);
    return GM_OK;
}

gm_status gm_evaluate_items(gm_eval_set *set, gm_model *model, gm_step *step, gm_eval_result *result, gm_eval_progress progress,
                            void *context) {
    *result = (gm_eval_result){.checksum = set->checksum};
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

gm_mean_result gm_mean_of_results(const gm_eval_result *results, int count) {
    gm_mean_result mean = {.by_loss = true};
    double variance = 0;
    for (int i = 0; i < count; i++) mean.by_loss = mean.by_loss && results[i].by_loss;
    for (int i = 0; i < count; i++) {
        if (results[i].by_loss != mean.by_loss) continue;
        mean.value += mean.by_loss ? results[i].loss : results[i].accuracy;
        variance += results[i].stderr_ * results[i].stderr_;
        mean.n += results[i].n;
        mean.tasks++;
    }
    mean.value /= mean.tasks;
    mean.stderr_ = sqrt(variance) / mean.tasks;
    return mean;
}
