/* What is written from a program's table: --help, the manual page, completions for bash, zsh and fish. */
#include "cli/options.h"

#include <string.h>

const gm_variable gm_variables[] = {
    {"GMOE_CPU_LEVEL", "base|v3|v4",
     "highest instruction set of the kernels: base (any), v3 (AVX2), v4 (AVX-512); default: the processor's", true, false, false, true},
    {"GMOE_TASKS", "DIR", "directory of the task files, instead of the installed one", false, false, true, false},
    {"OMP_NUM_THREADS", "N", "threads, 1 to 1024; default: one for each core", true, true, false, false},
    {"OMP_WAIT_POLICY", "passive|active", "waiting threads sleep at once, or spin for long; default: spin a little", true, true, false,
     false},
    {"GOMP_SPINCOUNT", "N", "turns of libgomp's loop that a waiting thread spins; default 3000", true, true, false, false},
};
const size_t gm_variable_count = sizeof gm_variables / sizeof *gm_variables;

static const gm_option common[] = {{"help", NULL, GM_OPTION_FLAG, NULL, "this text"},
                                   {"version", NULL, GM_OPTION_FLAG, NULL, "version, backends and libraries"}};
enum { COMMON = sizeof common / sizeof *common };

static const struct {
    const char *status, *meaning;
} exit_codes[] = {{"0", "done"},
                  {"1", "run-time failure"},
                  {"2", "usage or configuration"},
                  {"3", "a bad model, tokenizer, data or adapter file"},
                  {"4", "out of memory"},
                  {"5", "diverged"},
                  {"75", "interrupted; what was done is saved: run again with --resume"}};
enum { EXIT_CODES = sizeof exit_codes / sizeof *exit_codes };

static const gm_option *option_at(const gm_program *program, size_t i) {
    return i < program->count ? &program->options[i] : &common[i - program->count];
}

static bool has_variables(const gm_program *program) { return program->computes || program->threads || program->reads_tasks; }

/* ---- help ------------------------------------------------------------------------------------------------------- */

static void write_usage(gm_buffer *out, const gm_program *program) {
    gm_buffer_format(out, "%s%s", program->name, program->count ? " [options]" : "");
    if (program->operand) gm_buffer_format(out, " %s", program->operand);
}

void gm_options_write_help(gm_buffer *out, const gm_program *program) {
    gm_buffer_text(out, "usage: ");
    write_usage(out, program);
    gm_buffer_format(out, "\n\n%s\n\noptions:\n", program->summary);
    for (size_t i = 0; i < program->count + COMMON; i++) {
        const gm_option *option = option_at(program, i);
        gm_buffer left = {0};
        gm_buffer_format(&left, "--%s%s%s", option->name, option->value ? " " : "", option->value ? option->value : "");
        gm_buffer_format(out, "  %-32s %s\n", gm_buffer_string(&left), option->meaning);
        gm_buffer_free(&left);
    }
    for (size_t i = 0; i < program->section_count; i++) {
        gm_buffer_format(out, "\n%s:\n", program->sections[i].title);
        program->sections[i].write(out);
    }
    if (has_variables(program)) gm_buffer_text(out, "\nenvironment:\n");
    for (size_t i = 0; i < gm_variable_count; i++) {
        const gm_variable *variable = &gm_variables[i];
        if (!gm_variable_concerns(variable, program)) continue;
        gm_buffer left = {0};
        gm_buffer_format(&left, "%s=%s", variable->name, variable->value);
        gm_buffer_format(out, "  %-32s %s\n", gm_buffer_string(&left), variable->meaning);
        gm_buffer_free(&left);
    }
    gm_buffer_text(out, "\nexit status: ");
    for (size_t i = 0; i < EXIT_CODES; i++)
        gm_buffer_format(out, "%s%s %s", i == 4 ? ",\n" : i ? ", " : "", exit_codes[i].status, exit_codes[i].meaning);
    gm_buffer_char(out, '\n');
}

/* ---- manual page ------------------------------------------------------------------------------------------------ */

static void write_roff(gm_buffer *out, const char *text) {
    bool line_begins = true;
    for (const char *p = text; *p; p++) {
        if (line_begins && (*p == '.' || *p == '\'')) gm_buffer_text(out, "\\&");
        if (*p == '\\')
            gm_buffer_text(out, "\\e");
        else if (*p == '-')
            gm_buffer_text(out, "\\-");
        else
            gm_buffer_char(out, *p);
        line_begins = *p == '\n';
    }
}

static void write_section_title(gm_buffer *out, const char *title) {
    gm_buffer_text(out, ".SH \"");
    for (const char *p = title; *p; p++) gm_buffer_char(out, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p == '"' ? '\'' : *p);
    gm_buffer_text(out, "\"\n");
}

static void write_entry(gm_buffer *out, const char *dashes, const char *name, const char *between, const char *value, const char *meaning) {
    gm_buffer_text(out, ".TP\n\\fB");
    write_roff(out, dashes);
    write_roff(out, name);
    gm_buffer_text(out, "\\fR");
    if (value) {
        gm_buffer_format(out, "%s\\fI", between);
        write_roff(out, value);
        gm_buffer_text(out, "\\fR");
    }
    gm_buffer_char(out, '\n');
    write_roff(out, meaning);
    gm_buffer_char(out, '\n');
}

void gm_options_write_man(gm_buffer *out, const gm_program *program) {
    gm_buffer text = {0};
    gm_buffer_format(out, ".TH \"%s\" 1 \"\" \"gmoe %s\" \"gmoe manual\"\n.SH NAME\n", program->name, GMOE_VERSION);
    write_roff(out, program->name);
    gm_buffer_text(out, " \\- ");
    write_roff(out, program->summary);
    gm_buffer_text(out, "\n.SH SYNOPSIS\n.B ");
    write_usage(&text, program);
    write_roff(out, gm_buffer_string(&text));
    gm_buffer_text(out, "\n.SH OPTIONS\n");
    for (size_t i = 0; i < program->count + COMMON; i++) {
        const gm_option *option = option_at(program, i);
        write_entry(out, "--", option->name, " ", option->value, option->meaning);
    }
    for (size_t i = 0; i < program->section_count; i++) {
        write_section_title(out, program->sections[i].title);
        gm_buffer_clear(&text);
        program->sections[i].write(&text);
        gm_buffer_text(out, ".nf\n");
        write_roff(out, gm_buffer_string(&text));
        gm_buffer_text(out, ".fi\n");
    }
    if (has_variables(program)) gm_buffer_text(out, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < gm_variable_count; i++)
        if (gm_variable_concerns(&gm_variables[i], program))
            write_entry(out, "", gm_variables[i].name, "=", gm_variables[i].value, gm_variables[i].meaning);
    gm_buffer_text(out, ".SH \"EXIT STATUS\"\n");
    for (size_t i = 0; i < EXIT_CODES; i++) write_entry(out, "", exit_codes[i].status, NULL, NULL, exit_codes[i].meaning);
    gm_buffer_text(
        out, ".SH \"SEE ALSO\"\n\\fBgmoe\\-train\\fR(1), \\fBgmoe\\-eval\\fR(1), \\fBgmoe\\-inspect\\fR(1), \\fBgmoe\\-tokenize\\fR(1), "
             "\\fBgmoe\\-bench\\fR(1)\n");
    gm_buffer_free(&text);
}

/* ---- completions ------------------------------------------------------------------------------------------------ */

typedef enum value_kind { VALUE_ANY, VALUE_WORDS, VALUE_FILE, VALUE_DIRECTORY } value_kind;

/* What a value is completed to; `words` receives them, one a line. "auto|cpu|cuda[:N]" offers auto, cpu and cuda. */
static value_kind describe_value(const gm_program *program, const gm_option *option, gm_buffer *words) {
    gm_buffer_clear(words);
    if (program->words) program->words(words, option);
    if (words->length) return VALUE_WORDS;
    if (strncmp(option->value, "FILE", 4) == 0 || strncmp(option->value, "DIR|FILE", 8) == 0) return VALUE_FILE;
    if (strncmp(option->value, "DIR", 3) == 0) return VALUE_DIRECTORY;
    if (!strchr(option->value, '|')) return VALUE_ANY;
    for (const char *p = option->value; *p; p += strcspn(p, "|"), p += *p == '|') {
        gm_buffer_append(words, p, strcspn(p, "|["));
        gm_buffer_char(words, '\n');
    }
    return VALUE_WORDS;
}

/* The lines of `words`, with a blank after each; in single quotes nothing of theirs needs more care. */
static void write_words(gm_buffer *out, const gm_buffer *words) {
    for (const char *p = gm_buffer_string(words); *p; p++) gm_buffer_char(out, *p == '\n' ? p[1] ? ' ' : '\'' : *p);
}

static void write_function_name(gm_buffer *out, const char *program) {
    gm_buffer_char(out, '_');
    for (const char *p = program; *p; p++) gm_buffer_char(out, *p == '-' ? '_' : *p);
}

static void write_bash(gm_buffer *out, const gm_program *program) {
    gm_buffer words = {0};
    gm_buffer_format(out, "# bash completion of %s, written by the program itself\n", program->name);
    write_function_name(out, program->name);
    /* The words are split here: bash splits them at = too, and expects what comes after the last one only. */
    gm_buffer_text(out, "() {\n"
                        "    local line=${COMP_LINE:0:COMP_POINT} current previous words= kind=\n"
                        "    current=${line##*[[:space:]]}\n"
                        "    line=${line%\"$current\"}\n"
                        "    line=${line%\"${line##*[![:space:]]}\"}\n"
                        "    previous=${line##*[[:space:]]}\n"
                        "    COMPREPLY=()\n"
                        "    if [[ $current == --*=* ]]; then\n"
                        "        previous=${current%%=*}\n"
                        "        current=${current#*=}\n"
                        "    fi\n"
                        "    case $previous in\n");
    for (size_t i = 0; i < program->count; i++) {
        const gm_option *option = &program->options[i];
        if (!option->value) continue;
        value_kind kind = describe_value(program, option, &words);
        gm_buffer_format(out, "    --%s) ", option->name);
        if (kind == VALUE_WORDS) gm_buffer_text(out, "kind=words words='"), write_words(out, &words);
        if (kind != VALUE_WORDS)
            gm_buffer_format(out, "kind=%s", kind == VALUE_FILE ? "file" : kind == VALUE_DIRECTORY ? "directory" : "any");
        gm_buffer_text(out, " ;;\n");
    }
    gm_buffer_text(out,
                   "    esac\n"
                   "    local IFS=$' \\t\\n'\n"
                   "    case $kind in\n"
                   "    any) return ;;\n"
                   "    file) compopt -o filenames 2>/dev/null; IFS=$'\\n'; COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
                   "    directory) compopt -o filenames 2>/dev/null; IFS=$'\\n'; COMPREPLY=($(compgen -d -- \"$current\")); return ;;\n"
                   "    words) ;;\n"
                   "    *)\n"
                   "        if [[ $current != -* ]]; then\n");
    gm_buffer_text(out,
                   program->operand
                       ? "            compopt -o filenames 2>/dev/null; IFS=$'\\n'; COMPREPLY=($(compgen -f -- \"$current\")); return\n"
                       : "            [[ -z $current ]] || return\n");
    gm_buffer_text(out, "        fi\n        words='");
    for (size_t i = 0; i < program->count + COMMON; i++) gm_buffer_format(out, "%s--%s", i ? " " : "", option_at(program, i)->name);
    gm_buffer_text(out, "' ;;\n"
                        "    esac\n"
                        "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
                        "    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null\n"
                        "    if [[ $current == *=* && $COMP_WORDBREAKS == *=* ]]; then\n"
                        "        COMPREPLY=(\"${COMPREPLY[@]#\"${current%\"${current##*=}\"}\"}\")\n"
                        "    fi\n"
                        "    return 0\n"
                        "}\ncomplete -F ");
    write_function_name(out, program->name);
    gm_buffer_format(out, " %s\n", program->name);
    gm_buffer_free(&words);
}

/* Text within '…' of a zsh specification: its own marks are escaped, the apostrophe leaves the quotes. */
static void write_zsh_text(gm_buffer *out, const char *text) {
    for (const char *p = text; *p; p++) {
        if (*p == '\'') {
            gm_buffer_text(out, "'\\''");
            continue;
        }
        if (strchr("[]:\\", *p)) gm_buffer_char(out, '\\');
        gm_buffer_char(out, *p);
    }
}

static void write_zsh(gm_buffer *out, const gm_program *program) {
    gm_buffer words = {0};
    gm_buffer_format(out, "#compdef %s\n# zsh completion of %s, written by the program itself\n_arguments", program->name, program->name);
    for (size_t i = 0; i < program->count + COMMON; i++) {
        const gm_option *option = option_at(program, i);
        gm_buffer_format(out, " \\\n    '%s--%s%s[", option->type == GM_OPTION_LIST ? "*" : "", option->name, option->value ? "=" : "");
        write_zsh_text(out, option->meaning);
        gm_buffer_char(out, ']');
        if (option->value) {
            value_kind kind = describe_value(program, option, &words);
            gm_buffer_char(out, ':');
            write_zsh_text(out, option->value);
            gm_buffer_char(out, ':');
            if (kind == VALUE_FILE) gm_buffer_text(out, "_files");
            if (kind == VALUE_DIRECTORY) gm_buffer_text(out, "_files -/");
            if (kind == VALUE_WORDS) {
                bool open_ended = strstr(gm_buffer_string(&words), "=\n") != NULL; /* KEY=: the value comes after */
                gm_buffer_text(out, open_ended ? "compadd -S \"\" - " : "compadd - ");
                write_words(out, &words);
                continue;
            }
        }
        gm_buffer_char(out, '\'');
    }
    if (program->operand) gm_buffer_format(out, " \\\n    ':%s:_files'", program->operand);
    gm_buffer_char(out, '\n');
    gm_buffer_free(&words);
}

static void write_fish_text(gm_buffer *out, const char *text) {
    for (const char *p = text; *p; p++) {
        if (*p == '\'' || *p == '\\') gm_buffer_char(out, '\\');
        gm_buffer_char(out, *p);
    }
}

static void write_fish(gm_buffer *out, const gm_program *program) {
    gm_buffer words = {0};
    gm_buffer_format(out, "# fish completion of %s, written by the program itself\n", program->name);
    if (!program->operand) gm_buffer_format(out, "complete -c %s -f\n", program->name);
    for (size_t i = 0; i < program->count + COMMON; i++) {
        const gm_option *option = option_at(program, i);
        gm_buffer_format(out, "complete -c %s -l %s -d '", program->name, option->name);
        write_fish_text(out, option->meaning);
        gm_buffer_char(out, '\'');
        if (option->value) {
            value_kind kind = describe_value(program, option, &words);
            if (kind == VALUE_FILE) gm_buffer_text(out, " -r -F");
            if (kind == VALUE_DIRECTORY) gm_buffer_text(out, " -x -a '(__fish_complete_directories)'");
            if (kind == VALUE_ANY) gm_buffer_text(out, " -x");
            if (kind == VALUE_WORDS) gm_buffer_text(out, " -x -a '"), write_words(out, &words);
        }
        gm_buffer_char(out, '\n');
    }
    gm_buffer_free(&words);
}

gm_status gm_options_write_completion(gm_buffer *out, const gm_program *program, const char *shell) {
    static const struct {
        const char *name;
        void (*write)(gm_buffer *out, const gm_program *program);
    } shells[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(shells[i].name, shell) == 0) return shells[i].write(out, program), GM_OK;
    return gm_error(GM_USAGE, "--completions: \"%.40s\" is none of bash, zsh, fish", shell);
}
