/* Reading a configuration: every value, wherever it comes from, goes through gm_config_store with its key's table entry.
 * The method is looked for first, because its preset is what the other keys then change. */
#include "train/config_keys.h"
#include "train/translate.h"

#include "base/log.h"
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONFIG_BYTES = 1 << 20, NAME_BYTES = 128 };

/* ---- one value -------------------------------------------------------------------------------------------------- */

static gm_status wrong_type(const gm_config_key *key, const cJSON *value) {
    char *text = cJSON_PrintUnformatted(value);
    const char *type = gm_config_type_name(key->type);
    bool one =
        key->type == GM_CONFIG_STRING || key->type == GM_CONFIG_CHOICE || key->type == GM_CONFIG_NUMBER || key->type == GM_CONFIG_TASKS;
    const char *article = strchr("aeio", type[0]) ? "an " : one ? "a " : "";
    gm_status status = gm_error(GM_USAGE, "is %.60s; it must be %s%s", text ? text : "of another type", article, type);
    cJSON_free(text);
    return status;
}

static gm_status out_of_range(const gm_config_key *key, double value) {
    char shown[GM_DOUBLE_TEXT], low[GM_DOUBLE_TEXT], high[GM_DOUBLE_TEXT];
    gm_format_double(value, shown);
    gm_format_double(key->low, low);
    gm_format_double(key->high, high);
    return gm_error(GM_USAGE, "is %s; it must be between %s and %s", shown, low, high);
}

static gm_status unknown_choice(const gm_config_key *key, const char *text) {
    gm_buffer known = {0};
    for (int i = 0; key->choices[i]; i++)
        if (gm_config_choice_works(key, i)) gm_buffer_format(&known, "%s%s", known.length ? ", " : "", key->choices[i]);
    gm_status status = gm_error(GM_USAGE, "\"%.60s\" is none of %s", text, gm_buffer_string(&known));
    gm_buffer_free(&known);
    return status;
}

static gm_status unbuilt_choice(const gm_config_key *key, const char *text) {
    gm_buffer built = {0};
    for (int i = 0; key->choices[i]; i++)
        if (gm_config_choice_works(key, i)) gm_buffer_format(&built, "%s%s", built.length ? ", " : "", key->choices[i]);
    gm_status status = gm_error(GM_USAGE, "\"%s\" is not built yet; built are %s%s", text, gm_buffer_string(&built),
                                strcmp(key->path, "method") == 0
                                    ? "; the nearest is gmoe with adapter.router.type linear and a coefficient adapter.losses.balance"
                                    : "");
    gm_buffer_free(&built);
    return status;
}

static int choice_index(const gm_config_key *key, const char *text) {
    for (int i = 0; key->choices[i]; i++)
        if (strcmp(key->choices[i], text) == 0) return i;
    return -1;
}

/* "q", or as models call it, "q_proj" */
static int target_index(const gm_config_key *key, const char *text) {
    for (int i = 0; i < GM_TARGETS; i++)
        if (strcmp(gm_target_modules[i], text) == 0) return i;
    return choice_index(key, text);
}

static gm_status store_targets(bool *target, const gm_config_key *key, const cJSON *value) {
    if (!cJSON_IsArray(value)) return wrong_type(key, value);
    bool chosen[GM_TARGETS] = {false};
    const cJSON *element;
    cJSON_ArrayForEach(element, value) {
        if (!cJSON_IsString(element)) return wrong_type(key, value);
        int index = target_index(key, element->valuestring);
        if (index < 0) return unknown_choice(key, element->valuestring);
        if (chosen[index]) return gm_error(GM_USAGE, "\"%s\" stands twice", element->valuestring);
        chosen[index] = true;
    }
    memcpy(target, chosen, sizeof chosen);
    return GM_OK;
}

static gm_status store_pair(double pair[2], const gm_config_key *key, const cJSON *value) {
    if (!cJSON_IsArray(value) || cJSON_GetArraySize(value) != 2) return wrong_type(key, value);
    for (int i = 0; i < 2; i++) {
        const cJSON *element = cJSON_GetArrayItem(value, i);
        if (!cJSON_IsNumber(element)) return wrong_type(key, value);
        if (!(element->valuedouble >= key->low && element->valuedouble < key->high)) return out_of_range(key, element->valuedouble);
        pair[i] = element->valuedouble;
    }
    return GM_OK;
}

static gm_status copy_text(char *text, size_t size, const char *value) {
    if (value[0] == '\0') return gm_error(GM_USAGE, "is empty");
    if (strlen(value) >= size) return gm_error(GM_USAGE, "is longer than %zu bytes", size - 1);
    strcpy(text, value);
    return GM_OK;
}

static gm_status store_string(char *text, const gm_config_key *key, const cJSON *value) {
    return cJSON_IsString(value) ? copy_text(text, key->size, value->valuestring) : wrong_type(key, value);
}

static gm_status add_task(gm_config *config, const char *name) {
    int count = config->task.count;
    for (int i = 0; i < count; i++)
        if (strcmp(config->task.name[i], name) == 0) return gm_error(GM_USAGE, "\"%.60s\" stands twice", name);
    if (count == GM_TASKS) return gm_error(GM_USAGE, "has more than %d tasks", GM_TASKS);
    config->task.count++;
    return copy_text(config->task.name[count], sizeof config->task.name[count], name);
}

static gm_status store_tasks(gm_config *config, const gm_config_key *key, const cJSON *value) {
    const cJSON *element;
    config->task.count = 0;
    if (cJSON_IsString(value)) return add_task(config, value->valuestring);
    if (!cJSON_IsArray(value)) return wrong_type(key, value);
    cJSON_ArrayForEach(element, value) {
        if (!cJSON_IsString(element)) return wrong_type(key, value);
        GM_TRY(add_task(config, element->valuestring));
    }
    return config->task.count ? GM_OK : gm_error(GM_USAGE, "is empty");
}

static gm_status store_weights(gm_config *config, const gm_config_key *key, const cJSON *value) {
    const cJSON *element;
    int count = 0;
    if (!cJSON_IsArray(value)) return wrong_type(key, value);
    cJSON_ArrayForEach(element, value) {
        if (!cJSON_IsNumber(element)) return wrong_type(key, value);
        if (count == GM_TASKS) return gm_error(GM_USAGE, "has more than %d weights", GM_TASKS);
        if (!(element->valuedouble > key->low && element->valuedouble <= key->high))
            return gm_error(GM_USAGE, "has a weight that is not above 0; leave the task out of \"task\" instead");
        config->train.mix.weight[count++] = element->valuedouble;
    }
    config->train.mix.count = count;
    return GM_OK;
}

static gm_status store_choice(void *at, const gm_config_key *key, const cJSON *value) {
    if (!cJSON_IsString(value)) return wrong_type(key, value);
    int index = choice_index(key, value->valuestring);
    if (index < 0) return unknown_choice(key, value->valuestring);
    if (!gm_config_choice_works(key, index)) return unbuilt_choice(key, value->valuestring);
    memcpy(at, &index, sizeof index);
    return GM_OK;
}

static gm_status store_number(void *at, const gm_config_key *key, const cJSON *value) {
    int64_t integer = 0;
    if (!cJSON_IsNumber(value)) return wrong_type(key, value);
    bool whole = value->valuedouble == floor(value->valuedouble); /* from 2^53 on a double may be a rounded one */
    if (key->type == GM_CONFIG_INTEGER && !gm_json_is_integer(value, &integer))
        return whole ? out_of_range(key, value->valuedouble) : wrong_type(key, value);
    if (!(value->valuedouble >= key->low && value->valuedouble <= key->high)) return out_of_range(key, value->valuedouble);
    if (key->type == GM_CONFIG_INTEGER)
        memcpy(at, &integer, sizeof integer);
    else
        memcpy(at, &value->valuedouble, sizeof value->valuedouble);
    return GM_OK;
}

static gm_status store_bool(void *at, const gm_config_key *key, const cJSON *value) {
    if (!cJSON_IsBool(value) && !(key->type == GM_CONFIG_MAYBE && cJSON_IsNull(value))) return wrong_type(key, value);
    int maybe = cJSON_IsNull(value) ? -1 : cJSON_IsTrue(value) ? 1 : 0;
    if (key->type == GM_CONFIG_BOOL)
        *(bool *)at = maybe == 1;
    else
        *(int *)at = maybe;
    return GM_OK;
}

gm_status gm_config_store(gm_config *config, const gm_config_key *key, const cJSON *value) {
    void *at = gm_config_at(config, key);
    switch (key->type) {
    case GM_CONFIG_STRING: return store_string(at, key, value);
    case GM_CONFIG_TARGETS: return store_targets(at, key, value);
    case GM_CONFIG_TASKS: return store_tasks(config, key, value);
    case GM_CONFIG_WEIGHTS: return store_weights(config, key, value);
    case GM_CONFIG_PAIR: return store_pair(at, key, value);
    case GM_CONFIG_CHOICE: return store_choice(at, key, value);
    case GM_CONFIG_INTEGER:
    case GM_CONFIG_NUMBER: return store_number(at, key, value);
    case GM_CONFIG_BOOL:
    case GM_CONFIG_MAYBE: return store_bool(at, key, value);
    }
    return GM_OK;
}

static gm_status refuse_planned(const gm_config *config, const gm_config_key *key) {
    if (!key->only_default) return GM_OK;
    gm_buffer value = {0};
    gm_config_write_value(&value, config, key);
    cJSON *fallback = cJSON_Parse(key->fallback), *now = cJSON_Parse(gm_buffer_string(&value));
    gm_status status = gm_buffer_status(&value);
    if (status == GM_OK && !cJSON_Compare(fallback, now, true))
        status = gm_error(GM_USAGE, "%s is not built yet; only %s is", gm_buffer_string(&value), key->fallback);
    cJSON_Delete(fallback);
    cJSON_Delete(now);
    gm_buffer_free(&value);
    return status;
}

gm_status gm_config_take(gm_config *config, const gm_config_key *key, const cJSON *value) {
    GM_TRY(gm_config_store(config, key, value));
    return refuse_planned(config, key);
}

/* ---- keys and their names --------------------------------------------------------------------------------------- */

const gm_config_key *gm_config_find_key(const char *path) {
    for (size_t i = 0; i < gm_config_key_count; i++)
        if (strcmp(gm_config_keys[i].path, path) == 0) return &gm_config_keys[i];
    return NULL;
}

static bool is_section(const char *path) { /* "" is the whole */
    size_t length = strlen(path);
    for (size_t i = 0; i < gm_config_key_count; i++)
        if (length == 0 || (strncmp(gm_config_keys[i].path, path, length) == 0 && gm_config_keys[i].path[length] == '.')) return true;
    return false;
}

static size_t edit_distance(const char *a, const char *b) { /* Levenshtein */
    enum { LONGEST = 64 };
    size_t row[LONGEST + 1], a_length = strlen(a), b_length = strlen(b);
    if (a_length > LONGEST || b_length > LONGEST) return LONGEST;
    for (size_t j = 0; j <= b_length; j++) row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]), least = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < least ? change : least;
        }
    }
    return row[b_length];
}

/* The name in its own section that is nearest to `leaf`, within a third of its letters; "" where none is. */
static void nearest_name(char nearest[NAME_BYTES], const char *path, const char *leaf) {
    size_t section = (size_t)(leaf - path), least = strlen(leaf) / 3 + 1;
    nearest[0] = '\0';
    for (size_t i = 0; i < gm_config_key_count; i++) {
        const char *known = gm_config_keys[i].path;
        char part[NAME_BYTES];
        if (strncmp(known, path, section) != 0) continue;
        snprintf(part, sizeof part, "%.*s", (int)strcspn(known + section, "."), known + section);
        size_t distance = edit_distance(leaf, part);
        if (distance > least || (distance == least && nearest[0])) continue;
        least = distance;
        memcpy(nearest, part, sizeof part);
    }
}

static gm_status unknown_key(const char *path) {
    const char *leaf = strrchr(path, '.') ? strrchr(path, '.') + 1 : path;
    char nearest[NAME_BYTES];
    for (size_t i = 0; i < gm_config_key_count; i++) /* the right name in the wrong place */
        if (strcmp(gm_config_leaf(&gm_config_keys[i]), leaf) == 0)
            return gm_error(GM_USAGE, "no such key; did you mean %s?", gm_config_keys[i].path);
    if (gm_config_meant_by(leaf)) return gm_error(GM_USAGE, "no such key; did you mean %s?", gm_config_meant_by(leaf));
    if (strcmp(leaf, "parity") == 0) return gm_error(GM_USAGE, "no such key; the option --parity sets the keys that --help lists under it");
    nearest_name(nearest, path, leaf);
    if (nearest[0] && leaf[0]) return gm_error(GM_USAGE, "no such key; did you mean %.*s%s?", (int)(leaf - path), path, nearest);
    return gm_error(GM_USAGE, "no such key; --help lists all keys");
}

/* ---- sources ---------------------------------------------------------------------------------------------------- */

typedef enum gm_phase { PHASE_METHOD, PHASE_OTHERS } gm_phase; /* the method's preset is set between them */

typedef struct gm_sources { /* from the weakest to the strongest */
    bool parity;
    const char *name; /* of the file, or what stands for it in messages */
    const gm_setting *settings;
    size_t count;
    const char **giver; /* as they are applied: who gave each key, by its index */
} gm_sources;

/* Names with dots are --set's: two ways to write a key would let a file give it twice. */
static gm_status dotted_name(const char *source, const char *path, const char *name) {
    gm_buffer nested = {0};
    int depth = 0;
    for (const char *part = name;; depth++) {
        size_t length = strcspn(part, ".");
        gm_buffer_format(&nested, "%s\"%.*s\": ", depth ? "{" : "", length > 60 ? 60 : (int)length, part);
        part += length;
        if (*part++ == '\0') break;
    }
    gm_buffer_text(&nested, "…");
    while (depth-- > 0) gm_buffer_char(&nested, '}');
    gm_status status = gm_error(GM_USAGE, "%s: %s%s%.100s: a name with dots; in a file objects are nested: %.200s", source, path,
                                path[0] ? ": " : "", name, gm_buffer_string(&nested));
    gm_buffer_free(&nested);
    return status;
}

static gm_status apply(gm_config *config, const char **giver, const char *source, const char *path, const cJSON *value, gm_phase phase) {
    const gm_config_key *key = gm_config_find_key(path);
    gm_status status = GM_OK;
    if (key) {
        bool is_method = strcmp(path, "method") == 0;
        if (is_method != (phase == PHASE_METHOD)) return GM_OK;
        status = gm_config_take(config, key, value);
        giver[key - gm_config_keys] = source;
    } else if (!is_section(path)) {
        status = phase == PHASE_OTHERS ? unknown_key(path) : GM_OK;
    } else if (!cJSON_IsObject(value)) {
        status = phase == PHASE_OTHERS ? gm_error(GM_USAGE, "must be an object") : GM_OK;
    } else {
        const cJSON *member;
        cJSON_ArrayForEach(member, value) {
            char name[256];
            if (path[0] == '\0' && strcmp(member->string, "$schema") == 0) continue; /* an editor's */
            if (strchr(member->string, '.')) return dotted_name(source, path, member->string);
            if (member->string[0] == '\0') return gm_error(GM_USAGE, "%s: %s%sa key without a name", source, path, path[0] ? ": " : "");
            if (snprintf(name, sizeof name, "%s%s%s", path, path[0] ? "." : "", member->string) >= (int)sizeof name)
                return gm_error(GM_USAGE, "%s: %.40s…: no such key", source, member->string);
            GM_TRY(apply(config, giver, source, name, member, phase));
        }
    }
    if (status == GM_OK) return GM_OK;
    return path[0] ? gm_error_prefix(status, "%s: %s", source, path) : gm_error_prefix(status, "%s", source);
}

/* A number that JSON can write and a double cannot hold. */
static bool out_of_double(const char *text) {
    char *end;
    return strspn(text, "-+.0123456789eE") == strlen(text) && isinf(strtod(text, &end)) && *end == '\0';
}

/* The value of a setting: JSON where the key takes anything but text, else the bare text. */
static gm_status setting_value(const gm_setting *setting, cJSON **value) {
    const gm_config_key *key = gm_config_find_key(setting->path);
    bool list = key && key->type == GM_CONFIG_TASKS && setting->value[0] == '[';
    bool text = key && (key->type == GM_CONFIG_STRING || key->type == GM_CONFIG_CHOICE || key->type == GM_CONFIG_TASKS);
    *value = NULL;
    if (!text && out_of_double(setting->value))
        return gm_error(GM_USAGE, "%s: %s: %.60s is out of range", setting->source, setting->path, setting->value);
    if (!text || list || setting->value[0] == '"')
        if (gm_json_parse(setting->source, setting->value, strlen(setting->value), value) != GM_OK) *value = NULL;
    if (!*value) *value = cJSON_CreateString(setting->value);
    return *value ? GM_OK : gm_error(GM_NO_MEMORY, "%s: %s: out of memory", setting->source, setting->path);
}

static gm_status apply_all(gm_config *config, const gm_sources *sources, const cJSON *file, gm_phase phase) {
    if (file) GM_TRY(apply(config, sources->giver, sources->name, "", file, phase));
    for (size_t i = 0; i < sources->count; i++) {
        const gm_setting *setting = &sources->settings[i];
        cJSON *value;
        GM_TRY(setting_value(setting, &value));
        gm_status status = apply(config, sources->giver, setting->source, setting->path, value, phase);
        cJSON_Delete(value);
        GM_TRY(status);
    }
    return GM_OK;
}

/* A term that each micro-batch computes for itself must not depend on what fits into the memory. */
static gm_status check_micro_batches(const gm_config *config) {
    bool mean = config->train.loss_mean == GM_LOSS_MEAN_MICRO_BATCH, count = config->adapter.losses.count_at == GM_COUNT_AT_MICRO_BATCH;
    if (config->train.micro_batch_samples > 0 || !(mean || count)) return GM_OK;
    return gm_error(GM_USAGE,
                    "%s: \"micro_batch\" needs micro-batches of so many samples; set train.micro_batch_samples (--parity takes 8)",
                    mean ? "train.loss_mean" : "adapter.losses.count_at");
}

static gm_status check_mix(const gm_config *config) {
    int tasks = config->task.count, weights = config->train.mix.count;
    if (weights == 0 || weights == tasks) return GM_OK;
    return gm_error(GM_USAGE, "train.mix: has %d weight%s for %d task%s; give one for each, or [] for all samples of each", weights,
                    weights > 1 ? "s" : "", tasks, tasks == 1 ? "" : "s");
}

static gm_status build_from(gm_config *config, const gm_sources *sources, const cJSON *file) {
    const char *source = sources->name;
    gm_config_set_defaults(config);
    GM_TRY(apply_all(config, sources, file, PHASE_METHOD));
    gm_config_set_method(config, config->method);
    if (sources->parity) gm_config_set_parity(config);
    GM_TRY(apply_all(config, sources, file, PHASE_OTHERS));
    GM_TRY(gm_config_check_method(config, sources->giver));
    if (sources->parity) gm_config_note_kept(config, sources->giver);
    gm_status status = gm_adapter_config_check(&config->adapter);
    if (status == GM_OK) status = check_micro_batches(config);
    if (status == GM_OK) status = check_mix(config);
    return status == GM_OK
               ? GM_OK
               : gm_error_prefix(status, "%s%s", source, file && (sources->count || sources->parity) ? " and the command line" : "");
}

static gm_status build(gm_config *config, gm_sources sources, const cJSON *file) {
    GM_ALLOC(sources.giver, gm_config_key_count);
    gm_status status = build_from(config, &sources, file);
    free(sources.giver);
    return status;
}

gm_status gm_config_parse(gm_config *config, const char *source, const char *text, size_t length) {
    cJSON *tree = NULL;
    gm_status status = gm_json_parse(source, text, length, &tree);
    if (status != GM_OK) return status == GM_BAD_FILE ? GM_USAGE : status; /* the message stands */
    status = cJSON_IsObject(tree) ? build(config, (gm_sources){.name = source}, tree) : gm_error(GM_USAGE, "%s: is no JSON object", source);
    cJSON_Delete(tree);
    return status;
}

/* A file of another program becomes one of ours; what became of its keys goes to the log. */
static gm_status translate(cJSON **tree, const gm_sources *sources) {
    gm_translation translation;
    gm_status status = gm_translate(&translation, sources->name, *tree, sources->settings, sources->count);
    if (status == GM_OK) {
        gm_log(GM_LOG_INFO, "%s: a configuration of MoE-PEFT or of the reference program, translated:\n%s    %s", sources->name,
               gm_buffer_string(&translation.taken),
               sources->parity ? "other keys as --parity has them" : "other keys as ours; --parity takes the reference program's readings");
        for (const char *line = gm_buffer_string(&translation.notes); *line; line += strcspn(line, "\n") + 1)
            gm_log(GM_LOG_WARN, "%s: %.*s", sources->name, (int)strcspn(line, "\n"), line);
        cJSON_Delete(*tree);
        *tree = translation.ours;
    } else {
        cJSON_Delete(translation.ours);
    }
    gm_translation_free(&translation);
    return status;
}

/* YAML, say. */
static gm_status check_is_object(const char *path, const char *text) {
    char first = text[strspn(text, " \t\r\n")];
    if (first == '{' || first == '\0' || (unsigned char)first == 0xef) return GM_OK; /* what is wrong with these the parser says */
    return gm_error(GM_USAGE, "%s: is no JSON object; a configuration is one: {\"base_model\": \"DIR\", …}, and --help lists the keys",
                    path);
}

static gm_status load(gm_config *config, const char *path, const gm_sources *sources) {
    cJSON *tree = NULL;
    gm_buffer text = {0};
    gm_status status = GM_OK;
    if (path) {
        status = gm_file_read(&text, path, CONFIG_BYTES, GM_USAGE);
        if (status != GM_OK) gm_error_prefix(status, "--config");
        GM_TRY_GOTO(status);
        GM_TRY_GOTO(check_is_object(path, gm_buffer_string(&text)));
        GM_TRY_GOTO(gm_json_parse(path, gm_buffer_string(&text), text.length, &tree));
    }
    if (status == GM_OK && gm_translate_knows(tree)) status = translate(&tree, sources);
    if (status == GM_OK) status = build(config, *sources, tree);
done:
    cJSON_Delete(tree);
    gm_buffer_free(&text);
    return status == GM_BAD_FILE ? GM_USAGE : status; /* a file that is no JSON is a faulty configuration, not a faulty model */
}

static const char *name_of(const char *path) { return path ? path : "command line"; }

gm_status gm_config_load(gm_config *config, const char *path, const gm_setting *settings, size_t count) {
    return load(config, path, &(gm_sources){false, name_of(path), settings, count, NULL});
}

gm_status gm_config_load_parity(gm_config *config, const char *path, const gm_setting *settings, size_t count) {
    return load(config, path, &(gm_sources){true, name_of(path), settings, count, NULL});
}

gm_status gm_config_require_paths(const gm_config *config, const char *source) {
    const struct {
        const char *key, *option;
        bool given;
    } required[] = {{"base_model", "--base-model", config->base_model[0] != '\0'},
                    {"output_dir", "--output-dir", config->output_dir[0] != '\0'},
                    {"task", "--set task=NAME", config->task.count > 0}};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!required[i].given)
            return gm_error(GM_USAGE, "%s%s%s: is missing; give it %s%s", source ? source : "", source ? ": " : "", required[i].key,
                            source ? "there or with " : "with --config FILE or ", required[i].option);
    return GM_OK;
}
