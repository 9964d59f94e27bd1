/* POST /v1/models/{m}/score and /v1/score: rows in, verdicts out.
 *
 * A batch is refused or answered as a whole. Replies are written by hand (base/text.h): a JSON
 * library would cost more than the scoring. */
#include "base/text.h"
#include "data/json_rows.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/verdict_json.h"
#include "http/handler.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/score_options.h"
#include "service/live.h"
#include "service/service.h"
#include "service/stats.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define FAILED_RETRY_S 60                  /* a person must act first */
#define ANSWER_MAX     ((size_t)256 << 20) /* bytes; explanations are far longer than their rows */

static void put_name(struct text *text, const char *name)
{
    text_json_string(text, name, strlen(name));
}

static struct live_model *acquire_model(struct live *live, const struct request *request,
                                        struct reply *reply)
{
    struct live_model *model;

    if (request->model) {
        char shown[TEXT_SHOWN_SIZE];
        model = live_acquire(live, request->model, request->model_length);
        if (!model)
            reply_problem(reply, 404, "There is no model \"%s\"; GET /v1/models lists them",
                          text_show(shown, request->model, request->model_length));
        return model;
    }

    size_t n_models;
    model = live_acquire_only(live, &n_models);
    if (!model && n_models == 0)
        reply_problem(reply, 404, "There is no model; add a [model NAME] to the configuration");
    else if (!model)
        reply_problem(reply, 409,
                      "There are %zu models; choose one with POST /v1/models/NAME/score "
                      "(GET /v1/models lists them)",
                      n_models);
    return model;
}

static void put_errors(struct text *text, const struct json_problem *problems, size_t n_problems)
{
    text_puts(text, ",\"errors\":[");
    for (size_t i = 0; i < n_problems; i++) {
        text_puts(text, i > 0 ? ",{\"pointer\":" : "{\"pointer\":");
        put_name(text, problems[i].pointer);
        text_puts(text, ",\"detail\":");
        put_name(text, problems[i].detail);
        text_puts(text, "}");
    }
    text_puts(text, "]");
}

/* The body is not JSON, or not a body of rows. */
static void reply_malformed(const struct json_rows *rows, struct reply *reply)
{
    reply_begin_problem(reply, 400, "%s (byte %zu, line %zu, column %zu)", rows->problems[0].detail,
                        rows->offset, rows->line, rows->column);
    text_printf(&reply->body, ",\"offset\":%zu,\"line\":%zu,\"column\":%zu", rows->offset,
                rows->line, rows->column);
    if (rows->problems[0].pointer[0] != '\0')
        put_errors(&reply->body, rows->problems, 1);
    text_puts(&reply->body, "}");
}

/* JSON, but the features are wrong. */
static void reply_unfit(const struct json_rows *rows, struct reply *reply)
{
    reply_begin_problem(reply, 422, "%s", rows->problems[0].detail);
    put_errors(&reply->body, rows->problems, rows->n_problems);
    text_puts(&reply->body, "}");
}

/* missing = reject: -EINVAL and a 422 for the first row that has a missing value. */
static int check_nothing_missing(const struct json_rows *rows, const struct schema *schema,
                                 struct reply *reply)
{
    size_t n_features = schema_n_features(schema);

    for (size_t i = 0; i < rows->n_rows * n_features; i++) {
        if (!isnan(rows->rows[i]))
            continue;
        size_t row = i / n_features;
        char shown[TEXT_SHOWN_SIZE];
        const char *name = schema_name(schema, i % n_features);
        reply_begin_problem(reply, 422,
                            "Row %zu has no value for \"%s\", and this model refuses missing "
                            "values (missing = reject); send all features",
                            row, text_show(shown, name, strlen(name)));
        text_puts(&reply->body, ",\"missing\":");
        verdict_json_missing(&reply->body, schema, rows->rows + row * n_features);
        text_puts(&reply->body, "}");
        return -EINVAL;
    }
    return 0;
}

/* What is being answered. */
struct scoring {
    struct handler *handler;
    const struct live_model *model;
    const struct schema *schema;
    struct score_options options;
};

static bool wants_explanation(const struct scoring *scoring, const struct verdict *verdict)
{
    return scoring->options.explain == EXPLAIN_ALL ||
           (scoring->options.explain == EXPLAIN_ANOMALIES && verdict->anomaly);
}

/* The members of verdict i; with the threshold unless the batch has said it. 0 or -ENOMEM. */
static int put_verdict(const struct scoring *scoring, size_t i, struct text *text)
{
    struct handler *handler = scoring->handler;
    const struct verdict *verdict = &handler->verdicts[i];
    const size_t n_features = schema_n_features(scoring->schema);
    const float *row = handler->rows.rows + i * n_features;
    const bool explained = wants_explanation(scoring, verdict);

    if (explained) {
        int r = detector_explain(scoring->model->detector, handler->workspace, row,
                                 handler->contributions);
        if (r < 0)
            return r;
    }
    verdict_json_append(text, scoring->schema, verdict,
                        handler->rows.is_batch ? NULL : &scoring->model->threshold, row,
                        explained ? handler->contributions : NULL,
                        scoring->options.top < n_features ? scoring->options.top : n_features);
    return 0;
}

static int put_one(const struct scoring *scoring, struct text *text)
{
    text_puts(text, "{\"model\":");
    put_name(text, scoring->model->name);
    text_printf(text, ",\"version\":%u,", scoring->model->version);
    int r = put_verdict(scoring, 0, text);
    text_puts(text, "}");
    return r;
}

/* 0, -ENOMEM, or -EFBIG: the answer is larger than ANSWER_MAX. */
static int put_batch(const struct scoring *scoring, struct text *text)
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

/* The rows have been read and accepted. 0, -ENOMEM or -EFBIG. */
static int score_rows(const struct scoring *scoring, struct reply *reply)
{
    struct handler *handler = scoring->handler;
    const struct json_rows *rows = &handler->rows;
    const struct live_model *model = scoring->model;

    int r = handler_reserve(handler, rows->n_rows, schema_n_features(scoring->schema));
    if (r == 0)
        r = detector_score(model->detector, handler->workspace, rows->rows, rows->n_rows,
                           model->threshold, handler->verdicts);
    if (r < 0)
        return r;

    reply->status = 200;
    reply->content_type = "application/json";
    size_t expected = 256 + 128 * rows->n_rows;
    text_reserve(&reply->body, expected < ANSWER_MAX ? expected : ANSWER_MAX);
    r = rows->is_batch ? put_batch(scoring, &reply->body) : put_one(scoring, &reply->body);
    if (r == 0 && !text_failed(&reply->body))
        stats_count_verdicts(model->stats, handler->worker, handler->verdicts, rows->n_rows);
    return r;
}

static void score_with(struct scoring *scoring, const struct request *request, struct reply *reply)
{
    struct json_rows *rows = &scoring->handler->rows;

    score_options_init(&scoring->options);
    if (score_options_read_query(&scoring->options, request, reply) < 0)
        return;
    int r = json_rows_read(rows, scoring->schema, request->body, request->body_size);
    if (r == -EBADMSG)
        reply_malformed(rows, reply);
    if (r == -EINVAL)
        reply_unfit(rows, reply);
    if (r == -EBADMSG || r == -EINVAL)
        return;
    if (r == 0 && score_options_read_body(&scoring->options, rows, reply) < 0)
        return;
    if (r == 0 && scoring->model->reject_missing &&
        check_nothing_missing(rows, scoring->schema, reply) < 0)
        return;
    if (r == 0)
        r = score_rows(scoring, reply);
    if (r == -EFBIG)
        reply_problem(reply, 413,
                      "The answer to %zu rows would be larger than %zu MiB; send fewer rows at a "
                      "time, or explain less",
                      rows->n_rows, ANSWER_MAX >> 20);
    else if (r < 0)
        reply_no_memory(reply);
}

void handle_score(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct live *live = service_live(handler->service);
    struct live_model *model = acquire_model(live, request, reply);
    if (!model)
        return;

    if (model->state == LIVE_FAILED) {
        reply_problem(reply, 503, "Model \"%s\" could not be loaded: %s; mend it and reload",
                      model->name, model->error.text);
        reply->retry_after_s = FAILED_RETRY_S;
    } else {
        struct scoring scoring = {
            .handler = handler, .model = model, .schema = detector_schema(model->detector)};
        score_with(&scoring, request, reply);
    }
    live_release(live, model);
}
