/* residual - how far a network's reconstruction is from the row, feature by feature and in one
 * number, the reconstruction error. Scoring, explaining and calibrating all go through here. */
#pragma once

#include <stddef.h>

struct network;
struct scaler;

/* Scratch memory, in floats, that residual_compute() needs. */
size_t residual_scratch_floats(const struct network *network);

/* residuals[n_features] = scaled value - reconstruction, 0 where row[n_features] has no value
 * (NaN). Returns the mean of their squares over the values that are there (0 when there are none),
 * and the number of missing ones. The network is packed (network_pack()). */
double residual_compute(const struct scaler *scaler, const struct network *network, float *scratch,
                        const float *row, float *ret_residuals, size_t *ret_n_missing);
