/* The models that learn, as JSON for the API. */
#include "base/clock.h"
#include "service/learner_state.h"
#include "store/event_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* ---- /metrics ---- */

static double buffer_rows(const struct learner_figures *figures)
{
    return (double)figures->rows.rows;
}

static double quarantine_rows(const struct learner_figures *figures)
{
    return (double)figures->rows.of_role[ROW_QUARANTINE];
}

static double dropped_by_queue(const struct learner_figures *figures)
{
    return (double)figures->n_dropped_queue;
}

static double dropped_by_store(const struct learner_figures *figures)
{
    return (double)figures->n_dropped_store;
}

static double verdicts_dropped(const struct learner_figures *figures)
{
    return (double)figures->n_verdicts_dropped;
}

static double promoted(const struct learner_figures *figures)
{
    return (double)figures->n_promoted;
}

static double refused(const struct learner_figures *figures)
{
    return (double)figures->n_refused;
}

static double failed(const struct learner_figures *figures)
{
    return (double)figures->n_failed;
}

static double cancelled(const struct learner_figures *figures)
{
    return (double)figures->n_cancelled;
}

static double duration(const struct learner_figures *figures)
{
    return figures->run_seconds;
}

static double progress(const struct learner_figures *figures)
{
    return figures->progress;
}

static double drift(const struct learner_figures *figures)
{
    return figures->drift_log10;
}

static double series(const struct learner_figures *figures)
{
    return (double)figures->series.n_series;
}

static double series_silent(const struct learner_figures *figures)
{
    return (double)figures->series.n_silent;
}

static double incidents_open(const struct learner_figures *figures)
{
    return (double)figures->incidents.n_open;
}

static double opened_by_alarm(const struct learner_figures *figures)
{
    return (double)figures->incidents.n_by_alarm;
}

static double opened_by_hard(const struct learner_figures *figures)
{
    return (double)figures->incidents.n_by_hard;
}

static double opened_by_soft(const struct learner_figures *figures)
{
    return (double)figures->incidents.n_by_soft;
}

/* In the order of the page; help NULL: one more sample of the family above. */
static const struct {
    const char *name, *type, *help, *label;
    double (*value)(const struct learner_figures *figures);
} metrics[] = {
    {"anomalyd_buffer_rows",              "gauge",   "Rows in the buffer.",                             "",                       buffer_rows     },
    {"anomalyd_quarantine_rows",          "gauge",   "Rows in quarantine.",                             "",                       quarantine_rows },
    {"anomalyd_rows_dropped_total",       "counter", "Rows that were not kept for learning.",
     ",reason=\"queue\"",                                                                                                         dropped_by_queue},
    {"anomalyd_rows_dropped_total",       NULL,      NULL,                                              ",reason=\"store\"",      dropped_by_store},
    {"anomalyd_verdicts_dropped_total",   "counter",
     "Anomalies that were not written down: feedback cannot name them.",                                "",                       verdicts_dropped},
    {"anomalyd_retrains_total",           "counter", "Runs that ended.",                                ",outcome=\"promoted\"",  promoted        },
    {"anomalyd_retrains_total",           NULL,      NULL,                                              ",outcome=\"refused\"",   refused         },
    {"anomalyd_retrains_total",           NULL,      NULL,                                              ",outcome=\"failed\"",    failed          },
    {"anomalyd_retrains_total",           NULL,      NULL,                                              ",outcome=\"cancelled\"", cancelled       },
    {"anomalyd_retrain_progress_ratio",   "gauge",   "How far the run under way is; 0: there is none.",
     "",                                                                                                                          progress        },
    {"anomalyd_retrain_duration_seconds", "gauge",   "Duration of the last run.",                       "",                       duration        },
    {"anomalyd_incidents_open",           "gauge",   "Incidents that go on.",                           "",                       incidents_open  },
    {"anomalyd_incidents_opened_total",   "counter", "Incidents, by what opened or joined them.",
     ",opened_by=\"alarm\"",                                                                                                      opened_by_alarm },
    {"anomalyd_incidents_opened_total",   NULL,      NULL,                                              ",opened_by=\"hard\"",    opened_by_hard  },
    {"anomalyd_incidents_opened_total",   NULL,      NULL,                                              ",opened_by=\"soft\"",    opened_by_soft  },
    {"anomalyd_series",                   "gauge",   "Series that are remembered.",                     "",                       series          },
    {"anomalyd_series_silent",            "gauge",   "Series without a row for stale_after.",           "",                       series_silent   },
    {"anomalyd_drift_log10_martingale",   "gauge",   "Evidence of drift, log10; an event at 6.",        "",
     drift                                                                                                                                        },
};

#define N_METRICS (sizeof(metrics) / sizeof(*metrics))

/* Not by text_printf(), which takes long for thousands of models. */
static void put_all(struct text *text, const char *const *strings)
{
    while (*strings)
        text_puts(text, *strings++);
}

/* All samples of a family must stand together. */
static void put_family(struct text *text, size_t first, struct pupil *const *pupils,
                       const struct learner_figures *figures, size_t n_pupils)
{
    text_printf(text, "# HELP %s %s\n# TYPE %s %s\n", metrics[first].name, metrics[first].help,
                metrics[first].name, metrics[first].type);
    for (size_t i = 0; i < n_pupils; i++)
        for (size_t m = first; m < N_METRICS && (m == first || !metrics[m].help); m++) {
            put_all(text, (const char *const[]){metrics[m].name, "{model=\"", pupils[i]->name, "\"",
                                                metrics[m].label, "} ", NULL});
            text_double(text, metrics[m].value(&figures[i]));
            text_puts(text, "\n");
        }
}

static void put_events(struct text *text, struct pupil *const *pupils,
                       const struct learner_figures *figures, size_t n_pupils)
{
    text_puts(text, "# HELP anomalyd_events_total What people were told; an incident that hardens "
                    "counts again.\n# TYPE anomalyd_events_total counter\n");
    for (size_t i = 0; i < n_pupils; i++)
        for (size_t kind = 0; kind < LEARNER_N_EVENT_KINDS; kind++) {
            put_all(text,
                    (const char *const[]){"anomalyd_events_total{model=\"", pupils[i]->name,
                                          "\",kind=\"", learner_event_kinds[kind], "\"} ", NULL});
            text_u64(text, figures[i].n_events[kind]);
            text_puts(text, "\n");
        }
}

void learner_write_metrics(struct learner *learner, struct text *text)
{
    (void)pthread_mutex_lock(&learner->lock);
    const size_t n = learner->n_pupils;
    (void)pthread_mutex_unlock(&learner->lock);
    AUTO_FREE struct pupil **pupils = calloc(n + 1, sizeof(struct pupil *));
    AUTO_FREE struct learner_figures *figures = calloc(n + 1, sizeof(*figures));
    size_t n_there = 0;
    if (!pupils || !figures)
        return;

    (void)pthread_mutex_lock(&learner->lock);
    for (size_t i = 0; i < n; i++)
        if (!learner->pupils[i]->is_gone)
            pupils[n_there++] = learner->pupils[i];
    (void)pthread_mutex_unlock(&learner->lock);
    for (size_t i = 0; i < n_there; i++)
        figures[i] = pupil_look(pupils[i]).figures;
    for (size_t m = 0; m < N_METRICS; m++)
        if (metrics[m].help)
            put_family(text, m, pupils, figures, n_there);
    put_events(text, pupils, figures, n_there);
}
