/* learner - the models that learn while the service runs: their store, the rows on their way to it,
 * the runs that make new versions, and what people say about them.
 *
 * Three threads: intake writes rows (group commit: all that wait share one sync of the disk), runs
 * trains, judges and promotes, one run at a time, acts does what people ask for. Workers only ever
 * enqueue. Lock order: a model's
 * lock, then live's, then the database's. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "base/quota.h"
#include "base/text.h"
#include "service/learning.h"
#include "service/series_memory.h"
#include "store/event_log.h"
#include "store/row_buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct feed;
struct intake_item;
struct learner;
struct live;
struct live_model;
struct live_source;
struct preparation;
struct pupil;
struct schema;
struct stats;
struct verdict;

/* Whether there is a folder that can be written to, or made; reterr says why not. */
MUST_CHECK int learner_check_directory(const char *path, struct error *reterr);

/* Opens the store in config's storage directory, which is made if need be. On failure the service
 * goes on without: nothing is learned, and reterr says why. ret_notes: what an operator should know
 * of the store. */
MUST_CHECK int learner_new(const struct config *config, struct live *live, struct stats *stats,
                           struct learner **ret_learner, struct text *ret_notes,
                           struct error *reterr);
/* Ends the threads: rows that are on their way are stored and their done() called, a run is
 * cancelled. */
void learner_free(struct learner *learner);
DEFINE_CLEANUP(struct learner *, learner_free)

/* Before live_load(): puts the live version of the store in place of the configured file, which
 * becomes version 1 where the store has none, and adds the models that their first rows have made
 * (auto_create). (*sources)[*n_sources] are config's models, sorted by name, in memory from
 * malloc(), and so is what takes their place; names and paths live as long as the learner. A model
 * that cannot be prepared keeps its configured file, and is named in ret_notes. Main thread. */
MUST_CHECK int learner_prepare(struct learner *learner, const struct config *config,
                               struct live_source **sources, size_t *n_sources,
                               struct text *ret_notes);
/* After it, when nothing is loaded after all: the models go on learning as config says, which is
 * that of before. Main thread. */
void learner_take_back(struct learner *learner, const struct config *config);
/* After it: the models learn as config says. Main thread. */
MUST_CHECK int learner_commit(struct learner *learner, const struct config *config);
/* The same of those that are loaded already: for the start, where there was no model before. */
void learner_commit_some(struct learner *learner, const struct config *config,
                         const struct live_source *sources, size_t n_sources);

/* Lets the threads begin. */
MUST_CHECK int learner_start(struct learner *learner);
/* Reads the whole store once, in the background at the lowest priority: damage is found before what
 * is damaged is needed. Main thread. */
void learner_begin_check(struct learner *learner);
/* It has been found: nothing is stored any more; a new learner sets the store aside. */
bool learner_is_damaged(struct learner *learner);
/* Why rows could not be stored the last time; false: they could. Any thread. */
bool learner_trouble(struct learner *learner, struct error *ret_why);
/* Instead of them: does in the calling thread what they would do, until all rows are stored and no
 * run is due. For benchmarks and tests. */
void learner_settle(struct learner *learner);

/* ---- for the workers ---- */

/* Gives each anomaly among verdicts[n_rows] the id of an event, by which feedback can name it once
 * learner_offer() has got the verdict. Never blocks. */
void learner_name_verdicts(struct learner *learner, struct verdict *verdicts, size_t n_rows);

/* When rows were. */
struct row_times {
    uint64_t time_us;  /* since 1970, of those that do not say their own */
    const double *own; /* [n_rows] seconds since 1970; NaN, or NULL: none */
};

/* Rows that were scored, for learning (unless they are not meant for it) and for the comparison
 * with the former version, and their verdicts with an id for the log of events: what is needed is
 * copied into a bounded queue; what does not fit is counted and dropped. Never blocks. series NULL:
 * independent rows; rows NULL: no more than their verdicts for the log. */
void learner_offer(struct learner *learner, struct live_model *model, const float *rows,
                   bool is_learned, const struct verdict *verdicts, size_t n_rows,
                   size_t n_features, const struct row_times *times, const char *series);

/* The same of rows whose request is not read to its end: they wait, copied, until it is clear that
 * it is good. At most LEARNER_HELD_BYTES of them, half a queue, and what the share may have: of
 * rows that do not fit only the verdicts with an id are held, and the rows count as dropped then;
 * of verdicts no more than a queue. Start with {.share.quota = …}. */
#define LEARNER_HELD_BYTES ((size_t)32 << 20)
struct held_rows {
    struct intake_item *first, *last;
    struct pupil *pupil;
    char series[ROW_SERIES_MAX + 1];
    size_t n_bytes;
    struct share share;
    uint64_t n_rows_lost, n_unseen_lost, n_verdicts_lost;
};
void learner_hold(struct learner *learner, struct held_rows *held, struct live_model *model,
                  const float *rows, bool is_learned, const struct verdict *verdicts, size_t n_rows,
                  size_t n_features, const struct row_times *times, const char *series);
/* They are offered, or given up. Empty afterwards. */
void learner_offer_held(struct learner *learner, struct held_rows *held);
void learner_drop_held(struct held_rows *held);

enum learner_problem {        /* besides 0, why something is not done; reterr is for the client */
    LEARNER_MALFORMED = -74,  /* 400 */
    LEARNER_NOT_FOUND = -2,   /* 404 */
    LEARNER_CONFLICT = -17,   /* 409 */
    LEARNER_TOO_LARGE = -90,  /* 413 */
    LEARNER_UNFIT = -22,      /* 422 */
    LEARNER_UNAVAILABLE = -11 /* 503: no store, or it is full */
};

/* Whether learner_observe() takes so many at a time: they are stored as a whole, which holds up
 * others. LEARNER_TOO_LARGE. */
MUST_CHECK int learner_check_rows(size_t n_rows, size_t n_features, struct error *reterr);
/* Rows known to be normal; they are copied. Below 0: nothing has been done, reterr says why, and
 * done() is never called. 0: they are on their way, and done(userdata, r, error) is called exactly
 * once: with 0 when they are durable, else with a LEARNER_… and what is for the client (error lives
 * as long as the call). It is called by the intake thread, which may be quicker than this returns,
 * or where there is none, by learner_settle() and learner_free(); never by this function, and
 * without a lock. It must not wait: the rows of all models wait for it. Any thread. */
MUST_CHECK int learner_observe(struct learner *learner, const char *model, const float *rows,
                               size_t n_rows, size_t n_features, const struct row_times *times,
                               const char *series,
                               void (*done)(void *userdata, int r, const struct error *error),
                               void *userdata, struct error *reterr);

/* How a model learns that a row may make. */
struct learner_terms {
    bool learns_scored; /* from rows of /score too */
    bool rejects_missing;
};

/* A row came for a name that there is no model of: whether it may make one (auto_create).
 * LEARNER_NOT_FOUND: the configuration does not want that, or the name cannot be one;
 * LEARNER_CONFLICT: there are max_models. Any thread. */
MUST_CHECK int learner_may_create(struct learner *learner, const char *name, size_t length,
                                  struct learner_terms *ret_terms, struct error *reterr);
/* Makes it from [model *], unless it is there by now. name: one that may be. Fails as above. */
MUST_CHECK int learner_create(struct learner *learner, const char *name, struct error *reterr);

/* What users send to a model that has no version yet, a copy, and how it is prepared (free it;
 * NULL: it is not). -ENODATA: nobody has said it. -ENOMEM. */
MUST_CHECK int learner_inputs(struct learner *learner, const char *model,
                              struct schema **ret_values, struct preparation **ret_preparation);
/* How values of a model that has none yet, or is not there yet, will be prepared; NULL: they are
 * not. LEARNER_UNFIT: the configuration does not fit them. */
MUST_CHECK int learner_plan_inputs(struct learner *learner, const char *model,
                                   const struct schema *values,
                                   struct preparation **ret_preparation, struct error *reterr);
/* Says what it will be sent; the first word counts. LEARNER_UNFIT: others are there already. */
MUST_CHECK int learner_set_features(struct learner *learner, const char *model,
                                    const char *const *names, size_t n_features,
                                    struct error *reterr);

struct learner_progress {
    size_t rows, rows_needed;
    bool is_frozen, is_training;
    bool learns;        /* unless learn = off */
    bool learns_scored; /* from rows of /score too, now */
};
MUST_CHECK int learner_progress(struct learner *learner, const char *model,
                                struct learner_progress *ret_progress);

/* ---- for people: who is for the audit ---- */

/* These wait for the disk: a worker lets the acts thread call them. 0: perform(learner, argument,
 * …) will be called there, in the order of arrival, and then done() as by learner_observe(), with
 * what perform() has returned. LEARNER_UNAVAILABLE: too many wait, or it is about to end. -ENOMEM.
 */
MUST_CHECK int learner_do(struct learner *learner,
                          int (*perform)(struct learner *learner, void *argument,
                                         struct error *reterr),
                          void *argument,
                          void (*done)(void *userdata, int r, const struct error *error),
                          void *userdata, struct error *reterr);

MUST_CHECK int learner_retrain(struct learner *learner, const char *model, const char *who,
                               int64_t *ret_run, struct error *reterr);
MUST_CHECK int learner_cancel(struct learner *learner, const char *model, int64_t run,
                              const char *who, struct error *reterr);

/* Another version answers. One of other features is LEARNER_CONFLICT, unless `replace`: then they
 * take the place of the model's, the rows of those are dropped and it is pinned. */
struct learner_switch {
    unsigned version;
    bool replace, has_replaced; /* asked for; done */
    size_t n_dropped;           /* rows of the old features */
};
MUST_CHECK int learner_promote(struct learner *learner, const char *model, const char *who,
                               struct learner_switch *change, struct error *reterr);
/* The same with a version that is made of a model file, data[size]. LEARNER_MALFORMED: it is none;
 * then, and with all other errors, nothing has changed. A model that is not there is made where a
 * row would make it. ret_is_made: it was. */
MUST_CHECK int learner_upload(struct learner *learner, const char *model, const void *data,
                              size_t size, const char *who, struct learner_switch *change,
                              bool *ret_is_made, struct error *reterr);
/* Opens the file of a version, of a refused candidate too. LEARNER_CONFLICT: it is gone or damaged.
 */
MUST_CHECK int learner_open_file(struct learner *learner, const char *model, unsigned version,
                                 int *ret_fd, struct error *reterr);
/* Another false-alarm rate is in force at once, over restarts and for later versions; 0: that of
 * the configuration or the model file again. LEARNER_CONFLICT: nothing is known of the model yet,
 * or its file cannot be read: nothing has changed. */
MUST_CHECK int learner_set_rate(struct learner *learner, const char *model, double false_alarm_rate,
                                const char *who, struct error *reterr);
/* The same with a rate that follows the rows a day. LEARNER_UNFIT: there are too few for it. */
MUST_CHECK int learner_set_budget(struct learner *learner, const char *model,
                                  double false_alarms_per_day, const char *who,
                                  struct error *reterr);
/* That are scored, as the rate of a budget is made of them; 0: not known yet. */
double learner_rows_per_day(struct learner *learner, const char *model);

/* The model goes with its rows, versions and files, its run is cancelled. LEARNER_CONFLICT: the
 * configuration names it. Also of one that is not served any more. */
MUST_CHECK int learner_delete(struct learner *learner, const char *model, const char *who,
                              struct error *reterr);
/* As learner_promote() of the version that answered before, change->version afterwards. */
MUST_CHECK int learner_rollback(struct learner *learner, const char *model, const char *who,
                                struct learner_switch *change, struct error *reterr);
MUST_CHECK int learner_freeze(struct learner *learner, const char *model, bool is_frozen,
                              const char *who, struct error *reterr);
MUST_CHECK int learner_rebaseline(struct learner *learner, const char *model, const char *who,
                                  struct error *reterr);
MUST_CHECK int learner_reset(struct learner *learner, const char *model, const char *who,
                             struct error *reterr);
/* A window of maintenance from here on; LEARNER_CONFLICT: nothing is known of the model yet, or it
 * has MAINTENANCE_LOG_MOST. window->who is set. */
MUST_CHECK int learner_add_maintenance(struct learner *learner, const char *model,
                                       struct maintenance_window *window, const char *who,
                                       struct error *reterr);
/* It ends, id 0: all of them. */
MUST_CHECK int learner_end_maintenance(struct learner *learner, const char *model, int64_t id,
                                       const char *who, struct error *reterr);
/* A word on an event. That on a verdict, or a regime_change, concerns the incident that it belongs
 * to: ret_incident (may be NULL); 0: it is in none, a verdict's word is on its row alone then. */
MUST_CHECK int learner_feedback(struct learner *learner, const char *model, uint64_t event,
                                bool is_normal, const char *who, uint64_t *ret_incident,
                                struct error *reterr);

/* JSON for the API. */
MUST_CHECK int learner_print_buffer(struct learner *learner, const char *model, struct text *text,
                                    struct error *reterr);
MUST_CHECK int learner_print_runs(struct learner *learner, const char *model, struct text *text,
                                  struct error *reterr);
MUST_CHECK int learner_print_run(struct learner *learner, const char *model, int64_t run,
                                 struct text *text, struct error *reterr);
MUST_CHECK int learner_print_versions(struct learner *learner, const char *model, struct text *text,
                                      struct error *reterr);
/* The newest; verdicts apart from the others: it waits for those that are on their way, so it is
 * for learner_do(). */
MUST_CHECK int learner_print_events(struct learner *learner, const char *model, struct text *text,
                                    struct error *reterr);
MUST_CHECK int learner_print_verdicts(struct learner *learner, const char *model, struct text *text,
                                      struct error *reterr);
/* Incidents, newest first, at most most; waits as above. The answer's "before" is where it goes on.
 */
MUST_CHECK int learner_print_incidents(struct learner *learner, const char *model,
                                       const struct incident_filter *filter, size_t most,
                                       struct text *text, struct error *reterr);
MUST_CHECK int learner_print_incident(struct learner *learner, const char *model, uint64_t incident,
                                      struct text *text, struct error *reterr);
/* The record of an incident and the rows around it, NDJSON (docs/incidents.md); waits as above. */
MUST_CHECK int learner_print_flight(struct learner *learner, const char *model, uint64_t incident,
                                    struct text *text, struct error *reterr);
/* What is left out now, and the windows that are not over. */
MUST_CHECK int learner_print_maintenance(struct learner *learner, const char *model,
                                         struct text *text, struct error *reterr);
/* What people have done to it, newest first; also to one that is not there any more. */
MUST_CHECK int learner_print_audit(struct learner *learner, const char *model, struct text *text,
                                   struct error *reterr);

/* What happens to the models, as it happens; lives as long as the learner. Any thread. */
struct feed *learner_feed(struct learner *learner);
/* What has happened, as messages of its stream: out of the log, oldest first, at most most. It may
 * take a while, so it is for learner_do(). */
MUST_CHECK int learner_print_backlog(struct learner *learner, const struct event_filter *filter,
                                     size_t most, struct text *text, size_t *ret_n,
                                     struct error *reterr);

#define LEARNER_N_EVENT_KINDS 11
extern const char *const learner_event_kinds[LEARNER_N_EVENT_KINDS]; /* all but verdicts */

/* What /metrics shows of a model. */
struct learner_figures {
    struct row_counts rows;
    uint64_t n_dropped_queue, n_dropped_store; /* rows */
    uint64_t n_verdicts_dropped;               /* that became no event */
    uint64_t n_promoted, n_refused, n_failed, n_cancelled, n_rolled_back;
    uint64_t n_events[LEARNER_N_EVENT_KINDS];
    struct learning_incidents incidents;
    struct series_counts series;
    double drift_log10;
    double progress;    /* of the run under way, 0 to 1; 0: there is none */
    double run_seconds; /* of the last one */
};
bool learner_figures(struct learner *learner, const char *model,
                     struct learner_figures *ret_figures);

/* These of all models, for /metrics. */
void learner_write_metrics(struct learner *learner, struct text *text);
