#include "detector/outliers.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define FAR        5.0    /* deviations: by Chebyshev at most one value in 25 */
#define RATIO      1000.0 /* of the deviations with and without */
#define FLOOR      0.01   /* of the mean: the deviation of what does not vary, as in the scaler */
#define MOST_TURNS 32     /* 1e30 hides 1e20, which hides 1e10 */

struct range {
    double low, high;
};

struct moments {
    size_t n;
    double mean, std;
};

static struct moments moments_within(const float *values, size_t n, struct range range)
{
    struct moments moments = {0};
    double sum = 0.0, squares = 0.0;

    for (size_t i = 0; i < n; i++)
        if ((double)values[i] >= range.low && (double)values[i] <= range.high) {
            sum += (double)values[i];
            moments.n++;
        }
    if (moments.n == 0)
        return moments;
    moments.mean = sum / (double)moments.n;
    for (size_t i = 0; i < n; i++)
        if ((double)values[i] >= range.low && (double)values[i] <= range.high)
            squares += pow((double)values[i] - moments.mean, 2);
    moments.std = fmax(sqrt(squares / (double)moments.n), FLOOR * fabs(moments.mean));
    return moments;
}

/* How many of a column's values are outliers, and the range of the others. */
static size_t find_in_column(const float *values, size_t n, size_t most, struct range *ret_range)
{
    struct range range = {-INFINITY, INFINITY};
    struct moments now = moments_within(values, n, range);
    double accepted = now.std;
    size_t n_outliers = 0;

    for (size_t turn = 0; turn < MOST_TURNS; turn++) {
        range = (struct range){now.mean - FAR * now.std, now.mean + FAR * now.std};
        const struct moments next = moments_within(values, n, range);
        if (next.n == now.n || n - next.n > most)
            break;
        now = next;
        if (now.std > 0.0 && accepted >= RATIO * now.std) {
            accepted = now.std;
            n_outliers = n - now.n;
            *ret_range = range;
        }
    }
    return n_outliers;
}

long outliers_find(const float *rows, size_t n_rows, size_t n_features, size_t most, float *ret_low,
                   float *ret_high)
{
    assert(rows && n_features > 0 && ret_low && ret_high);
    AUTO_FREE float *values = malloc(n_rows * sizeof(*values) + 1);
    long n_outliers = 0;
    if (!values)
        return -ENOMEM;

    for (size_t j = 0; j < n_features; j++) {
        struct range range = {-INFINITY, INFINITY};
        size_t n = 0;
        for (size_t i = 0; i < n_rows; i++)
            if (!isnan(rows[i * n_features + j]))
                values[n++] = rows[i * n_features + j];
        n_outliers += (long)find_in_column(values, n, most, &range);
        ret_low[j] = (float)range.low;
        ret_high[j] = (float)range.high;
    }
    return n_outliers;
}

void outliers_remove(float *rows, size_t n_rows, size_t n_features, const float *low,
                     const float *high)
{
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n_features; j++) {
            float *value = &rows[i * n_features + j];
            if (*value < low[j] || *value > high[j])
                *value = NAN;
        }
}
