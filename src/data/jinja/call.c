/* Functions, methods of texts, filters and tests: those that the published templates call for conversations. */
#include "data/jinja/jinja_parts.h"
#include "data/text.h"

#include <string.h>

enum { MOST_ARGUMENTS = 3 };

typedef struct gm_arguments {
    gm_jinja_value values[MOST_ARGUMENTS];
    size_t count;
} gm_arguments;

/* Positional ones only. */
static gm_status arguments(gm_jinja_run *run, const gm_jinja_node *node, gm_arguments *all) {
    all->count = 0;
    for (const gm_jinja_node *argument = node->b; argument; argument = argument->next) {
        if (all->count == MOST_ARGUMENTS || argument->kind == GM_JINJA_KEYWORD)
            return gm_jinja_fault(run, argument, "arguments by name and more than %d are not supported here", MOST_ARGUMENTS);
        GM_TRY(gm_jinja_evaluate(run, argument, &all->values[all->count++]));
    }
    return GM_OK;
}

static bool is_text(const gm_arguments *all, size_t index) { return index < all->count && all->values[index].kind == GM_JINJA_TEXT; }

static bool is_word(const gm_arguments *all, size_t index, const char *word) {
    const gm_jinja_value *value = &all->values[index];
    return is_text(all, index) && value->count == strlen(word) && memcmp(value->bytes, word, value->count) == 0;
}

/* ---- texts ------------------------------------------------------------------------------------------------------ */

/* str.strip: white space, or the characters of `set`, which are ASCII. */
static gm_status strip(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *text, const gm_jinja_value *set, bool left,
                       bool right, gm_jinja_value *result) {
    size_t begin = 0, end = text->count;
    if (!set) {
        if (right) end = gm_text_rstrip(text->bytes, end);
        if (left) begin = gm_text_lstrip(text->bytes, end);
    } else {
        for (size_t i = 0; i < set->count; i++)
            if ((unsigned char)set->bytes[i] >= 0x80)
                return gm_jinja_fault(run, node, "strip of other characters than ASCII is not supported");
        while (right && end > 0 && memchr(set->bytes, text->bytes[end - 1], set->count)) end--;
        while (left && begin < end && memchr(set->bytes, text->bytes[begin], set->count)) begin++;
    }
    *result = gm_jinja_part(text, begin, end);
    return GM_OK;
}

static bool is_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

/* Whether `title` makes a capital behind `c`: the method behind all that is no letter, the filter behind white space and what
 * opens or links words. */
static bool begins_word(char c, bool filter) {
    static const char before[] = "-({[< \t\n\v\f\r\x1c\x1d\x1e\x1f";
    return filter ? memchr(before, c, sizeof before - 1) != NULL : !is_letter(c);
}

/* upper, lower, title and capitalize, told by their first letter; of ASCII. */
static gm_status change_case(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *text, const char *name,
                             gm_jinja_value *result) {
    void *block;
    GM_TRY(gm_jinja_alloc(run, text->count + 1, 1, &block));
    char *bytes = block;
    bool filter = node->kind == GM_JINJA_FILTER;
    for (size_t i = 0; i < text->count; i++) {
        char c = text->bytes[i];
        if ((unsigned char)c >= 0x80) return gm_jinja_fault(run, node, "%s of other characters than ASCII is not supported", name);
        bool upper = *name == 'u' || (*name == 't' && (i == 0 || begins_word(text->bytes[i - 1], filter))) || (*name == 'c' && i == 0);
        bytes[i] = !is_letter(c) ? c : (char)(upper ? c & ~0x20 : c | 0x20);
    }
    *result = *text;
    result->bytes = bytes;
    return GM_OK;
}

static gm_status split(gm_jinja_run *run, const gm_jinja_value *text, const gm_jinja_value *at, gm_jinja_value *result) {
    size_t count = 1;
    void *items;
    for (size_t i = gm_jinja_search(run, text, at, 0); i != SIZE_MAX; i = gm_jinja_search(run, text, at, i + at->count)) count++;
    GM_TRY(gm_jinja_alloc(run, count, sizeof *result->items, &items));
    *result = (gm_jinja_value){.kind = GM_JINJA_LIST, .items = items, .count = count};
    size_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        size_t end = i == count - 1 ? text->count : gm_jinja_search(run, text, at, begin);
        result->items[i] = gm_jinja_part(text, begin, end);
        begin = end + at->count;
    }
    return GM_OK;
}

/* Two passes, lengths and then bytes: a result that grew piece by piece would take room as the square of its length. */
static gm_status join(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *list, const gm_jinja_value *between,
                      gm_jinja_value *result) {
    const gm_jinja_value nothing = gm_jinja_text("");
    gm_jinja_value item;
    gm_jinja_writer writer;
    if (!between) between = &nothing;
    size_t count = list->count > 1 ? (list->count - 1) * between->count : 0;
    bool marked = between->marks;
    for (size_t i = 0; i < list->count; i++) {
        GM_TRY(gm_jinja_as_text(run, node, &list->items[i], &item));
        count += item.count;
        marked = marked || item.marks;
    }
    GM_TRY(gm_jinja_begin(run, count, marked, &writer));
    for (size_t i = 0; i < list->count; i++) {
        if (i) gm_jinja_write(&writer, between);
        GM_TRY(gm_jinja_as_text(run, node, &list->items[i], &item));
        gm_jinja_write(&writer, &item);
    }
    *result = gm_jinja_written(&writer);
    return GM_OK;
}

static gm_status replace(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *text, const gm_jinja_value *from,
                         const gm_jinja_value *to, gm_jinja_value *result) {
    gm_jinja_value parts;
    if (from->count == 0) return gm_jinja_fault(run, node, "replace of nothing is not supported");
    GM_TRY(split(run, text, from, &parts));
    return join(run, node, &parts, to, result);
}

static bool stands_at(const gm_jinja_value *text, const gm_jinja_value *part, bool end) {
    return part->count <= text->count && memcmp(text->bytes + (end ? text->count - part->count : 0), part->bytes, part->count) == 0;
}

static bool is_case(const char *name) {
    return strcmp(name, "upper") == 0 || strcmp(name, "lower") == 0 || strcmp(name, "title") == 0 || strcmp(name, "capitalize") == 0;
}

static gm_status text_method(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *text, const char *name,
                             const gm_arguments *all, gm_jinja_value *result) {
    const gm_jinja_value *first = &all->values[0];
    bool one = all->count == 1 && is_text(all, 0), none = all->count == 0;
    bool left = strcmp(name, "lstrip") == 0, right = strcmp(name, "rstrip") == 0;
    if ((left || right || strcmp(name, "strip") == 0) && (one || none))
        return strip(run, node, text, one ? first : NULL, !right, !left, result);
    if (is_case(name) && none) return change_case(run, node, text, name, result);
    if (strcmp(name, "split") == 0 && one && first->count) return split(run, text, first, result);
    if (strcmp(name, "replace") == 0 && all->count == 2 && is_text(all, 0) && is_text(all, 1))
        return replace(run, node, text, first, &all->values[1], result);
    bool end = strcmp(name, "endswith") == 0;
    if ((end || strcmp(name, "startswith") == 0) && one) {
        *result = gm_jinja_bool(stands_at(text, first, end));
        return GM_OK;
    }
    return gm_jinja_fault(run, node, "the method \"%s\" with these arguments is not supported", name);
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

static gm_status make_namespace(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *result) {
    void *block;
    GM_TRY(gm_jinja_alloc(run, 1, sizeof *result, &block));
    *result = (gm_jinja_value){.kind = GM_JINJA_MAP, .space = block};
    result->space->kind = GM_JINJA_MAP;
    for (const gm_jinja_node *argument = node->b; argument; argument = argument->next) {
        gm_jinja_value value;
        if (argument->kind != GM_JINJA_KEYWORD) return gm_jinja_fault(run, argument, "namespace takes name=value");
        GM_TRY(gm_jinja_evaluate(run, argument->a, &value));
        GM_TRY(gm_jinja_put(run, result, argument->text, &value));
    }
    return GM_OK;
}

static gm_status make_range(gm_jinja_run *run, const gm_jinja_node *node, const gm_arguments *all, gm_jinja_value *result) {
    for (size_t i = 0; i < all->count; i++)
        if (all->values[i].kind != GM_JINJA_NUMBER) return gm_jinja_fault(run, node, "range takes whole numbers");
    if (all->count < 1 || all->count > 2) return gm_jinja_fault(run, node, "range takes one number or two");
    int64_t begin = all->count == 2 ? all->values[0].integer : 0, end = all->values[all->count - 1].integer;
    int64_t count;
    if (end < begin) end = begin;
    if (__builtin_sub_overflow(end, begin, &count)) return gm_jinja_fault(run, node, "a range is too long");
    void *items;
    GM_TRY(gm_jinja_alloc(run, (size_t)count, sizeof *result->items, &items));
    *result = (gm_jinja_value){.kind = GM_JINJA_LIST, .items = items, .count = (size_t)count};
    for (int64_t i = 0; i < count; i++) result->items[i] = gm_jinja_number(begin + i);
    return GM_OK;
}

static gm_status call_function(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *result) {
    const char *name = node->a->text;
    gm_arguments all;
    if (strcmp(name, "namespace") == 0) return make_namespace(run, node, result);
    bool raises = strcmp(name, "raise_exception") == 0;
    if (!raises && strcmp(name, "range") != 0) return gm_jinja_fault(run, node, "the function \"%s\" is not supported", name);
    GM_TRY(arguments(run, node, &all));
    if (!raises) return make_range(run, node, &all, result);
    return gm_jinja_fault(run, node, "the template says: %.*s", is_text(&all, 0) ? (int)all.values[0].count : 0,
                          is_text(&all, 0) ? all.values[0].bytes : "");
}

gm_status gm_jinja_call(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *result) {
    gm_jinja_value of;
    gm_arguments all;
    if (node->a->kind == GM_JINJA_VARIABLE) return call_function(run, node, result);
    if (node->a->kind != GM_JINJA_ATTRIBUTE) return gm_jinja_fault(run, node, "this cannot be called");
    GM_TRY(gm_jinja_evaluate(run, node->a->a, &of));
    GM_TRY(arguments(run, node, &all));
    if (of.kind == GM_JINJA_TEXT) return text_method(run, node, &of, node->a->text, &all, result);
    if (of.kind != GM_JINJA_MAP || strcmp(node->a->text, "get") != 0 || !is_text(&all, 0))
        return gm_jinja_fault(run, node, "the method \"%s\" of %s is not supported", node->a->text, gm_jinja_kind_name(&of));
    *result = gm_jinja_member(&of, all.values[0].bytes, all.values[0].count);
    if (result->kind == GM_JINJA_UNDEFINED) *result = all.count > 1 ? all.values[1] : (gm_jinja_value){.kind = GM_JINJA_NONE};
    return GM_OK;
}

/* ---- filters ---------------------------------------------------------------------------------------------------- */

static gm_status count_of(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *value, gm_jinja_value *result) {
    if (value->kind == GM_JINJA_TEXT)
        *result = gm_jinja_number((int64_t)gm_jinja_characters(run, value));
    else if (value->kind == GM_JINJA_LIST)
        *result = gm_jinja_number((int64_t)value->count);
    else
        return gm_jinja_fault(run, node, "the length of %s", gm_jinja_kind_name(value));
    return GM_OK;
}

/* x | default(y), x | default(y, true) */
static gm_status otherwise(const gm_jinja_value *value, const gm_arguments *all, gm_jinja_value *result) {
    bool falsy = all->count > 1 && gm_jinja_truth(&all->values[1]) && !gm_jinja_truth(value);
    *result = value->kind == GM_JINJA_UNDEFINED || falsy ? all->count ? all->values[0] : gm_jinja_text("") : *value;
    return GM_OK;
}

/* list | selectattr("role"), list | selectattr("role", "equalto", "user"); rejectattr keeps the others. */
static gm_status select_items(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *list, const gm_arguments *all, bool keep,
                              gm_jinja_value *result) {
    void *items;
    bool compares = all->count == 3 && (is_word(all, 1, "equalto") || is_word(all, 1, "eq") || is_word(all, 1, "=="));
    if (!is_text(all, 0) || (all->count != 1 && !compares))
        return gm_jinja_fault(run, node, "%s with these arguments is not supported", node->text);
    GM_TRY(gm_jinja_alloc(run, list->count, sizeof *result->items, &items));
    *result = (gm_jinja_value){.kind = GM_JINJA_LIST, .items = items};
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind != GM_JINJA_MAP)
            return gm_jinja_fault(run, node, "%s of %s", node->text, gm_jinja_kind_name(&list->items[i]));
        gm_jinja_value member = gm_jinja_member(&list->items[i], all->values[0].bytes, all->values[0].count);
        bool holds = gm_jinja_truth(&member);
        if (compares) GM_TRY(gm_jinja_equal(run, node, &member, &all->values[2], &holds));
        if (holds == keep) result->items[result->count++] = list->items[i];
    }
    return GM_OK;
}

gm_status gm_jinja_filter(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *result) {
    gm_jinja_value value;
    gm_arguments all;
    const char *name = node->text;
    GM_TRY(gm_jinja_evaluate(run, node->a, &value));
    GM_TRY(arguments(run, node, &all));
    bool text = value.kind == GM_JINJA_TEXT, list = value.kind == GM_JINJA_LIST, first = strcmp(name, "first") == 0;
    if (strcmp(name, "default") == 0 || strcmp(name, "d") == 0) return otherwise(&value, &all, result);
    if (strcmp(name, "length") == 0 || strcmp(name, "count") == 0) return count_of(run, node, &value, result);
    if (strcmp(name, "string") == 0) return gm_jinja_as_text(run, node, &value, result);
    if (text && strcmp(name, "trim") == 0) return text_method(run, node, &value, "strip", &all, result);
    if (text && (is_case(name) || strcmp(name, "replace") == 0)) return text_method(run, node, &value, name, &all, result);
    bool select = strcmp(name, "selectattr") == 0;
    if (list && (select || strcmp(name, "rejectattr") == 0)) return select_items(run, node, &value, &all, select, result);
    if (list && strcmp(name, "join") == 0 && (all.count == 0 || is_text(&all, 0)))
        return join(run, node, &value, all.count ? &all.values[0] : NULL, result);
    if ((list && strcmp(name, "list") == 0) || (text && strcmp(name, "safe") == 0)) {
        *result = value;
        return GM_OK;
    }
    if (list && (first || strcmp(name, "last") == 0)) {
        *result = value.count ? value.items[first ? 0 : value.count - 1] : (gm_jinja_value){0};
        return GM_OK;
    }
    return gm_jinja_fault(run, node, "the filter \"%s\" of %s is not supported", name, gm_jinja_kind_name(&value));
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static gm_status compare_test(gm_jinja_run *run, const gm_jinja_node *node, const gm_jinja_value *value, const gm_arguments *all,
                              gm_jinja_value *result) {
    bool equal;
    GM_TRY(gm_jinja_equal(run, node, value, &all->values[0], &equal));
    *result = gm_jinja_bool(equal != (node->integer != 0));
    return GM_OK;
}

gm_status gm_jinja_test(gm_jinja_run *run, const gm_jinja_node *node, gm_jinja_value *result) {
    gm_jinja_value value;
    gm_arguments all;
    const char *name = node->text;
    GM_TRY(gm_jinja_evaluate(run, node->a, &value));
    GM_TRY(arguments(run, node, &all));
    gm_jinja_kind kind = value.kind;
    bool equal = strcmp(name, "equalto") == 0 || strcmp(name, "eq") == 0 || strcmp(name, "==") == 0;
    if (equal && all.count == 1) return compare_test(run, node, &value, &all, result);
    const struct {
        const char *name;
        bool holds;
    } tests[] = {{"defined", kind != GM_JINJA_UNDEFINED},
                 {"undefined", kind == GM_JINJA_UNDEFINED},
                 {"none", kind == GM_JINJA_NONE},
                 {"string", kind == GM_JINJA_TEXT},
                 {"mapping", kind == GM_JINJA_MAP},
                 {"iterable", kind == GM_JINJA_LIST || kind == GM_JINJA_TEXT || kind == GM_JINJA_MAP || kind == GM_JINJA_UNDEFINED},
                 {"sequence", kind == GM_JINJA_LIST || kind == GM_JINJA_TEXT || kind == GM_JINJA_MAP || kind == GM_JINJA_UNDEFINED},
                 {"boolean", kind == GM_JINJA_BOOLEAN},
                 {"true", kind == GM_JINJA_BOOLEAN && value.integer},
                 {"false", kind == GM_JINJA_BOOLEAN && !value.integer},
                 {"number", kind == GM_JINJA_NUMBER || kind == GM_JINJA_BOOLEAN},
                 {"integer", kind == GM_JINJA_NUMBER},
                 {"odd", kind == GM_JINJA_NUMBER && value.integer % 2 != 0},
                 {"even", kind == GM_JINJA_NUMBER && value.integer % 2 == 0}};
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (strcmp(name, tests[i].name) != 0) continue;
        *result = gm_jinja_bool(tests[i].holds != (node->integer != 0));
        return GM_OK;
    }
    return gm_jinja_fault(run, node, "the test \"%s\" is not supported", name);
}
