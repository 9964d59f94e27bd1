/* covariance - how features move together, shrunk towards independence so that it can be inverted
 * whatever the number of rows (Ledoit & Wolf 2004, as sklearn.covariance.ledoit_wolf).
 *
 * Matrices are [n][n] row-major double; sums in double, divided by n_rows. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

/* Of rows[n_rows][n]: mean[n] and covariance[n][n] (both triangles) as they are. n_rows > 0.
 * 0 or -ENOMEM. */
MUST_CHECK int covariance_empirical(const float *rows, size_t n_rows, size_t n, double *ret_mean,
                                    double *ret_covariance);

/* Of rows[n_rows][n]: mean[n], shrunk covariance[n][n] (both triangles), and the shrinkage in [0,
 * 1] (NULL: not wanted). n_rows > 0. 0 or -ENOMEM. */
MUST_CHECK int covariance_ledoit_wolf(const float *rows, size_t n_rows, size_t n, double *ret_mean,
                                      double *ret_covariance, double *ret_shrinkage);

/* The lower triangular inverse of the Cholesky factor: with C = L Lᵀ, ret_whitening = L⁻¹ (zeros
 * above the diagonal), so that |L⁻¹ x|² = xᵀ C⁻¹ x. Reads the lower triangle of covariance. If C is
 * not positive definite in double, its diagonal is raised in place, step by step, from a millionth
 * of its mean, until it is. -EINVAL: not finite, or larger than floats can vary. */
MUST_CHECK int covariance_whiten(double *covariance, size_t n, double *ret_whitening);

/* The inverse[n][n] (both triangles), by that factor; covariance as there. -EINVAL, -ENOMEM. */
MUST_CHECK int covariance_invert(double *covariance, size_t n, double *ret_inverse);
