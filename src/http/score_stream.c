#include "http/score_stream.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "data/json_feed.h"
#include "data/json_lines.h"
#include "data/json_rows.h"
#include "data/npy_feed.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/row_body.h"
#include "http/scoring.h"
#include "service/live.h"
#include "service/service.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows that are judged at a time: enough for the kernels, and no more floats than that. */
#define MOST_ROWS   256
#define LEAST_ROWS  16
#define MOST_FLOATS ((size_t)1 << 18)

struct score_stream {
    struct scoring scoring;
    enum request_rows kind;
    struct json_feed *json; /* of ROWS_JSON */
    struct npy_feed *npy;   /* of ROWS_NPY */
    struct text lines;      /* of ROWS_LINES: what is not yet read, */
    size_t n_searched;      /* without a newline, */
    size_t line, offset;    /* the number of the next one, from 1, and where it begins */
    bool is_full;           /* no more of them is looked at */
    struct json_rows rows;  /* and read, not yet judged */
    size_t most;            /* rows at a time */
    struct reply reply;     /* as far as it has come; once is_refused: why */
    bool is_refused;
    bool is_batch, has_head;
    bool is_alone;    /* the body is not kept */
    bool must_repeat; /* it shall be read anew: options stand behind rows */
    size_t n_options; /* that hold */
};

static const struct schema *values_of(const struct score_stream *stream)
{
    return detector_values(stream->scoring.model->detector);
}

static int begin_reading(struct score_stream *stream)
{
    struct preparation *preparation = stream->scoring.preparation;

    switch (stream->kind) {
    case ROWS_JSON:
        return json_feed_new(values_of(stream), preparation, &stream->json);
    case ROWS_NPY:
        return npy_feed_new(values_of(stream), preparation, &stream->npy);
    case ROWS_LINES:
        break;
    }
    return 0;
}

/* Of a model that answers and has its detector. */
static struct score_stream *begin(struct handler *handler, struct live_model *model,
                                  const struct request *request)
{
    struct reply ignored = {0}; /* handle_score() will say the same */
    struct score_stream *stream = calloc(1, sizeof(*stream));
    if (!stream) {
        lookup_let_go(handler, model);
        lookup_release(handler, model);
        return NULL;
    }

    stream->kind = request->rows;
    stream->line = 1;
    scoring_begin(&stream->scoring, handler, model, request);
    stream->most = MOST_FLOATS / stream->scoring.n_features;
    stream->most = stream->most > MOST_ROWS    ? MOST_ROWS
                   : stream->most < LEAST_ROWS ? LEAST_ROWS
                                               : stream->most;
    if (score_options_read_query(&stream->scoring.options, request, &ignored) < 0 ||
        begin_reading(stream) < 0) {
        text_clear(&ignored.body);
        score_stream_free(stream);
        return NULL;
    }
    return stream;
}

struct score_stream *score_stream_begin(struct handler *handler, const struct request *request)
{
    struct live *live = service_live(handler->service);
    size_t n_models;
    struct live_model *model = request->model
                                   ? live_acquire(live, request->model, request->model_length)
                                   : live_acquire_only(live, &n_models);
    if (!model)
        return NULL;
    if (model->state == LIVE_SERVING && live_hold(live, model, NULL) == 0)
        return begin(handler, model, request);
    lookup_release(handler, model);
    return NULL;
}

void score_stream_free(struct score_stream *stream)
{
    if (!stream)
        return;
    struct handler *handler = stream->scoring.handler;

    scoring_clear(&stream->scoring);
    json_feed_free(stream->json);
    npy_feed_free(stream->npy);
    lookup_let_go(handler, stream->scoring.model);
    lookup_release(handler, stream->scoring.model);
    text_clear(&stream->lines);
    json_rows_clear(&stream->rows);
    text_clear(&stream->reply.body);
    free(stream);
}

/* ---- rows that are judged ---- */

static int out_of_memory(struct score_stream *stream)
{
    reply_no_memory(&stream->reply);
    return -EINVAL;
}

/* These rows; -EINVAL: the reply says why not. */
static int answer(struct score_stream *stream, struct json_rows *rows)
{
    struct scoring *scoring = &stream->scoring;
    struct handler *handler = scoring->handler;

    if (!stream->has_head) {
        stream->is_batch = rows->is_batch || stream->kind != ROWS_JSON;
        scoring_put_head(scoring, stream->is_batch, &stream->reply);
        stream->has_head = true;
    }
    handler->rows = rows;
    int r = scoring_answer(scoring, false, &stream->reply);
    if (r == 0 && stream->kind == ROWS_LINES)
        scoring_keep(scoring);
    else if (r == 0 && scoring_hold(scoring) < 0)
        r = out_of_memory(stream);
    handler->rows = &handler->own_rows;
    return r;
}

/* ---- JSON and .npy ---- */

static int refuse_late_option(struct score_stream *stream, const struct json_rows *rows)
{
    const char *name = rows->options[stream->n_options].name;
    char shown[TEXT_SHOWN_SIZE];

    reply_problem(&stream->reply, 400,
                  "Option \"%s\" stands behind the rows of a body that is scored while it comes; "
                  "write it before \"instances\", or give it in the query",
                  text_show(shown, name, strlen(name)));
    return -EINVAL;
}

/* Options hold from the first rows on. */
static int take_options(struct score_stream *stream, const struct json_rows *rows)
{
    struct scoring *scoring = &stream->scoring;

    if (rows->n_options == stream->n_options)
        return 0;
    if (scoring->n_rows > 0 && stream->is_alone)
        return refuse_late_option(stream, rows);
    if (scoring->n_rows > 0) {
        stream->must_repeat = true;
        return -EINVAL;
    }
    if (rows->n_rows == 0)
        return 0;
    stream->n_options = rows->n_options;
    return score_options_read_body(&scoring->options, rows, &stream->reply);
}

static int take_rows(struct score_stream *stream, struct json_rows *rows)
{
    struct scoring *scoring = &stream->scoring;

    int r = take_options(stream, rows);
    if (r == 0 && rows->n_rows > 0 && scoring->model->reject_missing)
        r = row_body_check_missing(rows, 0, scoring->n_rows, values_of(stream),
                                   scoring->preparation, &stream->reply);
    return r == 0 && rows->n_rows > 0 ? answer(stream, rows) : r;
}

static int read_feed(struct score_stream *stream, bool is_end, struct json_rows **ret_rows)
{
    *ret_rows = stream->json ? json_feed_rows(stream->json) : npy_feed_rows(stream->npy);
    return stream->json ? json_feed_read(stream->json, stream->most, is_end)
                        : npy_feed_read(stream->npy, stream->most, is_end);
}

/* Judges what has come. */
static int take_feed(struct score_stream *stream, bool is_end)
{
    struct json_rows *rows;
    size_t n_read;
    int r;

    do {
        r = read_feed(stream, is_end, &rows);
        if (r < 0) {
            row_body_refuse(rows, r, &stream->reply);
            return -EINVAL;
        }
        n_read = rows->n_rows; /* of which late ones do not stay */
        r = take_rows(stream, rows);
    } while (r == 0 && n_read > 0);
    return r;
}

static int put_feed(struct score_stream *stream, const char *bytes, size_t n)
{
    int r =
        stream->json ? json_feed_put(stream->json, bytes, n) : npy_feed_put(stream->npy, bytes, n);

    return r < 0 ? out_of_memory(stream) : take_feed(stream, false);
}

/* ---- NDJSON ---- */

static int answer_lines(struct score_stream *stream)
{
    int r = stream->rows.n_rows > 0 ? answer(stream, &stream->rows) : 0;

    stream->rows.n_rows = 0;
    return r;
}

/* A problem in the place of a verdict. It says its line; that of a place says it already. */
static int put_problem(struct score_stream *stream, struct reply *problem, bool has_place)
{
    struct text *text = &stream->reply.body;
    int r = answer_lines(stream);

    if (r == 0 && !stream->has_head) {
        scoring_put_head(&stream->scoring, true, &stream->reply);
        stream->has_head = true;
    }
    if (r == 0 && stream->scoring.form == ANSWER_NPY) {
        scoring_put_none(&stream->reply);
    } else if (r == 0) {
        text_printf(text, "{\"row\":%zu,", stream->scoring.n_rows);
        if (!has_place)
            text_printf(text, "\"line\":%zu,", stream->line);
        text_append(text, problem->body.data + 1, problem->body.length - 1);
        text_puts(text, "\n");
    }
    text_clear(&problem->body);
    stream->scoring.n_rows++;
    return r == 0 && text_failed(text) ? out_of_memory(stream) : r;
}

/* What has been answered stays so: its rows have left their trace. */
static int end_early(struct score_stream *stream, const char *why)
{
    struct reply problem = {0};

    stream->is_full = true;
    reply_problem(&problem, 413, "%s; from here on nothing has been looked at: send it again", why);
    return put_problem(stream, &problem, false);
}

/* Before a line. */
static int check_room(struct score_stream *stream)
{
    if (scoring_has_room(&stream->reply))
        return 0;
    return end_early(stream, "The answer would be larger than " SCORING_MOST);
}

/* Rates over no time are none: each of several rows must say when it was. The query does for the
 * first. */
static int check_time(struct score_stream *stream, struct reply *problem)
{
    const struct scoring *scoring = &stream->scoring;
    const size_t last = stream->rows.n_rows - 1;
    double *time = &stream->rows.times[last];

    if (!preparation_has_rates(scoring->preparation) || scoring->options.is_independent)
        return 0;
    if (isnan(*time) && scoring->options.is_given[OPTION_TIMESTAMP] && scoring->n_rows + last == 0)
        *time = (double)scoring->options.time_us / 1e6;
    if (!isnan(*time))
        return 0;
    reply_problem(problem, 422,
                  "The row has no time, and this model takes rates: give each row its own, "
                  "{\"features\": {\"timestamp\": 1709292600, …}}");
    return -EINVAL;
}

/* The last of the rows, without options. */
static int check_row(struct score_stream *stream, struct reply *problem)
{
    const struct scoring *scoring = &stream->scoring;
    const size_t last = stream->rows.n_rows - 1;

    int r = scoring->preparation ? check_time(stream, problem) : 0;
    if (r == 0)
        r = scoring_check_detail(scoring, stream->rows.n_rows, problem);
    if (r == 0 && scoring->model->reject_missing)
        r = row_body_check_missing(&stream->rows, last, scoring->n_rows, values_of(stream),
                                   scoring->preparation, problem);
    return r;
}

/* A time beside the features is the row's own, as one among them is. */
static void take_time(struct score_stream *stream, const struct score_options *before)
{
    const struct score_options *options = &stream->scoring.options;

    if (stream->scoring.preparation && isnan(stream->rows.times[0]) &&
        options->is_given[OPTION_TIMESTAMP] && !before->is_given[OPTION_TIMESTAMP])
        stream->rows.times[0] = (double)options->time_us / 1e6;
}

/* A line with options of its own, which hold for it alone. */
static int take_special_line(struct score_stream *stream, const char *line, size_t n)
{
    const struct score_options before = stream->scoring.options;
    struct reply problem = {0};

    stream->rows.n_rows--;
    int r = answer_lines(stream);
    if (r < 0)
        return r;
    if (json_rows_read_line(&stream->rows, values_of(stream), stream->scoring.preparation, line,
                            n) < 0)
        return out_of_memory(stream); /* it has been read before */
    r = score_options_read_body(&stream->scoring.options, &stream->rows, &problem);
    if (r == 0)
        take_time(stream, &before);
    if (r == 0)
        r = check_row(stream, &problem);
    if (r < 0)
        stream->rows.n_rows = 0;
    r = r < 0 ? put_problem(stream, &problem, false) : answer_lines(stream);
    stream->scoring.options = before;
    return r;
}

static int take_line(struct score_stream *stream, const char *line, size_t n)
{
    struct reply problem = {0};

    if (json_line_is_empty(line, n))
        return 0;
    int r =
        json_rows_read_line(&stream->rows, values_of(stream), stream->scoring.preparation, line, n);
    if (r == 0 && stream->rows.n_options > 0)
        return take_special_line(stream, line, n);
    if (r < 0) {
        stream->rows.line = stream->line;
        stream->rows.offset += stream->offset;
        row_body_refuse(&stream->rows, r, &problem);
        return put_problem(stream, &problem, r == -EBADMSG);
    }
    if (check_row(stream, &problem) < 0) {
        stream->rows.n_rows--;
        return put_problem(stream, &problem, false);
    }
    return stream->rows.n_rows == stream->most ? answer_lines(stream) : 0;
}

/* The first of lines[size], if it is whole: its length; SIZE_MAX: it is not. */
static size_t find_line(const char *lines, size_t size, size_t from)
{
    const char *newline = size > from ? memchr(lines + from, '\n', size - from) : NULL;

    return newline ? (size_t)(newline - lines) : SIZE_MAX;
}

static int put_lines(struct score_stream *stream, const char *bytes, size_t n)
{
    struct text *lines = &stream->lines;
    size_t begin = 0, length;
    int r = 0;

    text_append(lines, bytes, n);
    if (text_failed(lines))
        return out_of_memory(stream);
    while (r == 0 && !stream->is_full &&
           (length = find_line(lines->data + begin, lines->length - begin,
                               begin == 0 ? stream->n_searched : 0)) != SIZE_MAX) {
        r = check_room(stream);
        if (r == 0 && !stream->is_full)
            r = take_line(stream, lines->data + begin, length);
        begin += length + 1;
        stream->line++;
        stream->offset += length + 1;
    }
    if (stream->is_full)
        begin = lines->length;
    if (begin > 0)
        memmove(lines->data, lines->data + begin, lines->length - begin);
    lines->length -= begin;
    stream->n_searched = lines->length;
    if (r == 0 && !stream->is_full &&
        lines->length > JSON_FEED_MAX_STEP(stream->scoring.n_features)) {
        lines->length = stream->n_searched = 0;
        r = end_early(stream, "A line is longer than any row can be");
    }
    return r == 0 ? answer_lines(stream) : r;
}

/* The last line needs no newline. */
static int end_lines(struct score_stream *stream)
{
    int r =
        stream->lines.length > 0 ? take_line(stream, stream->lines.data, stream->lines.length) : 0;

    if (r == 0)
        r = answer_lines(stream);
    if (r < 0 || stream->scoring.n_rows > 0)
        return r;
    row_body_refuse(&stream->rows, json_rows_refuse_none(&stream->rows), &stream->reply);
    return -EINVAL;
}

/* ---- all of it ---- */

/* Takes back what rows have left, before the client hears of it and sends others. */
static void refuse(struct score_stream *stream)
{
    stream->is_refused = true;
    scoring_clear(&stream->scoring);
}

void score_stream_put(struct score_stream *stream, const char *bytes, size_t n)
{
    if (stream->is_refused || stream->must_repeat || stream->is_full)
        return;
    const int r =
        stream->kind == ROWS_LINES ? put_lines(stream, bytes, n) : put_feed(stream, bytes, n);
    if (r < 0)
        refuse(stream);
}

void score_stream_stand_alone(struct score_stream *stream)
{
    stream->is_alone = true;
    if (!stream->must_repeat)
        return;
    stream->must_repeat = false;
    if (refuse_late_option(stream, json_feed_rows(stream->json)) < 0)
        refuse(stream);
}

bool score_stream_end(struct score_stream *stream, struct reply *reply)
{
    struct scoring *scoring = &stream->scoring;

    if (!stream->is_refused &&
        (stream->kind == ROWS_LINES ? end_lines(stream) : take_feed(stream, true)) < 0)
        refuse(stream);
    if (stream->must_repeat)
        return false;
    if (!stream->is_refused) {
        scoring_put_end(scoring, stream->is_batch, &stream->reply);
        if (!text_failed(&stream->reply.body))
            scoring_commit(scoring);
        else if (out_of_memory(stream) < 0)
            refuse(stream);
    }
    *reply = stream->reply;
    stream->reply = (struct reply){0};
    return true;
}
