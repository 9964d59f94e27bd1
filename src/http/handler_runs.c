/* POST /v1/models/{m}/retrain, GET …/runs, GET and DELETE …/runs/{id}: training on request. */
#include "base/text.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/learner.h"

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

void handle_retrain(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct error error = {0};
    int64_t run;

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (!learner)
        return;
    int r = learner_retrain(learner, model, request_who(request, who), &run, &error);
    if (r < 0) {
        lookup_learner_problem(r, &error, reply);
        return;
    }
    (void)snprintf(reply->location, sizeof(reply->location), "/v1/models/%s/runs/%" PRId64, model,
                   run);
    reply_run(learner, model, run, 202, reply);
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

void handle_cancel(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct error error = {0};

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (!learner)
        return;
    int r = learner_cancel(learner, model, request->run, request_who(request, who), &error);
    if (r < 0)
        lookup_learner_problem(r, &error, reply);
    else
        reply_run(learner, model, request->run, 200, reply);
}
