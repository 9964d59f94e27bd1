/* GET /healthz, /readyz and /metrics: for those who watch the service. */
#include "base/text.h"
#include "http/handler.h"
#include "http/reply.h"
#include "service/learner.h"
#include "service/service.h"
#include "service/stats.h"

#include <string.h>

static void add_reason(void *userdata, const char *reason)
{
    struct text *reasons = userdata;

    text_puts(reasons, reasons->length > 0 ? "," : "");
    text_json_string(reasons, reason, strlen(reason));
}

void handle_healthz(struct handler *handler, const struct request *request, struct reply *reply)
{
    (void)handler;
    (void)request;
    reply->status = 200;
    reply->content_type = "application/json";
    text_puts(&reply->body, "{\"status\":\"ok\"}");
}

/* What does not keep it from answering: load should still come here. */
static void put_warnings(struct handler *handler, struct text *body)
{
    struct error why;

    if (!service_store_trouble(handler->service, &why))
        return;
    text_puts(body, ",\"warnings\":[");
    text_json_string(body, why.text, strlen(why.text));
    text_puts(body, "]");
}

void handle_readyz(struct handler *handler, const struct request *request, struct reply *reply)
{
    (void)request;
    CLEANUP(text_clear) struct text reasons = {0};

    if (service_is_ready(handler->service, add_reason, &reasons)) {
        reply->status = 200;
        reply->content_type = "application/json";
        text_puts(&reply->body, "{\"status\":\"ready\"");
    } else {
        reply_begin_problem(reply, 503, "The service is not ready; `reasons` says why");
        text_puts(&reply->body, ",\"reasons\":[");
        text_append(&reply->body, reasons.data ? reasons.data : "", reasons.length);
        text_puts(&reply->body, "]");
    }
    put_warnings(handler, &reply->body);
    text_puts(&reply->body, "}");
    if (text_failed(&reasons))
        reply_no_memory(reply);
}

void handle_metrics(struct handler *handler, const struct request *request, struct reply *reply)
{
    (void)request;
    struct error why;

    reply->status = 200;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    struct learner *learner = service_learner(handler->service);
    stats_write(service_stats(handler->service), service_live(handler->service),
                service_request_memory(handler->service), &reply->body);
    const bool has_trouble = service_store_trouble(handler->service, &why);
    if (learner || has_trouble)
        text_printf(&reply->body,
                    "# HELP anomalyd_store_ok 1: what is learned is kept; 0: it cannot be.\n"
                    "# TYPE anomalyd_store_ok gauge\nanomalyd_store_ok %d\n",
                    has_trouble ? 0 : 1);
    if (learner)
        learner_write_metrics(learner, &reply->body);
}
