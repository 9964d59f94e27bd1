/* lookup - the model and the learner that a request is about; where there is none, the answer that
 * says so. */
#pragma once

#include "base/error.h"
#include "service/live.h"

#include <stdbool.h>

struct handler;
struct learner;
struct reply;
struct request;
struct text;

/* The model of the path, or the only one there is. NULL: reply is a 404 or 409. */
struct live_model *lookup_model(struct handler *handler, const struct request *request,
                                struct reply *reply);

void lookup_release(struct handler *handler, struct live_model *model);

/* Of LIVE_SERVING: (*model)->detector is there until lookup_let_go(); see live_hold_newest().
 * False: it cannot be loaded any more, reply is a 503. */
bool lookup_hold(struct handler *handler, struct live_model **model, struct reply *reply);
void lookup_let_go(struct handler *handler, struct live_model *model);

/* What the API calls its state: "failed", "frozen", "training", "learning" or "serving". */
const char *lookup_state(struct handler *handler, const struct live_model *model);

/* Copies the name of the model in the path. NULL: reply is a 404, or a 409 or 503
 * without a store. */
struct learner *lookup_learner(struct handler *handler, const struct request *request,
                               char ret_model[LIVE_NAME_MAX + 1], struct reply *reply);

/* The same for a model that need not be there. */
struct learner *lookup_name(struct handler *handler, const struct request *request,
                            char ret_model[LIVE_NAME_MAX + 1], struct reply *reply);

/* Answers with what print() of service/learner.h says about the model of the path. */
void lookup_print(struct handler *handler, const struct request *request,
                  int (*print)(struct learner *learner, const char *model, struct text *text,
                               struct error *reterr),
                  struct reply *reply);

/* LIVE_FAILED: a 503. */
void lookup_refuse_failed(struct handler *handler, const struct live_model *model,
                          struct reply *reply);

/* No store, so nothing is learned: a 409, or a 503 where there should be one. */
void lookup_refuse_learning(struct handler *handler, struct reply *reply);

/* r, below 0, is what a function of service/learner.h returned. */
void lookup_learner_problem(int r, const struct error *error, struct reply *reply);
