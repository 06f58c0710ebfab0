/* A task file into a gm_task: every key is known, has its type, and templates and paths are parsed once, here. */
#include "data/task_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASK_FILE_LIMIT = 1 << 20 };

typedef enum gm_need { GM_OPTIONAL, GM_REQUIRED } gm_need;

/* "path: where.key: reason" */
#define FAULT(task, where, key, ...) fault_at((task), (where), (key), gm_error(GM_USAGE, __VA_ARGS__))

static gm_status fault_at(const gm_task *task, const char *where, const char *key, gm_status status) {
    if (status == GM_OK || status == GM_NO_MEMORY) return status;
    return gm_error_prefix(GM_USAGE, "%s: %s%s%s", task->path, where, *where && *key ? "." : "", key);
}

static gm_status check_keys(const gm_task *task, const cJSON *object, const char *where, const char *const *known, int count) {
    const cJSON *member;
    cJSON_ArrayForEach(member, object) {
        gm_buffer names = {0};
        bool found = false;
        for (int i = 0; i < count; i++) {
            found |= strcmp(member->string, known[i]) == 0;
            gm_buffer_format(&names, "%s%s", i ? ", " : "", known[i]);
        }
        gm_status status = found ? GM_OK : FAULT(task, where, member->string, "no such key; there are %s", gm_buffer_string(&names));
        gm_buffer_free(&names);
        GM_TRY(status);
    }
    return GM_OK;
}

static gm_status get_object(const gm_task *task, const cJSON *object, const char *where, const char *key, gm_need need,
                            const cJSON **value) {
    *value = gm_json_member(object, key);
    if (!*value && need == GM_REQUIRED) return FAULT(task, where, key, "is missing");
    if (*value && !cJSON_IsObject(*value)) return FAULT(task, where, key, "must be an object");
    return GM_OK;
}

static gm_status get_string(gm_task *task, const cJSON *object, const char *where, const char *key, gm_need need, const char **value) {
    const cJSON *item = gm_json_member(object, key);
    *value = NULL;
    if (!item && need == GM_REQUIRED) return FAULT(task, where, key, "is missing");
    if (!item) return GM_OK;
    if (!cJSON_IsString(item)) return FAULT(task, where, key, "must be a string");
    *value = gm_region_copy(&task->region, item->valuestring, strlen(item->valuestring));
    return *value ? GM_OK : GM_NO_MEMORY;
}

static gm_status get_bool(const gm_task *task, const cJSON *object, const char *where, const char *key, bool *value) {
    const cJSON *item = gm_json_member(object, key);
    if (item && !cJSON_IsBool(item)) return FAULT(task, where, key, "must be true or false");
    *value = cJSON_IsTrue(item);
    return GM_OK;
}

static gm_status copy_name(gm_task *task, gm_task_names *names, const char *text) {
    return (names->items[names->count++] = gm_region_copy(&task->region, text, strlen(text))) ? GM_OK : GM_NO_MEMORY;
}

static gm_status get_names(gm_task *task, const cJSON *object, const char *where, const char *key, gm_need need, gm_task_names *names) {
    const cJSON *array = gm_json_member(object, key), *item;
    if (!array && need == GM_OPTIONAL) return GM_OK;
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) == 0) return FAULT(task, where, key, "must be an array of strings");
    GM_REGION_ALLOC(&task->region, names->items, (size_t)cJSON_GetArraySize(array));
    cJSON_ArrayForEach(item, array) {
        if (!cJSON_IsString(item) || item->valuestring[0] == '\0') return FAULT(task, where, key, "must be an array of strings");
        GM_TRY(copy_name(task, names, item->valuestring));
    }
    return GM_OK;
}

static gm_status get_field(gm_task *task, const cJSON *object, const char *where, const char *key, gm_field *field) {
    const char *text;
    GM_TRY(get_string(task, object, where, key, GM_OPTIONAL, &text));
    if (!text) return GM_OK;
    GM_TRY(fault_at(task, where, key, gm_field_parse(field, text, &task->region)));
    return gm_field_is_list(field) ? FAULT(task, where, key, "must be a single field, without []") : GM_OK;
}

static gm_status get_template(gm_task *task, const cJSON *object, const char *where, const char *key, gm_need need, gm_template *result) {
    const char *text;
    GM_TRY(get_string(task, object, where, key, need, &text));
    if (!text) return GM_OK;
    return fault_at(task, where, key, gm_template_parse(result, text, task->field_names.items, task->field_names.count, &task->region));
}

static gm_status read_split(gm_task *task, const cJSON *splits, const char *name, gm_task_split *split) {
    static const char *const keys[] = {"files", "answers", "same_as"};
    const cJSON *object;
    char where[64] = "splits.";
    strcat(where, name);
    split->same_as = -1;
    GM_TRY(get_object(task, splits, "splits", name, GM_OPTIONAL, &object));
    if (!object) return GM_OK;
    split->given = true;
    GM_TRY(check_keys(task, object, where, keys, 3));
    const char *other;
    GM_TRY(get_string(task, object, where, "same_as", GM_OPTIONAL, &other));
    if (other) {
        split->same_as = gm_task_split_index(other);
        const cJSON *target = split->same_as >= 0 && strcmp(other, name) != 0 ? gm_json_member(splits, other) : NULL;
        if (!target || gm_json_member(target, "same_as")) return FAULT(task, where, "same_as", "must name a split with files of its own");
        if (gm_json_member(object, "files") || gm_json_member(object, "answers"))
            return FAULT(task, where, "same_as", "stands beside files or answers");
        return GM_OK;
    }
    GM_TRY(get_names(task, object, where, "files", GM_REQUIRED, &split->files));
    return get_names(task, object, where, "answers", GM_OPTIONAL, &split->answers);
}

static gm_status read_splits(gm_task *task, const cJSON *root) {
    static const char *const keys[GM_SPLIT_COUNT] = {"train", "validation", "test"};
    const cJSON *splits;
    GM_TRY(get_object(task, root, "", "splits", GM_REQUIRED, &splits));
    GM_TRY(check_keys(task, splits, "splits", keys, GM_SPLIT_COUNT));
    for (int i = 0; i < GM_SPLIT_COUNT; i++) GM_TRY(read_split(task, splits, keys[i], &task->splits[i]));
    return GM_OK;
}

static gm_status read_fields(gm_task *task, const cJSON *root) {
    const cJSON *fields, *member;
    GM_TRY(get_object(task, root, "", "fields", GM_REQUIRED, &fields));
    size_t count = (size_t)cJSON_GetArraySize(fields);
    GM_REGION_ALLOC(&task->region, task->field_names.items, count);
    GM_REGION_ALLOC(&task->region, task->fields, count);
    cJSON_ArrayForEach(member, fields) {
        const char *name = member->string;
        if (!cJSON_IsString(member)) return FAULT(task, "fields", name, "must be a string");
        if (*name == '\0' || strpbrk(name, "{}:") || strcmp(name, "options") == 0 || strcmp(name, "label") == 0 ||
            strcmp(name, "text") == 0)
            return FAULT(task, "fields", name, "cannot be the name of a field");
        GM_TRY(get_field(task, fields, "fields", name, &task->fields[task->field_names.count]));
        GM_TRY(copy_name(task, &task->field_names, name));
    }
    return GM_OK;
}

/* labels: a list path, or {answer value: label} */
static gm_status read_labels(gm_task *task, const cJSON *object, const char *where, gm_task_labels *labels) {
    const cJSON *value = gm_json_member(object, "labels"), *member;
    if (cJSON_IsString(value)) {
        GM_TRY(fault_at(task, where, "labels", gm_field_parse(&labels->own, value->valuestring, &task->region)));
        return gm_field_is_list(&labels->own) ? GM_OK : FAULT(task, where, "labels", "must be a list field, with [], or an object");
    }
    if (!value) return GM_OK;
    if (!cJSON_IsObject(value) || cJSON_GetArraySize(value) == 0)
        return FAULT(task, where, "labels", "must be a list field or an object {answer: label}");
    GM_REGION_ALLOC(&task->region, labels->values.items, (size_t)cJSON_GetArraySize(value));
    GM_REGION_ALLOC(&task->region, labels->labels.items, (size_t)cJSON_GetArraySize(value));
    cJSON_ArrayForEach(member, value) {
        if (!cJSON_IsString(member)) return FAULT(task, where, "labels", "%s: must be a string", member->string);
        GM_TRY(copy_name(task, &labels->values, member->string));
        GM_TRY(copy_name(task, &labels->labels, member->valuestring));
    }
    return GM_OK;
}

static gm_status read_texts(gm_task *task, const cJSON *choices) {
    const cJSON *texts = gm_json_member(choices, "texts"), *item;
    if (!texts) return GM_OK;
    bool array = cJSON_IsArray(texts) && cJSON_GetArraySize(texts) > 0;
    if (!array && !cJSON_IsString(texts)) return FAULT(task, "choices", "texts", "must be a list field or an array of fields");
    GM_REGION_ALLOC(&task->region, task->texts, array ? (size_t)cJSON_GetArraySize(texts) : 1);
    for (item = array ? texts->child : texts; item; item = array ? item->next : NULL) {
        if (!cJSON_IsString(item)) return FAULT(task, "choices", "texts", "must be an array of strings");
        gm_field *field = &task->texts[task->text_count++];
        GM_TRY(fault_at(task, "choices", "texts", gm_field_parse(field, item->valuestring, &task->region)));
        if (gm_field_is_list(field) && array) return FAULT(task, "choices", "texts", "has [] within an array of fields");
        if (!gm_field_is_list(field) && !array) return FAULT(task, "choices", "texts", "must be a list field, with []");
    }
    return GM_OK;
}

static gm_status read_choices(gm_task *task, const cJSON *root) {
    static const char *const keys[] = {"texts", "labels"};
    const cJSON *choices;
    GM_TRY(get_object(task, root, "", "choices", GM_OPTIONAL, &choices));
    GM_TRY(get_field(task, root, "", "answer", &task->answer));
    GM_TRY(get_field(task, root, "", "completion", &task->completion));
    if (choices) {
        GM_TRY(check_keys(task, choices, "choices", keys, 2));
        GM_TRY(read_texts(task, choices));
        GM_TRY(read_labels(task, choices, "choices", &task->labels));
        if (task->text_count == 0 && !gm_labels_given(&task->labels)) return FAULT(task, "choices", "", "needs texts, labels or both");
        if (task->completion.count && !(task->text_count == 1 && gm_field_is_list(task->texts)))
            return FAULT(task, "choices", "texts", "must be a list field where there is a completion: the choices are then optional");
    }
    if (!choices && task->completion.count == 0) return FAULT(task, "", "choices", "is missing, and so is completion");
    if (choices && task->answer.count == 0) return FAULT(task, "", "answer", "is missing");
    if (!choices && task->answer.count) return FAULT(task, "", "answer", "stands without choices");
    return GM_OK;
}

/* ---- the other shapes of a line --------------------------------------------------------------------------------- */

static gm_status read_shape(gm_task *task, const cJSON *object, const char *where, gm_task_shape *shape) {
    static const char *const keys[] = {"with", "prompt", "completion"};
    gm_task_names names = {0};
    if (!cJSON_IsObject(object)) return FAULT(task, where, "", "must be an object");
    GM_TRY(check_keys(task, object, where, keys, 3));
    GM_TRY(get_names(task, object, where, "with", GM_REQUIRED, &names));
    GM_TRY(get_template(task, object, where, "prompt", GM_REQUIRED, &shape->prompt));
    GM_TRY(get_field(task, object, where, "completion", &shape->completion));
    if (shape->completion.count == 0) return FAULT(task, where, "completion", "is missing");
    if (shape->prompt.options || shape->prompt.label || shape->prompt.text) return FAULT(task, where, "prompt", "asks for choices");
    GM_REGION_ALLOC(&task->region, shape->with, (size_t)names.count);
    GM_REGION_ALLOC(&task->region, shape->wanted, (size_t)task->field_names.count);
    for (int i = 0; i < names.count; i++) {
        int field = 0;
        while (field < task->field_names.count && strcmp(task->field_names.items[field], names.items[i]) != 0) field++;
        if (field == task->field_names.count) return FAULT(task, where, "with", "\"%s\" is none of the fields", names.items[i]);
        shape->with[shape->with_count++] = field;
    }
    for (int i = 0; i < shape->prompt.count; i++)
        if (shape->prompt.parts[i].kind == GM_PART_FIELD) shape->wanted[shape->prompt.parts[i].field] = true;
    return GM_OK;
}

static gm_status read_shapes(gm_task *task, const cJSON *root) {
    const cJSON *shapes = gm_json_member(root, "shapes"), *item;
    if (!shapes) return GM_OK;
    if (!cJSON_IsArray(shapes) || cJSON_GetArraySize(shapes) == 0) return FAULT(task, "", "shapes", "must be an array of objects");
    GM_REGION_ALLOC(&task->region, task->shapes, (size_t)cJSON_GetArraySize(shapes));
    cJSON_ArrayForEach(item, shapes) {
        char where[32];
        snprintf(where, sizeof where, "shapes[%d]", task->shape_count);
        GM_TRY(read_shape(task, item, where, &task->shapes[task->shape_count++]));
    }
    return GM_OK;
}

/* A role's text: what stands before and behind its one {content}. */
static gm_status read_role(gm_task *task, const cJSON *chat, const char *key, gm_need need, gm_chat_role *role) {
    static const char *const fields[] = {"content"};
    const char *text;
    gm_template parsed;
    gm_buffer sides[2] = {0};
    int contents = 0;
    GM_TRY(get_string(task, chat, "chat", key, need, &text));
    if (!text) return GM_OK;
    GM_TRY(fault_at(task, "chat", key, gm_template_parse(&parsed, text, fields, 1, &task->region)));
    bool plain = !parsed.options && !parsed.label && !parsed.text;
    for (int i = 0; i < parsed.count; i++) {
        const gm_template_part *part = &parsed.parts[i];
        contents += part->kind == GM_PART_FIELD;
        plain = plain && part->modifier == GM_MODIFY_NOT;
        if (part->kind == GM_PART_LITERAL) gm_buffer_append(&sides[contents > 0], part->text, part->length);
    }
    gm_status status = gm_buffer_status(&sides[0]);
    if (status == GM_OK) status = gm_buffer_status(&sides[1]);
    if (status == GM_OK && (contents != 1 || !plain)) status = FAULT(task, "chat", key, "must have {content} in it, once");
    if (status == GM_OK) {
        role->before = gm_region_copy(&task->region, gm_buffer_string(&sides[0]), sides[0].length);
        role->after = gm_region_copy(&task->region, gm_buffer_string(&sides[1]), sides[1].length);
        status = role->before && role->after ? GM_OK : GM_NO_MEMORY;
    }
    gm_buffer_free(&sides[0]);
    gm_buffer_free(&sides[1]);
    return status;
}

static gm_status read_chat(gm_task *task, const cJSON *root) {
    static const char *const keys[] = {"system", "user", "assistant"};
    const cJSON *chat;
    GM_TRY(get_field(task, root, "", "conversation", &task->conversation));
    GM_TRY(get_object(task, root, "", "chat", GM_OPTIONAL, &chat));
    if ((task->conversation.count || task->shape_count) && task->completion.count == 0)
        return FAULT(task, "", task->shape_count ? "shapes" : "conversation",
                     "stands without a completion: the choices would not be optional");
    if (!chat) return GM_OK;
    if (task->conversation.count == 0) return FAULT(task, "", "chat", "stands without a conversation");
    GM_TRY(check_keys(task, chat, "chat", keys, 3));
    GM_REGION_ALLOC(&task->region, task->chat, 1);
    GM_TRY(read_role(task, chat, "system", GM_OPTIONAL, &task->chat->system));
    GM_TRY(read_role(task, chat, "user", GM_REQUIRED, &task->chat->user));
    return read_role(task, chat, "assistant", GM_REQUIRED, &task->chat->assistant);
}

/* ---- prompts ---------------------------------------------------------------------------------------------------- */

/* What the templates ask for must be there. */
static gm_status check_prompt(const gm_task *task, const char *where, const gm_task_prompt *prompt) {
    const gm_template *all[] = {&prompt->prompt, &prompt->option, &prompt->completion};
    static const char *const keys[] = {"prompt", "option", "completion"};
    for (int i = 0; i < 3; i++) {
        if (all[i]->label && !gm_labels_given(&prompt->labels))
            return FAULT(task, where, keys[i], "asks for {label}, but there are no labels");
        if (all[i]->text && task->text_count == 0) return FAULT(task, where, keys[i], "asks for {text}, but the choices have no texts");
        if (all[i]->options && i != 0) return FAULT(task, where, keys[i], "{options} stands in prompts only");
    }
    if (prompt->prompt.options && (prompt->option.count == 0 || task->answer.count == 0 || task->completion.count))
        return FAULT(task, where, "option", "is missing: the prompt asks for {options}");
    if (task->completion.count && (prompt->prompt.label || prompt->prompt.text))
        return FAULT(task, where, "prompt", "asks for a choice, but choices are optional");
    if (task->answer.count && prompt->completion.count == 0) return FAULT(task, where, "completion", "is missing or empty");
    int labels = prompt->labels.labels.count;
    bool listed = task->text_count == 1 && gm_field_is_list(task->texts);
    if (labels && task->text_count && !listed && labels != task->text_count)
        return FAULT(task, where, "labels", "%d labels for %d texts", labels, task->text_count);
    return GM_OK;
}

static gm_status read_prompt(gm_task *task, const cJSON *object, gm_task_prompt *prompt) {
    static const char *const keys[] = {"prompt", "option", "completion", "labels", "scoring", "clean"};
    gm_buffer place = {0};
    gm_status status = GM_OK;
    gm_buffer_format(&place, "prompts.%.200s", object->string);
    const char *where = gm_buffer_string(&place);
    if (!cJSON_IsObject(object)) GM_TRY_GOTO(FAULT(task, where, "", "must be an object"));
    GM_TRY_GOTO(check_keys(task, object, where, keys, 6));
    prompt->name = gm_region_copy(&task->region, object->string, strlen(object->string));
    GM_TRY_GOTO(prompt->name ? GM_OK : GM_NO_MEMORY);
    GM_TRY_GOTO(get_template(task, object, where, "prompt", GM_REQUIRED, &prompt->prompt));
    GM_TRY_GOTO(get_template(task, object, where, "option", GM_OPTIONAL, &prompt->option));
    GM_TRY_GOTO(get_template(task, object, where, "completion", GM_OPTIONAL, &prompt->completion));
    if (gm_json_member(object, "labels"))
        GM_TRY_GOTO(read_labels(task, object, where, &prompt->labels));
    else
        prompt->labels = task->labels;
    GM_TRY_GOTO(get_string(task, object, where, "scoring", GM_REQUIRED, &prompt->scoring));
    GM_TRY_GOTO(get_bool(task, object, where, "clean", &prompt->clean));
    if (strcmp(prompt->scoring, "label") != 0 && strcmp(prompt->scoring, "likelihood") != 0)
        GM_TRY_GOTO(FAULT(task, where, "scoring", "\"%s\" is neither label nor likelihood", prompt->scoring));
    status = check_prompt(task, where, prompt);
done:
    gm_buffer_free(&place);
    return status;
}

static gm_status read_prompts(gm_task *task, const cJSON *root) {
    const cJSON *prompts, *member;
    GM_TRY(get_object(task, root, "", "prompts", GM_REQUIRED, &prompts));
    GM_REGION_ALLOC(&task->region, task->prompts, (size_t)cJSON_GetArraySize(prompts));
    cJSON_ArrayForEach(member, prompts) GM_TRY(read_prompt(task, member, &task->prompts[task->prompt_count++]));
    return task->prompt_count ? GM_OK : FAULT(task, "", "prompts", "is empty");
}

static gm_status read_shot_items(gm_task *task, const cJSON *shots) {
    const cJSON *array = gm_json_member(shots, "items"), *item;
    if (!array) return GM_OK;
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) == 0)
        return FAULT(task, "shots", "items", "must be an array of indices, from 0");
    int64_t *items;
    GM_REGION_ALLOC(&task->region, items, (size_t)cJSON_GetArraySize(array));
    task->shots.items = items;
    cJSON_ArrayForEach(item, array) {
        int64_t index;
        if (!gm_json_is_integer(item, &index) || index < 0) return FAULT(task, "shots", "items", "must be an array of indices, from 0");
        for (int i = 0; i < task->shots.count; i++)
            if (items[i] == index) return FAULT(task, "shots", "items", "%lld stands twice", (long long)index);
        items[task->shots.count++] = index;
    }
    return GM_OK;
}

static gm_status read_shots(gm_task *task, const cJSON *root) {
    static const char *const keys[] = {"split", "items"};
    const cJSON *shots;
    GM_TRY(get_object(task, root, "", "shots", GM_OPTIONAL, &shots));
    if (!shots) return GM_OK;
    GM_TRY(check_keys(task, shots, "shots", keys, 2));
    GM_TRY(get_string(task, shots, "shots", "split", GM_REQUIRED, &task->shots.split));
    int split = gm_task_split_index(task->shots.split);
    if (split < 0 || !task->splits[split].given) return FAULT(task, "shots", "split", "\"%s\" is no split of the task", task->shots.split);
    return read_shot_items(task, shots);
}

static gm_status read_task(gm_task *task, const cJSON *root) {
    static const char *const keys[] = {"summary",    "folders", "splits", "fields",       "choices", "answer", "completion",
                                       "append_eos", "prompts", "shots",  "conversation", "chat",    "shapes"};
    const char *summary; /* for people who read the file */
    if (!cJSON_IsObject(root)) return gm_error(GM_USAGE, "%s: must be a JSON object", task->path);
    GM_TRY(check_keys(task, root, "", keys, sizeof keys / sizeof *keys));
    GM_TRY(get_string(task, root, "", "summary", GM_REQUIRED, &summary));
    GM_TRY(get_names(task, root, "", "folders", GM_OPTIONAL, &task->folders));
    GM_TRY(read_splits(task, root));
    GM_TRY(read_fields(task, root));
    GM_TRY(read_choices(task, root));
    GM_TRY(read_shapes(task, root));
    GM_TRY(read_chat(task, root));
    GM_TRY(get_bool(task, root, "", "append_eos", &task->append_eos));
    GM_TRY(read_shots(task, root));
    return read_prompts(task, root);
}

/* File name without folder and .json */
static char *name_of(gm_region *region, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".json") == 0) length -= 5;
    return gm_region_copy(region, name, length);
}

gm_status gm_task_open(gm_task **result, const char *name_or_path) {
    char path[GM_PATH];
    cJSON *root = NULL;
    *result = NULL;
    GM_TRY(gm_task_find(path, name_or_path));
    gm_task *task;
    GM_ALLOC(task, 1);
    gm_status status = gm_json_parse_file(path, TASK_FILE_LIMIT, GM_USAGE, &root);
    if (status == GM_BAD_FILE) status = GM_USAGE; /* a task file is configuration */
    if (status != GM_OK) goto done;
    task->path = gm_region_copy(&task->region, path, strlen(path));
    task->name = name_of(&task->region, path);
    GM_TRY_GOTO(task->path && task->name ? GM_OK : GM_NO_MEMORY);
    status = read_task(task, root);
done:
    cJSON_Delete(root);
    if (status == GM_OK)
        *result = task;
    else
        gm_task_close(task);
    return status;
}
