/* Loading a split: line → record (a JSON object; a TSV row becomes one) → fields, choices, answer → rendered item.
 * What is wrong with a line is reported without its place by the functions below and gets it in load_line. */
#include "data/line_reader.h"
#include "data/task_parts.h"
#include "data/text.h"

#include "base/log.h"
#include "base/number.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MOST_CHOICES = 4096, MOST_COLUMNS = 1024, BLANK_LIMIT = 16 << 20, LOGGED_SKIPS = 3, SOURCE = GM_PATH + 64 };

struct gm_task_reader {
    const gm_task *task;
    const gm_task_prompt *prompt;
    gm_item_set *set;
    const char *split;
    gm_line_reader lines, answers;
    bool has_answers, tsv, skip_bad;
    bool unlabelled;          /* the split as such: no line of it can be used */
    gm_strings columns;       /* TSV header; in `region` */
    const char **fields;      /* of this line, by the task's field index; NULL: not asked for */
    bool *wanted;             /* by field index */
    char *answer_line;        /* of this line, from the file of answers */
    gm_strings texts, labels; /* of this line's choices */
    gm_buffer text;
    gm_region region;
    bool begun, ended;
    size_t given; /* items, of all parts */
};
typedef struct gm_task_reader gm_loader;

void gm_item_set_free(gm_item_set *set) {
    free(set->items);
    gm_region_free(&set->region);
    *set = (gm_item_set){0};
}

static const char *keep(gm_loader *loader, const char *text, size_t length) { return gm_region_copy(&loader->set->region, text, length); }

static gm_status render(gm_loader *loader, const gm_template *template, const gm_template_values *values, int choice, bool clean,
                        const char **result) {
    gm_buffer_clear(&loader->text);
    GM_TRY(gm_template_render(&loader->text, template, values, choice));
    size_t length = loader->text.length;
    if (clean) {
        gm_buffer raw = loader->text;
        loader->text = (gm_buffer){0};
        gm_text_clean(&loader->text, raw.bytes ? raw.bytes : "", length);
        gm_buffer_free(&raw);
        GM_TRY(gm_buffer_status(&loader->text));
    }
    *result = keep(loader, gm_buffer_string(&loader->text), loader->text.length);
    return *result ? GM_OK : GM_NO_MEMORY;
}

/* ---- a record's parts ------------------------------------------------------------------------------------------ */

static gm_status read_fields(gm_loader *loader, const cJSON *record, const bool *wanted) {
    for (int i = 0; i < loader->task->field_names.count; i++)
        if (wanted[i]) GM_TRY(gm_field_string(&loader->task->fields[i], record, &loader->fields[i]));
    return GM_OK;
}

static gm_status read_texts(gm_loader *loader, const cJSON *record, bool *present) {
    const gm_task *task = loader->task;
    loader->texts.count = 0;
    *present = true;
    if (task->text_count == 1 && gm_field_is_list(task->texts))
        return gm_field_strings(task->texts, record, &loader->texts, task->completion.count ? present : NULL);
    for (int i = 0; i < task->text_count; i++) {
        const char *text;
        GM_TRY(gm_field_string(&task->texts[i], record, &text));
        GM_TRY(gm_strings_add(&loader->texts, text));
    }
    return GM_OK;
}

static gm_status read_labels(gm_loader *loader, const cJSON *record) {
    const gm_task_labels *labels = &loader->prompt->labels;
    loader->labels.count = 0;
    if (labels->own.count) GM_TRY(gm_field_strings(&labels->own, record, &loader->labels, NULL));
    for (int i = 0; i < labels->labels.count; i++) GM_TRY(gm_strings_add(&loader->labels, labels->labels.items[i]));
    size_t count = loader->labels.count ? loader->labels.count : loader->texts.count;
    if (count == 0) return gm_error(GM_BAD_FILE, "the list of choices is empty");
    if (count > MOST_CHOICES) return gm_error(GM_BAD_FILE, "%zu choices; %d at most", count, MOST_CHOICES);
    if (gm_labels_given(labels) && loader->task->text_count && loader->labels.count != loader->texts.count)
        return gm_error(GM_BAD_FILE, "%zu labels for %zu choices", loader->labels.count, loader->texts.count);
    for (size_t i = 0; i < loader->labels.count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(loader->labels.items[i], loader->labels.items[j]) == 0)
                return gm_error(GM_BAD_FILE, "the label \"%s\" stands twice", loader->labels.items[i]);
    return GM_OK;
}

/* The answer as the record or the file of answers writes it, without white space around it. */
static gm_status answer_text(gm_loader *loader, const cJSON *record, gm_buffer *text) {
    const gm_task *task = loader->task;
    const cJSON *item = loader->has_answers ? NULL : gm_field_find(&task->answer, record);
    const char *string = loader->has_answers ? loader->answer_line : cJSON_IsString(item) ? item->valuestring : NULL;
    int64_t number;
    if (string) {
        size_t start = gm_text_lstrip(string, strlen(string));
        gm_buffer_append(text, string + start, gm_text_rstrip(string + start, strlen(string + start)));
    } else if (cJSON_IsBool(item)) {
        gm_buffer_text(text, cJSON_IsTrue(item) ? "true" : "false");
    } else if (item && gm_json_is_integer(item, &number)) {
        gm_buffer_format(text, "%lld", (long long)number);
    } else if (item) {
        return gm_error(GM_BAD_FILE, "%s: neither a string nor a whole number nor true or false", task->answer.text);
    }
    GM_TRY(gm_buffer_status(text));
    bool none = text->length == 0 || strcmp(gm_buffer_string(text), "-1") == 0; /* the hub writes "" and −1 */
    if (none && task->completion.count == 0 && loader->given + loader->set->count == 0 && loader->set->skipped == 0) {
        loader->unlabelled = true;
        bool test = strcmp(loader->split, "test") == 0;
        return gm_error(GM_BAD_FILE, "no %s: the split %s is published without labels; use %s", task->answer.text, loader->split,
                        test ? "the split validation" : "another one");
    }
    return item || string ? GM_OK : gm_error(GM_BAD_FILE, "no field %s", task->answer.text);
}

static gm_status answer_unknown(gm_loader *loader, const char *text, const char *const *keys, int count) {
    gm_buffer known = {0}, place = {0};
    for (int i = 0; i < count && i < 16; i++) gm_buffer_format(&known, "%s%s", i ? ", " : "", keys[i]);
    if (loader->has_answers) gm_buffer_format(&place, " (%s, line %lld)", loader->answers.path, (long long)loader->answers.line);
    gm_status status =
        gm_error(GM_BAD_FILE, "the answer \"%.100s\"%s is none of %s", text, gm_buffer_string(&place), gm_buffer_string(&known));
    gm_buffer_free(&known);
    gm_buffer_free(&place);
    return status;
}

static gm_status match_answer(gm_loader *loader, const char *text, int choices, int *answer) {
    const gm_task_labels *labels = &loader->prompt->labels;
    const char *const *keys = labels->own.count ? loader->labels.items : labels->values.items;
    int64_t index;
    if (!gm_labels_given(labels)) {
        if (!gm_parse_integer(text, strlen(text), 0, choices - 1, &index))
            return gm_error(GM_BAD_FILE, "%s: \"%.100s\" is no index of %d choices (they count from 0)", loader->task->answer.text, text,
                            choices);
        *answer = (int)index;
        return GM_OK;
    }
    for (*answer = 0; *answer < choices; ++*answer)
        if (strcmp(text, keys[*answer]) == 0) return GM_OK;
    return answer_unknown(loader, text, keys, choices);
}

static gm_status find_answer(gm_loader *loader, const cJSON *record, int choices, int *answer) {
    gm_buffer text = {0};
    gm_status status = answer_text(loader, record, &text);
    if (status == GM_OK) status = match_answer(loader, gm_buffer_string(&text), choices, answer);
    gm_buffer_free(&text);
    return status;
}

/* ---- an item --------------------------------------------------------------------------------------------------- */

static gm_status clean_texts(gm_loader *loader) {
    for (size_t i = 0; i < loader->texts.count; i++) {
        gm_buffer_clear(&loader->text);
        gm_text_clean(&loader->text, loader->texts.items[i], strlen(loader->texts.items[i]));
        GM_TRY(gm_buffer_status(&loader->text));
        if ((loader->texts.items[i] = keep(loader, gm_buffer_string(&loader->text), loader->text.length)) == NULL) return GM_NO_MEMORY;
    }
    return GM_OK;
}

static gm_status render_choices(gm_loader *loader, const gm_template_values *values, gm_item *item) {
    const gm_task_prompt *prompt = loader->prompt;
    bool own_prompts = prompt->prompt.label || prompt->prompt.text;
    item->choice_count = values->choices;
    GM_REGION_ALLOC(&loader->set->region, item->choices, (size_t)values->choices);
    if (own_prompts) GM_REGION_ALLOC(&loader->set->region, item->prompts, (size_t)values->choices);
    for (int i = 0; i < values->choices; i++) {
        GM_TRY(render(loader, &prompt->completion, values, i, false, &item->choices[i]));
        if (item->choices[i][0] == '\0') return gm_error(GM_BAD_FILE, "choice %d is empty", i);
        if (own_prompts) GM_TRY(render(loader, &prompt->prompt, values, i, prompt->clean, &item->prompts[i]));
    }
    return GM_OK;
}

static gm_status read_choices(gm_loader *loader, const cJSON *record, gm_template_values *values, gm_item *item) {
    bool present;
    item->answer = -1;
    if (loader->task->answer.count == 0) return GM_OK;
    GM_TRY(read_texts(loader, record, &present));
    if (!present) return GM_OK;
    GM_TRY(read_labels(loader, record));
    if (loader->prompt->clean) GM_TRY(clean_texts(loader));
    values->labels = loader->labels.items;
    values->texts = loader->texts.items;
    values->choices = (int)(loader->labels.count ? loader->labels.count : loader->texts.count);
    GM_TRY(find_answer(loader, record, values->choices, &item->answer));
    GM_TRY(render_choices(loader, values, item));
    item->completion = item->choices[item->answer];
    return GM_OK;
}

static gm_status keep_completion(gm_loader *loader, const cJSON *record, const gm_field *field, gm_item *item) {
    const char *text;
    GM_TRY(gm_field_string(field, record, &text));
    if (*text == '\0') return gm_error(GM_BAD_FILE, "%s: is empty", field->text);
    return (item->completion = keep(loader, text, strlen(text))) ? GM_OK : GM_NO_MEMORY;
}

static gm_status make_conversation(gm_loader *loader, const cJSON *list, gm_item *item) {
    gm_conversation *conversation;
    GM_REGION_ALLOC(&loader->set->region, conversation, 1);
    GM_TRY(gm_conversation_read(conversation, list, list->string, &loader->set->region));
    item->conversation = conversation;
    item->prompt = item->completion = "";
    item->answer = -1;
    return GM_OK;
}

static bool has_shape(const gm_task *task, const gm_task_shape *shape, const cJSON *record) {
    for (int i = 0; i < shape->with_count; i++) {
        const cJSON *item = gm_field_find(&task->fields[shape->with[i]], record);
        if (!item || (cJSON_IsString(item) && item->valuestring[0] == '\0')) return false;
    }
    return true;
}

static gm_status make_shape(gm_loader *loader, const cJSON *record, const gm_task_shape *shape, gm_item *item) {
    GM_TRY(read_fields(loader, record, shape->wanted));
    GM_TRY(keep_completion(loader, record, &shape->completion, item));
    item->answer = -1;
    gm_template_values values = {.fields = loader->fields};
    return render(loader, &shape->prompt, &values, 0, false, &item->prompt);
}

static bool has_choices(gm_loader *loader, const cJSON *record) {
    bool present = false;
    loader->texts.count = 0;
    if (loader->task->text_count) gm_field_strings(loader->task->texts, record, &loader->texts, &present);
    return present;
}

static gm_status no_shape(const gm_task *task) {
    gm_buffer names = {0};
    if (task->conversation.count) gm_buffer_format(&names, ", nor %s", task->conversation.text);
    for (int i = 0; i < task->shape_count; i++) {
        const char *name = task->fields[task->shapes[i].with[0]].text;
        if (!strstr(gm_buffer_string(&names), name)) gm_buffer_format(&names, ", nor %s", name);
    }
    gm_status status = gm_error(GM_BAD_FILE, "no field %s%s", task->completion.text, gm_buffer_string(&names));
    gm_buffer_free(&names);
    return status;
}

/* A line without completion and choices, in tasks that know other shapes. */
static gm_status make_other(gm_loader *loader, const cJSON *record, gm_item *item) {
    const gm_task *task = loader->task;
    const cJSON *list = gm_field_find(&task->conversation, record);
    if (list) return make_conversation(loader, list, item);
    for (int i = 0; i < task->shape_count; i++)
        if (has_shape(task, &task->shapes[i], record)) return make_shape(loader, record, &task->shapes[i], item);
    return no_shape(task);
}

static gm_status make_item(gm_loader *loader, const cJSON *record, gm_item *item) {
    const gm_task *task = loader->task;
    const gm_field *completion = &task->completion;
    *item = (gm_item){.line = loader->lines.line};
    if ((task->conversation.count || task->shape_count) && !gm_field_find(completion, record) && !has_choices(loader, record))
        return make_other(loader, record, item);
    GM_TRY(read_fields(loader, record, loader->wanted));
    gm_template_values values = {.fields = loader->fields, .option = &loader->prompt->option};
    GM_TRY(read_choices(loader, record, &values, item));
    if (completion->count && (!item->completion || gm_field_find(completion, record)))
        GM_TRY(keep_completion(loader, record, completion, item));
    if (item->prompts)
        item->prompt = item->prompts[item->answer];
    else
        GM_TRY(render(loader, &loader->prompt->prompt, &values, 0, loader->prompt->clean, &item->prompt));
    return GM_OK;
}

/* A jsonl line may give a completion beside its choices. */
static void count_wrong(gm_item_set *set, const gm_item *item) {
    if (item->choice_count == 0 || strcmp(item->completion, item->choices[item->answer]) == 0) return;
    bool chosen = false;
    for (int i = 0; i < item->choice_count; i++) chosen = chosen || strcmp(item->completion, item->choices[i]) == 0;
    if (set->wrong++ == 0) set->first_wrong = item->line;
    set->strange += !chosen;
}

static uLong add_messages(uLong sum, const gm_conversation *conversation) {
    for (size_t i = 0; i < conversation->count; i++) {
        const gm_message *message = &conversation->messages[i];
        sum = crc32_z(sum, (const Bytef *)message->role, strlen(message->role) + 1);
        sum = crc32_z(sum, (const Bytef *)message->content, strlen(message->content) + 1);
        sum = crc32_z(sum, (const Bytef *)&message->learnt, sizeof message->learnt);
    }
    return sum;
}

static gm_status add_item(gm_item_set *set, const gm_item *item) {
    GM_GROW(set->items, set->capacity, set->count + 1);
    set->items[set->count++] = *item;
    set->with_choices += item->choice_count > 0;
    set->conversations += item->conversation != NULL;
    count_wrong(set, item);
    uLong sum = crc32_z(set->checksum, (const Bytef *)item->prompt, strlen(item->prompt) + 1);
    sum = crc32_z(sum, (const Bytef *)item->completion, strlen(item->completion) + 1);
    for (int i = 0; i < item->choice_count; i++) sum = crc32_z(sum, (const Bytef *)item->choices[i], strlen(item->choices[i]) + 1);
    if (item->conversation) sum = add_messages(sum, item->conversation);
    set->checksum = (uint32_t)crc32_z(sum, (const Bytef *)&item->answer, sizeof item->answer);
    return GM_OK;
}

/* ---- lines ----------------------------------------------------------------------------------------------------- */

/* Cuts the line at its tabs, in place, into loader->texts. */
static gm_status split_columns(gm_loader *loader, char *line, size_t length) {
    if (memchr(line, '\0', length)) return gm_error(GM_BAD_FILE, "holds a NUL byte");
    if (!gm_text_is_utf8(line, length)) return gm_error(GM_BAD_FILE, "is not UTF-8");
    loader->texts.count = 0;
    for (char *tab; (tab = strchr(line, '\t')) != NULL; line = tab + 1) {
        *tab = '\0';
        GM_TRY(gm_strings_add(&loader->texts, line));
    }
    return gm_strings_add(&loader->texts, line);
}

static gm_status read_header(gm_loader *loader) {
    char *line;
    size_t length;
    GM_TRY(gm_line_reader_next(&loader->lines, &line, &length));
    if (!line) return gm_error(GM_BAD_FILE, "%s: is empty: a line with the columns' names is missing", loader->lines.path);
    if ((line = gm_region_copy(&loader->region, line, length)) == NULL) return GM_NO_MEMORY;
    gm_status status = split_columns(loader, line, length);
    if (status != GM_OK) return gm_error_prefix(status, "%s: line 1", loader->lines.path);
    gm_strings columns = loader->texts;
    loader->texts = loader->columns;
    loader->columns = columns;
    if (columns.count > MOST_COLUMNS) return gm_line_reader_error(&loader->lines, "%zu columns; %d at most", columns.count, MOST_COLUMNS);
    for (size_t i = 0; i < columns.count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(columns.items[i], columns.items[j]) == 0)
                return gm_line_reader_error(&loader->lines, "the column \"%s\" stands twice", columns.items[i]);
    return GM_OK;
}

static gm_status parse_row(gm_loader *loader, char *line, size_t length, cJSON **record) {
    GM_TRY(split_columns(loader, line, length));
    if (loader->texts.count != loader->columns.count)
        return gm_error(GM_BAD_FILE, "%zu columns where the header has %zu", loader->texts.count, loader->columns.count);
    *record = cJSON_CreateObject();
    for (size_t i = 0; *record && i < loader->columns.count; i++)
        if (!cJSON_AddStringToObject(*record, loader->columns.items[i], loader->texts.items[i]))
            return gm_error(GM_NO_MEMORY, "out of memory");
    return *record ? GM_OK : gm_error(GM_NO_MEMORY, "out of memory");
}

static gm_status load_line(gm_loader *loader, char *line, size_t length) {
    char source[SOURCE];
    cJSON *record = NULL;
    gm_item item;
    snprintf(source, sizeof source, "%s: line %lld", loader->lines.path, (long long)loader->lines.line);
    gm_status status;
    if (loader->tsv)
        status = parse_row(loader, line, length, &record);
    else
        status = gm_json_parse(source, line, length, &record);
    bool placed = !loader->tsv && status != GM_OK;
    size_t start = gm_text_lstrip(line, length);
    if (!loader->tsv && loader->lines.line == 1 && start < length && line[start] == '[') {
        placed = false;
        status = gm_error(GM_BAD_FILE, "begins a JSON array; one object a line is wanted (jq -c '.[]' makes them of an array)");
    }
    if (status == GM_OK && !cJSON_IsObject(record)) status = gm_error(GM_BAD_FILE, "must be a JSON object");
    if (status == GM_OK) status = make_item(loader, record, &item);
    cJSON_Delete(record);
    if (status == GM_OK) return add_item(loader->set, &item);
    return placed ? status : gm_error(status, "%s: %s", source, gm_error_text());
}

/* The next line that is not blank; *line NULL at the end. A few bytes of gzip can be gigabytes of line breaks. */
static gm_status next_line(gm_line_reader *reader, char **line, size_t *length) {
    size_t blank = 0;
    for (;;) {
        GM_TRY(gm_line_reader_next(reader, line, length));
        if (!*line || !gm_text_is_blank(*line, *length)) return GM_OK;
        blank += *length + 1;
        if (blank > BLANK_LIMIT) return gm_line_reader_error(reader, "comes after more than %d MB of blank lines", BLANK_LIMIT >> 20);
    }
}

/* What a split has to say at its end. */
static gm_status end_lines(gm_loader *loader) {
    loader->ended = true;
    if (loader->set->skipped)
        gm_log(GM_LOG_WARN, "%s: %lld bad lines were left out (--skip-bad)", loader->lines.path, (long long)loader->set->skipped);
    if (loader->given + loader->set->count) return GM_OK;
    if (loader->set->skipped == 0) return gm_error(GM_BAD_FILE, "%s: holds no item", loader->lines.path);
    return gm_error(GM_BAD_FILE, "%s: all its lines are bad; the last: %s", loader->lines.path, gm_error_text());
}

/* Lines of about `bytes` bytes. */
static gm_status load_lines(gm_loader *loader, size_t bytes) {
    char *line;
    size_t length, ignored, taken = 0;
    if (loader->tsv && !loader->begun) GM_TRY(read_header(loader));
    loader->begun = true;
    while (taken < bytes) {
        GM_TRY(next_line(&loader->lines, &line, &length));
        if (loader->has_answers) GM_TRY(next_line(&loader->answers, &loader->answer_line, &ignored));
        if (loader->has_answers && !loader->answer_line != !line)
            return gm_error(GM_BAD_FILE, "%s: line %lld: has %s lines than %s", loader->answers.path, (long long)loader->answers.line,
                            line ? "fewer" : "more", loader->lines.path);
        if (!line) return end_lines(loader);
        taken += length + 1;
        gm_status status = load_line(loader, line, length);
        if (status == GM_OK) continue;
        if (status != GM_BAD_FILE || !loader->skip_bad || loader->unlabelled) return status;
        if (loader->set->skipped++ < LOGGED_SKIPS) gm_log(GM_LOG_WARN, "skipped: %s", gm_error_text());
    }
    return GM_OK;
}

static void want_fields(gm_loader *loader, const gm_template *template) {
    for (int i = 0; i < template->count; i++)
        if (template->parts[i].kind == GM_PART_FIELD) loader->wanted[template->parts[i].field] = true;
}

/* Which of the two is newer is not ours to guess. */
static void warn_of_twin(const char *path) {
    char twin[GM_PATH + 4];
    snprintf(twin, sizeof twin, "%s.gz", path);
    if (!gm_text_ends_with(path, ".gz") && gm_file_exists(twin))
        gm_log(GM_LOG_WARN, "%s: is read, and not %s beside it; remove one of them", path, twin);
}

static gm_status prepare(gm_loader *loader, const char *data_dir) {
    size_t fields = (size_t)loader->task->field_names.count;
    GM_REGION_ALLOC(&loader->region, loader->fields, fields);
    GM_REGION_ALLOC(&loader->region, loader->wanted, fields);
    want_fields(loader, &loader->prompt->prompt);
    want_fields(loader, &loader->prompt->completion);
    if (loader->prompt->prompt.options) want_fields(loader, &loader->prompt->option);
    char *path = loader->set->file, answers[GM_PATH];
    GM_TRY(gm_task_find_file(loader->task, data_dir, loader->split, path));
    warn_of_twin(path);
    loader->tsv = gm_text_ends_with(path, ".tsv") || gm_text_ends_with(path, ".tsv.gz");
    GM_TRY(gm_line_reader_open(&loader->lines, path, GM_BAD_FILE));
    loader->has_answers = gm_task_find_answers(loader->task, path, gm_task_split_index(loader->split), answers);
    if (loader->has_answers) warn_of_twin(answers);
    return loader->has_answers ? gm_line_reader_open(&loader->answers, answers, GM_BAD_FILE) : GM_OK;
}

static gm_status no_prompt(const gm_task *task, const char *name) {
    gm_buffer names = {0};
    for (int i = 0; i < task->prompt_count; i++) gm_buffer_format(&names, "%s%s", i ? ", " : "", task->prompts[i].name);
    gm_status status = gm_error(GM_USAGE, "%s: the task has no prompt \"%s\"; there are %s", task->name, name, gm_buffer_string(&names));
    gm_buffer_free(&names);
    return status;
}

gm_status gm_task_reader_open(gm_task_reader **reader, const gm_task *task, const char *data_dir, const char *split, const char *prompt,
                              bool skip_bad, gm_item_set *set) {
    *set = (gm_item_set){0};
    *reader = NULL;
    const gm_task_prompt *found = gm_task_find_prompt(task, prompt);
    if (!found) return no_prompt(task, prompt);
    gm_loader *opened;
    GM_ALLOC(opened, 1);
    *opened = (gm_loader){.task = task,
                          .prompt = found,
                          .set = set,
                          .split = split,
                          .skip_bad = skip_bad,
                          .lines.source.file = -1,
                          .answers.source.file = -1};
    gm_status status = prepare(opened, data_dir);
    if (status != GM_OK) return gm_task_reader_close(opened), status;
    *reader = opened;
    return GM_OK;
}

gm_status gm_task_reader_next(gm_task_reader *reader, size_t bytes) {
    gm_item_set *set = reader->set;
    reader->given += set->count;
    set->count = 0;
    gm_region_free(&set->region);
    while (set->count == 0 && !reader->ended) GM_TRY(load_lines(reader, bytes)); /* a stretch of bad lines is no end */
    return GM_OK;
}

double gm_task_reader_done(const gm_task_reader *reader) { return gm_line_reader_done(&reader->lines); }

void gm_task_reader_close(gm_task_reader *reader) {
    if (!reader) return;
    reader->set->unlabelled = reader->unlabelled;
    gm_line_reader_close(&reader->lines);
    gm_line_reader_close(&reader->answers);
    gm_buffer_free(&reader->text);
    gm_region_free(&reader->region);
    free(reader->texts.items);
    free(reader->labels.items);
    free(reader->columns.items);
    free(reader);
}

gm_status gm_task_load(const gm_task *task, const char *data_dir, const char *split, const char *prompt, bool skip_bad, gm_item_set *set) {
    gm_task_reader *reader;
    gm_status status = gm_task_reader_open(&reader, task, data_dir, split, prompt, skip_bad, set);
    if (status == GM_OK) status = gm_task_reader_next(reader, SIZE_MAX);
    gm_task_reader_close(reader);
    if (status == GM_OK) return GM_OK;
    bool unlabelled = set->unlabelled;
    gm_item_set_free(set);
    set->unlabelled = unlabelled;
    return status;
}
