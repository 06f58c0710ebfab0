#include "io/tokenizer/post_processor.h"

#include <stdlib.h>
#include <string.h>

static gm_status insert(gm_post_processor *post, size_t at, int32_t piece) {
    GM_GROW(post->pieces, post->capacity, post->count + 1);
    memmove(post->pieces + at + 1, post->pieces + at, (post->count - at) * sizeof *post->pieces);
    post->pieces[at] = piece;
    post->count++;
    return GM_OK;
}

static gm_status append_id(gm_post_processor *post, const gm_component *component, const gm_vocabulary *vocabulary, const cJSON *number) {
    int64_t id;
    if (!gm_json_is_integer(number, &id) || id < 0 || id >= vocabulary->limit || !gm_vocabulary_has(vocabulary, (int32_t)id))
        return gm_component_refuse(component, "a special token has an id that is not in the vocabulary");
    return insert(post, post->count, (int32_t)id);
}

/* {"SpecialToken": {"id": "<s>", …}} or {"Sequence": {"id": "A", …}} */
static gm_status append_piece(gm_post_processor *post, const gm_component *component, const gm_vocabulary *vocabulary, const cJSON *piece) {
    const cJSON *sequence = cJSON_IsObject(piece) ? gm_json_member(piece, "Sequence") : NULL;
    const cJSON *special = cJSON_IsObject(piece) ? gm_json_member(piece, "SpecialToken") : NULL;
    const cJSON *body = sequence ? sequence : special, *name = cJSON_IsObject(body) ? gm_json_member(body, "id") : NULL;
    if (!name || !cJSON_IsString(name))
        return gm_component_refuse(component, "each piece of \"single\" should be a Sequence or a SpecialToken with an \"id\"");
    gm_slice token_name = gm_slice_of(name->valuestring);
    if (sequence) {
        if (strcmp(name->valuestring, "A") != 0)
            return gm_component_refuse(component, "sequence \"%.*s\" in \"single\" is not supported", gm_utf8_shown(token_name),
                                       token_name.bytes);
        return insert(post, post->count, GM_TEMPLATE_TEXT);
    }
    const cJSON *tokens = gm_json_member(component->object, "special_tokens"),
                *token = cJSON_IsObject(tokens) ? gm_json_member(tokens, name->valuestring) : NULL;
    const cJSON *ids = cJSON_IsObject(token) ? gm_json_member(token, "ids") : NULL, *id;
    if (!ids || !cJSON_IsArray(ids))
        return gm_component_refuse(component, "\"special_tokens\" has no ids for \"%.*s\"", gm_utf8_shown(token_name), token_name.bytes);
    cJSON_ArrayForEach(id, ids) GM_TRY(append_id(post, component, vocabulary, id));
    return GM_OK;
}

static gm_status load_template(gm_post_processor *post, const gm_component *component, const gm_vocabulary *vocabulary) {
    static const char *const options[] = {"single", "pair", "special_tokens", NULL};
    const cJSON *single, *piece;
    GM_TRY(gm_component_options(component, options));
    GM_TRY(gm_component_array(component, "single", &single));
    cJSON_ArrayForEach(piece, single) GM_TRY(append_piece(post, component, vocabulary, piece));
    return GM_OK;
}

/* ["</s>", 2] */
static gm_status append_named_id(gm_post_processor *post, const gm_component *component, const gm_vocabulary *vocabulary,
                                 const char *name) {
    const cJSON *pair;
    GM_TRY(gm_component_array(component, name, &pair));
    if (cJSON_GetArraySize(pair) != 2) return gm_component_refuse(component, "\"%s\" should be a token and its id", name);
    return append_id(post, component, vocabulary, pair->child->next);
}

/* `templates` counts what puts tokens around the text: of two, the package would let the second see a part of the first. */
static gm_status load_part(gm_post_processor *post, int *templates, const char *file, const cJSON *object,
                           const gm_vocabulary *vocabulary) {
    static const char *const sequence[] = {"processors", NULL},
                             *const byte_level[] = {"add_prefix_space", "trim_offsets", "use_regex", NULL},
                             *const named[] = {"sep", "cls", "trim_offsets", "add_prefix_space", NULL};
    gm_component component;
    GM_TRY(gm_component_open(&component, file, "post_processor", object));
    if (gm_component_is(&component, "ByteLevel")) return gm_component_options(&component, byte_level); /* moves offsets only */
    if (gm_component_is(&component, "Sequence")) {
        const cJSON *array, *element;
        GM_TRY(gm_component_options(&component, sequence));
        GM_TRY(gm_component_array(&component, "processors", &array));
        cJSON_ArrayForEach(element, array) GM_TRY(load_part(post, templates, file, element, vocabulary));
        return GM_OK;
    }
    if (++*templates > 1) return gm_component_refuse(&component, "a second template is not supported");
    post->count = 0;
    if (gm_component_is(&component, "TemplateProcessing")) return load_template(post, &component, vocabulary);
    if (!gm_component_is(&component, "RobertaProcessing") && !gm_component_is(&component, "BertProcessing"))
        return gm_component_unknown(&component);
    GM_TRY(gm_component_options(&component, named));
    GM_TRY(append_named_id(post, &component, vocabulary, "cls"));
    GM_TRY(insert(post, post->count, GM_TEMPLATE_TEXT));
    return append_named_id(post, &component, vocabulary, "sep");
}

gm_status gm_post_processor_load(gm_post_processor *post, const char *file, const cJSON *object, const gm_vocabulary *vocabulary) {
    int templates = 0;
    GM_TRY(insert(post, 0, GM_TEMPLATE_TEXT));
    return object && !cJSON_IsNull(object) ? load_part(post, &templates, file, object, vocabulary) : GM_OK;
}

void gm_post_processor_free(gm_post_processor *post) { free(post->pieces); }

gm_status gm_post_processor_set_front(gm_post_processor *post, int32_t id) {
    size_t front = 0;
    while (front < post->count && post->pieces[front] != GM_TEMPLATE_TEXT) front++;
    post->count -= front;
    memmove(post->pieces, post->pieces + front, post->count * sizeof *post->pieces);
    return id >= 0 ? insert(post, 0, id) : GM_OK;
}

gm_status gm_post_processor_set_back(gm_post_processor *post, int32_t id) {
    while (post->count > 0 && post->pieces[post->count - 1] != GM_TEMPLATE_TEXT) post->count--;
    return id >= 0 ? insert(post, post->count, id) : GM_OK;
}

int32_t gm_post_processor_front(const gm_post_processor *post) { return post->count > 0 && post->pieces[0] >= 0 ? post->pieces[0] : -1; }

int32_t gm_post_processor_back(const gm_post_processor *post) {
    return post->count > 0 && post->pieces[post->count - 1] >= 0 ? post->pieces[post->count - 1] : -1;
}
