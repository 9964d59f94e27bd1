#include "http/exchange.h"

#include "base/clock.h"
#include "http/handler.h"
#include "http/reply.h"
#include "http/request_head.h"
#include "http/score_stream.h"
#include "service/service.h"
#include "service/stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BODY_RESERVE_MAX ((size_t)1 << 20) /* a Content-Length is believed up to here */

/* A body of rows in JSON is scored while it comes if it is longer than this, which takes a worker a
 * few milliseconds at once, a sixth less than in pieces; and is kept beside that up to KEPT_BYTES,
 * for options that stand behind rows. */
#define STREAM_BYTES ((size_t)512 << 10)
#define KEPT_BYTES   ((size_t)4 << 20)

#define REFUSAL_SIZE 256

static void drop_body(struct exchange *exchange)
{
    text_clear(&exchange->body);
    share_clear(&exchange->share);
}

void exchange_clear(struct exchange *exchange)
{
    drop_body(exchange);
    score_stream_free(exchange->stream);
    exchange->stream = NULL;
}

void exchange_idle(struct exchange *exchange, const struct exchange_context *context)
{
    exchange_clear(exchange);
    deadline_enter(&exchange->deadline, PHASE_IDLE, context->now_us);
}

void exchange_begin(struct exchange *exchange, const struct exchange_context *context,
                    const char *target)
{
    *exchange = (struct exchange){
        .started_us = context->now_us,
        .has_bad_target = strstr(target, "%00") != NULL, /* it would end the decoded path */
    };
    deadline_enter(&exchange->deadline, PHASE_HEAD, exchange->started_us);
}

static bool check_head(const struct exchange *exchange, const struct exchange_head *head,
                       size_t max_body, struct reply *reply)
{
    const struct route_match *match = &exchange->match;
    const char *wrong_type = NULL;

    if (match->route)
        wrong_type =
            request_check_body_type(match->route->body, head->content_type, head->content_encoding);

    if (head->refusal) {
        reply_problem(reply, head->refusal->status, "%s", head->refusal->detail);
    } else if (head->size > REQUEST_HEAD_MAX) {
        reply_problem(reply, 431, "The request head is larger than 8 KiB; send a shorter one");
    } else if (exchange->has_bad_target) {
        reply_problem(reply, 400, "The target holds %%00; no path and no option has a NUL byte");
    } else if (!match->is_path) {
        char shown[TEXT_SHOWN_SIZE];
        reply_problem(reply, 404, "There is nothing at %s; POST /v1/models/NAME/score judges rows",
                      text_show(shown, head->path, strlen(head->path)));
    } else if (!match->route) {
        reply_problem(reply, 405, "This path takes %s only",
                      routes_methods(request_path(head->path), reply->allow));
    } else if (wrong_type) {
        reply_problem(reply, 415, "%s", wrong_type);
    } else if (head->content_length > max_body) {
        reply_problem(reply, 413,
                      "The body has %" PRIu64 " bytes, the limit is %zu; send fewer rows at a "
                      "time, or raise max_body",
                      head->content_length, max_body);
    } else {
        return true;
    }
    return false;
}

/* What is liked as much as JSON goes before it: who names it can read it. */
static void take_wishes(struct request *request, const char *accept)
{
    const double json = request_accepts_json(accept);
    const double npy = request_accepts(accept, "application/x-npy");
    const double lines = request_accepts(accept, "application/x-ndjson");

    request->wants_npy = npy > 0.0 && npy >= json && npy >= lines;
    request->wants_lines = lines > 0.0 && lines >= json;
}

bool exchange_take_head(struct exchange *exchange, struct exchange_context *context,
                        const struct exchange_head *head, struct reply *reply)
{
    struct request *request = &exchange->request;

    exchange->has_head = true;
    exchange->share.quota = service_request_memory(context->service);
    request->body_share = &exchange->share;
    if (head->request_id && request_id_is_sane(head->request_id))
        (void)snprintf(exchange->id, sizeof(exchange->id), "%s", head->request_id);
    else
        request_ids_next(&context->ids, exchange->id);
    exchange->is_head = strcmp(head->method, "HEAD") == 0;
    exchange->match = routes_find(head->method, request_path(head->path));
    request->model = exchange->match.model;
    request->model_length = exchange->match.model_length;
    request->version = exchange->match.version;
    request->run = exchange->match.run;
    request->rows = request_rows_of(head->content_type);
    if (head->accept)
        take_wishes(request, head->accept);
    deadline_enter(&exchange->deadline, PHASE_BODY, context->now_us);
    if (!check_head(exchange, head, service_max_body(context->service), reply))
        return false;

    exchange->keeps_body = exchange->match.route->body != BODY_NONE;
    if (exchange->keeps_body && head->content_length > 0)
        text_reserve(&exchange->body, head->content_length < BODY_RESERVE_MAX
                                          ? (size_t)head->content_length
                                          : BODY_RESERVE_MAX);
    return true;
}

static bool wants_stream(const struct exchange *exchange)
{
    return exchange->match.route->body == BODY_ROWS &&
           exchange->match.route->handle == handle_score && !exchange->has_no_stream &&
           (exchange->request.rows != ROWS_JSON || exchange->body.length > STREAM_BYTES);
}

static void begin_stream(struct exchange *exchange, const struct exchange_context *context)
{
    if (text_failed(&exchange->body))
        return;
    exchange->stream = score_stream_begin(context->handler, &exchange->request);
    exchange->has_no_stream = !exchange->stream;
    if (exchange->stream)
        score_stream_put(exchange->stream, exchange->body.data, exchange->body.length);
}

static void stop_keeping(struct exchange *exchange)
{
    exchange->keeps_body = false;
    drop_body(exchange);
    score_stream_stand_alone(exchange->stream);
}

/* Keeps the next bytes. A body that is scored while it comes can do without: false only of others,
 * and there is no room for them. */
static bool keep(struct exchange *exchange, const char *bytes, size_t n)
{
    const enum quota_part part = exchange->stream ? QUOTA_HALF : QUOTA_WHOLE;

    if (!exchange->keeps_body)
        return true;
    if (share_fit(&exchange->share, exchange->body.length + n, part))
        text_append(&exchange->body, bytes, n);
    else if (!exchange->stream)
        return false;
    else
        stop_keeping(exchange); /* the bytes are for the stream, too */
    return true;
}

/* There is no room for the next n bytes. */
static unsigned why_full(const struct exchange *exchange, size_t n, const char **ret_why)
{
    if (exchange->body.length + n > quota_limit(exchange->share.quota)) {
        *ret_why = "The body is larger than max_request_memory; send less at a time, or raise it";
        return 413;
    }
    *ret_why = REQUEST_NO_ROOM "; try again";
    return 503;
}

unsigned exchange_take_body(struct exchange *exchange, const struct exchange_context *context,
                            const char *bytes, size_t n, const char **ret_why)
{
    exchange->received += n;
    if (exchange->received > service_max_body(context->service)) {
        *ret_why = "The body is larger than max_body; send fewer rows at a time, or raise it";
        return 413;
    }
    deadline_receive(&exchange->deadline, n, context->now_us);
    if (!keep(exchange, bytes, n))
        return why_full(exchange, n, ret_why);
    if (exchange->stream)
        score_stream_put(exchange->stream, bytes, n);
    else if (wants_stream(exchange))
        begin_stream(exchange, context);
    if (exchange->stream && exchange->keeps_body &&
        (exchange->body.length > KEPT_BYTES || exchange->request.rows != ROWS_JSON))
        stop_keeping(exchange);
    return 0;
}

void exchange_answer(struct exchange *exchange, const struct exchange_context *context,
                     struct reply *reply)
{
    struct request *request = &exchange->request;

    if (text_failed(&exchange->body)) {
        reply_no_memory(reply);
        return;
    }
    request->body = exchange->body.data ? exchange->body.data : "";
    request->body_size = exchange->body.length;
    if (!exchange->stream || !score_stream_end(exchange->stream, reply))
        exchange->match.route->handle(context->handler, request, reply);
    handler_trim(context->handler);
    if (reply->later) { /* which needs no body, and may take longer than a body may */
        drop_body(exchange);
        deadline_enter(&exchange->deadline, PHASE_ANSWER, clock_monotonic_us());
    }
}

void exchange_end(struct exchange *exchange, struct exchange_context *context, unsigned status)
{
    context->now_us = clock_monotonic_us();
    deadline_enter(&exchange->deadline, PHASE_ANSWER, context->now_us);
    stats_count_request(service_stats(context->service), context->worker, exchange->match.index,
                        status, context->now_us - exchange->started_us);
}

void exchange_refuse(struct exchange *exchange, struct exchange_context *context, int fd,
                     unsigned status, const char *detail)
{
    const size_t n_kept = exchange->stream ? score_stream_n_kept(exchange->stream) : 0;
    char room[REFUSAL_SIZE];

    if (!exchange->has_head) {
        request_ids_next(&context->ids, exchange->id);
        exchange->match = routes_find("", "");
    }
    if (n_kept > 0)
        (void)snprintf(room, sizeof(room),
                       "%s; the first %zu rows were judged before that, and count", detail, n_kept);
    reply_send_raw(fd, status, exchange->id, n_kept > 0 ? room : detail, exchange->is_head);
    exchange_end(exchange, context, status);
}
