/* Losing a line of metrics (a full disk) is no reason to lose the run: it is said once, and the run goes on. */
#include "train/metrics.h"
#include "base/clock.h"

#include "base/json.h"
#include "base/log.h"
#include "data/line_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_CELLS = 20 };
static const double seconds_between_lines = 5.0, seconds_between_bars = 0.1;

/* ---- the file --------------------------------------------------------------------------------------------------- */

typedef struct gm_kept { /* events up to these steps */
    int64_t step, evaluation;
} gm_kept;

static bool keep_line(const char *line, size_t length, const gm_kept *last) {
    cJSON *tree = NULL;
    int64_t step;
    if (gm_json_parse("metrics.jsonl", line, length, &tree) != GM_OK) return false; /* torn by a crash */
    bool evaluation = strncmp(gm_json_text_at(tree, "event"), "eval", 4) == 0;      /* and eval_mean */
    bool test = strcmp(gm_json_text_at(tree, "split"), "test") == 0;                /* comes last, and is evaluated again */
    const cJSON *item = gm_json_member(tree, "step");
    bool keep = item && gm_json_is_integer(item, &step) && step <= (evaluation ? last->evaluation : last->step) && !test;
    cJSON_Delete(tree);
    return keep;
}

/* The lines to copy, and how many are not. */
typedef struct gm_copy {
    const char *path;
    gm_kept last;
    int64_t dropped;
} gm_copy;

static gm_status write_kept(int file, const char *path, gm_buffer *kept) {
    GM_TRY(gm_buffer_status(kept));
    if (file >= 0) GM_TRY(gm_file_put(file, path, kept->bytes, kept->length));
    gm_buffer_clear(kept);
    return GM_OK;
}

/* Lines of the events that are kept, one after the other. Of a file with a line that is too long to be one the rest is given up:
 * metrics are no reason not to go on. */
static gm_status copy_lines(gm_line_reader *lines, gm_copy *copy, int file, const char *path) {
    enum { CHUNK = 1 << 20 };
    gm_buffer kept = {0};
    gm_status status = GM_OK;
    char *line;
    size_t length;
    while ((status = gm_line_reader_next(lines, &line, &length)) == GM_OK && line) {
        if (!keep_line(line, length, &copy->last)) {
            copy->dropped++;
            continue;
        }
        gm_buffer_append(&kept, line, length);
        gm_buffer_char(&kept, '\n');
        if (kept.length >= CHUNK) GM_TRY_GOTO(write_kept(file, path, &kept));
    }
    if (status == GM_BAD_FILE) {
        if (file >= 0) gm_log(GM_LOG_WARN, "%s; it and what follows is dropped", gm_error_text());
        copy->dropped++;
        status = GM_OK;
    }
    if (status == GM_OK) status = write_kept(file, path, &kept);
done:
    gm_buffer_free(&kept);
    return status;
}

/* A gm_file_writer; `file` −1 only counts. */
static gm_status copy_kept(void *context, int file, const char *path) {
    gm_copy *copy = context;
    gm_line_reader lines;
    copy->dropped = 0;
    GM_TRY(gm_line_reader_open(&lines, copy->path, GM_FAIL));
    gm_status status = copy_lines(&lines, copy, file, path);
    gm_line_reader_close(&lines);
    return status;
}

/* A last line without its newline may be whole; the next event would stand behind it. */
static bool lacks_newline(const char *path) {
    char last = '\n';
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    off_t length = lseek(file, 0, SEEK_END);
    bool lacks = length > 0 && pread(file, &last, 1, length - 1) == 1 && last != '\n';
    close(file);
    return lacks;
}

/* Line by line, however long the run was, into a file that then takes the old one's place: if there is anything to drop. */
static gm_status drop_later_events(const char *path, const gm_kept *last) {
    gm_copy copy = {path, *last, 0};
    GM_TRY(copy_kept(&copy, -1, path));
    return copy.dropped || lacks_newline(path) ? gm_file_replace_by(path, copy_kept, &copy) : GM_OK;
}

gm_status gm_metrics_open(gm_metrics *metrics, const char *path, int64_t resumed_step, int64_t evaluated_step,
                          const gm_adapter_config *adapter, int64_t total_steps) {
    *metrics = (gm_metrics){.file = -1, .adapter = adapter, .total_steps = total_steps};
    snprintf(metrics->path, sizeof metrics->path, "%s", path);
    if (resumed_step >= 0 && gm_file_exists(path)) GM_TRY(drop_later_events(path, &(gm_kept){resumed_step, evaluated_step}));
    metrics->file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (resumed_step < 0 ? O_TRUNC : 0), 0666);
    return metrics->file >= 0 ? GM_OK : gm_error(GM_FAIL, "%s: cannot be written: %s", path, strerror(errno));
}

void gm_metrics_close(gm_metrics *metrics) {
    gm_log_progress(NULL);
    if (metrics->file >= 0) close(metrics->file);
    gm_buffer_free(&metrics->line);
    metrics->file = -1;
}

/* The whole line or nothing of it. */
static void write_line(gm_metrics *metrics) {
    gm_buffer_char(&metrics->line, '\n');
    if (metrics->file < 0 || gm_buffer_status(&metrics->line) != GM_OK) return;
    off_t before = lseek(metrics->file, 0, SEEK_END);
    ssize_t written = write(metrics->file, metrics->line.bytes, metrics->line.length);
    if (written == (ssize_t)metrics->line.length) return;
    int reason = written < 0 ? errno : ENOSPC;
    if (before >= 0 && ftruncate(metrics->file, before) != 0) reason = errno;
    if (!metrics->failed) gm_log(GM_LOG_WARN, "%s: lines are being lost: %s", metrics->path, strerror(reason));
    metrics->failed = true;
}

static void begin_event(gm_metrics *metrics, const char *event, int64_t step) {
    gm_buffer_clear(&metrics->line);
    gm_buffer_format(&metrics->line, "{\"event\":\"%s\",\"step\":%" PRId64, event, step);
}

static void add_number(gm_metrics *metrics, const char *name, double value) {
    gm_buffer_format(&metrics->line, ",\"%s\":", name);
    gm_json_write_double(&metrics->line, value);
}

static void add_integer(gm_metrics *metrics, const char *name, int64_t value) {
    gm_buffer_format(&metrics->line, ",\"%s\":%" PRId64, name, value);
}

static void add_text(gm_metrics *metrics, const char *name, const char *text) {
    gm_buffer_format(&metrics->line, ",\"%s\":", name);
    gm_json_write_string(&metrics->line, text, strlen(text));
}

/* ---- what is shown ---------------------------------------------------------------------------------------------- */

void gm_format_duration(char text[32], double seconds) {
    int64_t s = seconds > 0 && seconds < 1e9 ? (int64_t)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(text, 32, "%" PRId64 ":%02d:%02d", s / 3600, (int)(s / 60 % 60), (int)(s % 60));
    else
        snprintf(text, 32, "%d:%02d", (int)(s / 60), (int)(s % 60));
}

static void append_bar(gm_buffer *out, double done) {
    int filled = (int)(done * BAR_CELLS);
    for (int i = 0; i < BAR_CELLS; i++) gm_buffer_text(out, i < filled ? "█" : "░");
    gm_buffer_char(out, ' ');
}

static void append_terms(gm_buffer *out, const gm_adapter_config *adapter, const gm_losses *losses) {
    gm_buffer_format(out, "loss %.4f", losses->total);
    if (adapter->losses.poisson > 0 || adapter->losses.normal > 0 || adapter->losses.balance > 0)
        gm_buffer_format(out, "  ce %.4f", losses->ce);
    if (adapter->losses.poisson > 0) gm_buffer_format(out, "  poisson %.4f", losses->poisson);
    if (adapter->losses.normal > 0) gm_buffer_format(out, "  normal %.4f", losses->normal);
    if (adapter->losses.balance > 0) gm_buffer_format(out, "  balance %.4f", losses->balance);
}

static void show_step(gm_metrics *metrics, const gm_step_report *report) {
    metrics->seconds_a_step = metrics->seconds_a_step > 0 ? 0.9 * metrics->seconds_a_step + 0.1 * report->seconds : report->seconds;
    double now = gm_clock_seconds();
    bool terminal = gm_log_is_terminal();
    bool soon = now - metrics->shown < (terminal ? seconds_between_bars : seconds_between_lines);
    if (!gm_log_enabled(GM_LOG_INFO) || (soon && report->step < metrics->total_steps)) return;
    metrics->shown = now;
    char left[32];
    gm_format_duration(left, metrics->seconds_a_step * (double)(metrics->total_steps - report->step));
    gm_buffer_clear(&metrics->line);
    if (terminal) append_bar(&metrics->line, (double)report->step / (double)metrics->total_steps);
    gm_buffer_format(&metrics->line, "step %" PRId64 "/%" PRId64 "  epoch %.2f  ", report->step, metrics->total_steps, report->epoch);
    append_terms(&metrics->line, metrics->adapter, &report->losses);
    gm_buffer_format(&metrics->line, "  %.0f tokens/s  %s left", (double)report->tokens / fmax(report->seconds, 1e-9), left);
    if (terminal)
        gm_log_progress(gm_buffer_string(&metrics->line));
    else
        gm_log(GM_LOG_INFO, "%s", gm_buffer_string(&metrics->line));
}

void gm_metrics_eval_progress(gm_metrics *metrics, const char *task, const char *split, double done) {
    bool terminal = gm_log_is_terminal();
    double now = gm_clock_seconds();
    bool soon = now - metrics->shown < (terminal ? seconds_between_bars : seconds_between_lines);
    if (done <= 0) metrics->shown = now; /* a short evaluation needs no lines */
    if (soon || (done <= 0 && !terminal)) return;
    metrics->shown = now;
    gm_buffer_clear(&metrics->line);
    if (terminal) append_bar(&metrics->line, done);
    gm_buffer_format(&metrics->line, "evaluating %s %s", task, split);
    if (!terminal) gm_buffer_format(&metrics->line, ": %.0f %%", 100 * done);
    if (terminal)
        gm_log_progress(gm_buffer_string(&metrics->line));
    else
        gm_log(GM_LOG_INFO, "%s", gm_buffer_string(&metrics->line));
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

void gm_metrics_step(gm_metrics *metrics, const gm_step_report *report) {
    begin_event(metrics, "step", report->step);
    add_number(metrics, "epoch", report->epoch);
    add_number(metrics, "loss", report->losses.total);
    add_number(metrics, "ce", report->losses.ce);
    add_number(metrics, "poisson", report->losses.poisson);
    add_number(metrics, "normal", report->losses.normal);
    add_number(metrics, "balance", report->losses.balance);
    add_number(metrics, "lr", report->learning_rate);
    add_number(metrics, "grad_norm", report->grad_norm);
    add_integer(metrics, "tokens", report->tokens);
    add_integer(metrics, "loss_tokens", report->loss_tokens);
    add_number(metrics, "tokens_per_s", (double)report->tokens / fmax(report->seconds, 1e-9));
    add_number(metrics, "seconds", report->seconds);
    gm_buffer_char(&metrics->line, '}');
    write_line(metrics);
    show_step(metrics, report);
}

static void log_accuracy(int64_t step, const char *task, const char *split, const char *adapter, const gm_eval_result *result) {
    char by_length[96] = "";
    if (result->scoring == GM_SCORING_LIKELIHOOD)
        snprintf(by_length, sizeof by_length, ", accuracy_norm %.4f, accuracy_bytes %.4f", result->accuracy_norm, result->accuracy_bytes);
    gm_log(GM_LOG_INFO, "step %" PRId64 "  %s %s, %s adapter: accuracy %.4f ± %.4f (%" PRId64 " of %" PRId64 ")%s", step, task, split,
           adapter, result->accuracy, result->stderr_, result->correct, result->n, by_length);
}

void gm_metrics_eval(gm_metrics *metrics, int64_t step, const char *task, const char *split, const char *adapter,
                     const gm_eval_result *result) {
    begin_event(metrics, "eval", step);
    add_text(metrics, "split", split);
    add_text(metrics, "task", task);
    add_text(metrics, "adapter", adapter);
    if (result->by_loss) {
        add_number(metrics, "loss", result->loss);
    } else {
        add_number(metrics, "accuracy", result->accuracy);
        add_number(metrics, "stderr", result->stderr_);
        add_integer(metrics, "correct", result->correct);
        if (result->scoring == GM_SCORING_LIKELIHOOD) {
            add_number(metrics, "accuracy_norm", result->accuracy_norm);
            add_number(metrics, "accuracy_bytes", result->accuracy_bytes);
        }
    }
    add_integer(metrics, "n", result->n);
    add_number(metrics, "samples_per_s", result->samples_per_s);
    gm_buffer_char(&metrics->line, '}');
    write_line(metrics);
    if (result->by_loss)
        gm_log(GM_LOG_INFO, "step %" PRId64 "  %s %s, %s adapter: loss %.4f over %" PRId64 " tokens", step, task, split, adapter,
               result->loss, result->loss_tokens);
    else
        log_accuracy(step, task, split, adapter, result);
}

void gm_metrics_eval_mean(gm_metrics *metrics, int64_t step, const char *split, const gm_mean_result *mean) {
    const char *metric = gm_metric_name(mean->metric);
    begin_event(metrics, "eval_mean", step);
    add_text(metrics, "split", split);
    add_integer(metrics, "tasks", mean->tasks);
    add_number(metrics, metric, mean->value);
    if (mean->metric != GM_METRIC_LOSS) add_number(metrics, "stderr", mean->stderr_);
    add_integer(metrics, "n", mean->n);
    gm_buffer_char(&metrics->line, '}');
    write_line(metrics);
    gm_log(GM_LOG_INFO, "step %" PRId64 "  %s, mean of %d task%s: %s %.4f", step, split, mean->tasks, mean->tasks > 1 ? "s" : "", metric,
           mean->value);
}

void gm_metrics_checkpoint(gm_metrics *metrics, int64_t step, const char *path, double seconds) {
    begin_event(metrics, "checkpoint", step);
    add_text(metrics, "path", path);
    add_number(metrics, "seconds", seconds);
    gm_buffer_char(&metrics->line, '}');
    write_line(metrics);
    gm_log(GM_LOG_DEBUG, "step %" PRId64 "  checkpoint %s", step, path);
}
