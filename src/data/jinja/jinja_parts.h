/* Inside of the templates: lexer.c makes tokens, parser.c nodes, run.c walks them, value.c knows texts, lists and maps,
 * call.c what can be called. */
#ifndef GM_DATA_JINJA_PARTS_H
#define GM_DATA_JINJA_PARTS_H

#include "data/jinja/jinja.h"

/* ---- tokens ----------------------------------------------------------------------------------------------------- */

typedef enum gm_jinja_token_kind {
    GM_JINJA_RAW,   /* text outside of all tags, as it will be written */
    GM_JINJA_PRINT, /* {{ */
    GM_JINJA_BLOCK, /* {% */
    GM_JINJA_CLOSE, /* }} or %} */
    GM_JINJA_NAME,
    GM_JINJA_STRING, /* decoded */
    GM_JINJA_INTEGER,
    GM_JINJA_OPERATOR,
    GM_JINJA_END
} gm_jinja_token_kind;

typedef struct gm_jinja_token {
    gm_jinja_token_kind kind;
    int line;
    const char *text; /* length, and a NUL */
    size_t length;
} gm_jinja_token;

typedef struct gm_jinja_tokens {
    gm_jinja_token *items; /* count, owned; the last is GM_JINJA_END. Their texts are the region's */
    size_t count, capacity;
} gm_jinja_tokens;

gm_status gm_jinja_lex(gm_jinja_tokens *tokens, const char *source, const char *text, size_t length, gm_region *region);

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

typedef enum gm_jinja_node_kind {
    /* expressions */
    GM_JINJA_LITERAL_TEXT,    /* text */
    GM_JINJA_LITERAL_INTEGER, /* integer */
    GM_JINJA_LITERAL_BOOL,    /* integer */
    GM_JINJA_LITERAL_NONE,
    GM_JINJA_LITERAL_LIST, /* a: the first element */
    GM_JINJA_LITERAL_MAP,  /* a: the first pair */
    GM_JINJA_PAIR,         /* a: key, b: value */
    GM_JINJA_VARIABLE,     /* text */
    GM_JINJA_ATTRIBUTE,    /* a.text */
    GM_JINJA_SUBSCRIPT,    /* a[b] */
    GM_JINJA_SLICE,        /* a[b:c:d], each of b, c and d may be NULL */
    GM_JINJA_CALL,         /* a(b, …) */
    GM_JINJA_KEYWORD,      /* text=a, among arguments */
    GM_JINJA_FILTER,       /* a | text(b, …) */
    GM_JINJA_TEST,         /* a is text(b, …); integer: is not */
    GM_JINJA_NOT,          /* a */
    GM_JINJA_NEGATIVE,     /* a */
    GM_JINJA_AND,          /* a, b */
    GM_JINJA_OR,           /* a, b */
    GM_JINJA_BINARY,       /* a text b: == != < <= > >= in "not in" + - * // % ~ */
    GM_JINJA_CHOICE,       /* b if a else c (c may be NULL) */
    /* statements */
    GM_JINJA_WRITE_TEXT, /* text */
    GM_JINJA_WRITE,      /* a */
    GM_JINJA_IF,         /* if a, body b, else c */
    GM_JINJA_FOR,        /* for text in a, body b, if c; second: for text, second in a */
    GM_JINJA_SET,        /* text = a; second: text.second = a */
    GM_JINJA_GENERATION, /* body b */
    GM_JINJA_MACRO,      /* nothing of it is kept */
} gm_jinja_node_kind;

typedef struct gm_jinja_node gm_jinja_node;
struct gm_jinja_node {
    gm_jinja_node_kind kind;
    int line;
    int64_t integer;
    const char *text, *second;
    size_t length; /* of the text */
    gm_jinja_node *a, *b, *c, *d;
    gm_jinja_node *next; /* statement, element, argument */
};

struct gm_jinja {
    gm_region region; /* all below */
    const char *source;
    gm_jinja_node *body;
};

gm_status gm_jinja_parse(gm_jinja *jinja, const gm_jinja_tokens *tokens);

/* ---- values ----------------------------------------------------------------------------------------------------- */

typedef enum gm_jinja_kind {
    GM_JINJA_UNDEFINED,
    GM_JINJA_NONE,
    GM_JINJA_BOOLEAN, /* integer */
    GM_JINJA_NUMBER,  /* integer */
    GM_JINJA_TEXT,
    GM_JINJA_LIST,
    GM_JINJA_MAP
} gm_jinja_kind;

typedef struct gm_jinja_value gm_jinja_value;
struct gm_jinja_value {
    gm_jinja_kind kind;
    int64_t integer;
    const char *bytes; /* of a text: count bytes, with their marks, or NULL where all are the template's */
    const gm_mark *marks;
    size_t count;          /* of the text, the list or the map */
    gm_jinja_value *items; /* of a list or a map */
    const char **names;    /* of a map */
    gm_jinja_value *space; /* a namespace: the map itself lies there, so that a set is seen by all */
};

typedef struct gm_jinja_frame gm_jinja_frame;

typedef struct gm_jinja_run {
    const gm_jinja *jinja;
    const gm_jinja_input *input;
    gm_jinja_frame *frame; /* innermost */
    gm_marked_text *out;
    gm_mark also;                    /* GM_MARK_GENERATION within such a block */
    size_t allocated, written, most; /* bytes of values, of output; how many of each there may be */
    size_t steps;                    /* nodes visited, elements compared, stretches of text looked through */
    int depth;
    gm_region region; /* all values */
} gm_jinja_run;

gm_status gm_jinja_fault(const gm_jinja_run *run, const gm_jinja_node *node, const char *format, ...) GM_PRINTF(3, 4);
/* Counts what the template does, a node or an element of a list; GM_BAD_FILE past the most steps and at the greatest depth. */
gm_status gm_jinja_step(gm_jinja_run *run, const gm_jinja_node *node);
/* Counts a look through so many bytes of a text; the next step tells whether that was too much. */
static inline void gm_jinja_spend(gm_jinja_run *run, size_t bytes) { run->steps += bytes / 64; }
gm_status gm_jinja_alloc(gm_jinja_run *run, size_t count, size_t size, void **block);
gm_status gm_jinja_evaluate(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *value);

static inline gm_jinja_value gm_jinja_bool(bool value) { return (gm_jinja_value){.kind = GM_JINJA_BOOLEAN, .integer = value}; }
static inline gm_jinja_value gm_jinja_number(int64_t value) { return (gm_jinja_value){.kind = GM_JINJA_NUMBER, .integer = value}; }
gm_jinja_value gm_jinja_text(const char *text); /* borrowed */
gm_jinja_value gm_jinja_part(const gm_jinja_value *text, size_t begin, size_t end);

bool gm_jinja_truth(const gm_jinja_value *value);
const char *gm_jinja_kind_name(const gm_jinja_value *value);
/* A map's member, undefined where it has none. */
gm_jinja_value gm_jinja_member(const gm_jinja_value *map, const char *name, size_t length);
gm_status gm_jinja_put(gm_jinja_run *run, gm_jinja_value *map, const char *name, const gm_jinja_value *value);
/* Where `part` first stands in `text`, from `from` on; SIZE_MAX: nowhere. */
size_t gm_jinja_search(gm_jinja_run *run, const gm_jinja_value *text, const gm_jinja_value *part, size_t from);
size_t gm_jinja_characters(gm_jinja_run *run, const gm_jinja_value *text);
size_t gm_jinja_byte(const gm_jinja_value *text, size_t character); /* where the character of this number begins */
/* A text put together of pieces that are `count` bytes in all; without `marked` none of them has marks. */
typedef struct gm_jinja_writer {
    char *bytes;
    gm_mark *marks;
    size_t count; /* written so far */
} gm_jinja_writer;
gm_status gm_jinja_begin(gm_jinja_run *run, size_t count, bool marked, gm_jinja_writer *writer);
void gm_jinja_write(gm_jinja_writer *writer, const gm_jinja_value *piece);
gm_jinja_value gm_jinja_written(const gm_jinja_writer *writer);
gm_status gm_jinja_join(gm_jinja_run *run, const gm_jinja_value *a, const gm_jinja_value *b, gm_jinja_value *result);
/* A value as the text that it is written as. */
gm_status gm_jinja_as_text(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *value, gm_jinja_value *text);
/* A step for each element that is compared, as a list may hold another many times over, and that in turn. */
gm_status gm_jinja_equal(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *a, const gm_jinja_value *b, bool *equal);
gm_status gm_jinja_slice(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *value, gm_jinja_value *result);

gm_status gm_jinja_call(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *result);
gm_status gm_jinja_filter(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *result);
gm_status gm_jinja_test(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *result);

#endif
