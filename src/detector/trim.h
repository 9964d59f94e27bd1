/* trim - training rows that do not belong: anomalies that nobody labelled.
 *
 * A row is judged by its distance to the nearest twentieth of some rows drawn at random, in
 * deviations from each feature's median of which large ones count by their logarithm: far from all
 * that there is much of. So a few anomalies that are alike do not vouch for each other, as they do
 * to whatever learns from them first, nor does their size hide them. Anomalies that are alike and
 * more than a twentieth are a kind of normal to it, and those between normal rows are not found. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct random;

enum trim_verdict {
    TRIM_KEEP,   /* belongs */
    TRIM_DOUBT,  /* among the farthest, yet the tail of the others reaches there */
    TRIM_DISCARD /* beyond that */
};

/* ret_verdicts[n_rows] of rows[n_rows][n_features], unscaled, NaN where a value is missing. With
 * trim RECIPE_TRIM_AUTO (detector/recipe.h) what is beyond the tail is discarded; else the share
 * `trim` of the rows that are the farthest is doubted, and of these discarded what is beyond it.
 * The same on any number of threads. -ENOMEM. */
MUST_CHECK int trim_find(const float *rows, size_t n_rows, size_t n_features, double trim,
                         size_t n_threads, struct random *random, enum trim_verdict *ret_verdicts);
