/* gate - whether a candidate may replace the live version: both judge the same rows that neither
 * was trained or calibrated on, and the same anomalies; a candidate that is worse is refused, with
 * the numbers.
 *
 * ROC AUC decides, not rates at the threshold: those move on good candidates too. Synthetic
 * anomalies (service/synthetic.h) are made from the held-out rows; a standard deviation is the live
 * version's. Pure but for the CPU it takes; deterministic for a seed. */
#pragma once

#include "base/cleanup.h"
#include "base/text.h"
#include "service/synthetic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct detector;

#define GATE_MOST_ROWS     3000
#define GATE_MIN_ROWS      100 /* fewer held rows tell nothing: refused */
#define GATE_MIN_CONFIRMED 20

struct gate_input {
    const struct detector *live, *candidate;
    double live_threshold; /* for the false-alarm rate in force */
    double false_alarm_rate;
    /* [n_calibration][n_features] rows that no network of the candidate has seen: its threshold
     * here is what they set. NULL: candidate_threshold is it, as found on n_calibration rows (0: it
     * counts as exact). */
    const float *calibration;
    size_t n_calibration;
    double candidate_threshold;
    const float *held; /* [n_held][n_features], n_held <= GATE_MOST_ROWS */
    size_t n_held;
    const float *confirmed; /* [n_confirmed][n_features] anomalies, by feedback */
    size_t n_confirmed;
    size_t n_train;                 /* rows the candidate learnt from */
    size_t n_approved;              /* of these, by an operator */
    size_t n_guarded, n_candidates; /* so many of so many were too rare to the pinned version */
    size_t min_train;               /* fewer refuse it: the larger of 1,000 and 20 a feature */
    uint64_t seed;
};

/* NaN: it was not measured. */
struct gate_side {
    double false_alarms; /* share of held rows above the threshold */
    double roc_auc[SYNTHETIC_KINDS];
    double partial_auc[SYNTHETIC_KINDS]; /* false alarms <= 5 %, scaled to [0, 1] */
    double mean_roc_auc, mean_partial_auc;
    double confirmed_roc_auc, confirmed_partial_auc; /* NaN below GATE_MIN_CONFIRMED */
};

struct gate_report {
    bool is_accepted;
    char reason[256]; /* why not, with both numbers; "" if accepted */
    size_t n_held, n_confirmed, n_train;
    double binomial_p; /* two-sided, of the candidate's flags on the held rows */
    double forgotten;  /* share of what is typical to the live version that the candidate flags */
    struct gate_side live, candidate;
};

/* Refuses if: n_train < min_train; a weight is not finite; a feature is newly constant in the
 * candidate's scaler, unless it is a rare counter (below); more than a third of the rows were too
 * rare to train on (its threshold would rest on many such rows); n_held < GATE_MIN_ROWS;
 * binomial_p < 1e-4; the mean synthetic ROC AUC drops by more than .015 or the partial one by more
 * than .08; with at least GATE_MIN_CONFIRMED confirmed anomalies their AUC by more than .01 or
 * partial by more than .12; it knows a corner only. With live NULL (the first version) only finite
 * weights are asked for; the rest is measured as far as there are rows.
 *
 * A corner: the candidate flags more than half of the live version's typical rows
 * (ensemble_typical_rows()) that the live version does not flag itself; or, where that keeps none,
 * the features' standard deviations are, in the median, less than 0.33 of those in the live
 * version's scaler. (Measured on six data sets, two of them servers: good candidates forget 0 to 4
 * %, those of the 2 % of normal rows that are nearest to one of them 91 to 100 %.)
 *
 * An operator who has approved more than half of what it learnt from may have a corner learned, and
 * features that no longer move.
 *
 * binomial_p allows for the threshold's own uncertainty: found on n_calibration rows of the same
 * kind it has a true rate that is Beta distributed, and the flags are beta-binomial. The plain
 * binomial test takes the rate for known, and refuses 1.1 % of good candidates at α = 1 % with
 * 2,000 rows each, 5 % at α = 5 % with 1,000.
 *
 * A rare counter has moved in so few rows that a sample may hold none, all the more as flagged rows
 * are not trained on: the candidate's constant is its median in the live version and lies within
 * 0.1 standard deviations of its mean there, and at most 1 % of the held rows have another value.
 *
 * 0 or -ENOMEM. */
MUST_CHECK int gate_compare(const struct gate_input *input, struct gate_report *ret_report);

/* The report as a JSON object: what the API shows as the comparison that decided. */
void gate_print(const struct gate_report *report, struct text *text);
