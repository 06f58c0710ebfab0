#include "data/template.h"
#include "data/text.h"

#include <string.h>

static bool text_is(const char *text, size_t length, const char *word) { return strlen(word) == length && memcmp(text, word, length) == 0; }

static gm_status parse_modifier(gm_modifier *modifier, const char *text, size_t length) {
    static const char *const names[] = {"", "capitalize", "before_blank", "after_blank"};
    for (int i = 1; i < 4; i++)
        if (text_is(text, length, names[i])) {
            *modifier = (gm_modifier)i;
            return GM_OK;
        }
    return gm_error(GM_USAGE, "{…:%.*s}: no such modifier; there are capitalize, before_blank and after_blank", (int)length, text);
}

/* The inside of {…} */
static gm_status parse_name(gm_template *result, gm_template_part *part, const char *text, size_t length, const char *const *fields,
                            int field_count) {
    const char *colon = memchr(text, ':', length);
    size_t width = colon ? (size_t)(colon - text) : length;
    if (colon) GM_TRY(parse_modifier(&part->modifier, colon + 1, length - width - 1));
    part->kind = GM_PART_FIELD;
    for (part->field = 0; part->field < field_count; part->field++)
        if (text_is(text, width, fields[part->field])) break;
    if (part->field < field_count)
        part->text = fields[part->field];
    else if (colon)
        return gm_error(GM_USAGE, "{%.*s}: a modifier goes with a field", (int)length, text);
    else if (text_is(text, width, "options"))
        part->kind = GM_PART_OPTIONS;
    else if (text_is(text, width, "label"))
        part->kind = GM_PART_LABEL;
    else if (text_is(text, width, "text"))
        part->kind = GM_PART_TEXT;
    else
        return gm_error(GM_USAGE, "{%.*s}: neither a field of this task nor options, label or text (a brace itself is written twice)",
                        (int)length, text);
    result->options |= part->kind == GM_PART_OPTIONS;
    result->label |= part->kind == GM_PART_LABEL;
    result->text |= part->kind == GM_PART_TEXT;
    return GM_OK;
}

gm_status gm_template_parse(gm_template *result, const char *text, const char *const *fields, int field_count, gm_region *region) {
    size_t braces = 0;
    for (const char *p = text; *p; p++) braces += *p == '{' || *p == '}';
    gm_template_part *parts;
    GM_REGION_ALLOC(region, parts, 2 * braces + 1);
    *result = (gm_template){.parts = parts};
    for (const char *p = text; *p;) {
        gm_template_part *part = &parts[result->count++];
        size_t plain = strcspn(p, "{}");
        bool doubled = plain == 0 && p[1] == p[0];
        const char *close = strchr(p, '}');
        if (plain > 0 || doubled) {
            part->length = plain ? plain : 1;
            if ((part->text = gm_region_copy(region, p, part->length)) == NULL) return GM_NO_MEMORY;
            p += plain ? plain : 2;
        } else if (*p == '}' || !close) {
            return gm_error(GM_USAGE, "a brace without its counterpart in \"%s\" (a brace itself is written twice)", text);
        } else {
            GM_TRY(parse_name(result, part, p + 1, (size_t)(close - p - 1), fields, field_count));
            p = close + 1;
        }
    }
    return GM_OK;
}

static gm_status render_field(gm_buffer *out, const gm_template_part *part, const char *value) {
    size_t length = strlen(value);
    const char *blank = strchr(value, '_');
    if (part->modifier >= GM_MODIFY_BEFORE_BLANK && !blank) return gm_error(GM_BAD_FILE, "%s: has no _ to be filled in", part->text);
    switch (part->modifier) {
    case GM_MODIFY_NOT: gm_buffer_append(out, value, length); break;
    case GM_MODIFY_CAPITALIZE: gm_text_capitalize(out, value, length); break;
    case GM_MODIFY_BEFORE_BLANK: gm_buffer_append(out, value, (size_t)(blank - value)); break;
    case GM_MODIFY_AFTER_BLANK: {
        const char *rest = blank + 1 + gm_text_lstrip(blank + 1, strlen(blank + 1));
        gm_buffer_append(out, rest, gm_text_rstrip(rest, strlen(rest)));
    }
    }
    return GM_OK;
}

gm_status gm_template_render(gm_buffer *out, const gm_template *template, const gm_template_values *values, int choice) {
    for (int i = 0; i < template->count; i++) {
        const gm_template_part *part = &template->parts[i];
        switch (part->kind) {
        case GM_PART_LITERAL: gm_buffer_append(out, part->text, part->length); break;
        case GM_PART_FIELD: GM_TRY(render_field(out, part, values->fields[part->field])); break;
        case GM_PART_LABEL: gm_buffer_text(out, values->labels[choice]); break;
        case GM_PART_TEXT: gm_buffer_text(out, values->texts[choice]); break;
        case GM_PART_OPTIONS:
            for (int c = 0; c < values->choices; c++) GM_TRY(gm_template_render(out, values->option, values, c));
        }
    }
    return gm_buffer_status(out);
}
