/* residual - what a network leaves unexplained of normal rows, and how unusual one row's rest is.
 *
 * From residuals r = input - output: the distance is the Mahalanobis distance of r over its median
 * on rows that the network has not seen: about 1 for a normal row. Of the covariance only the top
 * eigenvectors count, the rest is taken to be a sphere, and the whole is shrunk towards one: the
 * small eigenvalues of few rows mislead. Immutable; safe to share between threads. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

#define RESIDUAL_DIRECTIONS 24 /* but at most half of the values */

struct packed;

/* What a model file keeps of it. Read the fields, do not change them. */
struct residual {
    size_t n_values;
    size_t n_directions;
    float *mean;          /* [n_values] */
    float *whitening;     /* [n_directions][n_values]: eigenvectors over the square root of their
                           * eigenvalues */
    float *variances;     /* [n_directions] eigenvalues, shrunk */
    double rest_variance; /* of each direction that is not a top one */
    double scale;         /* median of the distance */
    struct packed *packed;
};

/* From residuals of the rows that the network was trained on and of held ones that it has not seen,
 * [n][n_values] each, both n > 0. 0, -ENOMEM, or -EDOM: the linear algebra failed. */
MUST_CHECK int residual_fit(const float *trained, size_t n_trained, const float *held,
                            size_t n_held, size_t n_values, struct residual **ret_residual);

/* From a model file: arrays as above. -EINVAL: a value is not finite, or a variance or scale not
 * above 0. */
struct residual_parts {
    size_t n_values, n_directions;
    const float *mean, *whitening, *variances;
    double rest_variance, scale;
};
MUST_CHECK int residual_new(const struct residual_parts *parts, struct residual **ret_residual);
void residual_free(struct residual *residual);
DEFINE_CLEANUP(struct residual *, residual_free)

/* ret_distances[n_rows] of residuals[n_rows], row r beginning at r * stride; the same bits for a
 * row alone or in a batch. scratch holds residual_scratch_floats(n_rows). */
size_t residual_scratch_floats(const struct residual *residual, size_t n_rows);
void residual_distances(const struct residual *residual, float *scratch, const float *residuals,
                        size_t stride, size_t n_rows, double *ret_distances);
