/* gmoe-tokenize: JSON Lines of text to ids, or back, on standard input and output. */
#include "base/json.h"
#include "cli/options.h"
#include "io/tokenizer/tokenizer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct options {
    const char *tokenizer;
    bool no_special, plain_special, decode;
} options;

static gm_status parse(options *o, int argc, char **argv, bool *done) {
    const gm_option table[] = {
        {"tokenizer", "DIR|FILE", GM_OPTION_TEXT, &o->tokenizer,
         "model directory, tokenizer.json or tokenizer.json.gz; a tokenizer_config.json beside it counts"},
        {"no-special", NULL, GM_OPTION_FLAG, &o->no_special,
         "no special tokens around the text (BOS …); with --decode: leave special tokens out"},
        {"plain-special", NULL, GM_OPTION_FLAG, &o->plain_special, "special tokens that stand in the text are plain text"},
        {"decode", NULL, GM_OPTION_FLAG, &o->decode, "{\"ids\": […]} becomes {\"text\": …}"},
    };
    const gm_program program = {
        .name = "gmoe-tokenize",
        .options = table,
        .count = sizeof table / sizeof *table,
        .summary = "Reads JSON Lines from standard input and writes one line for each: {\"text\": …} becomes {\"ids\": […]}.\n"
                   "Other members of a line are not looked at, blank lines are left out; the first bad line ends the program."};
    GM_TRY(gm_options_parse(&program, argc, argv, done));
    if (!*done && !o->tokenizer) return gm_error(GM_USAGE, "--tokenizer DIR|FILE is missing; --help shows how");
    return GM_OK;
}

/* What one line gives and the room to work on it. */
typedef struct line_work {
    gm_buffer text, out;
    gm_ids ids;
} line_work;

static gm_status read_ids(gm_json_reader *reader, gm_ids *ids) {
    bool more;
    ids->count = 0;
    GM_TRY(gm_json_open(reader, GM_JSON_ARRAY));
    for (;;) {
        GM_TRY(gm_json_next(reader, &more));
        if (!more) return GM_OK;
        int64_t id;
        GM_TRY(gm_json_read_integer(reader, &id));
        if (id < 0 || id > INT32_MAX) return gm_json_error(reader, "the id %lld is in no vocabulary", (long long)id);
        GM_GROW(ids->ids, ids->capacity, ids->count + 1);
        ids->ids[ids->count++] = (int32_t)id;
    }
}

static gm_status read_line(gm_json_reader *reader, bool decode, line_work *work) {
    const char *wanted = decode ? "ids" : "text";
    bool more, found = false;
    GM_TRY(gm_json_open(reader, GM_JSON_OBJECT));
    for (;;) {
        GM_TRY(gm_json_next_member(reader, &more));
        if (!more) break;
        if (!gm_json_name_is(reader, wanted)) {
            GM_TRY(gm_json_skip(reader));
            continue;
        }
        if (found) return gm_json_error(reader, "\"%s\" is there twice", wanted);
        found = true;
        if (decode) {
            GM_TRY(read_ids(reader, &work->ids));
        } else {
            GM_TRY(gm_json_read_string(reader));
            gm_buffer_clear(&work->text);
            gm_buffer_append(&work->text, gm_buffer_string(&reader->string), reader->string.length);
        }
    }
    if (!found) return gm_json_error(reader, "has no \"%s\"", wanted);
    GM_TRY(gm_json_finish(reader));
    return gm_buffer_status(&work->text);
}

static gm_status convert_line(const gm_tokenizer *tokenizer, const options *o, line_work *work) {
    gm_buffer_clear(&work->out);
    if (o->decode) {
        gm_buffer_clear(&work->text);
        GM_TRY(gm_tokenizer_decode(tokenizer, work->ids.ids, work->ids.count, o->no_special, &work->text));
        gm_buffer_text(&work->out, "{\"text\":");
        gm_json_write_string(&work->out, gm_buffer_string(&work->text), work->text.length);
    } else {
        unsigned flags = (o->no_special ? 0u : GM_ENCODE_SPECIAL) | (o->plain_special ? GM_ENCODE_PLAIN : 0u);
        GM_TRY(gm_tokenizer_encode(tokenizer, gm_buffer_string(&work->text), work->text.length, flags, &work->ids));
        gm_buffer_text(&work->out, "{\"ids\":[");
        for (size_t i = 0; i < work->ids.count; i++) gm_buffer_format(&work->out, i ? ",%d" : "%d", work->ids.ids[i]);
        gm_buffer_char(&work->out, ']');
    }
    gm_buffer_text(&work->out, "}\n");
    return gm_buffer_status(&work->out);
}

static gm_status write_out(const gm_buffer *out) {
    if (fwrite(gm_buffer_string(out), 1, out->length, stdout) == out->length) return GM_OK;
    return gm_error(GM_FAIL, "standard output: %s", strerror(errno));
}

static gm_status work_on_line(const gm_tokenizer *tokenizer, const options *o, const char *line, size_t length, size_t number,
                              line_work *work) {
    char source[64];
    gm_json_reader reader;
    snprintf(source, sizeof source, "standard input: line %zu", number);
    gm_json_reader_init(&reader, source, line, length);
    gm_status status = gm_json_peek(&reader) == GM_JSON_OBJECT
                           ? read_line(&reader, o->decode, work)
                           : gm_json_error(&reader, "is no JSON object; a line is %s", o->decode ? "{\"ids\": […]}" : "{\"text\": \"…\"}");
    gm_json_reader_free(&reader);
    GM_TRY(status);
    status = convert_line(tokenizer, o, work);
    return status == GM_OK ? write_out(&work->out) : gm_error_prefix(status, "%s", source);
}

static gm_status work_on_input(const gm_tokenizer *tokenizer, const options *o) {
    line_work work = {0};
    char *line = NULL;
    size_t capacity = 0;
    gm_status status = GM_OK;
    errno = 0;
    for (size_t number = 1; status == GM_OK; number++) {
        ssize_t length = getline(&line, &capacity, stdin);
        if (length < 0) break;
        if (strspn(line, " \t\r\n") == (size_t)length) continue;
        status = work_on_line(tokenizer, o, line, (size_t)length, number, &work);
    }
    if (status == GM_OK && !feof(stdin)) status = gm_error(errno == ENOMEM ? GM_NO_MEMORY : GM_FAIL, "standard input: %s", strerror(errno));
    free(line);
    gm_buffer_free(&work.text);
    gm_buffer_free(&work.out);
    gm_ids_free(&work.ids);
    return status;
}

static gm_status run(const options *o) {
    gm_tokenizer *tokenizer = NULL;
    GM_TRY(gm_tokenizer_open(&tokenizer, o->tokenizer));
    gm_status status = work_on_input(tokenizer, o);
    gm_tokenizer_close(tokenizer);
    return status;
}

int main(int argc, char **argv) {
    options o = {0};
    bool done;
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away is a failed write, with a message */
    gm_status status = parse(&o, argc, argv, &done);
    if (status == GM_OK && !done) status = run(&o);
    return gm_program_end("gmoe-tokenize", status);
}
