/* calibration - what errors normal rows have: threshold for a false-alarm rate, p-value of an
 * error.
 *
 * Split-conformal (Vovk et al.; Angelopoulos & Bates 2021, section 1): with m errors of rows that
 * the network has not seen, the ceil((m + 1)(1 - rate))-th smallest is exceeded by a further
 * exchangeable row with probability at most rate. Kept as at most CALIBRATION_MAX_ERRORS sorted
 * errors: of a larger sample the upper half of them are its largest errors, the lower half
 * quantiles of the rest. Immutable; safe to share between threads. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

#define CALIBRATION_MAX_ERRORS 4096

struct calibration;

/* From errors[n_errors] in any order, finite and not negative; n_errors > 0. -EINVAL if they are
 * not, -ENOMEM. */
MUST_CHECK int calibration_fit(const double *errors, size_t n_errors,
                               struct calibration **ret_calibration);

/* From a model file: errors sorted, and the number of rows they stand for (at least n_errors). */
MUST_CHECK int calibration_new(const double *errors, size_t n_errors, size_t n_rows,
                               struct calibration **ret_calibration);
void calibration_free(struct calibration *calibration);
DEFINE_CLEANUP(struct calibration *, calibration_free)

/* Above 0 always. With fewer rows than calibration_rows_needed(rate) the largest error (then
 * calibration_holds() is false: the rate is not promised). rate is in (0, 1). */
double calibration_threshold(const struct calibration *calibration, double rate);
bool calibration_holds(const struct calibration *calibration, double rate);
size_t calibration_rows_needed(double rate); /* ceil(1 / rate) - 1 */

/* (1 + number of rows with at least this error) / (n_rows + 1). */
double calibration_p_value(const struct calibration *calibration, double error);

const double *calibration_errors(const struct calibration *calibration, size_t *ret_n_errors);
size_t calibration_n_rows(const struct calibration *calibration);
