/* What the table of keys says, written: defaults, the resolved configuration, a JSON Schema, help. */
#include "train/config_keys.h"

#include "base/number.h"

#include <stdio.h>

/* ---- defaults --------------------------------------------------------------------------------------------------- */

void gm_config_set_method(gm_config *config, int method) {
    config->method = method;
    config->adapter = gm_method_find(gm_config_method_name(config))->defaults;
}

cJSON *gm_config_parse_own(const char *text) {
    cJSON *tree = NULL;
    gm_status status = gm_json_parse("a value of the program's own", text, strlen(text), &tree);
    if (status == GM_NO_MEMORY) gm_out_of_memory();
    GM_CHECK(status == GM_OK, "%s", gm_error_text());
    return tree;
}

void gm_config_set_defaults(gm_config *config) {
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < gm_config_key_count; i++) {
        const gm_config_key *key = &gm_config_keys[i];
        if (!key->fallback) continue;
        cJSON *value = gm_config_parse_own(key->fallback);
        gm_status status = gm_config_store(config, key, value);
        GM_CHECK(status == GM_OK, "%s: its default %s: %s", key->path, key->fallback, gm_error_text());
        cJSON_Delete(value);
    }
    gm_config_set_method(config, config->method);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static void write_text(gm_buffer *out, const char *text) { gm_json_write_string(out, text, strlen(text)); }

void gm_config_write_value(gm_buffer *out, const gm_config *config, const gm_config_key *key) {
    const void *at = gm_config_at(config, key);
    const bool *target = at;
    const double *number = at;
    const char *between = "";
    switch (key->type) {
    case GM_CONFIG_STRING: write_text(out, at); break;
    case GM_CONFIG_INTEGER: gm_buffer_format(out, "%lld", (long long)*(const int64_t *)at); break;
    case GM_CONFIG_NUMBER: gm_json_write_double(out, *number); break;
    case GM_CONFIG_BOOL: gm_buffer_text(out, *(const bool *)at ? "true" : "false"); break;
    case GM_CONFIG_MAYBE: gm_buffer_text(out, *(const int *)at < 0 ? "null" : *(const int *)at ? "true" : "false"); break;
    case GM_CONFIG_CHOICE: write_text(out, key->choices[*(const int *)at]); break;
    case GM_CONFIG_TASKS:
        if (config->task.count > 1) gm_buffer_char(out, '[');
        for (int i = 0; i < config->task.count; i++) {
            gm_buffer_text(out, i ? ", " : "");
            write_text(out, config->task.name[i]);
        }
        if (config->task.count > 1) gm_buffer_char(out, ']');
        break;
    case GM_CONFIG_WEIGHTS:
        gm_buffer_char(out, '[');
        for (int i = 0; i < config->train.mix.count; i++) {
            gm_buffer_text(out, i ? ", " : "");
            gm_json_write_double(out, config->train.mix.weight[i]);
        }
        gm_buffer_char(out, ']');
        break;
    case GM_CONFIG_PAIR:
        gm_buffer_char(out, '[');
        gm_json_write_double(out, number[0]);
        gm_buffer_text(out, ", ");
        gm_json_write_double(out, number[1]);
        gm_buffer_char(out, ']');
        break;
    case GM_CONFIG_TARGETS:
        gm_buffer_char(out, '[');
        for (int i = 0; i < GM_TARGETS; i++) {
            if (!target[i]) continue;
            gm_buffer_text(out, between);
            write_text(out, key->choices[i]);
            between = ", ";
        }
        gm_buffer_char(out, ']');
        break;
    }
}

/* ---- nested objects from dotted paths --------------------------------------------------------------------------- */

typedef struct gm_nesting {
    gm_buffer *out;
    char section[128]; /* open: "adapter.router." */
    int depth;
    bool first;               /* nothing in the open object yet */
    const char *open, *close; /* texts around a section's members: "{" and "}", or a schema's */
} gm_nesting;

static void new_line(gm_nesting *n) {
    gm_buffer_text(n->out, n->first ? "\n" : ",\n");
    for (int i = 0; i <= n->depth; i++) gm_buffer_text(n->out, "  ");
    n->first = false;
}

static void leave_section(gm_nesting *n) {
    n->depth--;
    gm_buffer_char(n->out, '\n');
    for (int i = 0; i <= n->depth; i++) gm_buffer_text(n->out, "  ");
    gm_buffer_text(n->out, n->close);
    size_t length = strlen(n->section) - 1;
    while (length > 0 && n->section[length - 1] != '.') length--;
    n->section[length] = '\0';
    n->first = false;
}

/* Closes and opens objects until the key's section is open, then writes its name. */
static void begin_member(gm_nesting *n, const char *path) {
    const char *leaf = strrchr(path, '.') ? strrchr(path, '.') + 1 : path;
    while (strncmp(n->section, path, strlen(n->section)) != 0) leave_section(n);
    for (size_t length; (length = strlen(n->section)) < (size_t)(leaf - path);) {
        size_t part = strcspn(path + length, ".");
        new_line(n);
        gm_buffer_format(n->out, "\"%.*s\": %s", (int)part, path + length, n->open);
        snprintf(n->section, sizeof n->section, "%.*s", (int)(length + part + 1), path);
        n->depth++;
        n->first = true;
    }
    new_line(n);
    gm_buffer_format(n->out, "\"%s\": ", leaf);
}

static void end_members(gm_nesting *n) {
    while (n->depth > 0) leave_section(n);
}

void gm_config_write(gm_buffer *out, const gm_config *config) {
    gm_nesting nesting = {.out = out, .first = true, .open = "{", .close = "}"};
    gm_buffer_char(out, '{');
    for (size_t i = 0; i < gm_config_key_count; i++) {
        const gm_config_key *key = &gm_config_keys[i];
        if (key->type == GM_CONFIG_STRING && ((const char *)gm_config_at(config, key))[0] == '\0') continue; /* not given */
        if (key->type == GM_CONFIG_TASKS && config->task.count == 0) continue;
        begin_member(&nesting, key->path);
        gm_config_write_value(out, config, key);
    }
    end_members(&nesting);
    gm_buffer_text(out, "\n}\n");
}

/* ---- schema ----------------------------------------------------------------------------------------------------- */

static void write_choices(gm_buffer *out, const gm_config_key *key) {
    const char *between = "";
    gm_buffer_text(out, "\"enum\": [");
    for (int i = 0; key->choices[i]; i++) {
        if (!gm_config_choice_works(key, i)) continue;
        gm_buffer_text(out, between);
        write_text(out, key->choices[i]);
        between = ", ";
    }
    gm_buffer_char(out, ']');
}

static void write_range(gm_buffer *out, const gm_config_key *key, const char *type, const char *highest) {
    gm_buffer_format(out, "\"type\": \"%s\", \"minimum\": ", type);
    gm_json_write_double(out, key->low);
    gm_buffer_format(out, ", \"%s\": ", highest);
    gm_json_write_double(out, key->high);
}

static void write_key_schema(gm_buffer *out, const gm_config_key *key) {
    gm_buffer_char(out, '{');
    if (key->only_default) gm_buffer_format(out, "\"const\": %s, ", key->fallback);
    switch (key->type) {
    case GM_CONFIG_STRING: gm_buffer_format(out, "\"type\": \"string\", \"minLength\": 1, \"maxLength\": %zu", key->size - 1); break;
    case GM_CONFIG_INTEGER: write_range(out, key, "integer", "maximum"); break;
    case GM_CONFIG_NUMBER: write_range(out, key, "number", "maximum"); break;
    case GM_CONFIG_BOOL: gm_buffer_text(out, "\"type\": \"boolean\""); break;
    case GM_CONFIG_MAYBE: gm_buffer_text(out, "\"type\": [\"boolean\", \"null\"]"); break;
    case GM_CONFIG_CHOICE: write_choices(out, key); break;
    case GM_CONFIG_TASKS:
        gm_buffer_format(out,
                         "\"anyOf\": [{\"type\": \"string\", \"minLength\": 1}, {\"type\": \"array\", \"minItems\": 1, \"maxItems\": %d, "
                         "\"uniqueItems\": true, \"items\": {\"type\": \"string\", \"minLength\": 1}}]",
                         GM_TASKS);
        break;
    case GM_CONFIG_WEIGHTS:
        gm_buffer_format(out, "\"type\": \"array\", \"maxItems\": %d, \"items\": {\"type\": \"number\", \"exclusiveMinimum\": 0}",
                         GM_TASKS);
        break;
    case GM_CONFIG_PAIR:
        gm_buffer_text(out, "\"type\": \"array\", \"minItems\": 2, \"maxItems\": 2, \"items\": {");
        write_range(out, key, "number", "exclusiveMaximum");
        gm_buffer_char(out, '}');
        break;
    case GM_CONFIG_TARGETS:
        gm_buffer_text(out, "\"type\": \"array\", \"uniqueItems\": true, \"items\": {");
        write_choices(out, key);
        gm_buffer_char(out, '}');
        break;
    }
    if (key->fallback) gm_buffer_format(out, ", \"default\": %s", key->fallback);
    gm_buffer_text(out, ", \"description\": ");
    write_text(out, key->meaning);
    gm_buffer_char(out, '}');
}

void gm_config_write_schema(gm_buffer *out) {
    gm_buffer_text(out, "{\n\"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n\"title\": \"gmoe configuration\",\n"
                        "\"type\": \"object\", \"additionalProperties\": false, \"properties\": {\n"
                        "  \"$schema\": {\"type\": \"string\", \"description\": \"of this schema, for editors; not read\"},");
    gm_nesting nesting = {
        .out = out, .first = true, .open = "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {", .close = "}}"};
    for (size_t i = 0; i < gm_config_key_count; i++) {
        begin_member(&nesting, gm_config_keys[i].path);
        write_key_schema(out, &gm_config_keys[i]);
    }
    end_members(&nesting);
    gm_buffer_text(out, "\n}\n}\n");
}

/* ---- help ------------------------------------------------------------------------------------------------------- */

static void write_key_type(gm_buffer *out, const gm_config_key *key) {
    if (key->choices) {
        const char *between = "";
        for (int i = 0; key->choices[i]; i++) {
            if (!gm_config_choice_works(key, i)) continue;
            gm_buffer_format(out, "%s%s", between, key->choices[i]);
            between = "|";
        }
        gm_buffer_text(out, key->type == GM_CONFIG_TARGETS ? " (array)" : "");
        return;
    }
    gm_buffer_text(out, gm_config_type_name(key->type));
    if (key->type != GM_CONFIG_INTEGER && key->type != GM_CONFIG_NUMBER) return;
    bool bounded = key->high < 1e9; /* beyond that the limit is no news */
    gm_buffer_text(out, bounded ? " " : " from ");
    gm_json_write_double(out, key->low);
    if (bounded) gm_buffer_text(out, "…"), gm_json_write_double(out, key->high);
}

/* "; may change on --resume", "; not built yet: mixlora, …" */
static void write_remarks(gm_buffer *out, const gm_config_key *key) {
    const char *between = "; not built yet: ";
    if (key->resume_may_change) gm_buffer_text(out, "; may change on --resume");
    if (key->only_default) gm_buffer_text(out, "; not built yet: only the default");
    for (int i = 0; key->choices && key->choices[i]; i++) {
        if (gm_config_choice_works(key, i)) continue;
        gm_buffer_format(out, "%s%s", between, key->choices[i]);
        between = ", ";
    }
}

void gm_config_write_help(gm_buffer *out) {
    gm_config defaults;
    gm_config_set_defaults(&defaults);
    for (size_t i = 0; i < gm_config_key_count; i++) {
        const gm_config_key *key = &gm_config_keys[i];
        gm_buffer_format(out, "  %-32s ", key->path);
        write_key_type(out, key);
        if (key->fallback) {
            gm_buffer_format(out, ", default %s", key->fallback);
        } else if (strncmp(key->path, "adapter.", 8) == 0) {
            gm_buffer_text(out, ", default by method, gmoe: ");
            gm_config_write_value(out, &defaults, key);
        }
        gm_buffer_format(out, "\n  %-32s   %s", "", key->meaning);
        write_remarks(out, key);
        gm_buffer_char(out, '\n');
    }
}

/* ---- comparisons ------------------------------------------------------------------------------------------------- */

void gm_config_write_changes(gm_buffer *out, const gm_config *config) {
    gm_config defaults;
    gm_buffer usual = {0}, now = {0};
    const char *between = "";
    gm_config_set_defaults(&defaults);
    gm_config_set_method(&defaults, config->method);
    for (size_t i = 0; i < gm_config_key_count; i++) {
        const gm_config_key *key = &gm_config_keys[i];
        gm_buffer_clear(&usual);
        gm_buffer_clear(&now);
        gm_config_write_value(&usual, &defaults, key);
        gm_config_write_value(&now, config, key);
        if (strcmp(gm_buffer_string(&usual), gm_buffer_string(&now)) == 0 && strcmp(key->path, "method") != 0) continue;
        gm_buffer_format(out, "%s%s %s", between, key->path, gm_buffer_string(&now));
        between = ", ";
    }
    gm_buffer_text(out, "; all others have their defaults\n");
    gm_buffer_pass_failure(out, &usual);
    gm_buffer_pass_failure(out, &now);
    gm_buffer_free(&usual);
    gm_buffer_free(&now);
}

bool gm_config_same_run(const gm_config *saved, const gm_config *now, gm_buffer *difference) {
    gm_buffer before = {0}, after = {0};
    bool same = true;
    for (size_t i = 0; i < gm_config_key_count && same; i++) {
        const gm_config_key *key = &gm_config_keys[i];
        if (key->resume_may_change) continue;
        gm_buffer_clear(&before);
        gm_buffer_clear(&after);
        gm_config_write_value(&before, saved, key);
        gm_config_write_value(&after, now, key);
        same = strcmp(gm_buffer_string(&before), gm_buffer_string(&after)) == 0;
        if (!same) gm_buffer_format(difference, "%s: %s there, %s now", key->path, gm_buffer_string(&before), gm_buffer_string(&after));
    }
    gm_buffer_pass_failure(difference, &before);
    gm_buffer_pass_failure(difference, &after);
    gm_buffer_free(&before);
    gm_buffer_free(&after);
    return same && !difference->failed;
}
