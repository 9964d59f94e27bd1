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

/* Overwrites medians[n_features]; where a column has no value, it is left as it is. */
static int find_medians(const float *rows, size_t n_rows, size_t n_features, float *medians)
{
    AUTO_FREE float *values = malloc((2 * n_rows + 1) * sizeof(*values));
    if (!values)
        return -ENOMEM;

    for (size_t j = 0; j < n_features; j++) {
        size_t n = 0;
        for (size_t i = 0; i < n_rows; i++)
            if (!isnan(rows[i * n_features + j]))
                values[n++] = rows[i * n_features + j];
        if (n == 0)
            continue;
        sort_floats(values, n, values + n);
        medians[j] = n % 2 ? values[n / 2] : 0.5F * values[n / 2 - 1] + 0.5F * values[n / 2];
    }
    return 0;
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
    int r = find_medians(pinned_rows, n_rows, n_features, guard->center);
    if (r < 0)
        return r;
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
    AUTO_FREE float *medians = malloc(guard->n_features * sizeof(*medians));
    if (!medians)
        return -ENOMEM;

    memcpy(medians, guard->center, guard->n_features * sizeof(*medians));
    int r = find_medians(rows, n_rows, guard->n_features, medians);
    if (r < 0)
        return r;
    for (size_t j = 0; j < guard->n_features; j++) {
        const float most = (float)GUARD_MOST_SHIFT * std[j];
        guard->shift[j] = fminf(fmaxf(medians[j] - guard->center[j], -most), most);
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
