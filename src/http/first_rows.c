#include "http/first_rows.h"

#include "base/clock.h"
#include "base/text.h"
#include "data/preparation.h"
#include "data/schema.h"
#include "http/handler.h"
#include "http/later.h"
#include "http/lookup.h"
#include "http/prepared_rows.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/row_body.h"
#include "http/row_names.h"
#include "http/score_options.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/series_memory.h"
#include "service/service.h"

#include <errno.h>
#include <string.h>

/* What is being kept. */
struct first {
    struct handler *handler;
    struct learner *learner;
    char model[LIVE_NAME_MAX + 1];
    bool is_new; /* there is no such model yet */
    struct learner_terms terms;
    enum first_rows from;
    struct score_options options;
    struct schema *values;
    struct preparation *preparation; /* NULL: they are the features */
    bool has_features;               /* the learner knows them */
};

static void first_clear(struct first *first)
{
    schema_free(first->values);
    preparation_free(first->preparation);
}

/* Reads the body by a schema that no body fits, for the sake of the answer to a malformed one. */
static void refuse_body(struct first *first, const struct request *request, struct reply *reply)
{
    static const char *const name = "f0";
    struct json_rows *rows = first->handler->rows;
    CLEANUP(schema_freep) struct schema *any = NULL;

    if (schema_new(&name, 1, &any, NULL) < 0)
        reply_no_memory(reply);
    else if (row_body_read(rows, &first->options, any, NULL, false, request, reply) == 0 ||
             reply->status == 422)
        reply_problem(reply, 422,
                      "The first row for a model without features must name them: send "
                      "{\"features\": {\"cpu\": 0.3, …}}, or [0.1, …] for features f0, f1, …");
}

/* The model's features, or those that the body speaks of. -EINVAL: reply says why there are none.
 */
static int find_schema(struct first *first, const struct request *request, struct reply *reply)
{
    struct error error = {0};

    schema_free(TAKE(first->values));
    preparation_free(TAKE(first->preparation));
    int r = learner_inputs(first->learner, first->model, &first->values, &first->preparation);
    first->has_features = r == 0;
    if (r == -ENODATA)
        r = row_names_read(request->body, request->body_size, &first->values, &error);
    if (r == 0 && !first->has_features) {
        r = learner_plan_inputs(first->learner, first->model, first->values, &first->preparation,
                                &error);
        if (r < 0)
            lookup_learner_problem(r, &error, reply);
        return r < 0 ? -EINVAL : 0;
    }
    if (r == 0)
        return 0;
    if (r == -ENOMEM)
        reply_no_memory(reply);
    else if (r == -ENODATA)
        refuse_body(first, request, reply);
    else
        reply_problem(reply, 422, "The first row does not name features: %s", error.text);
    return -EINVAL;
}

static int read_body(struct first *first, const struct request *request, struct reply *reply)
{
    score_options_init(&first->options);
    first->options.is_for_observe = first->from == FIRST_ROWS_OBSERVED;
    int r = find_schema(first, request, reply);
    return r < 0 ? r
                 : row_body_read(first->handler->rows, &first->options, first->values,
                                 first->preparation, first->terms.rejects_missing, request, reply);
}

static size_t n_features(const struct first *first)
{
    return schema_n_features(first->preparation ? first->preparation->features : first->values);
}

static int tell_features(const struct first *first, struct error *reterr)
{
    return learner_set_features(first->learner, first->model, schema_names(first->values),
                                schema_n_features(first->values), reterr);
}

/* Makes the model if it is new, and tells its features. Where another first row was quicker, the
 * body is read anew by that one's: names may come in another order. -EINVAL: the reply is there. */
static int settle(struct first *first, const struct request *request, struct reply *reply)
{
    struct error error = {0};

    int r = learner_check_rows(first->handler->rows->n_rows, n_features(first), &error);
    if (r == 0 && first->is_new)
        r = learner_create(first->learner, first->model, &error);
    if (r == 0 && !first->has_features) {
        r = tell_features(first, &error);
        if (r == LEARNER_UNFIT)
            return read_body(first, request, reply);
    }
    if (r == 0)
        return 0;
    lookup_learner_problem(r, &error, reply);
    return -EINVAL;
}

/* ---- answers ---- */

static void put_progress(struct handler *handler, const char *model, size_t n_late,
                         struct reply *reply)
{
    struct learner *learner = service_learner(handler->service);
    struct learner_progress progress = {0};
    const struct error gone = {"The model is gone; GET /v1/models lists what there is"};

    int r = learner_progress(learner, model, &progress);
    if (r < 0) {
        lookup_learner_problem(r, &gone, reply);
        return;
    }
    reply->status = 202;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"state\":\"learning\",\"rows\":%zu,\"rows_needed\":%zu",
                progress.rows, progress.rows_needed);
    if (n_late > 0)
        text_printf(&reply->body, ",\"late\":%zu", n_late);
    text_puts(&reply->body, "}");
}

/* The rows have been kept, or could not be. */
static void finish(struct handler *handler, const struct later *later, struct reply *reply)
{
    if (prepared_rows_kept(later, reply))
        put_progress(handler, later->model, later->n_late, reply);
}

/* The rows are well-formed, but not to be learned from. */
static void answer_unkept(const struct first *first, struct reply *reply)
{
    if (first->is_new)
        reply_problem(reply, 404,
                      "There is no model \"%s\", and only rows that are learned from make one; "
                      "send some to /v1/models/%s/observe",
                      first->model, first->model);
    else
        put_progress(first->handler, first->model, 0, reply);
}

/* ---- rows ---- */

static bool is_kept(const struct first *first)
{
    return first->from == FIRST_ROWS_OBSERVED ||
           (first->options.learn && first->terms.learns_scored);
}

/* By what is remembered of their series. -EINVAL: the reply is there. */
static int prepare(const struct first *first, struct series_undo **ret_undo, size_t *ret_n_late,
                   struct reply *reply)
{
    struct live *live = service_live(first->handler->service);
    struct live_model *model = live_acquire(live, first->model, strlen(first->model));
    const char *series = score_options_series(&first->options);
    int r = -EINVAL;

    if (model)
        r = prepared_rows_make(first->handler, first->preparation, model->memory, &first->options,
                               0, ret_undo, reply);
    else
        lookup_learner_problem(
            LEARNER_NOT_FOUND,
            &(struct error){"The model is gone; GET /v1/models lists what there is"}, reply);
    if (r == 0 && series)
        (void)!series_memory_touch(model->memory, series, clock_realtime_us());
    live_release(live, model);
    if (r < 0)
        return r;
    *ret_n_late = prepared_rows_count_late(first->handler, first->preparation);
    prepared_rows_drop_late(first->handler, first->preparation, false);
    return 0;
}

static void keep(const struct first *first, struct reply *reply)
{
    const struct json_rows *rows = first->handler->rows;
    const struct score_options *options = &first->options;
    CLEANUP(series_undo_freep) struct series_undo *undo = NULL;
    size_t n_late = 0;

    if (prepare(first, &undo, &n_late, reply) < 0)
        return;
    if (rows->n_rows == 0) { /* all were late */
        put_progress(first->handler, first->model, n_late, reply);
        return;
    }
    const struct row_times times = prepared_rows_times(first->handler, first->preparation, options);
    prepared_rows_keep(first->handler, first->model, n_features(first), options, &times, n_late,
                       &undo, finish, reply);
}

static void take(struct first *first, const struct request *request, struct reply *reply)
{
    if (read_body(first, request, reply) < 0)
        return;
    if (!is_kept(first)) {
        answer_unkept(first, reply);
        return;
    }
    int r = prepared_rows_check(first->handler, first->preparation, &first->options, 0, reply);
    if (r == 0) /* only now, for what is refused makes no model */
        r = settle(first, request, reply);
    if (r == 0)
        keep(first, reply);
}

/* The rows make the model, if they may. */
static void make_model(struct learner *learner, struct handler *handler, enum first_rows from,
                       const struct request *request, struct reply *reply)
{
    CLEANUP(first_clear)
    struct first first = {.handler = handler, .learner = learner, .is_new = true, .from = from};
    struct error error = {0};

    int r =
        learner_may_create(learner, request->model, request->model_length, &first.terms, &error);
    if (r < 0) {
        lookup_learner_problem(r, &error, reply);
        return;
    }
    memcpy(first.model, request->model, request->model_length);
    take(&first, request, reply);
}

struct live_model *first_rows_find_model(struct handler *handler, enum first_rows from,
                                         const struct request *request, struct reply *reply)
{
    struct learner *learner = service_learner(handler->service);

    if (!learner || !request->model)
        return lookup_model(handler, request, reply);
    struct live_model *model =
        live_acquire(service_live(handler->service), request->model, request->model_length);
    if (!model)
        make_model(learner, handler, from, request, reply);
    return model;
}

void first_rows_take(struct handler *handler, const struct live_model *model, enum first_rows from,
                     const struct request *request, struct reply *reply)
{
    CLEANUP(first_clear)
    struct first first = {
        .handler = handler, .learner = service_learner(handler->service), .from = from};
    struct learner_progress progress = {0};

    if (!first.learner) {
        lookup_refuse_learning(handler, reply);
        return;
    }
    if (learner_progress(first.learner, model->name, &progress) == 0 && !progress.learns) {
        reply_problem(reply, 409,
                      "Model \"%s\" has no version and learns none (learn = off): give it a file, "
                      "or write learn = auto, and reload",
                      model->name);
        return;
    }
    memcpy(first.model, model->name, sizeof(first.model));
    first.terms = (struct learner_terms){
        .learns_scored = progress.learns_scored,
        .rejects_missing = model->reject_missing,
    };
    take(&first, request, reply);
}
