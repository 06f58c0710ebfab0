/* Status and messages. The world's faults return a gm_status with one line of text that names the file, the field,
 * the value and what to do; our own mistakes abort through GM_CHECK. */
#ifndef GM_BASE_STATUS_H
#define GM_BASE_STATUS_H

#include "gmoe/gmoe.h"

#if defined(__GNUC__)
#define GM_PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))
#define GM_NORETURN __attribute__((noreturn))
#else
#define GM_PRINTF(format_index, first_index)
#define GM_NORETURN
#endif

enum { GM_ERROR_TEXT = 1024 }; /* bytes of the thread's message, for keeping a copy */

/* Sets the thread's message (cut at 1023 bytes, control bytes replaced) and returns `code`. */
gm_status gm_error(gm_status code, const char *format, ...) GM_PRINTF(2, 3);

/* Puts "prefix: " before the thread's message, keeps the code. */
gm_status gm_error_prefix(gm_status code, const char *format, ...) GM_PRINTF(2, 3);

/* Puts "; remedy" after the thread's message where the code is GM_NO_MEMORY; keeps the code. */
gm_status gm_error_remedy(gm_status code, const char *remedy);

/* GM_CHECK's end. */
void gm_abort(const char *file, int line, const char *format, ...) GM_PRINTF(3, 4) GM_NORETURN;

/* Where an allocation failed in a kernel, which returns no status: ends the program with the thread's message and
 * GM_NO_MEMORY. What is on disk is whole at any moment. */
void gm_out_of_memory(void) GM_NORETURN;

/* Propagate a failure. */
#define GM_TRY(expression)                                                                                                                 \
    do {                                                                                                                                   \
        gm_status gm_try_status_ = (expression);                                                                                           \
        if (gm_try_status_ != GM_OK) return gm_try_status_;                                                                                \
    } while (0)

/* The same in a function that cleans up at `done:` and returns `status` there. */
#define GM_TRY_GOTO(expression)                                                                                                            \
    do {                                                                                                                                   \
        status = (expression);                                                                                                             \
        if (status != GM_OK) goto done;                                                                                                    \
    } while (0)

/* A broken promise of our own code: say where and abort. */
#define GM_CHECK(condition, ...)                                                                                                           \
    do {                                                                                                                                   \
        if (!(condition)) gm_abort(__FILE__, __LINE__, __VA_ARGS__);                                                                       \
    } while (0)

#endif
