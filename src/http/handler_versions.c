/* GET /v1/models/{m}/versions, POST …/versions/{v}/promote and …/rollback: which version answers.
 */
#include "base/text.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/learner.h"

static void reply_version(const char *model, unsigned version, int r, const struct error *error,
                          struct reply *reply)
{
    if (r < 0) {
        lookup_learner_problem(r, error, reply);
        return;
    }
    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"model\":\"%s\",\"version\":%u}", model, version);
}

void handle_versions(struct handler *handler, const struct request *request, struct reply *reply)
{
    lookup_print(handler, request, learner_print_versions, reply);
}

void handle_promote(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct error error = {0};

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (!learner)
        return;
    int r = learner_promote(learner, model, request->version, request_who(request, who), &error);
    reply_version(model, request->version, r, &error, reply);
}

void handle_rollback(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct error error = {0};
    unsigned version = 0;

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (!learner)
        return;
    int r = learner_rollback(learner, model, request_who(request, who), &version, &error);
    reply_version(model, version, r, &error, reply);
}
