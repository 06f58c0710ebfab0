/* How a conversation becomes one text: by the model's own chat template, or by the task file's roles.
 *
 * The template is the model directory's chat_template.jinja, else chat_template of its tokenizer_config.json (a text, or a
 * list of {"name", "template"} with one called "default"), else of its chat_template.json. It is run as it is
 * (data/jinja/jinja.h), without tools and without a prompt for an answer to come. */
#ifndef GM_DATA_CHAT_H
#define GM_DATA_CHAT_H

#include "data/conversation.h"
#include "data/marked_text.h"

typedef struct gm_tokenizer gm_tokenizer; /* io/tokenizer/tokenizer.h */
typedef struct gm_chat gm_chat;           /* immutable: any number of threads may render with one */

/* Text before and after the content of each role's messages; `system` may have none (NULL: such messages are refused).
 * What stands after an answer is learnt with it. */
typedef struct gm_chat_role {
    const char *before, *after;
} gm_chat_role;
typedef struct gm_chat_roles {
    gm_chat_role system, user, assistant;
} gm_chat_roles;

/* `roles` (borrowed) or, where it is NULL, what the model directory has. A template that is missing or not supported fails in
 * gm_chat_render only: data without conversations needs none. */
gm_status gm_chat_open(gm_chat **chat, const char *model, const gm_tokenizer *tokenizer, const gm_chat_roles *roles);
void gm_chat_close(gm_chat *chat); /* NULL is fine */

/* Appends the conversation. GM_BAD_FILE names the template and what is wrong with it, or with the conversation by it. */
gm_status gm_chat_render(const gm_chat *chat, const gm_message *messages, size_t count, gm_marked_text *out);

/* For people: "ChatML", "Llama 2", "Llama 3", "Mistral", "Zephyr", "Phi-3", "Gemma", told by what the template writes;
 * "of its own" for others, "the task file's" for roles, NULL where there is no template or it is not supported. */
const char *gm_chat_family_name(const gm_chat *chat);
/* Why conversations cannot be rendered, a line; NULL: they can. */
const char *gm_chat_problem(const gm_chat *chat);

/* True where the tokenizer's BOS should stand before the text: roles are plain text, model templates write their own. */
bool gm_chat_wants_bos(const gm_chat *chat);

#endif
