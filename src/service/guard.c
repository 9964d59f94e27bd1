#include "service/guard.h"

#include "base/sort.h"
#include "detector/detector.h"
#include "detector/scaler.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#define BLOCK 64 /* rows that are shifted at a time */

struct guard {
    const struct detector *pinned;
    size_t n_features;
    float *center;  /* [n_features] medians of the pinned rows */
    float *shift;   /* [n_features] */
    float params[]; /* both, one block */
};

/* The values of a column that are there, sorted into values[n_rows] (as much room again behind);
 * returns how many. */
static size_t sort_column(const float *rows, size_t n_rows, size_t n_features, size_t column,
                          float *values)
{
    size_t n = 0;

    for (size_t i = 0; i < n_rows; i++)
        if (!isnan(rows[i * n_features + column]))
            values[n++] = rows[i * n_features + column];
    sort_floats(values, n, values + n);
    return n;
}

static float median_of(const float *sorted, size_t n)
{
    return n % 2 ? sorted[n / 2] : 0.5F * sorted[n / 2 - 1] + 0.5F * sorted[n / 2];
}

/* How far the median of sorted[n] has moved from center, without what chance does to it: to the
 * next value that may be its true median (between order statistics n/2 ± sqrt(n), the 95 %
 * interval). Of a feature that counts, the median else jumps by one between stretches that are
 * alike. */
static float movement(const float *sorted, size_t n, float center)
{
    const double half = 0.5 * (double)n, reach = sqrt((double)n);
    const size_t low = half > reach ? (size_t)(half - reach) : 0;
    const size_t high = half + reach < (double)n ? (size_t)(half + reach) : n - 1;

    if (center < sorted[low])
        return sorted[low] - center;
    return center > sorted[high] ? sorted[high] - center : 0.0F;
}

int guard_new(const struct detector *pinned, const float *pinned_rows, size_t n_rows,
              struct guard **ret_guard)
{
    assert(pinned && (pinned_rows || n_rows == 0) && ret_guard);
    const size_t n_features = detector_n_features(pinned);
    const float *medians = scaler_median(detector_ensemble(pinned)->scaler);
    CLEANUP(guard_freep)
    struct guard *guard = calloc(1, sizeof(*guard) + 2 * n_features * sizeof(float));
    if (!guard)
        return -ENOMEM;

    guard->pinned = pinned;
    guard->n_features = n_features;
    guard->center = guard->params;
    guard->shift = guard->params + n_features;
    memcpy(guard->center, medians, n_features * sizeof(*medians));
    AUTO_FREE float *values = malloc((2 * n_rows + 1) * sizeof(*values));
    if (!values)
        return -ENOMEM;
    for (size_t j = 0; j < n_features; j++) {
        const size_t n = sort_column(pinned_rows, n_rows, n_features, j, values);
        if (n > 0)
            guard->center[j] = median_of(values, n);
    }
    *ret_guard = TAKE(guard);
    return 0;
}

void guard_free(struct guard *guard)
{
    free(guard);
}

int guard_follow(struct guard *guard, const float *rows, size_t n_rows)
{
    assert(guard && (rows || n_rows == 0));
    const float *std = scaler_std(detector_ensemble(guard->pinned)->scaler);
    AUTO_FREE float *values = malloc((2 * n_rows + 1) * sizeof(*values));
    if (!values)
        return -ENOMEM;

    for (size_t j = 0; j < guard->n_features; j++) {
        const float most = (float)GUARD_MOST_SHIFT * std[j];
        const size_t n = sort_column(rows, n_rows, guard->n_features, j, values);
        const float moved = n > 0 ? movement(values, n, guard->center[j]) : 0.0F;
        guard->shift[j] = fminf(fmaxf(moved, -most), most);
    }
    return 0;
}

const float *guard_shift(const struct guard *guard)
{
    return guard->shift;
}

int guard_p_values(const struct guard *guard, struct workspace *workspace, const float *rows,
                   size_t n_rows, double *ret_p_values)
{
    assert(guard && workspace && (rows || n_rows == 0));
    const size_t d = guard->n_features;
    AUTO_FREE float *shifted = malloc(BLOCK * d * sizeof(*shifted));
    if (!shifted)
        return -ENOMEM;

    for (size_t begin = 0; begin < n_rows; begin += BLOCK) {
        struct verdict verdicts[BLOCK];
        const size_t n = n_rows - begin < BLOCK ? n_rows - begin : BLOCK;

        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < d; j++)
                shifted[i * d + j] = rows[(begin + i) * d + j] - guard->shift[j];
        /* The p-value does not depend on the threshold. */
        int r = detector_score(guard->pinned, workspace, shifted, n, 1.0, verdicts);
        if (r < 0)
            return r;
        for (size_t i = 0; i < n; i++)
            ret_p_values[begin + i] = verdicts[i].p_value;
    }
    return 0;
}
