/* sample - the rows that training works with: all that were given, or as many drawn from them,
 * without values that are no measurements (detector/outliers.h). */
#pragma once

#include "base/cleanup.h"

#include "detector/trim.h"

#include <stdbool.h>
#include <stddef.h>

struct random;

struct sample {
    const float *rows; /* [n_rows][n_features], those given or own */
    size_t n_rows;
    size_t n_drawn;     /* before any were left out */
    const float *spare; /* [n_spare][n_features] left out of training, though they may be normal */
    size_t n_spare;
    size_t n_outliers; /* values made NaN */
    bool *is_drawn;    /* [n_given] which they are; NULL: all */
    float *own;
};

/* At most outlier_share of a column, or one value, is taken for outliers. At most most of
 * given[n_given][n_features], in their order; given stays as it is and must outlive the sample.
 * -ENOMEM. */
MUST_CHECK int sample_draw(const float *given, size_t n_given, size_t n_features, size_t most,
                           double outlier_share, struct random *random, struct sample *ret_sample);

/* Leaves rows out as verdicts[n_rows] say; those in doubt become the spare ones. -ENOMEM: the
 * sample is as it was. */
MUST_CHECK int sample_leave_out(struct sample *sample, size_t n_features,
                                const enum trim_verdict *verdicts);
void sample_clear(struct sample *sample);
