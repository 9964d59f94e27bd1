/* encoding - what the networks see of a row.
 *
 * Each standardised value z (detector/scaler.h) becomes gain · z + shift; with ranks, a second
 * value follows behind all of these, its rank_gauss. Immutable; safe to share between threads. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct rank_gauss;
struct scaler;

/* Read its fields, do not change them. */
struct encoding {
    size_t n_features;
    size_t n_values;               /* n_features, or twice as many with ranks */
    float *gain, *shift;           /* [n_features] */
    struct rank_gauss *rank_gauss; /* NULL: no ranks */
};

/* v = z. */
MUST_CHECK int encoding_new_standard(size_t n_features, struct encoding **ret_encoding);

/* Bounded features, those with values in [0, 1], as they are; the others v = z. */
MUST_CHECK int encoding_new_bounded(const struct scaler *scaler, const bool *bounded,
                                    struct encoding **ret_encoding);

/* Two views of each feature, from standardised rows[n_rows][n_features]:
 * v = z / clamp(1 + 0.33 (k - 3), 0.2, 6) with k the Pearson kurtosis of z held within its 2nd to
 * 98th percentile (a constant: 1000), so that one level of noise suits heavy and light tails alike;
 * and rank_gauss. */
MUST_CHECK int encoding_fit_pair(const float *rows, size_t n_rows, size_t n_features,
                                 struct encoding **ret_encoding);

/* From a model file; takes rank_gauss over (NULL: none), also when it fails. -EINVAL: not finite.
 */
MUST_CHECK int encoding_new(const float *gain, const float *shift, size_t n_features,
                            struct rank_gauss *rank_gauss, struct encoding **ret_encoding);
void encoding_free(struct encoding *encoding);
DEFINE_CLEANUP(struct encoding *, encoding_free)

/* out[n_values] from a standardised row[n_features]. */
void encoding_apply(const struct encoding *encoding, const float *row, float *out);

/* What prototypes and clusters see of a row, one value a feature: out[n_features], the mean of the
 * two views in encoded[n_values], or without ranks the standardised z[n_features] itself. Distances
 * then count heavy tails less, and fine differences where most rows are more. out may be z. */
void encoding_blend(const struct encoding *encoding, const float *z, const float *encoded,
                    float *out);

/* The way back: z[n_features], to a millionth of what it can be, from what encoding_blend() makes
 * of it, which rises with z. What is out of reach becomes the end of the range. -ENOMEM. */
MUST_CHECK int encoding_unblend(const struct encoding *encoding, const float *blended, float *z);
