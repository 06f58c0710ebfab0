/* Walking the nodes. A name is looked for from the innermost frame outwards; a turn of a loop is a frame, an if is none. */
#include "data/jinja/jinja_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A template comes with somebody's model: what it may take is bounded. */
enum { DEEPEST = 400, MOST_STEPS = 50000000, LEAST_BYTES = 64 << 20, BYTES_A_BYTE = 100 };

typedef struct gm_jinja_variable {
    const char *name;
    gm_jinja_value value;
    struct gm_jinja_variable *next;
} gm_jinja_variable;

struct gm_jinja_frame {
    gm_jinja_variable *variables;
    gm_jinja_frame *outer;
};

gm_status gm_jinja_fault(const gm_jinja_run *run, const gm_jinja_node *node, const char *format, ...) {
    char text[GM_ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return gm_error(GM_BAD_FILE, "%s: line %d: %s", run->jinja->source, node->line, text);
}

gm_status gm_jinja_alloc(gm_jinja_run *run, size_t count, size_t size, void **block) {
    *block = NULL;
    if (count > run->most || (run->allocated += count * size + 16) > run->most)
        return gm_error(GM_BAD_FILE, "%s: the template takes more than %zu MB for one conversation", run->jinja->source, run->most >> 20);
    *block = gm_region_alloc(&run->region, count, size);
    return *block ? GM_OK : GM_NO_MEMORY;
}

gm_status gm_jinja_step(gm_jinja_run *run, const gm_jinja_node *node) {
    if (++run->steps > MOST_STEPS)
        return gm_jinja_fault(run, node, "the template takes more than %d steps for one conversation", MOST_STEPS);
    return run->depth < DEEPEST ? GM_OK : gm_jinja_fault(run, node, "expressions or lists nest too deeply");
}

/* ---- variables -------------------------------------------------------------------------------------------------- */

/* Templates have a few; each that is looked at is a step. */
static gm_jinja_variable *find(gm_jinja_run *run, const gm_jinja_frame *frame, const char *name) {
    for (gm_jinja_variable *v = frame->variables; v; v = v->next) {
        run->steps++;
        if (strcmp(v->name, name) == 0) return v;
    }
    return NULL;
}

static gm_status set(gm_jinja_run *run, const char *name, const gm_jinja_value *value) {
    gm_jinja_variable *variable = find(run, run->frame, name);
    if (!variable) {
        void *block;
        GM_TRY(gm_jinja_alloc(run, 1, sizeof *variable, &block));
        variable = block;
        *variable = (gm_jinja_variable){.name = name, .next = run->frame->variables};
        run->frame->variables = variable;
    }
    variable->value = *value;
    return GM_OK;
}

static gm_jinja_value look_up(gm_jinja_run *run, const char *name) {
    for (const gm_jinja_frame *frame = run->frame; frame; frame = frame->outer) {
        const gm_jinja_variable *variable = find(run, frame, name);
        if (variable) return variable->value;
    }
    return (gm_jinja_value){0};
}

/* ---- expressions ------------------------------------------------------------------------------------------------ */

static gm_status literal_list(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *value) {
    size_t count = 0;
    void *items;
    for (const gm_jinja_node *item = node->a; item; item = item->next) count++;
    GM_TRY(gm_jinja_alloc(run, count, sizeof *value->items, &items));
    *value = (gm_jinja_value){.kind = GM_JINJA_LIST, .items = items};
    for (const gm_jinja_node *item = node->a; item; item = item->next) GM_TRY(gm_jinja_evaluate(run, item, &value->items[value->count++]));
    return GM_OK;
}

static gm_status literal_map(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *value) {
    *value = (gm_jinja_value){.kind = GM_JINJA_MAP};
    for (const gm_jinja_node *pair = node->a; pair; pair = pair->next) {
        gm_jinja_value member;
        if (pair->a->kind != GM_JINJA_LITERAL_TEXT) return gm_jinja_fault(run, pair, "only texts are supported as names of a map");
        GM_TRY(gm_jinja_evaluate(run, pair->b, &member));
        GM_TRY(gm_jinja_put(run, value, pair->a->text, &member));
    }
    return GM_OK;
}

static gm_status attribute(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *of, const char *name, size_t length,
                           gm_jinja_value *value) {
    if (of->kind == GM_JINJA_UNDEFINED) return gm_jinja_fault(run, node, "\"%.*s\" of something undefined", (int)length, name);
    *value = of->kind == GM_JINJA_MAP ? gm_jinja_member(of, name, length) : (gm_jinja_value){0};
    return GM_OK;
}

static gm_status subscript(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *value) {
    gm_jinja_value of, key;
    GM_TRY(gm_jinja_evaluate(run, node->a, &of));
    GM_TRY(gm_jinja_evaluate(run, node->b, &key));
    if (key.kind == GM_JINJA_TEXT && of.kind != GM_JINJA_LIST && of.kind != GM_JINJA_TEXT)
        return attribute(run, node, &of, key.bytes, key.count, value);
    if (of.kind == GM_JINJA_TEXT && key.kind == GM_JINJA_TEXT) return GM_OK; /* content[0]["type"]: undefined */
    if ((of.kind != GM_JINJA_LIST && of.kind != GM_JINJA_TEXT) || key.kind != GM_JINJA_NUMBER)
        return gm_jinja_fault(run, node, "%s as an index of %s", gm_jinja_kind_name(&key), gm_jinja_kind_name(&of));
    int64_t count = (int64_t)(of.kind == GM_JINJA_TEXT ? gm_jinja_characters(run, &of) : of.count);
    int64_t index = key.integer < 0 ? key.integer + count : key.integer;
    if (of.kind == GM_JINJA_TEXT && index >= 0 && index < count)
        *value = gm_jinja_part(&of, gm_jinja_byte(&of, (size_t)index), gm_jinja_byte(&of, (size_t)index + 1));
    else if (of.kind == GM_JINJA_LIST)
        *value = index >= 0 && index < (int64_t)of.count ? of.items[index] : (gm_jinja_value){0};
    return GM_OK;
}

static gm_status contains(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *item, const gm_jinja_value *in, bool *found) {
    *found = false;
    if (in->kind == GM_JINJA_TEXT && item->kind == GM_JINJA_TEXT) {
        *found = gm_jinja_search(run, in, item, 0) != SIZE_MAX;
    } else if (in->kind == GM_JINJA_LIST) {
        for (size_t i = 0; i < in->count && !*found; i++) GM_TRY(gm_jinja_equal(run, node, item, &in->items[i], found));
    } else if (in->kind == GM_JINJA_MAP && item->kind == GM_JINJA_TEXT) {
        const gm_jinja_value *map = in->space ? in->space : in;
        for (size_t i = 0; i < map->count && !*found; i++)
            *found = strlen(map->names[i]) == item->count && memcmp(map->names[i], item->bytes, item->count) == 0;
    } else if (in->kind != GM_JINJA_UNDEFINED) {
        return gm_jinja_fault(run, node, "%s in %s", gm_jinja_kind_name(item), gm_jinja_kind_name(in));
    }
    return GM_OK;
}

static gm_status arithmetic(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *a, const gm_jinja_value *b,
                            gm_jinja_value *value) {
    bool numbers = a->kind == GM_JINJA_NUMBER && b->kind == GM_JINJA_NUMBER;
    int64_t x = a->integer, y = b->integer, result = 0;
    bool divides = *node->text == '/' || *node->text == '%', overflow = false;
    if (!numbers) return gm_jinja_fault(run, node, "%s %s %s", gm_jinja_kind_name(a), node->text, gm_jinja_kind_name(b));
    if (divides && y <= 0) return gm_jinja_fault(run, node, "a division by %lld is not supported", (long long)y);
    switch (*node->text) {
    case '+': overflow = __builtin_add_overflow(x, y, &result); break;
    case '-': overflow = __builtin_sub_overflow(x, y, &result); break;
    case '*': overflow = __builtin_mul_overflow(x, y, &result); break;
    case '%': result = x % y + (x % y < 0 ? y : 0); break; /* rounded down, as in Python */
    default: result = x / y - (x % y < 0);
    }
    *value = gm_jinja_number(result);
    return overflow ? gm_jinja_fault(run, node, "a number is too large") : GM_OK;
}

static gm_status negative(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *value) {
    gm_jinja_value of;
    int64_t result;
    GM_TRY(gm_jinja_evaluate(run, node->a, &of));
    if (of.kind != GM_JINJA_NUMBER) return gm_jinja_fault(run, node, "- %s", gm_jinja_kind_name(&of));
    if (__builtin_sub_overflow(0, of.integer, &result)) return gm_jinja_fault(run, node, "a number is too large");
    *value = gm_jinja_number(result);
    return GM_OK;
}

static gm_status order(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *a, const gm_jinja_value *b,
                       gm_jinja_value *value) {
    if (a->kind != GM_JINJA_NUMBER || b->kind != GM_JINJA_NUMBER)
        return gm_jinja_fault(run, node, "%s %s %s", gm_jinja_kind_name(a), node->text, gm_jinja_kind_name(b));
    bool less = *node->text == '<' ? a->integer < b->integer : b->integer < a->integer;
    *value = gm_jinja_bool(less || (node->text[1] == '=' && a->integer == b->integer));
    return GM_OK;
}

static gm_status binary(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *value) {
    gm_jinja_value a, b;
    const char *text = node->text;
    GM_TRY(gm_jinja_evaluate(run, node->a, &a));
    GM_TRY(gm_jinja_evaluate(run, node->b, &b));
    if (strcmp(text, "==") == 0 || strcmp(text, "!=") == 0) {
        bool equal;
        GM_TRY(gm_jinja_equal(run, node, &a, &b, &equal));
        *value = gm_jinja_bool(equal == (*text == '='));
        return GM_OK;
    }
    if (strcmp(text, "in") == 0 || strcmp(text, "not in") == 0) {
        bool found;
        GM_TRY(contains(run, node, &a, &b, &found));
        *value = gm_jinja_bool(found == (*text == 'i'));
        return GM_OK;
    }
    if (*text == '<' || *text == '>') return order(run, node, &a, &b, value);
    if (*text == '~') {
        GM_TRY(gm_jinja_as_text(run, node, &a, &a));
        GM_TRY(gm_jinja_as_text(run, node, &b, &b));
        return gm_jinja_join(run, &a, &b, value);
    }
    bool texts = a.kind == GM_JINJA_TEXT && b.kind == GM_JINJA_TEXT;
    return *text == '+' && texts ? gm_jinja_join(run, &a, &b, value) : arithmetic(run, node, &a, &b, value);
}

static gm_status choose(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *value) {
    GM_TRY(gm_jinja_evaluate(run, node->a, value));
    switch (node->kind) {
    case GM_JINJA_AND: return gm_jinja_truth(value) ? gm_jinja_evaluate(run, node->b, value) : GM_OK;
    case GM_JINJA_OR: return gm_jinja_truth(value) ? GM_OK : gm_jinja_evaluate(run, node->b, value);
    case GM_JINJA_NOT: *value = gm_jinja_bool(!gm_jinja_truth(value)); return GM_OK;
    default: /* GM_JINJA_CHOICE */
        if (gm_jinja_truth(value)) return gm_jinja_evaluate(run, node->b, value);
        *value = (gm_jinja_value){0};
        return node->c ? gm_jinja_evaluate(run, node->c, value) : GM_OK;
    }
}

static gm_status evaluate(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *value) {
    gm_jinja_value of;
    switch (node->kind) {
    case GM_JINJA_LITERAL_TEXT: *value = (gm_jinja_value){.kind = GM_JINJA_TEXT, .bytes = node->text, .count = node->length}; return GM_OK;
    case GM_JINJA_LITERAL_INTEGER: *value = gm_jinja_number(node->integer); return GM_OK;
    case GM_JINJA_LITERAL_BOOL: *value = gm_jinja_bool(node->integer != 0); return GM_OK;
    case GM_JINJA_LITERAL_NONE: *value = (gm_jinja_value){.kind = GM_JINJA_NONE}; return GM_OK;
    case GM_JINJA_LITERAL_LIST: return literal_list(run, node, value);
    case GM_JINJA_LITERAL_MAP: return literal_map(run, node, value);
    case GM_JINJA_VARIABLE: *value = look_up(run, node->text); return GM_OK;
    case GM_JINJA_ATTRIBUTE:
        GM_TRY(gm_jinja_evaluate(run, node->a, &of));
        return attribute(run, node, &of, node->text, strlen(node->text), value);
    case GM_JINJA_SUBSCRIPT: return subscript(run, node, value);
    case GM_JINJA_SLICE: GM_TRY(gm_jinja_evaluate(run, node->a, &of)); return gm_jinja_slice(run, node, &of, value);
    case GM_JINJA_CALL: return gm_jinja_call(run, node, value);
    case GM_JINJA_FILTER: return gm_jinja_filter(run, node, value);
    case GM_JINJA_TEST: return gm_jinja_test(run, node, value);
    case GM_JINJA_NEGATIVE: return negative(run, node, value);
    case GM_JINJA_BINARY: return binary(run, node, value);
    case GM_JINJA_AND:
    case GM_JINJA_OR:
    case GM_JINJA_NOT:
    case GM_JINJA_CHOICE: return choose(run, node, value);
    default: GM_CHECK(false, "a node of kind %d as an expression", (int)node->kind); return GM_FAIL;
    }
}

gm_status gm_jinja_evaluate(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *value) {
    *value = (gm_jinja_value){0};
    GM_TRY(gm_jinja_step(run, node));
    run->depth++;
    gm_status status = evaluate(run, node, value);
    run->depth--;
    return status;
}

/* ---- statements ------------------------------------------------------------------------------------------------- */

static gm_status execute(gm_jinja_run *run, const gm_jinja_node *first);

/* What a loop goes over: a list, or the names of a map. */
static gm_status loop_items(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *items) {
    gm_jinja_value all;
    void *kept;
    GM_TRY(gm_jinja_evaluate(run, node->a, &all));
    if (all.kind == GM_JINJA_UNDEFINED) all = (gm_jinja_value){.kind = GM_JINJA_LIST};
    if (all.kind != GM_JINJA_LIST || node->second)
        return gm_jinja_fault(run, node, "a loop over %s is not supported", gm_jinja_kind_name(&all));
    *items = all;
    if (!node->c) return GM_OK;
    GM_TRY(gm_jinja_alloc(run, all.count, sizeof *items->items, &kept));
    *items = (gm_jinja_value){.kind = GM_JINJA_LIST, .items = kept};
    gm_jinja_frame frame = {.outer = run->frame};
    gm_status status = GM_OK;
    run->frame = &frame;
    for (size_t i = 0; i < all.count && status == GM_OK; i++) {
        gm_jinja_value takes = {0};
        status = set(run, node->text, &all.items[i]);
        if (status == GM_OK) status = gm_jinja_evaluate(run, node->c, &takes);
        if (gm_jinja_truth(&takes)) items->items[items->count++] = all.items[i];
    }
    run->frame = frame.outer;
    return status;
}

/* The variable `loop` of a turn. */
static gm_status set_loop(gm_jinja_run *run, const gm_jinja_value *items, size_t turn) {
    int64_t i = (int64_t)turn, n = (int64_t)items->count;
    static const char *const names[] = {"index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem", "nextitem"};
    enum { MEMBERS = sizeof names / sizeof *names };
    const gm_jinja_value undefined = {0};
    const gm_jinja_value members[MEMBERS] = {gm_jinja_number(i + 1),
                                             gm_jinja_number(i),
                                             gm_jinja_bool(i == 0),
                                             gm_jinja_bool(i == n - 1),
                                             gm_jinja_number(n),
                                             gm_jinja_number(n - i),
                                             gm_jinja_number(n - i - 1),
                                             i > 0 ? items->items[i - 1] : undefined,
                                             i < n - 1 ? items->items[i + 1] : undefined};
    void *copy;
    GM_TRY(gm_jinja_alloc(run, MEMBERS, sizeof *members, &copy));
    memcpy(copy, members, sizeof members);
    gm_jinja_value loop = {.kind = GM_JINJA_MAP, .items = copy, .names = (const char **)(uintptr_t)names, .count = MEMBERS};
    return set(run, "loop", &loop);
}

static gm_status run_for(gm_jinja_run *run, const gm_jinja_node *node) {
    gm_jinja_value items = {0};
    GM_TRY(loop_items(run, node, &items));
    gm_status status = GM_OK;
    for (size_t i = 0; i < items.count && status == GM_OK; i++) {
        gm_jinja_frame frame = {.outer = run->frame};
        run->frame = &frame;
        status = set(run, node->text, &items.items[i]);
        if (status == GM_OK) status = set_loop(run, &items, i);
        if (status == GM_OK) status = execute(run, node->b);
        run->frame = frame.outer;
    }
    return status;
}

static gm_status run_set(gm_jinja_run *run, const gm_jinja_node *node) {
    gm_jinja_value value;
    GM_TRY(gm_jinja_evaluate(run, node->a, &value));
    if (!node->second) return set(run, node->text, &value);
    gm_jinja_value space = look_up(run, node->text);
    if (!space.space) return gm_jinja_fault(run, node, "\"%s\" is no namespace", node->text);
    return gm_jinja_put(run, &space, node->second, &value);
}

static gm_status put_out(gm_jinja_run *run, const gm_jinja_node *node, const char *bytes, const gm_mark *marks, size_t count) {
    if ((run->written += count) > run->most)
        return gm_jinja_fault(run, node, "the template writes more than %zu MB for one conversation", run->most >> 20);
    return gm_marked_append(run->out, bytes, marks, count, run->also);
}

static gm_status run_write(gm_jinja_run *run, const gm_jinja_node *node) {
    gm_jinja_value value, text;
    GM_TRY(gm_jinja_evaluate(run, node->a, &value));
    GM_TRY(gm_jinja_as_text(run, node, &value, &text));
    return put_out(run, node, text.bytes, text.marks, text.count);
}

static gm_status execute_one(gm_jinja_run *run, const gm_jinja_node *node) {
    gm_jinja_value value;
    switch (node->kind) {
    case GM_JINJA_WRITE_TEXT: return put_out(run, node, node->text, NULL, node->length);
    case GM_JINJA_WRITE: return run_write(run, node);
    case GM_JINJA_SET: return run_set(run, node);
    case GM_JINJA_FOR: return run_for(run, node);
    case GM_JINJA_IF: GM_TRY(gm_jinja_evaluate(run, node->a, &value)); return execute(run, gm_jinja_truth(&value) ? node->b : node->c);
    case GM_JINJA_MACRO: return GM_OK;
    default: /* GM_JINJA_GENERATION */
        run->also = GM_MARK_GENERATION;
        GM_TRY(execute(run, node->b));
        run->also = 0;
        return GM_OK;
    }
}

static gm_status execute(gm_jinja_run *run, const gm_jinja_node *first) {
    gm_status status = GM_OK;
    run->depth++;
    for (const gm_jinja_node *node = first; node && status == GM_OK; node = node->next) {
        status = gm_jinja_step(run, node);
        if (status == GM_OK) status = execute_one(run, node);
    }
    run->depth--;
    return status;
}

/* ---- a conversation --------------------------------------------------------------------------------------------- */

static gm_status set_messages(gm_jinja_run *run) {
    const gm_jinja_input *input = run->input;
    void *items;
    GM_TRY(gm_jinja_alloc(run, input->count, sizeof(gm_jinja_value), &items));
    gm_jinja_value list = {.kind = GM_JINJA_LIST, .items = items, .count = input->count};
    for (size_t i = 0; i < input->count; i++) {
        gm_jinja_value role = gm_jinja_text(input->messages[i].role), content = gm_jinja_text(input->messages[i].content);
        void *block;
        GM_TRY(gm_jinja_alloc(run, content.count, sizeof(gm_mark), &block));
        gm_mark *marks = block;
        for (size_t at = 0; at < content.count; at++) marks[at] = (gm_mark)(i + 1);
        content.marks = marks;
        list.items[i] = (gm_jinja_value){.kind = GM_JINJA_MAP};
        GM_TRY(gm_jinja_put(run, &list.items[i], "role", &role));
        GM_TRY(gm_jinja_put(run, &list.items[i], "content", &content));
    }
    return set(run, "messages", &list);
}

static gm_status set_globals(gm_jinja_run *run) {
    const gm_jinja_value none = {.kind = GM_JINJA_NONE}, no = gm_jinja_bool(false);
    GM_TRY(set(run, "tools", &none));
    GM_TRY(set(run, "documents", &none));
    GM_TRY(set(run, "add_generation_prompt", &no));
    if (run->input->bos) {
        gm_jinja_value bos = gm_jinja_text(run->input->bos);
        GM_TRY(set(run, "bos_token", &bos));
    }
    if (run->input->eos) {
        gm_jinja_value eos = gm_jinja_text(run->input->eos);
        GM_TRY(set(run, "eos_token", &eos));
    }
    return set_messages(run);
}

gm_status gm_jinja_render(const gm_jinja *jinja, const gm_jinja_input *input, gm_marked_text *out) {
    GM_CHECK(input->count <= GM_MARK_PLACE, "%zu messages", input->count);
    gm_jinja_frame frame = {0};
    gm_jinja_run run = {.jinja = jinja, .input = input, .frame = &frame, .out = out, .most = LEAST_BYTES};
    for (size_t i = 0; i < input->count; i++) run.most += BYTES_A_BYTE * (strlen(input->messages[i].content) + 100);
    gm_status status = set_globals(&run);
    if (status == GM_OK) status = execute(&run, jinja->body);
    gm_region_free(&run.region);
    return status;
}
