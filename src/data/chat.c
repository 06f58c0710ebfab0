#include "data/chat.h"

#include "base/file.h"
#include "data/jinja/jinja.h"
#include "io/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { LARGEST_TEMPLATE = 1 << 20, LARGEST_CONFIG = 64 << 20 };

struct gm_chat {
    gm_region region;
    gm_jinja *jinja;
    const gm_chat_roles *roles;
    const char *bos, *eos; /* the tokenizer's; NULL: none */
    const char *family, *problem;
};

/* ---- the model's template --------------------------------------------------------------------------------------- */

/* The template of a chat_template member; NULL where it has none. */
static gm_status template_of(const cJSON *config, const char *path, const char **text) {
    const cJSON *value = cJSON_IsObject(config) ? gm_json_member(config, "chat_template") : NULL, *item;
    *text = NULL;
    if (!value) return GM_OK;
    if (cJSON_IsString(value)) {
        *text = value->valuestring;
        return GM_OK;
    }
    if (!cJSON_IsArray(value)) return gm_error(GM_BAD_FILE, "%s: chat_template: should be a text, or a list of templates", path);
    cJSON_ArrayForEach(item, value) {
        if (cJSON_IsObject(item) && strcmp(gm_json_text_at(item, "name"), "default") == 0) *text = gm_json_text_at(item, "template");
    }
    return *text ? GM_OK : gm_error(GM_BAD_FILE, "%s: chat_template: none of its templates is called \"default\"", path);
}

/* Appends the template of `name` in the model's directory; false where there is none. */
static gm_status read_template(const char *model, const char *name, char path[GM_PATH], gm_buffer *text, bool *found) {
    cJSON *config = NULL;
    const char *template;
    *found = false;
    GM_TRY(gm_path_join(path, model, name));
    if (!gm_file_exists(path)) return GM_OK;
    if (strcmp(name, "chat_template.jinja") == 0) {
        *found = true;
        return gm_file_read(text, path, LARGEST_TEMPLATE, GM_BAD_FILE);
    }
    GM_TRY(gm_json_parse_file(path, LARGEST_CONFIG, GM_BAD_FILE, &config));
    gm_status status = template_of(config, path, &template);
    *found = status == GM_OK && template;
    if (*found) gm_buffer_text(text, template);
    cJSON_Delete(config);
    return status == GM_OK ? gm_buffer_status(text) : status;
}

/* By what no other family writes; the first that fits. */
static const char *family_of(const char *text) {
    static const char *const marks[][3] = {{"ChatML", "<|im_start|>", ""},   {"Llama 3", "<|start_header_id|>", ""},
                                           {"Gemma", "<start_of_turn>", ""}, {"Llama 2", "[INST]", "<<SYS>>"},
                                           {"Mistral", "[INST]", ""},        {"Phi-3", "<|user|>", "<|end|>"},
                                           {"Zephyr", "<|user|>", ""}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strstr(text, marks[i][1]) && strstr(text, marks[i][2])) return marks[i][0];
    return "of its own";
}

/* Renders a conversation, with a message of the system where the template takes one: what it needs and we lack is known at once. */
static gm_status try_template(gm_chat *chat) {
    static const gm_message messages[] = {{"system", "s", false}, {"user", "u", false}, {"assistant", "a", true}};
    gm_jinja_input input = {.messages = messages, .count = 3, .bos = chat->bos, .eos = chat->eos};
    gm_marked_text text = {0};
    gm_status status = gm_jinja_render(chat->jinja, &input, &text);
    if (status == GM_BAD_FILE) {
        gm_marked_clear(&text);
        input.messages++;
        input.count--;
        status = gm_jinja_render(chat->jinja, &input, &text);
    }
    if (status == GM_OK) chat->family = family_of(gm_buffer_string(&text.text));
    gm_marked_free(&text);
    return status;
}

static gm_status open_template(gm_chat *chat, const char *model) {
    static const char *const names[] = {"chat_template.jinja", "tokenizer_config.json", "chat_template.json"};
    char path[GM_PATH];
    gm_buffer text = {0}, source = {0};
    gm_status status = GM_OK;
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found && status == GM_OK; i++)
        status = read_template(model, names[i], path, &text, &found);
    if (status == GM_OK && !found) status = gm_error(GM_BAD_FILE, "%s: the model has no chat template", model);
    if (status == GM_OK) {
        gm_buffer_format(&source, "%s: chat_template", path);
        status = gm_buffer_status(&source);
    }
    if (status == GM_OK) status = gm_jinja_compile(&chat->jinja, gm_buffer_string(&source), gm_buffer_string(&text), text.length);
    if (status == GM_OK) status = try_template(chat);
    gm_buffer_free(&text);
    gm_buffer_free(&source);
    return status;
}

gm_status gm_chat_open(gm_chat **result, const char *model, const gm_tokenizer *tokenizer, const gm_chat_roles *roles) {
    gm_chat *chat;
    *result = NULL;
    GM_ALLOC(chat, 1);
    chat->roles = roles;
    if (gm_tokenizer_bos(tokenizer) >= 0) chat->bos = gm_tokenizer_token(tokenizer, gm_tokenizer_bos(tokenizer));
    if (gm_tokenizer_eos(tokenizer) >= 0) chat->eos = gm_tokenizer_token(tokenizer, gm_tokenizer_eos(tokenizer));
    if (roles) chat->family = "the task file's";
    gm_status status = roles ? GM_OK : open_template(chat, model);
    if (status == GM_BAD_FILE) {
        const char *text = gm_error_text();
        chat->problem = gm_region_copy(&chat->region, text, strlen(text));
        status = chat->problem ? GM_OK : GM_NO_MEMORY;
    }
    if (status == GM_OK)
        *result = chat;
    else
        gm_chat_close(chat);
    return status;
}

void gm_chat_close(gm_chat *chat) {
    if (!chat) return;
    gm_jinja_close(chat->jinja);
    gm_region_free(&chat->region);
    free(chat);
}

const char *gm_chat_family_name(const gm_chat *chat) { return chat->family; }
const char *gm_chat_problem(const gm_chat *chat) { return chat->problem; }
bool gm_chat_wants_bos(const gm_chat *chat) { return chat->roles != NULL; }

/* ---- rendering -------------------------------------------------------------------------------------------------- */

static gm_status render_roles(const gm_chat_roles *roles, const gm_message *messages, size_t count, gm_marked_text *out) {
    for (size_t i = 0; i < count; i++) {
        const gm_message *message = &messages[i];
        const gm_chat_role *role = strcmp(message->role, "system") == 0 ? &roles->system
                                   : strcmp(message->role, "user") == 0 ? &roles->user
                                                                        : &roles->assistant;
        if (!role->before) return gm_error(GM_BAD_FILE, "message %zu: the task file's chat has no role %s", i + 1, message->role);
        size_t begin, length = strlen(message->content);
        GM_TRY(gm_marked_append(out, role->before, NULL, strlen(role->before), 0));
        begin = out->text.length;
        GM_TRY(gm_marked_append(out, message->content, NULL, length, 0));
        gm_mark also = role == &roles->assistant ? GM_MARK_GENERATION : 0;
        for (size_t at = begin; at < begin + length; at++) out->marks[at] = (gm_mark)((i + 1) | also);
        GM_TRY(gm_marked_append(out, role->after, NULL, strlen(role->after), message->learnt ? also : 0));
    }
    return GM_OK;
}

gm_status gm_chat_render(const gm_chat *chat, const gm_message *messages, size_t count, gm_marked_text *out) {
    static const char way_out[] = "give the task file a \"chat\" with a text for each role";
    if (chat->roles) return render_roles(chat->roles, messages, count, out);
    if (gm_chat_problem(chat)) return gm_error(GM_BAD_FILE, "%s; %s", gm_chat_problem(chat), way_out);
    gm_jinja_input input = {.messages = messages, .count = count, .bos = chat->bos, .eos = chat->eos};
    return gm_jinja_render(chat->jinja, &input, out);
}
