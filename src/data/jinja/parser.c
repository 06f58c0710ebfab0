/* Tokens to nodes, by the precedence of Jinja: if-else, or, and, not, comparisons, + and -, ~, * // %, sign; filters and
 * tests bind closer than all of them. */
#include "data/jinja/jinja_parts.h"

#include "base/number.h"

#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 200 };

typedef struct gm_parser {
    gm_jinja *jinja;
    const gm_jinja_token *at;
    int depth;
} gm_parser;

static gm_status parse_expression(gm_parser *parser, gm_jinja_node **node);
static gm_status parse_unary(gm_parser *parser, bool filters, gm_jinja_node **node);

static gm_status fault(const gm_parser *parser, const char *what) {
    const gm_jinja_token *token = parser->at;
    const char *found = token->kind == GM_JINJA_END ? "the end" : token->kind == GM_JINJA_RAW ? "text" : token->text;
    return gm_error(GM_BAD_FILE, "%s: line %d: %s, not at \"%.40s\"", parser->jinja->source, token->line, what, found);
}

static bool is(const gm_parser *parser, gm_jinja_token_kind kind, const char *text) {
    return parser->at->kind == kind && strcmp(parser->at->text, text) == 0;
}

static bool take(gm_parser *parser, gm_jinja_token_kind kind, const char *text) {
    if (!is(parser, kind, text)) return false;
    parser->at++;
    return true;
}

static bool take_operator(gm_parser *parser, const char *text) { return take(parser, GM_JINJA_OPERATOR, text); }
static bool take_name(gm_parser *parser, const char *text) { return take(parser, GM_JINJA_NAME, text); }

static gm_status expect(gm_parser *parser, const char *text) {
    if (take_operator(parser, text)) return GM_OK;
    char what[32] = "\"";
    strcat(strcat(what, text), "\" should stand");
    return fault(parser, what);
}

static gm_status expect_name(gm_parser *parser, const char **name) {
    if (parser->at->kind != GM_JINJA_NAME) return fault(parser, "a name should stand");
    *name = parser->at++->text;
    return GM_OK;
}

static gm_status new_node(gm_parser *parser, gm_jinja_node_kind kind, gm_jinja_node **node) {
    GM_REGION_ALLOC(&parser->jinja->region, *node, 1);
    (*node)->kind = kind;
    (*node)->line = parser->at->line;
    return GM_OK;
}

/* A node around `a`, in its place. */
static gm_status wrap(gm_parser *parser, gm_jinja_node_kind kind, gm_jinja_node **node) {
    gm_jinja_node *a = *node;
    GM_TRY(new_node(parser, kind, node));
    (*node)->a = a;
    return GM_OK;
}

/* ---- literals --------------------------------------------------------------------------------------------------- */

static gm_status parse_list(gm_parser *parser, const char *close, gm_jinja_node **node) {
    GM_TRY(new_node(parser, GM_JINJA_LITERAL_LIST, node));
    for (gm_jinja_node **next = &(*node)->a; !take_operator(parser, close); next = &(*next)->next) {
        GM_TRY(parse_expression(parser, next));
        if (!is(parser, GM_JINJA_OPERATOR, close)) GM_TRY(expect(parser, ","));
    }
    return GM_OK;
}

static gm_status parse_map(gm_parser *parser, gm_jinja_node **node) {
    GM_TRY(new_node(parser, GM_JINJA_LITERAL_MAP, node));
    for (gm_jinja_node **next = &(*node)->a; !take_operator(parser, "}"); next = &(*next)->next) {
        GM_TRY(new_node(parser, GM_JINJA_PAIR, next));
        GM_TRY(parse_expression(parser, &(*next)->a));
        GM_TRY(expect(parser, ":"));
        GM_TRY(parse_expression(parser, &(*next)->b));
        if (!is(parser, GM_JINJA_OPERATOR, "}")) GM_TRY(expect(parser, ","));
    }
    return GM_OK;
}

/* Strings that stand side by side are one. */
static gm_status parse_string(gm_parser *parser, gm_jinja_node **node) {
    gm_buffer text = {0};
    gm_status status = new_node(parser, GM_JINJA_LITERAL_TEXT, node);
    for (; parser->at->kind == GM_JINJA_STRING; parser->at++) gm_buffer_append(&text, parser->at->text, parser->at->length);
    if (status == GM_OK) status = gm_buffer_status(&text);
    if (status == GM_OK) {
        (*node)->text = gm_region_copy(&parser->jinja->region, gm_buffer_string(&text), text.length);
        (*node)->length = text.length;
        if (!(*node)->text) status = GM_NO_MEMORY;
    }
    gm_buffer_free(&text);
    return status;
}

static gm_status parse_name(gm_parser *parser, gm_jinja_node **node) {
    static const struct {
        const char *name;
        gm_jinja_node_kind kind;
        int64_t value;
    } constants[] = {{"true", GM_JINJA_LITERAL_BOOL, 1},  {"True", GM_JINJA_LITERAL_BOOL, 1}, {"false", GM_JINJA_LITERAL_BOOL, 0},
                     {"False", GM_JINJA_LITERAL_BOOL, 0}, {"none", GM_JINJA_LITERAL_NONE, 0}, {"None", GM_JINJA_LITERAL_NONE, 0}};
    GM_TRY(new_node(parser, GM_JINJA_VARIABLE, node));
    (*node)->text = parser->at->text;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (strcmp((*node)->text, constants[i].name) != 0) continue;
        (*node)->kind = constants[i].kind;
        (*node)->integer = constants[i].value;
    }
    parser->at++;
    return GM_OK;
}

static gm_status parse_primary(gm_parser *parser, gm_jinja_node **node) {
    const gm_jinja_token *token = parser->at;
    if (token->kind == GM_JINJA_STRING) return parse_string(parser, node);
    if (token->kind == GM_JINJA_NAME) return parse_name(parser, node);
    if (token->kind == GM_JINJA_INTEGER) {
        GM_TRY(new_node(parser, GM_JINJA_LITERAL_INTEGER, node));
        if (!gm_parse_integer(token->text, token->length, 0, INT32_MAX, &(*node)->integer))
            return fault(parser, "a whole number should stand");
        parser->at++;
        return GM_OK;
    }
    if (take_operator(parser, "[")) return parse_list(parser, "]", node);
    if (take_operator(parser, "{")) return parse_map(parser, node);
    if (take_operator(parser, "(")) {
        GM_TRY(parse_expression(parser, node));
        return is(parser, GM_JINJA_OPERATOR, ",") ? fault(parser, "tuples are not supported") : expect(parser, ")");
    }
    return fault(parser, "an expression should stand");
}

/* ---- what stands behind ----------------------------------------------------------------------------------------- */

static gm_status parse_arguments(gm_parser *parser, gm_jinja_node **first) {
    for (gm_jinja_node **next = first; !take_operator(parser, ")"); next = &(*next)->next) {
        bool keyword = parser->at->kind == GM_JINJA_NAME && parser->at[1].kind == GM_JINJA_OPERATOR && strcmp(parser->at[1].text, "=") == 0;
        const char *name = parser->at->text;
        if (keyword) parser->at += 2;
        GM_TRY(parse_expression(parser, next));
        if (keyword) {
            GM_TRY(wrap(parser, GM_JINJA_KEYWORD, next));
            (*next)->text = name;
        }
        if (!is(parser, GM_JINJA_OPERATOR, ")")) GM_TRY(expect(parser, ","));
    }
    return GM_OK;
}

/* [i], [from:to:step] */
static gm_status parse_subscript(gm_parser *parser, gm_jinja_node **node) {
    GM_TRY(wrap(parser, GM_JINJA_SUBSCRIPT, node));
    gm_jinja_node **parts[] = {&(*node)->b, &(*node)->c, &(*node)->d};
    for (int i = 0; i < 3; i++) {
        if (!is(parser, GM_JINJA_OPERATOR, ":") && !is(parser, GM_JINJA_OPERATOR, "]")) GM_TRY(parse_expression(parser, parts[i]));
        if (i == 2 || !take_operator(parser, ":")) break;
        (*node)->kind = GM_JINJA_SLICE;
    }
    if ((*node)->kind == GM_JINJA_SUBSCRIPT && !(*node)->b) return fault(parser, "an expression should stand");
    return expect(parser, "]");
}

static gm_status parse_postfix(gm_parser *parser, gm_jinja_node **node) {
    for (;;) {
        if (take_operator(parser, ".")) {
            GM_TRY(wrap(parser, GM_JINJA_ATTRIBUTE, node));
            GM_TRY(expect_name(parser, &(*node)->text));
        } else if (take_operator(parser, "[")) {
            GM_TRY(parse_subscript(parser, node));
        } else if (take_operator(parser, "(")) {
            GM_TRY(wrap(parser, GM_JINJA_CALL, node));
            GM_TRY(parse_arguments(parser, &(*node)->b));
        } else {
            return GM_OK;
        }
    }
}

static gm_status parse_test(gm_parser *parser, gm_jinja_node **node) {
    GM_TRY(wrap(parser, GM_JINJA_TEST, node));
    (*node)->integer = take_name(parser, "not");
    GM_TRY(expect_name(parser, &(*node)->text));
    if (take_operator(parser, "(")) return parse_arguments(parser, &(*node)->b);
    static const char *const words[] = {"else", "or", "and", "is", "if", "in", "not"};
    gm_jinja_token_kind kind = parser->at->kind;
    if (kind != GM_JINJA_NAME && kind != GM_JINJA_STRING && kind != GM_JINJA_INTEGER) return GM_OK;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is(parser, GM_JINJA_NAME, words[i])) return GM_OK;
    GM_TRY(parse_primary(parser, &(*node)->b)); /* x is divisibleby 2 */
    return parse_postfix(parser, &(*node)->b);
}

static gm_status parse_filters(gm_parser *parser, gm_jinja_node **node) {
    for (;;) {
        if (take_operator(parser, "|")) {
            GM_TRY(wrap(parser, GM_JINJA_FILTER, node));
            GM_TRY(expect_name(parser, &(*node)->text));
            if (take_operator(parser, "(")) GM_TRY(parse_arguments(parser, &(*node)->b));
        } else if (take_name(parser, "is")) {
            GM_TRY(parse_test(parser, node));
        } else {
            return GM_OK;
        }
    }
}

static gm_status parse_unary(gm_parser *parser, bool filters, gm_jinja_node **node) {
    if (++parser->depth > DEEPEST) return fault(parser, "expressions nest too deeply");
    if (take_operator(parser, "-")) {
        GM_TRY(parse_unary(parser, false, node));
        GM_TRY(wrap(parser, GM_JINJA_NEGATIVE, node));
    } else {
        GM_TRY(parse_primary(parser, node));
    }
    GM_TRY(parse_postfix(parser, node));
    if (filters) GM_TRY(parse_filters(parser, node));
    parser->depth--;
    return GM_OK;
}

/* ---- operators -------------------------------------------------------------------------------------------------- */

/* The operator that stands here, if it is of the level; binary operators from loose to close. */
enum { COMPARISON, SUM, CONCATENATION, PRODUCT, SIGN };
static const char *const level_operators[SIGN][7] = {
    {"==", "!=", "<", "<=", ">", ">=", NULL}, {"+", "-", NULL}, {"~", NULL}, {"*", "//", "%", NULL}};

static const char *take_level(gm_parser *parser, int level) {
    for (const char *const *text = level_operators[level]; *text; text++)
        if (take_operator(parser, *text)) return *text;
    if (level == COMPARISON && take_name(parser, "in")) return "in";
    bool not_in = level == COMPARISON && is(parser, GM_JINJA_NAME, "not") && parser->at[1].kind == GM_JINJA_NAME &&
                  strcmp(parser->at[1].text, "in") == 0;
    if (not_in) parser->at += 2;
    return not_in ? "not in" : NULL;
}

static gm_status parse_level(gm_parser *parser, int level, gm_jinja_node **node) {
    if (level == SIGN) return parse_unary(parser, true, node);
    GM_TRY(parse_level(parser, level + 1, node));
    bool again = false;
    for (const char *text; (text = take_level(parser, level)) != NULL; again = true) {
        if (level == COMPARISON && again) return fault(parser, "chains of comparisons are not supported");
        GM_TRY(wrap(parser, GM_JINJA_BINARY, node));
        (*node)->text = text;
        GM_TRY(parse_level(parser, level + 1, &(*node)->b));
    }
    return GM_OK;
}

static gm_status parse_not(gm_parser *parser, gm_jinja_node **node) {
    if (!take_name(parser, "not")) return parse_level(parser, COMPARISON, node);
    if (++parser->depth > DEEPEST) return fault(parser, "expressions nest too deeply");
    GM_TRY(parse_not(parser, node));
    parser->depth--;
    return wrap(parser, GM_JINJA_NOT, node);
}

static gm_status parse_and(gm_parser *parser, gm_jinja_node **node) {
    GM_TRY(parse_not(parser, node));
    while (take_name(parser, "and")) {
        GM_TRY(wrap(parser, GM_JINJA_AND, node));
        GM_TRY(parse_not(parser, &(*node)->b));
    }
    return GM_OK;
}

static gm_status parse_or(gm_parser *parser, gm_jinja_node **node) {
    GM_TRY(parse_and(parser, node));
    while (take_name(parser, "or")) {
        GM_TRY(wrap(parser, GM_JINJA_OR, node));
        GM_TRY(parse_and(parser, &(*node)->b));
    }
    return GM_OK;
}

static gm_status parse_expression(gm_parser *parser, gm_jinja_node **node) {
    if (++parser->depth > DEEPEST) return fault(parser, "expressions nest too deeply");
    GM_TRY(parse_or(parser, node));
    while (take_name(parser, "if")) {
        gm_jinja_node *chosen = *node;
        GM_TRY(new_node(parser, GM_JINJA_CHOICE, node));
        (*node)->b = chosen;
        GM_TRY(parse_or(parser, &(*node)->a));
        if (take_name(parser, "else")) GM_TRY(parse_expression(parser, &(*node)->c));
    }
    parser->depth--;
    return GM_OK;
}

/* ---- statements ------------------------------------------------------------------------------------------------- */

static gm_status parse_body(gm_parser *parser, gm_jinja_node **first);

static gm_status close_tag(gm_parser *parser) {
    if (parser->at->kind != GM_JINJA_CLOSE) return fault(parser, "the tag should end");
    parser->at++;
    return GM_OK;
}

static gm_status end_block(gm_parser *parser, const char *name) {
    if (parser->at->kind != GM_JINJA_BLOCK) return fault(parser, "a block does not end");
    parser->at++;
    if (!take_name(parser, name)) return fault(parser, "another block should end first");
    return close_tag(parser);
}

/* Behind "if" or "elif", up to the end of the whole. */
static gm_status parse_if(gm_parser *parser, gm_jinja_node **node) {
    if (++parser->depth > DEEPEST) return fault(parser, "blocks nest too deeply");
    GM_TRY(new_node(parser, GM_JINJA_IF, node));
    GM_TRY(parse_expression(parser, &(*node)->a));
    GM_TRY(close_tag(parser));
    GM_TRY(parse_body(parser, &(*node)->b));
    if (parser->at->kind == GM_JINJA_BLOCK && strcmp(parser->at[1].text, "elif") == 0) {
        parser->at += 2;
        GM_TRY(parse_if(parser, &(*node)->c));
        parser->depth--;
        return GM_OK;
    }
    if (parser->at->kind == GM_JINJA_BLOCK && strcmp(parser->at[1].text, "else") == 0) {
        parser->at += 2;
        GM_TRY(close_tag(parser));
        GM_TRY(parse_body(parser, &(*node)->c));
    }
    parser->depth--;
    return end_block(parser, "endif");
}

static gm_status parse_for(gm_parser *parser, gm_jinja_node **node) {
    GM_TRY(new_node(parser, GM_JINJA_FOR, node));
    GM_TRY(expect_name(parser, &(*node)->text));
    if (take_operator(parser, ",")) GM_TRY(expect_name(parser, &(*node)->second));
    if (!take_name(parser, "in")) return fault(parser, "\"in\" should stand");
    GM_TRY(parse_or(parser, &(*node)->a));
    if (take_name(parser, "if")) GM_TRY(parse_expression(parser, &(*node)->c));
    GM_TRY(close_tag(parser));
    GM_TRY(parse_body(parser, &(*node)->b));
    return end_block(parser, "endfor");
}

static gm_status parse_set(gm_parser *parser, gm_jinja_node **node) {
    GM_TRY(new_node(parser, GM_JINJA_SET, node));
    GM_TRY(expect_name(parser, &(*node)->text));
    if (take_operator(parser, ".")) GM_TRY(expect_name(parser, &(*node)->second));
    GM_TRY(expect(parser, "="));
    GM_TRY(parse_expression(parser, &(*node)->a));
    return close_tag(parser);
}

/* Macros write tools: theirs are parsed and left out, a call of one is refused. */
static gm_status parse_macro(gm_parser *parser, gm_jinja_node **node) {
    const char *name;
    gm_jinja_node *arguments, *body;
    GM_TRY(new_node(parser, GM_JINJA_MACRO, node));
    GM_TRY(expect_name(parser, &name));
    GM_TRY(expect(parser, "("));
    GM_TRY(parse_arguments(parser, &arguments));
    GM_TRY(close_tag(parser));
    GM_TRY(parse_body(parser, &body));
    return end_block(parser, "endmacro");
}

static gm_status parse_statement(gm_parser *parser, gm_jinja_node **node) {
    if (take_name(parser, "macro")) return parse_macro(parser, node);
    if (take_name(parser, "if")) return parse_if(parser, node);
    if (take_name(parser, "for")) return parse_for(parser, node);
    if (take_name(parser, "set")) return parse_set(parser, node);
    if (!take_name(parser, "generation")) return fault(parser, "if, for, set and generation are the statements that are supported");
    GM_TRY(new_node(parser, GM_JINJA_GENERATION, node));
    GM_TRY(close_tag(parser));
    GM_TRY(parse_body(parser, &(*node)->b));
    return end_block(parser, "endgeneration");
}

/* True where the block tag that stands here belongs to a statement around. */
static bool ends_body(const gm_parser *parser) {
    static const char *const names[] = {"elif", "else", "endif", "endfor", "endgeneration", "endmacro"};
    if (parser->at->kind == GM_JINJA_END) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (parser->at->kind == GM_JINJA_BLOCK && parser->at[1].kind == GM_JINJA_NAME && strcmp(parser->at[1].text, names[i]) == 0)
            return true;
    return false;
}

static gm_status parse_body(gm_parser *parser, gm_jinja_node **first) {
    if (++parser->depth > DEEPEST) return fault(parser, "blocks nest too deeply");
    for (gm_jinja_node **next = first; !ends_body(parser); next = &(*next)->next) {
        gm_jinja_token_kind kind = parser->at->kind;
        if (kind == GM_JINJA_RAW) {
            GM_TRY(new_node(parser, GM_JINJA_WRITE_TEXT, next));
            (*next)->text = parser->at->text;
            (*next)->length = parser->at++->length;
            continue;
        }
        parser->at++;
        if (kind == GM_JINJA_BLOCK) {
            GM_TRY(parse_statement(parser, next));
        } else {
            GM_TRY(new_node(parser, GM_JINJA_WRITE, next));
            GM_TRY(parse_expression(parser, &(*next)->a));
            GM_TRY(close_tag(parser));
        }
    }
    parser->depth--;
    return GM_OK;
}

gm_status gm_jinja_parse(gm_jinja *jinja, const gm_jinja_tokens *tokens) {
    gm_parser parser = {.jinja = jinja, .at = tokens->items};
    GM_TRY(parse_body(&parser, &jinja->body));
    return parser.at->kind == GM_JINJA_END ? GM_OK : fault(&parser, "a block ends that did not begin");
}

gm_status gm_jinja_compile(gm_jinja **result, const char *source, const char *text, size_t length) {
    gm_jinja_tokens tokens = {0};
    gm_jinja *jinja;
    *result = NULL;
    GM_ALLOC(jinja, 1);
    jinja->source = gm_region_copy(&jinja->region, source, strlen(source));
    gm_status status = jinja->source ? gm_jinja_lex(&tokens, jinja->source, text, length, &jinja->region) : GM_NO_MEMORY;
    if (status == GM_OK) status = gm_jinja_parse(jinja, &tokens);
    free(tokens.items);
    if (status == GM_OK)
        *result = jinja;
    else
        gm_jinja_close(jinja);
    return status;
}

void gm_jinja_close(gm_jinja *jinja) {
    if (!jinja) return;
    gm_region_free(&jinja->region);
    free(jinja);
}
