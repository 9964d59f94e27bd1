#include "http/score_stream.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "data/json_feed.h"
#include "data/json_rows.h"
#include "data/npy_feed.h"
#include "detector/detector.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/row_body.h"
#include "http/score_stream_state.h"
#include "http/scoring.h"
#include "service/live.h"
#include "service/recent.h"
#include "service/series_memory.h"
#include "service/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Rows that are judged at a time: enough for the kernels, and no more floats than that. */
#define MOST_ROWS   256
#define LEAST_ROWS  16
#define MOST_FLOATS ((size_t)1 << 18)

/* Bytes of the body that are read at a time: room for them is kept until its end. */
#define MOST_BYTES ((size_t)64 << 10)

const struct schema *score_stream_values(const struct score_stream *stream)
{
    return detector_values(stream->scoring.model->detector);
}

static int begin_reading(struct score_stream *stream)
{
    struct preparation *preparation = stream->scoring.preparation;

    switch (stream->kind) {
    case ROWS_JSON:
        return json_feed_new(score_stream_values(stream), preparation, &stream->json);
    case ROWS_NPY:
        return npy_feed_new(score_stream_values(stream), preparation, &stream->npy);
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
    stream->reply.share.quota = service_request_memory(handler->service);
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

static void end_reading(struct score_stream *stream)
{
    json_feed_free(TAKE(stream->json));
    npy_feed_free(TAKE(stream->npy));
    text_clear(&stream->lines);
    json_rows_clear(&stream->rows);
    share_clear(&stream->scoring.work);
}

void score_stream_free(struct score_stream *stream)
{
    if (!stream)
        return;
    struct handler *handler = stream->scoring.handler;

    scoring_clear(&stream->scoring);
    end_reading(stream);
    lookup_let_go(handler, stream->scoring.model);
    lookup_release(handler, stream->scoring.model);
    reply_clear_body(&stream->reply);
    free(stream);
}

/* ---- rows that are judged ---- */

int score_stream_no_memory(struct score_stream *stream)
{
    reply_no_memory(&stream->reply);
    return -EINVAL;
}

int score_stream_answer(struct score_stream *stream, struct json_rows *rows)
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
        r = score_stream_no_memory(stream);
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
        r = row_body_check_missing(rows, 0, scoring->n_rows, score_stream_values(stream),
                                   scoring->preparation, &stream->reply);
    return r == 0 && rows->n_rows > 0 ? score_stream_answer(stream, rows) : r;
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

    return r < 0 ? score_stream_no_memory(stream) : take_feed(stream, false);
}

/* ---- all of it ---- */

/* Takes back what rows have left, before the client hears of it and sends others. */
static void refuse(struct score_stream *stream)
{
    stream->is_refused = true;
    scoring_clear(&stream->scoring);
    if (stream->must_repeat) /* and the options are still there to be told of */
        reply_clear_body(&stream->reply);
    else
        end_reading(stream);
}

static int put_piece(struct score_stream *stream, const char *bytes, size_t n)
{
    return stream->kind == ROWS_LINES ? score_stream_put_lines(stream, bytes, n)
                                      : put_feed(stream, bytes, n);
}

/* What is there besides the answer and the rows for learning. */
static size_t size_of_work(const struct score_stream *stream)
{
    const struct scoring *scoring = &stream->scoring;

    return (stream->json ? json_feed_size(stream->json) : 0) +
           (stream->npy ? npy_feed_size(stream->npy) : 0) + stream->lines.capacity +
           json_rows_size(&stream->rows) + series_undo_size(scoring->undo) +
           (scoring->errors ? RECENT_ROWS * sizeof(*scoring->errors) : 0);
}

/* After a piece: it is small, and what it has made grow is let go where there is no room for it. */
static int check_work(struct score_stream *stream)
{
    struct share *work = &stream->scoring.work;
    const size_t n_bytes = size_of_work(stream);
    const char *why;

    if (share_fit(work, n_bytes, QUOTA_WHOLE))
        return 0;
    if (stream->kind != ROWS_LINES || !stream->has_head) {
        scoring_refuse_full(&stream->scoring, n_bytes - work->bytes, &stream->reply);
        return -EINVAL;
    }
    const unsigned status =
        scoring_why_full(&stream->scoring, &stream->reply, n_bytes - work->bytes, &why);
    text_clear(&stream->lines);
    return score_stream_end_early(stream, status, why);
}

void score_stream_put(struct score_stream *stream, const char *bytes, size_t n)
{
    while (n > 0 && !stream->is_refused && !stream->must_repeat && !stream->is_full) {
        const size_t n_piece = n < MOST_BYTES ? n : MOST_BYTES;
        int r = put_piece(stream, bytes, n_piece);
        if (r == 0 && !stream->is_full)
            r = check_work(stream);
        if (r < 0)
            refuse(stream);
        bytes += n_piece;
        n -= n_piece;
    }
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

static int take_end(struct score_stream *stream)
{
    struct scoring *scoring = &stream->scoring;

    int r = stream->kind == ROWS_LINES ? score_stream_end_lines(stream) : take_feed(stream, true);
    if (r < 0)
        return r;
    scoring_put_end(scoring, stream->is_batch, &stream->reply);
    if (text_failed(&stream->reply.body))
        return score_stream_no_memory(stream);
    scoring_commit(scoring);
    return 0;
}

bool score_stream_end(struct score_stream *stream, struct reply *reply)
{
    if (!stream->is_refused && take_end(stream) < 0)
        refuse(stream);
    scoring_clear(&stream->scoring);
    end_reading(stream);
    if (stream->must_repeat)
        return false;
    *reply = stream->reply;
    stream->reply = (struct reply){0};
    return true;
}

size_t score_stream_n_kept(const struct score_stream *stream)
{
    if (stream->kind != ROWS_LINES)
        return 0;
    return stream->scoring.n_rows - stream->is_full; /* in place of the last one it says why */
}
