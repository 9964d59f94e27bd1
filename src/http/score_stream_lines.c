/* Bodies of NDJSON: each line stands alone, and a bad one gets a problem in its place. */
#include "base/text.h"
#include "data/json_feed.h"
#include "data/json_lines.h"
#include "data/json_rows.h"
#include "data/preparation.h"
#include "http/reply.h"
#include "http/row_body.h"
#include "http/score_stream_state.h"
#include "http/scoring.h"
#include "service/live.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static int answer_lines(struct score_stream *stream)
{
    int r = stream->rows.n_rows > 0 ? score_stream_answer(stream, &stream->rows) : 0;

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
    share_set(&stream->reply.share, text->length);
    stream->scoring.n_rows++;
    return r == 0 && text_failed(text) ? score_stream_no_memory(stream) : r;
}

int score_stream_end_early(struct score_stream *stream, unsigned status, const char *why)
{
    struct reply problem = {0};

    stream->is_full = true;
    reply_problem(&problem, status, "%s; from here on nothing has been looked at: send it again",
                  why);
    return put_problem(stream, &problem, false);
}

/* Before a line, beside those that have not got their verdicts yet: these may turn out to be
 * shorter than what was reckoned with. */
static int check_room(struct score_stream *stream)
{
    struct scoring *scoring = &stream->scoring;
    const char *why;
    unsigned status = scoring_check_room(scoring, stream->rows.n_rows + 1, &stream->reply, &why);
    int r = 0;

    if (status != 0 && stream->rows.n_rows > 0) {
        r = answer_lines(stream);
        status = scoring_check_room(scoring, 1, &stream->reply, &why);
    }
    return r < 0 || status == 0 ? r : score_stream_end_early(stream, status, why);
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
        r = row_body_check_missing(&stream->rows, last, scoring->n_rows,
                                   score_stream_values(stream), scoring->preparation, problem);
    return r;
}

/* It may ask for a longer answer than others. */
static int answer_special_line(struct score_stream *stream)
{
    const char *why;
    const unsigned status = scoring_check_room(&stream->scoring, 1, &stream->reply, &why);

    if (status == 0)
        return answer_lines(stream);
    stream->rows.n_rows = 0;
    return score_stream_end_early(stream, status, why);
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
    if (json_rows_read_line(&stream->rows, score_stream_values(stream), stream->scoring.preparation,
                            line, n) < 0)
        return score_stream_no_memory(stream); /* it has been read before */
    r = score_options_read_body(&stream->scoring.options, &stream->rows, &problem);
    if (r == 0)
        take_time(stream, &before);
    if (r == 0)
        r = check_row(stream, &problem);
    if (r < 0)
        stream->rows.n_rows = 0;
    r = r < 0 ? put_problem(stream, &problem, false) : answer_special_line(stream);
    stream->scoring.options = before;
    return r;
}

static int take_line(struct score_stream *stream, const char *line, size_t n)
{
    struct reply problem = {0};

    if (json_line_is_empty(line, n))
        return 0;
    int r = json_rows_read_line(&stream->rows, score_stream_values(stream),
                                stream->scoring.preparation, line, n);
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

int score_stream_put_lines(struct score_stream *stream, const char *bytes, size_t n)
{
    struct text *lines = &stream->lines;
    size_t begin = 0, length;
    int r = 0;

    text_append(lines, bytes, n);
    if (text_failed(lines))
        return score_stream_no_memory(stream);
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
        r = score_stream_end_early(stream, 413, "A line is longer than any row can be");
    }
    return r == 0 ? answer_lines(stream) : r;
}

int score_stream_end_lines(struct score_stream *stream)
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
