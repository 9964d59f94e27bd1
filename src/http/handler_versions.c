/* GET /v1/models/{m}/versions and …/versions/{v}/file, POST …/versions/{v}/promote and …/rollback,
 * PUT and DELETE /v1/models/{m}: which version answers, and where it comes from. */
#include "base/file.h"
#include "base/text.h"
#include "http/act.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "service/learner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void handle_versions(struct handler *handler, const struct request *request, struct reply *reply)
{
    lookup_print(handler, request, learner_print_versions, reply);
}

/* ---- out ---- */

void handle_file(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1];
    struct error error = {0};
    struct stat status = {0};
    CLEANUP(close_fd) int fd = -1;

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (!learner)
        return;
    int r = learner_open_file(learner, model, request->version, &fd, &error);
    if (r == 0 && fstat(fd, &status) < 0)
        r = -errno;
    if (r < 0) {
        lookup_learner_problem(r, &error, reply);
        return;
    }
    reply->status = 200;
    reply->content_type = "application/octet-stream";
    reply->has_file = true;
    reply->file_size = (uint64_t)status.st_size;
    reply->file_fd = fd;
    fd = -1;
    (void)snprintf(reply->file_name, sizeof(reply->file_name), "%s-%u.safetensors", model,
                   request->version);
}

/* ---- the switch ---- */

static void answer_switch(struct handler *handler, struct act *act, struct reply *reply)
{
    (void)handler;
    reply->status = act->is_made ? 201 : 200;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"model\":\"%s\",\"version\":%u", act->model, act->change.version);
    if (act->change.has_replaced)
        text_printf(&reply->body, ",\"dropped_rows\":%zu", act->change.n_dropped);
    text_puts(&reply->body, "}");
}

/* The query may only say features=replace. False: reply is a 400. */
static bool read_replace(const struct request *request, bool *ret_replace, struct reply *reply)
{
    const struct request_parameter *parameter = request->parameters;

    *ret_replace = request->n_parameters == 1 && strcmp(parameter->name, "features") == 0 &&
                   strcmp(parameter->value, "replace") == 0;
    if (*ret_replace || request->n_parameters == 0)
        return true;
    reply_problem(reply, 400,
                  "The query may only be ?features=replace: a version of other features takes "
                  "the place of the model's");
    return false;
}

static int promote(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_promote(learner, act->model, act->who, &act->change, reterr);
}

void handle_promote(struct handler *handler, const struct request *request, struct reply *reply)
{
    CLEANUP(act_freep) struct act *act = act_new(handler, request, reply);

    if (act && read_replace(request, &act->change.replace, reply))
        act_begin(handler, TAKE(act), promote, answer_switch, reply);
}

static int rollback(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_rollback(learner, act->model, act->who, &act->change, reterr);
}

void handle_rollback(struct handler *handler, const struct request *request, struct reply *reply)
{
    CLEANUP(act_freep) struct act *act = act_new(handler, request, reply);

    if (act && read_replace(request, &act->change.replace, reply))
        act_begin(handler, TAKE(act), rollback, answer_switch, reply);
}

/* ---- in, and away ---- */

static int upload(struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_upload(learner, act->model, act->text.data, act->text.length, act->who,
                          &act->change, &act->is_made, reterr);
}

void handle_upload(struct handler *handler, const struct request *request, struct reply *reply)
{
    CLEANUP(act_freep) struct act *act = act_new_of_name(handler, request, reply);

    if (!act || !read_replace(request, &act->change.replace, reply))
        return;
    text_append(&act->text, request->body, request->body_size);
    if (text_failed(&act->text))
        reply_no_memory(reply);
    else
        act_begin(handler, TAKE(act), upload, answer_switch, reply);
}

static int delete (struct learner *learner, struct act *act, struct error *reterr)
{
    return learner_delete(learner, act->model, act->who, reterr);
}

static void answer_delete(struct handler *handler, struct act *act, struct reply *reply)
{
    (void)handler;
    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"model\":\"%s\",\"state\":\"deleted\"}", act->model);
}

void handle_delete(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct act *act = act_new_of_name(handler, request, reply);

    if (act)
        act_begin(handler, act, delete, answer_delete, reply);
}
