/* POST /v1/models/{m}/score and /v1/score, of a body that is there as a whole. Longer ones, NDJSON
 * and .npy are scored while they come: http/score_stream.c. */
#include "data/json_rows.h"
#include "detector/detector.h"
#include "http/first_rows.h"
#include "http/handler.h"
#include "http/lookup.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/row_body.h"
#include "http/scoring.h"
#include "service/live.h"

#define BYTES_A_VERDICT 128

/* The model is one that answers. */
static void score(struct scoring *scoring, const struct request *request, struct reply *reply)
{
    struct handler *handler = scoring->handler;
    struct json_rows *rows = handler->rows;

    if (row_body_read(rows, &scoring->options, detector_values(scoring->model->detector),
                      scoring->preparation, scoring->model->reject_missing, request, reply) < 0)
        return;
    text_reserve(&reply->body, 256 + BYTES_A_VERDICT * rows->n_rows);
    scoring_put_head(scoring, rows->is_batch, reply);
    if (scoring_answer(scoring, true, reply) < 0)
        return;
    scoring_put_end(scoring, rows->is_batch, reply);
    if (!text_failed(&reply->body))
        scoring_keep(scoring);
}

/* The model has its detector. */
static void score_with(struct handler *handler, struct live_model *model,
                       const struct request *request, struct reply *reply)
{
    CLEANUP(scoring_clear) struct scoring scoring;

    scoring_begin(&scoring, handler, model, request);
    score(&scoring, request, reply);
}

void handle_score(struct handler *handler, const struct request *request, struct reply *reply)
{
    struct live_model *model = first_rows_find_model(handler, FIRST_ROWS_SCORED, request, reply);
    if (!model)
        return;

    if (model->state == LIVE_FAILED) {
        lookup_refuse_failed(handler, model, reply);
    } else if (model->state == LIVE_LEARNING) {
        first_rows_take(handler, model, FIRST_ROWS_SCORED, request, reply);
    } else if (lookup_hold(handler, &model, reply)) {
        score_with(handler, model, request, reply);
        lookup_let_go(handler, model);
    }
    lookup_release(handler, model);
}
