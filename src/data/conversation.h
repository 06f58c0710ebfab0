/* Conversations as data sets write them:
 *   {"messages": [{"role": "user", "content": "…"}, …]}            role system, user, assistant
 *   {"conversations": [{"from": "human", "value": "…"}, …]}        ShareGPT: from system, human, gpt
 * A content is a string, or a list of {"type": "text", "text": "…"}. One message of the system may come first; then user and
 * assistant take turns, and the assistant has the last word. An assistant's message with "weight": 0 is not learnt. */
#ifndef GM_DATA_CONVERSATION_H
#define GM_DATA_CONVERSATION_H

#include "base/json.h"

typedef struct gm_message {
    const char *role; /* "system", "user" or "assistant" */
    const char *content;
    bool learnt; /* carries loss: the assistant's, unless its weight is 0 */
} gm_message;

typedef struct gm_conversation {
    gm_message *messages; /* count; texts and array are a region's */
    size_t count;
} gm_conversation;

/* `list`: the value of the record's field `name`. GM_BAD_FILE, without file and line, names the message, counted from 1. */
gm_status gm_conversation_read(gm_conversation *conversation, const cJSON *list, const char *name, gm_region *region);

#endif
