/* Rows on their way: the sample rate, one admission a series, roles, what is pending, events. */
#include "detector/calibration.h"
#include "detector/detector.h"
#include "detector/ensemble.h"
#include "detector/scaler.h"
#include "service/learning_state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SERIES 10000
#define ROLE_BLOCK  4

/* ---- pending ---- */

static int reserve(struct learning *learning, size_t n_rows)
{
    size_t capacity = learning->pending_capacity ? learning->pending_capacity : 64;

    while (capacity < n_rows)
        capacity *= 2;
    if (capacity == learning->pending_capacity)
        return 0;
    struct buffered_row *rows = realloc(learning->pending, capacity * sizeof(*rows));
    if (!rows)
        return -ENOMEM;
    learning->pending = rows;
    float *values =
        realloc(learning->pending_values, capacity * learning->n_features * sizeof(*values));
    if (!values)
        return -ENOMEM;
    learning->pending_values = values;
    learning->pending_capacity = capacity;
    for (size_t i = 0; i < learning->n_pending; i++) /* they may have moved */
        rows[i].values = values + i * learning->n_features;
    return 0;
}

int learning_keep(struct learning *learning, const struct buffered_row *row)
{
    int r = reserve(learning, learning->n_pending + 1);
    if (r < 0)
        return r;
    float *values = learning->pending_values + learning->n_pending * learning->n_features;
    memcpy(values, row->values, learning->n_features * sizeof(*values));
    struct buffered_row *kept = &learning->pending[learning->n_pending++];
    *kept = *row;
    kept->values = values;
    return 0;
}

struct row_batch learning_pending(struct learning *learning)
{
    return (struct row_batch){
        .buffer = learning->buffer, .rows = learning->pending, .n_rows = learning->n_pending};
}

void learning_stored(struct learning *learning)
{
    learning->n_pending = 0;
    for (size_t i = 0; i < learning->n_names; i++)
        free(learning->names[i]);
    learning->n_names = 0;
}

/* A fixed mix of bits (splitmix64's finisher). */
static uint64_t hash(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

enum row_role learning_next_role(struct learning *learning)
{
    static const enum row_role roles[ROLE_BLOCK] = {ROW_TRAIN, ROW_TRAIN, ROW_CALIBRATE, ROW_GATE};
    const uint64_t number = learning->n_placed++;
    uint8_t order[ROLE_BLOCK] = {0, 1, 2, 3};
    uint64_t bits = hash(learning->options.seed ^ hash(number / ROLE_BLOCK));

    for (size_t i = ROLE_BLOCK - 1; i > 0; i--) {
        const size_t j = (size_t)(bits % (i + 1));
        const uint8_t swapped = order[i];
        bits /= i + 1;
        order[i] = order[j];
        order[j] = swapped;
    }
    return roles[order[number % ROLE_BLOCK]];
}

/* ---- events ---- */

static int reserve_event(struct learning *learning)
{
    if (learning->n_events < learning->events_capacity)
        return 0;
    const size_t capacity = learning->events_capacity ? 2 * learning->events_capacity : 16;
    struct logged_event *events = realloc(learning->events, capacity * sizeof(*events));
    if (!events)
        return -ENOMEM;
    learning->events = events;
    learning->events_capacity = capacity;
    return 0;
}

uint64_t learning_tell(struct learning *learning, const struct logged_event *event,
                       const char *series, const char *detail, const char *advice)
{
    const uint64_t id =
        event->id ? event->id : learning->options.next_event_id(learning->options.userdata);
    if (reserve_event(learning) < 0)
        return id;
    struct logged_event *told = &learning->events[learning->n_events++];
    *told = *event;
    told->id = id;
    told->series = series ? strdup(series) : NULL;
    told->detail = detail ? strdup(detail) : NULL;
    told->advice = advice ? strdup(advice) : NULL;
    told->reason = event->reason ? strdup(event->reason) : NULL;
    return id;
}

const struct logged_event *learning_events(const struct learning *learning, size_t *ret_n)
{
    *ret_n = learning->n_events;
    return learning->events;
}

void learning_told(struct learning *learning)
{
    flight_recorder_drop(&learning->recorder);
    for (size_t i = 0; i < learning->n_events; i++)
        logged_event_clear(&learning->events[i]);
    learning->n_events = 0;
}

int learning_follow(struct learning *learning)
{
    size_t n = 0;

    if (!learning->followed)
        return 0;
    int r = row_buffer_release(learning->buffer, learning->followed, &n);
    if (r == 0)
        learning->followed = 0;
    return r;
}

int learning_flush(struct learning *learning)
{
    int r = 0;

    if (learning->n_pending > 0)
        r = row_buffer_store(learning->buffer, learning->pending, learning->n_pending);
    if (r == 0)
        learning_stored(learning);
    if (r == 0)
        r = learning_follow(learning);
    if (r == 0 && learning_has_news(learning))
        r = learning_put_news(learning);
    if (r == 0)
        learning_told(learning);
    return r;
}

/* ---- one series ---- */

/* What becomes of a row that is let in. A flagged one must not train by itself, but is not lost if
 * feedback can name it. N_ROW_ROLES: it is not kept. */
static enum row_role let_in(struct learning *learning, bool may_train, uint64_t event)
{
    const enum row_role role = learning_next_role(learning);

    if (role != ROW_TRAIN || may_train)
        return role;
    return event ? ROW_ASIDE : N_ROW_ROLES;
}

static enum row_role role_of(struct learning *learning, const struct held_verdict *held,
                             bool is_flagged, enum admission_fate fate)
{
    if (held->word == HELD_ANOMALY)
        return ROW_CONFIRMED;
    if (held->word == HELD_NORMAL && fate == ADMISSION_QUARANTINE)
        return ROW_TRAIN;
    if (fate == ADMISSION_QUARANTINE)
        return ROW_QUARANTINE;
    return let_in(learning, !is_flagged || fate == ADMISSION_LEARN_ALL || held->word == HELD_NORMAL,
                  held->event);
}

static void release(void *userdata, uint64_t row, const float *values, bool is_flagged,
                    enum admission_fate fate, uint64_t incident)
{
    struct series *series = userdata;
    struct learning *learning = series->learning;
    const struct held_verdict held =
        is_flagged ? series_let_go(series, row) : (struct held_verdict){0};
    const struct buffered_row kept = {
        .time_us = series->current_us,
        .role =
            fate == ADMISSION_STALE_ROW ? N_ROW_ROLES : role_of(learning, &held, is_flagged, fate),
        .is_flagged = is_flagged,
        .is_approved = fate == ADMISSION_LEARN_ALL || held.word == HELD_NORMAL,
        .incident = incident,
        .event = held.event,
        .series = series->name,
        .values = values,
    };

    if (kept.role != N_ROW_ROLES && learning_keep(learning, &kept) < 0)
        learning->n_lost++;
}

static struct series *new_series(struct learning *learning, const char *name)
{
    struct series *series = calloc(1, sizeof(*series));
    if (!series)
        return NULL;

    const struct admission_sink sink = {
        .userdata = series, .release = release, .notice = series_notice};
    series->learning = learning;
    series->name = strdup(name);
    if (!series->name ||
        admission_new(learning->n_features, learning->std, learning->options.follow_after, &sink,
                      &series->admission) < 0) {
        free(series->name);
        free(series);
        return NULL;
    }
    return series;
}

/* Where a series is, or would be. */
static size_t place_of(const struct learning *learning, const char *name)
{
    size_t low = 0, high = learning->n_series;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(learning->series[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct series *learning_find_series(const struct learning *learning, const char *name)
{
    const size_t place = place_of(learning, name);
    const bool is_there =
        place < learning->n_series && strcmp(learning->series[place]->name, name) == 0;

    return is_there ? learning->series[place] : NULL;
}

static int reserve_name(struct learning *learning)
{
    char **names = realloc(learning->names, (learning->n_names + 1) * sizeof(*names));
    if (!names)
        return -ENOMEM;
    learning->names = names;
    return 0;
}

/* What is held back of the series that was silent for longest is let go, and all else forgotten. */
static int drop_oldest(struct learning *learning)
{
    size_t oldest = 0;

    for (size_t i = 1; i < learning->n_series; i++)
        if (learning->series[i]->last_used < learning->series[oldest]->last_used)
            oldest = i;
    struct series *series = learning->series[oldest];
    int r = reserve_name(learning);
    if (r < 0)
        return r;
    admission_end(series->admission);
    series_end_alarm(series);
    learning->names[learning->n_names++] = TAKE(series->name); /* pending rows have it */
    series_free(series);
    learning->n_series--;
    memmove(learning->series + oldest, learning->series + oldest + 1,
            (learning->n_series - oldest) * sizeof(struct series *));
    return 0;
}

struct series *learning_series(struct learning *learning, const char *name)
{
    struct series *found = learning_find_series(learning, name);

    if (found)
        return found;
    if (learning->n_series == MOST_SERIES && drop_oldest(learning) < 0)
        return NULL;
    const size_t place = place_of(learning, name);
    struct series **all =
        realloc(learning->series, (learning->n_series + 1) * sizeof(struct series *));
    if (!all)
        return NULL;
    learning->series = all;
    struct series *series = new_series(learning, name);
    if (!series)
        return NULL;
    memmove(all + place + 1, all + place, (learning->n_series - place) * sizeof(struct series *));
    all[place] = series;
    learning->n_series++;
    return series;
}

/* ---- rows ---- */

static bool is_same_series(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Rows from the first on that came together. */
static size_t count_batch(const struct scored_row *rows, size_t n_rows)
{
    size_t n = 1;

    while (n < n_rows && rows[n].time_us == rows->time_us &&
           is_same_series(rows[n].series, rows->series))
        n++;
    return n;
}

/* Whether the first of rows[n_rows] counts. */
static bool is_sampled(struct learning *learning, struct sampling *sampling,
                       const struct scored_row *rows, size_t n_rows)
{
    const double rate = learning->options.sample_rate;

    if (rate <= 0.0)
        return true;
    if (sampling->n_left == 0)
        sampling_begin(sampling, rate, rows->time_us, count_batch(rows, n_rows),
                       &learning->sampling_random);
    const bool counts = sampling_next(sampling, &learning->sampling_random);
    learning->n_sampled_out += !counts;
    return counts;
}

static void watch_drift(struct learning *learning, const struct scored_row *row)
{
    const struct calibration *calibration = detector_calibration(learning->live);
    const size_t m = calibration_n_rows(calibration);
    const size_t n_from = calibration_n_rows_from(calibration, row->error);
    const size_t n_greater = calibration_n_rows_from(calibration, nextafter(row->error, INFINITY));

    if (m < DRIFT_MIN_ROWS || !drift_update(&learning->drift, n_greater, n_from - n_greater, m))
        return;
    const struct logged_event event = {.time_us = row->time_us, .kind = "drift"};
    (void)learning_tell(learning, &event, row->series, NULL,
                        "errors are not distributed as at the last training: look at what has "
                        "changed, retrain if it is normal");
}

/* Without a series nothing is known of neighbours. */
static int take_independent(struct learning *learning, const struct scored_row *row)
{
    const struct buffered_row kept = {
        .time_us = row->time_us,
        .role = let_in(learning, !row->is_flagged, row->event),
        .is_flagged = row->is_flagged,
        .event = row->event,
        .values = row->values,
    };

    watch_drift(learning, row);
    return kept.role == N_ROW_ROLES ? 0 : learning_keep(learning, &kept);
}

static bool is_usual(const struct admission *admission)
{
    return admission_hard(admission) == 0.0 && admission_soft(admission) == 0.0;
}

static int take_into(struct series *series, const struct scored_row *row)
{
    struct learning *learning = series->learning;
    const uint64_t number = ++series->n_rows;

    watch_drift(learning, row);
    series_stretch(series, &series->odd_rows, row);
    int r = row->is_flagged && row->event ? series_hold(series, number, row->event) : 0;
    if (r < 0)
        return r;
    r = admission_take(series->admission, number, row->values, row->is_flagged, row->p_value,
                       learning->false_alarm_rate);
    if (r < 0)
        (void)series_let_go(series, number);
    if (is_usual(series->admission))
        stretch_clear(&series->odd_rows);
    learning->is_drifting |= admission_is_drifting(series->admission);
    return r;
}

/* Takes the first of rows[n_rows]. */
static int take(struct learning *learning, const struct scored_row *rows, size_t n_rows)
{
    const struct scored_row *row = rows;
    int r = 0;

    if (!row->series) {
        learning_tell_verdict(learning, row, 0, 0);
        return is_sampled(learning, &learning->independent, rows, n_rows)
                   ? take_independent(learning, row)
                   : 0;
    }
    struct series *series = learning_series(learning, row->series);
    if (!series) {
        learning_tell_verdict(learning, row, 0, 0);
        return -ENOMEM;
    }
    series->last_used = ++learning->n_taken;
    series_begin_row(series, row);
    if (is_sampled(learning, &series->sampling, rows, n_rows))
        r = take_into(series, row);
    series_watch(series, row);
    learning_tell_verdict(learning, row, series->n_rows, series->incident.id);
    return r;
}

int learning_take(struct learning *learning, const struct scored_row *rows, size_t n_rows)
{
    int result = 0;

    if (learning->is_frozen || !learning->live || !learning->options.learns_scored) {
        learning_note(learning, rows, n_rows);
        return 0;
    }
    for (size_t i = 0; i < n_rows; i++) {
        if (learning_skips(learning, rows[i].time_us).learning) {
            learning_note(learning, &rows[i], 1);
            continue;
        }
        const int r = take(learning, &rows[i], n_rows - i);
        if (r < 0) {
            learning->n_lost++;
            result = r;
        }
    }
    return result;
}

/* A copy of a name that stays until the pending rows are stored. */
static int keep_name(struct learning *learning, const char *name, const char **ret_name)
{
    int r = reserve_name(learning);
    if (r < 0)
        return r;
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    *ret_name = learning->names[learning->n_names++] = copy;
    return 0;
}

int learning_observe(struct learning *learning, const float *values, size_t n_rows,
                     const uint64_t *times_us, const char *series)
{
    int r = reserve(learning, learning->n_pending + n_rows);
    if (r == 0 && series)
        r = keep_name(learning, series, &series);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n_rows; i++) {
        const struct buffered_row row = {
            .time_us = times_us[i],
            .role = learning_next_role(learning),
            .is_observed = true,
            .series = series,
            .values = values + i * learning->n_features,
        };
        r = learning_keep(learning, &row);
        assert(r == 0); /* there is room */
    }
    return 0;
}
