/* model_log - what is known of each model over restarts: its features, its versions, the runs that
 * made or refused them. The model files themselves lie beside the database (service/versions).
 * Thread-safe. Each change is one transaction, durable when it returns 0. -ENOENT: there is no such
 * model, version or run; other negative errno as from database_write(), -ENOMEM. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;

#define MODEL_LOG_NAME_SIZE        65
#define MODEL_LOG_FINGERPRINT_SIZE 65   /* hex SHA-256 of the features' names */
#define MODEL_LOG_MOST_RUNS        1000 /* a model; older ones only while what they made is there */

struct logged_model {
    int64_t id;
    char name[MODEL_LOG_NAME_SIZE];
    char fingerprint[MODEL_LOG_FINGERPRINT_SIZE];
    char *features;        /* JSON array of names */
    char *inputs;          /* the same of what users send, where that is prepared; else "" */
    unsigned live_version; /* 0: none yet */
    unsigned former_version, pinned_version;
    unsigned last_version; /* the highest number ever given */
    bool is_frozen;
    bool repin;                  /* the next version that is promoted shall be pinned too */
    double false_alarm_rate;     /* that a person has put in force; 0: none */
    double false_alarms_per_day; /* the same; one of the two at most */
    double rows_per_day;         /* scored; 0: unknown */
    double observed_s;           /* what that was seen in */
};
void logged_model_clear(struct logged_model *model);

/* Finds or makes the model; with features NULL only finds it, whatever its fingerprint. -ESTALE: it
 * is there with another fingerprint (the rows of the old features do not fit:
 * model_log_reschema()). */
MUST_CHECK int model_log_open(struct database *database, const char *name, const char *features,
                              const char *fingerprint, struct logged_model *ret_model);

/* All there are, sorted by name. Clear each, then free(). */
MUST_CHECK int model_log_list(struct database *database, struct logged_model **ret_models,
                              size_t *ret_n_models);

/* Features and fingerprint are replaced; the rows of the old ones go, their numbers go on. Versions
 * stay. A row_buffer of the model must be opened anew. */
MUST_CHECK int model_log_reschema(struct database *database, int64_t model, const char *features,
                                  const char *fingerprint);
/* Until the features are replaced. */
MUST_CHECK int model_log_set_inputs(struct database *database, int64_t model, const char *inputs);
MUST_CHECK int model_log_set_frozen(struct database *database, int64_t model, bool is_frozen);
MUST_CHECK int model_log_set_repin(struct database *database, int64_t model, bool repin);
/* One of the two at most is not 0. */
MUST_CHECK int model_log_set_rate(struct database *database, int64_t model, double false_alarm_rate,
                                  double false_alarms_per_day);
MUST_CHECK int model_log_set_observed(struct database *database, int64_t model, double rows_per_day,
                                      double observed_s);
MUST_CHECK int model_log_delete(struct database *database, int64_t model); /* all of it */

struct logged_version {
    unsigned version;
    uint64_t made_us; /* since 1970 */
    int64_t run;      /* that made it; 0: imported */
    char sha256[65];  /* of the file */
    size_t rows;      /* that it was trained on */
    char origin[32];  /* "file", "retrain", "upload" */
    bool is_refused;  /* a candidate kept for inspection */
};

/* A number for a new version, never given before (to this model). */
MUST_CHECK int model_log_next_version(struct database *database, int64_t model,
                                      unsigned *ret_version);
/* -EEXIST: there is one of that number. */
MUST_CHECK int model_log_add_version(struct database *database, int64_t model,
                                     const struct logged_version *version);

/* A model of which nothing is known, and its first version, which is live and pinned. */
struct logged_adoption {
    const char *name, *features, *fingerprint;
    struct logged_version version;
};
/* All of them, or none; one that has been made meanwhile stays as it is. */
MUST_CHECK int model_log_adopt(struct database *database, const struct logged_adoption *adoptions,
                               size_t n);
/* -ENOENT. */
MUST_CHECK int model_log_version(struct database *database, int64_t model, unsigned version,
                                 struct logged_version *ret_version);
/* By number. free() them. */
MUST_CHECK int model_log_versions(struct database *database, int64_t model,
                                  struct logged_version **ret_versions, size_t *ret_n_versions);
/* -EBUSY: it is live, former or pinned. */
MUST_CHECK int model_log_remove_version(struct database *database, int64_t model, unsigned version);

/* Atomically: live becomes former, version becomes live and is refused no more; pin: and pinned.
 * Of the live version: former stays. */
MUST_CHECK int model_log_promote(struct database *database, int64_t model, unsigned version,
                                 bool pin);
MUST_CHECK int model_log_pin(struct database *database, int64_t model, unsigned version);

enum run_state {
    RUN_QUEUED,
    RUN_RUNNING,
    RUN_PROMOTED,
    RUN_REFUSED,
    RUN_FAILED,
    RUN_CANCELLED,
    N_RUN_STATES
};
const char *run_state_name(enum run_state state); /* "queued" … */

struct logged_run {
    int64_t id;
    enum run_state state;
    char trigger[16]; /* "rows", "time", "drift", "request", "feedback", "first" */
    uint64_t queued_us, started_us, ended_us; /* since 1970; 0: not yet */
    uint64_t stored;  /* rows that had ever been stored when it began; 0: unknown */
    unsigned version; /* made; 0: none */
    char *reason;     /* why refused or failed; NULL: none */
    char *comparison; /* a JSON object; NULL: none */
};
void logged_run_clear(struct logged_run *run);

MUST_CHECK int model_log_add_run(struct database *database, int64_t model, const char *trigger,
                                 uint64_t now_us, int64_t *ret_run);
/* Everything but id and trigger is as in run from now on. */
MUST_CHECK int model_log_update_run(struct database *database, int64_t model,
                                    const struct logged_run *run);
/* -ENOENT. */
MUST_CHECK int model_log_run(struct database *database, int64_t model, int64_t run,
                             struct logged_run *ret_run);
/* The last one that began. -ENOENT: none has. */
MUST_CHECK int model_log_last_run(struct database *database, int64_t model,
                                  struct logged_run *ret_run);
/* The newest first, at most most. Clear each, then free(). */
MUST_CHECK int model_log_runs(struct database *database, int64_t model, size_t most,
                              struct logged_run **ret_runs, size_t *ret_n_runs);
/* Runs that a dead process left queued or running are failed, "the daemon ended". */
MUST_CHECK int model_log_end_runs(struct database *database, uint64_t now_us);
