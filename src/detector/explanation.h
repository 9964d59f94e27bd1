/* explanation - what tells the features behind an unusual row from those that it drags along: how
 * features hang together, what is usual for each, and how far each moves in normal times.
 *
 * Everything is in standardised values z (detector/scaler.h). The network's own output is no
 * answer: it copies a fault and spreads the blame over all that hangs together. Instead a row is
 * taken as a normal one plus a sparse fault a, the fewest features that have to be put right so
 * that all agree: P = inverse(covariance + 0.01 I), and coordinate descent on
 *     min over a of ½ (z - a)ᵀ P (z - a) + Σ 3 √P_ii |a_i|
 * (a lasso; each step is u = a_i + g_i / P_ii with g = P (z - a), drawn towards 0 by 3 conditional
 * deviations). u is then how far a feature is from its mean given the others, put right. Measured
 * best of many attributions on labelled incidents of servers. Immutable; safe to share between
 * threads. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

#define EXPLANATION_MAX_FEATURES 1000 /* of more, P would be too large */
#define EXPLANATION_MAX_CORRELATED                                 \
    256 /* of more, P takes too long to invert when a file is read \
         */

/* Read its fields, do not change them. */
struct explanation {
    size_t n_features;
    float *precision;              /* [n_features][n_features] P; NULL: too many features */
    float *deviation;              /* [n_features] 1 / √P_ii, given all others; NULL as P */
    float *correlation;            /* [n_features][n_features] from P, 0 of what never moves and
                                    * on the diagonal; NULL as P, and for more than
                                    * EXPLANATION_MAX_CORRELATED features */
    float *low, *high;             /* [n_features] the least and the largest in training */
    float *usual_low, *usual_high; /* [n_features] 1 % and 99 % quantile there */
    float *jumps;                  /* [MOVEMENT_WINDOWS][n_features], detector/movement.h */
};

/* From standardised training rows[n_rows][n_features] in the order in which they came, n_rows > 0.
 * -ENOMEM; -EDOM: not finite. */
MUST_CHECK int explanation_fit(const float *rows, size_t n_rows, size_t n_features,
                               struct explanation **ret_explanation);

/* From a model file. precision NULL: there is none. ranges: low, high, usual_low, usual_high, one
 * after the other. -EINVAL: not finite, a diagonal of P not above 0, P not symmetric, a negative
 * jump, a low above its high. */
MUST_CHECK int explanation_new(const float *precision, const float *ranges, const float *jumps,
                               size_t n_features, struct explanation **ret_explanation);
void explanation_free(struct explanation *explanation);
DEFINE_CLEANUP(struct explanation *, explanation_free)

/* Fills z[n_features], with P, in where row[n_features] has no value (NaN): with the mean given the
 * other values, within what training has seen: some sweeps of Gauss-Seidel over P z = 0. */
void explanation_impute(const struct explanation *explanation, const float *row, float *z);

/* Of z[n_features], with P: ret_unusual[n_features], |u| in conditional deviations, finite; and
 * ret_expected[n_features] (either NULL: not wanted), what the others let expect in its place,
 * within what training has seen: with the fault found once more at 2 deviations, those above 3 then
 * taken away whole. What is_missing[n_features] says has no value: its is found from the others.
 * scratch holds explanation_scratch_floats(). */
size_t explanation_scratch_floats(const struct explanation *explanation);
void explanation_find_faults(const struct explanation *explanation, float *scratch, const float *z,
                             const bool *is_missing, float *ret_unusual, float *ret_expected);

/* Of the scratch of a row whose faults have been found: fault[n_features] with only what is missing
 * or unheard of in it, set free from the others, and behind it P (z - fault)[n_features]. */
const float *explanation_freed(const struct explanation *explanation, const float *scratch);
