/* One number a row: which parts judge which rows, the medians of their distances, the calibration.
 */
#include "base/sort.h"
#include "detector/calibration.h"
#include "detector/encoding.h"
#include "detector/trainer_state.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A feature's share of a median distance: of rows that mostly repeat, the distance to a prototype
 * is 0 but for rounding, which must not decide. */
#define LEAST_MEDIAN 0.02

/* terms[stretch.n] of the rows in a stretch of the ring, by the first n_networks. */
static int judge_stretch(const struct training *training, const struct ensemble *ensemble,
                         struct stretch stretch, size_t n_networks, struct ensemble_terms *terms)
{
    const size_t d = training->n_features;
    AUTO_FREE float *scratch = malloc(ensemble_scratch_floats(ensemble) * sizeof(*scratch));
    AUTO_FREE float *rows = malloc(stretch.n * d * sizeof(*rows));
    if (!scratch || !rows)
        return -ENOMEM;

    for (size_t i = 0; i < stretch.n; i++)
        memcpy(rows + i * d, training->sample.rows + training->folds.order[stretch.begin + i] * d,
               d * sizeof(float));
    ensemble_terms(ensemble, scratch, rows, stretch.n, n_networks, terms);
    return 0;
}

/* The parts that one fit made, judged on the rows that they have not seen. Borrows all. */
static struct ensemble ensemble_of_fit(const struct training *training, const struct fit *fit)
{
    return (struct ensemble){
        .scaler = fit->scaler ? fit->scaler : training->ensemble.scaler,
        .imputer = training->imputer,
        .encoding = fit->encoding ? fit->encoding : training->ensemble.encoding,
        .n_networks = 1,
        .networks = {fit->network},
        .residuals = {fit->residual},
        .prototypes = fit->prototypes,
        .clusters = fit->clusters,
    };
}

/* The three distances of a row: of the networks, prototypes, clusters. */
static const size_t offsets[] = {offsetof(struct ensemble_terms, networks),
                                 offsetof(struct ensemble_terms, prototypes),
                                 offsetof(struct ensemble_terms, clusters)};
#define N_TERMS (sizeof(offsets) / sizeof(*offsets))

static double term_of(const struct ensemble_terms *terms, size_t offset)
{
    double term;

    memcpy(&term, (const char *)terms + offset, sizeof(term));
    return term;
}

static double least_median(const struct ensemble *ensemble, size_t kind)
{
    return kind == 0 ? LEAST_MEDIAN : LEAST_MEDIAN * sqrt((double)ensemble->encoding->n_features);
}

/* The networks' median of terms[n_networks], the others' of the first n_parts of them. */
static int set_medians(struct ensemble *ensemble, const struct ensemble_terms *terms,
                       size_t n_networks, size_t n_parts)
{
    double *const medians[N_TERMS] = {&ensemble->median_networks, &ensemble->median_prototypes,
                                      &ensemble->median_clusters};
    AUTO_FREE double *scratch = calloc(n_networks, sizeof(*scratch));
    if (!scratch)
        return -ENOMEM;

    for (size_t kind = 0; kind < N_TERMS; kind++) {
        const size_t n = kind == 0 ? n_networks : n_parts;
        for (size_t i = 0; i < n; i++)
            scratch[i] = term_of(&terms[i], offsets[kind]);
        *medians[kind] = fmax(sort_median(scratch, n), least_median(ensemble, kind));
    }
    return 0;
}

/* Each kept network is judged on its own unseen fold; fold 0 is that of the other parts. */
int trainer_find_medians(struct training *training)
{
    AUTO_FREE struct ensemble_terms *terms =
        calloc(training->plan.n_networks * training->sample.n_rows, sizeof(*terms));
    size_t n = 0;
    if (!terms)
        return -ENOMEM;

    for (size_t i = 0; i < training->plan.n_networks; i++) {
        const struct fit *fit = &training->fits[i];
        const struct ensemble ensemble = ensemble_of_fit(training, fit);
        const struct stretch stretch = folds_inside(&training->folds, fit->fold);
        int r = judge_stretch(training, &ensemble, stretch, 1, terms + n);
        if (r < 0)
            return r;
        n += stretch.n;
    }
    return set_medians(&training->ensemble, terms, n, folds_inside(&training->folds, 0).n);
}

/* Fold 0's parts are those that serve, and so are their medians. */
static struct ensemble ensemble_of_fold_0(const struct training *training)
{
    struct ensemble ensemble = ensemble_of_fit(training, &training->fits[0]);

    ensemble.median_networks = training->ensemble.median_networks;
    ensemble.median_prototypes = training->ensemble.median_prototypes;
    ensemble.median_clusters = training->ensemble.median_clusters;
    return ensemble;
}

/* The median of sorted[n] without one of its values; n > 1. */
static double median_without(const double *sorted, size_t n, double value)
{
    const double *middle = sorted + n / 2;

    if (n % 2 == 0)
        return value < *middle ? *middle : middle[-1];
    if (value < *middle)
        return 0.5 * middle[0] + 0.5 * middle[1];
    if (value > *middle)
        return 0.5 * middle[-1] + 0.5 * middle[0];
    return 0.5 * middle[-1] + 0.5 * middle[1];
}

/* errors[n] of a fold's terms, each over medians that do not know it: of five rows the median of
 * all five would be too kind to each. */
static int judge_terms(struct ensemble *ensemble, const struct ensemble_terms *terms, size_t n,
                       double *errors)
{
    double *const medians[N_TERMS] = {&ensemble->median_networks, &ensemble->median_prototypes,
                                      &ensemble->median_clusters};
    double least[N_TERMS];
    AUTO_FREE double *sorted = calloc(N_TERMS * n, sizeof(*sorted));
    if (!sorted)
        return -ENOMEM;

    for (size_t kind = 0; kind < N_TERMS; kind++) {
        least[kind] = least_median(ensemble, kind);
        for (size_t i = 0; i < n; i++)
            sorted[kind * n + i] = term_of(&terms[i], offsets[kind]);
        sort_doubles(sorted + kind * n, n);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t kind = 0; kind < N_TERMS; kind++)
            *medians[kind] =
                fmax(median_without(sorted + kind * n, n, term_of(&terms[i], offsets[kind])),
                     least[kind]);
        errors[i] = ensemble_error(ensemble, &terms[i]);
    }
    return 0;
}

/* errors[] of the rows that a fold's parts have not seen. */
static int fold_errors(const struct training *training, const struct fit *fit, double *errors)
{
    const struct stretch stretch = folds_inside(&training->folds, fit->fold);
    struct ensemble ensemble = ensemble_of_fit(training, fit);
    AUTO_FREE struct ensemble_terms *terms = calloc(stretch.n, sizeof(*terms));
    if (!terms)
        return -ENOMEM;

    int r = judge_stretch(training, &ensemble, stretch, 1, terms);
    return r < 0 ? r : judge_terms(&ensemble, terms, stretch.n, errors);
}

/* All that will serve, not yet in one place. Borrows all. */
static struct ensemble ensemble_of_all(const struct training *training)
{
    struct ensemble ensemble = ensemble_of_fold_0(training);

    ensemble.n_networks = training->plan.n_networks;
    for (size_t i = 0; i < ensemble.n_networks; i++) {
        ensemble.networks[i] = training->fits[i].network;
        ensemble.residuals[i] = training->fits[i].residual;
    }
    return ensemble;
}

/* errors[] of a fold's rows by all that will serve, some of which has seen them. */
static int served_errors(const struct training *training, size_t fold, double *errors)
{
    const struct stretch stretch = folds_inside(&training->folds, fold);
    const struct ensemble ensemble = ensemble_of_all(training);
    AUTO_FREE struct ensemble_terms *terms = calloc(stretch.n, sizeof(*terms));
    if (!terms)
        return -ENOMEM;

    int r = judge_stretch(training, &ensemble, stretch, ensemble.n_networks, terms);
    for (size_t i = 0; r == 0 && i < stretch.n; i++)
        errors[i] = ensemble_error(&ensemble, &terms[i]);
    return r;
}

/* Where values repeat, an unseen row is often one that was seen, and what serves judges it a little
 * differently from the parts of a fold: a threshold right at such a row's error would flag all of
 * its kind. So no quantile may be below that of what serves. Sorts both. */
static void raise_to(double *errors, double *served, size_t n)
{
    sort_doubles(errors, n);
    sort_doubles(served, n);
    for (size_t i = 0; i < n; i++)
        errors[i] = fmax(errors[i], served[i]);
}

/* Appends errors of spare rows, as many of them as of the others calibrate: they may be normal, and
 * without the farthest normal rows the threshold would be too low. */
static int add_spare_rows(const struct training *training, double *errors, size_t *n_errors)
{
    const struct ensemble ensemble = ensemble_of_all(training);
    AUTO_FREE float *scratch = malloc(ensemble_scratch_floats(&ensemble) * sizeof(*scratch));
    if (!scratch)
        return -ENOMEM;

    assert(training->n_folds > 0);
    for (size_t i = 0; i < training->sample.n_spare; i += N_FOLDS / training->n_folds) {
        struct ensemble_terms terms;
        ensemble_terms(&ensemble, scratch, training->sample.spare + i * training->n_features, 1,
                       ensemble.n_networks, &terms);
        errors[(*n_errors)++] = ensemble_error(&ensemble, &terms);
    }
    return 0;
}

/* Appends errors of rows that were not drawn, evenly over all, until there are n_wanted. */
static int add_other_rows(const struct training *training, size_t n_wanted, double *errors,
                          size_t *n_errors)
{
    const struct ensemble ensemble = ensemble_of_all(training);
    const size_t d = training->n_features, n_others = training->n_given - training->sample.n_drawn;
    AUTO_FREE float *scratch = malloc(ensemble_scratch_floats(&ensemble) * sizeof(*scratch));
    if (!scratch)
        return -ENOMEM;
    assert(n_others > 0);

    const size_t n_missing = n_wanted > *n_errors ? n_wanted - *n_errors : 0;
    const size_t n_added = n_missing < n_others ? n_missing : n_others;
    size_t seen = 0;
    for (size_t i = 0; i < training->n_given; i++) {
        if (training->sample.is_drawn[i])
            continue;
        const size_t before = seen++ * n_added / n_others;
        if (seen * n_added / n_others == before)
            continue;
        struct ensemble_terms terms;
        ensemble_terms(&ensemble, scratch, training->given + i * d, 1, ensemble.n_networks, &terms);
        errors[(*n_errors)++] = ensemble_error(&ensemble, &terms);
    }
    return 0;
}

int trainer_calibrate_on_folds(const struct training *training,
                               struct calibration **ret_calibration)
{
    AUTO_FREE double *errors = malloc(training->n_given * sizeof(*errors));
    AUTO_FREE double *served = malloc(training->sample.n_rows * sizeof(*served));
    size_t n = 0;
    if (!errors || !served)
        return -ENOMEM;

    for (size_t fold = 0; fold < training->n_folds; fold++) {
        /* Behind the kept networks' fits are those of the folds from 1 on. */
        const size_t which = fold == 0 ? 0 : training->plan.n_networks + fold - 1;
        int r = fold_errors(training, &training->fits[which], errors + n);
        if (r == 0)
            r = served_errors(training, fold, served + n);
        if (r < 0)
            return r;
        n += folds_inside(&training->folds, fold).n;
    }
    raise_to(errors, served, n);
    int r = add_spare_rows(training, errors, &n);
    if (r < 0)
        return r;
    if (training->sample.is_drawn) {
        const size_t n_wanted = calibration_rows_needed(training->options->recipe.false_alarm_rate);
        r = add_other_rows(training, n_wanted, errors, &n);
        if (r < 0)
            return r;
    }
    return calibration_fit(errors, n, ret_calibration);
}

/* By all that serves, on rows that none of it has seen. */
int trainer_calibrate_on_given(const struct training *training,
                               struct calibration **ret_calibration)
{
    const struct ensemble *ensemble = &training->ensemble;
    const size_t n = training->options->n_calibration;
    AUTO_FREE float *scratch = malloc(ensemble_scratch_floats(ensemble) * sizeof(*scratch));
    AUTO_FREE struct ensemble_terms *terms = calloc(n, sizeof(*terms));
    AUTO_FREE double *errors = calloc(n, sizeof(*errors));
    if (!scratch || !terms || !errors)
        return -ENOMEM;

    ensemble_terms(ensemble, scratch, training->options->calibration, n, ensemble->n_networks,
                   terms);
    for (size_t i = 0; i < n; i++)
        errors[i] = ensemble_error(ensemble, &terms[i]);
    return calibration_fit(errors, n, ret_calibration);
}
