/* synthetic - anomalies made from normal rows, to compare two detectors where nobody has labelled
 * any: of each row one of each kind, never two alike.
 *
 *   swap         a quarter of the features have the values of one other row
 *   push-3       a tenth of the features is moved by 3 standard deviations, each up or down
 *   push-6       the same by 6
 *   correlation  half of the features have the values of other rows, of another one each
 *
 * Which features, which rows and which direction is drawn anew for each row; at least one feature
 * is changed. Swapped values are ordinary one by one: only what hangs together is broken. A feature
 * that never moved is not pushed, because there a standard deviation means nothing. Pure;
 * deterministic for a seed. */
#pragma once

#include "base/cleanup.h"
#include "base/random.h"

#include <stddef.h>

struct scaler;

enum synthetic_kind {
    SYNTHETIC_SWAP,
    SYNTHETIC_PUSH_3,
    SYNTHETIC_PUSH_6,
    SYNTHETIC_CORRELATION
};
#define SYNTHETIC_KINDS 4

const char *synthetic_kind_name(enum synthetic_kind kind); /* "push-3" */

/* ret_anomalies[n_rows][n_features] from rows[n_rows][n_features], n_rows > 1; scaler says what a
 * standard deviation is. A missing value (NaN) stays so, or comes along when it is swapped in.
 * 0 or -ENOMEM. */
MUST_CHECK int synthetic_make(enum synthetic_kind kind, const float *rows, size_t n_rows,
                              const struct scaler *scaler, struct random *random,
                              float *ret_anomalies);
