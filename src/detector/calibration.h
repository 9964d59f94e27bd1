/* calibration - what errors normal rows have: threshold for a false-alarm rate, p-value of an
 * error.
 *
 * Split-conformal (Vovk et al.; Angelopoulos & Bates 2021, section 1): with m errors of rows that
 * the network has not seen, the ceil((m + 1)(1 - rate))-th smallest is exceeded by a further
 * exchangeable row with probability at most rate. That needs rows: where fewer than
 * CALIBRATION_MIN_EXCEEDING of them are expected above the threshold, a generalised Pareto tail
 * fitted to the largest errors takes over, which reaches beyond the sample but is an estimate, no
 * promise. Threshold and p-value change over at the same error, so that p-value <= rate goes with
 * error > threshold on either side.
 *
 * Kept as at most CALIBRATION_MAX_ERRORS sorted errors: of a larger sample the upper half of them
 * are its largest errors, the lower half quantiles of the rest. Immutable; safe to share between
 * threads. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

#define CALIBRATION_MAX_ERRORS    4096
#define CALIBRATION_MIN_EXCEEDING 10

struct calibration;
struct pareto_tail;

enum calibration_basis {
    CALIBRATION_CONFORMAL,
    CALIBRATION_TAIL_FIT,
    CALIBRATION_LARGEST_ERROR
};

/* From errors[n_errors] in any order, finite and not negative; n_errors > 0. The tail is fitted to
 * the largest 5 %, at least to 10 errors or to half of them; there is none if nothing exceeds its
 * level, as when all errors are equal. -EINVAL if the errors are not as they must be, -ENOMEM. */
MUST_CHECK int calibration_fit(const double *errors, size_t n_errors,
                               struct calibration **ret_calibration);

/* From a model file: errors sorted, the number of rows they stand for (at least n_errors), and the
 * tail, copied; NULL: none, as in files of format 1. -EINVAL: they are not that; -ENOMEM. */
MUST_CHECK int calibration_new(const double *errors, size_t n_errors, size_t n_rows,
                               const struct pareto_tail *tail,
                               struct calibration **ret_calibration);
void calibration_free(struct calibration *calibration);
DEFINE_CLEANUP(struct calibration *, calibration_free)

/* Above 0 and finite always, and never lower for a lower rate. rate is in (0, 1). */
double calibration_threshold(const struct calibration *calibration, double rate);

/* What that threshold rests on: the conformal order statistic; the tail; or, with neither rows
 * enough nor a tail, the largest error, which promises nothing. */
enum calibration_basis calibration_basis(const struct calibration *calibration, double rate);
const char *calibration_basis_name(enum calibration_basis basis); /* "tail-fit" … */

/* Rows from which on the threshold is conformal whether there is a tail or not: ceil(10 / rate). */
size_t calibration_rows_needed(double rate);

/* (1 + number of rows with at least this error) / (n_rows + 1); with a tail and fewer than
 * CALIBRATION_MIN_EXCEEDING such rows the tail's probability. In (0, 1], never higher for a higher
 * error. */
double calibration_p_value(const struct calibration *calibration, double error);

/* Rows with at least this error; below the errors that a large sample keeps one by one, at most the
 * share of one kept error too many. */
size_t calibration_n_rows_from(const struct calibration *calibration, double error);

const double *calibration_errors(const struct calibration *calibration, size_t *ret_n_errors);
size_t calibration_n_rows(const struct calibration *calibration);
const struct pareto_tail *calibration_tail(const struct calibration *calibration); /* or NULL */
