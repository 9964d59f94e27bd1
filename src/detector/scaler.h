/* scaler - brings every feature to mean 0, deviation 1 before the network sees it.
 *
 * Weights only make sense with the scaler they were trained with, so a scaler never changes
 * after it is made and travels in the same model file. Safe to share between threads. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

/* Scaled values stay within ±SCALER_LIMIT deviations: beyond a hundred the degree tells nothing
 * more, and one such feature would drown the others. Measured on 19 open sets against 10,000: the
 * same detection, better blame. */
#define SCALER_LIMIT 100.0F

struct scaler;

/* Learns from rows[n_rows][n_features]; NaN values are missing and do not count. -EINVAL: no rows,
 * or a column without any value (its number in *ret_column, which may be NULL). -ENOMEM.
 *
 * A feature that never moved must alarm when it does, however it is scaled: a constant column gets
 * 1 % of its value as deviation (0.01 where it is 0). No deviation is below 1e-6 of the mean's
 * size: a float holds no finer movement. */
MUST_CHECK int scaler_fit(const float *rows, size_t n_rows, size_t n_features,
                          struct scaler **ret_scaler, size_t *ret_column);

/* From a model file: arrays of [n_features]. -EINVAL: not finite, or a deviation not above 0. */
MUST_CHECK int scaler_new(const float *mean, const float *std, const float *median,
                          size_t n_features, struct scaler **ret_scaler);
void scaler_free(struct scaler *scaler);
DEFINE_CLEANUP(struct scaler *, scaler_free)

/* out[n_features] = scaled row[n_features]; a missing value (NaN) is taken as the median. Returns
 * how many were missing. out may be row. */
size_t scaler_apply(const struct scaler *scaler, const float *row, float *out);

size_t scaler_n_features(const struct scaler *scaler);
const float *scaler_mean(const struct scaler *scaler);   /* [n_features] */
const float *scaler_std(const struct scaler *scaler);    /* [n_features] */
const float *scaler_median(const struct scaler *scaler); /* [n_features] */

/* Whether the column never moved, to judge by the deviation that scaler_fit() gives such a one (a
 * moving feature has just that one only by a rare coincidence). */
bool scaler_is_constant(const struct scaler *scaler, size_t feature);
