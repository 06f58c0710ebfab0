#include "io/tokenizer/pre_tokenizer.h"

#include "io/tokenizer/byte_alphabet.h"

#include <string.h>

/* GPT-2's pattern, which ByteLevel splits at unless told not to. */
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const char *const behaviors[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous", NULL};

static gm_status load_byte_level(gm_pre_tokenizer *p, const gm_component *component) {
    static const char *const options[] = {"add_prefix_space", "trim_offsets", "use_regex", NULL};
    bool space, ignored, regex;
    GM_TRY(gm_component_options(component, options));
    GM_TRY(gm_component_bool(component, "add_prefix_space", &space));
    GM_TRY(gm_component_bool_or(component, "trim_offsets", true, &ignored)); /* moves offsets only */
    GM_TRY(gm_component_bool_or(component, "use_regex", true, &regex));
    if (space) p->steps[p->count++].kind = GM_PRE_SPACE;
    if (regex) {
        gm_pre_tokenizer_step *step = &p->steps[p->count++];
        *step = (gm_pre_tokenizer_step){.kind = GM_PRE_SPLIT, .behavior = GM_SPLIT_ISOLATED};
        GM_TRY(gm_component_prefix(component, gm_regex_compile(&step->pattern.regex, (gm_slice){gpt2_pattern, sizeof gpt2_pattern - 1})));
    }
    p->steps[p->count++].kind = GM_PRE_BYTES;
    return GM_OK;
}

static gm_status load_metaspace(gm_pre_tokenizer_step *step, const gm_component *component, gm_region *region) {
    static const char *const options[] = {"replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep", NULL};
    static const char *const schemes[] = {"first", "never", "always", NULL};
    gm_slice mark;
    bool prefix;
    int scheme = GM_PREPEND_ALWAYS;
    GM_TRY(gm_component_options(component, options));
    GM_TRY(gm_component_character(component, "replacement", &mark));
    bool has_scheme = gm_json_member(component->object, "prepend_scheme") != NULL;
    if (has_scheme) GM_TRY(gm_component_choice(component, "prepend_scheme", schemes, &scheme));
    GM_TRY(gm_component_bool_or(component, "add_prefix_space", true, &prefix)); /* the older spelling of "never" */
    if (!prefix && has_scheme && scheme != GM_PREPEND_NEVER)
        return gm_component_refuse(component, "\"add_prefix_space\" and \"prepend_scheme\" disagree");
    step->kind = GM_PRE_METASPACE;
    step->scheme = prefix ? (gm_prepend_scheme)scheme : GM_PREPEND_NEVER;
    step->behavior = GM_SPLIT_MERGED_WITH_NEXT;
    step->pattern.literal = (gm_slice){gm_region_copy(region, mark.bytes, mark.length), mark.length};
    return step->pattern.literal.bytes ? gm_component_bool_or(component, "split", true, &step->split) : GM_NO_MEMORY;
}

static gm_status load_split(gm_pre_tokenizer_step *step, const gm_component *component, gm_region *region) {
    static const char *const options[] = {"pattern", "behavior", "invert", NULL};
    int behavior;
    GM_TRY(gm_component_options(component, options));
    GM_TRY(gm_component_choice(component, "behavior", behaviors, &behavior));
    GM_TRY(gm_component_bool(component, "invert", &step->invert));
    step->behavior = (gm_split_behavior)behavior;
    return gm_pattern_load(&step->pattern, component, region);
}

/* The older spelling of a Split at a character that goes away. */
static gm_status load_delimiter(gm_pre_tokenizer_step *step, const gm_component *component, gm_region *region) {
    static const char *const options[] = {"delimiter", NULL};
    gm_slice delimiter;
    GM_TRY(gm_component_options(component, options));
    GM_TRY(gm_component_character(component, "delimiter", &delimiter));
    step->behavior = GM_SPLIT_REMOVED;
    step->pattern.literal = (gm_slice){gm_region_copy(region, delimiter.bytes, delimiter.length), delimiter.length};
    return step->pattern.literal.bytes ? GM_OK : GM_NO_MEMORY;
}

static gm_pre_tokenizer_step split_at(bool (*holds)(uint32_t code), gm_split_behavior behavior) {
    return (gm_pre_tokenizer_step){.kind = GM_PRE_SPLIT, .behavior = behavior, .pattern.holds = holds};
}

static gm_status load_step(gm_pre_tokenizer *p, const gm_component *component, gm_region *region) {
    static const char *const none[] = {NULL}, *const digits[] = {"individual_digits", NULL}, *const punctuation[] = {"behavior", NULL};
    if (gm_component_is(component, "ByteLevel")) return load_byte_level(p, component);
    gm_pre_tokenizer_step *step = &p->steps[p->count++];
    step->kind = GM_PRE_SPLIT;
    if (gm_component_is(component, "Metaspace")) return load_metaspace(step, component, region);
    if (gm_component_is(component, "Split")) return load_split(step, component, region);
    if (gm_component_is(component, "CharDelimiterSplit")) return load_delimiter(step, component, region);
    if (gm_component_is(component, "Digits")) {
        bool individual;
        GM_TRY(gm_component_options(component, digits));
        GM_TRY(gm_component_bool(component, "individual_digits", &individual));
        *step = split_at(gm_unicode_is_numeric, individual ? GM_SPLIT_ISOLATED : GM_SPLIT_CONTIGUOUS);
        return GM_OK;
    }
    if (gm_component_is(component, "Punctuation")) {
        int behavior = GM_SPLIT_ISOLATED;
        GM_TRY(gm_component_options(component, punctuation));
        if (gm_json_member(component->object, "behavior")) GM_TRY(gm_component_choice(component, "behavior", behaviors, &behavior));
        *step = split_at(gm_unicode_is_punctuation, (gm_split_behavior)behavior);
        return GM_OK;
    }
    if (gm_component_is(component, "WhitespaceSplit")) {
        *step = split_at(gm_unicode_is_space, GM_SPLIT_REMOVED);
        return gm_component_options(component, none);
    }
    if (gm_component_is(component, "BertPreTokenizer")) {
        *step = split_at(gm_unicode_is_space, GM_SPLIT_REMOVED);
        p->steps[p->count++] = split_at(gm_unicode_is_punctuation, GM_SPLIT_ISOLATED);
        return gm_component_options(component, none);
    }
    if (gm_component_is(component, "Whitespace")) {
        step->kind = GM_PRE_WHITESPACE;
        return gm_component_options(component, none);
    }
    return gm_component_unknown(component);
}

static gm_status load_steps(gm_pre_tokenizer *p, const char *file, const cJSON *object, gm_region *region) {
    static const char *const sequence[] = {"pretokenizers", NULL};
    gm_component component;
    GM_TRY(gm_component_open(&component, file, "pre_tokenizer", object));
    if (!gm_component_is(&component, "Sequence")) return load_step(p, &component, region);
    const cJSON *array, *element;
    GM_TRY(gm_component_options(&component, sequence));
    GM_TRY(gm_component_array(&component, "pretokenizers", &array));
    cJSON_ArrayForEach(element, array) GM_TRY(load_steps(p, file, element, region));
    return GM_OK;
}

gm_status gm_pre_tokenizer_load(gm_pre_tokenizer *p, const char *file, const cJSON *object, gm_region *region) {
    enum { STEPS_OF_BYTE_LEVEL = 3 };
    if (!object || cJSON_IsNull(object)) return GM_OK;
    GM_REGION_ALLOC(region, p->steps, STEPS_OF_BYTE_LEVEL * gm_component_count_leaves(object, "pretokenizers"));
    return load_steps(p, file, object, region);
}

void gm_pre_tokenizer_free(gm_pre_tokenizer *p) {
    for (size_t i = 0; i < p->count; i++) gm_pattern_free(&p->steps[i].pattern);
}

/* Takes the parts of one span in order, matches and what is between them, and adds what the behaviour makes of them. */
typedef struct gm_splitter {
    gm_pieces *out;
    const gm_span *span;
    gm_split_behavior behavior;
    size_t begin, end; /* the part that may still grow */
    bool open;         /* there is one */
    bool matched;      /* the last part was a match */
} gm_splitter;

static gm_status close_part(gm_splitter *s) {
    if (!s->open) return GM_OK;
    s->open = false;
    return gm_pieces_add(s->out, s->begin, s->end, gm_head_after(s->span->head, s->begin - s->span->begin));
}

static gm_status add_part(gm_splitter *s, size_t begin, size_t end, bool is_match) {
    bool joins = false; /* this part belongs to the open one */
    switch (s->behavior) {
    case GM_SPLIT_REMOVED:
        if (is_match) return GM_OK;
        break;
    case GM_SPLIT_ISOLATED: break;
    case GM_SPLIT_CONTIGUOUS: joins = is_match == s->matched; break;
    case GM_SPLIT_MERGED_WITH_PREVIOUS: joins = is_match && !s->matched; break;
    case GM_SPLIT_MERGED_WITH_NEXT: joins = !is_match && s->matched; break;
    }
    s->matched = is_match;
    if (joins && s->open) {
        s->end = end;
        return GM_OK;
    }
    GM_TRY(close_part(s));
    s->begin = begin, s->end = end, s->open = true;
    return GM_OK;
}

static gm_status split_span(const gm_pre_tokenizer_step *step, gm_encoder *encoder, gm_pieces *out, const char *base, const gm_span *span) {
    gm_splitter splitter = {.out = out, .span = span, .behavior = step->behavior};
    gm_search search = gm_search_begin(&step->pattern, encoder->regex, (gm_slice){base + span->begin, span->end - span->begin});
    size_t done = 0;
    for (bool found;;) {
        GM_TRY(gm_search_next(&search, &found));
        if (!found) break;
        if (search.begin > done) GM_TRY(add_part(&splitter, span->begin + done, span->begin + search.begin, step->invert));
        GM_TRY(add_part(&splitter, span->begin + search.begin, span->begin + search.end, !step->invert));
        done = search.end;
    }
    if (done < search.text.length) GM_TRY(add_part(&splitter, span->begin + done, span->end, step->invert));
    return close_part(&splitter);
}

/* \w+|[^\w\s]+ */
static gm_status split_words(gm_pieces *out, const char *base, const gm_span *span) {
    enum { SPACE, WORD, OTHER } last = SPACE, kind;
    size_t begin = span->begin;
    for (size_t at = span->begin; at < span->end;) {
        uint32_t code;
        size_t size = (size_t)gm_utf8_decode(base + at, span->end - at, &code);
        kind = gm_unicode_is_word(code) ? WORD : gm_unicode_is_space(code) ? SPACE : OTHER;
        if (kind != last) {
            if (last != SPACE) GM_TRY(gm_pieces_add(out, begin, at, gm_head_after(span->head, begin - span->begin)));
            begin = at;
            last = kind;
        }
        at += size;
    }
    return last == SPACE ? GM_OK : gm_pieces_add(out, begin, span->end, gm_head_after(span->head, begin - span->begin));
}

static void append_with_marks(gm_buffer *text, gm_slice source, gm_slice mark) {
    for (size_t at = 0; at < source.length;) {
        const char *space = memchr(source.bytes + at, ' ', source.length - at);
        size_t end = space ? (size_t)(space - source.bytes) : source.length;
        gm_buffer_append(text, source.bytes + at, end - at);
        if (space) gm_buffer_append(text, mark.bytes, mark.length);
        at = end + 1;
    }
}

static void append_rewritten(const gm_pre_tokenizer_step *step, gm_buffer *text, gm_slice source) {
    if (step->kind == GM_PRE_METASPACE)
        append_with_marks(text, source, step->pattern.literal);
    else if (step->kind == GM_PRE_BYTES)
        gm_byte_alphabet_append(text, source);
    else
        gm_buffer_append(text, source.bytes, source.length);
}

/* What comes before the span's own text. */
static gm_slice prepended(const gm_pre_tokenizer_step *step, gm_slice source, size_t head) {
    static const gm_slice space = {" ", 1}, nothing = {"", 0};
    gm_slice mark = step->pattern.literal;
    if (step->kind == GM_PRE_SPACE) return source.bytes[0] == ' ' ? nothing : space;
    if (step->kind != GM_PRE_METASPACE || source.bytes[0] == ' ') return nothing; /* a space becomes a mark */
    bool wanted = step->scheme == GM_PREPEND_ALWAYS || (step->scheme == GM_PREPEND_FIRST && head > 0);
    bool has_mark = source.length >= mark.length && memcmp(source.bytes, mark.bytes, mark.length) == 0;
    return wanted && !has_mark ? mark : nothing;
}

/* The kinds of step that rewrite each span. */
static gm_status rewrite_span(const gm_pre_tokenizer_step *step, gm_encoder *encoder, gm_pieces *out, gm_slice source, size_t head) {
    gm_buffer *text = &out->changed;
    gm_span span = {.begin = text->length};
    gm_slice before = prepended(step, source, head);
    gm_buffer_append(text, before.bytes, before.length);
    append_rewritten(step, text, (gm_slice){source.bytes, head});
    if (head > 0) span.head = text->length - span.begin;
    append_rewritten(step, text, (gm_slice){source.bytes + head, source.length - head});
    GM_TRY(gm_buffer_status(text));
    span.end = text->length;
    if (step->kind == GM_PRE_METASPACE && step->split) return split_span(step, encoder, out, text->bytes, &span);
    return gm_pieces_add(out, span.begin, span.end, span.head);
}

static gm_status apply_step(const gm_pre_tokenizer_step *step, gm_encoder *encoder, gm_pieces *in, gm_pieces *out) {
    bool rewrites = step->kind != GM_PRE_SPLIT && step->kind != GM_PRE_WHITESPACE;
    out->count = 0;
    if (rewrites) gm_buffer_clear(&out->changed);
    for (size_t i = 0; i < in->count; i++) {
        const gm_span *span = &in->spans[i];
        if (rewrites)
            GM_TRY(rewrite_span(step, encoder, out, (gm_slice){in->text.bytes + span->begin, span->end - span->begin}, span->head));
        else if (step->kind == GM_PRE_SPLIT)
            GM_TRY(split_span(step, encoder, out, in->text.bytes, span));
        else
            GM_TRY(split_words(out, in->text.bytes, span));
    }
    out->text = in->text;
    if (rewrites) {
        out->text = (gm_slice){gm_buffer_string(&out->changed), out->changed.length};
    } else if (in->text.bytes == in->changed.bytes) { /* the spans count in that text: it goes with them */
        gm_buffer changed = in->changed;
        in->changed = out->changed;
        out->changed = changed;
    }
    return GM_OK;
}

gm_status gm_pre_tokenizer_apply(const gm_pre_tokenizer *p, size_t steps, gm_encoder *encoder, gm_slice text, size_t head,
                                 gm_pieces **pieces) {
    gm_pieces *in = &encoder->pieces[0], *out = &encoder->pieces[1];
    in->text = text;
    in->count = 0;
    GM_TRY(gm_pieces_add(in, 0, text.length, head));
    gm_encoder_begin_text(encoder, text.length);
    for (size_t i = 0; i < steps; i++) {
        GM_TRY(apply_step(&p->steps[i], encoder, in, out));
        GM_TRY(gm_encoder_check_length(encoder, out->text.length));
        gm_pieces *swapped = in;
        in = out;
        out = swapped;
    }
    *pieces = in;
    return GM_OK;
}
