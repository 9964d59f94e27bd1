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

/* What is found when every row with at least this score is called an anomaly. */
struct evaluation_point {
    double score;
    size_t n_hits, n_false_alarms; /* anomalies and normal rows among them */
};

/* The points of the ROC and precision-recall curves: one for each different score, falling, so
 * that rows with the same score are one step and their order plays no part; the last one has all
 * rows. roc_auc is the area under straight lines from (0, 0) through them, average_precision the
 * area under steps, each as high as the precision at its right end. ret_points[ret_n_points] is
 * from malloc(). 0 or -ENOMEM. */
MUST_CHECK int evaluation_curve(const double *scores, const bool *is_anomaly, size_t n_rows,
                                struct evaluation_point **ret_points, size_t *ret_n_points);

/* Area under the ROC curve of these points up to this share of false alarms, in (0, 1], over that
 * share: 1 is perfect, chance gives half the share; with 1 it is roc_auc. NaN unless both kinds are
 * there. */
double evaluation_partial_auc(const struct evaluation_point *points, size_t n_points,
                              double most_false_alarms);
