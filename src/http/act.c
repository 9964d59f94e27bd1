#include "http/act.h"

#include "http/handler.h"
#include "http/later.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "service/service.h"

#include <stdlib.h>
#include <string.h>

/* learner NULL: reply says why there is none. */
static struct act *make(const struct learner *learner, const char *model,
                        const struct request *request, struct reply *reply)
{
    struct act *act = learner ? calloc(1, sizeof(*act)) : NULL;

    if (learner && !act)
        reply_no_memory(reply);
    if (!act)
        return NULL;
    memcpy(act->model, model, sizeof(act->model));
    (void)request_who(request, act->who);
    act->change.version = request->version;
    act->run = request->run;
    return act;
}

struct act *act_new(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1] = "";

    return make(lookup_learner(handler, request, model, reply), model, request, reply);
}

struct act *act_new_of_name(struct handler *handler, const struct request *request,
                            struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1] = "";

    return make(lookup_name(handler, request, model, reply), model, request, reply);
}

void act_free(struct act *act)
{
    if (!act)
        return;
    text_clear(&act->text);
    free(act);
}

static void free_work(void *work)
{
    act_free(work);
}

static int perform(struct learner *learner, void *argument, struct error *reterr)
{
    struct act *act = argument;

    return act->perform(learner, act, reterr);
}

static void finish(struct handler *handler, const struct later *later, struct reply *reply)
{
    struct act *act = later->work;

    if (later->r < 0)
        lookup_learner_problem(later->r, &later->error, reply);
    else
        act->answer(handler, act, reply);
}

void act_begin(struct handler *handler, struct act *act,
               int (*perform_it)(struct learner *learner, struct act *act, struct error *reterr),
               void (*answer)(struct handler *handler, struct act *act, struct reply *reply),
               struct reply *reply)
{
    CLEANUP(act_freep) struct act *mine = act;
    CLEANUP(later_freep)
    struct later *later = later_new(handler->later, finish, act->model);
    struct error error = {0};
    if (!later) {
        reply_no_memory(reply);
        return;
    }

    act->perform = perform_it;
    act->answer = answer;
    later->work = TAKE(mine);
    later->free_work = free_work;
    const int r =
        learner_do(service_learner(handler->service), perform, act, later_done, later, &error);
    if (r < 0)
        lookup_learner_problem(r, &error, reply);
    else
        reply->later = TAKE(later);
}

void act_answer_text(struct handler *handler, struct act *act, struct reply *reply)
{
    (void)handler;
    reply->status = 200;
    reply->content_type = "application/json";
    reply->body = act->text;
    act->text = (struct text){0};
}
