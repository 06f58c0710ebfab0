#include "train/score.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void gm_score_print(const char *task, const char *split, const char *adapter, const char *scoring, const gm_eval_result *result) {
    printf("%-12s %-10s %-8s ", task, split, adapter);
    if (result->by_loss) {
        printf("loss %.4f over %" PRId64 " tokens of %" PRId64 " samples\n", result->loss, result->loss_tokens, result->n);
        return;
    }
    printf("accuracy %.4f ± %.4f  (%" PRId64 " of %" PRId64 ", %s", result->accuracy, result->stderr_, result->correct, result->n, scoring);
    if (result->shots) printf(", %" PRId64 " shots", result->shots);
    putchar(')');
    if (strcmp(scoring, "likelihood") == 0) printf("  per character %.4f ± %.4f", result->accuracy_norm, result->stderr_norm);
    putchar('\n');
}

void gm_score_write(gm_buffer *out, const char *task, const char *split, const char *adapter, const char *prompt, const char *scoring,
                    const gm_eval_result *result) {
    gm_buffer_char(out, '{');
    gm_json_write_text(out, "task", task);
    gm_json_write_text(out, "split", split);
    if (adapter) gm_json_write_text(out, "adapter", adapter);
    gm_json_write_text(out, "prompt", prompt);
    if (!result->by_loss) gm_json_write_text(out, "scoring", scoring);
    gm_buffer_format(out, "\"shots\": %" PRId64 ", \"items_crc32\": \"%08" PRIx32 "\", \"n\": %" PRId64, result->shots, result->checksum,
                     result->n);
    if (result->by_loss) {
        gm_json_write_number(out, "loss", result->loss);
        gm_buffer_format(out, ", \"loss_tokens\": %" PRId64, result->loss_tokens);
    } else {
        gm_buffer_format(out, ", \"correct\": %" PRId64, result->correct);
        gm_json_write_number(out, "accuracy", result->accuracy);
        gm_json_write_number(out, "stderr", result->stderr_);
    }
    if (!result->by_loss && strcmp(scoring, "likelihood") == 0) {
        gm_json_write_number(out, "accuracy_norm", result->accuracy_norm);
        gm_json_write_number(out, "stderr_norm", result->stderr_norm);
        gm_json_write_number(out, "accuracy_bytes", result->accuracy_bytes);
        gm_json_write_number(out, "stderr_bytes", result->stderr_bytes);
    }
    gm_buffer_format(out, ", \"tokens\": %" PRId64, result->tokens);
    gm_json_write_number(out, "samples_per_s", result->samples_per_s);
    gm_buffer_char(out, '}');
}

bool gm_score_read(const cJSON *tree, gm_eval_result *result) {
    unsigned checksum;
    *result = (gm_eval_result){.n = gm_json_integer_at(tree, "n", -1),
                               .correct = gm_json_integer_at(tree, "correct", -1),
                               .accuracy = gm_json_number_at(tree, "accuracy"),
                               .stderr_ = gm_json_number_at(tree, "stderr"),
                               .accuracy_norm = gm_json_number_at(tree, "accuracy_norm"),
                               .stderr_norm = gm_json_number_at(tree, "stderr_norm"),
                               .accuracy_bytes = gm_json_number_at(tree, "accuracy_bytes"),
                               .stderr_bytes = gm_json_number_at(tree, "stderr_bytes"),
                               .shots = gm_json_integer_at(tree, "shots", -1),
                               .tokens = gm_json_integer_at(tree, "tokens", -1),
                               .loss = gm_json_number_at(tree, "loss"),
                               .loss_tokens = gm_json_integer_at(tree, "loss_tokens", -1),
                               .samples_per_s = gm_json_number_at(tree, "samples_per_s"),
                               .by_loss = gm_json_member(tree, "loss") != NULL};
    gm_scoring_parse(gm_json_text_at(tree, "scoring"), &result->scoring);
    bool scored = result->by_loss ? isfinite(result->loss) && result->loss_tokens >= 0 : isfinite(result->accuracy) && result->correct >= 0;
    bool known = sscanf(gm_json_text_at(tree, "items_crc32"), "%8x", &checksum) == 1;
    if (known) result->checksum = checksum;
    return scored && known && result->n >= 0;
}
