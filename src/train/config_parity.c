/* --parity: the readings in which the reference program of GMoE differs from ours, as values of keys, each of which can be given
 * on its own too. They are defaults: stronger than the table's and the method's, weaker than the file and the command line. */
#include "train/config_keys.h"

#include "base/log.h"

const gm_config_reading gm_config_parity[] = {
    {"adapter.router.hidden_size", "128", "its published configuration; the paper's is 256"},
    {"adapter.router.edges", "\"similarity\"", "experts are joined whose features are alike"},
    {"adapter.router.edge_density", "0.25", "of the N² pairs, each expert with itself too"},
    {"adapter.router.token_gain", "100", "routing depends on the token from the first step"},
    {"adapter.losses.divergence", "\"abs\"", "Σ q |log(q / p)|"},
    {"adapter.losses.count_at", "\"micro_batch\"", "the Normal loss sees the counts up to each micro-batch"},
    {"adapter.losses.normal_target", "\"joint\"", "the target sums to 1 over all layers"},
    {"train.micro_batch_samples", "8", "its published configuration"},
    {"train.loss_mean", "\"micro_batch\"", "each micro-batch is its own mean, and the step the mean of those"},
    {"train.loss_on", "\"all\"", "prompts are learnt too"},
    {"train.append_eos", "false", "no end-of-sequence token, whatever the task"},
    {"train.reshuffle", "false", "one random order for all epochs"},
};
const size_t gm_config_parity_count = sizeof gm_config_parity / sizeof *gm_config_parity;

void gm_config_set_parity(gm_config *config) {
    for (size_t i = 0; i < gm_config_parity_count; i++) {
        cJSON *value = gm_config_parse_own(gm_config_parity[i].value);
        const gm_config_key *key = gm_config_find_key(gm_config_parity[i].path);
        GM_CHECK(key, "--parity: %s is no key", gm_config_parity[i].path);
        gm_status status = gm_config_store(config, key, value);
        cJSON_Delete(value);
        GM_CHECK(status == GM_OK, "--parity: %s: %s", gm_config_parity[i].path, gm_error_text());
    }
}

/* Whether the run's value is another than this reading. */
static bool differs(const gm_config *config, const gm_config_key *key, const gm_config_reading *reading) {
    gm_buffer value = {0};
    gm_config_write_value(&value, config, key);
    if (gm_buffer_status(&value) != GM_OK) gm_out_of_memory();
    cJSON *now = gm_config_parse_own(gm_buffer_string(&value)), *theirs = gm_config_parse_own(reading->value);
    bool equal = cJSON_Compare(now, theirs, true);
    cJSON_Delete(now);
    cJSON_Delete(theirs);
    gm_buffer_free(&value);
    return !equal;
}

void gm_config_note_kept(const gm_config *config, const char *const *giver) {
    gm_buffer kept = {0};
    const char *last = NULL;
    for (size_t i = 0; i < gm_config_parity_count; i++) {
        const gm_config_key *key = gm_config_find_key(gm_config_parity[i].path);
        const char *given = giver[key - gm_config_keys];
        if (!given || !differs(config, key, &gm_config_parity[i])) continue;
        if (!last || strcmp(last, given) != 0)
            gm_buffer_format(&kept, "%s from %s: %s ", last ? ";" : "", given, key->path);
        else
            gm_buffer_format(&kept, ", %s ", key->path);
        gm_config_write_value(&kept, config, key);
        last = given;
    }
    if (kept.length) gm_log(GM_LOG_INFO, "--parity: kept%s", gm_buffer_string(&kept));
    gm_buffer_free(&kept);
}
