/* event_log - what happened, for people: incidents, regime changes, promotions, refusals …, the
 * anomalous verdicts that feedback can name, the feedback, and who did what (audit). Bounded: the
 * oldest go. Thread-safe. Each change is one transaction, durable when it returns 0; other negative
 * errno than said here as from database_write(), -ENOMEM. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;
struct sqlite3;

#define EVENT_LOG_MOST_EVENTS   10000  /* a model, other than verdicts */
#define EVENT_LOG_MOST_VERDICTS 100000 /* a model */
#define EVENT_LOG_MOST_AUDIT    100000

/* What has opened an incident, together in one number: the largest is what it is called after. */
enum event_opener {
    EVENT_BY_SOFT = 1,
    EVENT_BY_HARD = 2,
    EVENT_BY_ALARM = 4
};

struct logged_event {
    uint64_t id;      /* over all models */
    uint64_t time_us; /* since 1970; of an incident when it opened */
    char kind[24];    /* "incident", "regime_change", "stale_input", "excess", "drift", "failing",
                       * "promoted", "refused", "rolled_back", "verdict" */
    char *series;     /* NULL: none or independent */
    uint64_t first_row, last_row; /* numbers as scored or stored; 0: none */
    uint64_t incident;            /* id of the one that it belongs to; 0: none, or it is one */
    char *detail;                 /* a JSON object for the API; NULL: none */
    char *advice;                 /* what a person should do; NULL: nothing */
    char *reason;                 /* what was wrong, in one line; NULL: not known */
    unsigned opened_by;           /* of an incident: EVENT_BY_…; 0 else */
    bool is_open;                 /* an incident that goes on */
    bool is_update;               /* not stored: nothing new but its figures */
    uint64_t ended_us;            /* when it was put again and is not open; 0: not yet */
    /* The last feedback, by event_log_label() only: event_log_put() does not look at it. */
    char label[8];     /* "", "normal" or "anomaly" */
    char *label_who;   /* NULL: nobody yet */
    uint64_t label_us; /* since 1970 */
};
void logged_event_clear(struct logged_event *event);

/* Ids are given out in memory, without the disk: above this one in this process. To be asked once
 * after database_open(): a start skips a million, since the process before may have given out ids
 * that it could not store. 0 in a new database. */
MUST_CHECK int event_log_last_id(struct database *database, uint64_t *ret_id);

/* Stores or replaces events by their ids, all or none. One that is put again keeps its time, the
 * new one is when it ended unless it is open; and its advice and reason, if the new one has none. A
 * verdict stays one, and nothing else becomes one. -ENOENT: there is no such model; -EEXIST: the id
 * is another model's. */
MUST_CHECK int event_log_put(struct database *database, int64_t model,
                             const struct logged_event *events, size_t n_events);
/* The same in a transaction that stands: for the modules of this layer. */
MUST_CHECK int event_log_put_in(struct database *database, struct sqlite3 *connection,
                                int64_t model, const struct logged_event *events, size_t n_events);
/* -ENOENT: there is none of that model, or it has aged out. */
MUST_CHECK int event_log_get(struct database *database, int64_t model, uint64_t id,
                             struct logged_event *ret_event);
/* Newest first, with id below `before` (0: from the newest), at most most; kind NULL: all but
 * verdicts. Clear each, then free(). */
MUST_CHECK int event_log_list(struct database *database, int64_t model, const char *kind,
                              uint64_t before, size_t most, struct logged_event **ret_events,
                              size_t *ret_n_events);

/* Which events but verdicts. */
struct event_filter {
    const char *model; /* by name; NULL: all */
    const char *kind;  /* NULL: any */
    uint64_t after;    /* id above that */
};
/* Calls take() for each, oldest first, at most most, until it returns below 0, which is returned.
 */
MUST_CHECK int event_log_after(struct database *database, const struct event_filter *filter,
                               size_t most,
                               int (*take)(void *userdata, const char *model,
                                           const struct logged_event *event),
                               void *userdata);

/* Which incidents: all zero but is_open and until_us is every one. */
struct incident_filter {
    int is_open;        /* 1, 0, or below 0: both */
    unsigned opened_by; /* one of EVENT_BY_…: called after it; 0: whatever has opened it */
    const char *series; /* NULL: any */
    uint64_t since_us;  /* open then, or later */
    uint64_t until_us;  /* opened before; 0: whenever */
    uint64_t before;    /* id below that; 0: from the newest */
};
/* As event_log_list(). */
MUST_CHECK int event_log_incidents(struct database *database, int64_t model,
                                   const struct incident_filter *filter, size_t most,
                                   struct logged_event **ret_events, size_t *ret_n_events);
/* The events of the anomalous verdicts that came in an incident, oldest first, at most most;
 * free().
 */
MUST_CHECK int event_log_verdicts_of(struct database *database, int64_t model, uint64_t incident,
                                     size_t most, uint64_t **ret_ids, size_t *ret_n);

/* Feedback on an event, remembered beside it as long as the event. -ENOENT. */
MUST_CHECK int event_log_label(struct database *database, int64_t model, uint64_t id,
                               const char *label, const char *who, uint64_t now_us);

/* The model's open incidents are closed, with "closed_by": why in their detail; model 0: those of
 * all. For when nobody watches them any more. */
MUST_CHECK int event_log_close(struct database *database, int64_t model, const char *why,
                               uint64_t now_us);

/* Every administrative act. model may be "", detail NULL. */
MUST_CHECK int event_log_audit(struct database *database, const char *model, const char *who,
                               const char *act, const char *detail, uint64_t now_us);
struct audited_act {
    uint64_t time_us;
    char *model, *who, *act, *detail;
};
void audited_act_clear(struct audited_act *act);
/* Newest first, at most most; model NULL: on all of them. Clear each, then free(). */
MUST_CHECK int event_log_acts(struct database *database, const char *model, size_t most,
                              struct audited_act **ret_acts, size_t *ret_n_acts);
