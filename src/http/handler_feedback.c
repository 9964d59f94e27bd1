/* POST /v1/models/{m}/feedback: what a person says about an event. */
#include "base/text.h"
#include "http/act.h"
#include "http/handler.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/small_body.h"
#include "service/learner.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SEND_THIS "send {\"event\": 8121, \"label\": \"normal\"}, or \"anomaly\""

struct feedback {
    uint64_t event;
    bool is_normal, has_event, has_label;
};

static int refuse(struct reply *reply, unsigned status, const char *key, const char *detail)
{
    small_body_refuse(reply, status, key, detail, SEND_THIS);
    return -EINVAL;
}

static int take_member(struct feedback *feedback, const char *key, const json_t *value,
                       struct reply *reply)
{
    if (strcmp(key, "event") == 0) {
        if (!json_is_integer(value) || json_integer_value(value) < 1)
            return refuse(reply, 400, key, "must be the number of an event");
        feedback->event = (uint64_t)json_integer_value(value);
        feedback->has_event = true;
        return 0;
    }
    if (strcmp(key, "label") == 0) {
        const char *label = json_is_string(value) ? json_string_value(value) : "";
        feedback->is_normal = strcmp(label, "normal") == 0;
        if (!feedback->is_normal && strcmp(label, "anomaly") != 0)
            return refuse(reply, 400, key, "must be normal or anomaly");
        feedback->has_label = true;
        return 0;
    }
    return refuse(reply, 400, key, "is not a known key");
}

/* -EINVAL: reply says why. */
static int read_feedback(const struct request *request, struct feedback *ret_feedback,
                         struct reply *reply)
{
    json_auto_t *body = small_body_parse(request, SEND_THIS, reply);
    struct feedback feedback = {0};
    const char *key;
    json_t *value;

    if (!body)
        return -EINVAL;
    json_object_foreach(body, key,
                        value) if (take_member(&feedback, key, value, reply) < 0) return -EINVAL;
    if (!feedback.has_event || !feedback.has_label)
        return refuse(reply, 422, feedback.has_event ? "label" : "event", "is missing");
    *ret_feedback = feedback;
    return 0;
}

static int perform(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_feedback(learner, act->model, act->event, act->is_normal, act->who,
                            &act->incident, reterr);
}

static void answer(struct handler *handler, struct act *act, struct reply *reply)
{
    (void)handler;
    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"event\":%" PRIu64 ",\"label\":\"%s\"", act->event,
                act->is_normal ? "normal" : "anomaly");
    if (act->incident && act->incident != act->event)
        text_printf(&reply->body, ",\"incident\":%" PRIu64, act->incident);
    text_puts(&reply->body, "}");
}

void handle_feedback(struct handler *handler, const struct request *request, struct reply *reply)
{
    CLEANUP(act_freep) struct act *act = act_new(handler, request, reply);
    struct feedback feedback;

    if (!act || read_feedback(request, &feedback, reply) < 0)
        return;
    act->event = feedback.event;
    act->is_normal = feedback.is_normal;
    act_begin(handler, TAKE(act), perform, answer, reply);
}
