/* replayed - a labelled file and which of its rows a daemon flagged: what was caught, how soon,
 * what was blamed, and how often normal rows were flagged.
 *
 * An incident is a run of rows with the same label. Rows labelled LABEL_RECOVERY are neither
 * incident nor normal. */
#pragma once

#include "base/cleanup.h"
#include "data/dataset.h"
#include "detector/false_alarms.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

#define NO_INCIDENT SIZE_MAX

struct incident {
    const char *fault; /* its label; belongs to the dataset */
    size_t occurrence; /* from 1, when a fault comes several times */
    size_t first, n_rows;
    size_t n_flagged, first_flagged; /* a row of the file; only if n_flagged > 0 */
    double *blame;                   /* [n_features] shares summed over its flagged rows */
};

struct replayed {
    struct dataset dataset;
    bool *flagged;       /* [n_rows] */
    bool *is_normal;     /* [n_rows] */
    size_t *incident_of; /* [n_rows], NO_INCIDENT */
    struct incident *incidents;
    size_t n_incidents;
    double *blame; /* [n_incidents][n_features], one block for all */

    struct false_alarms false_alarms; /* filled by replayed_finish() */
    size_t block_rows;                /* neighbours that are not independent, for its interval */
    size_t n_batch;
    uint64_t began_us; /* since 1970: names its series */
    double seconds;    /* that sending took */
    const char *model;
    double false_alarm_rate; /* that the model was asked for; NaN: the daemon did not say */
    long long version;       /* that answered last */
};

/* Takes over the dataset, which must have labels, and finds its incidents. 0 or -ENOMEM. */
MUST_CHECK int replayed_init(struct dataset *dataset, struct replayed *ret_replayed);
void replayed_clear(struct replayed *replayed);

/* Note what the daemon said of a row, rows in order; blame only inside an incident. */
void replayed_flag(struct replayed *replayed, size_t row);
void replayed_blame(struct replayed *replayed, size_t row, const char *feature, double share);

/* Call once all rows were noted. 0 or -ENOMEM. */
MUST_CHECK int replayed_finish(struct replayed *replayed);

/* A table of at most 100 columns, or one JSON document. */
void replayed_print(const struct replayed *replayed, struct text *text);
void replayed_print_json(const struct replayed *replayed, struct text *text);
