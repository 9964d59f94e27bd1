/* GET /v1/events: what happens to the models, as server-sent events. */
#include "base/number.h"
#include "http/handler.h"
#include "http/later.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/feed.h"
#include "service/learner.h"
#include "service/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BEHIND 1000 /* events out of the log at a time: who needs more comes again */
#define RETRY_S     15

/* What is asked for. */
struct follower {
    char model[LIVE_NAME_MAX + 1], kind[24]; /* "": all */
    bool has_last_id;
    uint64_t last_id;
    /* out of the log, on the learner's thread */
    uint64_t place;
    struct text backlog;
    size_t n_behind;
};

static void free_follower(void *work)
{
    struct follower *follower = work;

    text_clear(&follower->backlog);
    free(follower);
}

/* ---- the query ---- */

static int take_model(struct handler *handler, const char *name, struct follower *follower,
                      struct reply *reply)
{
    const struct request asked = {.model = name, .model_length = strlen(name)};
    struct live_model *model = lookup_model(handler, &asked, reply);
    if (!model)
        return -ENOENT;

    memcpy(follower->model, model->name, sizeof(follower->model));
    lookup_release(handler, model);
    return 0;
}

static int take_kind(const char *kind, struct follower *follower, struct reply *reply)
{
    CLEANUP(text_clear) struct text kinds = {0};

    for (size_t i = 0; i < LEARNER_N_EVENT_KINDS; i++) {
        text_printf(&kinds, "%s%s", i ? ", " : "", learner_event_kinds[i]);
        if (strcmp(kind, learner_event_kinds[i]) != 0)
            continue;
        memcpy(follower->kind, kind, strlen(kind) + 1);
        return 0;
    }
    reply_problem(reply, 400, "The parameter \"kind\" must be one of %s",
                  text_failed(&kinds) ? "the kinds of events" : kinds.data);
    return -EINVAL;
}

static int read_query(struct handler *handler, const struct request *request,
                      struct follower *follower, struct reply *reply)
{
    char shown[TEXT_SHOWN_SIZE];
    int r = 0;

    if (request->n_parameters > REQUEST_MAX_PARAMETERS) {
        reply_problem(reply, 400, "There are more than %d parameters", REQUEST_MAX_PARAMETERS);
        return -EINVAL;
    }
    for (size_t i = 0; i < request->n_parameters && r == 0; i++) {
        const struct request_parameter *parameter = &request->parameters[i];
        if (strcmp(parameter->name, "model") == 0) {
            r = take_model(handler, parameter->value, follower, reply);
        } else if (strcmp(parameter->name, "kind") == 0) {
            r = take_kind(parameter->value, follower, reply);
        } else {
            reply_problem(reply, 400,
                          "There is no parameter \"%s\"; events are asked for by model and kind",
                          text_show(shown, parameter->name, strlen(parameter->name)));
            r = -EINVAL;
        }
    }
    return r;
}

static int read_last_id(const struct request *request, struct follower *follower,
                        struct reply *reply)
{
    const char *id = request->last_event_id;
    char shown[TEXT_SHOWN_SIZE];

    follower->has_last_id = id && *id;
    if (!follower->has_last_id || number_parse_u64(id, strlen(id), &follower->last_id) == 0)
        return 0;
    reply_problem(reply, 400,
                  "Last-Event-ID is \"%s\" and must be the id of an event; leave it out to begin "
                  "with the next one",
                  text_show(shown, id, strlen(id)));
    return -EINVAL;
}

/* ---- the answer ---- */

static void begin_stream(struct handler *handler, struct learner *learner,
                         struct follower *follower, struct reply *reply)
{
    struct stream *stream = NULL;

    int r = stream_new(&handler->streams, learner_feed(learner), follower->place, &stream);
    if (r == -EAGAIN) {
        reply_problem(reply, 503, "%d clients follow already, which is the limit; try again later",
                      FEED_MOST_READERS);
        reply->retry_after_s = RETRY_S;
        return;
    }
    if (r < 0) {
        reply_no_memory(reply);
        return;
    }
    memcpy(stream->model, follower->model, sizeof(stream->model));
    memcpy(stream->kind, follower->kind, sizeof(stream->kind));
    if (follower->backlog.length > 0)
        text_append(&stream->out, follower->backlog.data, follower->backlog.length);
    stream->is_over = follower->n_behind == MOST_BEHIND;
    reply->status = 200;
    reply->content_type = "text/event-stream";
    reply->stream = stream;
}

static int read_backlog(struct learner *learner, void *argument, struct error *reterr)
{
    struct follower *follower = argument;
    const struct event_filter filter = {
        .model = *follower->model ? follower->model : NULL,
        .kind = *follower->kind ? follower->kind : NULL,
        .after = follower->last_id,
    };

    /* First: what is published while the log is read may come twice, but not never. */
    follower->place = feed_end(learner_feed(learner));
    return learner_print_backlog(learner, &filter, MOST_BEHIND, &follower->backlog,
                                 &follower->n_behind, reterr);
}

static void finish(struct handler *handler, const struct later *later, struct reply *reply)
{
    struct follower *follower = later->work;

    if (later->r < 0)
        lookup_learner_problem(later->r, &later->error, reply);
    else if (text_failed(&follower->backlog))
        reply_no_memory(reply);
    else
        begin_stream(handler, service_learner(handler->service), follower, reply);
}

/* Takes the follower over. */
static void begin_backlog(struct handler *handler, struct learner *learner,
                          struct follower *follower, struct reply *reply)
{
    CLEANUP(later_freep) struct later *later = later_new(handler->later, finish, follower->model);
    struct error error = {0};
    if (!later) {
        free_follower(follower);
        reply_no_memory(reply);
        return;
    }
    later->work = follower;
    later->free_work = free_follower;
    const int r = learner_do(learner, read_backlog, follower, later_done, later, &error);
    if (r < 0)
        lookup_learner_problem(r, &error, reply);
    else
        reply->later = TAKE(later);
}

void handle_follow(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct learner *learner = service_learner(handler->service);
    struct follower *follower = calloc(1, sizeof(*follower));

    if (!follower) {
        reply_no_memory(reply);
        return;
    }
    if (!learner) {
        lookup_refuse_learning(handler, reply);
    } else if (read_query(handler, request, follower, reply) == 0 &&
               read_last_id(request, follower, reply) == 0) {
        follower->place = feed_end(learner_feed(learner));
        if (follower->has_last_id &&
            !feed_find(learner_feed(learner), follower->last_id, &follower->place)) {
            begin_backlog(handler, learner, follower, reply);
            return;
        }
        begin_stream(handler, learner, follower, reply);
    }
    free_follower(follower);
}
