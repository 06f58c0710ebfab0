/* tokenizer.json can be 20 MB, nearly all of it the model's vocabulary and merges. One pass with the pull reader checks
 * the whole and finds the sections; the model is then read from its place without a tree, the small sections as trees. */
#include "io/tokenizer/tokenizer_parts.h"

#include "base/log.h"

#include <string.h>

enum { VERSION, TRUNCATION, PADDING, ADDED, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, DECODER, MODEL, SECTIONS };
static const char *const section_names[SECTIONS] = {"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                                    "pre_tokenizer", "post_processor", "decoder", "model"};

typedef struct gm_sections {
    gm_slice values[SECTIONS]; /* the JSON text of each; bytes NULL where the file has none */
    gm_json_reader model;      /* standing at the model */
} gm_sections;

static gm_status unknown_section(const gm_json_reader *reader) {
    gm_slice name = gm_slice_buffer(&reader->string);
    return gm_json_error(reader, "the section \"%.*s\" is not supported", gm_utf8_shown(name), name.bytes);
}

static gm_status find_sections(gm_sections *sections, gm_json_reader *reader) {
    bool more;
    GM_TRY(gm_json_open(reader, GM_JSON_OBJECT));
    for (;;) {
        GM_TRY(gm_json_next_member(reader, &more));
        if (!more) return gm_json_finish(reader);
        int which = 0;
        while (which < SECTIONS && !gm_json_name_is(reader, section_names[which])) which++;
        if (which == SECTIONS) return unknown_section(reader);
        gm_slice *value = &sections->values[which];
        if (value->bytes) return gm_json_error(reader, "\"%s\" is there twice", section_names[which]);
        if (which == MODEL) {
            sections->model = *reader;
            sections->model.string = (gm_buffer){0};
        }
        value->bytes = reader->at;
        GM_TRY(gm_json_skip(reader));
        value->length = (size_t)(reader->at - value->bytes);
    }
}

static gm_status parse_section(const gm_tokenizer *tokenizer, const gm_sections *sections, int which, cJSON **tree) {
    gm_slice value = sections->values[which];
    *tree = NULL;
    if (!value.bytes) return GM_OK;
    gm_status status = gm_json_parse(section_names[which], value.bytes, value.length, tree);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "%s", tokenizer->file);
}

/* Truncation and padding are somebody's last call saved with the file: transformers sets both anew for each call, and who
 * encodes here cuts for himself. */
static gm_status check_settings(const gm_tokenizer *tokenizer, const gm_sections *sections) {
    for (int which = VERSION; which <= PADDING; which++) {
        cJSON *tree;
        GM_TRY(parse_section(tokenizer, sections, which, &tree));
        bool version = tree && cJSON_IsString(tree) && strcmp(tree->valuestring, "1.0") == 0, object = cJSON_IsObject(tree);
        bool good = !tree || (which == VERSION ? version : object || cJSON_IsNull(tree));
        cJSON_Delete(tree);
        if (!good)
            return gm_error(GM_BAD_FILE, "%s: \"%s\" should be %s", tokenizer->file, section_names[which],
                            which == VERSION ? "\"1.0\"" : "an object or null");
        if (object) gm_log(GM_LOG_WARN, "%s: \"%s\" is left alone: texts keep their lengths", tokenizer->file, section_names[which]);
    }
    return GM_OK;
}

static gm_status load_added_tokens(gm_tokenizer *t, const cJSON *list) {
    if (!list || cJSON_IsNull(list)) return GM_OK;
    if (!cJSON_IsArray(list)) return gm_error(GM_BAD_FILE, "%s: added_tokens: should be an array", t->file);
    return gm_added_tokens_load(&t->added, t->file, list, &t->vocabulary, &t->region);
}

static gm_status load_section(gm_tokenizer *t, const gm_sections *sections, int which) {
    cJSON *tree;
    GM_TRY(parse_section(t, sections, which, &tree));
    gm_status status = GM_OK;
    switch (which) {
    case ADDED: status = load_added_tokens(t, tree); break;
    case NORMALIZER: status = gm_normalizer_load(&t->normalizer, t->file, tree, &t->region); break;
    case PRE_TOKENIZER: status = gm_pre_tokenizer_load(&t->pre_tokenizer, t->file, tree, &t->region); break;
    case POST_PROCESSOR: status = gm_post_processor_load(&t->post_processor, t->file, tree, &t->vocabulary); break;
    default: status = gm_token_decoder_load(&t->decoder, t->file, tree, &t->region); break;
    }
    cJSON_Delete(tree);
    return status;
}

gm_status gm_tokenizer_load(gm_tokenizer *t, const char *file, const gm_buffer *text) {
    gm_sections sections = {0};
    gm_json_reader reader;
    t->bos = t->eos = -1;
    t->file = gm_region_copy(&t->region, file, strlen(file));
    if (!t->file) return GM_NO_MEMORY;
    gm_json_reader_init(&reader, t->file, gm_buffer_string(text), text->length);
    gm_status status = find_sections(&sections, &reader);
    gm_json_reader_free(&reader);
    GM_TRY(status);
    if (!sections.model.at) return gm_error(GM_BAD_FILE, "%s: has no \"model\": not a tokenizer.json", file);
    GM_TRY(check_settings(t, &sections));
    status = gm_pair_model_load(&t->model, &t->vocabulary, &sections.model, &t->region);
    gm_json_reader_free(&sections.model);
    GM_TRY(status);
    t->added.next_id = t->vocabulary.model_count;
    for (int which = ADDED; which < MODEL; which++) GM_TRY(load_section(t, &sections, which));
    t->bos = gm_post_processor_front(&t->post_processor);
    t->eos = gm_post_processor_back(&t->post_processor);
    return GM_OK;
}

/* bos_token and its like: a text or an object with a "content"; null is none, absent leaves *id alone. */
static gm_status named_token(const gm_tokenizer *t, const char *file, const cJSON *config, const char *name, int32_t *id) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, name);
    if (!item) return GM_OK;
    *id = -1;
    if (cJSON_IsNull(item)) return GM_OK;
    const cJSON *text = cJSON_IsObject(item) ? gm_json_member(item, "content") : item;
    if (!text || !cJSON_IsString(text))
        return gm_error(GM_BAD_FILE, "%s: %s: should be a text, or an object with a \"content\"", file, name);
    gm_slice token = gm_slice_of(text->valuestring);
    *id = gm_vocabulary_id(&t->vocabulary, token);
    if (*id >= 0) return GM_OK;
    return gm_error(GM_BAD_FILE, "%s: %s: \"%.*s\" is not in the vocabulary of %s", file, name, gm_utf8_shown(token), token.bytes, t->file);
}

/* add_bos_token and add_eos_token: true puts the token at that end of the template, false takes what is there away. */
static gm_status end_of_template(gm_tokenizer *t, const char *file, const cJSON *config, const char *name, int32_t id,
                                 gm_status (*set)(gm_post_processor *post, int32_t id)) {
    const cJSON *item = gm_json_member(config, name);
    if (!item) return GM_OK;
    if (!cJSON_IsBool(item)) return gm_error(GM_BAD_FILE, "%s: %s: should be true or false", file, name);
    if (cJSON_IsTrue(item) && id < 0) return gm_error(GM_BAD_FILE, "%s: %s is true, but there is no such token", file, name);
    return set(&t->post_processor, cJSON_IsTrue(item) ? id : -1);
}

static gm_status overlay(gm_tokenizer *t, const char *file, const cJSON *config) {
    if (!cJSON_IsObject(config)) return gm_error(GM_BAD_FILE, "%s: should be an object", file);
    const cJSON *added = gm_json_member(config, "added_tokens_decoder");
    if (added && !cJSON_IsObject(added)) return gm_error(GM_BAD_FILE, "%s: added_tokens_decoder: should be an object", file);
    if (added) GM_TRY(gm_added_tokens_load(&t->added, file, added, &t->vocabulary, &t->region));
    GM_TRY(named_token(t, file, config, "bos_token", &t->bos));
    GM_TRY(named_token(t, file, config, "eos_token", &t->eos));
    GM_TRY(end_of_template(t, file, config, "add_bos_token", t->bos, gm_post_processor_set_front));
    return end_of_template(t, file, config, "add_eos_token", t->eos, gm_post_processor_set_back);
}

gm_status gm_tokenizer_overlay(gm_tokenizer *t, const char *file, const gm_buffer *text) {
    cJSON *config;
    GM_TRY(gm_json_parse(file, gm_buffer_string(text), text->length, &config));
    gm_status status = overlay(t, file, config);
    cJSON_Delete(config);
    return status;
}

gm_status gm_tokenizer_finish(gm_tokenizer *t) {
    const gm_pre_tokenizer *pre = &t->pre_tokenizer;
    t->split_steps = pre->count;
    if (pre->count > 0 && pre->steps[pre->count - 1].kind == GM_PRE_BYTES && gm_pair_model_take_bytes(&t->model, &t->vocabulary))
        t->split_steps--;
    t->pool = gm_encoder_pool_new();
    gm_encoder *encoder = t->pool ? gm_encoder_take(t->pool) : NULL;
    if (!encoder) return GM_NO_MEMORY;
    gm_status status = gm_added_tokens_finish(&t->added, t->file, &t->normalizer, encoder);
    gm_encoder_give_back(t->pool, encoder);
    return status;
}
