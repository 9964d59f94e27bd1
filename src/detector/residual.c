#include "detector/residual.h"

#include "base/sort.h"
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
#define LEAST_SCALE    0.05 /* where rows are copied to the last bit, rounding must not decide */
#define SHRINKAGE      0.3  /* of the covariance towards a sphere */

static struct residual *allocate(size_t n_values, size_t n_directions)
{
    CLEANUP(residual_freep) struct residual *residual = calloc(1, sizeof(*residual));
    if (!residual)
        return NULL;
    residual->n_values = n_values;
    residual->n_directions = n_directions;
    residual->mean = calloc(n_values, sizeof(float));
    residual->whitening = calloc(n_directions, n_values * sizeof(float));
    residual->variances = calloc(n_directions, sizeof(float));
    if (!residual->mean || !residual->whitening || !residual->variances)
        return NULL;
    return TAKE(residual);
}

void residual_free(struct residual *residual)
{
    if (!residual)
        return;
    free(residual->mean);
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
    return packed_new(residual->whitening, bias, n, residual->n_directions, &residual->packed);
}

static int fit_directions(struct residual *residual, const float *trained, size_t n_trained)
{
    const size_t n = residual->n_values, k = residual->n_directions;
    double values[RESIDUAL_DIRECTIONS], trace, top = 0.0;

    int r = pca_fit(trained, n_trained, n, k, residual->mean, residual->whitening, values, &trace);
    if (r < 0)
        return r;
    const double ridge = SHRINKAGE * trace / (double)n;
    for (size_t i = 0; i < k; i++)
        top += values[i];
    const double rest = (trace - top) / fmax((double)(n - k), 1.0);
    residual->rest_variance = fmax((1.0 - SHRINKAGE) * rest + ridge, LEAST_VARIANCE);
    for (size_t i = 0; i < k; i++) {
        residual->variances[i] =
            (float)fmax((1.0 - SHRINKAGE) * values[i] + ridge, residual->rest_variance);
        for (size_t j = 0; j < n; j++)
            residual->whitening[i * n + j] /= sqrtf(residual->variances[i]);
    }
    return 0;
}

size_t residual_scratch_floats(const struct residual *residual, size_t n_rows)
{
    return n_rows * packed_stride(residual->packed) + residual->n_values;
}

/* The distance, not yet over its median, from white = whitening · (r - mean). */
static double raw_distance(const struct residual *residual, const float *white, const float *r,
                           float *off)
{
    const double squares = norm_squares(white, residual->n_directions);

    for (size_t j = 0; j < residual->n_values; j++)
        off[j] = r[j] - residual->mean[j];
    double rest = norm_squares(off, residual->n_values);
    for (size_t i = 0; i < residual->n_directions; i++)
        rest -= (double)residual->variances[i] * (double)white[i] * (double)white[i];
    return sqrt(squares + fmax(rest, 0.0) / residual->rest_variance);
}

static int fit_scale(struct residual *residual, const float *held, size_t n_held)
{
    const size_t n = residual->n_values;
    AUTO_FREE double *distances = calloc(n_held, sizeof(*distances));
    AUTO_FREE float *scratch = calloc(residual_scratch_floats(residual, 1), sizeof(*scratch));
    if (!distances || !scratch)
        return -ENOMEM;

    residual->scale = 1.0;
    for (size_t i = 0; i < n_held; i++)
        residual_distances(residual, scratch, held + i * n, n, 1, &distances[i]);
    residual->scale = fmax(sort_median(distances, n_held), LEAST_SCALE);
    return 0;
}

int residual_fit(const float *trained, size_t n_trained, const float *held, size_t n_held,
                 size_t n_values, struct residual **ret_residual)
{
    assert(trained && held && n_trained > 0 && n_held > 0 && n_values > 0 && ret_residual);
    const size_t half = n_values > 1 ? n_values / 2 : 1;
    CLEANUP(residual_freep)
    struct residual *residual =
        allocate(n_values, half < RESIDUAL_DIRECTIONS ? half : RESIDUAL_DIRECTIONS);
    if (!residual)
        return -ENOMEM;

    int r = fit_directions(residual, trained, n_trained);
    if (r == 0)
        r = finish(residual);
    if (r == 0)
        r = fit_scale(residual, held, n_held);
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

static bool is_positive(double value)
{
    return value > 0.0 && isfinite(value);
}

static bool all_positive(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_positive((double)values[i]))
            return false;
    return true;
}

int residual_new(const struct residual_parts *parts, struct residual **ret_residual)
{
    const size_t n = parts->n_values, k = parts->n_directions;
    assert(n > 0 && k > 0 && k <= n);

    if (!all_finite(parts->mean, n) || !all_finite(parts->whitening, k * n) ||
        !all_positive(parts->variances, k) || !is_positive(parts->rest_variance) ||
        !is_positive(parts->scale))
        return -EINVAL;

    CLEANUP(residual_freep) struct residual *residual = allocate(n, k);
    if (!residual)
        return -ENOMEM;
    memcpy(residual->mean, parts->mean, n * sizeof(float));
    memcpy(residual->whitening, parts->whitening, k * n * sizeof(float));
    memcpy(residual->variances, parts->variances, k * sizeof(float));
    residual->rest_variance = parts->rest_variance;
    residual->scale = parts->scale;
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
    for (size_t i = 0; i < n_rows; i++)
        ret_distances[i] =
            raw_distance(residual, scratch + i * white_stride, residuals + i * stride, off) /
            residual->scale;
}
