/* handler - what a worker lends the handlers: the service, and memory that is reused from request
 * to request, so that scoring does not allocate. One per worker thread. */
#pragma once

#include "base/cleanup.h"
#include "data/json_rows.h"
#include "detector/detail.h"
#include "http/stream.h"

#include <stdbool.h>

struct later_queue;
struct reply;
struct request;
struct service;
struct verdict;
struct workspace;

struct handler {
    struct service *service;
    unsigned worker; /* its number, for counting */
    struct workspace *workspace;
    struct later_queue *later; /* of the answers that cannot be made at once */
    struct streams streams;    /* of those without an end */
    struct json_rows *rows;    /* of the request at hand: own_rows, or what a stream of rows has */
    struct json_rows own_rows;
    struct verdict *verdicts; /* [verdicts_capacity] */
    size_t verdicts_capacity;
    bool *is_late; /* [late_capacity] which rows are, of a model that prepares them */
    size_t late_capacity;
    bool *is_explained; /* [explained_capacity] */
    size_t explained_capacity;
    float *holds; /* [holds_capacity] floats: of the explained rows, one behind the other */
    size_t holds_capacity;
    struct explained explained;
};

MUST_CHECK int handler_new(struct service *service, unsigned worker, struct handler **ret_handler);
void handler_free(struct handler *handler);
DEFINE_CLEANUP(struct handler *, handler_free)

/* Room for that many verdicts; -ENOMEM. */
MUST_CHECK int handler_reserve(struct handler *handler, size_t n_rows);
MUST_CHECK int handler_reserve_late(struct handler *handler, size_t n_rows);
/* And for the holds of that many rows (service/series_memory.h). */
MUST_CHECK int handler_reserve_holds(struct handler *handler, size_t n_rows, size_t n_features);

/* Gives back what a large request made grow. Call it after each request. */
void handler_trim(struct handler *handler);

/* The functions behind the routes. One fills the reply, or leaves a `struct later` in it, and never
 * fails: what goes wrong is an answer too. It runs on the worker's thread and holds no lock while
 * it computes. */
void handle_score(struct handler *handler, const struct request *request, struct reply *reply);
void handle_observe(struct handler *handler, const struct request *request, struct reply *reply);
void handle_retrain(struct handler *handler, const struct request *request, struct reply *reply);
void handle_runs(struct handler *handler, const struct request *request, struct reply *reply);
void handle_run(struct handler *handler, const struct request *request, struct reply *reply);
void handle_cancel(struct handler *handler, const struct request *request, struct reply *reply);
void handle_versions(struct handler *handler, const struct request *request, struct reply *reply);
void handle_file(struct handler *handler, const struct request *request, struct reply *reply);
void handle_promote(struct handler *handler, const struct request *request, struct reply *reply);
void handle_rollback(struct handler *handler, const struct request *request, struct reply *reply);
void handle_feedback(struct handler *handler, const struct request *request, struct reply *reply);
void handle_freeze(struct handler *handler, const struct request *request, struct reply *reply);
void handle_unfreeze(struct handler *handler, const struct request *request, struct reply *reply);
void handle_rebaseline(struct handler *handler, const struct request *request, struct reply *reply);
void handle_reset(struct handler *handler, const struct request *request, struct reply *reply);
void handle_thresholds(struct handler *handler, const struct request *request, struct reply *reply);
void handle_set_thresholds(struct handler *handler, const struct request *request,
                           struct reply *reply);
void handle_maintenance(struct handler *handler, const struct request *request,
                        struct reply *reply);
void handle_add_maintenance(struct handler *handler, const struct request *request,
                            struct reply *reply);
void handle_end_maintenance(struct handler *handler, const struct request *request,
                            struct reply *reply);
void handle_buffer(struct handler *handler, const struct request *request, struct reply *reply);
void handle_events(struct handler *handler, const struct request *request, struct reply *reply);
void handle_incidents(struct handler *handler, const struct request *request, struct reply *reply);
void handle_incident(struct handler *handler, const struct request *request, struct reply *reply);
void handle_incident_rows(struct handler *handler, const struct request *request,
                          struct reply *reply);
void handle_follow(struct handler *handler, const struct request *request, struct reply *reply);
void handle_audit(struct handler *handler, const struct request *request, struct reply *reply);
void handle_models(struct handler *handler, const struct request *request, struct reply *reply);
void handle_model(struct handler *handler, const struct request *request, struct reply *reply);
void handle_upload(struct handler *handler, const struct request *request, struct reply *reply);
void handle_delete(struct handler *handler, const struct request *request, struct reply *reply);
void handle_healthz(struct handler *handler, const struct request *request, struct reply *reply);
void handle_readyz(struct handler *handler, const struct request *request, struct reply *reply);
void handle_metrics(struct handler *handler, const struct request *request, struct reply *reply);
