#include "data/conversation.h"
#include "data/marked_text.h"

#include <string.h>

static gm_status read_role(const cJSON *item, const char **role) {
    static const char *const names[][2] = {
        {"system", "system"}, {"user", "user"}, {"human", "user"}, {"assistant", "assistant"}, {"gpt", "assistant"}};
    const cJSON *value = gm_json_member(item, "role");
    const char *key = value ? "role" : "from";
    char shown[GM_JSON_SHOWN];
    if (!value) value = gm_json_member(item, "from");
    if (!value) return gm_error(GM_BAD_FILE, "no field role (or from)");
    for (size_t i = 0; cJSON_IsString(value) && i < sizeof names / sizeof *names; i++) {
        if (strcmp(value->valuestring, names[i][0]) != 0) continue;
        *role = names[i][1];
        return GM_OK;
    }
    return gm_error(GM_BAD_FILE, "%s: %s is not supported; there are system, user (human) and assistant (gpt)", key,
                    gm_json_show(value, shown));
}

/* A list of parts: their texts, one behind the other. */
static gm_status read_parts(const cJSON *parts, gm_buffer *text) {
    const cJSON *part;
    cJSON_ArrayForEach(part, parts) {
        const cJSON *type = gm_json_member(part, "type"), *value = gm_json_member(part, "text");
        char shown[GM_JSON_SHOWN];
        if (!cJSON_IsString(type)) return gm_error(GM_BAD_FILE, "content: a part without a type");
        if (strcmp(type->valuestring, "text") != 0)
            return gm_error(GM_BAD_FILE, "content: a part of type %s; only text is supported", gm_json_show(type, shown));
        if (!cJSON_IsString(value)) return gm_error(GM_BAD_FILE, "content: a part of type \"text\" without its text");
        gm_buffer_text(text, value->valuestring);
    }
    return gm_buffer_status(text);
}

static gm_status read_content(const cJSON *item, gm_region *region, const char **content) {
    const cJSON *value = gm_json_member(item, "content");
    const char *key = value ? "content" : "value";
    char shown[GM_JSON_SHOWN];
    gm_buffer text = {0};
    if (!value) value = gm_json_member(item, "value");
    if (!value) return gm_error(GM_BAD_FILE, "no field content (or value)");
    if (!cJSON_IsString(value) && !cJSON_IsArray(value))
        return gm_error(GM_BAD_FILE, "%s: %s where a text should be", key, gm_json_show(value, shown));
    gm_status status = GM_OK;
    if (cJSON_IsArray(value))
        status = read_parts(value, &text);
    else
        gm_buffer_text(&text, value->valuestring);
    if (status == GM_OK) status = gm_buffer_status(&text);
    if (status == GM_OK) *content = gm_region_copy(region, gm_buffer_string(&text), text.length);
    if (status == GM_OK && !*content) status = GM_NO_MEMORY;
    gm_buffer_free(&text);
    return status;
}

static gm_status read_message(gm_message *message, const cJSON *item, gm_region *region) {
    static const char *const calls[] = {"tool_calls", "function_call", "tool_call_id"};
    char shown[GM_JSON_SHOWN];
    if (!cJSON_IsObject(item)) return gm_error(GM_BAD_FILE, "%s where an object should be", gm_json_show(item, shown));
    GM_TRY(read_role(item, &message->role));
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        const cJSON *call = gm_json_member(item, calls[i]);
        if (call && !(cJSON_IsArray(call) && !call->child)) return gm_error(GM_BAD_FILE, "%s: calls of tools are not supported", calls[i]);
    }
    GM_TRY(read_content(item, region, &message->content));
    const cJSON *weight = gm_json_member(item, "weight");
    int64_t number = 1;
    if (weight && !(gm_json_is_integer(weight, &number) && (number == 0 || number == 1)))
        return gm_error(GM_BAD_FILE, "weight: %s is neither 0 nor 1", gm_json_show(weight, shown));
    message->learnt = strcmp(message->role, "assistant") == 0 && number == 1;
    return GM_OK;
}

/* Message `at` has its place after the ones before it. */
static gm_status check_turn(const gm_conversation *conversation, size_t at) {
    const gm_message *messages = conversation->messages;
    const char *role = messages[at].role, *before = at ? messages[at - 1].role : NULL;
    if (strcmp(role, "system") == 0) return at == 0 ? GM_OK : gm_error(GM_BAD_FILE, "role: a message of the system can only come first");
    bool assistant = strcmp(role, "assistant") == 0;
    if (assistant && messages[at].learnt && messages[at].content[0] == '\0')
        return gm_error(GM_BAD_FILE, "content: the assistant's is empty");
    if (assistant ? before && strcmp(before, "user") == 0 : !before || strcmp(before, "user") != 0) return GM_OK;
    return gm_error(GM_BAD_FILE, "role: %s, where the %s's turn is; user and assistant take turns, the user begins", role,
                    assistant ? "user" : "assistant");
}

gm_status gm_conversation_read(gm_conversation *conversation, const cJSON *list, const char *name, gm_region *region) {
    const cJSON *item;
    bool learns = false;
    if (!cJSON_IsArray(list)) return gm_error(GM_BAD_FILE, "%s: must be an array of messages", name);
    size_t count = (size_t)cJSON_GetArraySize(list);
    if (count > GM_MARK_PLACE) return gm_error(GM_BAD_FILE, "%s: %zu messages; %d at most", name, count, GM_MARK_PLACE);
    *conversation = (gm_conversation){0};
    GM_REGION_ALLOC(region, conversation->messages, count);
    cJSON_ArrayForEach(item, list) {
        size_t at = conversation->count++;
        gm_status status = read_message(&conversation->messages[at], item, region);
        if (status == GM_OK) status = check_turn(conversation, at);
        if (status != GM_OK) return gm_error_prefix(status, "%s: message %zu", name, at + 1);
        learns = learns || conversation->messages[at].learnt;
    }
    if (count == 0 || strcmp(conversation->messages[count - 1].role, "assistant") != 0)
        return gm_error(GM_BAD_FILE, "%s: the last message should be the assistant's", name);
    return learns ? GM_OK : gm_error(GM_BAD_FILE, "%s: every message of the assistant has weight 0: there is nothing to learn", name);
}
