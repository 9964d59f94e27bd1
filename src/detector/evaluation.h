/* evaluation - how well scores tell labelled anomalies from normal rows. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct evaluation {
    size_t n_rows, n_anomalies;
    double roc_auc;           /* ties count half (Mann-Whitney); NaN unless both kinds are there */
    double average_precision; /* tied scores enter together; NaN without anomalies */
    double false_positive_rate, recall, precision, f1; /* at the threshold; NaN where 0/0 */
};

/* scores[n_rows] (finite), is_anomaly[n_rows] the truth, flagged[n_rows] the detector's word.
 * 0 or -ENOMEM. */
MUST_CHECK int evaluation_compute(const double *scores, const bool *is_anomaly, const bool *flagged,
                                  size_t n_rows, struct evaluation *ret_evaluation);
