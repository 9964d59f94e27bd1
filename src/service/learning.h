/* learning - what one model learns: rows come in, those that may be learned from go to the buffer,
 * candidates are trained on it and judged, and what happens is told as events.
 *
 * The loop and its figures: docs/learning.md. It has no threads and no clock of its own: the daemon
 * drives it from its intake and learner threads under one lock a model, a benchmark in one go. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "service/alarm.h"
#include "service/calendar.h"
#include "service/gate.h"
#include "store/event_log.h"
#include "store/maintenance_log.h"
#include "store/row_buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;
struct detector;
struct relevance;
struct relevance_rule;
struct learning;

struct learning_options {
    size_t buffer_rows;  /* training, calibration and gate rows together */
    size_t min_rows;     /* before the first version is trained; 0: max(1,000, 20 a feature) */
    size_t retrain_rows; /* stored since the last run; 0: never by rows */
    uint64_t retrain_every_us;        /* 0: never by time */
    uint64_t retrain_min_interval_us; /* between runs that begin by themselves */
    bool retrain_on_drift;
    bool is_strict;            /* refuse batches in which somebody pushes */
    bool learns_scored;        /* learn = auto: rows of /score too, and runs by itself */
    size_t follow_after;       /* rows; 0: never */
    double sample_rate;        /* rows a second of a series that count; 0: all */
    struct alarm_policy alarm; /* over all rows of a series, whether they are learned from or not */
    struct learning_maintenance {
        struct calendar calendar;
        bool skips_alarms, skips_learning; /* in its windows */
    } maintenance;
    uint64_t seed;
    /* Ids for events: given out in memory, over all models. */
    uint64_t (*next_event_id)(void *userdata);
    void *userdata;
};

/* The rows of the model numbered `model` (store/model_log.h). */
MUST_CHECK int learning_new(struct database *database, int64_t model, size_t n_features,
                            const struct learning_options *options, struct learning **ret_learning);
void learning_free(struct learning *learning);
DEFINE_CLEANUP(struct learning *, learning_free)

/* Other options from here on; the buffer is cut to its new size with the next rows. */
void learning_configure(struct learning *learning, const struct learning_options *options);

/* Another detector answers from here on, at this threshold: CUSUMs and drift meter begin anew. The
 * detector is borrowed until the next call. */
MUST_CHECK int learning_swap(struct learning *learning, const struct detector *live,
                             double threshold, double false_alarm_rate);
/* The same version, in another place of memory: nothing begins anew. */
void learning_rebind(struct learning *learning, const struct detector *live);
/* The same detector may have gone from memory and come again: NULL as long as it is not there.
 * Rows that are taken meanwhile are only noted, and incidents blame nothing. Without a version none
 * is taken. */
void learning_lend(struct learning *learning, const struct detector *live);
/* The threshold or the rate alone has changed. */
void learning_set_threshold(struct learning *learning, double threshold, double false_alarm_rate);
/* Which deviations matter to the live version's verdicts, borrowed with it; NULL: all do. */
void learning_set_rules(struct learning *learning, const struct relevance_rule *rules);
/* What slow poisoning is measured against; borrowed until the next call. NULL: nothing is. */
MUST_CHECK int learning_pin(struct learning *learning, const struct detector *pinned);

void learning_freeze(struct learning *learning, bool is_frozen); /* nothing is learned, no runs */

/* Windows of maintenance beside those of the calendar, copied in place of the former. 0 or -ENOMEM.
 */
MUST_CHECK int learning_set_maintenance(struct learning *learning,
                                        const struct maintenance_window *windows, size_t n);
/* What is left out at a time, by either. */
struct learning_skips {
    bool alarms;   /* none opens */
    bool learning; /* rows that are scored are not learned from */
};
struct learning_skips learning_skips(struct learning *learning, uint64_t time_us);

/* ---- rows ---- */

/* A row that was scored by the live detector. */
struct scored_row {
    uint64_t time_us;    /* since 1970 */
    const char *series;  /* "": the default one; NULL: independent, no CUSUM */
    const float *values; /* [n_features], copied */
    double error, p_value, score;
    bool is_flagged;
    bool has_aside; /* features whose deviation does not matter were set aside */
    double threshold;
    struct relevance *relevance; /* what matters, borrowed; NULL: every deviation does */
    unsigned version;            /* that judged it, at this threshold, by that */
    uint64_t n_dropped;          /* rows of the series that never came, before this one */
    uint64_t event; /* id of its verdict, if that is an anomaly; 0: feedback cannot name it */
};

/* Takes rows in the order of their arrival; what the sample rate leaves out is only counted. Ends
 * in the pending rows and events. 0 or -ENOMEM (some rows are lost then: counted). */
MUST_CHECK int learning_take(struct learning *learning, const struct scored_row *rows,
                             size_t n_rows);

/* Rows that are not learned from: their verdicts become events, as those of the rows above do, and
 * the alarm policy sees them, unless they have no values (NULL). */
void learning_note(struct learning *learning, const struct scored_row *rows, size_t n_rows);

/* Rows that somebody knows to be normal, times_us[n_rows] since 1970, copied: all are pending
 * afterwards, or none with -ENOMEM. series as above. */
MUST_CHECK int learning_observe(struct learning *learning, const float *values, size_t n_rows,
                                const uint64_t *times_us, const char *series);

/* What waits to be stored, valid until learning_stored() or the next row. */
struct row_batch learning_pending(struct learning *learning);
void learning_stored(struct learning *learning);
/* Events that happened, for the log; valid until learning_told(). */
const struct logged_event *learning_events(const struct learning *learning, size_t *ret_n);
/* Whether there are any, or rows around incidents. */
bool learning_has_news(const struct learning *learning);
/* Stores these, in one transaction; as flight_log_put(). */
MUST_CHECK int learning_put_news(struct learning *learning);
void learning_told(struct learning *learning);
/* Verdicts and rows around incidents among them are dropped, for want of room; the events stay. */
void learning_drop_verdicts(struct learning *learning);
/* Verdicts that became no event since the last call, dropped like that or because they were too
 * many at once. */
uint64_t learning_verdicts_lost(struct learning *learning);

/* Once what was pending is stored: lets in the rows of an incident that has been followed
 * (follow_after). */
MUST_CHECK int learning_follow(struct learning *learning);

/* Stores what is pending and logs what happened, in this thread: for the benchmark and tests. */
MUST_CHECK int learning_flush(struct learning *learning);

struct row_counts learning_counts(struct learning *learning); /* of what is stored */
uint64_t learning_n_sampled_out(const struct learning *learning);
double learning_drift(const struct learning *learning); /* the meter, decimal logarithm */

struct learning_incidents {
    size_t n_open;
    uint64_t n_by_alarm, n_by_hard, n_by_soft; /* opened so far; one may be in several */
};
struct learning_incidents learning_incidents(const struct learning *learning);
/* "alarm", "hard" or "soft": what an incident is called that these (EVENT_BY_…) have opened. */
const char *learning_opener_name(unsigned opened_by);

/* ---- feedback ---- */

/* An operator's word on an incident: "normal" lets its rows into the buffer, "anomaly" confirms
 * them. -ENOENT: no such incident. */
/* What is in the buffer is normal: guard and thinning do not apply to it any more, and the versions
 * that are trained next are pinned. 0 or as row_buffer_approve(). */
MUST_CHECK int learning_rebaseline(struct learning *learning);

MUST_CHECK int learning_answer(struct learning *learning, uint64_t incident, bool is_normal);

/* The incident that the row of a verdict is stored with; 0: none. -ENOENT: it is not stored. */
MUST_CHECK int learning_incident_of(struct learning *learning, uint64_t event,
                                    uint64_t *ret_incident);
/* An operator's word on the row of one verdict, wherever it is, also if it waits still (series: its
 * own, as above). "normal": it may train, unless it calibrates or judges already, where it stays;
 * "anomaly": it is confirmed. -ENOENT: the row was not kept, or not that long. */
MUST_CHECK int learning_answer_verdict(struct learning *learning, uint64_t event,
                                       const char *series, bool is_normal);

/* The same on all (the first 1,000) verdicts of an incident that only the alarm policy has opened,
 * each alone. */
MUST_CHECK int learning_answer_alarm(struct learning *learning, uint64_t incident,
                                     const char *series, bool is_normal);

/* All rows go, those that wait too, and what is followed. */
MUST_CHECK int learning_forget(struct learning *learning);

/* ---- runs ---- */

size_t learning_min_rows(const struct learning *learning); /* in the buffer before the first run */

/* Why a run should begin now: "first", "feedback", "shift", "drift", "rows", "time"; NULL: it need
 * not. now_us is monotonic; before any run "time" counts from the first question. */
const char *learning_is_due(struct learning *learning, uint64_t now_us);
/* After that: when the passing of time alone may make one due; UINT64_MAX: never. */
uint64_t learning_due_us(const struct learning *learning, uint64_t now_us);
void learning_run_began(struct learning *learning, uint64_t now_us);
/* is_in_vain: it failed, was cancelled, or there is still no version: the next one by itself waits
 * for new rows, for twice as many each time. Returns how many on end have been. */
unsigned learning_run_ended(struct learning *learning, bool is_in_vain);
/* After a restart, before any of it: has_run: a run has begun so long ago (else nothing has, but
 * the live version is so old), when so many rows had ever been stored. */
void learning_resume(struct learning *learning, bool has_run, uint64_t stored, uint64_t ago_us,
                     uint64_t now_us);

/* Rows for a run. */
struct training_set {
    float *rows, *calibration, *held, *confirmed; /* [n_…][n_features] */
    bool *is_approved; /* [n_rows] an operator's "normal" keeps it from guard and thinning */
    size_t n_rows, n_calibration, n_held, n_confirmed;
    /* calibration[] goes on with the rows of the gate, all of them: judged on its own rows, a
     * candidate that may serve has them too behind its threshold, which then varies less. */
    size_t n_all_calibration;
    size_t n_candidates; /* training rows before guard and thinning */
    size_t n_guarded;    /* that the pinned version finds too rare */
    size_t n_thinned;
    bool has_excess;     /* too many rows are rare to the pinned version: `strict` refuses them */
    bool has_new_excess; /* among the newest 500: an event, no more, for neighbours are alike */
    bool is_pushed;      /* has_excess, and somebody adds them: none that is rare trains */
    /* for learning_guard() */
    double least_p; /* under the pinned version, that a training row must be above */
    uint64_t seed;  /* of what is thinned */
    bool is_strict;
};
void training_set_clear(struct training_set *set);

/* What is stored, as it is. */
MUST_CHECK int learning_read(struct learning *learning, struct training_set *ret_set);
/* Leaves out what guard and thinning say. -ENODATA with the reason, and what is needed: too few
 * rows, or an excess that `strict` refuses. Takes a while (each row is scored) and changes nothing
 * of the learning: only the pinned version must stay meanwhile. */
MUST_CHECK int learning_guard(struct learning *learning, struct training_set *set,
                              struct error *reterr);
/* Both. */
MUST_CHECK int learning_draw(struct learning *learning, struct training_set *ret_set,
                             struct error *reterr);

/* What judges a candidate on the set's held rows; it borrows the live detector and the set. */
struct gate_input learning_gate_input(const struct learning *learning,
                                      const struct training_set *set,
                                      const struct detector *candidate);
/* Does it. */
MUST_CHECK int learning_judge(struct learning *learning, const struct training_set *set,
                              const struct detector *candidate, struct gate_report *ret_report);

/* An operator's "normal" since the pin was set, or what follow_after took for one: the next version
 * that is promoted is to be pinned too, and those after it as long as the incident is open. */
bool learning_must_pin(const struct learning *learning);
void learning_pinned(struct learning *learning);
/* After a restart, if it was so before: what was approved is followed as after the answer. */
void learning_set_must_pin(struct learning *learning);
