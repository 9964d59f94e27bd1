/* Incidents: one record for a stretch of trouble in a series, whoever opens it, the alarm policy or
 * a CUSUM of its admission, and until all that have opened it have closed. */
#include "data/schema.h"
#include "detector/detail.h"
#include "detector/detector.h"
#include "detector/summary.h"
#include "detector/verdict_json.h"
#include "service/learning_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BLAMED 5
#define MUCH_WORSE  1.25 /* times the peak that was told last */

#define ALARM_ADVICE \
    "see the features it blames; tell by feedback whether this is normal or an anomaly"
#define CUSUM_ADVICE \
    "its rows are kept from learning; tell by feedback whether this is normal or an anomaly"

static const struct {
    unsigned opener;
    const char *name;
} openers[] = {
    {EVENT_BY_ALARM, "alarm"},
    {EVENT_BY_HARD,  "hard" },
    {EVENT_BY_SOFT,  "soft" },
};

#define N_OPENERS (sizeof(openers) / sizeof(*openers))

const char *learning_opener_name(unsigned opened_by)
{
    for (size_t i = 0; i < N_OPENERS; i++)
        if (opened_by & openers[i].opener)
            return openers[i].name;
    return "";
}

/* ---- the record ---- */

static void put_openers(unsigned opened_by, struct text *text)
{
    const char *separator = "";

    text_printf(text, "\"opened_by\":\"%s\",\"openers\":[", learning_opener_name(opened_by));
    for (size_t i = 0; i < N_OPENERS; i++) {
        if (!(opened_by & openers[i].opener))
            continue;
        text_printf(text, "%s\"%s\"", separator, openers[i].name);
        separator = ",";
    }
    text_puts(text, "]");
}

static void put_peak(const struct stretch *rows, struct text *text)
{
    text_puts(text, ",\"peak\":{\"score\":");
    text_double(text, rows->peak_score);
    text_puts(text, ",\"time\":\"");
    text_time(text, rows->peak_us);
    text_printf(text, "\",\"version\":%u}", rows->peak_version);
}

/* Which features its rows blame, with the values of the worst one, by the version that is live now;
 * where none was flagged, that one alone. Without memory, none. */
static void put_blame(struct learning *learning, const struct stretch *rows, struct text *detail,
                      struct text *reason)
{
    size_t n;
    CLEANUP(explained_clear) struct explained explained = {0};

    if (!rows->peak_values || !learning->live ||
        explained_fill(&explained, learning->live, learning->blaming.rules, learning->explaining,
                       rows->peak_values, NULL, NULL, 0.0) < 0 ||
        (rows->blame &&
         explained_blame(&explained, learning->live, rows->peak_values, rows->blame) < 0))
        return;
    const struct vocabulary vocabulary = detector_vocabulary(learning->live);
    n = schema_n_features(vocabulary.inputs);
    text_puts(detail, ",\"contributions\":");
    verdict_json_contributions(detail, &vocabulary, explained.contributions,
                               n < MOST_BLAMED ? n : MOST_BLAMED);
    summary_print(reason, &vocabulary, &explained);
}

/* What is told of the incident now, to be cleared by logged_event_clear(). */
static struct logged_event describe(const struct series *series, bool is_open)
{
    const struct incident *incident = &series->incident;
    CLEANUP(text_clear) struct text detail = {0}, reason = {0};
    struct logged_event event = {
        .id = incident->id,
        .time_us = series->current_us,
        .kind = "incident",
        .first_row = incident->first_row,
        .last_row = incident->first_row ? series->n_rows : 0,
        .opened_by = incident->opened_by,
        .is_open = is_open,
    };

    text_puts(&detail, "{");
    put_openers(incident->opened_by, &detail);
    text_printf(&detail, ",\"incident\":%" PRIu64 ",\"rows\":%" PRIu64 ",\"anomalies\":%" PRIu64,
                incident->id, incident->rows.n_rows, incident->rows.n_anomalies);
    text_puts(&detail, ",\"began_at\":\"");
    text_time(&detail, incident->rows.began_us);
    text_puts(&detail, "\"");
    put_peak(&incident->rows, &detail);
    put_blame(series->learning, &incident->rows, &detail, &reason);
    text_puts(&detail, "}");
    event.detail = text_failed(&detail) ? NULL : TAKE(detail.data);
    event.reason = text_failed(&reason) ? NULL : TAKE(reason.data);
    return event;
}

static void remember_told(struct incident *incident)
{
    incident->told_rows = incident->rows.n_rows;
    incident->told_peak = incident->rows.peak_score;
}

static void tell(struct series *series, bool is_open, const char *advice)
{
    CLEANUP(logged_event_clear) struct logged_event event = describe(series, is_open);

    remember_told(&series->incident);
    (void)learning_tell(series->learning, &event, series->name, event.detail, advice);
}

/* What is not stored yet is replaced. */
static void tell_figures(struct series *series)
{
    struct learning *learning = series->learning;
    CLEANUP(logged_event_clear) struct logged_event event = describe(series, true);

    remember_told(&series->incident);
    event.is_update = true;
    for (size_t i = learning->n_events; i-- > 0;) {
        struct logged_event *told = &learning->events[i];
        if (told->id != event.id)
            continue;
        free(told->detail);
        told->detail = TAKE(event.detail);
        if (event.reason) {
            free(told->reason);
            told->reason = TAKE(event.reason);
        }
        told->last_row = event.last_row;
        return;
    }
    (void)learning_tell(learning, &event, series->name, event.detail, NULL);
}

/* ---- opened and closed ---- */

static void count_opener(struct learning_incidents *incidents, unsigned opener)
{
    incidents->n_by_alarm += opener == EVENT_BY_ALARM;
    incidents->n_by_hard += opener == EVENT_BY_HARD;
    incidents->n_by_soft += opener == EVENT_BY_SOFT;
}

/* opener joins the incident that is open, or opens one. rows: what led to it. */
static void join(struct series *series, unsigned opener, const struct stretch *rows,
                 const char *advice)
{
    struct learning *learning = series->learning;
    struct incident *incident = &series->incident;

    if (incident->id == 0) {
        incident->id = learning->options.next_event_id(learning->options.userdata);
        learning->incidents.n_open++;
    }
    if (!(incident->opened_by & opener))
        count_opener(&learning->incidents, opener);
    incident->opened_by |= opener;
    stretch_join(&incident->rows, rows);
    tell(series, true, advice);
}

void series_forget_incident(struct series *series)
{
    if (series->incident.id == 0)
        return;
    series->learning->incidents.n_open--;
    stretch_clear(&series->incident.rows);
    series->incident = (struct incident){0};
}

static void end(struct series *series)
{
    tell(series, false, NULL);
    series_forget_incident(series);
}

/* The CUSUMs have opened theirs, or made it hard. Returns its id. */
static uint64_t open_incident(struct series *series, bool is_hard, uint64_t first_row)
{
    struct incident *incident = &series->incident;

    if (incident->first_row == 0 || first_row < incident->first_row)
        incident->first_row = first_row;
    incident->is_in_admission = true;
    join(series, is_hard ? EVENT_BY_HARD : EVENT_BY_SOFT, &series->odd_rows, CUSUM_ADVICE);
    return incident->id;
}

/* The CUSUMs have closed theirs: it goes on while an alarm is open. */
static void close_incident(struct series *series)
{
    series->incident.is_in_admission = false;
    if (!series->alarm.is_open)
        end(series);
}

static void close_alarm(struct series *series)
{
    if (!series->incident.is_in_admission && series->incident.id != 0)
        end(series);
}

void series_end_alarm(struct series *series)
{
    const bool was_open = series->alarm.is_open;

    series->alarm = (struct alarm){0};
    stretch_clear(&series->alarming_rows);
    if (was_open)
        close_alarm(series);
}

/* ---- what the CUSUMs say ---- */

/* A regime that changes, or input that stands still. */
static void tell_notice(struct series *series, enum admission_event event, uint64_t incident,
                        bool is_hard, uint64_t first_row, uint64_t row)
{
    static const struct {
        const char *kind, *advice;
    } told[] = {
        [ADMISSION_REGIME_CHANGED] = {"regime_change",
                                      "500 rows on end do not look like before: feedback normal on "
                                      "this incident if that is the new normal, anomaly if not"       },
        [ADMISSION_FOLLOWED] = {"regime_change",
                                      "nobody answered: it is taken for the new normal (follow_after)"},
        [ADMISSION_STALE_BEGAN] = {"stale_input",
                                      "the last row is repeated: see whether its collector hangs"     },
    };
    char detail[160];
    struct logged_event log = {
        .time_us = series->current_us,
        .first_row = first_row,
        .last_row = row,
        .incident = incident,
    };

    (void)snprintf(log.kind, sizeof(log.kind), "%s", told[event].kind);
    if (incident)
        (void)snprintf(detail, sizeof(detail),
                       "{\"opened_by\":\"%s\",\"incident\":%" PRIu64 ",\"rows\":%" PRIu64 "}",
                       is_hard ? "hard" : "soft", incident, row - first_row + 1);
    else
        (void)snprintf(detail, sizeof(detail), "{\"rows\":%" PRIu64 "}", row - first_row + 1);
    (void)learning_tell(series->learning, &log, series->name, detail, told[event].advice);
}

uint64_t series_notice(void *userdata, enum admission_event event, uint64_t incident, bool is_hard,
                       uint64_t first_row, uint64_t row)
{
    struct series *series = userdata;

    switch (event) {
    case ADMISSION_OPENED:
    case ADMISSION_HARDENED:
        return open_incident(series, is_hard, first_row);
    case ADMISSION_CLOSED:
        close_incident(series);
        break;
    case ADMISSION_FOLLOWED:
        learning_approve(series->learning);
        series->learning->followed = incident;
        tell_notice(series, event, incident, is_hard, first_row, row);
        break;
    case ADMISSION_REGIME_CHANGED:
    case ADMISSION_STALE_BEGAN:
        tell_notice(series, event, incident, is_hard, first_row, row);
        break;
    }
    return incident;
}

/* ---- rows ---- */

void series_begin_row(struct series *series, const struct scored_row *row)
{
    series->current_us = row->time_us;
    series_move(series, row);
    if (series->incident.id != 0)
        series_stretch(series, &series->incident.rows, row);
}

void series_watch(struct series *series, const struct scored_row *row)
{
    const struct alarm_policy *policy = &series->learning->options.alarm;
    const bool may_open = !learning_skips(series->learning, row->time_us).alarms;
    struct alarm *alarm = &series->alarm;
    struct incident *incident = &series->incident;

    if ((row->is_flagged && policy->n > 0) || !alarm_is_quiet(alarm, policy))
        series_stretch(series, &series->alarming_rows, row);
    switch (alarm_take(alarm, policy, may_open, row->is_flagged, row->score, row->time_us)) {
    case ALARM_OPENED:
        join(series, EVENT_BY_ALARM, &series->alarming_rows,
             incident->is_in_admission ? NULL : ALARM_ADVICE);
        break;
    case ALARM_CLOSED:
        close_alarm(series);
        break;
    case ALARM_UNCHANGED:
        break;
    }
    if (alarm_is_quiet(alarm, policy))
        stretch_clear(&series->alarming_rows);
    if (incident->id != 0 && (incident->rows.n_rows >= 2 * incident->told_rows ||
                              incident->rows.peak_score > MUCH_WORSE * incident->told_peak))
        tell_figures(series);
    if (series->learning->live)
        flight_take(&series->learning->recorder, &series->flight, row, incident->id,
                    detector_schema(series->learning->live));
}
