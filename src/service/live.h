/* live - the models that answer: who asks gets a reference and keeps it as long as it works.
 *
 * A live_model never changes, but for its detector, which is there while somebody holds it
 * (service/resident.h). A reload builds the new ones, then swaps the table under a mutex that is
 * held for nanoseconds; the old ones go when their last reader is done. */
#pragma once

#include "base/checksum.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "detector/calibration.h"
#include "service/resident.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct detector;
struct live_source;
struct model_stats;
struct pupil;
struct recent;
struct relevance;
struct relevance_rule;
struct series_memory;

#define LIVE_NAME_MAX 64 /* [A-Za-z0-9][A-Za-z0-9_-]{0,63} */

enum live_state {
    LIVE_LEARNING, /* there is no version yet */
    LIVE_SERVING,
    LIVE_FAILED
};

/* Whether a model may have this name. */
bool live_is_name(const char *name, size_t length);

const char *live_state_name(enum live_state state); /* "learning", "serving", "failed" */

/* Who has said which rate is in force: the first that does, from the last. */
enum live_rate_source {
    LIVE_RATE_OF_FILE,
    LIVE_RATE_OF_CONFIGURATION,
    LIVE_RATE_PUT, /* PUT …/thresholds */
};
enum live_rate_source live_rate_source(const struct live_source *source);
const char *live_rate_source_name(enum live_rate_source source); /* "model file" … */

struct live_model {
    char name[LIVE_NAME_MAX + 1];
    enum live_state state;
    unsigned version; /* 0: none yet */
    /* Of LIVE_SERVING, between live_hold() and live_let_go(); else it may not be looked at. */
    struct detector *detector;
    struct resident resident;    /* of live.c alone */
    size_t n_features;           /* of the detector, as what follows up to rules is */
    size_t n_calibration;        /* rows that the threshold rests on */
    double rate_of_file;         /* that it was trained for */
    double threshold;            /* in force; of the reconstruction error, above 0 */
    double false_alarm_rate;     /* in force; 0: none is known yet */
    double false_alarms_per_day; /* that were asked for; 0: a rate was */
    enum live_rate_source rate_source;
    enum calibration_basis threshold_basis; /* whether that rate is promised or estimated */
    bool reject_missing;
    struct relevance_rule *rules; /* which deviations matter, in force; NULL: all of them */
    struct relevance *relevance;  /* the same by name */
    struct relevance *said;       /* what of it the source has said; NULL: nothing */
    char *file;
    uint64_t trained_at_us;         /* time of the file, since 1970 */
    char checksum[SHA256_HEX_SIZE]; /* SHA-256 of the file */
    struct error *error;            /* why it is LIVE_FAILED; else NULL */
    struct model_stats *stats;      /* lives as long as struct stats */
    struct recent *recent;          /* rows that the file has scored; NULL unless LIVE_SERVING */
    struct series_memory *memory;   /* of its series */
    _Atomic(struct pupil *) pupil;  /* of learner_queue.c alone: who learns of it, found once */
    unsigned references;            /* of live.c alone */
};

struct live;
struct stats;

MUST_CHECK int live_new(struct stats *stats, struct live **ret_live);
void live_free(struct live *live);
DEFINE_CLEANUP(struct live *, live_free)

/* Where a model comes from. */
struct live_source {
    const char *name;
    const char *file;            /* NULL: there is no version yet */
    const char *sha256;          /* that the file must have; NULL or "": any */
    unsigned version;            /* 0: 1, and one more with each load that brings another file */
    double false_alarm_rate;     /* 0: what the file was trained for */
    double false_alarms_per_day; /* that the rate stands for, or will; 0: none */
    bool is_rate_put;            /* by PUT …/thresholds, not by the configuration */
    bool reject_missing;
    size_t max_series;           /* that are remembered; 0: SERIES_MEMORY_MAX_SERIES */
    struct relevance *relevance; /* goes before that of the file; NULL: nothing does */
};

/* Loads sources[n_sources], sorted by name, and puts them in place of all there were; a model that
 * would be the same as before stays. With `strict` (a reload) the first one that cannot be loaded
 * fails the call with its reason and nothing changes; without it becomes LIVE_FAILED and the others
 * serve. -EINVAL …; -ENOMEM. */
MUST_CHECK int live_load(struct live *live, const struct live_source *sources, size_t n_sources,
                         bool strict, struct error *reterr);

/* Loads some, sorted by name, and puts each in the place of that of its name, or beside the others
 * (the start, in slices): one that cannot be loaded becomes LIVE_FAILED. -ENOMEM. */
MUST_CHECK int live_add(struct live *live, const struct live_source *sources, size_t n_sources);
/* After the last slice. */
void live_settle(struct live *live);

/* The same for one model, which is strict, as live_load() can be. Any thread. */
MUST_CHECK int live_put(struct live *live, const struct live_source *source, struct error *reterr);

/* The model is there no more; who has a reference goes on with it. Any thread. */
void live_remove(struct live *live, const char *name);

/* NULL: no such model. Any thread; give it back with live_release(). */
struct live_model *live_acquire(struct live *live, const char *name, size_t length);

/* The only model there is; NULL when there is none or several: *ret_n_models says which. */
struct live_model *live_acquire_only(struct live *live, size_t *ret_n_models);

/* References to all, sorted by name, in memory from malloc(); release each, then free(). */
MUST_CHECK int live_acquire_all(struct live *live, struct live_model ***ret_models,
                                size_t *ret_n_models);
void live_release(struct live *live, struct live_model *model);

/* model, which is LIVE_SERVING and referred to, has its detector until live_let_go(); it is loaded
 * if it has to be, which takes milliseconds. -EINVAL …: its file is damaged or gone since; -ENOMEM.
 * Any thread. */
MUST_CHECK int live_hold(struct live *live, struct live_model *model, struct error *reterr);
/* The same, but what took the model's place meanwhile will do if it cannot be loaded any more: the
 * files of a version go with it. *model is then that one, and the reference is to it. */
MUST_CHECK int live_hold_newest(struct live *live, struct live_model **model, struct error *reterr);
void live_let_go(struct live *live, struct live_model *model);

/* LIVE_FAILED, or LIVE_SERVING whose last load has failed. ret_why may be NULL. */
bool live_is_failing(struct live *live, const struct live_model *model, struct error *ret_why);

/* How many bytes the detectors may take that nobody holds; 0: as many as there are. */
void live_set_limit(struct live *live, size_t limit);
struct residents_counts live_count(struct live *live);
