/* POST /v1/models/{m}/freeze, /unfreeze, /rebaseline, /reset and GET …/buffer, …/events, …/audit:
 * what a model learns, for people to see and to steer. */
#include "base/text.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/learner.h"

#include <string.h>

static int freeze(struct learner *learner, const char *model, const char *who, struct error *reterr)
{
    return learner_freeze(learner, model, true, who, reterr);
}

static int unfreeze(struct learner *learner, const char *model, const char *who,
                    struct error *reterr)
{
    return learner_freeze(learner, model, false, who, reterr);
}

/* Does it and answers with the model's state after it. */
static void act(struct handler *handler, const struct request *request,
                int (*change)(struct learner *learner, const char *model, const char *who,
                              struct error *reterr),
                struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct error error = {0};

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (!learner)
        return;
    int r = change(learner, model, request_who(request, who), &error);
    if (r < 0) {
        lookup_learner_problem(r, &error, reply);
        return;
    }
    struct live_model *after = lookup_model(handler, request, reply);
    if (!after)
        return;
    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"model\":\"%s\",\"state\":\"%s\"}", model,
                lookup_state(handler, after));
    lookup_release(handler, after);
}

void handle_freeze(struct handler *handler, const struct request *request, struct reply *reply)
{
    act(handler, request, freeze, reply);
}

void handle_unfreeze(struct handler *handler, const struct request *request, struct reply *reply)
{
    act(handler, request, unfreeze, reply);
}

void handle_rebaseline(struct handler *handler, const struct request *request, struct reply *reply)
{
    act(handler, request, learner_rebaseline, reply);
}

void handle_reset(struct handler *handler, const struct request *request, struct reply *reply)
{
    act(handler, request, learner_reset, reply);
}

void handle_buffer(struct handler *handler, const struct request *request, struct reply *reply)
{
    lookup_print(handler, request, learner_print_buffer, reply);
}

/* The query may only say kind=verdict. */
void handle_events(struct handler *handler, const struct request *request, struct reply *reply)
{
    const struct request_parameter *parameter = request->parameters;
    const bool wants_verdicts = request->n_parameters == 1 &&
                                strcmp(parameter->name, "kind") == 0 &&
                                strcmp(parameter->value, "verdict") == 0;

    if (request->n_parameters > 0 && !wants_verdicts)
        reply_problem(reply, 400,
                      "Events are asked for without a query, or with ?kind=verdict for the "
                      "anomalous verdicts");
    else
        lookup_print(handler, request,
                     wants_verdicts ? learner_print_verdicts : learner_print_events, reply);
}

void handle_audit(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1];
    struct error error = {0};

    struct learner *learner = lookup_name(handler, request, model, reply);
    if (!learner)
        return;
    int r = learner_print_audit(learner, model, &reply->body, &error);
    if (r < 0) {
        lookup_learner_problem(r, &error, reply);
        return;
    }
    reply->status = 200;
    reply->content_type = "application/json";
}
