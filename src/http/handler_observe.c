/* POST /v1/models/{m}/observe: rows known to be normal, answered when they are durable. */
#include "base/clock.h"
#include "base/text.h"
#include "data/json_rows.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "http/first_rows.h"
#include "http/handler.h"
#include "http/later.h"
#include "http/lookup.h"
#include "http/prepared_rows.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/row_body.h"
#include "http/score_options.h"
#include "service/learner.h"
#include "service/live.h"
#include "service/series_memory.h"
#include "service/service.h"

/* late ones are not learned from. */
static void put_rows(struct reply *reply, size_t n_rows, size_t n_late)
{
    reply->status = 200;
    reply->content_type = "application/json";
    text_printf(&reply->body, "{\"rows\":%zu", n_rows);
    if (n_late > 0)
        text_printf(&reply->body, ",\"late\":%zu", n_late);
    text_puts(&reply->body, "}");
}

/* The rows are on the disk, or they could not be brought there. */
static void finish(struct handler *handler, const struct later *later, struct reply *reply)
{
    (void)handler;
    if (prepared_rows_kept(later, reply))
        put_rows(reply, later->n_rows, later->n_late);
}

static void observe(struct handler *handler, const struct live_model *model,
                    const struct request *request, struct reply *reply)
{
    struct learner *learner = service_learner(handler->service);
    struct preparation *preparation = detector_preparation(model->detector);
    const struct json_rows *rows = handler->rows;
    struct score_options options;

    if (!learner) {
        lookup_refuse_learning(handler, reply);
        return;
    }
    score_options_init(&options);
    options.is_for_observe = true;
    CLEANUP(series_undo_freep) struct series_undo *undo = NULL;
    if (row_body_read(handler->rows, &options, detector_values(model->detector), preparation,
                      model->reject_missing, request, reply) < 0 ||
        prepared_rows_make(handler, preparation, model->memory, &options, 0, &undo, reply) < 0)
        return;
    const char *series = score_options_series(&options);
    if (series) /* without memory for it the rows are kept all the same */
        (void)!series_memory_touch(model->memory, series, clock_realtime_us());
    const size_t n_late = prepared_rows_count_late(handler, preparation);
    prepared_rows_drop_late(handler, preparation, false);
    if (rows->n_rows == 0) {
        put_rows(reply, 0, n_late);
        return;
    }
    const struct row_times times = prepared_rows_times(handler, preparation, &options);
    prepared_rows_keep(handler, model->name, detector_n_features(model->detector), &options, &times,
                       n_late, &undo, finish, reply);
}

void handle_observe(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct live_model *model = first_rows_find_model(handler, FIRST_ROWS_OBSERVED, request, reply);
    if (!model)
        return;

    if (model->state == LIVE_FAILED) {
        lookup_refuse_failed(handler, model, reply);
    } else if (model->state == LIVE_LEARNING) {
        first_rows_take(handler, model, FIRST_ROWS_OBSERVED, request, reply);
    } else if (lookup_hold(handler, &model, reply)) {
        observe(handler, model, request, reply);
        lookup_let_go(handler, model);
    }
    lookup_release(handler, model);
}
