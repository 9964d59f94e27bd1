/* row_buffer - the rows a model learns from, bounded: of each role the newest (a ring), and of all
 * older ones a random sample (a reservoir), so that rare but normal states are not forgotten.
 *
 * Rows get numbers 1, 2, 3 … per model and their role when they are stored. Counts are kept in
 * memory and read once when a model is opened. Thread-safe. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;
struct row_buffer;

enum row_role {
    ROW_TRAIN,
    ROW_CALIBRATE, /* errors of these make the threshold */
    ROW_GATE,      /* judges candidates; neither trained nor calibrated on */
    ROW_QUARANTINE,
    ROW_CONFIRMED, /* anomalies, by feedback */
    ROW_ASIDE,     /* flagged outside an incident: train only if feedback says "normal" */
    N_ROW_ROLES
};

#define ROW_SERIES_MAX        128 /* bytes of a series' name */
#define ROW_BUFFER_CONFIRMED  200
#define ROW_BUFFER_QUARANTINE 20000 /* rows kept in quarantine, the oldest go first */
#define ROW_BUFFER_ASIDE      2000  /* rows set aside, the oldest go first */

/* One row on its way in or out. */
struct buffered_row {
    uint64_t number;  /* out: of the model, from 1 */
    uint64_t time_us; /* since 1970 */
    enum row_role role;
    bool is_flagged;     /* its score was above 1 when it came */
    bool is_observed;    /* from /observe */
    bool is_approved;    /* an operator said "normal" of it or of its incident */
    uint64_t incident;   /* id; 0: none */
    uint64_t event;      /* id of its verdict; 0: none */
    const char *series;  /* "" the default one; NULL: independent */
    const float *values; /* [n_features], NaN is missing */
};

struct row_counts {
    size_t of_role[N_ROW_ROLES];
    size_t rows;     /* TRAIN + CALIBRATE + GATE */
    size_t capacity; /* of those together */
    uint64_t stored; /* ever, of those */
};

/* The rows of the model numbered model (model_log.h), n_features wide; -EINVAL: those stored are of
 * another width. One buffer a model; a model that is deleted or gets other features is freed first
 * and opened again.
 *
 * capacity: how many rows training, calibration and gate may hold together: half of them TRAIN, a
 * quarter each the others. The newest rows of a role, at most half its part, are its ring; what
 * leaves it joins the reservoir. Nothing is pushed out before all hold more than capacity; then the
 * role that holds most over its part loses one for each row that comes, and its reservoir stays a
 * random sample, by seed, of all that ever left the ring. */
MUST_CHECK int row_buffer_open(struct database *database, int64_t model, size_t n_features,
                               size_t capacity, uint64_t seed, struct row_buffer **ret_buffer);
void row_buffer_free(struct row_buffer *buffer);
DEFINE_CLEANUP(struct row_buffer *, row_buffer_free)

/* Also when there are more already: the next store pushes them out. */
void row_buffer_set_capacity(struct row_buffer *buffer, size_t capacity);

/* Stores rows[n_rows] in one transaction, durable when it returns 0; else none of them is: -ENOSPC,
 * …; -EINVAL: a role, a time or a series cannot be; -ENOENT: the model has been deleted. */
MUST_CHECK int row_buffer_store(struct row_buffer *buffer, const struct buffered_row *rows,
                                size_t n_rows);

/* Several buffers' rows in one transaction: what group commit is. All or nothing; a buffer may come
 * more than once. */
struct row_batch {
    struct row_buffer *buffer;
    const struct buffered_row *rows;
    size_t n_rows;
};
MUST_CHECK int row_buffer_store_many(struct database *database, const struct row_batch *batches,
                                     size_t n_batches);

struct row_counts row_buffer_counts(struct row_buffer *buffer);

/* The number of the first row that is left of the last incident that was called normal; 0: none is.
 */
MUST_CHECK int row_buffer_approved_since(struct row_buffer *buffer, uint64_t *ret_number);

/* Rows of a role in the order of their numbers, as one block. */
struct row_block {
    float *values;                /* [n_rows][n_features] */
    uint64_t *numbers, *times_us; /* [n_rows] */
    bool *is_approved;            /* [n_rows] */
    size_t n_rows;
};
void row_block_clear(struct row_block *block);

/* At most `newest` rows of the ring, and at most `older` of the reservoir, drawn at random if there
 * are more. SIZE_MAX: all. */
MUST_CHECK int row_buffer_read(struct row_buffer *buffer, enum row_role role, size_t newest,
                               size_t older, struct row_block *ret_block);

/* Feedback on an incident, which may change its mind. release: its rows in quarantine and among the
 * confirmed become TRAIN, CALIBRATE, TRAIN, GATE by turns, approved. confirm: its flagged rows,
 * wherever they are, become CONFIRMED (the oldest above ROW_BUFFER_CONFIRMED go), all of them if
 * none was flagged; the others, which are the rows around it and may be normal, are in quarantine
 * then; none is approved any more. How many were moved: ret_n. */
MUST_CHECK int row_buffer_release(struct row_buffer *buffer, uint64_t incident, size_t *ret_n);
MUST_CHECK int row_buffer_confirm(struct row_buffer *buffer, uint64_t incident, size_t *ret_n);

/* The same for the row of one verdict. release: it becomes TRAIN, unless it calibrates or judges:
 * then it goes on doing so (taken out, thresholds would creep); approved either way. ret_n: 0 if
 * the row is not there. */
MUST_CHECK int row_buffer_release_row(struct row_buffer *buffer, uint64_t event, size_t *ret_n);
MUST_CHECK int row_buffer_confirm_row(struct row_buffer *buffer, uint64_t event, size_t *ret_n);
/* The incident of that row; 0: none. -ENOENT: the row is not there. */
MUST_CHECK int row_buffer_incident(struct row_buffer *buffer, uint64_t event,
                                   uint64_t *ret_incident);

/* All rows that train, calibrate or judge are approved. */
MUST_CHECK int row_buffer_approve(struct row_buffer *buffer);

/* All rows of the model go, the numbers go on. */
MUST_CHECK int row_buffer_forget(struct row_buffer *buffer);
