#define _GNU_SOURCE /* program_invocation_short_name */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Thread_local char error_text[GM_ERROR_TEXT];

const char *gm_error_text(void) { return error_text; }

/* File names and file contents end up in messages: a message stays one line whatever they hold. */
static void make_printable(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
}

gm_status gm_error(gm_status code, const char *format, ...) {
    char text[sizeof error_text]; /* the arguments may hold gm_error_text() itself */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    make_printable(text);
    memcpy(error_text, text, sizeof text);
    return code;
}

gm_status gm_error_prefix(gm_status code, const char *format, ...) {
    char prefix[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    return gm_error(code, "%s: %s", prefix, error_text);
}

gm_status gm_error_remedy(gm_status code, const char *remedy) {
    return code == GM_NO_MEMORY ? gm_error(code, "%s; %s", error_text, remedy) : code;
}

void gm_abort(const char *file, int line, const char *format, ...) {
    char text[sizeof error_text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "gmoe: internal error at %s:%d: %s\n", file, line, text);
    abort();
}

void gm_out_of_memory(void) {
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, error_text);
    _exit(GM_NO_MEMORY); /* without the exit handlers: other threads are at work */
}
