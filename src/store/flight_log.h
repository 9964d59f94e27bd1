/* flight_log - the rows around each incident, as the model saw them, with their verdicts: enough to
 * judge them again, bit for bit. Bounded a model, the oldest incidents' rows go first; gone with
 * their incident. Thread-safe; errors as in event_log.h. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;
struct logged_event;

#define FLIGHT_LOG_MOST_BYTES ((int64_t)64 << 20) /* a model, about */
#define FLIGHT_LOG_ROW_BYTES  128                 /* of a row beside its values, about */

enum flight_part {
    FLIGHT_BEFORE, /* the incident opened */
    FLIGHT_IN,
    FLIGHT_AFTER
};

struct flight_row {
    uint64_t incident; /* id of its event */
    uint64_t number;   /* its place among those of the incident */
    enum flight_part part;
    uint64_t time_us; /* since 1970 */
    unsigned version; /* that judged it, at this: */
    double threshold, reconstruction_error, score, p_value;
    unsigned rules;      /* those of its flight that it was judged by, from 1; 0: by none */
    bool has_aside;      /* deviations that do not matter were set aside */
    const float *values; /* [n_features] */
};

/* What is known of the rows of an incident as a whole. */
struct flight {
    uint64_t incident;
    uint64_t n_left_out; /* rows in it beyond what is kept */
    uint64_t n_missing;  /* rows that never came here */
    /* JSON arrays; put: NULL where a flight goes on and both are as they were. */
    char *features; /* their names */
    char *rules;    /* which deviations matter, where not all do: what rows were judged by */
};
void flight_clear(struct flight *flight);

/* What is put in one transaction: the incident is in it, or in the log already. */
struct flight_batch {
    size_t n_features;
    const struct flight *flights; /* [n_flights], each before its rows; what it says replaces */
    size_t n_flights;
    const struct flight_row *rows; /* [n_rows] */
    size_t n_rows;
};

/* Stores events as event_log_put() does and what belongs to them, all or none. Rows of an incident
 * that the log does not have are left out, for it has aged out. */
MUST_CHECK int flight_log_put(struct database *database, int64_t model,
                              const struct logged_event *events, size_t n_events,
                              const struct flight_batch *batch);

/* Of an incident of the model, for flight_clear(). -ENOENT: nothing of it is kept. */
MUST_CHECK int flight_log_get(struct database *database, int64_t model, uint64_t incident,
                              struct flight *ret_flight);
/* Calls take() for each row of it, in order, until it returns below 0, which is returned. values
 * are valid for the call, n_features may be that of another row. */
MUST_CHECK int flight_log_read(struct database *database, uint64_t incident,
                               int (*take)(void *userdata, const struct flight_row *row,
                                           size_t n_features),
                               void *userdata);
