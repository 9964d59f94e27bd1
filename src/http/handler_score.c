/* POST /v1/models/{m}/score and /v1/score: rows in, verdicts out.
 *
 * A batch is refused or answered as a whole. Replies are written by hand (base/text.h): a JSON
 * library would cost more than the scoring. */
#include "base/clock.h"
#include "base/text.h"
#include "data/json_rows.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/judge.h"
#include "detector/verdict_json.h"
#include "http/first_rows.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/prepared_rows.h"
#include "http/reply.h"
#include "http/row_body.h"
#include "http/score_options.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/recent.h"
#include "service/series_memory.h"
#include "service/service.h"
#include "service/stats.h"

#include <errno.h>
#include <string.h>

#define MOST_DETAILED 1000                /* rows a request: each may be scored 128 times */
#define ANSWER_MAX    ((size_t)256 << 20) /* bytes; explanations are far longer than their rows */

static void put_name(struct text *text, const char *name)
{
    text_json_string(text, name, strlen(name));
}

/* What is being answered. */
struct scoring {
    struct handler *handler;
    const struct live_model *model;
    struct preparation *preparation;
    size_t n_features; /* that the model sees */
    struct vocabulary vocabulary;
    struct score_options options;
    const float *hold; /* of the next explained row; NULL: rows are independent */
};

static bool wants_explanation(const struct scoring *scoring, const struct verdict *verdict)
{
    return scoring->options.explain == EXPLAIN_ALL ||
           (scoring->options.explain == EXPLAIN_ANOMALIES && verdict->anomaly);
}

/* The members of verdict i; with the threshold unless the batch has said it. 0 or -ENOMEM. */
static int put_verdict(struct scoring *scoring, size_t i, struct text *text)
{
    struct handler *handler = scoring->handler;
    const struct verdict *verdict = &handler->verdicts[i];
    const size_t n_features = scoring->n_features;
    const size_t n_inputs = schema_n_features(scoring->vocabulary.inputs);
    const float *row = handler->rows.rows + i * n_features;
    const double *values =
        scoring->preparation
            ? handler->rows.values + i * schema_n_features(scoring->preparation->values)
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
                        handler->rows.is_batch ? NULL : &scoring->model->threshold, row,
                        explained ? &handler->explained : NULL,
                        scoring->options.top < n_inputs ? scoring->options.top : n_inputs);
    if (is_lowered)
        verdict_json_set_aside(text, &scoring->vocabulary, &handler->explained);
    return 0;
}

static int put_one(struct scoring *scoring, struct text *text)
{
    text_puts(text, "{\"model\":");
    put_name(text, scoring->model->name);
    text_printf(text, ",\"version\":%u,", scoring->model->version);
    int r = put_verdict(scoring, 0, text);
    text_puts(text, "}");
    return r;
}

/* 0, -ENOMEM, or -EFBIG: the answer is larger than ANSWER_MAX. */
static int put_batch(struct scoring *scoring, struct text *text)
{
    text_puts(text, "{\"model\":");
    put_name(text, scoring->model->name);
    text_printf(text, ",\"version\":%u,\"threshold\":", scoring->model->version);
    text_double(text, scoring->model->threshold);
    text_puts(text, ",\"results\":[");
    for (size_t i = 0; i < scoring->handler->rows.n_rows; i++) {
        text_puts(text, i > 0 ? ",{" : "{");
        int r = put_verdict(scoring, i, text);
        if (r < 0)
            return r;
        text_puts(text, "}");
        if (text->length > ANSWER_MAX)
            return -EFBIG;
    }
    text_puts(text, "]}");
    return 0;
}

/* Which rows are explained, and how their series had moved by then. A series that does not want to
 * be learned from is not missed either: a replay, a try. */
static int follow_series(struct scoring *scoring)
{
    struct handler *handler = scoring->handler;
    const struct json_rows *rows = &handler->rows;
    const char *series = score_options_series(&scoring->options);
    size_t n_explained = 0;

    for (size_t i = 0; i < rows->n_rows; i++) {
        handler->is_explained[i] = wants_explanation(scoring, &handler->verdicts[i]);
        n_explained += handler->is_explained[i];
    }
    if (!series)
        return 0;
    int r = handler_reserve_holds(handler, n_explained, scoring->n_features);
    if (r == 0)
        r = series_memory_follow(scoring->model->memory, scoring->model->detector,
                                 handler->workspace, series, scoring->options.learn, rows->rows,
                                 rows->n_rows, scoring->preparation ? handler->is_late : NULL,
                                 handler->is_explained, handler->holds);
    scoring->hold = handler->holds;
    return r;
}

/* The rows have been read and accepted. 0, -ENOMEM or -EFBIG. */
static int score_rows(struct scoring *scoring, struct reply *reply)
{
    struct handler *handler = scoring->handler;
    const struct json_rows *rows = &handler->rows;
    const struct live_model *model = scoring->model;

    int r = handler_reserve(handler, rows->n_rows);
    if (r == 0)
        r = judge_rows(model->detector, model->rules, handler->workspace, rows->rows, rows->n_rows,
                       model->threshold, handler->verdicts);
    if (r == 0)
        r = follow_series(scoring);
    if (r < 0)
        return r;
    for (size_t i = 0; i < rows->n_rows; i++)
        handler->verdicts[i].is_late = scoring->preparation && handler->is_late[i];
    if (service_learner(handler->service))
        learner_name_verdicts(service_learner(handler->service), handler->verdicts, rows->n_rows);

    reply->status = 200;
    reply->content_type = "application/json";
    size_t expected = 256 + 128 * rows->n_rows;
    text_reserve(&reply->body, expected < ANSWER_MAX ? expected : ANSWER_MAX);
    r = rows->is_batch ? put_batch(scoring, &reply->body) : put_one(scoring, &reply->body);
    if (r == 0 && !text_failed(&reply->body)) {
        stats_count_verdicts(model->stats, handler->worker, handler->verdicts, rows->n_rows);
        recent_add(model->recent, handler->verdicts, rows->n_rows, clock_monotonic_us());
    }
    return r;
}

/* Late rows are judged, and that is all: feedback can name their verdicts. */
static void offer_late(const struct scoring *scoring, struct learner *learner,
                       const struct row_times *times)
{
    struct handler *handler = scoring->handler;
    const size_t n_rows = handler->rows.n_rows;
    AUTO_FREE struct verdict *late = calloc(n_rows, sizeof(*late));
    size_t n = 0;

    for (size_t i = 0; late && i < n_rows; i++)
        if (handler->is_late[i])
            late[n++] = handler->verdicts[i];
    if (n > 0)
        learner_offer(learner, scoring->model, NULL, false, late, n, 0,
                      &(struct row_times){.time_us = times->time_us},
                      score_options_series(&scoring->options));
}

/* The rows have got their verdicts: feedback can name these, and the rows are for learning too. */
static void offer_rows(const struct scoring *scoring)
{
    struct handler *handler = scoring->handler;
    struct learner *learner = service_learner(handler->service);
    const struct score_options *options = &scoring->options;
    const struct row_times times = prepared_rows_times(handler, scoring->preparation, options);
    if (!learner)
        return;

    if (prepared_rows_count_late(handler, scoring->preparation) > 0) {
        offer_late(scoring, learner, &times);
        prepared_rows_drop_late(handler, scoring->preparation, true);
    }
    learner_offer(learner, scoring->model, handler->rows.rows, options->learn, handler->verdicts,
                  handler->rows.n_rows, scoring->n_features, &times, score_options_series(options));
}

/* The model is one that answers. */
static void score_with(struct scoring *scoring, const struct request *request, struct reply *reply)
{
    struct json_rows *rows = &scoring->handler->rows;

    if (row_body_read(rows, &scoring->options, detector_values(scoring->model->detector),
                      scoring->preparation, scoring->model->reject_missing, request, reply) < 0)
        return;
    if (scoring->options.detail && rows->n_rows > MOST_DETAILED) {
        reply_problem(
            reply, 413,
            "Details are told of at most %d rows at a time, and these are %zu; send fewer, "
            "or leave \"detail\" out",
            MOST_DETAILED, rows->n_rows);
        return;
    }
    CLEANUP(series_undo_freep) struct series_undo *undo = NULL;
    if (prepared_rows_make(scoring->handler, scoring->preparation, scoring->model->memory,
                           &scoring->options, rows->n_rows > 1 ? &undo : NULL, reply) < 0)
        return;
    int r = score_rows(scoring, reply);
    if (r < 0 && undo)
        series_undo_apply(undo);
    if (r == 0) {
        offer_rows(scoring);
    } else if (r == -EFBIG)
        reply_problem(reply, 413,
                      "The answer to %zu rows would be larger than %zu MiB; send fewer rows at a "
                      "time, or explain less",
                      rows->n_rows, ANSWER_MAX >> 20);
    else
        reply_no_memory(reply);
}

void handle_score(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct live_model *model = first_rows_find_model(handler, FIRST_ROWS_SCORED, request, reply);
    if (!model)
        return;

    if (model->state == LIVE_FAILED) {
        lookup_refuse_failed(model, reply);
    } else if (model->state == LIVE_LEARNING) {
        first_rows_take(handler, model, FIRST_ROWS_SCORED, request, reply);
    } else {
        struct scoring scoring = {
            .handler = handler,
            .model = model,
            .preparation = detector_preparation(model->detector),
            .n_features = detector_n_features(model->detector),
            .vocabulary = detector_vocabulary(model->detector),
        };
        score_options_init(&scoring.options);
        score_with(&scoring, request, reply);
    }
    lookup_release(handler, model);
}
