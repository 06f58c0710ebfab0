/* gmoe-tokenize: JSON Lines of text to ids, or back, on standard input and output. */
#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "cli/options.h"
#include "io/tokenizer/tokenizer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
        .threads = true,
        .summary = "Reads JSON Lines from standard input and writes one line for each: {\"text\": …} becomes {\"ids\": […]}.\n"
                   "Other members of a line are not looked at, blank lines are left out; the first bad line ends the program."};
    GM_TRY(gm_options_parse(&program, argc, argv, done));
    if (!*done && !o->tokenizer) return gm_error(GM_USAGE, "--tokenizer DIR|FILE is missing; --help shows how");
    return GM_OK;
}

/* One line of the input: what it holds, what it gives. */
typedef struct line_work {
    size_t number;
    char *line; /* getline's */
    size_t capacity, length;
    gm_buffer text, out;
    gm_ids ids;
} line_work;

enum { BATCH_LINES = 256, BATCH_BYTES = 1 << 20 };

/* Lines that are worked on at once and written in their order. */
typedef struct batch {
    const gm_tokenizer *tokenizer;
    const options *options;
    line_work lines[BATCH_LINES];
    size_t count, bytes;
} batch;

static void free_lines(batch *b) {
    for (size_t i = 0; i < BATCH_LINES; i++) {
        line_work *work = &b->lines[i];
        free(work->line);
        gm_buffer_free(&work->text);
        gm_buffer_free(&work->out);
        gm_ids_free(&work->ids);
        *work = (line_work){0};
    }
}

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

static gm_status work_on_line(void *context, size_t worker, size_t index) {
    (void)worker;
    batch *b = context;
    line_work *work = &b->lines[index];
    char source[64];
    gm_json_reader reader;
    snprintf(source, sizeof source, "standard input: line %zu", work->number);
    gm_json_reader_init(&reader, source, work->line, work->length);
    bool decode = b->options->decode;
    gm_status status = gm_json_peek(&reader) == GM_JSON_OBJECT
                           ? read_line(&reader, decode, work)
                           : gm_json_error(&reader, "is no JSON object; a line is %s", decode ? "{\"ids\": […]}" : "{\"text\": \"…\"}");
    gm_json_reader_free(&reader);
    GM_TRY(status);
    status = convert_line(b->tokenizer, b->options, work);
    return status == GM_OK ? GM_OK : gm_error_prefix(status, "%s", source);
}

/* Blank lines count, and are left out. A terminal's user sees what a line gives before the next. */
static gm_status read_batch(batch *b, size_t *number, bool *more) {
    size_t most = isatty(STDIN_FILENO) == 1 ? 1 : BATCH_LINES;
    b->count = b->bytes = 0;
    *more = true;
    errno = 0;
    while (b->count < most && b->bytes < BATCH_BYTES) {
        line_work *work = &b->lines[b->count];
        ssize_t length = getline(&work->line, &work->capacity, stdin);
        *more = length >= 0;
        if (!*more) return feof(stdin) ? GM_OK : gm_error(errno == ENOMEM ? GM_NO_MEMORY : GM_FAIL, "standard input: %s", strerror(errno));
        work->number = ++*number;
        work->length = (size_t)length;
        if (strspn(work->line, " \t\r\n") == work->length) continue;
        b->bytes += work->length;
        b->count++;
    }
    return GM_OK;
}

/* What comes before a bad line is written. */
static gm_status work_on_batch(batch *b) {
    char message[GM_ERROR_TEXT];
    size_t good;
    gm_status status = gm_parallel_for(b->count, work_on_line, b, &good);
    snprintf(message, sizeof message, "%s", status == GM_OK ? "" : gm_error_text());
    for (size_t i = 0; i < good; i++) GM_TRY(write_out(&b->lines[i].out));
    if (b->bytes >= BATCH_BYTES) free_lines(b); /* a long line's memory is not kept */
    return status == GM_OK ? GM_OK : gm_error(status, "%s", message);
}

static gm_status work_on_input(const gm_tokenizer *tokenizer, const options *o) {
    batch *b;
    GM_ALLOC(b, 1);
    b->tokenizer = tokenizer;
    b->options = o;
    gm_status status = GM_OK, reading = GM_OK;
    size_t number = 0;
    for (bool more = true; more && status == GM_OK && reading == GM_OK;) {
        reading = read_batch(b, &number, &more); /* fails behind lines that are good */
        status = work_on_batch(b);
    }
    free_lines(b);
    free(b);
    return status != GM_OK ? status : reading;
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
    gm_file_hold_standard();
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away is a failed write, with a message */
    gm_status status = parse(&o, argc, argv, &done);
    if (status == GM_OK && !done) status = run(&o);
    return gm_program_end("gmoe-tokenize", status);
}
