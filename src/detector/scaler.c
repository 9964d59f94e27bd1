#include "detector/scaler.h"

#include "base/sort.h"
#include "nn/vector.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scaler {
    size_t n_features;
    float *mean, *std, *median; /* [n_features] each */
    float *inv_std;             /* [n_features], 1 / std: the hot loop multiplies */
    float params[];             /* all of the above, one block */
};

static struct scaler *allocate(size_t n_features)
{
    struct scaler *scaler = calloc(1, sizeof(*scaler) + 4 * n_features * sizeof(float));

    if (!scaler)
        return NULL;
    scaler->n_features = n_features;
    scaler->mean = scaler->params;
    scaler->std = scaler->params + n_features;
    scaler->median = scaler->params + 2 * n_features;
    scaler->inv_std = scaler->params + 3 * n_features;
    return scaler;
}

static double constant_deviation(double size)
{
    return size > 0.0 ? 0.01 * size : 0.01;
}

/* Two passes in double: one float pass loses all digits when mean >> deviation. Sorts values[n];
 * behind them is room for as many. */
static void fit_column(struct scaler *scaler, size_t column, float *values, size_t n)
{
    double sum = 0.0, squares = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += (double)values[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double distance = (double)values[i] - mean;
        squares += distance * distance;
    }

    sort_floats(values, n, values + n);
    const double size = fabs(mean);
    double std = sqrt(squares / (double)n);
    if (values[0] == values[n - 1])
        std = constant_deviation(size);

    scaler->mean[column] = (float)mean;
    scaler->std[column] = (float)fmax(std, fmax(1e-6 * size, 1e-30));
    scaler->median[column] =
        n % 2 ? values[n / 2] : 0.5F * values[n / 2 - 1] + 0.5F * values[n / 2];
    scaler->inv_std[column] = 1.0F / scaler->std[column];
}

int scaler_fit(const float *rows, size_t n_rows, size_t n_features, struct scaler **ret_scaler,
               size_t *ret_column)
{
    assert(rows && n_features > 0 && ret_scaler);

    CLEANUP(scaler_freep) struct scaler *scaler = allocate(n_features);
    AUTO_FREE float *values = calloc(2 * n_rows + 1, sizeof(*values));
    if (!scaler || !values)
        return -ENOMEM;

    for (size_t column = 0; column < n_features; column++) {
        size_t n = 0;
        for (size_t i = 0; i < n_rows; i++)
            if (!isnan(rows[i * n_features + column]))
                values[n++] = rows[i * n_features + column];
        if (n == 0) {
            if (ret_column)
                *ret_column = column;
            return -EINVAL;
        }
        fit_column(scaler, column, values, n);
    }
    *ret_scaler = TAKE(scaler);
    return 0;
}

int scaler_new(const float *mean, const float *std, const float *median, size_t n_features,
               struct scaler **ret_scaler)
{
    assert(mean && std && median && n_features > 0 && ret_scaler);
    for (size_t i = 0; i < n_features; i++)
        if (!isfinite(mean[i]) || !isfinite(std[i]) || !isfinite(median[i]) || std[i] <= 0.0F ||
            !isfinite(1.0F / std[i]))
            return -EINVAL;

    struct scaler *scaler = allocate(n_features);
    if (!scaler)
        return -ENOMEM;
    memcpy(scaler->mean, mean, n_features * sizeof(float));
    memcpy(scaler->std, std, n_features * sizeof(float));
    memcpy(scaler->median, median, n_features * sizeof(float));
    for (size_t i = 0; i < n_features; i++)
        scaler->inv_std[i] = 1.0F / std[i];
    *ret_scaler = scaler;
    return 0;
}

void scaler_free(struct scaler *scaler)
{
    free(scaler);
}

VECTOR_CLONES size_t scaler_apply(const struct scaler *scaler, const float *row, float *out)
{
    const float *mean = scaler->mean, *inv_std = scaler->inv_std, *median = scaler->median;
    unsigned n_missing = 0; /* as wide as a float, for the vectors' sake */

    for (size_t j = 0; j < scaler->n_features; j++) {
        const bool is_missing = isnan(row[j]);
        const float value = is_missing ? median[j] : row[j];
        const float scaled = (value - mean[j]) * inv_std[j];
        const float below = scaled < SCALER_LIMIT ? scaled : SCALER_LIMIT;

        out[j] = below > -SCALER_LIMIT ? below : -SCALER_LIMIT;
        n_missing += is_missing;
    }
    return n_missing;
}

size_t scaler_n_features(const struct scaler *scaler)
{
    return scaler->n_features;
}

const float *scaler_mean(const struct scaler *scaler)
{
    return scaler->mean;
}

const float *scaler_std(const struct scaler *scaler)
{
    return scaler->std;
}

const float *scaler_median(const struct scaler *scaler)
{
    return scaler->median;
}

bool scaler_is_constant(const struct scaler *scaler, size_t feature)
{
    assert(feature < scaler->n_features);
    const double mean = (double)scaler->mean[feature], std = (double)scaler->std[feature];
    const double constant = fmax(constant_deviation(fabs(mean)), 1e-30);

    /* Both were rounded to float. */
    return scaler->mean[feature] == scaler->median[feature] &&
           fabs(std - constant) <= 1e-6 * constant;
}
