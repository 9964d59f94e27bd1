/* The models that learn, as JSON for the API. */
#include "service/learner_state.h"
#include "store/event_log.h"

#include <errno.h>
#include <string.h>

#define MOST_RUNS   100
#define MOST_EVENTS 200
#define MOST_ACTS   200
#define MOST_LISTED 1000 /* incidents */

static void put_string(struct text *text, const char *name, const char *value)
{
    text_printf(text, ",\"%s\":", name);
    text_json_string(text, value, strlen(value));
}

/* RFC 3339, UTC; nothing for 0. */
static void put_time(struct text *text, const char *name, uint64_t us)
{
    if (us == 0)
        return;
    text_printf(text, ",\"%s\":\"", name);
    text_time(text, us);
    text_puts(text, "\"");
}

int learner_print_buffer(struct learner *learner, const char *model, struct text *text,
                         struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    if (!pupil)
        return LEARNER_NOT_FOUND;

    const struct row_counts counts = pupil_look(pupil).figures.rows;
    text_printf(text,
                "{\"rows\":%zu,\"capacity\":%zu,\"quarantined\":%zu,\"training\":%zu,"
                "\"calibration\":%zu,\"held\":%zu,\"confirmed\":%zu,\"aside\":%zu}",
                counts.rows, counts.capacity, counts.of_role[ROW_QUARANTINE],
                counts.of_role[ROW_TRAIN], counts.of_role[ROW_CALIBRATE], counts.of_role[ROW_GATE],
                counts.of_role[ROW_CONFIRMED], counts.of_role[ROW_ASIDE]);
    return 0;
}

static void put_run(struct text *text, const struct pupil_view *view, const struct logged_run *run)
{
    const bool is_current = run->id == view->current_run;

    text_printf(text, "{\"id\":%lld,\"state\":\"%s\",\"trigger\":\"%s\"", (long long)run->id,
                run_state_name(run->state), run->trigger);
    put_time(text, "queued_at", run->queued_us);
    put_time(text, "started_at", run->started_us);
    put_time(text, "ended_at", run->ended_us);
    if (is_current) {
        text_puts(text, ",\"progress\":");
        text_double(text, view->done);
    }
    if (run->version)
        text_printf(text, ",\"version\":%u", run->version);
    if (run->reason)
        put_string(text, "reason", run->reason);
    if (run->comparison)
        text_printf(text, ",\"comparison\":%s", run->comparison);
    text_puts(text, "}");
}

int learner_print_run(struct learner *learner, const char *model, int64_t id, struct text *text,
                      struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    CLEANUP(logged_run_clear) struct logged_run run = {0};
    int r = -ENOENT;
    if (!pupil)
        return LEARNER_NOT_FOUND;

    const struct pupil_view view = pupil_look(pupil);
    if (view.id)
        r = model_log_run(learner->database, view.id, id, &run);
    if (r == 0)
        put_run(text, &view, &run);
    if (r == -ENOENT)
        return error_set(reterr, LEARNER_NOT_FOUND, "Model \"%s\" has no run %lld", model,
                         (long long)id);
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

int learner_print_runs(struct learner *learner, const char *model, struct text *text,
                       struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    AUTO_FREE struct logged_run *runs = NULL;
    size_t n = 0;
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;

    const struct pupil_view view = pupil_look(pupil);
    if (view.id)
        r = model_log_runs(learner->database, view.id, MOST_RUNS, &runs, &n);
    text_puts(text, "{\"runs\":[");
    for (size_t i = 0; i < n; i++) {
        text_puts(text, i ? "," : "");
        put_run(text, &view, &runs[i]);
        logged_run_clear(&runs[i]);
    }
    text_puts(text, "]}");
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

static const char *state_of(const struct pupil_view *view, const struct logged_version *version)
{
    return version->version == view->live_version     ? "live"
           : version->version == view->former_version ? "former"
           : version->is_refused                      ? "refused"
                                                      : "kept";
}

int learner_print_versions(struct learner *learner, const char *model, struct text *text,
                           struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    AUTO_FREE struct logged_version *versions = NULL;
    size_t n = 0;
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;

    const struct pupil_view view = pupil_look(pupil);
    if (view.id)
        r = model_log_versions(learner->database, view.id, &versions, &n);
    text_puts(text, "{\"versions\":[");
    for (size_t i = 0; i < n; i++) {
        const struct logged_version *version = &versions[i];
        text_printf(text, "%s{\"version\":%u,\"state\":\"%s\",\"pinned\":%s", i ? "," : "",
                    version->version, state_of(&view, version),
                    version->version == view.pinned_version ? "true" : "false");
        put_time(text, "made_at", version->made_us);
        put_string(text, "origin", version->origin);
        text_printf(text, ",\"rows\":%zu", version->rows);
        if (version->run)
            text_printf(text, ",\"run\":%lld", (long long)version->run);
        put_string(text, "sha256", version->sha256);
        text_puts(text, "}");
    }
    text_puts(text, "]}");
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

void learner_put_event(struct text *text, const char *model, const struct logged_event *event)
{
    text_puts(text, "{");
    if (model)
        text_printf(text, "\"model\":\"%s\",", model);
    text_printf(text, "\"id\":%llu,\"kind\":\"%s\"", (unsigned long long)event->id, event->kind);
    put_time(text, "time", event->time_us);
    if (event->ended_us && strcmp(event->kind, "incident") == 0)
        put_time(text, "ended_at", event->ended_us);
    if (event->series)
        put_string(text, "series", event->series);
    if (event->detail)
        text_printf(text, ",\"detail\":%s", event->detail);
    if (event->reason)
        put_string(text, "reason", event->reason);
    if (event->advice)
        put_string(text, "advice", event->advice);
    if (*event->label)
        put_string(text, "label", event->label);
    if (event->incident)
        text_printf(text, ",\"incident\":%llu", (unsigned long long)event->incident);
    if (strcmp(event->kind, "incident") == 0)
        text_printf(text, ",\"open\":%s", event->is_open ? "true" : "false");
    text_puts(text, "}");
}

/* kind NULL: all but verdicts. */
static int print_events(struct learner *learner, const char *model, const char *kind,
                        struct text *text, struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    AUTO_FREE struct logged_event *events = NULL;
    size_t n = 0;
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;

    if (kind)
        learner_wait_for_intake(learner, pupil);
    const struct pupil_view view = pupil_look(pupil);
    if (view.id)
        r = event_log_list(learner->database, view.id, kind, 0, MOST_EVENTS, &events, &n);
    text_puts(text, "{\"events\":[");
    for (size_t i = 0; i < n; i++) {
        text_puts(text, i ? "," : "");
        learner_put_event(text, NULL, &events[i]);
        logged_event_clear(&events[i]);
    }
    text_puts(text, "]}");
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

int learner_print_events(struct learner *learner, const char *model, struct text *text,
                         struct error *reterr)
{
    return print_events(learner, model, NULL, text, reterr);
}

int learner_print_verdicts(struct learner *learner, const char *model, struct text *text,
                           struct error *reterr)
{
    return print_events(learner, model, "verdict", text, reterr);
}

/* Its detail's members beside those of the event. */
static void put_incident(struct text *text, const struct logged_event *event)
{
    text_printf(text, "{\"id\":%llu,\"open\":%s", (unsigned long long)event->id,
                event->is_open ? "true" : "false");
    if (event->series)
        put_string(text, "series", event->series);
    put_time(text, "opened_at", event->time_us);
    put_time(text, "ended_at", event->ended_us);
    if (event->reason)
        put_string(text, "reason", event->reason);
    if (event->advice)
        put_string(text, "advice", event->advice);
    if (*event->label)
        put_string(text, "label", event->label);
    if (event->detail && strlen(event->detail) > 2)
        text_printf(text, ",%.*s", (int)strlen(event->detail) - 2, event->detail + 1);
    text_puts(text, "}");
}

int learner_print_incidents(struct learner *learner, const char *model,
                            const struct incident_filter *filter, size_t most, struct text *text,
                            struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    AUTO_FREE struct logged_event *events = NULL;
    size_t n = 0;
    int r = 0;
    if (!pupil)
        return LEARNER_NOT_FOUND;

    most = most < MOST_LISTED ? most : MOST_LISTED;
    learner_wait_for_intake(learner, pupil);
    const struct pupil_view view = pupil_look(pupil);
    if (view.id) /* one more tells whether it goes on */
        r = event_log_incidents(learner->database, view.id, filter, most + 1, &events, &n);
    text_puts(text, "{\"incidents\":[");
    for (size_t i = 0; i < n && i < most; i++) {
        text_puts(text, i ? "," : "");
        put_incident(text, &events[i]);
    }
    text_puts(text, "]");
    if (n > most)
        text_printf(text, ",\"before\":%llu", (unsigned long long)events[most - 1].id);
    text_puts(text, "}");
    for (size_t i = 0; i < n; i++)
        logged_event_clear(&events[i]);
    return r < 0 ? learner_store_failed(r, reterr) : 0;
}

int learner_print_incident(struct learner *learner, const char *model, uint64_t incident,
                           struct text *text, struct error *reterr)
{
    struct pupil *pupil = learner_need(learner, model, reterr);
    CLEANUP(logged_event_clear) struct logged_event event = {0};
    int r = -ENOENT;
    if (!pupil)
        return LEARNER_NOT_FOUND;

    learner_wait_for_intake(learner, pupil);
    const struct pupil_view view = pupil_look(pupil);
    if (view.id)
        r = event_log_get(learner->database, view.id, incident, &event);
    if (r < 0 && r != -ENOENT)
        return learner_store_failed(r, reterr);
    if (r < 0 || strcmp(event.kind, "incident") != 0)
        return error_set(reterr, LEARNER_NOT_FOUND,
                         "Model \"%s\" has no incident %llu, or it is too old; GET "
                         "/v1/models/%s/incidents lists them",
                         model, (unsigned long long)incident, model);
    put_incident(text, &event);
    return 0;
}

static void put_act(struct text *text, const struct audited_act *act)
{
    text_puts(text, "{\"act\":");
    text_json_string(text, act->act, strlen(act->act));
    put_time(text, "time", act->time_us);
    put_string(text, "who", act->who);
    if (act->detail && *act->detail)
        put_string(text, "detail", act->detail);
    text_puts(text, "}");
}

int learner_print_audit(struct learner *learner, const char *model, struct text *text,
                        struct error *reterr)
{
    AUTO_FREE struct audited_act *acts = NULL;
    size_t n = 0;

    int r = event_log_acts(learner->database, model, MOST_ACTS, &acts, &n);
    if (r < 0)
        return learner_store_failed(r, reterr);
    if (n == 0 && !learner_need(learner, model, reterr))
        return LEARNER_NOT_FOUND;
    text_puts(text, "{\"audit\":[");
    for (size_t i = 0; i < n; i++) {
        text_puts(text, i ? "," : "");
        put_act(text, &acts[i]);
        audited_act_clear(&acts[i]);
    }
    text_puts(text, "]}");
    return 0;
}
