/* learner_state - what learner*.c have in common. */
#pragma once

#include "base/checksum.h"
#include "base/random.h"
#include "data/name_index.h"
#include "service/budget.h"
#include "service/config.h"
#include "service/learner.h"
#include "service/learning.h"
#include "service/live.h"
#include "service/versions.h"
#include "store/model_log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

struct act_item;
struct database;
struct feed;
struct logged_event;
struct preparation;
struct relevance;
struct schema;

/* What the configuration says of a model, copied: a reload may drop the configuration. */
struct pupil_settings {
    struct learning_options learning;
    uint64_t max_memory, max_run_s; /* 0: no limit */
    size_t keep_versions;
    double false_alarm_rate;     /* 0: what the file says */
    double false_alarms_per_day; /* 0: the rate says it */
    bool reject_missing;
    bool names_features;
    struct prepare_spec *prepare; /* shared; NULL: nothing is said of it */
    size_t max_series;            /* that are remembered */
    uint64_t stale_after_us;      /* 0: no series falls silent */
    struct recipe recipe;
    bool has_option[CONFIG_MAX_TRAINING];
    struct relevance *relevance; /* shared; NULL: what the file says */
};

/* The former version beside the new one (learner_shadow.c). */
struct shadow {
    struct live_model *former;                       /* a reference; NULL: nothing is compared */
    size_t n_rows, n_new, n_only_new, n_only_former; /* flagged by … */
    uint64_t began_us, second_us;                    /* monotonic: all of it, this second */
    size_t n_left;                                   /* rows that still count in this second */
};

/* What workers show of a model: a copy, for its lock may be held while the disk is written to. */
struct pupil_view {
    int64_t id; /* in the log; 0: nothing is known of it yet */
    unsigned live_version, former_version, pinned_version;
    bool is_frozen;
    size_t rows_needed;
    double rows_per_day; /* scored; 0: not known yet */
    int64_t current_run;
    double done;
    struct learner_figures figures;
};

#define N_UNSEEN 256

/* One model that learns. lock: all but what is said to be otherwise. */
struct pupil {
    struct learner *learner;
    char name[LIVE_NAME_MAX + 1]; /* never changes */
    atomic_bool is_gone;          /* deleted: learner_find() does not find it */
    bool is_configured;           /* a section names it; under create_lock */
    bool is_adopted; /* by the reload under way, which takes it back if it fails; the same lock */
    bool is_held;    /* its detector is there: pupil_hold() */
    bool has_series; /* what the store remembers of series has been read */
    bool has_unsaved_series;                  /* as was told: the next save is of all */
    atomic_int learn;                         /* enum config_learn; without the lock */
    atomic_bool has_shadow;                   /* scored rows are compared; without the lock */
    atomic_bool is_watched;                   /* stale_after; without the lock */
    atomic_bool has_alarm;                    /* they may open one; without the lock */
    atomic_uint_least64_t n_dropped_by_queue; /* rows; without the lock */
    atomic_uint_least64_t n_verdicts_dropped; /* that became no event; without the lock */
    /* When a run may be due (monotonic), 0: it has changed since that was looked at; written under
     * the lock. */
    atomic_uint_least64_t look_us;
    /* Rows that the queue dropped, by series (unseen_of()); without the lock. */
    atomic_uint_least64_t n_unseen[N_UNSEEN];
    pthread_mutex_t lock; /* pupil_lock() */
    pthread_mutex_t
        view_lock; /* of view, and for changes of features and preparation; held for copies only */
    struct pupil_view view;   /* as it was when lock was last let go of */
    pthread_mutex_t pin_lock; /* of the pinned version, which a run works with; after lock */
    struct pupil_settings settings;
    char *path;                   /* of the live version, or NULL; main thread and runs thread */
    char sha256[SHA256_HEX_SIZE]; /* that it must have; "": any */
    char *loading_path;           /* both as they were when a reload began */
    char loading_sha256[SHA256_HEX_SIZE];
    struct logged_model log; /* log.id 0: nothing is known of it yet */
    char **features;         /* [n_features] */
    size_t n_features;
    struct preparation
        *preparation;          /* that they are made by, shared; NULL: rows are as they come */
    unsigned n_schemas;        /* how often features came or went; for changes pin_lock, too */
    struct learning *learning; /* NULL: no features yet */
    struct live_model *live;   /* a reference; NULL: there is no version */
    struct shadow shadow;
    struct budget_meter meter; /* of scored rows; what is followed is in log */
    /* Of the pinned version, and of the live one if that cannot be read; pin_lock, too. NULL:
     * nothing is pinned. */
    char *pinned_path, *stand_in_path;
    /* runs; the last one is remembered here, all are in the log */
    int64_t queued_run, current_run; /* 0: none */
    char trigger[16];
    const char *cancelled; /* why the current run shall end; NULL: it shall not */
    double done;
    struct learner_figures figures;
};

struct intake_item {
    struct intake_item *next;
    struct pupil *pupil;
    bool is_observed;
    bool is_learned; /* scored rows that are no more than compared are not */
    size_t n_rows, n_features;
    uint64_t *times_us; /* [n_rows] */
    char series[ROW_SERIES_MAX + 1];
    bool is_independent;
    unsigned version; /* that scored the rows, at this */
    double threshold;
    struct relevance *relevance; /* and by this, shared; NULL: every deviation matters */
    struct scored_row *rows;     /* [n_rows] unless is_observed */
    float *values; /* [n_rows][n_features]; NULL: rows are verdicts for the log alone */
    int result;
    /* told of the end of it; NULL: nobody is */
    void (*done)(void *userdata, int r, const struct error *error);
    void *userdata;
};

#define LEARNER_QUEUE_BYTES ((size_t)64 << 20) /* a stop waits for what is queued */
#define LEARNER_GATHER_BYTES \
    (LEARNER_QUEUE_BYTES / 8) /* for which the thread does not wait longer */

size_t intake_item_size(const struct intake_item *item); /* as it counts for the queue */
void intake_item_free(struct intake_item *item);

enum intake_state {
    INTAKE_WORKS,
    INTAKE_IDLE,    /* waits for anything */
    INTAKE_GATHERS, /* waits a little, for more to come */
};

struct learner {
    struct database *database;
    struct live *live;
    struct stats *stats;
    struct workspace *workspace; /* of the intake thread */
    char *directory;
    uint64_t max_size, min_free;
    struct pupil **pupils; /* [n_pupils] only ever added to, under lock: whoever found one may go on
                            * with it; what was deleted stays as an empty shell, for its name */
    size_t n_pupils;
    char **names; /* [n_pupils] theirs, for: */
    struct name_index index;
    struct pupil_settings template; /* of [model *]; main thread, and under create_lock */
    int template_learn;
    bool creates;
    size_t max_models;
    pthread_mutex_t create_lock;
    pthread_mutex_t lock; /* of the pupils' table, and of the queue */
    atomic_uint_least64_t next_event;
    struct feed *feed;
    /* intake; under lock: what has come since the thread looked, what of the queue it has not given
     * back, and what it is at */
    struct intake_item *first, **last;
    size_t queued_bytes, n_awaited; /* items of first that somebody waits for */
    enum intake_state intake;
    struct intake_item *fetched, **last_fetched; /* of the thread alone */
    pthread_cond_t has_items, has_answers;
    pthread_t intake_thread, runs_thread, acts_thread;
    bool has_intake, has_runs, has_acts_thread, must_stop;
    atomic_int trouble; /* why no rows are stored, as was said; 0: they are */
    atomic_bool is_damaged;
    pthread_t check_thread;
    bool has_check, check_must_stop;
    /* acts, under lock */
    STAILQ_HEAD(act_list, act_item) acts;
    size_t n_acts;
    pthread_cond_t has_acts;
    /* runs */
    pthread_cond_t has_work;
    pthread_mutex_t run_lock; /* of has_work */
    bool is_woken;
};

struct pupil *learner_find(struct learner *learner, const char *name);
/* Under create_lock. NULL: there is no memory for it. */
struct pupil *learner_find_or_add(struct learner *learner, const char *name);
/* NULL: none names it. */
const struct config_model *learner_section_of(const struct config *config, const char *name);
/* All that there ever were, deleted ones too, by number; NULL: no more. */
struct pupil *learner_nth(struct learner *learner, size_t i);
/* Under create_lock: the files of those models of which nothing is known become their first
 * versions, all at once. What cannot be is left to pupil_find_file(). */
void learner_adopt_unknown(struct learner *learner, const struct live_source *sources,
                           size_t n_sources);
/* Under create_lock: a model of that name, from [model *], unless there is one. Fails as
 * learner_create() does. */
MUST_CHECK int learner_make(struct learner *learner, const char *name, struct error *reterr);
/* Under create_lock: the model goes, with all that is known of it. LEARNER_UNAVAILABLE. */
MUST_CHECK int learner_forget(struct learner *learner, struct pupil *pupil, struct error *reterr);
/* The same, or LEARNER_NOT_FOUND in reterr. */
struct pupil *learner_need(struct learner *learner, const char *name, struct error *reterr);

/* LEARNER_UNAVAILABLE, with what r, below 0, says. */
int learner_store_failed(int r, struct error *reterr);
int learner_not_stored(int r, struct error *reterr); /* rows */
/* Before an act that is to be remembered. LEARNER_UNAVAILABLE: the files are gone. */
MUST_CHECK int learner_check_files(struct learner *learner, struct error *reterr);
/* The folder of the store, made if need be. */
MUST_CHECK int learner_make_directory(const char *path, struct error *reterr);
/* Space, before it is too late: stopping to learn must not stop anything else. -ENOSPC; -ENOENT:
 * what is written would not be found again; -EUCLEAN: the store is damaged. */
MUST_CHECK int learner_check_room(struct learner *learner);
/* What the store has answered: -EUCLEAN is remembered, for the next start too. */
void learner_note(struct learner *learner, int r);
/* The same of rows that were to be stored; said once for each change. */
void learner_stored(struct learner *learner, int r);
void learner_end_check(struct learner *learner);

void pupil_free(struct pupil *pupil);
/* Under the pupil's lock: as if nothing was known of it. */
void pupil_clear(struct pupil *pupil);
/* Under the pupil's lock: the features of a model without any version go with its rows, unless the
 * configuration names them: the next first row says them anew. */
MUST_CHECK int pupil_forget_features(struct pupil *pupil);
/* The lock of its own; letting go of it shows workers what has changed. */
void pupil_lock(struct pupil *pupil);
void pupil_unlock(struct pupil *pupil);
/* The same; until then no run is due unless something changes. */
void pupil_unlock_until(struct pupil *pupil, uint64_t look_us);
/* The same; nothing has changed that makes one due. */
void pupil_unlock_as_before(struct pupil *pupil);
struct pupil_view pupil_look(struct pupil *pupil); /* without the lock */
/* Under the pupil's lock: the live version, if there is one, has its detector until pupil_unlock();
 * without it rows are only noted, and incidents blame nothing. -EINVAL …: its file cannot be read
 * any more, as /readyz says. */
int pupil_hold(struct pupil *pupil);
/* It may go from memory again. */
void pupil_let_go(struct pupil *pupil);
/* What users send, a copy, and how it is prepared (shared, or NULL), without the lock. -ENODATA:
 * nobody has said it yet. -ENOMEM. */
MUST_CHECK int pupil_inputs(struct pupil *pupil, struct schema **ret_values,
                            struct preparation **ret_preparation);
/* Shares it; NULL: there is none. Under the pupil's lock. */
void pupil_set_preparation(struct pupil *pupil, struct preparation *preparation);
/* Under the pupil's lock: pupil_open() of what the configuration makes of values of these names.
 * LEARNER_UNFIT: it does not fit them. */
MUST_CHECK int pupil_open_inputs(struct pupil *pupil, const char *const *names, size_t n_names);
/* Under the pupil's lock: the configuration wants its inputs prepared in another way than the
 * version that answers does. */
bool pupil_prepares_otherwise(struct pupil *pupil);
/* Under the pupil's lock, once: the series of model go on where a former process has left them. */
void pupil_load_series(struct pupil *pupil, struct live_model *model);
/* Of all models: series that have fallen silent, or come back, are told of; from time to time. */
void learner_watch_series(struct learner *learner, bool all);
/* What has changed of them is kept for the next start. */
void learner_save_series(struct learner *learner);
/* Under the pupil's lock: the model's record, made or made anew where the features have changed. */
MUST_CHECK int pupil_open_record(struct pupil *pupil, const char *const *names, size_t n_features);
/* Under the pupil's lock: whether its features are these, in this order. */
bool pupil_has_features(const struct pupil *pupil, const char *const *names, size_t n_features);
/* Under the pupil's lock: what answers from here on is what live has. After a reload nothing begins
 * anew for a version that is the same. */
MUST_CHECK int pupil_bind(struct pupil *pupil, bool is_reload);
/* Under the pupil's lock: what a source says of it but for the file: the rate that a person has put
 * in force goes before that of the configuration. */
/* Borrows what is shared. */
struct pupil_settings pupil_settings_of(struct learner *learner, const struct config_model *model);
/* In place of those that were there, with a share of its own in what they share. */
void pupil_keep_settings(struct pupil_settings *settings, const struct pupil_settings *wanted);
void pupil_clear_settings(const struct pupil_settings *settings);
/* While it is held: which deviations matter: what the configuration says, else the live version's
 * file; NULL: all do. For relevance_release(). 0 or -ENOMEM. */
MUST_CHECK int pupil_relevance(const struct pupil *pupil, struct relevance **ret_relevance);
struct live_source pupil_source(const struct pupil *pupil);
/* Under the pupil's lock: the version that answers does so at the rate of pupil_source(), where it
 * does not already. */
MUST_CHECK int pupil_follow_rate(struct pupil *pupil, struct error *reterr);
/* How many rows a day are scored, of each model; a rate that is made of it follows. From time to
 * time. */
void learner_count_rows(struct learner *learner, uint64_t now_us);
/* Under the pupil's lock: says the features, which preparation (or NULL) makes, and opens the
 * buffer. */
MUST_CHECK int pupil_open(struct pupil *pupil, const char *const *names, size_t n_features,
                          struct preparation *preparation);
/* Under the pupil's lock: the windows of maintenance in the store hold from here on. */
MUST_CHECK int pupil_follow_maintenance(struct pupil *pupil);
/* Under the pupil's lock: the pinned version of the log guards from here on. */
MUST_CHECK int pupil_pin(struct pupil *pupil);
/* Under the pupil's pin_lock: learning_guard() by the pinned version. */
MUST_CHECK int pupil_guard(struct pupil *pupil, struct training_set *set, struct error *reterr);
/* Under the pupil's lock: learning_must_pin() may have changed: the store remembers it. */
void pupil_note_pin(struct pupil *pupil);
/* Under the pupil's lock: what was promoted has been pinned. */
void pupil_pinned(struct pupil *pupil);
/* Under the pupil's lock: the file of the version that answers, in the source's place; what served
 * last, or the configured one, becomes a version where the store knows none. */
MUST_CHECK int pupil_find_file(struct pupil *pupil, struct live_source *source,
                               struct error *reterr);
/* Under the pupil's lock, once that has been tried: where the file cannot serve, another version
 * does, or the configured file (may be NULL). */
void pupil_fall_back(struct pupil *pupil, const char *configured);
/* As the store has them: a JSON array, and its SHA-256. -ENOMEM. */
MUST_CHECK int pupil_print_features(const char *const *names, size_t n_features, struct text *text,
                                    char fingerprint[SHA256_HEX_SIZE]);
/* Under the pupil's lock: whether these are the features that the store has rows of. -ESTALE. */
MUST_CHECK int pupil_check_record(const struct pupil *pupil, const char *const *names,
                                  size_t n_features);
/* Under the pupil's lock: the file of the live version, copied, and its SHA-256. -ENOMEM. */
MUST_CHECK int pupil_set_path(struct pupil *pupil, const char *path, const char *sha256);
/* Under the pupil's lock: where the version is, and what it must be. */
MUST_CHECK int pupil_locate(const struct pupil *pupil, unsigned version,
                            char ret_path[VERSIONS_PATH_SIZE], char ret_sha256[SHA256_HEX_SIZE]);
/* Under the pupil's lock: the version answers from here on; pin: nothing else is trusted more. */
MUST_CHECK int pupil_promote(struct pupil *pupil, unsigned version, bool pin, struct error *reterr);
/* Under the pupil's lock: old versions go, but for those that may still be needed. */
void pupil_retain(struct pupil *pupil);
/* Under the pupil's lock: a number for a new version, which no file has: the files of a database
 * that was set aside keep theirs. */
MUST_CHECK int pupil_next_version(struct pupil *pupil, unsigned *ret_version);
/* Under the pupil's lock: queues the run that is due, if one is. */
void pupil_queue_due(struct pupil *pupil, uint64_t now_us);
/* The model whose run was queued first, once what is due is queued; NULL: none. Runs thread. */
struct pupil *learner_next_run(struct learner *learner, int64_t *ret_run, char trigger[16]);
/* The event as the API tells it; model NULL: it is known which. */
void learner_put_event(struct text *text, const char *model, const struct logged_event *event);
/* Under the pupil's lock: for those who follow. */
void pupil_publish(struct pupil *pupil, const struct logged_event *event);
/* Under the pupil's lock: an event that is no verdict, for them, the journal and /metrics. */
void pupil_note_event(struct pupil *pupil, const struct logged_event *event);
/* Under the pupil's lock: an event for people, logged at once. */
void pupil_tell(struct pupil *pupil, const char *kind, const char *detail, const char *advice);
/* The same of a series, with a line for people. */
void pupil_tell_of(struct pupil *pupil, const char *series, const char *kind, const char *reason,
                   const char *detail, const char *advice);
/* Who did what, for the audit and the log. */
void pupil_audit(struct pupil *pupil, const char *who, const char *act, const char *detail);

/* Under the pupil's lock. Takes the reference over. */
void shadow_begin(struct pupil *pupil, struct live_model *former);
void shadow_end(struct pupil *pupil);
/* Rows that the new version has judged; may roll back. Intake thread. */
void shadow_judge(struct pupil *pupil, const struct intake_item *item);

void *learner_intake_main(void *userdata);
void *learner_runs_main(void *userdata);
void *learner_acts_main(void *userdata);
/* One turn of these; false: there was nothing to do. */
bool learner_intake_turn(struct learner *learner);
/* Returns when all that is in the queue now is stored. Not under a pupil's lock. */
void learner_wait_for_intake(struct learner *learner, struct pupil *pupil);
bool learner_runs_turn(struct learner *learner);
bool learner_acts_turn(struct learner *learner);
void learner_wake_runs(struct learner *learner);
uint64_t learner_next_event(void *userdata);
