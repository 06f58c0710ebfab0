/* Oniguruma's dialect, as the `tokenizers` package uses it, to PCRE2's.
 *
 * Most of a pattern goes over as it stands. What means something else in PCRE2 is rewritten:
 *   \s \d \w, \p{…}   Oniguruma 6.9.10 knows Unicode 16 and \s is White_Space: written out as classes, with what was
 *                     assigned after Unicode 14 added, so that an older PCRE2 agrees (a \b looks at both sides with that \w)
 *   [a[^b]&&c]        nested and intersected classes: alternatives and look-aheads of plain ones
 *   (…)               captures nothing, so that a search needs no room for captures
 *   (?m)              "dot matches newline"; ^ and $ look at lines in any case
 * What cannot be rewritten (back references, (?i) in the middle of a group or over a property in a class …) is refused by
 * name: a pattern that matches something slightly different would give other ids in silence. */
#include "io/tokenizer/regex.h"

#include "io/tokenizer/unicode_tables.h"

#include <string.h>

enum { DEEPEST = 50 }; /* of nested groups, and of nested classes */

typedef struct gm_dialect {
    gm_slice pattern;
    size_t at;
    int depth, class_depth;
    bool caseless[DEEPEST + 1]; /* (?i) holds, by depth of groups */
} gm_dialect;

static const char space_class[] = "\\t-\\r \\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
static const char word_class[] = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
/* The fractions and superscripts of Latin-1 are \w in Oniguruma, but not within a class. */
static const char outside_class[] = "\\xb2\\xb3\\xb9\\xbc-\\xbe";

static gm_status refuse(const gm_dialect *d, const char *what) {
    return gm_error(GM_BAD_FILE, "regular expression %.*s: %s at byte %zu is not supported", gm_utf8_shown(d->pattern), d->pattern.bytes,
                    what, d->at);
}

static bool looking_at(const gm_dialect *d, const char *text) {
    size_t length = strlen(text);
    return d->pattern.length - d->at >= length && memcmp(d->pattern.bytes + d->at, text, length) == 0;
}

static int peek(const gm_dialect *d, size_t ahead) {
    return d->pattern.length - d->at > ahead ? (unsigned char)d->pattern.bytes[d->at + ahead] : -1;
}

/* Appends the ranges assigned after Unicode 14 of a category or, by its first letter, a group of them. */
static void append_added(gm_buffer *out, const char *category) {
    for (size_t i = 0; i < gm_unicode_added_count; i++) {
        const gm_added_range *range = &gm_unicode_added[i];
        if (strncmp(range->category, category, strlen(category)) == 0) gm_buffer_format(out, "\\x{%x}-\\x{%x}", range->first, range->last);
    }
}

static void append_word_class(gm_buffer *out) {
    static const char *const categories[] = {"L", "M", "Nd", "Pc"};
    gm_buffer_text(out, word_class);
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++) append_added(out, categories[i]);
}

/* \p{Name}, \P{Name}, \p{^Name}; at the letter. Appends a class's contents. */
static gm_status property(gm_dialect *d, gm_buffer *out, bool *negated) {
    static const char categories[] = "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp "
                                     "C Cc Cf Cn Co ";
    *negated = peek(d, 0) == 'P';
    if (peek(d, 1) != '{') return refuse(d, "a property without braces");
    d->at += 2;
    if (peek(d, 0) == '^') {
        *negated = !*negated;
        d->at++;
    }
    char name[40];
    size_t length = 0;
    for (int c; (c = peek(d, 0)) >= 0 && c != '}' && length < sizeof name - 2; d->at++) name[length++] = (char)c;
    if (peek(d, 0) != '}' || length == 0) return refuse(d, "a property that does not end");
    d->at++;
    memcpy(name + length, " ", 2);
    const char *known = strstr(categories, name);
    name[length] = '\0';
    if (d->class_depth > 0 && d->caseless[d->depth])
        return refuse(d, "a property in a class under (?i)"); /* Oniguruma adds the other cases */
    if (known && (known == categories || known[-1] == ' ')) {
        gm_buffer_format(out, "\\p{%s}", name);
        append_added(out, name);
        return GM_OK;
    }
    static const char *const scripts[] = {"Arabic",   "Armenian", "Bengali",  "Bopomofo", "Cyrillic",  "Devanagari", "Ethiopic", "Georgian",
                                          "Greek",    "Gujarati", "Gurmukhi", "Han",      "Hangul",    "Hebrew",     "Hiragana", "Kannada",
                                          "Katakana", "Khmer",    "Lao",      "Latin",    "Malayalam", "Mongolian",  "Myanmar",  "Oriya",
                                          "Sinhala",  "Tamil",    "Telugu",   "Thaana",   "Thai",      "Tibetan"};
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        if (strcmp(name, scripts[i]) != 0) continue;
        gm_buffer_format(out, "\\p{sc:%s}", name);
        if (strcmp(name, "Han") == 0) gm_buffer_text(out, "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}");
        return GM_OK;
    }
    return refuse(d, "a property of that name");
}

/* \s and its like, at the letter: true where it is one. Appends a class's contents. */
static bool short_class(gm_dialect *d, gm_buffer *out, bool *negated) {
    int c = peek(d, 0);
    switch (c) {
    case 's':
    case 'S': gm_buffer_text(out, space_class); break;
    case 'd':
    case 'D': gm_buffer_text(out, "\\p{Nd}"), append_added(out, "Nd"); break;
    case 'w':
    case 'W': append_word_class(out); break;
    case 'h':
    case 'H': gm_buffer_text(out, "0-9a-fA-F"); break;
    default: return false;
    }
    *negated = c < 'a';
    d->at++;
    return true;
}

/* After a backslash: one character, in a class or outside. */
static gm_status escaped_character(gm_dialect *d, gm_buffer *out) {
    static const char letters[] = "tnrfaev", codes[] = "\t\n\r\f\a\x1b\v";
    int c = peek(d, 0);
    if (c < 0) return refuse(d, "a final backslash");
    const char *letter = strchr(letters, c);
    if (c && letter) {
        gm_buffer_format(out, "\\x%02x", codes[letter - letters]);
        d->at++;
        return GM_OK;
    }
    if (c == 'x' || c == 'u') {
        bool braces = c == 'x' && peek(d, 1) == '{';
        size_t most = braces ? 6 : c == 'u' ? 4 : 2, digits = 0;
        uint32_t code = 0;
        d->at += braces ? 2 : 1;
        for (int h; digits < most && (h = peek(d, 0)) >= 0; digits++, d->at++) {
            const char *hex = "0123456789abcdef", *digit = strchr(hex, h >= 'A' && h <= 'F' ? h + 32 : h);
            if (!h || !digit) break;
            code = code * 16 + (uint32_t)(digit - hex);
        }
        bool whole = digits > 0 && (c != 'u' || digits == 4) && (!braces || peek(d, 0) == '}');
        if (!whole || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return refuse(d, "a malformed code point");
        if (c == 'x' && !braces && code > 0x7f) return refuse(d, "a byte that is no character");
        d->at += braces;
        gm_buffer_format(out, "\\x{%x}", code);
        return GM_OK;
    }
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return refuse(d, "an escape");
    if (c < 0x80) gm_buffer_char(out, '\\');
    size_t size = gm_utf8_size((char)c);
    gm_buffer_append(out, d->pattern.bytes + d->at, size);
    d->at += size;
    return GM_OK;
}

/* What a class, or a part of one, matches: plain items, and expressions of one character for what items cannot say. */
typedef struct gm_class {
    gm_buffer items, others; /* others: "|" before each */
} gm_class;

static gm_status class_body(gm_dialect *d, gm_buffer *out, gm_buffer *plain);

/* An item that begins with a backslash, at it. */
static gm_status class_escape(gm_dialect *d, gm_class *class, bool *is_character) {
    gm_buffer contents = {0};
    bool negated = false;
    gm_status status = GM_OK;
    d->at++;
    *is_character = false;
    if (peek(d, 0) == 'b') {
        gm_buffer_text(&class->items, "\\x08");
        d->at++;
        *is_character = true;
    } else if (peek(d, 0) == 'p' || peek(d, 0) == 'P') {
        status = property(d, &contents, &negated);
    } else if ((peek(d, 0) == 'w' || peek(d, 0) == 'W') && d->caseless[d->depth]) {
        status = refuse(d, "\\w in a class under (?i)"); /* as a property */
    } else if (!short_class(d, &contents, &negated)) {
        status = escaped_character(d, &class->items);
        *is_character = true;
    }
    if (negated)
        gm_buffer_format(&class->others, "|[^%s]", gm_buffer_string(&contents));
    else
        gm_buffer_append(&class->items, gm_buffer_string(&contents), contents.length);
    gm_buffer_pass_failure(&class->items, &contents);
    gm_buffer_free(&contents);
    return status;
}

static gm_status posix_class(gm_dialect *d, gm_class *class) {
    static const struct {
        const char *name;
        char letter;
    } names[] = {{"[:space:]", 's'}, {"[:digit:]", 'd'}, {"[:word:]", 'w'}, {"[:xdigit:]", 'h'}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!looking_at(d, names[i].name)) continue;
        bool negated;
        gm_dialect letter = {.pattern = {&names[i].letter, 1}};
        short_class(&letter, &class->items, &negated);
        d->at += strlen(names[i].name);
        return GM_OK;
    }
    return refuse(d, "a class in [: :]");
}

/* One character, or a range of two; at it. */
static gm_status class_characters(gm_dialect *d, gm_class *class) {
    bool is_character = true;
    for (int end = 0; end < 2; end++) {
        if (peek(d, 0) == '\\') {
            GM_TRY(class_escape(d, class, &is_character));
            if (!is_character && end == 1) return refuse(d, "a range that ends in a class");
            if (!is_character) return peek(d, 0) == '-' && peek(d, 1) != ']' ? refuse(d, "a range that begins with a class") : GM_OK;
        } else {
            int c = peek(d, 0);
            if (c < 0) return refuse(d, "a class that does not end");
            size_t size = gm_utf8_size((char)c);
            if (c < 0x80 && strchr("[]^-\\", c)) gm_buffer_char(&class->items, '\\');
            gm_buffer_append(&class->items, d->pattern.bytes + d->at, size);
            d->at += size;
        }
        if (end == 1 || peek(d, 0) != '-' || peek(d, 1) == ']' || peek(d, 1) == '[' || peek(d, 1) < 0) break;
        if (peek(d, 1) == '&' && peek(d, 2) == '&') break;
        gm_buffer_char(&class->items, '-');
        d->at++;
    }
    return GM_OK;
}

/* Appends the expression of one character that `class` is; *plain its items where those are all of it, else empty. */
static void class_expression(const gm_class *class, gm_buffer *out, gm_buffer *plain) {
    bool items = class->items.length > 0, others = class->others.length > 0;
    if (!items && !others) gm_buffer_text(out, "(?!)");
    if (others) gm_buffer_text(out, "(?:");
    if (items) gm_buffer_format(out, "[%s]", gm_buffer_string(&class->items));
    if (others) gm_buffer_format(out, "%s)", gm_buffer_string(&class->others) + (items ? 0 : 1));
    if (plain && items && !others) gm_buffer_text(plain, gm_buffer_string(&class->items));
    gm_buffer_pass_failure(out, &class->items);
    gm_buffer_pass_failure(out, &class->others);
}

/* One operand of &&, up to the next && or the closing bracket. */
static gm_status class_operand(gm_dialect *d, gm_class *class) {
    for (;;) {
        int c = peek(d, 0);
        if (c < 0) return refuse(d, "a class that does not end");
        if (c == ']' || looking_at(d, "&&")) return GM_OK;
        if (looking_at(d, "[:")) {
            GM_TRY(posix_class(d, class));
        } else if (c == '[') {
            gm_buffer inner = {0}, plain = {0};
            gm_status status = class_body(d, &inner, &plain);
            if (plain.length > 0)
                gm_buffer_text(&class->items, gm_buffer_string(&plain));
            else
                gm_buffer_format(&class->others, "|%s", gm_buffer_string(&inner));
            gm_buffer_pass_failure(&class->items, &inner);
            gm_buffer_pass_failure(&class->items, &plain);
            gm_buffer_free(&inner);
            gm_buffer_free(&plain);
            GM_TRY(status);
        } else {
            GM_TRY(class_characters(d, class));
        }
    }
}

static gm_status class_operands(gm_dialect *d, gm_buffer *ahead, gm_class *class) {
    for (;;) {
        GM_TRY(class_operand(d, class));
        if (peek(d, 0) == ']') return GM_OK;
        d->at += 2; /* && : what came before becomes a look-ahead */
        gm_buffer_text(ahead, "(?=");
        class_expression(class, ahead, NULL);
        gm_buffer_char(ahead, ')');
        gm_buffer_clear(&class->items);
        gm_buffer_clear(&class->others);
    }
}

/* At the opening bracket. Appends an expression of one character; *plain gets the items of a class that is nothing but
 * items, for a class around it. */
static gm_status class_body(gm_dialect *d, gm_buffer *out, gm_buffer *plain) {
    if (++d->class_depth > DEEPEST) return refuse(d, "nesting so deep");
    d->at++;
    bool negated = peek(d, 0) == '^';
    d->at += negated;
    if (peek(d, 0) == ']') return refuse(d, "an empty class");
    gm_class class = {0};
    gm_buffer ahead = {0};
    gm_status status = class_operands(d, &ahead, &class);
    if (status == GM_OK) {
        d->at++;
        d->class_depth--;
        bool simple = ahead.length == 0 && class.others.length == 0;
        if (simple && negated) {
            gm_buffer_format(out, "[^%s]", gm_buffer_string(&class.items));
        } else if (negated || ahead.length > 0) {
            gm_buffer_format(out, "(?:%s%s", negated ? "(?!" : "", gm_buffer_string(&ahead));
            class_expression(&class, out, NULL);
            gm_buffer_text(out, negated ? ")(?s:.))" : ")");
        } else {
            class_expression(&class, out, plain);
        }
    }
    gm_buffer_pass_failure(out, &class.items);
    gm_buffer_pass_failure(out, &class.others);
    gm_buffer_pass_failure(out, &ahead);
    gm_buffer_free(&class.items);
    gm_buffer_free(&class.others);
    gm_buffer_free(&ahead);
    return status;
}

/* A backslash outside a class, at it. */
static gm_status escape(gm_dialect *d, gm_buffer *out) {
    gm_buffer contents = {0};
    bool negated = false, is_class = true;
    gm_status status = GM_OK;
    d->at++;
    int c = peek(d, 0);
    if (c == 'b' || c == 'B') {
        append_word_class(&contents);
        gm_buffer_text(&contents, outside_class);
        const char *w = gm_buffer_string(&contents);
        const char *format = c == 'b' ? "(?:(?<=[%s])(?![%s])|(?<![%s])(?=[%s]))" : "(?:(?<=[%s])(?=[%s])|(?<![%s])(?![%s]))";
        gm_buffer_format(out, format, w, w, w, w);
        d->at++;
        is_class = false;
    } else if (c == 'A' || c == 'z' || c == 'Z') {
        gm_buffer_format(out, "\\%c", c);
        d->at++;
        is_class = false;
    } else if (c == 'p' || c == 'P') {
        status = property(d, &contents, &negated);
    } else if (!short_class(d, &contents, &negated)) {
        status = escaped_character(d, out);
        is_class = false;
    }
    if (c == 'w' || c == 'W') gm_buffer_text(&contents, outside_class);
    if (is_class) gm_buffer_format(out, "[%s%s]", negated ? "^" : "", gm_buffer_string(&contents));
    gm_buffer_pass_failure(out, &contents);
    gm_buffer_free(&contents);
    return status;
}

/* An opening parenthesis, at it. `begins`: nothing of the group around it came before. */
static gm_status group(gm_dialect *d, gm_buffer *out, bool begins) {
    static const char *const kinds[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    if (++d->depth > DEEPEST) return refuse(d, "nesting so deep");
    d->caseless[d->depth] = d->caseless[d->depth - 1];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!looking_at(d, kinds[i])) continue;
        gm_buffer_text(out, kinds[i]);
        d->at += strlen(kinds[i]);
        return GM_OK;
    }
    if (!looking_at(d, "(?")) {
        gm_buffer_text(out, "(?:");
        d->at++;
        return GM_OK;
    }
    d->at += 2;
    gm_buffer_text(out, "(?");
    bool on = true;
    for (int c; (c = peek(d, 0)) == 'i' || c == 'm' || c == '-'; d->at++) {
        if (c == '-') on = false;
        if (c == 'i') d->caseless[d->depth] = on;
        gm_buffer_char(out, c == 'm' ? 's' : (char)c);
    }
    int end = peek(d, 0);
    if (end != ':' && end != ')') return refuse(d, "a group of that kind");
    if (end == ')' && !begins) return refuse(d, "an option in the middle of a group"); /* Oniguruma: to the group's end, | and all */
    if (end == ')') {                                                                  /* the option holds for the group around it */
        d->caseless[d->depth - 1] = d->caseless[d->depth];
        d->depth--;
    }
    gm_buffer_char(out, (char)end);
    d->at++;
    return GM_OK;
}

/* An opening brace outside a class, at it: an interval, or itself. */
static gm_status interval(gm_dialect *d, gm_buffer *out) {
    size_t at = d->at + 1, digits = 0, commas = 0;
    for (; at < d->pattern.length; at++) {
        char c = d->pattern.bytes[at];
        if (c == ',')
            commas++;
        else if (c >= '0' && c <= '9')
            digits++;
        else
            break;
    }
    bool is_interval = at < d->pattern.length && d->pattern.bytes[at] == '}' && commas <= 1 && digits > 0;
    if (!is_interval) {
        gm_buffer_text(out, "\\{");
        d->at++;
        return GM_OK;
    }
    bool from_zero = peek(d, 1) == ',';
    gm_buffer_text(out, from_zero ? "{0" : "{");
    gm_buffer_append(out, d->pattern.bytes + d->at + 1, at - d->at);
    d->at = at + 1;
    /* {n}? is "n or none" and {n,m}+ repeats the repetition: PCRE2 reads both as something else */
    if (peek(d, 0) == '+' || (peek(d, 0) == '?' && commas == 0)) return refuse(d, "a sign after an interval");
    return GM_OK;
}

gm_status gm_regex_translate(gm_buffer *translated, gm_slice pattern) {
    gm_dialect d = {.pattern = pattern};
    bool begins = true;
    if (memchr(pattern.length ? pattern.bytes : "", '\0', pattern.length)) return refuse(&d, "a NUL byte");
    for (int c; (c = peek(&d, 0)) >= 0;) {
        bool stays_at_beginning = false;
        if (c == '\\') {
            GM_TRY(escape(&d, translated));
        } else if (c == '[') {
            GM_TRY(class_body(&d, translated, NULL));
        } else if (c == '(') {
            int depth = d.depth;
            GM_TRY(group(&d, translated, begins));
            stays_at_beginning = begins || d.depth > depth;
        } else if (c == '{') {
            GM_TRY(interval(&d, translated));
        } else {
            if (c == ')' && d.depth-- == 0) return refuse(&d, "a closing parenthesis without an opening one");
            size_t size = gm_utf8_size((char)c);
            gm_buffer_append(translated, pattern.bytes + d.at, size);
            d.at += size;
        }
        begins = stays_at_beginning;
    }
    return gm_buffer_status(translated);
}
