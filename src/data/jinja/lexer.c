/* Tags, and the text between them without the white space that the tags take away: "-" takes all on its side; a block or a
 * comment takes the spaces before it on its line (lstrip_blocks) and the line break behind it (trim_blocks). */
#include "data/jinja/jinja_parts.h"
#include "data/text.h"

#include <ctype.h>
#include <string.h>

typedef struct gm_lexer {
    gm_jinja_tokens *tokens;
    const char *source;
    gm_region *region;
    const char *text; /* with \n as the only line break */
    size_t length, at;
    size_t counted; /* where `line` was counted up to */
    int line;
} gm_lexer;

static int line_at(gm_lexer *lexer, size_t at) {
    for (; lexer->counted < at; lexer->counted++) lexer->line += lexer->text[lexer->counted] == '\n';
    return lexer->line;
}

static gm_status add(gm_lexer *lexer, gm_jinja_token_kind kind, const char *text, size_t length) {
    gm_jinja_tokens *tokens = lexer->tokens;
    GM_GROW(tokens->items, tokens->capacity, tokens->count + 1);
    gm_jinja_token *token = &tokens->items[tokens->count++];
    *token = (gm_jinja_token){.kind = kind, .line = line_at(lexer, lexer->at), .length = length};
    return (token->text = gm_region_copy(lexer->region, text, length)) ? GM_OK : GM_NO_MEMORY;
}

static gm_status fault(gm_lexer *lexer, const char *what) {
    return gm_error(GM_BAD_FILE, "%s: line %d: %s", lexer->source, line_at(lexer, lexer->at), what);
}

static gm_status append_code(gm_lexer *lexer, gm_buffer *out, size_t *at, size_t digits) {
    unsigned code = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = *at < lexer->length ? lexer->text[*at] : '\0';
        if (!isxdigit((unsigned char)c)) return fault(lexer, "a \\x or \\u without its digits");
        code = code * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        ++*at;
    }
    if (code == 0 || (code >= 0xd800 && code < 0xe000)) return fault(lexer, "an escape that is no character");
    if (code < 0x80) {
        gm_buffer_char(out, (char)code);
    } else if (code < 0x800) {
        gm_buffer_char(out, (char)(0xc0 | code >> 6));
        gm_buffer_char(out, (char)(0x80 | (code & 0x3f)));
    } else {
        gm_buffer_char(out, (char)(0xe0 | code >> 12));
        gm_buffer_char(out, (char)(0x80 | (code >> 6 & 0x3f)));
        gm_buffer_char(out, (char)(0x80 | (code & 0x3f)));
    }
    return GM_OK;
}

/* Behind a backslash, as in Python; an escape that is none stays as it is. */
static gm_status append_escape(gm_lexer *lexer, gm_buffer *out, size_t *at) {
    static const char names[] = "ntrabfv\\'\"", values[] = "\n\t\r\a\b\f\v\\'\"";
    char c = lexer->text[(*at)++];
    const char *known = strchr(names, c);
    if (c == 'x') return append_code(lexer, out, at, 2);
    if (c == 'u') return append_code(lexer, out, at, 4);
    if (c == 'U' || c == 'N' || (c >= '0' && c <= '7')) return fault(lexer, "octal escapes, \\U and \\N are not supported");
    if (known && c) {
        gm_buffer_char(out, values[known - names]);
    } else if (c != '\n') {
        gm_buffer_char(out, '\\');
        gm_buffer_char(out, c);
    }
    return GM_OK;
}

static gm_status lex_string(gm_lexer *lexer) {
    char quote = lexer->text[lexer->at];
    size_t at = lexer->at + 1;
    gm_buffer out = {0};
    gm_status status = GM_OK;
    while (at < lexer->length && lexer->text[at] != quote && status == GM_OK) {
        if (lexer->text[at] == '\\' && at + 1 < lexer->length) {
            at++;
            status = append_escape(lexer, &out, &at);
        } else {
            gm_buffer_char(&out, lexer->text[at++]);
        }
    }
    if (status == GM_OK && at == lexer->length) status = fault(lexer, "a string does not end");
    if (status == GM_OK) status = gm_buffer_status(&out);
    if (status == GM_OK) status = add(lexer, GM_JINJA_STRING, gm_buffer_string(&out), out.length);
    gm_buffer_free(&out);
    lexer->at = at + 1;
    return status;
}

static gm_status lex_run(gm_lexer *lexer, gm_jinja_token_kind kind) {
    size_t end = lexer->at;
    while (isalnum((unsigned char)lexer->text[end]) || lexer->text[end] == '_') end++;
    GM_TRY(add(lexer, kind, lexer->text + lexer->at, end - lexer->at));
    lexer->at = end;
    return GM_OK;
}

static gm_status lex_operator(gm_lexer *lexer) {
    static const char *const two[] = {"==", "!=", "<=", ">=", "//"};
    const char *here = lexer->text + lexer->at;
    size_t length = 1;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (strncmp(here, two[i], 2) == 0) length = 2;
    if (!strchr("+-*/%~|.,:()[]{}=<>!", *here)) return fault(lexer, "a character that no expression has");
    GM_TRY(add(lexer, GM_JINJA_OPERATOR, here, length));
    lexer->at += length;
    return GM_OK;
}

/* What stands in a tag, and its end. `close` is "}}" or "%}". *dash: the tag takes the white space behind it. */
static gm_status lex_tag(gm_lexer *lexer, const char *close, char *sign) {
    int depth = 0;
    for (;;) {
        while (lexer->at < lexer->length && isspace((unsigned char)lexer->text[lexer->at])) lexer->at++;
        if (lexer->at >= lexer->length) return fault(lexer, "a tag does not end");
        const char *here = lexer->text + lexer->at;
        bool signed_end = (*here == '-' || *here == '+') && strncmp(here + 1, close, 2) == 0;
        if (depth == 0 && (signed_end || strncmp(here, close, 2) == 0)) {
            *sign = signed_end ? *here : '\0';
            GM_TRY(add(lexer, GM_JINJA_CLOSE, close, 2));
            lexer->at += signed_end ? 3 : 2;
            return GM_OK;
        }
        depth += strchr("([{", *here) ? 1 : strchr(")]}", *here) ? -1 : 0;
        if (*here == '\'' || *here == '"')
            GM_TRY(lex_string(lexer));
        else if (isdigit((unsigned char)*here))
            GM_TRY(lex_run(lexer, GM_JINJA_INTEGER));
        else if (isalpha((unsigned char)*here) || *here == '_')
            GM_TRY(lex_run(lexer, GM_JINJA_NAME));
        else
            GM_TRY(lex_operator(lexer));
    }
}

/* The next "{{", "{%" or "{#", or the end. */
static size_t find_tag(const gm_lexer *lexer) {
    size_t at = lexer->at;
    while (at < lexer->length && !(lexer->text[at] == '{' && strchr("{%#", lexer->text[at + 1]) && lexer->text[at + 1])) at++;
    return at;
}

static gm_status add_raw(gm_lexer *lexer, size_t begin, size_t end, char tag, char sign) {
    if (sign == '-') {
        end = begin + gm_text_rstrip(lexer->text + begin, end - begin);
    } else if ((tag == '%' || tag == '#') && sign != '+') {
        size_t line = end;
        while (line > begin && (lexer->text[line - 1] == ' ' || lexer->text[line - 1] == '\t')) line--;
        if (line == 0 || lexer->text[line - 1] == '\n') end = line;
    }
    return end > begin ? add(lexer, GM_JINJA_RAW, lexer->text + begin, end - begin) : GM_OK;
}

static gm_status lex(gm_lexer *lexer) {
    while (lexer->at < lexer->length) {
        size_t begin = lexer->at, tag = find_tag(lexer);
        if (tag == lexer->length) {
            GM_TRY(add_raw(lexer, begin, tag, '\0', '\0'));
            lexer->at = tag;
            break;
        }
        char kind = lexer->text[tag + 1], sign = lexer->text[tag + 2];
        GM_TRY(add_raw(lexer, begin, tag, kind, sign));
        lexer->at = tag + 2 + (sign == '-' || sign == '+');
        sign = '\0';
        if (kind == '#') {
            const char *end = strstr(lexer->text + lexer->at, "#}");
            if (!end) return fault(lexer, "a comment does not end");
            lexer->at = (size_t)(end - lexer->text) + 2;
            sign = end[-1] == '-' ? '-' : '\0';
        } else {
            GM_TRY(add(lexer, kind == '{' ? GM_JINJA_PRINT : GM_JINJA_BLOCK, lexer->text + tag, 2));
            GM_TRY(lex_tag(lexer, kind == '{' ? "}}" : "%}", &sign));
        }
        if (sign == '-')
            lexer->at += gm_text_lstrip(lexer->text + lexer->at, lexer->length - lexer->at);
        else if (kind != '{' && sign != '+' && lexer->text[lexer->at] == '\n')
            lexer->at++;
    }
    return add(lexer, GM_JINJA_END, "", 0);
}

gm_status gm_jinja_lex(gm_jinja_tokens *tokens, const char *source, const char *text, size_t length, gm_region *region) {
    gm_buffer lines = {0};
    if (memchr(text, '\0', length)) return gm_error(GM_BAD_FILE, "%s: holds a NUL byte", source);
    for (size_t i = 0; i < length; i++) {
        bool cr = text[i] == '\r';
        if (cr && i + 1 < length && text[i + 1] == '\n') i++;
        gm_buffer_char(&lines, cr ? '\n' : text[i]);
    }
    if (lines.length && lines.bytes[lines.length - 1] == '\n') lines.bytes[--lines.length] = '\0';
    gm_lexer lexer = {
        .tokens = tokens, .source = source, .region = region, .text = gm_buffer_string(&lines), .length = lines.length, .line = 1};
    gm_status status = gm_buffer_status(&lines);
    if (status == GM_OK) status = lex(&lexer);
    gm_buffer_free(&lines);
    return status;
}
