#include "cli/options.h"

#include "base/log.h"
#include "base/number.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is answered at once ----------------------------------------------------------------------------------- */

/* --help-man and --completions are for the build, which installs what they print: they stand in no help. */
static gm_status answer(const gm_program *program, const char *argument, const char *next, bool *done) {
    gm_buffer text = {0};
    gm_status status = GM_OK;
    *done = true;
    if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
        gm_options_write_help(&text, program);
    else if (strcmp(argument, "--version") == 0)
        gm_version_write(&text, program->name);
    else if (strcmp(argument, "--help-man") == 0)
        gm_options_write_man(&text, program);
    else if (strcmp(argument, "--completions") == 0)
        status = gm_options_write_completion(&text, program, next ? next : "");
    else
        *done = false;
    if (*done && status == GM_OK) status = gm_print_text(&text);
    gm_buffer_free(&text);
    return status;
}

gm_status gm_print_text(const gm_buffer *text) {
    GM_TRY(gm_buffer_status(text));
    signal(SIGPIPE, SIG_DFL); /* a program that reads the beginning alone ends this one in silence */
    fputs(gm_buffer_string(text), stdout);
    return GM_OK;
}

/* ---- one option ------------------------------------------------------------------------------------------------- */

static const gm_option *find_option(const gm_program *program, const char *name, size_t length) {
    for (size_t i = 0; i < program->count; i++)
        if (strlen(program->options[i].name) == length && memcmp(program->options[i].name, name, length) == 0) return &program->options[i];
    return NULL;
}

/* The option that begins as the name does for the longest way, as far as that is worth something; or NULL. */
static const char *nearest_option(const gm_program *program, const char *name, size_t length) {
    const char *nearest = NULL;
    size_t most = 0;
    for (size_t i = 0; i < program->count; i++) {
        const char *known = program->options[i].name;
        size_t same = 0;
        while (same < length && known[same] == name[same]) same++;
        if ((same < 3 && same < length) || same <= most) continue;
        most = same;
        nearest = known;
    }
    return nearest;
}

static gm_status unknown_option(const gm_program *program, const char *name, size_t length, const char *value) {
    gm_buffer instead = {0};
    gm_status status = GM_USAGE;
    if (program->instead) program->instead(&instead, name, length, value);
    const char *nearest = nearest_option(program, name, length);
    if (instead.length)
        status = gm_error(GM_USAGE, "--%.*s: no such option; use %s", (int)length, name, gm_buffer_string(&instead));
    else if (nearest)
        status = gm_error(GM_USAGE, "--%.*s: no such option; did you mean --%s?", (int)length, name, nearest);
    else
        status = gm_error(GM_USAGE, "--%.*s: no such option; --help lists all", (int)length, name);
    gm_buffer_free(&instead);
    return status;
}

static gm_status add_to_list(gm_option_list *list, const char *value) {
    GM_GROW(list->values, list->capacity, list->count + 1);
    list->values[list->count++] = value;
    return GM_OK;
}

static gm_status store(const gm_option *option, const char *value) {
    switch (option->type) {
    case GM_OPTION_FLAG: *(bool *)option->target = true; return GM_OK;
    case GM_OPTION_LIST: return add_to_list(option->target, value);
    case GM_OPTION_INTEGER:
        if (gm_parse_integer(value, strlen(value), 0, GM_EXACT_INTEGER, option->target)) return GM_OK;
        return gm_error(GM_USAGE, "--%s: \"%.60s\" is no whole number", option->name, value);
    case GM_OPTION_TEXT:
        if (value[0] == '\0') return gm_error(GM_USAGE, "--%s: is empty", option->name);
        *(const char **)option->target = value;
        return GM_OK;
    }
    return GM_OK;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static gm_status take_operand(const gm_program *program, const char *argument) {
    if (!program->operand) return gm_error(GM_USAGE, "%.100s: is no option; --help lists all", argument);
    if (*program->operand_target) return gm_error(GM_USAGE, "%.100s: one %s only; --help says more", argument, program->operand);
    *program->operand_target = argument;
    return GM_OK;
}

/* A value that begins so can still be given as --name=value. */
static bool is_option(const char *argument) { return strncmp(argument, "--", 2) == 0; }

/* The option at argv[*at], with its value, which may be the next argument. `seen`: a bit for each option of the table. */
static gm_status take_option(const gm_program *program, int argc, char **argv, int *at, uint64_t *seen) {
    const char *name = argv[*at] + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
    const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const gm_option *option = find_option(program, name, length);
    if (!option) return unknown_option(program, name, length, value ? value : next && next[0] != '-' ? next : NULL);
    if (!option->value && value) return gm_error(GM_USAGE, "--%s: takes no value", option->name);
    if (option->value && !value) {
        if (!next || is_option(next)) return gm_error(GM_USAGE, "--%s: %s is missing", option->name, option->value);
        value = next;
        ++*at;
    }
    uint64_t bit = UINT64_C(1) << (option - program->options);
    bool once = option->type == GM_OPTION_TEXT || option->type == GM_OPTION_INTEGER;
    if (once && (*seen & bit)) return gm_error(GM_USAGE, "--%s: is given twice; give it once", option->name);
    *seen |= bit;
    return store(option, value);
}

static gm_status unknown_value(const gm_variable *variable, const char *value) {
    gm_buffer known = {0};
    for (const char *p = variable->value; *p; p++) gm_buffer_append(&known, *p == '|' ? ", " : p, *p == '|' ? 2 : 1);
    gm_status status =
        gm_error(GM_USAGE, "environment variable %s: \"%.40s\" is none of %s", variable->name, value, gm_buffer_string(&known));
    gm_buffer_free(&known);
    return status;
}

static bool among(const char *words, const char *word) { /* "a|b|c" */
    size_t length = strlen(word);
    for (const char *p = words; *p; p += strcspn(p, "|"), p += *p == '|')
        if (length > 0 && strcspn(p, "|") == length && memcmp(p, word, length) == 0) return true;
    return false;
}

/* What OpenMP cannot make sense of it passes over, with words of its own, and what is far too much crashes it. As there, a list is
 * of nested levels, and blanks may stand around a number. */
static gm_status check_threads(void) {
    enum { THREADS_MOST = 1024 };
    const char *value = getenv("OMP_NUM_THREADS"), blank[] = " \t";
    if (!value || !value[0]) return GM_OK;
    for (const char *p = value;; p++) {
        int64_t threads;
        p += strspn(p, blank);
        size_t digits = strcspn(p, ", \t");
        if (!gm_parse_integer(p, digits, 1, THREADS_MOST, &threads)) break;
        p += digits + strspn(p + digits, blank);
        if (!*p) return GM_OK;
        if (*p != ',') break;
    }
    return gm_error(GM_USAGE, "environment variable OMP_NUM_THREADS: \"%.40s\" is no number of threads from 1 to %d", value, THREADS_MOST);
}

/* A misspelt variable would otherwise change nothing, unseen. An empty one counts as not set. */
static gm_status check_environment(const gm_program *program) {
    for (size_t i = 0; i < gm_variable_count; i++) {
        const gm_variable *variable = &gm_variables[i];
        const char *value = getenv(variable->name);
        if (!variable->checked || !gm_variable_concerns(variable, program) || !value || !value[0] || among(variable->value, value))
            continue;
        return unknown_value(variable, value);
    }
    return program->computes ? check_threads() : GM_OK;
}

gm_status gm_options_parse(const gm_program *program, int argc, char **argv, bool *done) {
    uint64_t seen = 0;
    bool options_end = false;
    GM_CHECK(program->count <= 64, "%s has more options than a word has bits", program->name);
    *done = false;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (options_end || argument[0] != '-' || argument[1] == '\0') {
            GM_TRY(take_operand(program, argument));
        } else if (strcmp(argument, "--") == 0) {
            options_end = true;
        } else {
            GM_TRY(answer(program, argument, i + 1 < argc ? argv[i + 1] : NULL, done));
            if (*done) return GM_OK;
            if (argument[1] != '-') return gm_error(GM_USAGE, "%.100s: no such option; --help lists all", argument);
            GM_TRY(take_option(program, argc, argv, &i, &seen));
        }
    }
    return check_environment(program);
}

int gm_program_end(const char *program, gm_status status) {
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == GM_OK) status = gm_error(GM_FAIL, "standard output: %s", strerror(errno));
    if (status != GM_OK) {
        gm_log_progress(NULL);
        fprintf(stderr, "%s: %s\n", program, gm_error_text());
    }
    return (int)status;
}

gm_status gm_set_verbosity(bool quiet, const char *log_level) {
    gm_log_level level = quiet ? GM_LOG_WARN : GM_LOG_INFO;
    if (log_level && !gm_log_level_parse(log_level, &level))
        return gm_error(GM_USAGE, "--log-level: \"%.40s\" is none of error, warn, info, debug", log_level);
    gm_log_set_level(level);
    return GM_OK;
}
