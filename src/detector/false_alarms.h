/* false_alarms - how often rows known to be normal are flagged, and how sure that is.
 *
 * Rows that follow each other in time are alike: an alarm rarely comes alone, so the binomial
 * interval is far too narrow. The interval here is a circular block bootstrap (Künsch 1989; Politis
 * & Romano 1992): the normal rows are put together anew from blocks of block_rows neighbours, drawn
 * with replacement from all stretches and wrapped around at the end of theirs (a shorter stretch is
 * one block), 2,000 times; the interval holds 95 % of the rates seen. Without a single alarm the
 * bootstrap would say 0 to 0; then the upper end is the exact binomial one for as many trials as
 * there are blocks. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct false_alarms {
    size_t n_rows, n_alarms; /* normal ones, and those of them that are flagged */
    size_t n_episodes;       /* runs of flagged rows */
    size_t n_stretches;      /* runs of normal rows */
    double rate, low, high;  /* n_alarms / n_rows and its 95 % interval; NaN without rows */
};

/* is_normal[n_rows], flagged[n_rows] in order of time; block_rows > 0. Same seed, same interval.
 * 0 or -ENOMEM. */
MUST_CHECK int false_alarms_count(const bool *is_normal, const bool *flagged, size_t n_rows,
                                  size_t block_rows, uint64_t seed,
                                  struct false_alarms *ret_false_alarms);
