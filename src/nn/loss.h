/* loss - what training makes small: mean squared error, binary cross-entropy, or each for its own
 * features.
 *
 * A bounded feature has values in [0, 1]; its output goes through a sigmoid and is judged by
 * cross-entropy, computed from the sum before the sigmoid (the logit x, for a target t:
 * max(x, 0) - x t + log(1 + exp(-|x|))), which stays finite however sure the network is. The others
 * are judged by the squared difference. The loss is the mean over all values of a batch.
 *
 * Arrays are [n_rows][n_features]: `sums` go into the last activation, `out` comes out. */
#pragma once

#include "nn/activation.h"

#include <stdbool.h>
#include <stddef.h>

struct loss {
    size_t n_features;
    enum activation activation; /* of the outputs that are not bounded */
    const bool *bounded;        /* [n_features]; NULL: no feature is */
};

double loss_forward(const struct loss *loss, const float *sums, const float *out,
                    const float *target, size_t n_rows);

/* d_sums = gradient of the above by sums (the last activation is included). */
void loss_backward(const struct loss *loss, float *d_sums, const float *sums, const float *out,
                   const float *target, size_t n_rows);
