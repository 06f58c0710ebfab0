#include "io/tokenizer/token_decoder.h"

#include "io/tokenizer/byte_alphabet.h"
#include "io/tokenizer/pre_tokenizer.h"

#include <stdlib.h>
#include <string.h>

static gm_status copy_text(gm_slice *copy, gm_region *region, gm_slice text) {
    *copy = (gm_slice){gm_region_copy(region, text.bytes, text.length), text.length};
    return copy->bytes ? GM_OK : GM_NO_MEMORY;
}

static gm_status load_metaspace(gm_token_decoder_step *step, const gm_component *component, gm_region *region) {
    static const char *const options[] = {"replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep", NULL};
    static const char *const schemes[] = {"first", "never", "always", NULL};
    gm_slice mark;
    bool prefix;
    int scheme = GM_PREPEND_ALWAYS;
    step->kind = GM_DECODE_METASPACE;
    GM_TRY(gm_component_options(component, options));
    GM_TRY(gm_component_character(component, "replacement", &mark));
    if (gm_json_member(component->object, "prepend_scheme")) GM_TRY(gm_component_choice(component, "prepend_scheme", schemes, &scheme));
    GM_TRY(gm_component_bool_or(component, "add_prefix_space", true, &prefix));
    step->keeps_first = !prefix || scheme == GM_PREPEND_NEVER;
    return copy_text(&step->pattern.literal, region, mark);
}

static gm_status load_step(gm_token_decoder_step *step, const gm_component *component, gm_region *region) {
    static const char *const none[] = {NULL}, *const byte_level[] = {"add_prefix_space", "trim_offsets", "use_regex", NULL},
                             *const replace[] = {"pattern", "content", NULL}, *const strip[] = {"content", "start", "stop", NULL},
                             *const suffix[] = {"suffix", NULL};
    gm_slice text;
    if (gm_component_is(component, "Metaspace")) return load_metaspace(step, component, region);
    if (gm_component_is(component, "ByteLevel")) {
        step->kind = GM_DECODE_BYTES;
        return gm_component_options(component, byte_level);
    }
    if (gm_component_is(component, "ByteFallback")) {
        step->kind = GM_DECODE_BYTE_FALLBACK;
        return gm_component_options(component, none);
    }
    if (gm_component_is(component, "Fuse")) {
        step->kind = GM_DECODE_FUSE;
        return gm_component_options(component, none);
    }
    if (gm_component_is(component, "Replace")) {
        step->kind = GM_DECODE_REPLACE;
        GM_TRY(gm_component_options(component, replace));
        GM_TRY(gm_component_text(component, "content", &text));
        GM_TRY(copy_text(&step->content, region, text));
        return gm_pattern_load(&step->pattern, component, region);
    }
    if (gm_component_is(component, "Strip")) {
        step->kind = GM_DECODE_STRIP;
        GM_TRY(gm_component_options(component, strip));
        GM_TRY(gm_component_character(component, "content", &text));
        GM_TRY(gm_component_count(component, "start", &step->start));
        GM_TRY(gm_component_count(component, "stop", &step->stop));
        return copy_text(&step->pattern.literal, region, text);
    }
    if (gm_component_is(component, "BPEDecoder")) {
        step->kind = GM_DECODE_SUFFIX;
        GM_TRY(gm_component_options(component, suffix));
        GM_TRY(gm_component_text(component, "suffix", &text));
        if (text.length == 0) return gm_component_refuse(component, "an empty \"suffix\" is not supported");
        return copy_text(&step->pattern.literal, region, text);
    }
    return gm_component_unknown(component);
}

static gm_status load_steps(gm_token_decoder *decoder, const char *file, const cJSON *object, gm_region *region) {
    static const char *const sequence[] = {"decoders", NULL};
    gm_component component;
    GM_TRY(gm_component_open(&component, file, "decoder", object));
    if (!gm_component_is(&component, "Sequence")) return load_step(&decoder->steps[decoder->count++], &component, region);
    const cJSON *array, *element;
    GM_TRY(gm_component_options(&component, sequence));
    GM_TRY(gm_component_array(&component, "decoders", &array));
    cJSON_ArrayForEach(element, array) GM_TRY(load_steps(decoder, file, element, region));
    return GM_OK;
}

gm_status gm_token_decoder_load(gm_token_decoder *decoder, const char *file, const cJSON *object, gm_region *region) {
    if (!object || cJSON_IsNull(object)) return GM_OK;
    decoder->present = true;
    GM_REGION_ALLOC(region, decoder->steps, gm_component_count_leaves(object, "decoders"));
    return load_steps(decoder, file, object, region);
}

void gm_token_decoder_free(gm_token_decoder *decoder) {
    for (size_t i = 0; i < decoder->count; i++) gm_pattern_free(&decoder->steps[i].pattern);
}

gm_status gm_token_list_end(gm_token_list *list) {
    GM_GROW(list->ends, list->capacity, list->count + 1);
    list->ends[list->count++] = list->text.length;
    return gm_buffer_status(&list->text);
}

void gm_token_list_free(gm_token_list *list) {
    gm_buffer_free(&list->text);
    free(list->ends);
    *list = (gm_token_list){0};
}

static gm_slice token_at(const gm_token_list *list, size_t i) {
    size_t begin = i ? list->ends[i - 1] : 0;
    return (gm_slice){gm_buffer_string(&list->text) + begin, list->ends[i] - begin};
}

/* A token with a character that is not of the alphabet (an added one) stands for its own bytes. */
static void append_bytes(gm_buffer *bytes, gm_slice token) {
    size_t before = bytes->length;
    for (size_t at = 0; at < token.length;) {
        uint32_t code;
        unsigned char byte;
        at += (size_t)gm_utf8_decode(token.bytes + at, token.length - at, &code);
        if (!gm_byte_alphabet_byte(code, &byte)) {
            bytes->length = before;
            gm_buffer_append(bytes, token.bytes, token.length);
            return;
        }
        gm_buffer_char(bytes, (char)byte);
    }
}

static gm_status decode_bytes(const gm_token_list *in, gm_token_list *out) {
    gm_buffer bytes = {0};
    for (size_t i = 0; i < in->count; i++) append_bytes(&bytes, token_at(in, i));
    gm_utf8_append_lossy(&out->text, gm_buffer_string(&bytes), bytes.length);
    gm_status status = gm_buffer_status(&bytes);
    gm_buffer_free(&bytes);
    GM_TRY(status);
    return gm_token_list_end(out);
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of "<0x0A>", or -1. The package's parser of numbers also takes a sign for the first digit. */
static int fallback_byte(gm_slice token) {
    if (token.length != 6 || memcmp(token.bytes, "<0x", 3) != 0 || token.bytes[5] != '>') return -1;
    int high = token.bytes[3] == '+' ? 0 : hex_digit(token.bytes[3]), low = hex_digit(token.bytes[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A run of byte tokens that is not valid as a whole becomes one U+FFFD for each of them. */
static gm_status flush_bytes(gm_buffer *run, gm_token_list *out) {
    if (run->length == 0) return GM_OK;
    bool valid = gm_utf8_check(run->bytes, run->length) == run->length;
    for (size_t i = 0; i < (valid ? 1 : run->length); i++) {
        if (valid)
            gm_buffer_append(&out->text, run->bytes, run->length);
        else
            gm_buffer_text(&out->text, "\xef\xbf\xbd");
        GM_TRY(gm_token_list_end(out));
    }
    gm_buffer_clear(run);
    return GM_OK;
}

static gm_status decode_byte_fallback(const gm_token_list *in, gm_token_list *out) {
    gm_buffer run = {0};
    gm_status status = GM_OK;
    for (size_t i = 0; i < in->count; i++) {
        gm_slice token = token_at(in, i);
        int byte = fallback_byte(token);
        if (byte >= 0) {
            gm_buffer_char(&run, (char)byte);
            continue;
        }
        GM_TRY_GOTO(flush_bytes(&run, out));
        gm_buffer_append(&out->text, token.bytes, token.length);
        GM_TRY_GOTO(gm_token_list_end(out));
    }
    GM_TRY_GOTO(gm_buffer_status(&run));
    GM_TRY_GOTO(flush_bytes(&run, out));
done:
    gm_buffer_free(&run);
    return status;
}

static gm_status append_replaced(const gm_pattern *pattern, gm_slice content, gm_encoder *encoder, gm_slice token, gm_buffer *out) {
    gm_search search = gm_search_begin(pattern, encoder->regex, token);
    size_t copied = 0;
    for (bool found;;) {
        GM_TRY(gm_search_next(&search, &found));
        if (!found) break;
        gm_buffer_append(out, token.bytes + copied, search.begin - copied);
        gm_buffer_append(out, content.bytes, content.length);
        GM_TRY(gm_encoder_check_length(encoder, out->length));
        copied = search.end;
    }
    gm_buffer_append(out, token.bytes + copied, token.length - copied);
    return GM_OK;
}

static bool begins_with(gm_slice text, gm_slice beginning) {
    return text.length >= beginning.length && memcmp(text.bytes, beginning.bytes, beginning.length) == 0;
}

static gm_slice strip(const gm_token_decoder_step *step, gm_slice token) {
    gm_slice character = step->pattern.literal;
    for (size_t i = 0; i < step->start && begins_with(token, character); i++)
        token.bytes += character.length, token.length -= character.length;
    for (size_t i = 0; i < step->stop && token.length >= character.length; i++) {
        if (memcmp(token.bytes + token.length - character.length, character.bytes, character.length) != 0) break;
        token.length -= character.length;
    }
    return token;
}

static gm_status decode_token(const gm_token_decoder_step *step, gm_encoder *encoder, gm_slice token, size_t i, size_t count,
                              gm_token_list *out) {
    static const gm_slice space = {" ", 1}, nothing = {"", 0};
    gm_slice content = step->content;
    if (step->kind == GM_DECODE_STRIP) {
        token = strip(step, token);
        gm_buffer_append(&out->text, token.bytes, token.length);
        return gm_token_list_end(out);
    }
    if (step->kind == GM_DECODE_METASPACE) content = i == 0 && !step->keeps_first ? nothing : space;
    if (step->kind == GM_DECODE_SUFFIX) content = i + 1 == count ? nothing : space;
    GM_TRY(append_replaced(&step->pattern, content, encoder, token, &out->text));
    return gm_token_list_end(out);
}

static gm_status apply_step(const gm_token_decoder_step *step, gm_encoder *encoder, const gm_token_list *in, gm_token_list *out) {
    if (step->kind == GM_DECODE_BYTES) return decode_bytes(in, out);
    if (step->kind == GM_DECODE_BYTE_FALLBACK) return decode_byte_fallback(in, out);
    if (step->kind == GM_DECODE_FUSE) {
        gm_buffer_append(&out->text, gm_buffer_string(&in->text), in->text.length);
        return gm_token_list_end(out);
    }
    for (size_t i = 0; i < in->count; i++) GM_TRY(decode_token(step, encoder, token_at(in, i), i, in->count, out));
    return GM_OK;
}

gm_status gm_token_decoder_apply(const gm_token_decoder *decoder, gm_encoder *encoder, gm_token_list *tokens, gm_buffer *text) {
    gm_token_list other = {0};
    gm_status status = GM_OK;
    gm_encoder_begin_text(encoder, tokens->text.length);
    for (size_t i = 0; i < decoder->count; i++) {
        other.count = 0;
        gm_buffer_clear(&other.text);
        GM_TRY_GOTO(apply_step(&decoder->steps[i], encoder, tokens, &other));
        gm_token_list swapped = *tokens;
        *tokens = other;
        other = swapped;
    }
    for (size_t i = 0; i < tokens->count; i++) {
        gm_slice token = token_at(tokens, i);
        if (i > 0 && !decoder->present) gm_buffer_char(text, ' ');
        gm_buffer_append(text, token.bytes, token.length);
    }
    status = gm_buffer_status(text);
done:
    gm_token_list_free(&other);
    return status;
}
