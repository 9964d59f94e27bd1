/* row_places - where the rows of one model stand in the table, inside this layer: which go from the
 * ring of their role into its reservoir, and which go for good.
 *
 * A ring is the newest rows of a role, at most half its part of the capacity; what leaves it joins
 * the reservoir. Once the capacity is used up, the role that holds most over its part loses a row
 * for each that comes: algorithm R (Vitter 1985) lets the reservoir of that role stay a uniform
 * sample of all that ever left its ring. Draws depend on the seed and on how many have left, so the
 * same rows give the same reservoir, in however many transactions. Quarantine, confirmed anomalies
 * and rows set aside are rings of a fixed size. Each step is a few look-ups by key. */
#pragma once

#include "store/row_buffer.h"

struct sqlite3;

#define N_BUFFER_ROLES (ROW_GATE + 1) /* those that share the capacity */

struct row_places {
    /* set by the caller, for one transaction */
    struct database *database;
    struct sqlite3 *sqlite;
    int64_t model;
    uint64_t seed;
    size_t capacity;

    size_t in_ring[N_ROW_ROLES], in_reservoir[N_BUFFER_ROLES];
    uint64_t left[N_BUFFER_ROLES]; /* rows that ever left the ring, since row_places_clear() */
    uint64_t last_number;
    uint64_t stored; /* ever, in the roles that share the capacity */
};

size_t row_places_rows(const struct row_places *places); /* that share the capacity */

/* Counts from the table. */
MUST_CHECK int row_places_load(struct row_places *places);
/* What load could not count; to be the last of a transaction. -ENOENT: the model is gone. */
MUST_CHECK int row_places_save(struct row_places *places);

/* Writes a row into the ring of its role and pushes out what is too much. */
MUST_CHECK int row_places_insert(struct row_places *places, const struct buffered_row *row,
                                 size_t n_features);
/* Gives a stored row another role. */
MUST_CHECK int row_places_move(struct row_places *places, int64_t id, enum row_role role);
/* Deletes all rows. Numbers and what was stored ever go on. */
MUST_CHECK int row_places_clear(struct row_places *places);
