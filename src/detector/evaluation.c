#include "detector/evaluation.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct scored {
    double score;
    bool is_anomaly;
};

static int by_falling_score(const void *left, const void *right)
{
    const double a = ((const struct scored *)left)->score,
                 b = ((const struct scored *)right)->score;

    return (a < b) - (a > b);
}

int evaluation_curve(const double *scores, const bool *is_anomaly, size_t n_rows,
                     struct evaluation_point **ret_points, size_t *ret_n_points)
{
    assert((scores && is_anomaly) || n_rows == 0);
    assert(ret_points && ret_n_points);

    AUTO_FREE struct scored *rows = calloc(n_rows + 1, sizeof(*rows));
    AUTO_FREE struct evaluation_point *points = calloc(n_rows + 1, sizeof(*points));
    if (!rows || !points)
        return -ENOMEM;

    for (size_t i = 0; i < n_rows; i++) {
        assert(isfinite(scores[i]));
        rows[i] = (struct scored){scores[i], is_anomaly[i]};
    }
    qsort(rows, n_rows, sizeof(*rows), by_falling_score);

    size_t n_points = 0, n_hits = 0;
    for (size_t i = 0; i < n_rows; i++) {
        n_points += i == 0 || rows[i].score < rows[i - 1].score;
        n_hits += rows[i].is_anomaly;
        points[n_points - 1] = (struct evaluation_point){rows[i].score, n_hits, i + 1 - n_hits};
    }
    *ret_points = TAKE(points);
    *ret_n_points = n_points;
    return 0;
}

double evaluation_partial_auc(const struct evaluation_point *points, size_t n_points,
                              double most_false_alarms)
{
    assert(points || n_points == 0);
    assert(most_false_alarms > 0.0 && most_false_alarms <= 1.0);
    if (n_points == 0)
        return NAN;

    const double positives = (double)points[n_points - 1].n_hits;
    const double negatives = (double)points[n_points - 1].n_false_alarms;
    const double most = most_false_alarms * negatives;
    double area = 0, hits = 0, alarms = 0;

    for (size_t i = 0; i < n_points && alarms < most; i++) {
        const double step_hits = (double)points[i].n_hits - hits;
        const double step_alarms = (double)points[i].n_false_alarms - alarms;
        const double width = fmin(step_alarms, most - alarms);

        if (width > 0.0) /* under the straight line, as far as it counts */
            area += width * (hits + step_hits * width / step_alarms / 2);
        hits += step_hits;
        alarms += step_alarms;
    }
    return area / (positives * most);
}

/* What cannot be computed is 0/0, which is NaN. */
static void measure_ranking(const struct evaluation_point *points, size_t n_points,
                            struct evaluation *evaluation)
{
    const double positives = (double)evaluation->n_anomalies;
    const double negatives = (double)evaluation->n_rows - positives;
    double pairs_won = 0, precisions = 0, hits = 0, alarms = 0;

    for (size_t i = 0; i < n_points; i++) {
        const double step_hits = (double)points[i].n_hits - hits;
        const double step_alarms = (double)points[i].n_false_alarms - alarms;

        pairs_won += step_alarms * (hits + step_hits / 2);
        hits += step_hits;
        alarms += step_alarms;
        precisions += step_hits * hits / (hits + alarms);
    }
    evaluation->roc_auc = pairs_won / (positives * negatives);
    evaluation->average_precision = precisions / positives;
}

static void count_at_threshold(const bool *is_anomaly, const bool *flagged,
                               struct evaluation *evaluation)
{
    double hits = 0, alarms = 0;

    for (size_t i = 0; i < evaluation->n_rows; i++) {
        hits += is_anomaly[i] && flagged[i];
        alarms += flagged[i];
    }
    const double positives = (double)evaluation->n_anomalies;
    const double negatives = (double)evaluation->n_rows - positives;
    evaluation->false_positive_rate = (alarms - hits) / negatives;
    evaluation->recall = hits / positives;
    evaluation->precision = hits / alarms;
    evaluation->f1 = 2 * hits / (alarms + positives);
}

int evaluation_compute(const double *scores, const bool *is_anomaly, const bool *flagged,
                       size_t n_rows, struct evaluation *ret_evaluation)
{
    assert((scores && is_anomaly && flagged) || n_rows == 0);
    assert(ret_evaluation);

    AUTO_FREE struct evaluation_point *points = NULL;
    size_t n_points = 0;
    int r = evaluation_curve(scores, is_anomaly, n_rows, &points, &n_points);
    if (r < 0)
        return r;

    struct evaluation evaluation = {.n_rows = n_rows};
    if (n_points)
        evaluation.n_anomalies = points[n_points - 1].n_hits;
    measure_ranking(points, n_points, &evaluation);
    count_at_threshold(is_anomaly, flagged, &evaluation);
    *ret_evaluation = evaluation;
    return 0;
}
