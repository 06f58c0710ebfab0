#include "io/tokenizer/normalizer.h"

#include "io/tokenizer/byte_alphabet.h"

#include <string.h>

static gm_status copy_text(gm_slice *copy, gm_region *region, gm_slice text) {
    copy->bytes = gm_region_copy(region, text.bytes, text.length);
    copy->length = text.length;
    return copy->bytes ? GM_OK : GM_NO_MEMORY;
}

/* The steps that have no options. */
static bool is_bare(gm_normalizer_step *step, const gm_component *component) {
    static const struct {
        const char *type;
        gm_normalizer_kind kind;
        gm_normal_form form;
    } bare[] = {{"NFC", GM_NORMALIZE_FORM, GM_NFC},   {"NFD", GM_NORMALIZE_FORM, GM_NFD},   {"NFKC", GM_NORMALIZE_FORM, GM_NFKC},
                {"NFKD", GM_NORMALIZE_FORM, GM_NFKD}, {"Lowercase", GM_NORMALIZE_LOWER, 0}, {"StripAccents", GM_NORMALIZE_MARKS, 0},
                {"ByteLevel", GM_NORMALIZE_BYTES, 0}};
    for (size_t i = 0; i < sizeof bare / sizeof *bare; i++) {
        if (!gm_component_is(component, bare[i].type)) continue;
        step->kind = bare[i].kind;
        step->form = bare[i].form;
        return true;
    }
    return false;
}

static gm_status load_step(gm_normalizer_step *step, const gm_component *component, gm_region *region) {
    static const char *const none[] = {NULL}, *const strip[] = {"strip_left", "strip_right", NULL}, *const prepend[] = {"prepend", NULL},
                             *const replace[] = {"pattern", "content", NULL};
    gm_slice text;
    if (is_bare(step, component)) return gm_component_options(component, none);
    if (gm_component_is(component, "Strip")) {
        step->kind = GM_NORMALIZE_STRIP;
        GM_TRY(gm_component_options(component, strip));
        GM_TRY(gm_component_bool(component, "strip_left", &step->left));
        return gm_component_bool(component, "strip_right", &step->right);
    }
    if (gm_component_is(component, "Prepend")) {
        step->kind = GM_NORMALIZE_PREPEND;
        GM_TRY(gm_component_options(component, prepend));
        GM_TRY(gm_component_text(component, "prepend", &text));
        return copy_text(&step->content, region, text);
    }
    if (gm_component_is(component, "Replace")) {
        step->kind = GM_NORMALIZE_REPLACE;
        GM_TRY(gm_component_options(component, replace));
        GM_TRY(gm_component_text(component, "content", &text));
        GM_TRY(copy_text(&step->content, region, text));
        return gm_pattern_load(&step->pattern, component, region);
    }
    return gm_component_unknown(component);
}

static gm_status load_steps(gm_normalizer *normalizer, const char *file, const cJSON *object, gm_region *region) {
    static const char *const sequence[] = {"normalizers", NULL};
    gm_component component;
    GM_TRY(gm_component_open(&component, file, "normalizer", object));
    if (!gm_component_is(&component, "Sequence")) return load_step(&normalizer->steps[normalizer->count++], &component, region);
    const cJSON *array, *element;
    GM_TRY(gm_component_options(&component, sequence));
    GM_TRY(gm_component_array(&component, "normalizers", &array));
    cJSON_ArrayForEach(element, array) GM_TRY(load_steps(normalizer, file, element, region));
    return GM_OK;
}

gm_status gm_normalizer_load(gm_normalizer *normalizer, const char *file, const cJSON *object, gm_region *region) {
    if (!object || cJSON_IsNull(object)) return GM_OK;
    GM_REGION_ALLOC(region, normalizer->steps, gm_component_count_leaves(object, "normalizers"));
    return load_steps(normalizer, file, object, region);
}

void gm_normalizer_free(gm_normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->count; i++) gm_pattern_free(&normalizer->steps[i].pattern);
}

static gm_slice strip(gm_slice text, bool left, bool right) {
    uint32_t code;
    while (left && text.length > 0) {
        size_t size = (size_t)gm_utf8_decode(text.bytes, text.length, &code);
        if (!gm_unicode_is_space(code)) break;
        text.bytes += size, text.length -= size;
    }
    while (right && text.length > 0) {
        size_t at = text.length - 1;
        while ((text.bytes[at] & 0xc0) == 0x80) at--;
        gm_utf8_decode(text.bytes + at, text.length - at, &code);
        if (!gm_unicode_is_space(code)) break;
        text.length = at;
    }
    return text;
}

/* A replacement comes from where its match ends. */
static gm_status replace(const gm_normalizer_step *step, gm_encoder *encoder, gm_slice text, gm_buffer *out, size_t *head) {
    gm_search search = gm_search_begin(&step->pattern, encoder->regex, text);
    size_t copied = 0, new_head = 0;
    for (bool found;;) {
        GM_TRY(gm_search_next(&search, &found));
        size_t end = found ? search.begin : text.length;
        new_head += gm_head_after(*head < end ? *head : end, copied);
        gm_buffer_append(out, text.bytes + copied, end - copied);
        if (!found) break;
        if (*head > 0 && search.end <= *head) new_head += step->content.length;
        gm_buffer_append(out, step->content.bytes, step->content.length);
        GM_TRY(gm_encoder_check_length(encoder, out->length));
        copied = search.end;
    }
    *head = new_head;
    return GM_OK;
}

/* The head's characters are counted: what follows it may compose with its last or sort before it, and the package lets
 * characters keep their places' origins. */
static gm_status normalize(gm_buffer *out, gm_slice text, gm_normal_form form, size_t *head) {
    size_t characters = 0;
    GM_TRY(gm_unicode_normalize(out, (gm_slice){text.bytes, *head}, form));
    for (size_t i = 0; i < out->length; i++) characters += (out->bytes[i] & 0xc0) != 0x80;
    gm_buffer_clear(out);
    GM_TRY(gm_unicode_normalize(out, text, form));
    for (*head = 0; characters > 0 && *head < out->length; characters--) *head += gm_utf8_size(out->bytes[*head]);
    return GM_OK;
}

static void append_without_marks(gm_buffer *out, gm_slice text) {
    for (size_t at = 0, size; at < text.length; at += size) {
        uint32_t code;
        size = (size_t)gm_utf8_decode(text.bytes + at, text.length - at, &code);
        if (!gm_unicode_is_mark(code)) gm_buffer_append(out, text.bytes + at, size);
    }
}

/* A step that turns each character into characters of its own: `append` writes those of a text. */
static void rewrite(gm_buffer *out, gm_slice text, void (*append)(gm_buffer *out, gm_slice text), size_t *head) {
    append(out, (gm_slice){text.bytes, *head});
    size_t new_head = out->length;
    append(out, (gm_slice){text.bytes + *head, text.length - *head});
    *head = new_head;
}

/* Into `out`, or by moving the bounds of *text: *written tells. */
static gm_status apply_step(const gm_normalizer_step *step, gm_encoder *encoder, gm_slice *text, gm_buffer *out, size_t *head,
                            bool *written) {
    *written = true;
    switch (step->kind) {
    case GM_NORMALIZE_FORM:
        if (!gm_unicode_is_plain(*text, step->form)) return normalize(out, *text, step->form, head);
        break;
    case GM_NORMALIZE_LOWER: rewrite(out, *text, gm_unicode_lower_case, head); return GM_OK;
    case GM_NORMALIZE_MARKS: rewrite(out, *text, append_without_marks, head); return GM_OK;
    case GM_NORMALIZE_BYTES: rewrite(out, *text, gm_byte_alphabet_append, head); return GM_OK;
    case GM_NORMALIZE_PREPEND:
        if (text->length == 0) break;
        gm_buffer_append(out, step->content.bytes, step->content.length);
        gm_buffer_append(out, text->bytes, text->length);
        if (*head > 0) *head += step->content.length;
        return GM_OK;
    case GM_NORMALIZE_REPLACE: return replace(step, encoder, *text, out, head);
    case GM_NORMALIZE_STRIP: {
        gm_slice stripped = strip(*text, step->left, step->right);
        *head = gm_head_after(*head, (size_t)(stripped.bytes - text->bytes));
        if (*head > stripped.length) *head = stripped.length;
        *text = stripped;
        break;
    }
    }
    *written = false;
    return GM_OK;
}

gm_status gm_normalizer_apply(const gm_normalizer *normalizer, gm_encoder *encoder, gm_slice *text, size_t *head) {
    int target = 0;
    gm_encoder_begin_text(encoder, text->length);
    for (size_t i = 0; i < normalizer->count; i++) {
        gm_buffer *out = &encoder->normal[target];
        bool written;
        gm_buffer_clear(out);
        GM_TRY(apply_step(&normalizer->steps[i], encoder, text, out, head, &written));
        if (!written) continue;
        GM_TRY(gm_buffer_status(out));
        GM_TRY(gm_encoder_check_length(encoder, out->length));
        *text = (gm_slice){gm_buffer_string(out), out->length};
        target = 1 - target;
    }
    return GM_OK;
}
