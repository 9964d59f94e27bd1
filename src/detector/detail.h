/* detail - what else can be said of a row that has been explained: which relations it breaks, what
 * would have to change for it to be normal, and each input's part of its error.
 *
 * The parts take the row[n_features] and its contributions[n_features] from detector_explain().
 * What is told is told of inputs (detector/vocabulary.h); without a preparation these are the
 * features. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct contribution;
struct detector;
struct relevance_rule;
struct workspace;

/* Two inputs that normally move together, |correlation| at least 0.7, and do not in this row:
 * given the one the other is `distance` (at least 4) deviations off. */
struct broken_relation {
    size_t inputs[2]; /* the one with the larger share of the blame first */
    double correlation;
    double distance;
};

#define DETAIL_MOST_RELATIONS 3

/* Those of the newest values that have at least a tenth of the blame, the largest distance first;
 * returns how many. None in models of more than EXPLANATION_MAX_CORRELATED features. */
size_t detail_broken_relations(const struct detector *detector, const float *row,
                               const struct contribution *contributions,
                               struct broken_relation ret_relations[DETAIL_MOST_RELATIONS]);

#define DETAIL_MOST_CHANGES 64

/* Inputs that, put back to what was expected of them, bring the score to 1 or below. */
struct counterfactual {
    bool is_found;
    size_t n; /* of the inputs, the largest share first; 0: the row is normal as it is */
    size_t inputs[DETAIL_MOST_CHANGES];
    float values[DETAIL_MOST_CHANGES]; /* what was expected */
    double score;                      /* with these */
};

/* told[of inputs] is what the contributions were folded to, or themselves.
 *
 * Greedy: inputs are put back one after the other, the largest share first, until that is enough
 * (at most DETAIL_MOST_CHANGES); then each, the smallest share first, is left as it was if it need
 * not be put back. So all that are left are needed, but another set may be smaller. At most twice
 * DETAIL_MOST_CHANGES rows are scored. threshold as for detector_score(). 0 or -ENOMEM. */
MUST_CHECK int detail_counterfactual(const struct detector *detector, struct workspace *workspace,
                                     const float *row, double threshold,
                                     const struct contribution *contributions,
                                     const struct contribution *told,
                                     struct counterfactual *ret_counterfactual);

/* ret_shares[of inputs]: each input's part of the squares that the networks cannot reconstruct,
 * mean over the networks; together 1 (0: none). With one classic network that is the
 * reconstruction error itself. 0 or -ENOMEM. */
MUST_CHECK int detail_error_shares(const struct detector *detector, struct workspace *workspace,
                                   const float *row, double *ret_shares);

/* All that is said of one row. Zeroed it is empty; one of a thread can be filled again and again.
 */
struct explained {
    struct contribution *contributions; /* [of inputs], the largest share first */
    struct broken_relation relations[DETAIL_MOST_RELATIONS];
    size_t n_relations;
    bool *is_aside;       /* [of features] set aside (detector/judge.h): their share is 0 */
    size_t n_aside;       /* inputs */
    bool has_detail;      /* what follows was asked for, of the row without these */
    double *error_shares; /* [of inputs], in their order */
    struct counterfactual counterfactual;
    struct contribution *columns; /* [of features], unless those are the inputs */
    float *judged;                /* [of features] the row without what was set aside */
    size_t capacity;              /* features, or inputs if more, that there is room for */
};

/* rules: those by which inputs of the row were set aside (its verdict says whether any were); NULL:
 * none were. values[of values] as they were sent to make the row, or NULL; hold as for
 * detector_explain(); threshold above 0: in detail, 0: without. 0 or -ENOMEM. */
MUST_CHECK int explained_fill(struct explained *explained, const struct detector *detector,
                              const struct relevance_rule *rules, struct workspace *workspace,
                              const float *row, const double *values, const float *hold,
                              double threshold);
/* Shares of another blame, as of many rows, instead of those of the row that has been explained:
 * weights[of features]. All 0: nothing changes. 0 or -ENOMEM. */
MUST_CHECK int explained_blame(struct explained *explained, const struct detector *detector,
                               const float *row, const double *weights);
void explained_clear(struct explained *explained);
