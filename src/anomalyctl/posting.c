#include "anomalyctl/posting.h"

#include "anomalyctl/client.h"
#include "anomalyctl/output.h"
#include "base/clock.h"
#include "base/text.h"
#include "source/host.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS  3000 /* of a request: sampling, and whoever ends it, wait for it */
#define RETRY_PAUSE 10   /* times as long as the try took: a daemon that hangs costs few rows */
#define MOST_BLAMED "3"  /* features in a line */

struct posting {
    struct posting_options options;
    size_t n_features;
    struct text path, body; /* the body is kept between rows, which then allocate nothing */
    float *rows;            /* [POSTING_MOST_WAITING][n_features], a ring */
    uint64_t *times_us;     /* [POSTING_MOST_WAITING] */
    size_t first, n_waiting;
    /* the daemon */
    bool is_away;
    uint64_t retry_us;              /* monotonic; not before */
    json_int_t version;             /* that answered last; 0: none */
    json_int_t n_learned, n_needed; /* of a model that learns its first version */
    json_int_t n_told;              /* tenths of these that were told */
    struct posting_figures figures;
};

void posting_free(struct posting *posting)
{
    if (!posting)
        return;
    text_clear(&posting->path);
    text_clear(&posting->body);
    free(posting->rows);
    free(posting->times_us);
    free(posting);
}

int posting_new(const struct posting_options *options, struct posting **ret_posting)
{
    CLEANUP(posting_freep) struct posting *posting = calloc(1, sizeof(*posting));
    if (!posting)
        return -ENOMEM;

    posting->options = *options;
    posting->n_features = host_sampler_n_features(options->sampler);
    posting->rows = calloc(POSTING_MOST_WAITING, posting->n_features * sizeof(float));
    posting->times_us = calloc(POSTING_MOST_WAITING, sizeof(uint64_t));
    text_printf(&posting->path, "/v1/models/%s/%s", options->model,
                options->is_observed ? "observe" : "score?top=" MOST_BLAMED);
    if (!posting->rows || !posting->times_us || text_failed(&posting->path))
        return -ENOMEM;
    if (client_set_timeout(options->client, TIMEOUT_MS) < 0)
        return -ENOMEM;
    *ret_posting = TAKE(posting);
    return 0;
}

void posting_add(struct posting *posting, uint64_t time_us, const float *row)
{
    const size_t n_features = posting->n_features;

    if (posting->n_waiting == POSTING_MOST_WAITING) {
        posting->first = (posting->first + 1) % POSTING_MOST_WAITING;
        posting->n_waiting--;
        posting->figures.n_dropped++;
    }
    const size_t place = (posting->first + posting->n_waiting++) % POSTING_MOST_WAITING;
    memcpy(posting->rows + place * n_features, row, n_features * sizeof(*row));
    posting->times_us[place] = time_us;
}

/* ---- what people see ---- */

/* A line of progress may stand where the next line goes. */
static void clear_progress(void)
{
    if (isatty(STDERR_FILENO))
        (void)fputs("\r\033[K", stderr);
}

static void tell(const char *format, ...) PRINTF_LIKE(1, 2);

static void tell(const char *format, ...)
{
    va_list arguments;

    clear_progress();
    (void)fputs("anomalyctl: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

static void append_blamed(struct text *line, const json_t *contribution, bool is_first)
{
    const char *feature = json_string_value(json_object_get(contribution, "feature"));
    const json_t *expected = json_object_get(contribution, "expected");

    text_puts(line, is_first ? "  " : ", ");
    output_append_padded(line, feature ? feature : "?", 0);
    text_printf(line, " %.4g", json_number_value(json_object_get(contribution, "value")));
    if (json_is_number(expected))
        text_printf(line, " (expected %.4g)", json_number_value(expected));
}

/* 2026-11-30T03:10:12.000Z  score 13.9  event 7  forks 11830 (expected 39.99), … */
static int print_anomaly(uint64_t time_us, const json_t *verdict, struct error *reterr)
{
    const json_t *contributions = json_object_get(verdict, "contributions");
    const json_t *event = json_object_get(verdict, "event");
    CLEANUP(text_clear) struct text line = {0};

    output_append_timestamp(&line, time_us);
    text_printf(&line, "  score %.3g", json_number_value(json_object_get(verdict, "score")));
    if (event)
        text_printf(&line, "  event %" JSON_INTEGER_FORMAT, json_integer_value(event));
    for (size_t i = 0; i < json_array_size(contributions); i++)
        append_blamed(&line, json_array_get(contributions, i), i == 0);
    text_puts(&line, "\n");
    if (text_failed(&line))
        return -ENOMEM;
    clear_progress();
    errno = 0;
    if (fwrite(line.data, 1, line.length, stdout) != line.length || fflush(stdout) != 0)
        return error_set_errno(reterr, errno ? -errno : -EIO, "standard output", "write");
    return 0;
}

/* The model has no version yet: a line for each tenth of what it needs. */
static void take_progress(struct posting *posting, const json_t *reply)
{
    const char *model = posting->options.model;

    posting->version = 0;
    posting->n_learned = json_integer_value(json_object_get(reply, "rows"));
    posting->n_needed = json_integer_value(json_object_get(reply, "rows_needed"));
    if (posting->n_needed <= 0)
        return;
    const json_int_t n_tenths = 10 * posting->n_learned / posting->n_needed;
    if (posting->options.is_quiet || isatty(STDERR_FILENO) || posting->n_told == n_tenths + 1)
        return;
    posting->n_told = n_tenths + 1;
    tell("%s: learning, %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " rows", model,
         posting->n_learned, posting->n_needed);
}

static int take_verdict(struct posting *posting, uint64_t time_us, const json_t *reply,
                        struct error *reterr)
{
    const json_int_t version = json_integer_value(json_object_get(reply, "version"));

    if (version != posting->version && !posting->options.is_quiet)
        tell("%s: version %" JSON_INTEGER_FORMAT " answers", posting->options.model, version);
    posting->version = version;
    if (!json_is_true(json_object_get(reply, "anomaly")))
        return 0;
    posting->figures.n_anomalies++;
    return posting->options.is_quiet ? 0 : print_anomaly(time_us, reply, reterr);
}

void posting_describe(const struct posting *posting, struct text *text)
{
    const struct posting_figures *figures = &posting->figures;

    text_printf(text, "%s: ", posting->options.model);
    if (posting->is_away)
        text_printf(text, "the daemon is away, %zu rows wait", posting->n_waiting);
    else if (posting->version)
        text_printf(text,
                    "version %" JSON_INTEGER_FORMAT ", %" PRIu64 " rows, %" PRIu64 " anomalies",
                    posting->version, figures->n_sent, figures->n_anomalies);
    else if (posting->n_learned < posting->n_needed)
        text_printf(text, "learning, %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " rows",
                    posting->n_learned, posting->n_needed);
    else if (posting->n_needed)
        text_puts(text, "its first version is being trained");
    else
        text_printf(text, "%" PRIu64 " rows", figures->n_sent);
}

struct posting_figures posting_figures(const struct posting *posting)
{
    struct posting_figures figures = posting->figures;

    figures.n_waiting = posting->n_waiting;
    return figures;
}

/* ---- sending ---- */

static void write_body(struct posting *posting, uint64_t time_us, const float *row)
{
    const struct posting_options *options = &posting->options;
    struct text *body = &posting->body;

    body->length = 0;
    text_printf(body, "{\"timestamp\":%.6f", (double)time_us / (double)US_PER_S);
    if (options->series) {
        text_puts(body, ",\"series\":");
        text_json_string(body, options->series, strlen(options->series));
    }
    text_puts(body, ",\"features\":{");
    for (size_t i = 0; i < posting->n_features; i++) {
        const char *name = host_sampler_feature_name(options->sampler, i);
        text_puts(body, i > 0 ? "," : "");
        text_json_string(body, name, strlen(name));
        text_puts(body, ":");
        text_float(body, row[i]);
    }
    text_puts(body, "}}");
}

/* It may answer otherwise later: it could not be reached, or says so itself. */
static bool may_come_back(const struct client *client, int r)
{
    static const long passing[] = {408, 429, 500, 502, 503, 504};
    const long status = client_status(client);

    if (r == -ENOMEM || r == -EBADMSG)
        return false;
    for (size_t i = 0; i < sizeof(passing) / sizeof(*passing); i++)
        if (status == passing[i])
            return true;
    return status == 0;
}

/* 0: the row stays and waits. */
static int take_failure(struct posting *posting, int r, uint64_t began_us, const struct error *why,
                        struct error *reterr)
{
    const uint64_t now_us = clock_monotonic_us();

    if (!may_come_back(posting->options.client, r)) {
        *reterr = *why;
        return r;
    }
    if (!posting->is_away)
        tell("%s (up to %d rows wait until it answers)", why->text, POSTING_MOST_WAITING);
    posting->is_away = true;
    posting->retry_us = now_us + RETRY_PAUSE * (now_us - began_us);
    return 0;
}

/* The first row that waits was taken by the daemon. */
static int take_answer(struct posting *posting, uint64_t time_us, const json_t *reply,
                       struct error *reterr)
{
    if (posting->is_away)
        tell("%s: it answers again; %zu rows waited, %" PRIu64 " were dropped",
             posting->options.url, posting->n_waiting, posting->figures.n_dropped);
    posting->is_away = false;
    posting->first = (posting->first + 1) % POSTING_MOST_WAITING;
    posting->n_waiting--;
    posting->figures.n_sent++;
    if (json_object_get(reply, "rows_needed"))
        take_progress(posting, reply);
    else if (json_object_get(reply, "version"))
        return take_verdict(posting, time_us, reply, reterr);
    return 0;
}

int posting_send(struct posting *posting, uint64_t deadline_us, struct error *reterr)
{
    uint64_t now_us = clock_monotonic_us();

    if (posting->is_away && now_us < posting->retry_us)
        return 0;
    for (; posting->n_waiting > 0; now_us = clock_monotonic_us()) {
        const uint64_t time_us = posting->times_us[posting->first];
        const size_t n_features = posting->n_features;
        json_auto_t *reply = NULL;
        struct error why = {0};

        write_body(posting, time_us, posting->rows + posting->first * n_features);
        if (text_failed(&posting->body))
            return -ENOMEM;
        int r = client_post(posting->options.client, posting->path.data, posting->body.data,
                            posting->body.length, &reply, &why);
        if (r < 0)
            return take_failure(posting, r, now_us, &why, reterr);
        r = take_answer(posting, time_us, reply, reterr);
        if (r < 0 || clock_monotonic_us() >= deadline_us)
            return r;
    }
    return 0;
}
