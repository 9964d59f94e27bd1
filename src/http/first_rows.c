#include "http/first_rows.h"

#include "base/text.h"
#include "data/schema.h"
#include "http/handler.h"
#include "http/later.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/row_body.h"
#include "http/row_names.h"
#include "http/score_options.h"
#include "service/learner.h"
#include "service/service.h"

#include <errno.h>

/* What is being kept. */
struct first {
    struct learner *learner;
    const struct live_model *model;
    struct schema *schema;
    bool has_features; /* the learner knows them */
};

/* Reads the body by a schema that no body fits, for the sake of the answer to a malformed one. */
static void refuse_body(struct handler *handler, struct score_options *options,
                        const struct request *request, struct reply *reply)
{
    static const char *const name = "f0";
    CLEANUP(schema_freep) struct schema *any = NULL;

    if (schema_new(&name, 1, &any, NULL) < 0)
        reply_no_memory(reply);
    else if (row_body_read(&handler->rows, options, any, false, request, reply) == 0 ||
             reply->status == 422)
        reply_problem(reply, 422,
                      "The first row for a model without features must name them: send "
                      "{\"features\": {\"cpu\": 0.3, …}}, or [0.1, …] for features f0, f1, …");
}

/* The model's features, or those that the body speaks of. -EINVAL: reply says why there are none.
 */
static int find_schema(struct first *first, struct handler *handler, struct score_options *options,
                       const struct request *request, struct reply *reply)
{
    struct error error = {0};

    int r = learner_schema(first->learner, first->model->name, &first->schema);
    first->has_features = r == 0;
    if (r == -ENODATA)
        r = row_names_read(request->body, request->body_size, &first->schema, &error);
    if (r == 0)
        return 0;
    if (r == -ENOMEM)
        reply_no_memory(reply);
    else if (r == -ENODATA)
        refuse_body(handler, options, request, reply);
    else
        reply_problem(reply, 422, "The first row does not name features: %s", error.text);
    return -EINVAL;
}

static int tell_features(const struct first *first, struct error *reterr)
{
    return learner_set_features(first->learner, first->model->name, schema_names(first->schema),
                                schema_n_features(first->schema), reterr);
}

/* The rows have been kept, or could not be. */
static void finish(struct handler *handler, const struct later *later, struct reply *reply)
{
    struct learner *learner = service_learner(handler->service);
    struct learner_progress progress = {0};
    const struct error gone = {"The model is gone; GET /v1/models lists what there is"};

    if (later->r < 0) {
        lookup_learner_problem(later->r, &later->error, reply);
        return;
    }
    int r = learner_progress(learner, later->model, &progress);
    if (r < 0) {
        lookup_learner_problem(r, &gone, reply);
        return;
    }
    reply->status = 202;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"state\":\"learning\",\"rows\":%zu,\"rows_needed\":%zu}",
                progress.rows, progress.rows_needed);
}

/* The rows have been read and accepted. */
static int keep_rows(const struct first *first, const struct json_rows *rows,
                     const struct score_options *options, struct later *later, struct error *reterr)
{
    int r = first->has_features ? 0 : tell_features(first, reterr);
    if (r < 0)
        return r;
    return learner_observe(first->learner, first->model->name, rows->rows, rows->n_rows,
                           schema_n_features(first->schema), score_options_time_us(options),
                           score_options_series(options), later_done, later, reterr);
}

static void take(struct first *first, struct handler *handler, enum first_rows from,
                 const struct request *request, struct reply *reply)
{
    struct score_options options;
    struct error error = {0};

    score_options_init(&options);
    options.is_for_observe = from == FIRST_ROWS_OBSERVED;
    if (find_schema(first, handler, &options, request, reply) < 0 ||
        row_body_read(&handler->rows, &options, first->schema, first->model->reject_missing,
                      request, reply) < 0)
        return;
    CLEANUP(later_freep)
    struct later *later = later_new(handler->later, finish, first->model->name);
    if (!later) {
        reply_no_memory(reply);
        return;
    }
    if (!options.learn) {
        finish(handler, later, reply);
        return;
    }
    int r = keep_rows(first, &handler->rows, &options, later, &error);
    if (r < 0)
        lookup_learner_problem(r, &error, reply);
    else
        reply->later = TAKE(later);
}

void first_rows_take(struct handler *handler, const struct live_model *model, enum first_rows from,
                     const struct request *request, struct reply *reply)
{
    struct first first = {.learner = service_learner(handler->service), .model = model};

    if (first.learner)
        take(&first, handler, from, request, reply);
    else
        lookup_refuse_learning(handler, reply);
    schema_free(first.schema);
}
