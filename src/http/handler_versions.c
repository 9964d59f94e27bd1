/* GET /v1/models/{m}/versions and …/versions/{v}/file, POST …/versions/{v}/promote and …/rollback,
 * PUT and DELETE /v1/models/{m}: which version answers, and where it comes from. */
#include "base/file.h"
#include "base/text.h"
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
    struct stat status;
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

static void reply_switch(const char *model, const struct learner_switch *change,
                         struct reply *reply)
{
    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"model\":\"%s\",\"version\":%u", model, change->version);
    if (change->has_replaced)
        text_printf(&reply->body, ",\"dropped_rows\":%zu", change->n_dropped);
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

void handle_promote(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct learner_switch change = {.version = request->version};
    struct error error = {0};

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (!learner || !read_replace(request, &change.replace, reply))
        return;
    int r = learner_promote(learner, model, request_who(request, who), &change, &error);
    if (r < 0)
        lookup_learner_problem(r, &error, reply);
    else
        reply_switch(model, &change, reply);
}

void handle_rollback(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct learner_switch change = {0};
    struct error error = {0};

    struct learner *learner = lookup_learner(handler, request, model, reply);
    if (!learner)
        return;
    int r = learner_rollback(learner, model, request_who(request, who), &change.version, &error);
    if (r < 0)
        lookup_learner_problem(r, &error, reply);
    else
        reply_switch(model, &change, reply);
}

/* ---- in, and away ---- */

void handle_upload(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct learner_switch change = {0};
    struct error error = {0};
    bool is_made = false;

    struct learner *learner = lookup_name(handler, request, model, reply);
    if (!learner || !read_replace(request, &change.replace, reply))
        return;
    int r = learner_upload(learner, model, request->body, request->body_size,
                           request_who(request, who), &change, &is_made, &error);
    if (r < 0) {
        lookup_learner_problem(r, &error, reply);
        return;
    }
    reply_switch(model, &change, reply);
    reply->status = is_made ? 201 : 200;
}

void handle_delete(struct handler *handler, const struct request *request, struct reply *reply)
{
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct error error = {0};

    struct learner *learner = lookup_name(handler, request, model, reply);
    if (!learner)
        return;
    int r = learner_delete(learner, model, request_who(request, who), &error);
    if (r < 0) {
        lookup_learner_problem(r, &error, reply);
        return;
    }
    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"model\":\"%s\",\"state\":\"deleted\"}", model);
}
