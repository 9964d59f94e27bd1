/* learning_state - what learning*.c have in common. */
#pragma once

#include "base/text.h"
#include "service/admission.h"
#include "service/drift.h"
#include "service/flight.h"
#include "service/learning.h"
#include "service/sampling.h"
#include "service/stretch.h"

struct guard;
struct series_memory;
struct relevance_rule;
struct workspace;

/* A flagged row that the admission of its series holds back, and the word on it. */
struct held_verdict {
    uint64_t row, event; /* event 0: none */
    enum {
        HELD_WITHOUT_WORD,
        HELD_NORMAL,
        HELD_ANOMALY
    } word;
};

/* What it takes to blame rows (learning_blame.c). */
struct blaming {
    struct series_memory *memory;       /* how series moved, as rows are taken */
    const struct relevance_rule *rules; /* of the live version, borrowed; NULL: all matters */
    enum {
        BLAME_NONE,
        BLAME_CAN_BE_FOUND,
        BLAME_IS_FOUND
    } state;         /* of the newest row */
    float *hold;     /* [n_features] its movement, unless there is none to blame */
    double *weights; /* [n_features] its blame, if found */
    float *put_back; /* [n_features] scratch, as is */
    bool *is_aside;
};
MUST_CHECK int blaming_init(struct blaming *blaming, size_t n_features);
void blaming_clear(struct blaming *blaming);

/* The record of the incident that is open. */
struct incident {
    uint64_t id;          /* 0: none is */
    unsigned opened_by;   /* EVENT_BY_…, all of them so far */
    bool is_in_admission; /* a CUSUM's is open; series.alarm knows of the other */
    uint64_t first_row;   /* by number; 0: none, only the alarm policy has opened it */
    struct stretch rows;
    uint64_t told_rows; /* what the event says */
    double told_peak;
};

struct series {
    struct learning *learning;
    char *name;
    struct admission *admission;
    uint64_t n_rows;    /* that counted */
    uint64_t last_used; /* learning->n_taken then */
    struct sampling sampling;
    uint64_t current_us; /* of the row that is being taken */
    struct alarm alarm;
    struct incident incident;
    struct flight_memory flight;
    struct stretch odd_rows;      /* that counted since the CUSUMs were both zero */
    struct stretch alarming_rows; /* since the alarm was quiet */
    struct held_verdict *held;    /* [n_held] the oldest first */
    size_t n_held, held_capacity;
};

void series_free(struct series *series);

struct learning {
    struct learning_options options;
    struct database *database;
    int64_t model;
    size_t n_features;
    struct row_buffer *buffer;
    /* what judges */
    bool has_live;
    const struct detector *live, *pinned; /* borrowed; NULL: none, or not now (learning_lend()) */
    float *std;                           /* [n_features] of the live one */
    double threshold, false_alarm_rate;
    struct guard *guard;          /* NULL: nothing is pinned */
    struct workspace *workspace;  /* of the run that draws its rows */
    struct workspace *explaining; /* of the incidents */
    struct blaming blaming;
    struct drift drift;
    /* rows */
    struct series **series; /* [n_series] sorted by name */
    size_t n_series;
    uint64_t n_taken;            /* rows that came with a series */
    struct sampling independent; /* rows without a series share the rate of one */
    struct random sampling_random;
    uint64_t n_sampled_out, n_lost;
    uint64_t n_placed;            /* rows that got a role */
    struct buffered_row *pending; /* [n_pending] */
    float *pending_values;        /* [pending_capacity][n_features] */
    size_t n_pending, pending_capacity;
    char **names; /* [n_names] series of pending rows that were observed */
    size_t n_names;
    /* events */
    struct logged_event *events; /* [n_events] */
    size_t n_events, events_capacity;
    uint64_t n_verdicts_lost; /* that became no event */
    struct learning_incidents incidents;
    struct flight_recorder recorder;
    /* maintenance */
    struct maintenance_window *windows; /* [n_windows] */
    size_t n_windows;
    struct learning_skips skips; /* as they were last asked for, at: */
    uint64_t skips_us;           /* 0: not since something has changed */
    /* runs */
    bool is_frozen, has_run;
    bool has_begun;         /* last_run_us is set */
    bool is_drifting;       /* a soft incident grew old since the last run */
    unsigned feedback_runs; /* still to come after an answer */
    unsigned n_in_vain;     /* runs on end, learning_run_ended() */
    uint64_t followed;      /* incident whose quarantined rows are to be let in; 0: none */
    bool must_pin;          /* what is promoted next, learning_must_pin() */
    uint64_t last_run_us;   /* without one: when it was first asked for */
    uint64_t stored_at_run; /* row_counts.stored then */
};

/* Appends a row that is to be stored. -ENOMEM. */
MUST_CHECK int learning_keep(struct learning *learning, const struct buffered_row *row);

/* Which part the next row that may be learned from has: of each four two train, one calibrates, one
 * judges, in an order that a hash decides. */
enum row_role learning_next_role(struct learning *learning);

/* An incident is taken for normal: what is trained next follows it. */
void learning_approve(struct learning *learning);

/* Appends an event with copies of these texts (NULL: none), and of its reason. event->id 0: a new
 * one. Returns its id, also where there is no memory to tell it. */
uint64_t learning_tell(struct learning *learning, const struct logged_event *event,
                       const char *series, const char *detail, const char *advice);

/* The series of that name, made if it is new; where there are as many as may be, the one that was
 * silent for longest goes. NULL: no memory. */
struct series *learning_series(struct learning *learning, const char *name);
/* The same; NULL: there is none. */
struct series *learning_find_series(const struct learning *learning, const char *name);

/* Appends the event of the row's verdict, if that has an id. number: the row's in its series, or 0;
 * incident: the one that it came in, or 0. */
void learning_tell_verdict(struct learning *learning, const struct scored_row *row, uint64_t number,
                           uint64_t incident);

/* Remembers the verdict of a row as long as that waits. -ENOMEM. */
MUST_CHECK int series_hold(struct series *series, uint64_t row, uint64_t event);
/* The row waits no more: what was remembered. */
struct held_verdict series_let_go(struct series *series, uint64_t row);

/* ---- incidents ---- */

/* admission_sink.notice of a series. */
uint64_t series_notice(void *userdata, enum admission_event event, uint64_t incident, bool is_hard,
                       uint64_t first_row, uint64_t row);
/* Nobody watches its rows any more: an alarm is over. */
void series_end_alarm(struct series *series);
/* As if none had been open. */
void series_forget_incident(struct series *series);
/* The series moves on by a row, which series_stretch() then adds to its stretches. */
void series_move(struct series *series, const struct scored_row *row);
void series_stretch(struct series *series, struct stretch *stretch, const struct scored_row *row);
/* Each row of the series comes to the first before anything else, to the second after it. */
void series_begin_row(struct series *series, const struct scored_row *row);
void series_watch(struct series *series, const struct scored_row *row);
