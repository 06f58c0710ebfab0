/* Character classes are binary searches in unicode_tables.c. Normal forms take decompositions and combining classes from
 * utf8proc, character by character, and sort and compose here: utf8proc's own sort is quadratic in a run of combining
 * marks, and it knows characters that the package's tables (Unicode 9) do not. Such a character stands as it is and
 * composes with nothing, so that the text between two of them is normalised by itself. */
#include "io/tokenizer/unicode.h"

#include "io/tokenizer/unicode_tables.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int gm_utf8_decode(const char *bytes, size_t length, uint32_t *code) {
    const unsigned char *p = (const unsigned char *)bytes;
    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }
    int size = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
    if (size == 0) return -1;
    /* overlong forms, surrogates and codes past U+10FFFF show in the second byte */
    unsigned low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80, high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    uint32_t value = p[0] & (0x7fu >> size);
    for (int i = 1; i < size; i++) {
        if ((size_t)i >= length || p[i] < low || p[i] > high) return -i;
        value = value << 6 | (p[i] & 0x3f);
        low = 0x80, high = 0xbf;
    }
    *code = value;
    return size;
}

int gm_utf8_encode(char bytes[4], uint32_t code) { return (int)utf8proc_encode_char((utf8proc_int32_t)code, (utf8proc_uint8_t *)bytes); }

size_t gm_utf8_check(const char *bytes, size_t length) {
    size_t at = 0;
    while (at < length) {
        uint64_t eight;
        if (length - at >= sizeof eight && (memcpy(&eight, bytes + at, sizeof eight), (eight & 0x8080808080808080u) == 0)) {
            at += sizeof eight;
            continue;
        }
        uint32_t code;
        int size = gm_utf8_decode(bytes + at, length - at, &code);
        if (size < 0) break;
        at += (size_t)size;
    }
    return at;
}

int gm_utf8_shown(gm_slice text) {
    enum { MOST = 100 };
    size_t length = text.length < MOST ? text.length : MOST;
    while (length > 0 && length < text.length && (text.bytes[length] & 0xc0) == 0x80) length--;
    return (int)length;
}

void gm_utf8_append_lossy(gm_buffer *text, const char *bytes, size_t length) {
    while (length > 0) {
        size_t valid = gm_utf8_check(bytes, length);
        gm_buffer_append(text, bytes, valid);
        bytes += valid, length -= valid;
        if (length == 0) break;
        uint32_t code;
        size_t bad = (size_t)-gm_utf8_decode(bytes, length, &code);
        gm_buffer_text(text, "\xef\xbf\xbd");
        bytes += bad, length -= bad;
    }
}

static bool in_ranges(const gm_code_range *ranges, size_t count, uint32_t code) {
    size_t low = 0, high = count; /* the first range that ends at code or later is in [low, high] */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges[middle].last < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ranges[low].first <= code;
}

bool gm_unicode_is_space(uint32_t code) { return in_ranges(gm_unicode_space, gm_unicode_space_count, code); }
bool gm_unicode_is_numeric(uint32_t code) { return in_ranges(gm_unicode_numeric, gm_unicode_numeric_count, code); }
bool gm_unicode_is_punctuation(uint32_t code) { return in_ranges(gm_unicode_punctuation, gm_unicode_punctuation_count, code); }
bool gm_unicode_is_word(uint32_t code) { return in_ranges(gm_unicode_word, gm_unicode_word_count, code); }
bool gm_unicode_is_mark(uint32_t code) { return in_ranges(gm_unicode_mark, gm_unicode_mark_count, code); }

static bool is_added(uint32_t code) {
    size_t low = 0, high = gm_unicode_added_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (gm_unicode_added[middle].last < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < gm_unicode_added_count && gm_unicode_added[low].first <= code;
}

static void append_code(gm_buffer *text, uint32_t code) {
    char bytes[4];
    gm_buffer_append(text, bytes, (size_t)gm_utf8_encode(bytes, code));
}

static uint32_t lower_case(uint32_t code) {
    for (size_t i = 0; i < gm_unicode_lower_count; i++)
        if (code >= gm_unicode_lower[i].first && code <= gm_unicode_lower[i].last)
            return (uint32_t)((int32_t)code + gm_unicode_lower[i].difference);
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

void gm_unicode_lower_case(gm_buffer *text, gm_slice source) {
    for (size_t at = 0; at < source.length;) {
        uint32_t code;
        at += (size_t)gm_utf8_decode(source.bytes + at, source.length - at, &code);
        if (code < 0x80) {
            gm_buffer_char(text, code >= 'A' && code <= 'Z' ? (char)(code + 32) : (char)code);
        } else if (code == 0x130) {
            gm_buffer_text(text, "i\xcc\x87"); /* the one letter whose lower case is two characters */
        } else {
            append_code(text, lower_case(code));
        }
    }
}

bool gm_unicode_is_plain(gm_slice source, gm_normal_form form) {
    /* nothing below U+0300 changes under NFC, and nothing of ASCII under any form */
    unsigned char limit = form == GM_NFC ? 0xcc : 0x80;
    for (size_t i = 0; i < source.length; i++)
        if ((unsigned char)source.bytes[i] >= limit) return false;
    return true;
}

/* A run of decomposed characters. */
typedef struct gm_codes {
    utf8proc_int32_t *codes;
    size_t count, capacity;
    utf8proc_int32_t *sorted; /* room to sort in */
    size_t sorted_capacity;
} gm_codes;

static unsigned combining_class(utf8proc_int32_t code) { return code < 0x300 ? 0 : (unsigned)utf8proc_get_property(code)->combining_class; }

/* Stable counting sort of codes[begin, end) by combining class. */
static gm_status sort_marks(gm_codes *run, size_t begin, size_t end) {
    size_t starts[257] = {0};
    GM_GROW(run->sorted, run->sorted_capacity, end - begin);
    for (size_t i = begin; i < end; i++) starts[combining_class(run->codes[i]) + 1]++;
    for (size_t i = 1; i < 257; i++) starts[i] += starts[i - 1];
    for (size_t i = begin; i < end; i++) run->sorted[starts[combining_class(run->codes[i])]++] = run->codes[i];
    memcpy(run->codes + begin, run->sorted, (end - begin) * sizeof *run->sorted);
    return GM_OK;
}

/* Each run of characters with a combining class is sorted by it; most are one or two long and in order. */
static gm_status order_marks(gm_codes *run) {
    for (size_t i = 0; i < run->count; i++) {
        unsigned rank = combining_class(run->codes[i]);
        if (rank == 0) continue;
        size_t begin = i;
        bool ordered = true;
        for (unsigned next; i + 1 < run->count && (next = combining_class(run->codes[i + 1])) != 0; i++) {
            ordered = ordered && rank <= next;
            rank = next;
        }
        if (!ordered) GM_TRY(sort_marks(run, begin, i + 1));
    }
    return GM_OK;
}

static gm_status flush_run(gm_buffer *text, gm_codes *run, gm_normal_form form) {
    GM_TRY(order_marks(run));
    utf8proc_ssize_t count = (utf8proc_ssize_t)run->count;
    if (form == GM_NFC || form == GM_NFKC) count = utf8proc_normalize_utf32(run->codes, count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < count; i++) append_code(text, (uint32_t)run->codes[i]);
    run->count = 0;
    return GM_OK;
}

static gm_status decompose(gm_codes *run, uint32_t code, gm_normal_form form) {
    enum { LONGEST = 32 }; /* U+FDFA becomes 18 characters under NFKD */
    GM_GROW(run->codes, run->capacity, run->count + LONGEST);
    int options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (form == GM_NFKC || form == GM_NFKD ? UTF8PROC_COMPAT : 0);
    int boundary = 0;
    utf8proc_ssize_t added =
        utf8proc_decompose_char((utf8proc_int32_t)code, run->codes + run->count, LONGEST, (utf8proc_option_t)options, &boundary);
    GM_CHECK(added >= 1 && added <= LONGEST, "U+%04X decomposes to %zd characters", code, added);
    run->count += (size_t)added;
    return GM_OK;
}

gm_status gm_unicode_normalize(gm_buffer *text, gm_slice source, gm_normal_form form) {
    gm_codes run = {0};
    gm_status status = GM_OK;
    for (size_t at = 0; at < source.length;) {
        uint32_t code;
        at += (size_t)gm_utf8_decode(source.bytes + at, source.length - at, &code);
        bool unknown = code >= 0x300 && (in_ranges(gm_unicode_unnormalized, gm_unicode_unnormalized_count, code) || is_added(code));
        if (unknown) {
            GM_TRY_GOTO(flush_run(text, &run, form));
            append_code(text, code);
        } else {
            GM_TRY_GOTO(decompose(&run, code, form));
        }
    }
    GM_TRY_GOTO(flush_run(text, &run, form));
    status = gm_buffer_status(text);
done:
    free(run.codes);
    free(run.sorted);
    return status;
}
