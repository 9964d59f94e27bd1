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

/* Goes down the scores; rows with the same score are one step, so that their order in the file
 * plays no part. */
static void rank(const struct scored *rows, size_t n_rows, struct evaluation *evaluation)
{
    const double positives = (double)evaluation->n_anomalies;
    const double negatives = (double)(evaluation->n_rows - evaluation->n_anomalies);
    double pairs_won = 0, precisions = 0, hits = 0, alarms = 0;

    for (size_t i = 0; i < n_rows;) {
        double step_hits = 0, step_alarms = 0;
        for (const double score = rows[i].score; i < n_rows && rows[i].score == score; i++) {
            step_hits += rows[i].is_anomaly;
            step_alarms += !rows[i].is_anomaly;
        }
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

    AUTO_FREE struct scored *rows = calloc(n_rows + 1, sizeof(*rows));
    if (!rows)
        return -ENOMEM;

    /* What cannot be computed is 0/0 below, which is NaN. */
    struct evaluation evaluation = {.n_rows = n_rows};
    for (size_t i = 0; i < n_rows; i++) {
        assert(isfinite(scores[i]));
        rows[i] = (struct scored){scores[i], is_anomaly[i]};
        evaluation.n_anomalies += is_anomaly[i];
    }
    qsort(rows, n_rows, sizeof(*rows), by_falling_score);
    rank(rows, n_rows, &evaluation);
    count_at_threshold(is_anomaly, flagged, &evaluation);
    *ret_evaluation = evaluation;
    return 0;
}
