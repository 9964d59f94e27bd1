/* recent - the reconstruction errors of the newest rows that one model file has scored, and how
 * fast they come: what another threshold would have made of them.
 *
 * Memory comes with the rows, up to 80 kB. Workers add, anybody reads, nobody waits: each number is
 * atomic alone. What is added while
 * somebody reads may be seen in part; what was answered before is there. Of rows that two models of
 * one file share (a threshold has changed), both see all. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

#define RECENT_ROWS 10000 /* that are kept */

struct recent;
struct verdict;

/* Rows come from now_us on (monotonic). -ENOMEM. */
MUST_CHECK int recent_new(uint64_t now_us, struct recent **ret_recent);
/* One more who will release it; returns recent. */
struct recent *recent_share(struct recent *recent);
void recent_release(struct recent *recent);

/* Any thread. Rows that there is no memory for are not kept. */
void recent_add(struct recent *recent, const struct verdict *verdicts, size_t n_rows,
                uint64_t now_us);
/* The same of n_rows rows, the errors of the last of which are there: [n_rows % RECENT_ROWS] is
 * where the next would be, in a ring of RECENT_ROWS. */
void recent_add_ring(struct recent *recent, const double *ring, size_t n_rows, uint64_t now_us);

struct recent_rows {
    double *errors; /* [n_rows] in no order; the last RECENT_ROWS */
    size_t n_rows;
    double rows_per_second; /* until now; 0: there are none */
};

/* A copy. -ENOMEM. */
MUST_CHECK int recent_read(const struct recent *recent, uint64_t now_us,
                           struct recent_rows *ret_rows);
void recent_rows_clear(struct recent_rows *rows);

/* How many would have been called an anomaly. */
size_t recent_rows_above(const struct recent_rows *rows, double threshold);
