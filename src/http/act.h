/* act - what a person does to a model: it may wait for the disk, so the learner's thread for that
 * does it, and the answer comes later (http/later.h). */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "http/request.h"
#include "service/learner.h"
#include "service/live.h"

struct handler;
struct reply;

/* Copied from the request, for it is gone when the act is done. Of what stands below `text` each
 * act uses what it needs. */
struct act {
    /* Does it; on the learner's thread. */
    int (*perform)(struct learner *learner, struct act *act, struct error *reterr);
    /* Fills the reply where that went well; on the worker's. May take what the act holds. */
    void (*answer)(struct handler *handler, struct act *act, struct reply *reply);
    char model[LIVE_NAME_MAX + 1], who[REQUEST_WHO_SIZE];
    struct text text; /* the body of the request, or of the reply */
    struct learner_switch change;
    bool is_made, is_normal;
    int64_t run;
    double rate, alarms_per_day;
    uint64_t event, incident;
    struct maintenance_window window;
    struct incident_filter filter;
    char series[ROW_SERIES_MAX + 1]; /* that the filter names */
    size_t most;
};

/* On the model of the path, which must be there. NULL: reply says why. */
struct act *act_new(struct handler *handler, const struct request *request, struct reply *reply);
/* The same on one that need not be there. */
struct act *act_new_of_name(struct handler *handler, const struct request *request,
                            struct reply *reply);
void act_free(struct act *act);
DEFINE_CLEANUP(struct act *, act_free)

/* Takes the act over. */
void act_begin(struct handler *handler, struct act *act,
               int (*perform)(struct learner *learner, struct act *act, struct error *reterr),
               void (*answer)(struct handler *handler, struct act *act, struct reply *reply),
               struct reply *reply);

/* An answer: the act's text, JSON. */
void act_answer_text(struct handler *handler, struct act *act, struct reply *reply);
