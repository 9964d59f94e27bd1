/* POST /v1/models/{m}/retrain, GET …/runs, GET and DELETE …/runs/{id}: training on request. */
#include "base/text.h"
#include "http/act.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/learner.h"
#include "service/service.h"

#include <inttypes.h>
#include <stdio.h>

static void reply_run(struct learner *learner, const char *model, int64_t run, unsigned status,
                      struct reply *reply)
{
    struct error error = {0};

    int r = learner_print_run(learner, model, run, &reply->body, &error);
    if (r < 0) {
        lookup_learner_problem(r, &error, reply);
        return;
    }
    reply->status = status;
    reply->content_type = "application/json";
}

static int retrain(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_retrain(learner, act->model, act->who, &act->run, reterr);
}

static void answer_retrain(struct handler *handler, struct act *act, struct reply *reply)
{
    (void)snprintf(reply->location, sizeof(reply->location), "/v1/models/%s/runs/%" PRId64,
                   act->model, act->run);
    reply_run(service_learner(handler->service), act->model, act->run, 202, reply);
}

void handle_retrain(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct act *act = act_new(handler, request, reply);

    if (act)
        act_begin(handler, act, retrain, answer_retrain, reply);
}

void handle_runs(struct handler *handler, const struct request *request, struct reply *reply)
{
    lookup_print(handler, request, learner_print_runs, reply);
}

void handle_run(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1];

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (learner)
        reply_run(learner, model, request->run, 200, reply);
}

static int cancel(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_cancel(learner, act->model, act->run, act->who, reterr);
}

static void answer_cancel(struct handler *handler, struct act *act, struct reply *reply)
{
    reply_run(service_learner(handler->service), act->model, act->run, 200, reply);
}

void handle_cancel(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct act *act = act_new(handler, request, reply);

    if (act)
        act_begin(handler, act, cancel, answer_cancel, reply);
}
