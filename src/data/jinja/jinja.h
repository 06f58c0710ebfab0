/* Chat templates: the part of Jinja that the published ones are written in, with the settings that transformers gives it
 * (trim_blocks, lstrip_blocks), and as result a text that knows which bytes come from which message.
 *
 * Statements  for (with `if`), if/elif/else, set, generation; macro, as long as nothing calls it
 * Expressions literals, names, .attribute, [index], [slice], calls, filters, tests, not and or, comparisons, in, + - * // % ~,
 *             A if C else B
 * What a template holds beyond that is refused by name: a statement when it is compiled, a filter, test, function or method
 * when a conversation reaches it (branches for tools are compiled and never run). strftime_now is not defined, as a
 * sample must not depend on the day: templates that ask whether it is fall back on the date that they hold. */
#ifndef GM_DATA_JINJA_H
#define GM_DATA_JINJA_H

#include "data/conversation.h"
#include "data/marked_text.h"

typedef struct gm_jinja gm_jinja; /* immutable: any number of threads may render one */

typedef struct gm_jinja_input {
    const gm_message *messages; /* count, at most GM_MARK_PLACE */
    size_t count;
    const char *bos, *eos; /* bos_token, eos_token; NULL: none */
} gm_jinja_input;          /* add_generation_prompt is false; tools and documents are none */

/* GM_BAD_FILE: "source: line N: …" */
gm_status gm_jinja_compile(gm_jinja **result, const char *source, const char *text, size_t length);
void gm_jinja_close(gm_jinja *jinja); /* NULL is fine */

/* Appends to `out`. GM_BAD_FILE with the template's line; also what raise_exception says. */
gm_status gm_jinja_render(const gm_jinja *jinja, const gm_jinja_input *input, gm_marked_text *out);

#endif
