/* guard - the pinned version's opinion: what slow poisoning cannot move, because the pinned version
 * only changes on an operator's word.
 *
 * A row is shifted by how far normal has moved since (per feature the median of the last rows minus
 * the median of the pinned rows, within ±3 standard deviations of the pinned version's scaler) and
 * judged by the pinned version; a row with a p-value of at most α/2 is not trained on. What is too
 * frequent among the rows that it finds rare, service/thinning.h takes out.
 *
 * Pure: no clock, no disk. One thread at a time. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

#define GUARD_MOST_SHIFT 3.0 /* standard deviations */

struct detector;
struct guard;
struct workspace;

/* pinned is borrowed, and must outlive the guard. pinned_rows[n_rows][n_features]: of the rows that
 * the pinned version was made from; n_rows 0: the scaler's medians, as for a feature without any
 * value (NaN is a missing one). No shift yet. 0 or -ENOMEM. */
MUST_CHECK int guard_new(const struct detector *pinned, const float *pinned_rows, size_t n_rows,
                         struct guard **ret_guard);
void guard_free(struct guard *guard);
DEFINE_CLEANUP(struct guard *, guard_free)

/* Where normal is now: the newest rows[n_rows][n_features] outside incidents. A feature without any
 * value among them is not shifted; n_rows 0: none is. 0, or -ENOMEM: the shift stays as it was. */
MUST_CHECK int guard_follow(struct guard *guard, const float *rows, size_t n_rows);

/* [n_features] what is taken off a row before it is judged; the guard's. */
const float *guard_shift(const struct guard *guard);

/* ret_p_values[n_rows] of rows[n_rows][n_features] under the pinned version, after the shift. 0 or
 * -ENOMEM. */
MUST_CHECK int guard_p_values(const struct guard *guard, struct workspace *workspace,
                              const float *rows, size_t n_rows, double *ret_p_values);
