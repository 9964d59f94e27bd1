/* rank_gauss - what a value's rank among the training rows would be in a normal distribution, so
 * that every feature looks alike whatever its distribution.
 *
 * Per feature at most RANK_GAUSS_KNOTS knots: sorted distinct values and the normal quantile of
 * their mid-rank, held within 0.0001 … 0.9999; linear between them. Beyond the training range a
 * value goes on in standard deviations, so that far is far. Works on standardised values
 * (detector/scaler.h). Immutable; safe to share between threads. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

#define RANK_GAUSS_KNOTS 256
#define RANK_GAUSS_STEP  16

/* Read its fields, do not change them. A feature with fewer knots repeats the last one. */
struct rank_gauss {
    size_t n_features;
    float *values;    /* [n_features][RANK_GAUSS_KNOTS] not falling */
    float *quantiles; /* [n_features][RANK_GAUSS_KNOTS] not falling */
    float *slopes;    /* [n_features][RANK_GAUSS_KNOTS] from each knot to the next; last 1 */
    float *coarse;    /* [n_features][RANK_GAUSS_KNOTS / RANK_GAUSS_STEP] every so many-th value */
};

/* From standardised rows[n_rows][n_features], n_rows > 0. -ENOMEM. */
MUST_CHECK int rank_gauss_fit(const float *rows, size_t n_rows, size_t n_features,
                              struct rank_gauss **ret_rank_gauss);

/* From a model file. -EINVAL: not finite, or falling. */
MUST_CHECK int rank_gauss_new(const float *values, const float *quantiles, size_t n_features,
                              struct rank_gauss **ret_rank_gauss);
void rank_gauss_free(struct rank_gauss *rank_gauss);
DEFINE_CLEANUP(struct rank_gauss *, rank_gauss_free)

/* out[n_features] from a standardised row[n_features]. */
void rank_gauss_apply(const struct rank_gauss *rank_gauss, const float *row, float *out);

/* Quantile of the standard normal distribution, p in (0, 1): Acklam's rational approximation with
 * one step of Halley's method, error below 1e-14 down to p = 1e-300. */
double rank_gauss_quantile(double p);
