/* config - the configuration files: /etc/anomalyd/anomalyd.conf and conf.d/(*.conf) beside it.
 *
 * One table in config_option.c holds every section and key with its default and help;
 * conf/anomalyd.conf and `anomalyd --help` are checked against it. A config never changes once
 * loaded. */
#pragma once

#include "base/cleanup.h"
#include "base/text.h"
#include "data/prepare_spec.h"
#include "detector/recipe.h"
#include "service/alarm.h"
#include "service/calendar.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct relevance;

#define CONFIG_MAX_LISTEN   16 /* addresses, or sockets of socket activation */
#define CONFIG_MAX_TRAINING 32 /* training options: at least recipe_n_fields */

enum config_learn {
    CONFIG_LEARN_OFF,     /* only from what an operator asks for */
    CONFIG_LEARN_OBSERVE, /* from rows of /observe */
    CONFIG_LEARN_AUTO     /* from rows of /score too, and runs by itself */
};

enum config_maintenance { /* what is left out in its windows: bits */
    MAINTENANCE_ALARMS = 1,
    MAINTENANCE_LEARNING = 2
};

/* A section [model NAME], or [model *]. Numbers in rows are of one model. */
struct config_model {
    char *name;              /* "*" in model_template */
    char *file;              /* absolute, or relative to the folder of the file that names it:
                              * resolved here. NULL: none, it learns from nothing (then
                              * storage_directory is set); always NULL in model_template */
    char **features;         /* [n_features] distinct; NULL: those of the file or the first row */
    size_t n_features;       /* 0: not given */
    double false_alarm_rate; /* 1e-9 to below 1; 0: what the live model file says */
    double false_alarms_per_day;  /* BUDGET_MIN to BUDGET_MAX, instead of a rate; 0: none */
    bool reject_missing;          /* missing = reject: any missing value is a 422 */
    struct prepare_spec *prepare; /* of a model that learns from nothing; NULL: nothing is said */
    size_t max_series;            /* that are remembered (10,000) */
    uint64_t stale_after_us;      /* without a row a series is silent; 0: never (default) */

    /* With learn given as AUTO or OBSERVE there is a storage_directory; not given it is AUTO where
     * there is one, else OFF. */
    enum config_learn learn;
    size_t min_rows;     /* in the buffer before the first version is trained, at most buffer_rows;
                          * 0: the larger of 1,000 and 20 a feature (default) */
    size_t buffer_rows;  /* training, calibration and gate rows together, at least 40 (50,000) */
    double sample_rate;  /* rows a second of a series that are taken from /score (1); 0: all */
    size_t follow_after; /* rows of an unanswered incident that count as "normal"; 0: never
                          * (default) */
    bool is_strict;      /* batches in which somebody pushes are refused (no) */

    struct alarm_policy alarm;   /* 3 of 5, clear after 5 below 0.8, no hold, no cool-down */
    struct calendar maintenance; /* empty: none */
    unsigned maintenance_skips;  /* MAINTENANCE_…, both by default */

    /* When a run begins by itself, and what it may take. */
    size_t retrain_rows;              /* stored since the last run (5,000); 0: never by rows */
    uint64_t retrain_every_us;        /* 0: never by time (default) */
    uint64_t retrain_min_interval_us; /* between such runs (10 minutes); 0: none */
    bool retrain_on_drift;            /* (no) */
    uint64_t retrain_max_memory;      /* bytes of the trainer process (4 GiB); 0: no limit */
    uint64_t retrain_max_time_us;     /* at least 1 s (1 hour); 0: no limit */
    size_t keep_versions;             /* model files kept, at least 2 (10) */

    /* The options of `anomalyctl train`: recipe holds those that are given, for the others what
     * recipe_init() says. Use config_model_train(). */
    struct recipe recipe;
    bool has_option[CONFIG_MAX_TRAINING]; /* by index into recipe_fields */

    struct relevance *relevance; /* which deviations matter; NULL: what the model file says */
};

struct config {
    char **listen; /* [n_listen] "127.0.0.1:8817", "[::1]:8817", "unix:/run/anomalyd/http.sock" */
    size_t n_listen;
    unsigned threads; /* HTTP workers; `auto` is resolved to the number of usable cores */
    size_t max_body;  /* bytes */
    unsigned max_connections;
    uint64_t request_timeout_us;
    uint64_t max_request_memory; /* bytes that requests take together (256 MiB); 0: no limit */

    char *storage_directory;   /* absolute; $STATE_DIRECTORY unless given; NULL:
                                * neither, there is no store and nothing is learned */
    bool survives_power_loss;  /* durability = power: a commit waits for the disk (default) */
    uint64_t storage_max_size; /* bytes of the store, at least 1 MiB (1 GiB) */
    uint64_t storage_min_free; /* bytes of the file system; below that buffering stops (256 MiB);
                                * 0: never */

    bool auto_create;    /* a row for an unknown name makes a model from model_template (no); then
                          * there is a storage_directory */
    size_t max_models;   /* that there may be for one to be created, those below included (100) */
    uint64_t max_memory; /* bytes of detectors that nobody uses just now (256 MiB); 0: no limit */
    struct config_model model_template; /* [model *], or the defaults */
    struct config_model *models;        /* [n_models] sorted by name, without the template */
    size_t n_models;
};

/* Reads path (NULL: SYSCONFDIR "/anomalyd/anomalyd.conf") and the conf.d beside it, in the order
 * of their names; a later file adds to the earlier ones, a key given twice in one section of one
 * file is an error. All errors are collected in ret_errors, one line each, "FILE:LINE: …" with the
 * nearest valid key where one is misspelt. -EINVAL: ret_errors has lines; -ENOMEM. */
MUST_CHECK int config_load(const char *path, struct config **ret_config, struct text *ret_errors);
void config_free(struct config *config);
DEFINE_CLEANUP(struct config *, config_free)

/* Puts what the section says about training, false_alarm_rate too, into recipe, which comes from
 * the live model file or recipe_init(). Contradictions are found by recipe_check(). */
void config_model_train(const struct config_model *model, struct recipe *recipe);

/* The sections and keys with defaults and help, as lines for `anomalyd --help`. */
void config_describe(struct text *text);
