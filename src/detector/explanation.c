#include "detector/explanation.h"

#include "base/sort.h"
#include "detector/movement.h"
#include "nn/blas.h"
#include "nn/covariance.h"
#include "nn/vector.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RIDGE          1e-2
#define MOST_ROWS      20000 /* evenly spread: enough for a covariance and quantiles */
#define SPARSE         3.0F  /* conditional deviations, of the fault that is blamed */
#define SPARSE_FIRST   2.0F  /* of the fault that is taken away, at first */
#define IMPUTE_SWEEPS  20
#define IMPUTE_SETTLED 1e-3F /* deviations */

#define SPARSE_SWEEPS     15
#define MOST_STEPS        400 /* that change a fault: what all is wrong with has no sparse fault */
#define WHOLE_SWEEPS      10
#define UNHEARD_OF_SWEEPS 3
#define LEAST_VARIANCE    1e-3 /* of standardised values: less is no movement */
#define MOST_CORRELATION  0.9999
#define MOST_UNUSUAL      1e6F  /* conditional deviations: a hostile P gives infinity or NaN */
#define SETTLED           1e-3F /* conditional deviations: a smaller change is none */

static struct explanation *allocate(size_t n, bool with_precision)
{
    const size_t n_ranges = 4 * n, n_jumps = MOVEMENT_WINDOWS * n;
    const size_t n_precision = with_precision ? n * n + n : 0;
    const size_t n_correlation = with_precision && n <= EXPLANATION_MAX_CORRELATED ? n * n : 0;
    struct explanation *explanation = calloc(1, sizeof(*explanation));
    /* One block, freed by `low`. */
    float *block = calloc(n_ranges + n_jumps + n_precision + n_correlation, sizeof(*block));

    if (!explanation || !block) {
        free(explanation);
        free(block);
        return NULL;
    }
    *explanation = (struct explanation){.n_features = n,
                                        .low = block,
                                        .high = block + n,
                                        .usual_low = block + 2 * n,
                                        .usual_high = block + 3 * n,
                                        .jumps = block + n_ranges};
    if (with_precision) {
        explanation->precision = block + n_ranges + n_jumps;
        explanation->deviation = explanation->precision + n * n;
    }
    if (n_correlation > 0)
        explanation->correlation = explanation->precision + n_precision;
    return explanation;
}

void explanation_free(struct explanation *explanation)
{
    if (!explanation)
        return;
    free(explanation->low);
    free(explanation);
}

static double correlate(const double *covariance, size_t n, size_t i, size_t j)
{
    const double a = covariance[i * n + i] - RIDGE, b = covariance[j * n + j] - RIDGE;
    const double correlation = covariance[i * n + j] / sqrt(a * b);

    if (i == j || !(a > LEAST_VARIANCE) || !(b > LEAST_VARIANCE) || !isfinite(correlation))
        return 0.0;
    return fmin(fmax(correlation, -MOST_CORRELATION), MOST_CORRELATION);
}

/* What follows from P. */
static int finish(struct explanation *explanation)
{
    const size_t n = explanation->n_features;

    for (size_t i = 0; i < n; i++)
        explanation->deviation[i] = 1.0F / sqrtf(explanation->precision[i * n + i]);
    if (!explanation->correlation)
        return 0;
    AUTO_FREE double *precision = malloc(2 * n * n * sizeof(*precision));
    if (!precision)
        return -ENOMEM;
    double *const covariance = precision + n * n;
    for (size_t k = 0; k < n * n; k++)
        precision[k] = (double)explanation->precision[k];
    int r = covariance_invert(precision, n, covariance);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            explanation->correlation[i * n + j] = (float)correlate(covariance, n, i, j);
    return 0;
}

/* Each step-th row. */
static float *spread_rows(const float *rows, size_t n_rows, size_t n, size_t step)
{
    float *spread = malloc((n_rows / step + 1) * n * sizeof(*spread));

    for (size_t i = 0; spread && i * step < n_rows; i++)
        memcpy(spread + i * n, rows + i * step * n, n * sizeof(*rows));
    return spread;
}

static int fit_precision(struct explanation *explanation, const float *rows, size_t n_rows)
{
    const size_t n = explanation->n_features;
    AUTO_FREE double *covariance = malloc((2 * n + 1) * n * sizeof(*covariance));
    if (!covariance)
        return -ENOMEM;
    double *const inverse = covariance + n * n, *const mean = inverse + n * n;

    int r = covariance_ledoit_wolf(rows, n_rows, n, mean, covariance, NULL);
    for (size_t i = 0; r == 0 && i < n; i++)
        covariance[i * n + i] += RIDGE;
    if (r == 0)
        r = covariance_invert(covariance, n, inverse);
    if (r < 0)
        return r == -EINVAL ? -EDOM : r;
    for (size_t k = 0; k < n * n; k++)
        explanation->precision[k] = (float)inverse[k];
    r = finish(explanation);
    return r == -EINVAL ? -EDOM : r;
}

static int fit_usual(struct explanation *explanation, const float *spread, size_t n_spread)
{
    const size_t n = explanation->n_features;
    AUTO_FREE float *values = malloc(2 * n_spread * sizeof(*values));
    if (!values)
        return -ENOMEM;

    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < n_spread; i++)
            values[i] = spread[i * n + j];
        sort_floats(values, n_spread, values + n_spread);
        explanation->usual_low[j] = values[(size_t)(0.01 * (double)(n_spread - 1))];
        explanation->usual_high[j] = values[(size_t)ceil(0.99 * (double)(n_spread - 1))];
    }
    return 0;
}

static void find_range(struct explanation *explanation, const float *rows, size_t n_rows)
{
    const size_t n = explanation->n_features;

    memcpy(explanation->low, rows, n * sizeof(*rows));
    memcpy(explanation->high, rows, n * sizeof(*rows));
    for (size_t i = 1; i < n_rows; i++)
        for (size_t j = 0; j < n; j++) {
            explanation->low[j] = fminf(explanation->low[j], rows[i * n + j]);
            explanation->high[j] = fmaxf(explanation->high[j], rows[i * n + j]);
        }
}

int explanation_fit(const float *rows, size_t n_rows, size_t n_features,
                    struct explanation **ret_explanation)
{
    assert(rows && n_rows > 0 && n_features > 0 && ret_explanation);
    const size_t step = (n_rows + MOST_ROWS - 1) / MOST_ROWS;
    const size_t n_spread = (n_rows + step - 1) / step;
    CLEANUP(explanation_freep)
    struct explanation *explanation = allocate(n_features, n_features <= EXPLANATION_MAX_FEATURES);
    AUTO_FREE float *own = step > 1 ? spread_rows(rows, n_rows, n_features, step) : NULL;
    const float *spread = step > 1 ? own : rows;
    if (!explanation || !spread)
        return -ENOMEM;

    find_range(explanation, rows, n_rows);
    int r = fit_usual(explanation, spread, n_spread);
    if (r == 0 && explanation->precision)
        r = fit_precision(explanation, spread, n_spread);
    if (r == 0)
        r = movement_find_jumps(rows, n_rows, n_features, explanation->jumps);
    if (r < 0)
        return r;
    *ret_explanation = TAKE(explanation);
    return 0;
}

static bool is_sane(const struct explanation *explanation)
{
    const size_t n = explanation->n_features;
    const float *precision = explanation->precision;

    for (size_t j = 0; j < n; j++)
        if (!isfinite(explanation->low[j]) || !isfinite(explanation->high[j]) ||
            !(explanation->low[j] <= explanation->usual_low[j]) ||
            !(explanation->usual_low[j] <= explanation->usual_high[j]) ||
            !(explanation->usual_high[j] <= explanation->high[j]))
            return false;
    for (size_t k = 0; k < MOVEMENT_WINDOWS * n; k++)
        if (!isfinite(explanation->jumps[k]) || explanation->jumps[k] < 0.0F)
            return false;
    for (size_t i = 0; precision && i < n; i++) {
        if (!(precision[i * n + i] > 0.0F) || !isfinite(1.0F / precision[i * n + i]))
            return false;
        for (size_t j = 0; j < n; j++)
            if (!isfinite(precision[i * n + j]) || precision[i * n + j] != precision[j * n + i])
                return false;
    }
    return true;
}

int explanation_new(const float *precision, const float *ranges, const float *jumps,
                    size_t n_features, struct explanation **ret_explanation)
{
    assert(ranges && jumps && n_features > 0 && ret_explanation);
    const size_t n = n_features;
    CLEANUP(explanation_freep) struct explanation *explanation = allocate(n, precision != NULL);
    if (!explanation)
        return -ENOMEM;

    memcpy(explanation->low, ranges, 4 * n * sizeof(*ranges));
    memcpy(explanation->jumps, jumps, MOVEMENT_WINDOWS * n * sizeof(*jumps));
    if (precision)
        memcpy(explanation->precision, precision, n * n * sizeof(*precision));
    if (!is_sane(explanation))
        return -EINVAL;
    int r = precision ? finish(explanation) : 0;
    if (r < 0)
        return r;
    *ret_explanation = TAKE(explanation);
    return 0;
}

/* ---- what is missing ---- */

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0.0F;

    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

void explanation_impute(const struct explanation *explanation, const float *row, float *z)
{
    const size_t n = explanation->n_features;
    float moved = INFINITY;
    assert(explanation->precision);

    for (size_t k = 0; k < IMPUTE_SWEEPS && moved > IMPUTE_SETTLED; k++) {
        moved = 0.0F;
        for (size_t i = 0; i < n; i++) {
            const float deviation = explanation->deviation[i];
            if (!isnan(row[i]))
                continue;
            const float gradient = dot(explanation->precision + i * n, z, n);
            const float mean = z[i] - gradient * deviation * deviation;
            const float within = fminf(fmaxf(mean, explanation->low[i]), explanation->high[i]);
            moved = fmaxf(moved, fabsf(within - z[i]));
            z[i] = within;
        }
    }
}

/* ---- the faults of a row ---- */

/* A row on its way: z = normal + fault, gradient = P (z - fault). */
struct taken_apart {
    const struct explanation *explanation;
    const bool *is_missing;
    float *fault, *gradient; /* [n_features] */
};

/* gradient += factor · P[i] */
static void add_row(const struct taken_apart *row, size_t i, float factor)
{
    const size_t n = row->explanation->n_features;

    vector_add(row->gradient, factor, row->explanation->precision + i * n, n);
}

/* u: how far feature i is from its mean given the others without their faults. */
static float distance_of(const struct taken_apart *row, size_t i)
{
    const float deviation = row->explanation->deviation[i];

    return row->fault[i] + row->gradient[i] * deviation * deviation;
}

enum reduction {
    DRAWN_TO_ZERO, /* a fault counts from `by` on, and as much less */
    KEPT_WHOLE     /* from `by` on, and then all of it */
};

/* At most n_sweeps times over all features; what is missing takes what the others want. Most have
 * no fault and get none: that is told first. */
static void sweep(struct taken_apart *row, size_t n_sweeps, enum reduction reduction, float by)
{
    const struct explanation *explanation = row->explanation;
    const float *deviations = explanation->deviation;
    size_t n_steps = 0;
    bool has_changed = true;

    for (size_t k = 0; k < n_sweeps && has_changed; k++) {
        has_changed = false;
        for (size_t i = 0; i < explanation->n_features; i++) {
            const float deviation = deviations[i], was = row->fault[i];
            const float least = by * deviation, u = distance_of(row, i);
            const bool is_free = row->is_missing[i];
            if (was == 0.0F && fabsf(u) <= least && !is_free)
                continue;
            const float drawn = copysignf(fmaxf(fabsf(u) - least, 0.0F), u);
            const float whole = fabsf(u) > least ? u : 0.0F;
            const float fault = is_free ? u : reduction == KEPT_WHOLE ? whole : drawn;
            if (!(fabsf(fault - was) > SETTLED * deviation))
                continue;
            if (++n_steps > MOST_STEPS)
                return;
            add_row(row, i, was - fault);
            row->fault[i] = fault;
            has_changed = true;
        }
    }
}

/* What training has never seen is a fault before anything else is: of two features that contradict
 * each other it is the one to blame, and the other must not be moved to fit it. */
static void free_unheard_of(struct taken_apart *row, const float *z)
{
    const struct explanation *explanation = row->explanation;
    const size_t n = explanation->n_features;
    size_t n_steps = 0;

    for (size_t k = 0; k < UNHEARD_OF_SWEEPS; k++)
        for (size_t i = 0; i < n && n_steps < MOST_STEPS; i++) {
            if (!row->is_missing[i] && z[i] >= explanation->low[i] && z[i] <= explanation->high[i])
                continue;
            const float fault = distance_of(row, i);
            add_row(row, i, row->fault[i] - fault);
            row->fault[i] = fault;
            n_steps++;
        }
}

size_t explanation_scratch_floats(const struct explanation *explanation)
{
    return 4 * explanation->n_features;
}

const float *explanation_freed(const struct explanation *explanation, const float *scratch)
{
    return scratch + 2 * explanation->n_features;
}

static void find_unusual(struct taken_apart *row, float *ret_unusual)
{
    const struct explanation *explanation = row->explanation;

    sweep(row, SPARSE_SWEEPS, DRAWN_TO_ZERO, SPARSE);
    for (size_t i = 0; i < explanation->n_features; i++)
        ret_unusual[i] =
            fminf(fabsf(distance_of(row, i)) / explanation->deviation[i], MOST_UNUSUAL);
}

static void find_expected(struct taken_apart *row, const float *z, float *ret_expected)
{
    const struct explanation *explanation = row->explanation;

    sweep(row, SPARSE_SWEEPS, DRAWN_TO_ZERO, SPARSE_FIRST);
    sweep(row, WHOLE_SWEEPS, KEPT_WHOLE, SPARSE);
    for (size_t i = 0; i < explanation->n_features; i++)
        ret_expected[i] =
            fminf(fmaxf(z[i] - distance_of(row, i), explanation->low[i]), explanation->high[i]);
}

void explanation_find_faults(const struct explanation *explanation, float *scratch, const float *z,
                             const bool *is_missing, float *ret_unusual, float *ret_expected)
{
    const size_t n = explanation->n_features;
    float *const begin = scratch + 2 * n; /* explanation_freed() */
    struct taken_apart row = {explanation, is_missing, scratch, scratch + n};
    assert(explanation->precision);

    memset(row.fault, 0, n * sizeof(*row.fault));
    blas_multiply_symmetric(explanation->precision, n, z, row.gradient);
    free_unheard_of(&row, z);
    memcpy(begin, scratch, 2 * n * sizeof(*begin));
    if (ret_unusual)
        find_unusual(&row, ret_unusual);
    if (!ret_expected)
        return;
    memcpy(scratch, begin, 2 * n * sizeof(*begin));
    find_expected(&row, z, ret_expected);
}
