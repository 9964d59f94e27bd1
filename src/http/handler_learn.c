/* POST /v1/models/{m}/freeze, /unfreeze, /rebaseline, /reset and GET …/buffer, …/events, …/audit:
 * what a model learns, for people to see and to steer. */
#include "base/text.h"
#include "http/act.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/learner.h"

#include <string.h>

static int freeze(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_freeze(learner, act->model, true, act->who, reterr);
}

static int unfreeze(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_freeze(learner, act->model, false, act->who, reterr);
}

static int rebaseline(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_rebaseline(learner, act->model, act->who, reterr);
}

static int reset(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_reset(learner, act->model, act->who, reterr);
}

/* The model's state after it. */
static void answer_state(struct handler *handler, struct act *act, struct reply *reply)
{
    const struct request asked = {.model = act->model, .model_length = strlen(act->model)};
    struct live_model *after = lookup_model(handler, &asked, reply);
    if (!after)
        return;

    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"model\":\"%s\",\"state\":\"%s\"}", act->model,
                lookup_state(handler, after));
    lookup_release(handler, after);
}

static void begin(struct handler *handler, const struct request *request,
                  int (*perform)(struct learner *learner, struct act *act, struct error *reterr),
                  struct reply *reply)
{
    struct act *act = act_new(handler, request, reply);

    if (act)
        act_begin(handler, act, perform, answer_state, reply);
}

void handle_freeze(struct handler *handler, const struct request *request, struct reply *reply)
{
    begin(handler, request, freeze, reply);
}

void handle_unfreeze(struct handler *handler, const struct request *request, struct reply *reply)
{
    begin(handler, request, unfreeze, reply);
}

void handle_rebaseline(struct handler *handler, const struct request *request, struct reply *reply)
{
    begin(handler, request, rebaseline, reply);
}

void handle_reset(struct handler *handler, const struct request *request, struct reply *reply)
{
    begin(handler, request, reset, reply);
}

void handle_buffer(struct handler *handler, const struct request *request, struct reply *reply)
{
    lookup_print(handler, request, learner_print_buffer, reply);
}

static int print_verdicts(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_print_verdicts(learner, act->model, &act->text, reterr);
}

/* What waits for the verdicts that are on their way. */
static void list_verdicts(struct handler *handler, const struct request *request,
                          struct reply *reply)
{
    struct act *act = act_new(handler, request, reply);

    if (act)
        act_begin(handler, act, print_verdicts, act_answer_text, reply);
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
    else if (wants_verdicts)
        list_verdicts(handler, request, reply);
    else
        lookup_print(handler, request, learner_print_events, reply);
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
