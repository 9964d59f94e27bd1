#include "detector/residual.h"

#include "base/sort.h"
#include "nn/covariance.h"
#include "nn/norm.h"
#include "nn/packed.h"
#include "nn/pca.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_VARIANCE 1e-3 /* of standardised values: what never varied must not divide by 0 */
#define LEAST_SCALE    1e-9

static struct residual *allocate(size_t n_values, size_t n_directions)
{
    CLEANUP(residual_freep) struct residual *residual = calloc(1, sizeof(*residual));
    if (!residual)
        return NULL;
    residual->n_values = n_values;
    residual->n_directions = n_directions;
    residual->mean = calloc(n_values, sizeof(float));
    residual->std = calloc(n_values, sizeof(float));
    residual->inv_std = calloc(n_values, sizeof(float));
    residual->whitening = calloc(n_directions, n_values * sizeof(float));
    if (n_directions < n_values)
        residual->variances = calloc(n_directions, sizeof(float));
    if (!residual->mean || !residual->std || !residual->inv_std || !residual->whitening ||
        (n_directions < n_values && !residual->variances))
        return NULL;
    return TAKE(residual);
}

void residual_free(struct residual *residual)
{
    if (!residual)
        return;
    free(residual->mean);
    free(residual->std);
    free(residual->inv_std);
    free(residual->whitening);
    free(residual->variances);
    packed_free(residual->packed);
    free(residual);
}

/* What follows from the kept numbers: whitening · (r - mean) as one matrix and bias. */
static int finish(struct residual *residual)
{
    const size_t n = residual->n_values;
    AUTO_FREE float *bias = calloc(residual->n_directions, sizeof(*bias));
    if (!bias)
        return -ENOMEM;

    for (size_t i = 0; i < residual->n_directions; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < n; j++)
            sum -= (double)residual->whitening[i * n + j] * (double)residual->mean[j];
        bias[i] = (float)sum;
    }
    for (size_t j = 0; j < n; j++)
        residual->inv_std[j] = 1.0F / residual->std[j];
    return packed_new(residual->whitening, bias, n, residual->n_directions, &residual->packed);
}

/* Mean and population variance of each column. */
static void column_variances(const float *rows, size_t n_rows, size_t n, double *mean,
                             double *variance)
{
    memset(mean, 0, n * sizeof(*mean));
    memset(variance, 0, n * sizeof(*variance));
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n; j++)
            mean[j] += (double)rows[i * n + j];
    for (size_t j = 0; j < n; j++)
        mean[j] /= (double)n_rows;
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n; j++) {
            const double off = (double)rows[i * n + j] - mean[j];
            variance[j] += off * off;
        }
    for (size_t j = 0; j < n; j++)
        variance[j] /= (double)n_rows;
}

/* The mean is that of the trained rows; a network varies more on rows it has not seen, so the
 * deviation is of both. */
static int fit_moments(struct residual *residual, const float *trained, size_t n_trained,
                       const float *held, size_t n_held)
{
    const size_t n = residual->n_values;
    AUTO_FREE double *moments = calloc(4 * n, sizeof(*moments));
    if (!moments)
        return -ENOMEM;

    column_variances(trained, n_trained, n, moments, moments + n);
    column_variances(held, n_held, n, moments + 2 * n, moments + 3 * n);
    for (size_t j = 0; j < n; j++) {
        residual->mean[j] = (float)moments[j];
        residual->std[j] =
            (float)sqrt((moments[n + j] + moments[3 * n + j]) / 2.0 + LEAST_VARIANCE);
    }
    return 0;
}

static int fit_triangle(struct residual *residual, const float *trained, size_t n_trained)
{
    const size_t n = residual->n_values;
    AUTO_FREE double *mean = calloc(n, sizeof(*mean));
    AUTO_FREE double *covariance = calloc(n * n, sizeof(*covariance));
    AUTO_FREE double *whitening = calloc(n * n, sizeof(*whitening));
    if (!mean || !covariance || !whitening)
        return -ENOMEM;

    int r = covariance_ledoit_wolf(trained, n_trained, n, mean, covariance, NULL);
    if (r == 0)
        r = covariance_whiten(covariance, n, whitening);
    if (r < 0)
        return r == -EINVAL ? -EDOM : r;
    for (size_t i = 0; i < n * n; i++)
        residual->whitening[i] = (float)whitening[i];
    return 0;
}

static int fit_top(struct residual *residual, const float *trained, size_t n_trained)
{
    const size_t n = residual->n_values, k = residual->n_directions;
    double values[RESIDUAL_TOP_DIRECTIONS], trace, top = 0.0;

    int r = pca_fit(trained, n_trained, n, k, residual->mean, residual->whitening, values, &trace);
    if (r < 0)
        return r;
    for (size_t i = 0; i < k; i++)
        top += values[i];
    residual->rest_variance = fmax((trace - top) / (double)(n - k), LEAST_VARIANCE);
    for (size_t i = 0; i < k; i++) {
        residual->variances[i] = (float)fmax(values[i], residual->rest_variance);
        for (size_t j = 0; j < n; j++)
            residual->whitening[i * n + j] /= sqrtf(residual->variances[i]);
    }
    return 0;
}

size_t residual_scratch_floats(const struct residual *residual, size_t n_rows)
{
    return n_rows * packed_stride(residual->packed) + residual->n_values;
}

/* Squared Mahalanobis distance from white = whitening · (r - mean). */
static double whitened_squares(const struct residual *residual, const float *white, const float *r,
                               float *off)
{
    double squares = norm_squares(white, residual->n_directions);

    if (!residual->variances)
        return squares;
    for (size_t j = 0; j < residual->n_values; j++)
        off[j] = r[j] - residual->mean[j];
    double rest = norm_squares(off, residual->n_values);
    for (size_t i = 0; i < residual->n_directions; i++)
        rest -= (double)residual->variances[i] * (double)white[i] * (double)white[i];
    return squares + fmax(rest, 0.0) / residual->rest_variance;
}

/* The three distances of one row, not yet over their medians. */
static void raw_distances(const struct residual *residual, const float *white, const float *r,
                          float *off, double ret_distances[3])
{
    const size_t n = residual->n_values;

    ret_distances[0] = sqrt(norm_squares(r, n));
    ret_distances[1] = sqrt(norm_scaled_squares(r, residual->inv_std, n));
    ret_distances[2] = sqrt(whitened_squares(residual, white, r, off));
}

static int fit_scales(struct residual *residual, const float *held, size_t n_held)
{
    const size_t n = residual->n_values;
    AUTO_FREE double *distances = calloc(3 * n_held, sizeof(*distances));
    AUTO_FREE float *scratch = calloc(residual_scratch_floats(residual, 1), sizeof(*scratch));
    if (!distances || !scratch)
        return -ENOMEM;

    for (size_t i = 0; i < n_held; i++) {
        double found[3];
        packed_multiply(residual->packed, scratch, held + i * n, n, 1);
        raw_distances(residual, scratch, held + i * n, scratch + packed_stride(residual->packed),
                      found);
        for (size_t kind = 0; kind < 3; kind++)
            distances[kind * n_held + i] = found[kind];
    }
    for (size_t kind = 0; kind < 3; kind++)
        residual->scales[kind] = sort_median(distances + kind * n_held, n_held) + LEAST_SCALE;
    return 0;
}

int residual_fit(const float *trained, size_t n_trained, const float *held, size_t n_held,
                 size_t n_values, struct residual **ret_residual)
{
    assert(trained && held && n_trained > 0 && n_held > 0 && n_values > 0 && ret_residual);
    const bool triangle = n_values <= RESIDUAL_MAX_WHITENED;
    CLEANUP(residual_freep)
    struct residual *residual = allocate(n_values, triangle ? n_values : RESIDUAL_TOP_DIRECTIONS);
    if (!residual)
        return -ENOMEM;

    int r = fit_moments(residual, trained, n_trained, held, n_held);
    if (r == 0)
        r = triangle ? fit_triangle(residual, trained, n_trained)
                     : fit_top(residual, trained, n_trained);
    if (r == 0)
        r = finish(residual);
    if (r == 0)
        r = fit_scales(residual, held, n_held);
    if (r < 0)
        return r;
    *ret_residual = TAKE(residual);
    return 0;
}

static bool all_finite(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

static bool all_positive(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(values[i] > 0.0F) || !isfinite(1.0F / values[i]) || !isfinite(values[i]))
            return false;
    return true;
}

int residual_new(const struct residual_parts *parts, struct residual **ret_residual)
{
    const size_t n = parts->n_values, k = parts->n_directions;
    assert(n > 0 && k > 0 && k <= n && (k == n) == !parts->variances);

    if (!all_finite(parts->mean, n) || !all_positive(parts->std, n) ||
        !all_finite(parts->whitening, k * n))
        return -EINVAL;
    if (k < n && (!all_positive(parts->variances, k) || !isfinite(parts->rest_variance) ||
                  !(parts->rest_variance > 0.0)))
        return -EINVAL;
    for (size_t kind = 0; kind < 3; kind++)
        if (!(parts->scales[kind] > 0.0) || !isfinite(parts->scales[kind]))
            return -EINVAL;

    CLEANUP(residual_freep) struct residual *residual = allocate(n, k);
    if (!residual)
        return -ENOMEM;
    memcpy(residual->mean, parts->mean, n * sizeof(float));
    memcpy(residual->std, parts->std, n * sizeof(float));
    memcpy(residual->whitening, parts->whitening, k * n * sizeof(float));
    if (k < n)
        memcpy(residual->variances, parts->variances, k * sizeof(float));
    residual->rest_variance = parts->rest_variance;
    memcpy(residual->scales, parts->scales, sizeof(residual->scales));
    int r = finish(residual);
    if (r < 0)
        return r;
    *ret_residual = TAKE(residual);
    return 0;
}

void residual_distances(const struct residual *residual, float *scratch, const float *residuals,
                        size_t stride, size_t n_rows, double *ret_distances)
{
    const size_t white_stride = packed_stride(residual->packed);
    float *off = scratch + n_rows * white_stride;

    packed_multiply(residual->packed, scratch, residuals, stride, n_rows);
    for (size_t i = 0; i < n_rows; i++) {
        double found[3], sum = 0.0;
        raw_distances(residual, scratch + i * white_stride, residuals + i * stride, off, found);
        for (size_t kind = 0; kind < 3; kind++)
            sum += found[kind] / residual->scales[kind];
        ret_distances[i] = sum / 3.0;
    }
}
