#include "detector/detail.h"

#include "detector/detector.h"
#include "detector/explanation.h"
#include "detector/scaler.h"
#include "nn/workspace.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_BLAME       0.1
#define LEAST_CORRELATION 0.7
#define LEAST_DISTANCE    4.0

/* ---- broken relations ---- */

/* Standardised; NaN: it is missing. */
static double z_of(const struct detector *detector, const float *row, size_t feature)
{
    const struct scaler *scaler = detector_ensemble(detector)->scaler;
    const double z = ((double)row[feature] - (double)scaler_mean(scaler)[feature]) /
                     (double)scaler_std(scaler)[feature];

    return isnan(z) ? z : fmin(fmax(z, -(double)SCALER_LIMIT), (double)SCALER_LIMIT);
}

/* Keeps the largest distances, sorted; returns how many there are then. */
static size_t insert(struct broken_relation *relations, size_t n, struct broken_relation relation)
{
    size_t place = n;

    while (place > 0 && relations[place - 1].distance < relation.distance)
        place--;
    if (place == DETAIL_MOST_RELATIONS)
        return n;
    n += n < DETAIL_MOST_RELATIONS;
    memmove(relations + place + 1, relations + place, (n - place - 1) * sizeof(*relations));
    relations[place] = relation;
    return n;
}

size_t detail_broken_relations(const struct detector *detector, const float *row,
                               const struct contribution *contributions,
                               struct broken_relation ret_relations[DETAIL_MOST_RELATIONS])
{
    const struct explanation *explanation = detector_explanation(detector);
    const size_t d = detector_n_features(detector);
    size_t n = 0;

    if (!explanation || !explanation->correlation)
        return 0;
    for (size_t a = 0; a < d && contributions[a].share >= LEAST_BLAME; a++) {
        const size_t i = contributions[a].feature;
        const double z = z_of(detector, row, i);
        for (size_t b = a + 1; b < d; b++) { /* a pair of two blamed ones once */
            const size_t j = contributions[b].feature;
            const double correlation = (double)explanation->correlation[i * d + j];
            if (fabs(correlation) < LEAST_CORRELATION)
                continue;
            const double off = fabs(z - correlation * z_of(detector, row, j));
            const struct broken_relation relation = {
                .features = {i, j},
                .correlation = correlation,
                .distance = off / sqrt(1.0 - correlation * correlation),
            };
            if (relation.distance >= LEAST_DISTANCE) /* not if one is missing: NaN */
                n = insert(ret_relations, n, relation);
        }
    }
    return n;
}

/* ---- counterfactual ---- */

/* A row on its way to normal. */
struct search {
    const struct detector *detector;
    struct workspace *workspace;
    const struct contribution *contributions;
    double threshold, score;              /* of the row as it is now */
    float *row;                           /* [n_features] */
    bool is_changed[DETAIL_MOST_CHANGES]; /* of the contributions */
};

static int score(struct search *search)
{
    struct verdict verdict;
    int r = detector_score(search->detector, search->workspace, search->row, 1, search->threshold,
                           &verdict);

    search->score = r < 0 ? search->score : verdict.score;
    return r;
}

/* Puts features back until that is enough; returns of how many in *ret_n. */
static int put_back(struct search *search, size_t *ret_n)
{
    const size_t d = detector_n_features(search->detector);
    size_t n = 0;
    int r = score(search);

    for (; r == 0 && search->score > 1.0 && n < d && n < DETAIL_MOST_CHANGES; n++) {
        if (!(search->contributions[n].share > 0.0))
            break;
        search->row[search->contributions[n].feature] = search->contributions[n].expected;
        search->is_changed[n] = true;
        r = score(search);
    }
    *ret_n = n;
    return r;
}

/* Leaves what need not be put back. */
static int leave_others(struct search *search, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        const struct contribution *contribution = &search->contributions[i];
        const double before = search->score;
        search->row[contribution->feature] = contribution->value;
        int r = score(search);
        if (r < 0)
            return r;
        search->is_changed[i] = search->score > 1.0;
        if (!search->is_changed[i])
            continue;
        search->row[contribution->feature] = contribution->expected;
        search->score = before;
    }
    return 0;
}

int detail_counterfactual(const struct detector *detector, struct workspace *workspace,
                          const float *row, double threshold,
                          const struct contribution *contributions,
                          struct counterfactual *ret_counterfactual)
{
    const size_t d = detector_n_features(detector);
    AUTO_FREE float *own = malloc(d * sizeof(*own));
    struct search search = {detector, workspace, contributions, threshold, 0.0, own, {false}};
    struct counterfactual found = {0};
    size_t n = 0;
    if (!own)
        return -ENOMEM;

    memcpy(own, row, d * sizeof(*own));
    int r = put_back(&search, &n);
    found.is_found = r == 0 && search.score <= 1.0;
    if (found.is_found)
        r = leave_others(&search, n);
    if (r < 0)
        return r;
    for (size_t i = 0; found.is_found && i < n; i++) {
        if (!search.is_changed[i])
            continue;
        found.features[found.n] = contributions[i].feature;
        found.values[found.n++] = contributions[i].expected;
    }
    found.score = search.score;
    *ret_counterfactual = found;
    return 0;
}

/* ---- parts of the error ---- */

int detail_error_shares(const struct detector *detector, struct workspace *workspace,
                        const float *row, double *ret_shares)
{
    const struct ensemble *ensemble = detector_ensemble(detector);
    float *scratch = workspace_get(workspace, ensemble_scratch_floats(ensemble));
    double sum = 0.0;
    if (!scratch)
        return -ENOMEM;

    ensemble_squares(ensemble, scratch, row, ret_shares);
    for (size_t j = 0; j < detector_n_features(detector); j++)
        sum += ret_shares[j];
    for (size_t j = 0; sum > 0.0 && j < detector_n_features(detector); j++)
        ret_shares[j] /= sum;
    return 0;
}

/* ---- all of it ---- */

static int reserve(struct explained *explained, size_t n_features)
{
    if (n_features <= explained->capacity)
        return 0;
    explained_clear(explained);
    explained->contributions = calloc(n_features, sizeof(*explained->contributions));
    explained->error_shares = calloc(n_features, sizeof(*explained->error_shares));
    if (!explained->contributions || !explained->error_shares)
        return -ENOMEM;
    explained->capacity = n_features;
    return 0;
}

int explained_fill(struct explained *explained, const struct detector *detector,
                   struct workspace *workspace, const float *row, const float *hold,
                   double threshold)
{
    int r = reserve(explained, detector_n_features(detector));
    if (r == 0)
        r = detector_explain(detector, workspace, row, hold, explained->contributions);
    if (r < 0)
        return r;
    explained->n_relations =
        detail_broken_relations(detector, row, explained->contributions, explained->relations);
    explained->has_detail = threshold > 0.0;
    if (!explained->has_detail)
        return 0;
    r = detail_error_shares(detector, workspace, row, explained->error_shares);
    if (r == 0)
        r = detail_counterfactual(detector, workspace, row, threshold, explained->contributions,
                                  &explained->counterfactual);
    return r;
}

void explained_clear(struct explained *explained)
{
    free(explained->contributions);
    free(explained->error_shares);
    *explained = (struct explained){0};
}
