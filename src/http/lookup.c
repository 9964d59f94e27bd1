#include "http/lookup.h"

#include "base/text.h"
#include "http/handler.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/learner.h"
#include "service/service.h"

#include <errno.h>
#include <string.h>

#define FAILED_RETRY_S 60 /* a person must act first */

static void refuse_failed(const struct live_model *model, const struct error *why,
                          struct reply *reply)
{
    reply_problem(reply, 503, "Model \"%s\" could not be loaded: %s; mend it and reload",
                  model->name, why->text);
    reply->retry_after_s = FAILED_RETRY_S;
}

struct live_model *lookup_model(struct handler *handler, const struct request *request,
                                struct reply *reply)
{
    struct live *live = service_live(handler->service);
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

void lookup_release(struct handler *handler, struct live_model *model)
{
    live_release(service_live(handler->service), model);
}

bool lookup_hold(struct handler *handler, struct live_model **model, struct reply *reply)
{
    struct error error = {0};

    int r = live_hold_newest(service_live(handler->service), model, &error);
    if (r == -ENOMEM)
        reply_no_memory(reply);
    else if (r < 0)
        refuse_failed(*model, &error, reply);
    return r == 0;
}

void lookup_let_go(struct handler *handler, struct live_model *model)
{
    live_let_go(service_live(handler->service), model);
}

const char *lookup_state(struct handler *handler, const struct live_model *model)
{
    struct learner *learner = service_learner(handler->service);
    struct learner_progress progress = {0};

    if (live_is_failing(service_live(handler->service), model, NULL))
        return live_state_name(LIVE_FAILED);
    if (!learner || learner_progress(learner, model->name, &progress) < 0)
        return live_state_name(model->state);
    return progress.is_frozen     ? "frozen"
           : progress.is_training ? "training"
                                  : live_state_name(model->state);
}

struct learner *lookup_learner(struct handler *handler, const struct request *request,
                               char ret_model[LIVE_NAME_MAX + 1], struct reply *reply)
{
    struct live_model *model = lookup_model(handler, request, reply);
    if (!model)
        return NULL;

    struct learner *learner = service_learner(handler->service);
    memcpy(ret_model, model->name, sizeof(model->name));
    lookup_release(handler, model);
    if (!learner)
        lookup_refuse_learning(handler, reply);
    return learner;
}

struct learner *lookup_name(struct handler *handler, const struct request *request,
                            char ret_model[LIVE_NAME_MAX + 1], struct reply *reply)
{
    struct learner *learner = service_learner(handler->service);
    char shown[TEXT_SHOWN_SIZE];

    if (!live_is_name(request->model, request->model_length)) {
        reply_problem(reply, 404,
                      "\"%s\" is no name of a model: letters, digits, _ and -, at most %d",
                      text_show(shown, request->model, request->model_length), LIVE_NAME_MAX);
        return NULL;
    }
    memcpy(ret_model, request->model, request->model_length);
    ret_model[request->model_length] = '\0';
    if (!learner)
        lookup_refuse_learning(handler, reply);
    return learner;
}

void lookup_print(struct handler *handler, const struct request *request,
                  int (*print)(struct learner *learner, const char *model, struct text *text,
                               struct error *reterr),
                  struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1];
    struct error error = {0};

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (!learner)
        return;
    int r = print(learner, model, &reply->body, &error);
    if (r < 0) {
        lookup_learner_problem(r, &error, reply);
        return;
    }
    reply->status = 200;
    reply->content_type = "application/json";
}

void lookup_refuse_failed(struct handler *handler, const struct live_model *model,
                          struct reply *reply)
{
    struct error why = {0};

    (void)live_is_failing(service_live(handler->service), model, &why);
    refuse_failed(model, &why, reply);
}

void lookup_refuse_learning(struct handler *handler, struct reply *reply)
{
    struct error why;

    if (service_store_trouble(handler->service, &why)) {
        reply_problem(reply, 503, "The store cannot be used: %s", why.text);
        reply->retry_after_s = FAILED_RETRY_S;
        return;
    }
    reply_problem(reply, 409, "Learning is off: there is no store; give [storage] directory");
}

void lookup_learner_problem(int r, const struct error *error, struct reply *reply)
{
    static const struct {
        int r;
        unsigned status;
    } statuses[] = {
        {LEARNER_MALFORMED,   400},
        {LEARNER_NOT_FOUND,   404},
        {LEARNER_CONFLICT,    409},
        {LEARNER_TOO_LARGE,   413},
        {LEARNER_UNFIT,       422},
        {LEARNER_UNAVAILABLE, 503},
    };

    if (r == -ENOMEM) {
        reply_no_memory(reply);
        return;
    }
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
        if (statuses[i].r == r) {
            reply_problem(reply, statuses[i].status, "%s", error->text);
            return;
        }
    reply_problem(reply, 500, "%s", error->text[0] ? error->text : strerrordesc_np(-r));
}
