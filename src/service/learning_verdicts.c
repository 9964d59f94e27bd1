/* Anomalous verdicts that feedback can name: their events, their rows while those wait in the hold
 * queue of a series, and what an operator says about a single one; what is told, to the store. */
#include "service/learning_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VERDICT       "verdict" /* the kind of its event */
#define MOST_ANSWERED 1000
#define MOST_UNTOLD   20000 /* events in memory: a flood of anomalies must not fill it */

/* ---- as events ---- */

static bool is_verdict(const struct logged_event *event)
{
    return strcmp(event->kind, VERDICT) == 0;
}

bool learning_has_news(const struct learning *learning)
{
    return learning->n_events > 0 || learning->recorder.n_rows > 0 ||
           learning->recorder.n_flights > 0;
}

int learning_put_news(struct learning *learning)
{
    const struct flight_batch batch = flight_recorder_batch(&learning->recorder);

    return flight_log_put(learning->database, learning->model, learning->events, learning->n_events,
                          &batch);
}

void learning_drop_verdicts(struct learning *learning)
{
    size_t n = 0;

    flight_recorder_lose(&learning->recorder);
    for (size_t i = 0; i < learning->n_events; i++) {
        if (is_verdict(&learning->events[i])) {
            logged_event_clear(&learning->events[i]);
            learning->n_verdicts_lost++;
        } else {
            learning->events[n++] = learning->events[i];
        }
    }
    learning->n_events = n;
}

uint64_t learning_verdicts_lost(struct learning *learning)
{
    const uint64_t n = learning->n_verdicts_lost;

    learning->n_verdicts_lost = 0;
    return n;
}

void learning_tell_verdict(struct learning *learning, const struct scored_row *row, uint64_t number,
                           uint64_t incident)
{
    CLEANUP(text_clear) struct text detail = {0};
    const struct logged_event event = {
        .id = row->event,
        .time_us = row->time_us,
        .kind = VERDICT,
        .first_row = number,
        .last_row = number,
        .incident = incident,
    };

    if (row->event == 0)
        return;
    if (learning->n_events >= MOST_UNTOLD) {
        learning->n_verdicts_lost++;
        return;
    }
    text_puts(&detail, "{\"score\":");
    text_double(&detail, row->score);
    text_puts(&detail, ",\"p_value\":");
    text_double(&detail, row->p_value);
    text_printf(&detail, ",\"version\":%u}", row->version);
    const size_t n_events = learning->n_events;
    (void)learning_tell(learning, &event, row->series, text_failed(&detail) ? NULL : detail.data,
                        NULL);
    learning->n_verdicts_lost += learning->n_events == n_events;
}

/* The incident that the row is in; 0: none, or nobody watches it. */
static uint64_t watch(struct learning *learning, const struct scored_row *row)
{
    const bool is_watched = learning->has_live && learning->options.alarm.n > 0;
    struct series *series = NULL;

    if (row->series && row->values)
        series = is_watched ? learning_series(learning, row->series)
                            : learning_find_series(learning, row->series);
    if (!series)
        return 0;
    series->last_used = ++learning->n_taken;
    series_begin_row(series, row);
    series_watch(series, row);
    return series->incident.id;
}

void learning_note(struct learning *learning, const struct scored_row *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++)
        learning_tell_verdict(learning, &rows[i], 0, watch(learning, &rows[i]));
}

/* ---- rows that wait ---- */

int series_hold(struct series *series, uint64_t row, uint64_t event)
{
    if (series->n_held == series->held_capacity) {
        const size_t capacity = series->held_capacity ? 2 * series->held_capacity : 16;
        struct held_verdict *held = realloc(series->held, capacity * sizeof(*held));
        if (!held)
            return -ENOMEM;
        series->held = held;
        series->held_capacity = capacity;
    }
    series->held[series->n_held++] = (struct held_verdict){.row = row, .event = event};
    return 0;
}

struct held_verdict series_let_go(struct series *series, uint64_t row)
{
    struct held_verdict found = {0};

    for (size_t i = 0; i < series->n_held; i++) { /* rows come out in order: mostly the first */
        if (series->held[i].row != row)
            continue;
        found = series->held[i];
        memmove(series->held + i, series->held + i + 1,
                (--series->n_held - i) * sizeof(*series->held));
        break;
    }
    return found;
}

/* False: its row does not wait. */
static bool answer_held(struct learning *learning, const char *name, uint64_t event, bool is_normal)
{
    const struct series *series = name ? learning_find_series(learning, name) : NULL;

    for (size_t i = 0; series && i < series->n_held; i++) {
        if (series->held[i].event != event)
            continue;
        series->held[i].word = is_normal ? HELD_NORMAL : HELD_ANOMALY;
        return true;
    }
    return false;
}

/* ---- feedback ---- */

int learning_incident_of(struct learning *learning, uint64_t event, uint64_t *ret_incident)
{
    int r = learning_flush(learning);

    return r < 0 ? r : row_buffer_incident(learning->buffer, event, ret_incident);
}

int learning_answer_verdict(struct learning *learning, uint64_t event, const char *series,
                            bool is_normal)
{
    size_t n = 0;

    int r = learning_flush(learning);
    if (r == 0)
        r = is_normal ? row_buffer_release_row(learning->buffer, event, &n)
                      : row_buffer_confirm_row(learning->buffer, event, &n);
    if (r < 0)
        return r;
    return n > 0 || answer_held(learning, series, event, is_normal) ? 0 : -ENOENT;
}

int learning_answer_alarm(struct learning *learning, uint64_t incident, const char *series,
                          bool is_normal)
{
    AUTO_FREE uint64_t *events = NULL;
    size_t n = 0;

    int r = event_log_verdicts_of(learning->database, learning->model, incident, MOST_ANSWERED,
                                  &events, &n);
    for (size_t i = 0; i < n && r == 0; i++) {
        r = learning_answer_verdict(learning, events[i], series, is_normal);
        r = r == -ENOENT ? 0 : r; /* its row was not kept */
    }
    return r;
}
