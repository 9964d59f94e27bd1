/* What people and the API ask of the models that learn. */
#include "base/clock.h"
#include "base/log.h"
#include "detector/detector.h"
#include "service/learner_state.h"
#include "store/database.h"
#include "store/event_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void audit_number(struct pupil *pupil, const char *who, const char *act, const char *what,
                         int64_t number)
{
    char detail[64];

    (void)snprintf(detail, sizeof(detail), "%s %lld", what, (long long)number);
    pupil_audit(pupil, who, act, detail);
}

/* ---- features and progress ---- */

int learner_inputs(struct learner *learner, const char *model, struct schema **ret_values,
                   struct preparation **ret_preparation)
{
    struct pupil *pupil = learner_find(learner, model);

    return pupil ? pupil_inputs(pupil, ret_values, ret_preparation) : -ENODATA;
}

int learner_set_features(struct learner *learner, const char *model, const char *const *names,
                         size_t n_features, struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;

    pupil_lock(pupil);
    const bool is_new = !pupil->learning, is_gone = pupil->is_gone;
    if (is_new && !is_gone)
        r = pupil_open_inputs(pupil, names, n_features);
    pupil_unlock(pupil);
    if (is_gone)
        return error_set(reterr, LEARNER_NOT_FOUND, "Model \"%s\" was deleted", model);
    if (!is_new)
        return error_set(reterr, LEARNER_UNFIT, "Model \"%s\" has features already", model);
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

int learner_progress(struct learner *learner, const char *model,
                     struct learner_progress *ret_progress)
{
    struct pupil *pupil = learner_find(learner, model);
    if (!pupil)
        return LEARNER_NOT_FOUND;

    const struct pupil_view view = pupil_look(pupil);
    const int learn = atomic_load(&pupil->learn);
    *ret_progress = (struct learner_progress){
        .rows = view.figures.rows.rows,
        .rows_needed = view.rows_needed,
        .is_frozen = view.is_frozen,
        .is_training = view.current_run != 0,
        .learns = learn != CONFIG_LEARN_OFF,
        .learns_scored = learn == CONFIG_LEARN_AUTO && !view.is_frozen,
    };
    return 0;
}

bool learner_figures(struct learner *learner, const char *model,
                     struct learner_figures *ret_figures)
{
    struct pupil *pupil = learner_find(learner, model);

    if (pupil)
        *ret_figures = pupil_look(pupil).figures;
    return pupil;
}

/* ---- runs ---- */

int learner_retrain(struct learner *learner, const char *model, const char *who, int64_t *ret_run,
                    struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    pupil_lock(pupil);
    if (learner_is_damaged(learner))
        r = learner_store_failed(-EUCLEAN, reterr);
    else if (pupil->log.id == 0)
        r = error_set(reterr, LEARNER_CONFLICT,
                      "Model \"%s\" has no rows yet; send some to /observe", model);
    else if (!pupil->queued_run) {
        r = model_log_add_run(learner->database, pupil->log.id, "request", clock_realtime_us(),
                              &pupil->queued_run);
        (void)snprintf(pupil->trigger, sizeof(pupil->trigger), "request");
        if (r < 0)
            r = learner_store_failed(r, reterr);
    }
    if (r == 0) {
        *ret_run = pupil->queued_run;
        audit_number(pupil, who, "retrain", "run", *ret_run);
    }
    pupil_unlock(pupil);
    learner_wake_runs(learner);
    return r;
}

static int cancel_queued(struct pupil *pupil, const char *why, struct error *reterr)
{
    CLEANUP(logged_run_clear) struct logged_run run = {0};

    int r = model_log_run(pupil->learner->database, pupil->log.id, pupil->queued_run, &run);
    if (r == 0) {
        run.state = RUN_CANCELLED;
        free(run.reason);
        run.reason = strdup(why);
        run.ended_us = clock_realtime_us();
        r = model_log_update_run(pupil->learner->database, pupil->log.id, &run);
    }
    if (r < 0)
        return learner_store_failed(r, reterr);
    pupil->queued_run = 0;
    pupil->figures.n_cancelled++;
    return 0;
}

/* What began before a person decided otherwise: its rows, or its end, are not wanted any more. */
static void cancel_runs(struct pupil *pupil, const char *why)
{
    struct error error;

    if (pupil->queued_run && cancel_queued(pupil, why, &error) < 0) {
        log_warning("model %s: the end of run %lld could not be stored", pupil->name,
                    (long long)pupil->queued_run);
        pupil->queued_run = 0;
    }
    if (pupil->current_run)
        pupil->cancelled = why;
}

int learner_cancel(struct learner *learner, const char *model, int64_t run, const char *who,
                   struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    pupil_lock(pupil);
    if (run == pupil->queued_run && run != 0)
        r = cancel_queued(pupil, "cancelled", reterr);
    else if (run == pupil->current_run && run != 0)
        pupil->cancelled = "cancelled";
    else {
        CLEANUP(logged_run_clear) struct logged_run ended = {0};
        r = model_log_run(learner->database, pupil->log.id, run, &ended);
        r = r < 0 ? error_set(reterr, LEARNER_NOT_FOUND, "Model \"%s\" has no run %lld", model,
                              (long long)run)
                  : error_set(reterr, LEARNER_CONFLICT, "Run %lld has ended: it was %s",
                              (long long)run, run_state_name(ended.state));
    }
    if (r == 0)
        audit_number(pupil, who, "cancel", "run", run);
    pupil_unlock(pupil);
    return r;
}

/* ---- what people steer ---- */

int learner_freeze(struct learner *learner, const char *model, bool is_frozen, const char *who,
                   struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    pupil_lock(pupil);
    if (pupil->log.id == 0)
        r = error_set(reterr, LEARNER_CONFLICT, "Model \"%s\" has learned nothing yet", model);
    else
        r = model_log_set_frozen(learner->database, pupil->log.id, is_frozen);
    if (r < 0 && r != LEARNER_CONFLICT)
        r = learner_store_failed(r, reterr);
    if (r == 0) {
        pupil->log.is_frozen = is_frozen;
        if (pupil->learning)
            learning_freeze(pupil->learning, is_frozen);
        if (is_frozen)
            cancel_runs(pupil, "cancelled: the model was frozen");
        pupil_audit(pupil, who, is_frozen ? "freeze" : "unfreeze", "");
    }
    pupil_unlock(pupil);
    return r;
}

/* The live version is what slow poisoning is measured against from here on, until one comes that
 * has learned all that is in the buffer. */
int learner_rebaseline(struct learner *learner, const char *model, const char *who,
                       struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    int r;
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    pupil_lock(pupil);
    if (pupil->log.live_version == 0)
        r = error_set(reterr, LEARNER_CONFLICT, "Model \"%s\" has no version yet", model);
    else {
        r = model_log_pin(learner->database, pupil->log.id, pupil->log.live_version);
        if (r == 0) {
            pupil->log.pinned_version = pupil->log.live_version;
            r = pupil_pin(pupil);
        }
        if (r == 0 && pupil->learning)
            r = learning_rebaseline(pupil->learning);
        if (r < 0)
            r = learner_store_failed(r, reterr);
    }
    if (r == 0)
        audit_number(pupil, who, "rebaseline", "version", pupil->log.live_version);
    pupil_unlock(pupil);
    return r;
}

/* All rows go; versions stay. */
int learner_reset(struct learner *learner, const char *model, const char *who, struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    pupil_lock(pupil);
    (void)pupil_hold(pupil);
    if (pupil->learning)
        r = learning_forget(pupil->learning);
    if (r == 0 && pupil->log.id)
        r = event_log_close(learner->database, pupil->log.id, "reset", clock_realtime_us());
    if (r == 0)
        r = pupil_forget_features(pupil);
    if (r < 0)
        r = learner_store_failed(r, reterr);
    if (r == 0) {
        cancel_runs(pupil, "cancelled: reset forgot its rows");
        if (pupil->learning)
            pupil_note_pin(pupil);
        pupil_audit(pupil, who, "reset", "");
    }
    pupil_unlock(pupil);
    database_make_room(learner->database);
    return r;
}

/* ---- feedback ---- */

static int refuse_event(const struct pupil *pupil, uint64_t event, struct error *reterr)
{
    return error_set(reterr, LEARNER_NOT_FOUND,
                     "Model \"%s\" has no event %llu, or it is too old; GET /v1/models/%s/events "
                     "and …/events?kind=verdict list them",
                     pupil->name, (unsigned long long)event, pupil->name);
}

/* An incident that only the alarm policy has opened keeps no row from learning: 0 in its place. */
static int leave_out_alarm(struct pupil *pupil, uint64_t *incident)
{
    CLEANUP(logged_event_clear) struct logged_event event = {0};

    int r = event_log_get(pupil->learner->database, pupil->log.id, *incident, &event);
    if (r == 0 && event.opened_by == EVENT_BY_ALARM)
        *incident = 0;
    return r;
}

/* What the word is about: the incident that the event is or belongs to; 0: none. */
static int find_incident(struct pupil *pupil, const struct logged_event *event,
                         uint64_t *ret_incident)
{
    uint64_t incident = strcmp(event->kind, "incident") == 0 ? event->id : event->incident;
    int r = 0;

    if (strcmp(event->kind, "verdict") == 0 && pupil->learning)
        r = learning_incident_of(pupil->learning, event->id, &incident);
    if (r == -ENOENT && incident != 0)
        r = leave_out_alarm(pupil, &incident);
    if (r < 0 && r != -ENOENT)
        return r;
    *ret_incident = incident;
    return 0;
}

static int label_event(struct pupil *pupil, uint64_t event, bool is_normal, const char *who)
{
    return event_log_label(pupil->learner->database, pupil->log.id, event,
                           is_normal ? "normal" : "anomaly", who, clock_realtime_us());
}

static bool takes_word(const struct logged_event *event)
{
    static const char *const kinds[] = {"verdict", "incident", "regime_change"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strcmp(event->kind, kinds[i]) == 0)
            return true;
    return false;
}

/* Does what the word says; that no row of it is kept is fine: the word itself is evidence. */
static int obey(struct pupil *pupil, const struct logged_event *event, uint64_t incident,
                bool is_normal)
{
    int r = 0;

    if (!pupil->learning)
        return 0;
    if (event->opened_by == EVENT_BY_ALARM)
        r = learning_answer_alarm(pupil->learning, incident, event->series, is_normal);
    else if (incident)
        r = learning_answer(pupil->learning, incident, is_normal);
    else if (strcmp(event->kind, "verdict") == 0)
        r = learning_answer_verdict(pupil->learning, event->id, event->series, is_normal);
    return r == -ENOENT ? 0 : r;
}

/* Under the pupil's lock. */
static int take_word(struct pupil *pupil, uint64_t id, bool is_normal, const char *who,
                     uint64_t *ret_incident, struct error *reterr)
{
    CLEANUP(logged_event_clear) struct logged_event event = {0};
    uint64_t incident = 0;
    char detail[64];

    int r = pupil->log.id ? event_log_get(pupil->learner->database, pupil->log.id, id, &event)
                          : -ENOENT;
    if (r == -ENOENT)
        return refuse_event(pupil, id, reterr);
    if (r == 0 && !takes_word(&event))
        return error_set(reterr, LEARNER_UNFIT,
                         "Event %llu is \"%s\": a word is taken on verdicts, incidents and regime "
                         "changes only",
                         (unsigned long long)id, event.kind);
    if (r == 0)
        r = find_incident(pupil, &event, &incident);
    if (r == 0)
        r = obey(pupil, &event, incident, is_normal);
    if (r == 0)
        r = label_event(pupil, id, is_normal, who);
    if (r == 0 && incident != 0 && incident != id) {
        r = label_event(pupil, incident, is_normal, who);
        r = r == -ENOENT ? 0 : r; /* it has aged out */
    }
    if (r < 0)
        return learner_store_failed(r, reterr);
    (void)snprintf(detail, sizeof(detail), "%s, event %llu", is_normal ? "normal" : "anomaly",
                   (unsigned long long)id);
    pupil_audit(pupil, who, "feedback", detail);
    *ret_incident = incident;
    return 0;
}

int learner_feedback(struct learner *learner, const char *model, uint64_t event, bool is_normal,
                     const char *who, uint64_t *ret_incident, struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    uint64_t incident = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;
    if (learner_check_files(learner, reterr) < 0)
        return LEARNER_UNAVAILABLE;

    learner_wait_for_intake(learner, pupil);
    pupil_lock(pupil);
    (void)pupil_hold(pupil); /* incidents that end are told with what is to blame */
    const int r = take_word(pupil, event, is_normal, who, &incident, reterr);
    pupil_unlock(pupil);
    learner_wake_runs(learner);
    if (r == 0 && ret_incident)
        *ret_incident = incident;
    return r;
}
