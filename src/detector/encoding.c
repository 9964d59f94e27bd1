#include "detector/encoding.h"

#include "base/sort.h"
#include "detector/rank_gauss.h"
#include "detector/scaler.h"
#include "nn/vector.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NO_KURTOSIS 1000.0 /* of a constant feature */

int encoding_new(const float *gain, const float *shift, size_t n_features,
                 struct rank_gauss *rank_gauss, struct encoding **ret_encoding)
{
    assert(gain && shift && n_features > 0 && ret_encoding);
    CLEANUP(rank_gauss_freep) struct rank_gauss *ranks = rank_gauss;
    CLEANUP(encoding_freep) struct encoding *encoding = calloc(1, sizeof(*encoding));

    for (size_t j = 0; j < n_features; j++)
        if (!isfinite(gain[j]) || !isfinite(shift[j]))
            return -EINVAL;
    if (!encoding)
        return -ENOMEM;
    encoding->n_features = n_features;
    encoding->n_values = ranks ? 2 * n_features : n_features;
    encoding->gain = malloc(n_features * sizeof(float));
    encoding->shift = malloc(n_features * sizeof(float));
    if (!encoding->gain || !encoding->shift)
        return -ENOMEM;
    memcpy(encoding->gain, gain, n_features * sizeof(float));
    memcpy(encoding->shift, shift, n_features * sizeof(float));
    encoding->rank_gauss = TAKE(ranks);
    *ret_encoding = TAKE(encoding);
    return 0;
}

void encoding_free(struct encoding *encoding)
{
    if (!encoding)
        return;
    free(encoding->gain);
    free(encoding->shift);
    rank_gauss_free(encoding->rank_gauss);
    free(encoding);
}

int encoding_new_standard(size_t n_features, struct encoding **ret_encoding)
{
    AUTO_FREE float *gain = malloc(n_features * sizeof(*gain));
    AUTO_FREE float *shift = calloc(n_features, sizeof(*shift));

    if (!gain || !shift)
        return -ENOMEM;
    for (size_t j = 0; j < n_features; j++)
        gain[j] = 1.0F;
    return encoding_new(gain, shift, n_features, NULL, ret_encoding);
}

int encoding_new_bounded(const struct scaler *scaler, const bool *bounded,
                         struct encoding **ret_encoding)
{
    const size_t n_features = scaler_n_features(scaler);
    AUTO_FREE float *gain = malloc(n_features * sizeof(*gain));
    AUTO_FREE float *shift = malloc(n_features * sizeof(*shift));

    if (!gain || !shift)
        return -ENOMEM;
    for (size_t j = 0; j < n_features; j++) {
        gain[j] = bounded[j] ? scaler_std(scaler)[j] : 1.0F; /* undoes the scaler */
        shift[j] = bounded[j] ? scaler_mean(scaler)[j] : 0.0F;
    }
    return encoding_new(gain, shift, n_features, NULL, ret_encoding);
}

/* Linear between order statistics, as numpy.percentile. */
static double percentile(const float *sorted, size_t n, double percent)
{
    const double at = percent / 100.0 * (double)(n - 1);
    const size_t i = (size_t)at;
    const double rest = at - (double)i;

    return i + 1 < n ? (1.0 - rest) * (double)sorted[i] + rest * (double)sorted[i + 1]
                     : (double)sorted[i];
}

/* Fourth moment over squared second one: 3 for a normal distribution. */
static double clipped_kurtosis(const float *sorted, size_t n)
{
    const double low = percentile(sorted, n, 2.0), high = percentile(sorted, n, 98.0);
    double sum = 0.0, second = 0.0, fourth = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += fmin(fmax((double)sorted[i], low), high);
    for (size_t i = 0; i < n; i++) {
        const double off = fmin(fmax((double)sorted[i], low), high) - sum / (double)n;
        second += off * off;
        fourth += off * off * off * off;
    }
    /* A spread within rounding is none. */
    return second > 1e-12 * (1.0 + low * low) * (double)n ? fourth * (double)n / (second * second)
                                                          : NO_KURTOSIS;
}

int encoding_fit_pair(const float *rows, size_t n_rows, size_t n_features,
                      struct encoding **ret_encoding)
{
    AUTO_FREE float *gain = malloc(n_features * sizeof(*gain));
    AUTO_FREE float *shift = calloc(n_features, sizeof(*shift));
    AUTO_FREE float *values = malloc(2 * n_rows * sizeof(*values));
    struct rank_gauss *rank_gauss = NULL;

    if (!gain || !shift || !values)
        return -ENOMEM;
    for (size_t j = 0; j < n_features; j++) {
        for (size_t i = 0; i < n_rows; i++)
            values[i] = rows[i * n_features + j];
        sort_floats(values, n_rows, values + n_rows);
        const double heavy = 1.0 + 0.33 * (clipped_kurtosis(values, n_rows) - 3.0);
        gain[j] = (float)(1.0 / fmin(fmax(heavy, 0.2), 6.0));
    }
    int r = rank_gauss_fit(rows, n_rows, n_features, &rank_gauss);
    return r < 0 ? r : encoding_new(gain, shift, n_features, rank_gauss, ret_encoding);
}

VECTOR_CLONES static void stretch(float *restrict out, const float *restrict row,
                                  const float *restrict gain, const float *restrict shift, size_t n)
{
    for (size_t j = 0; j < n; j++)
        out[j] = gain[j] * row[j] + shift[j];
}

void encoding_apply(const struct encoding *encoding, const float *row, float *out)
{
    stretch(out, row, encoding->gain, encoding->shift, encoding->n_features);
    if (encoding->rank_gauss)
        rank_gauss_apply(encoding->rank_gauss, row, out + encoding->n_features);
}

void encoding_blend(const struct encoding *encoding, const float *z, const float *encoded,
                    float *out)
{
    const size_t d = encoding->n_features;

    if (!encoding->rank_gauss) {
        memcpy(out, z, d * sizeof(*out));
        return;
    }
    for (size_t j = 0; j < d; j++)
        out[j] = 0.5F * (encoded[j] + encoded[d + j]);
}

#define UNBLEND_STEPS 28 /* each halves the range of ±SCALER_LIMIT: 7e-7 is left */

/* By halving, all features at once: the curve has flat and steep pieces. */
int encoding_unblend(const struct encoding *encoding, const float *blended, float *z)
{
    const size_t d = encoding->n_features;
    AUTO_FREE float *encoded = malloc((encoding->n_values + d) * sizeof(*encoded));
    if (!encoded)
        return -ENOMEM;
    float *const reached = encoded + encoding->n_values;
    float width = SCALER_LIMIT;

    for (size_t j = 0; j < d; j++)
        z[j] = 0.0F;
    for (size_t step = 0; step < UNBLEND_STEPS; step++) {
        width *= 0.5F;
        encoding_apply(encoding, z, encoded);
        encoding_blend(encoding, z, encoded, reached);
        for (size_t j = 0; j < d; j++)
            z[j] += reached[j] < blended[j] ? width : -width;
    }
    return 0;
}
