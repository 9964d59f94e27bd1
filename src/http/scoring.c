/* Replies are written by hand (base/text.h): a JSON library would cost more than the scoring. */
#include "http/scoring.h"

#include "base/clock.h"
#include "base/text.h"
#include "data/json_rows.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/judge.h"
#include "detector/verdict_json.h"
#include "http/handler.h"
#include "http/prepared_rows.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/live.h"
#include "service/recent.h"
#include "service/series_memory.h"
#include "service/service.h"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_DETAILED 1000 /* rows a request: each may be scored 128 times */
#define FEW_ENTRIES   16
#define NPY_HEAD      128 /* bytes, with the length of the dictionary that they say */
#define NPY_COLUMNS   3

static enum answer_form form_of(const struct request *request)
{
    if (request->wants_npy)
        return ANSWER_NPY;
    return request->wants_lines || request->rows == ROWS_LINES ? ANSWER_LINES : ANSWER_OBJECT;
}

void scoring_begin(struct scoring *scoring, struct handler *handler, struct live_model *model,
                   const struct request *request)
{
    *scoring = (struct scoring){
        .handler = handler,
        .model = model,
        .preparation = detector_preparation(model->detector),
        .n_features = detector_n_features(model->detector),
        .vocabulary = detector_vocabulary(model->detector),
        .form = form_of(request),
        .is_line = request->rows == ROWS_LINES,
        .body = request->body_share,
    };
    scoring->held.share.quota = scoring->work.quota = service_request_memory(handler->service);
    score_options_init(&scoring->options);
}

void scoring_clear(struct scoring *scoring)
{
    if (scoring->undo)
        series_undo_apply(scoring->undo);
    series_undo_free(scoring->undo);
    learner_drop_held(&scoring->held);
    free(scoring->errors);
    scoring->undo = NULL;
    scoring->errors = NULL;
}

/* ---- writing ---- */

static void put_name(struct text *text, const char *name)
{
    text_json_string(text, name, strlen(name));
}

static bool wants_explanation(const struct scoring *scoring, const struct verdict *verdict)
{
    if (scoring->form == ANSWER_NPY)
        return false;
    return scoring->options.explain == EXPLAIN_ALL ||
           (scoring->options.explain == EXPLAIN_ANOMALIES && verdict->anomaly);
}

/* The members of verdict i; with the threshold unless the batch has said it. 0 or -ENOMEM. */
static int put_verdict(struct scoring *scoring, size_t i, bool has_threshold, struct text *text)
{
    struct handler *handler = scoring->handler;
    const struct json_rows *rows = handler->rows;
    const struct verdict *verdict = &handler->verdicts[i];
    const size_t n_features = scoring->n_features;
    const size_t n_inputs = schema_n_features(scoring->vocabulary.inputs);
    const float *row = rows->rows + i * n_features;
    const double *values = scoring->preparation
                               ? rows->values + i * schema_n_features(scoring->preparation->values)
                               : NULL;
    const bool explained = handler->is_explained[i];
    const bool is_lowered = verdict->n_set_aside > 0;

    if (explained || is_lowered) {
        int r =
            explained_fill(&handler->explained, scoring->model->detector,
                           is_lowered ? scoring->model->rules : NULL, handler->workspace, row,
                           values, explained ? scoring->hold : NULL,
                           explained && scoring->options.detail ? scoring->model->threshold : 0.0);
        if (r < 0)
            return r;
    }
    scoring->hold += explained && scoring->hold ? n_features : 0;
    verdict_json_append(text, &scoring->vocabulary, verdict,
                        has_threshold ? &scoring->model->threshold : NULL, row,
                        explained ? &handler->explained : NULL,
                        scoring->options.top < n_inputs ? scoring->options.top : n_inputs);
    if (is_lowered)
        verdict_json_set_aside(text, &scoring->vocabulary, &handler->explained);
    return 0;
}

static void put_model(const struct scoring *scoring, struct text *text)
{
    text_puts(text, "\"model\":");
    put_name(text, scoring->model->name);
    text_puts(text, ",\"version\":");
    text_u64(text, scoring->model->version);
    text_puts(text, ",");
}

static int put_line(struct scoring *scoring, size_t i, struct text *text)
{
    text_puts(text, "{\"row\":");
    text_u64(text, scoring->n_rows + i);
    text_puts(text, ",");
    put_model(scoring, text);
    int r = put_verdict(scoring, i, true, text);
    text_puts(text, "}\n");
    return r;
}

static int put_object(struct scoring *scoring, size_t i, struct text *text)
{
    const bool is_batch = scoring->handler->rows->is_batch;
    const bool is_first = scoring->n_rows + i == 0;

    if (is_batch)
        text_puts(text, is_first ? "{" : ",{");
    int r = put_verdict(scoring, i, !is_batch, text);
    text_puts(text, "}");
    return r;
}

static void put_numbers(const double numbers[NPY_COLUMNS], struct text *text)
{
    char bytes[NPY_COLUMNS * sizeof(*numbers)];

    memcpy(bytes, numbers, sizeof(bytes));
    text_append(text, bytes, sizeof(bytes));
}

void scoring_put_none(struct reply *reply)
{
    put_numbers((const double[]){(double)NAN, (double)NAN, (double)NAN}, &reply->body);
}

static void put_npy_row(const struct verdict *verdict, struct text *text)
{
    put_numbers((const double[]){verdict->reconstruction_error, verdict->score, verdict->p_value},
                text);
}

/* 0, -ENOMEM, or unless they must stay -EFBIG: the answer is larger than SCORING_MOST_BYTES, or
 * -ENOBUFS: than what is left for it. */
static int put_verdicts(struct scoring *scoring, bool must_stay, struct reply *reply)
{
    const size_t n_rows = scoring->handler->rows->n_rows;
    struct text *text = &reply->body;
    int r = 0;

    for (size_t i = 0; r == 0 && i < n_rows; i++) {
        if (scoring->form == ANSWER_NPY)
            put_npy_row(&scoring->handler->verdicts[i], text);
        else
            r = scoring->form == ANSWER_LINES ? put_line(scoring, i, text)
                                              : put_object(scoring, i, text);
        if (r == 0 && !must_stay && text->length > SCORING_MOST_BYTES)
            r = -EFBIG;
        else if (r == 0 && !must_stay && !share_fit(&reply->share, text->length, QUOTA_WHOLE))
            r = -ENOBUFS;
    }
    if (must_stay)
        share_set(&reply->share, text->length);
    return r == 0 && text_failed(text) ? -ENOMEM : r;
}

/* The header of an array of so many rows, as numpy.save() would write it. */
static void write_npy_head(char head[NPY_HEAD], size_t n_rows)
{
    static const unsigned char begin[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, NPY_HEAD - 10, 0};
    char *const dictionary = head + sizeof(begin);

    memset(head, ' ', NPY_HEAD);
    memcpy(head, begin, sizeof(begin));
    const int n = snprintf(dictionary, NPY_HEAD - sizeof(begin),
                           "{'descr': '%cf8', 'fortran_order': False, 'shape': (%zu, %d), }",
                           BYTE_ORDER == LITTLE_ENDIAN ? '<' : '>', n_rows, NPY_COLUMNS);
    dictionary[n] = ' ';
    head[NPY_HEAD - 1] = '\n';
}

void scoring_put_head(const struct scoring *scoring, bool is_batch, struct reply *reply)
{
    struct text *text = &reply->body;
    char head[NPY_HEAD];

    reply->status = 200;
    reply->share.quota = service_request_memory(scoring->handler->service);
    switch (scoring->form) {
    case ANSWER_LINES:
        reply->content_type = "application/x-ndjson";
        break;
    case ANSWER_NPY:
        reply->content_type = "application/x-npy";
        write_npy_head(head, 0); /* as long as it will be */
        text_append(text, head, sizeof(head));
        break;
    case ANSWER_OBJECT:
        reply->content_type = "application/json";
        text_puts(text, "{");
        put_model(scoring, text);
        if (!is_batch)
            break;
        text_puts(text, "\"threshold\":");
        text_double(text, scoring->model->threshold);
        text_puts(text, ",\"results\":[");
        break;
    }
}

void scoring_put_end(const struct scoring *scoring, bool is_batch, struct reply *reply)
{
    if (scoring->form == ANSWER_NPY && !text_failed(&reply->body))
        write_npy_head(reply->body.data, scoring->n_rows);
    if (scoring->form == ANSWER_OBJECT && is_batch)
        text_puts(&reply->body, "]}");
}

/* ---- judging ---- */

/* Which rows are explained, and how their series had moved by then. A series that does not want to
 * be learned from is not missed either: a replay, a try. */
static int follow_series(struct scoring *scoring, struct series_undo **undo)
{
    struct handler *handler = scoring->handler;
    const struct json_rows *rows = handler->rows;
    const char *series = score_options_series(&scoring->options);
    size_t n_explained = 0;

    scoring->hold = NULL;
    for (size_t i = 0; i < rows->n_rows; i++) {
        handler->is_explained[i] = wants_explanation(scoring, &handler->verdicts[i]);
        n_explained += handler->is_explained[i];
    }
    if (!series)
        return 0;
    int r = handler_reserve_holds(handler, n_explained, scoring->n_features);
    if (r == 0)
        r = series_memory_follow(scoring->model->memory, scoring->model->detector,
                                 handler->workspace, series, clock_realtime_us(),
                                 scoring->options.learn, rows->rows, rows->n_rows,
                                 scoring->preparation ? handler->is_late : NULL,
                                 handler->is_explained, handler->holds, undo);
    scoring->hold = handler->holds;
    return r;
}

/* Fails as put_verdicts() does; without an undo verdicts must stay. */
static int judge(struct scoring *scoring, struct series_undo **undo, struct reply *reply)
{
    struct handler *handler = scoring->handler;
    const struct json_rows *rows = handler->rows;
    const struct live_model *model = scoring->model;
    struct learner *learner = service_learner(handler->service);

    int r = handler_reserve(handler, rows->n_rows);
    if (r == 0)
        r = judge_rows(model->detector, model->rules, handler->workspace, rows->rows, rows->n_rows,
                       model->threshold, handler->verdicts);
    if (r == 0)
        r = follow_series(scoring, undo);
    if (r < 0)
        return r;
    for (size_t i = 0; scoring->preparation && i < rows->n_rows; i++)
        handler->verdicts[i].is_late = handler->is_late[i];
    if (learner)
        learner_name_verdicts(learner, handler->verdicts, rows->n_rows);
    return put_verdicts(scoring, !undo, reply);
}

int scoring_check_detail(const struct scoring *scoring, size_t n_rows, struct reply *reply)
{
    const size_t n = scoring->n_detailed + n_rows;

    if (!scoring->options.detail || n <= MOST_DETAILED)
        return 0;
    reply_problem(reply, 413,
                  "Details are told of at most %d rows at a time, and these are %zu; send fewer, "
                  "or leave \"detail\" out",
                  MOST_DETAILED, n);
    return -EINVAL;
}

/* Rows may come one by one: what the first of them lacks is known when there is a second. */
static int check_first_time(struct scoring *scoring, struct reply *reply)
{
    const struct preparation *preparation = scoring->preparation;

    if (scoring->is_line || !preparation || !preparation_has_rates(preparation))
        return 0;
    if (scoring->n_rows > 0)
        return scoring->is_untimed ? prepared_rows_refuse_untimed(0, reply) : 0;
    scoring->is_untimed =
        !scoring->options.is_independent && isnan(scoring->handler->rows->times[0]);
    return 0;
}

int scoring_answer(struct scoring *scoring, bool is_all, struct reply *reply)
{
    const size_t n_rows = scoring->n_rows + scoring->handler->rows->n_rows;
    /* Lines stand alone; and one row, the only one, whose answer is short, is not refused once it
     * has left a trace. */
    const bool must_stay =
        scoring->is_line || (is_all && n_rows == 1 && scoring_most_entries(scoring) <= FEW_ENTRIES);
    struct series_undo **undo = must_stay ? NULL : &scoring->undo;

    if (scoring_check_detail(scoring, scoring->handler->rows->n_rows, reply) < 0 ||
        check_first_time(scoring, reply) < 0)
        return -EINVAL;
    if (prepared_rows_make(scoring->handler, scoring->preparation, scoring->model->memory,
                           &scoring->options, scoring->n_rows, undo, reply) < 0)
        return -EINVAL;
    int r = judge(scoring, undo, reply);
    if (r == 0) {
        scoring->n_detailed += scoring->options.detail ? n_rows - scoring->n_rows : 0;
        scoring->n_rows = n_rows;
        return 0;
    }
    if (r == -ENOBUFS)
        scoring_refuse_full(scoring, reply->body.length - reply->share.bytes, reply);
    else if (r == -EFBIG)
        reply_problem(reply, 413,
                      "The answer to %zu rows would be larger than " SCORING_MOST
                      "; send fewer rows at a time, or explain less",
                      n_rows);
    else
        reply_no_memory(reply);
    return -EINVAL;
}

/* ---- the trace that rows leave ---- */

typedef void give_rows(struct learner *learner, struct scoring *scoring, const float *rows,
                       bool is_learned, const struct verdict *verdicts, size_t n_rows,
                       const struct row_times *times);

static void offer_now(struct learner *learner, struct scoring *scoring, const float *rows,
                      bool is_learned, const struct verdict *verdicts, size_t n_rows,
                      const struct row_times *times)
{
    learner_offer(learner, scoring->model, rows, is_learned, verdicts, n_rows,
                  rows ? scoring->n_features : 0, times, score_options_series(&scoring->options));
}

static void offer_later(struct learner *learner, struct scoring *scoring, const float *rows,
                        bool is_learned, const struct verdict *verdicts, size_t n_rows,
                        const struct row_times *times)
{
    learner_hold(learner, &scoring->held, scoring->model, rows, is_learned, verdicts, n_rows,
                 rows ? scoring->n_features : 0, times, score_options_series(&scoring->options));
}

/* Late rows are judged, and that is all: feedback can name their verdicts. */
static void give_late(struct learner *learner, struct scoring *scoring,
                      const struct row_times *times, give_rows *give)
{
    const struct handler *handler = scoring->handler;
    const size_t n_rows = handler->rows->n_rows;
    AUTO_FREE struct verdict *late = calloc(n_rows, sizeof(*late));
    size_t n = 0;

    for (size_t i = 0; late && i < n_rows; i++)
        if (handler->is_late[i])
            late[n++] = handler->verdicts[i];
    if (n > 0)
        give(learner, scoring, NULL, false, late, n,
             &(struct row_times){.time_us = times->time_us});
}

/* The rows have got their verdicts: feedback can name these, and the rows are for learning too. */
static void offer(struct scoring *scoring, give_rows *give)
{
    struct handler *handler = scoring->handler;
    struct learner *learner = service_learner(handler->service);
    const struct row_times times =
        prepared_rows_times(handler, scoring->preparation, &scoring->options);
    if (!learner)
        return;

    if (prepared_rows_count_late(handler, scoring->preparation) > 0) {
        give_late(learner, scoring, &times, give);
        prepared_rows_drop_late(handler, scoring->preparation, true);
    }
    give(learner, scoring, handler->rows->rows, scoring->options.learn, handler->verdicts,
         handler->rows->n_rows, &times);
}

void scoring_keep(struct scoring *scoring)
{
    const struct handler *handler = scoring->handler;
    const size_t n_rows = handler->rows->n_rows;

    series_undo_free(TAKE(scoring->undo)); /* they stay */
    stats_count_verdicts(scoring->model->stats, handler->worker, handler->verdicts, n_rows);
    recent_add(scoring->model->recent, handler->verdicts, n_rows, clock_monotonic_us());
    offer(scoring, offer_now);
}

int scoring_hold(struct scoring *scoring)
{
    const struct handler *handler = scoring->handler;
    const size_t n_rows = handler->rows->n_rows;

    if (!scoring->errors)
        scoring->errors = malloc(RECENT_ROWS * sizeof(*scoring->errors));
    if (!scoring->errors)
        return -ENOMEM;
    for (size_t i = 0; i < n_rows; i++)
        scoring->errors[(scoring->tally.rows + i) % RECENT_ROWS] =
            handler->verdicts[i].reconstruction_error;
    stats_tally_verdicts(&scoring->tally, handler->verdicts, n_rows);
    offer(scoring, offer_later);
    return 0;
}

void scoring_commit(struct scoring *scoring)
{
    struct learner *learner = service_learner(scoring->handler->service);

    series_undo_free(TAKE(scoring->undo));
    if (!scoring->errors)
        return;
    stats_count_tally(scoring->model->stats, scoring->handler->worker, &scoring->tally);
    recent_add_ring(scoring->model->recent, scoring->errors, (size_t)scoring->tally.rows,
                    clock_monotonic_us());
    if (learner)
        learner_offer_held(learner, &scoring->held);
}
