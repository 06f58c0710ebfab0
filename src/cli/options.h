/* Command lines from a table, the same way in every program: --name VALUE or --name=VALUE, --help and --version from the
 * table, one line for what is wrong. The manual page and the shells' completions come from the same table. */
#ifndef GM_CLI_OPTIONS_H
#define GM_CLI_OPTIONS_H

#include "base/buffer.h"

typedef enum gm_option_type {
    GM_OPTION_FLAG,    /* bool                                                       */
    GM_OPTION_TEXT,    /* const char *; given once                                   */
    GM_OPTION_INTEGER, /* int64_t, at least 0; given once                            */
    GM_OPTION_LIST,    /* gm_option_list; may be given again                         */
} gm_option_type;

typedef struct gm_option_list {
    const char **values; /* owned: free() */
    size_t count, capacity;
} gm_option_list;

typedef struct gm_option {
    const char *name;  /* without dashes */
    const char *value; /* what --help calls its value; NULL: a flag. "a|b|c" are the values themselves, DIR… and FILE… are paths */
    gm_option_type type;
    void *target; /* where it goes */
    const char *meaning;
} gm_option;

typedef struct gm_section { /* of --help and of the manual page, after the options */
    const char *title;
    void (*write)(gm_buffer *out); /* lines */
} gm_section;

typedef struct gm_program {
    const char *name, *summary;
    const char *operand; /* what --help calls the argument that is no option; NULL: none is taken */
    const char **operand_target;
    const gm_option *options;
    size_t count; /* at most 64 */
    const gm_section *sections;
    size_t section_count;
    bool computes, threads, reads_tasks; /* which environment variables it minds; what computes has threads */
    /* Appends the words, one a line, that a shell may complete the option's value to; NULL: what gm_option.value says. */
    void (*words)(gm_buffer *out, const gm_option *option);
    /* Appends what to write instead of an option that is unknown, or nothing; `value` may be NULL. May be NULL. */
    void (*instead)(gm_buffer *out, const char *name, size_t length, const char *value);
} gm_program;

/* GM_USAGE, one line. *done: --help or the like was answered on standard output, nothing is left to do. */
gm_status gm_options_parse(const gm_program *program, int argc, char **argv, bool *done);

/* Help and the like to standard output; nothing else is printed after it. */
gm_status gm_print_text(const gm_buffer *text);

/* Prints the message of a failure as "PROGRAM: message" and returns the exit code; a standard output that took not everything
 * is a failure too. */
int gm_program_end(const char *program, gm_status status);

/* The options --quiet and --log-level, together. */
#define GM_LOG_LEVELS "error|warn|info|debug"
gm_status gm_set_verbosity(bool quiet, const char *log_level);

/* Appends name, version, backends and library versions (version.c). */
void gm_version_write(gm_buffer *out, const char *program);

/* ---- what is written from the table (options_text.c) ---- */

typedef struct gm_variable { /* of the environment */
    const char *name, *value, *meaning;
    bool computing, threads, tasks; /* for programs that compute, that have threads, that read tasks */
    bool checked;                   /* another value than those of "a|b|c" is an error */
} gm_variable;
extern const gm_variable gm_variables[];
extern const size_t gm_variable_count;

static inline bool gm_variable_concerns(const gm_variable *variable, const gm_program *program) {
    return (variable->computing && program->computes) || (variable->threads && program->threads) ||
           (variable->tasks && program->reads_tasks);
}

void gm_options_write_help(gm_buffer *out, const gm_program *program);
void gm_options_write_man(gm_buffer *out, const gm_program *program); /* roff */
gm_status gm_options_write_completion(gm_buffer *out, const gm_program *program, const char *shell);

#endif
