/* series_log - what is remembered of the series of a model over a restart. Thread-safe. Negative
 * errno as from database_write(), -ENOMEM. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;

#define SERIES_NAME_MAX 128

struct logged_series {
    char series[SERIES_NAME_MAX + 1];
    uint64_t seen_us; /* its last row, since 1970 */
    bool is_watched, is_silent;
    void *state; /* [n_state] what its next row is prepared with; NULL: none */
    size_t n_state;
    void *movement; /* [n_movement] how it has moved; NULL: none */
    size_t n_movement;
};
void logged_series_clear(struct logged_series *series);

/* In the place of what was there of them; of the model at most the `most` that were seen last
 * stay. One transaction. */
MUST_CHECK int series_log_put(struct database *database, int64_t model,
                              const struct logged_series *series, size_t n, size_t most);
/* The one that was seen last comes last. Clear each, then free(). */
MUST_CHECK int series_log_read(struct database *database, int64_t model,
                               struct logged_series **ret_series, size_t *ret_n);
