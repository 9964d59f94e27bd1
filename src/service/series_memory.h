/* series_memory - what is remembered of each series of one model between its rows: what the next
 * row is prepared with (data/preparation.h), how it has moved of late (detector/movement.h), so
 * that a verdict can name what moved, and when its last row came.
 *
 * Kept over versions of the same features; what other features have left is forgotten when their
 * first row comes. Bounded: of more than series_memory_most() the one that was silent for longest
 * goes, and begins anew when it comes again. Any thread; whoever prepares or follows rows holds a
 * mutex for some 5 ns a value, 0.2 µs a row of 38. */
#pragma once

#include "base/cleanup.h"
#include "store/series_log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct detector;
struct preparation;
struct series_memory;
struct workspace;

/* Unless series_memory_bound() says otherwise; of wide rows as many as SERIES_MEMORY_MAX_BYTES have
 * room for. */
#define SERIES_MEMORY_MAX_SERIES 10000
#define SERIES_MEMORY_MAX_BYTES  ((size_t)64 << 20)

MUST_CHECK int series_memory_new(struct series_memory **ret_memory);
/* One more who will release it; returns memory. */
struct series_memory *series_memory_share(struct series_memory *memory);
void series_memory_release(struct series_memory *memory);

/* At most so many series from now on. */
void series_memory_bound(struct series_memory *memory, size_t max_series);
/* That there is room for. */
size_t series_memory_most(struct series_memory *memory);

/* A row of this series has come at now_us (since 1970): from now on it is missed when it falls
 * silent. -ENOMEM: it is not remembered. */
MUST_CHECK int series_memory_touch(struct series_memory *memory, const char *series,
                                   uint64_t now_us);

/* A series as it was before the rows of a request, or that there was none; free it. Functions that
 * take an undo (NULL: the rows stay) begin it where *undo is NULL, and add their rows to it where
 * it is not. */
struct series_undo;
/* The rows have come to nothing after all: the series is as it was, unless others have come between
 * or since. */
void series_undo_apply(struct series_undo *undo);
void series_undo_free(struct series_undo *undo);
/* Bytes that it takes; NULL: none. */
size_t series_undo_size(const struct series_undo *undo);
DEFINE_CLEANUP(struct series_undo *, series_undo_free)

/* Prepares the next values[n_rows][of values] of a series in their order, at times[n_rows] (seconds
 * since 1970; NaN: now, behind the newest row), to ret_rows[n_rows][of features]; ret_late[n_rows]
 * as preparation_follow() says. 0 or -ENOMEM. */
MUST_CHECK int series_memory_prepare(struct series_memory *memory, struct preparation *preparation,
                                     const char *series, const double *times, const double *values,
                                     size_t n_rows, float *ret_rows, bool *ret_late,
                                     struct series_undo **undo);

/* Takes the next rows[n_rows][n_features] of a series, in their order, which have come at now_us
 * (since 1970), standardised as this version
 * does; is_missed: as after series_memory_touch(). Those that is_late[n_rows] says (NULL: none)
 * leave no trace. ret_holds[][n_features]: the hold after each row of which is_wanted[n_rows] is
 * set, one behind the other. 0 or -ENOMEM. */
MUST_CHECK int series_memory_follow(struct series_memory *memory, const struct detector *detector,
                                    struct workspace *workspace, const char *series,
                                    uint64_t now_us, bool is_missed, const float *rows,
                                    size_t n_rows, const bool *is_late, const bool *is_wanted,
                                    float *ret_holds, struct series_undo **undo);

/* ---- series that fall silent ---- */

/* A series that is silent for so long is forgotten. */
#define SERIES_FORGOTTEN_US ((uint64_t)7 * 86400 * 1000000)

struct series_change {
    char series[SERIES_NAME_MAX + 1];
    bool is_silent;   /* else it has come back */
    uint64_t seen_us; /* its last row, since 1970 */
};

struct series_counts {
    size_t n_series, n_silent;
};

/* What has changed since the last time of the series that are missed, at most `most` of it: the
 * rest is told the next time. One comes back by a row alone, not by a longer stale_after_us; 0:
 * none is silent, and none is told of. Returns how many. */
size_t series_memory_watch(struct series_memory *memory, uint64_t now_us, uint64_t stale_after_us,
                           struct series_change *ret_changes, size_t most,
                           struct series_counts *ret_counts);

/* ---- over a restart ---- */

/* Those that have had rows since the last time, sorted by name, of the names behind `after` ("":
 * from the first on), at most `most`, so that nobody waits for long; all: the others as well,
 * because what was saved then did not get to the disk. Clear each, then free(). 0 or -ENOMEM. */
MUST_CHECK int series_memory_save(struct series_memory *memory, bool all, const char *after,
                                  size_t most, struct logged_series **ret_saved, size_t *ret_n);
/* Goes on with what was saved, unless the series has had a row already. What does not fit is left
 * out. preparation NULL: there is none; detector NULL: movements begin anew. 0 or -ENOMEM. */
MUST_CHECK int series_memory_load(struct series_memory *memory, struct preparation *preparation,
                                  const struct detector *detector,
                                  const struct logged_series *saved);
