/* flight_file - the export of an incident, read: the rows around it and what was said of them.
 *
 * NDJSON as `anomalyctl incident export` writes it (docs/incidents.md). Everything is checked; what
 * is wrong is told with file and line. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct relevance;

struct flight_file_row {
    size_t line;      /* of the file */
    unsigned version; /* that judged it, at this: */
    double threshold, reconstruction_error, score, p_value;
    bool anomaly;
    unsigned rules; /* and by these of the file, from 1; 0: every deviation matters */
    bool has_aside; /* deviations that do not matter were set aside */
};

struct flight_file {
    const char *name; /* of the file, for messages */
    json_t *header;   /* the first line */
    const char *model, *kernel;
    uint64_t incident;
    size_t n_features;        /* names */
    struct relevance **rules; /* [n_rules] which deviations matter */
    size_t n_rules;
    struct flight_file_row *rows; /* [n_rows] at least one */
    float *values;                /* [n_rows][n_values]; NaN: it was missing */
    size_t n_values;              /* that the model sees of a row */
    size_t n_rows;
};

/* path "-" is standard input. -EINVAL with the reason, or as file_read(). */
MUST_CHECK int flight_file_read(const char *path, struct flight_file *ret_file,
                                struct error *reterr);
void flight_file_clear(struct flight_file *file);

/* The SHA-256 of a version's model file as the daemon knew it; NULL: it did not say. */
const char *flight_file_sha256(const struct flight_file *file, unsigned version);
const char *flight_file_feature(const struct flight_file *file, size_t feature);
