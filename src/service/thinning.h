/* thinning - takes out of a training set what is too frequent among the rows that the pinned
 * version finds rare, and tells when there is so much of it that somebody must be pushing.
 *
 * Rows of the pinned version's own kind have uniform p-values. Who teaches the service an anomaly
 * bit by bit must send rows just under the threshold, and they pile up in the bins of small
 * p-values: those are cut back to what chance explains. Pure; deterministic for a seed. */
#pragma once

#include "base/random.h"

#include <stdbool.h>
#include <stddef.h>

/* Edges 0 .0025 .005 .01 .015 .02 .03 .05 .075 .1 .15 .2 .3 .5 1; a bin holds its upper edge. */
#define THINNING_BINS 14

/* Which of n rows with these p-values (in [0, 1]) to train on: of bin b with expected share e and
 * observed share o a row is kept with probability min(1, (1.25 e + 2 sqrt(e/n + e/m)) / o), m the
 * rows that the p-values rest on: they make the true share of a bin e give or take sqrt(e/m).
 * ret_keep[n]; returns how many are kept. */
size_t thinning_keep(const double *p_values, size_t n, size_t m, struct random *random,
                     bool *ret_keep);

/* Whether a bin below 0.1 holds more than 1.25 E + 5 sqrt(E + E n/m + 1) of n rows, E = n e:
 * somebody pushes, or normal moves. ret_bin: the first such bin; untouched if there is none. */
bool thinning_has_excess(const double *p_values, size_t n, size_t m, size_t *ret_bin);

/* Of rows with an excess: whether somebody pushes. Where rare rows are added, most are usual
 * (p > 0.1) still, and among these p-values stay uniform; where normal itself moves, those in
 * (0.1, 0.3] take more than 1.3 times their share, or most rows are rare. What crowds no bin below
 * 0.1 with more than 2.5 times its share, as a new kind of normal does, is left to thinning. */
bool thinning_is_pushed(const double *p_values, size_t n);

double thinning_bin_edge(size_t bin); /* its lower edge; bin THINNING_BINS: 1 */
