/* outliers - values of training rows that are no measurements: 1e30 for "unknown", a counter that
 * overflowed. One alone decides its column's deviation, and all others look the same.
 *
 * A value is taken for one if, without it and those like it, the column's deviation is at least a
 * thousand times smaller, and they are so few that alarms on all of them would fit into the
 * false-alarm rate. On 19 real data sets no value is (the largest ratio was 216). */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

/* At most `most` values of a column can be outliers. The range of each column's other values,
 * ret_low and ret_high[n_features], infinite where there is nothing to tell apart; NaN in
 * rows[n_rows][n_features] are values that are missing. Returns how many values are outside,
 * -ENOMEM. */
MUST_CHECK long outliers_find(const float *rows, size_t n_rows, size_t n_features, size_t most,
                              float *ret_low, float *ret_high);

/* Makes NaN of the values that are outside. */
void outliers_remove(float *rows, size_t n_rows, size_t n_features, const float *low,
                     const float *high);
