#include "detector/detail.h"

#include "data/preparation.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/explanation.h"
#include "detector/judge.h"
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

static bool is_of_same_inputs(const struct broken_relation *a, const struct broken_relation *b)
{
    return (a->inputs[0] == b->inputs[0] && a->inputs[1] == b->inputs[1]) ||
           (a->inputs[0] == b->inputs[1] && a->inputs[1] == b->inputs[0]);
}

/* Keeps the largest distances, sorted, of two inputs that of all their columns; returns how many
 * there are then. */
static size_t insert(struct broken_relation *relations, size_t n, struct broken_relation relation)
{
    size_t known = 0, place;

    while (known < n && !is_of_same_inputs(&relations[known], &relation))
        known++;
    if (known < n) {
        if (relations[known].distance >= relation.distance)
            return n;
        memcpy(relation.inputs, relations[known].inputs, sizeof(relation.inputs)); /* by blame */
        n--;
        memmove(relations + known, relations + known + 1, (n - known) * sizeof(*relations));
    }
    for (place = n; place > 0 && relations[place - 1].distance < relation.distance; place--)
        ;
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
    const struct vocabulary vocabulary = detector_vocabulary(detector);
    const size_t n_newest = vocabulary.preparation ? vocabulary.preparation->n_columns : d;
    size_t n = 0;

    if (!explanation || !explanation->correlation)
        return 0;
    for (size_t a = 0; a < d && contributions[a].share >= LEAST_BLAME; a++) {
        const size_t i = contributions[a].feature;
        const size_t input = vocabulary_input_of(&vocabulary, i);
        const double z = z_of(detector, row, i);
        if (i >= n_newest)
            continue;
        for (size_t b = a + 1; b < d; b++) { /* a pair of two blamed ones once */
            const size_t j = contributions[b].feature;
            const double correlation = (double)explanation->correlation[i * d + j];
            const size_t other = vocabulary_input_of(&vocabulary, j);
            if (fabs(correlation) < LEAST_CORRELATION || j >= n_newest || other == input)
                continue;
            const double off = fabs(z - correlation * z_of(detector, row, j));
            const struct broken_relation relation = {
                .inputs = {input, other},
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
    const struct contribution *told; /* [n_told] */
    size_t n_told;
    struct vocabulary vocabulary;
    double threshold, score;              /* of the row as it is now */
    const float *given, *expected;        /* [n_features] */
    float *row;                           /* [n_features] */
    bool is_changed[DETAIL_MOST_CHANGES]; /* of those told */
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
    const size_t most = search->n_told < DETAIL_MOST_CHANGES ? search->n_told : DETAIL_MOST_CHANGES;
    size_t n = 0;
    int r = score(search);

    for (; r == 0 && search->score > 1.0 && n < most; n++) {
        if (!(search->told[n].share > 0.0))
            break;
        vocabulary_copy_input(&search->vocabulary, search->told[n].feature, search->expected,
                              search->row);
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
        const size_t input = search->told[i].feature;
        const double before = search->score;
        vocabulary_copy_input(&search->vocabulary, input, search->given, search->row);
        int r = score(search);
        if (r < 0)
            return r;
        search->is_changed[i] = search->score > 1.0;
        if (!search->is_changed[i])
            continue;
        vocabulary_copy_input(&search->vocabulary, input, search->expected, search->row);
        search->score = before;
    }
    return 0;
}

int detail_counterfactual(const struct detector *detector, struct workspace *workspace,
                          const float *row, double threshold,
                          const struct contribution *contributions, const struct contribution *told,
                          struct counterfactual *ret_counterfactual)
{
    const size_t d = detector_n_features(detector);
    AUTO_FREE float *own = calloc(2 * d, sizeof(*own));
    struct search search = {
        .detector = detector,
        .workspace = workspace,
        .told = told,
        .vocabulary = detector_vocabulary(detector),
        .threshold = threshold,
        .given = row,
        .expected = own + d,
        .row = own,
    };
    struct counterfactual found = {0};
    size_t n = 0;
    if (!own)
        return -ENOMEM;

    search.n_told = schema_n_features(search.vocabulary.inputs);
    memcpy(own, row, d * sizeof(*own));
    for (size_t i = 0; i < d; i++)
        own[d + contributions[i].feature] = contributions[i].expected;
    int r = put_back(&search, &n);
    found.is_found = r == 0 && search.score <= 1.0;
    if (found.is_found)
        r = leave_others(&search, n);
    if (r < 0)
        return r;
    for (size_t i = 0; found.is_found && i < n; i++) {
        if (!search.is_changed[i])
            continue;
        found.inputs[found.n] = told[i].feature;
        found.values[found.n++] = told[i].expected;
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
    const struct vocabulary vocabulary = detector_vocabulary(detector);
    const size_t d = detector_n_features(detector), n = schema_n_features(vocabulary.inputs);
    float *scratch = workspace_get(workspace, ensemble_scratch_floats(ensemble));
    AUTO_FREE double *squares = calloc(d, sizeof(*squares));
    double sum = 0.0;
    if (!scratch || !squares)
        return -ENOMEM;

    ensemble_squares(ensemble, scratch, row, squares);
    if (vocabulary.preparation)
        vocabulary_fold_sums(&vocabulary, squares, ret_shares);
    else
        memcpy(ret_shares, squares, d * sizeof(*squares));
    for (size_t j = 0; j < n; j++)
        sum += ret_shares[j];
    for (size_t j = 0; sum > 0.0 && j < n; j++)
        ret_shares[j] /= sum;
    return 0;
}

/* ---- all of it ---- */

static int reserve(struct explained *explained, size_t n)
{
    if (n <= explained->capacity)
        return 0;
    explained_clear(explained);
    explained->contributions = calloc(n, sizeof(*explained->contributions));
    explained->columns = calloc(n, sizeof(*explained->columns));
    explained->error_shares = calloc(n, sizeof(*explained->error_shares));
    explained->is_aside = calloc(n, sizeof(*explained->is_aside));
    explained->judged = calloc(n, sizeof(*explained->judged));
    if (!explained->contributions || !explained->columns || !explained->error_shares ||
        !explained->is_aside || !explained->judged)
        return -ENOMEM;
    explained->capacity = n;
    return 0;
}

static int set_aside(struct explained *explained, const struct detector *detector,
                     const struct relevance_rule *rules, struct workspace *workspace,
                     const float *row)
{
    const size_t d = detector_n_features(detector);

    if (rules)
        return judge_set_aside(detector, rules, workspace, row, explained->is_aside,
                               explained->judged, &explained->n_aside);
    memset(explained->is_aside, false, d * sizeof(*explained->is_aside));
    memcpy(explained->judged, row, d * sizeof(*row));
    explained->n_aside = 0;
    return 0;
}

static struct contribution *columns_of(const struct explained *explained,
                                       const struct vocabulary *vocabulary)
{
    return vocabulary->preparation ? explained->columns : explained->contributions;
}

/* From the columns to what is told. 0 or -ENOMEM. */
static int fold(struct explained *explained, const struct detector *detector, const float *row,
                const double *values)
{
    const struct vocabulary vocabulary = detector_vocabulary(detector);
    struct contribution *columns = columns_of(explained, &vocabulary);

    explained->n_relations =
        detail_broken_relations(detector, explained->judged, columns, explained->relations);
    return vocabulary.preparation
               ? vocabulary_fold(&vocabulary, row, values, columns, explained->contributions)
               : 0;
}

int explained_fill(struct explained *explained, const struct detector *detector,
                   const struct relevance_rule *rules, struct workspace *workspace,
                   const float *row, const double *values, const float *hold, double threshold)
{
    const struct vocabulary vocabulary = detector_vocabulary(detector);
    const size_t d = detector_n_features(detector), n = schema_n_features(vocabulary.inputs);

    int r = reserve(explained, d > n ? d : n);
    if (r == 0)
        r = set_aside(explained, detector, rules, workspace, row);
    if (r < 0)
        return r;
    struct contribution *columns = columns_of(explained, &vocabulary);
    r = detector_explain(detector, workspace, row, hold, explained->is_aside, columns);
    if (r == 0)
        r = fold(explained, detector, row, values);
    explained->has_detail = threshold > 0.0;
    if (r < 0 || !explained->has_detail)
        return r;
    r = detail_error_shares(detector, workspace, explained->judged, explained->error_shares);
    if (r == 0)
        r = detail_counterfactual(detector, workspace, explained->judged, threshold, columns,
                                  explained->contributions, &explained->counterfactual);
    return r;
}

static int by_share(const void *a, const void *b)
{
    const struct contribution *x = a, *y = b;

    if (x->share != y->share)
        return x->share < y->share ? 1 : -1;
    return (x->feature > y->feature) - (x->feature < y->feature);
}

int explained_blame(struct explained *explained, const struct detector *detector, const float *row,
                    const double *weights)
{
    const struct vocabulary vocabulary = detector_vocabulary(detector);
    struct contribution *columns = columns_of(explained, &vocabulary);
    const size_t d = detector_n_features(detector);
    double sum = 0.0;

    for (size_t j = 0; j < d; j++)
        sum += weights[j];
    if (!(sum > 0.0))
        return 0;
    for (size_t k = 0; k < d; k++)
        columns[k].share = weights[columns[k].feature] / sum;
    qsort(columns, d, sizeof(*columns), by_share);
    return fold(explained, detector, row, NULL);
}

void explained_clear(struct explained *explained)
{
    free(explained->contributions);
    free(explained->columns);
    free(explained->error_shares);
    free(explained->is_aside);
    free(explained->judged);
    *explained = (struct explained){0};
}
