#include "detector/rank_gauss.h"

#include "base/sort.h"
#include "nn/vector.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_RANK 1e-4 /* and 1 - this: the outermost quantiles are ±3.72 */
#define N_COARSE   (RANK_GAUSS_KNOTS / RANK_GAUSS_STEP)

static double horner(double x, const double *coefficients, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++)
        sum = sum * x + coefficients[i];
    return sum;
}

double rank_gauss_quantile(double p)
{
    /* P. J. Acklam, "An algorithm for computing the inverse normal cumulative distribution
     * function", 2003. */
    static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,
                               -2.759285104469687e+02, 1.383577518672690e+02,
                               -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02,
                               -1.556989798598866e+02, 6.680131188771972e+01,
                               -1.328068155288572e+01, 1.0};
    static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01,
                               -2.400758277161838e+00, -2.549732539343734e+00,
                               4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                               3.754408661907416e+00, 1.0};
    assert(p > 0.0 && p < 1.0);
    double x;

    if (p > 0.5)
        return -rank_gauss_quantile(1.0 - p);
    if (p < 0.02425) {
        const double q = sqrt(-2.0 * log(p));
        x = horner(q, c, 6) / horner(q, d, 5);
    } else {
        const double q = p - 0.5, r = q * q;
        x = horner(r, a, 6) * q / horner(r, b, 6);
    }
    const double off = 0.5 * erfc(-x / M_SQRT2) - p;
    const double u = off * sqrt(2.0 * M_PI) * exp(0.5 * x * x);
    return x - u / (1.0 + 0.5 * x * u);
}

static struct rank_gauss *allocate(size_t n_features)
{
    struct rank_gauss *rank_gauss = calloc(1, sizeof(*rank_gauss));

    if (!rank_gauss)
        return NULL;
    rank_gauss->n_features = n_features;
    /* One block, freed by the first. */
    rank_gauss->values =
        calloc(n_features, ((size_t)3 * RANK_GAUSS_KNOTS + N_COARSE) * sizeof(float));
    if (!rank_gauss->values) {
        free(rank_gauss);
        return NULL;
    }
    rank_gauss->quantiles = rank_gauss->values + n_features * RANK_GAUSS_KNOTS;
    rank_gauss->slopes = rank_gauss->quantiles + n_features * RANK_GAUSS_KNOTS;
    rank_gauss->coarse = rank_gauss->slopes + n_features * RANK_GAUSS_KNOTS;
    return rank_gauss;
}

void rank_gauss_free(struct rank_gauss *rank_gauss)
{
    if (!rank_gauss)
        return;
    free(rank_gauss->values);
    free(rank_gauss);
}

/* Distinct values and their mid-ranks' normal quantiles; returns how many. sorted[n] is
 * overwritten by the values. */
static size_t find_distinct(float *sorted, size_t n, float *quantiles)
{
    size_t n_distinct = 0;

    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && sorted[end] == sorted[i];)
            end++;
        const double rank = 0.5 * (double)(i + end) / (double)n;
        sorted[n_distinct] = sorted[i];
        quantiles[n_distinct++] =
            (float)rank_gauss_quantile(fmin(fmax(rank, LEAST_RANK), 1.0 - LEAST_RANK));
    }
    return n_distinct;
}

static void fit_feature(struct rank_gauss *rank_gauss, size_t feature, float *sorted,
                        float *quantiles, size_t n)
{
    float *values = rank_gauss->values + feature * RANK_GAUSS_KNOTS;
    float *out = rank_gauss->quantiles + feature * RANK_GAUSS_KNOTS;
    const size_t n_distinct = find_distinct(sorted, n, quantiles);
    const double step = (double)(n_distinct - 1) / (RANK_GAUSS_KNOTS - 1);

    for (size_t k = 0; k < RANK_GAUSS_KNOTS; k++) {
        const size_t i = n_distinct > RANK_GAUSS_KNOTS ? (size_t)lrint((double)k * step)
                         : k < n_distinct              ? k
                                                       : n_distinct - 1;
        values[k] = sorted[i];
        out[k] = quantiles[i];
    }
}

/* Between equal values (repeated knots) and behind the last one the curve rises by 1 a deviation.
 */
static void finish(struct rank_gauss *rank_gauss)
{
    for (size_t i = 0; i < rank_gauss->n_features * RANK_GAUSS_KNOTS; i++) {
        const bool last = (i + 1) % RANK_GAUSS_KNOTS == 0;
        const float width = last ? 0.0F : rank_gauss->values[i + 1] - rank_gauss->values[i];
        const float height = last ? 0.0F : rank_gauss->quantiles[i + 1] - rank_gauss->quantiles[i];
        rank_gauss->slopes[i] = width > 0.0F ? fminf(height / width, FLT_MAX) : 1.0F;
    }
    for (size_t i = 0; i < rank_gauss->n_features * N_COARSE; i++)
        rank_gauss->coarse[i] = rank_gauss->values[i * RANK_GAUSS_STEP];
}

int rank_gauss_fit(const float *rows, size_t n_rows, size_t n_features,
                   struct rank_gauss **ret_rank_gauss)
{
    assert(rows && n_rows > 0 && n_features > 0 && ret_rank_gauss);
    CLEANUP(rank_gauss_freep) struct rank_gauss *rank_gauss = allocate(n_features);
    AUTO_FREE float *values = malloc(2 * n_rows * sizeof(*values));
    if (!rank_gauss || !values)
        return -ENOMEM;

    for (size_t j = 0; j < n_features; j++) {
        for (size_t i = 0; i < n_rows; i++)
            values[i] = rows[i * n_features + j];
        sort_floats(values, n_rows, values + n_rows);
        fit_feature(rank_gauss, j, values, values + n_rows, n_rows);
    }
    finish(rank_gauss);
    *ret_rank_gauss = TAKE(rank_gauss);
    return 0;
}

int rank_gauss_new(const float *values, const float *quantiles, size_t n_features,
                   struct rank_gauss **ret_rank_gauss)
{
    assert(values && quantiles && n_features > 0 && ret_rank_gauss);
    const size_t n = n_features * RANK_GAUSS_KNOTS;

    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i]) || !isfinite(quantiles[i]))
            return -EINVAL;
        if (i % RANK_GAUSS_KNOTS > 0 &&
            (values[i] < values[i - 1] || quantiles[i] < quantiles[i - 1]))
            return -EINVAL;
    }
    struct rank_gauss *rank_gauss = allocate(n_features);
    if (!rank_gauss)
        return -ENOMEM;
    memcpy(rank_gauss->values, values, n * sizeof(float));
    memcpy(rank_gauss->quantiles, quantiles, n * sizeof(float));
    finish(rank_gauss);
    *ret_rank_gauss = rank_gauss;
    return 0;
}

/* The last of sorted[n] that is not above z, or the first. Compares all, which vectors do at once:
 * that is quicker than to halve. */
static inline __attribute__((always_inline)) size_t last_not_above(const float *sorted, size_t n,
                                                                   float z)
{
    unsigned n_not_above = 0; /* as wide as a float */

    for (size_t i = 0; i < n; i++)
        n_not_above += sorted[i] <= z;
    return n_not_above > 0 ? n_not_above - 1 : 0;
}

VECTOR_CLONES
void rank_gauss_apply(const struct rank_gauss *rank_gauss, const float *row, float *out)
{
    for (size_t j = 0; j < rank_gauss->n_features; j++) {
        const size_t begin = j * RANK_GAUSS_KNOTS;
        const float *values = rank_gauss->values + begin;
        const float z = row[j];
        const size_t first =
            RANK_GAUSS_STEP * last_not_above(rank_gauss->coarse + j * N_COARSE, N_COARSE, z);
        const size_t knot = first + last_not_above(values + first, RANK_GAUSS_STEP, z);

        const float slope = z < values[0] ? 1.0F : rank_gauss->slopes[begin + knot];
        out[j] = rank_gauss->quantiles[begin + knot] + (z - values[knot]) * slope;
    }
}
