#include "detector/calibration.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Below this an error is nothing: the threshold must be above 0 for the score to exist. */
#define LEAST_THRESHOLD 1e-12

struct calibration {
    size_t n_rows, n_errors;
    double errors[]; /* [n_errors] sorted */
};

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The rank, from 1 to n_rows, that kept error i had among all. The larger half of what is kept are
 * the largest errors one by one: small rates depend on them. Below, each is the last of its share,
 * so that a thinned sample errs towards a higher threshold. */
static size_t rank_of(size_t i, size_t n_errors, size_t n_rows)
{
    const size_t n_top = n_errors == n_rows ? n_errors : n_errors / 2;
    const size_t n_shares = n_errors - n_top;

    if (i >= n_shares)
        return n_rows - (n_errors - 1 - i);
    return (size_t)ceil((double)(i + 1) * (double)(n_rows - n_top) / (double)n_shares);
}

int calibration_new(const double *errors, size_t n_errors, size_t n_rows,
                    struct calibration **ret_calibration)
{
    if (n_errors == 0 || n_errors > CALIBRATION_MAX_ERRORS || n_rows < n_errors)
        return -EINVAL;
    for (size_t i = 0; i < n_errors; i++)
        if (!isfinite(errors[i]) || errors[i] < (i ? errors[i - 1] : 0.0))
            return -EINVAL;

    struct calibration *calibration = malloc(sizeof(*calibration) + n_errors * sizeof(*errors));
    if (!calibration)
        return -ENOMEM;
    calibration->n_rows = n_rows;
    calibration->n_errors = n_errors;
    memcpy(calibration->errors, errors, n_errors * sizeof(*errors));
    *ret_calibration = calibration;
    return 0;
}

int calibration_fit(const double *errors, size_t n_errors, struct calibration **ret_calibration)
{
    assert(errors && n_errors > 0 && ret_calibration);
    AUTO_FREE double *sorted = malloc(n_errors * sizeof(*sorted));
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < n_errors; i++)
        if (!isfinite(errors[i]))
            return -EINVAL; /* NaN has no place in an order */
    memcpy(sorted, errors, n_errors * sizeof(*sorted));
    qsort(sorted, n_errors, sizeof(*sorted), by_value);

    const size_t n_kept = n_errors < CALIBRATION_MAX_ERRORS ? n_errors : CALIBRATION_MAX_ERRORS;
    for (size_t i = 0; i < n_kept; i++) /* forwards: a rank is never below its index */
        sorted[i] = sorted[rank_of(i, n_kept, n_errors) - 1];
    return calibration_new(sorted, n_kept, n_errors, ret_calibration);
}

void calibration_free(struct calibration *calibration)
{
    free(calibration);
}

size_t calibration_rows_needed(double rate)
{
    return (size_t)fmin(ceil(1.0 / rate * (1.0 - 1e-12)) - 1.0, 1e18);
}

bool calibration_holds(const struct calibration *calibration, double rate)
{
    return calibration->n_rows >= calibration_rows_needed(rate);
}

double calibration_threshold(const struct calibration *calibration, double rate)
{
    assert(rate > 0.0 && rate < 1.0);
    const size_t n_rows = calibration->n_rows, n_errors = calibration->n_errors;
    /* The small number undoes rounding such as 100 · (1 - 0.01) = 99.00000000000001. */
    const double exact = ((double)n_rows + 1.0) * (1.0 - rate);
    const double rank = ceil(exact - 1e-9 * exact);

    size_t i = 0;
    while (i + 1 < n_errors && (double)rank_of(i, n_errors, n_rows) < rank)
        i++;
    return fmax(calibration->errors[i], LEAST_THRESHOLD);
}

double calibration_p_value(const struct calibration *calibration, double error)
{
    size_t low = 0, high = calibration->n_errors; /* errors[0..low) < error <= errors[high..) */

    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (calibration->errors[middle] < error)
            low = middle + 1;
        else
            high = middle;
    }
    const size_t n_rows = calibration->n_rows;
    const size_t n_smaller = low ? rank_of(low - 1, calibration->n_errors, n_rows) : 0;
    return (1.0 + (double)(n_rows - n_smaller)) / ((double)n_rows + 1.0);
}

const double *calibration_errors(const struct calibration *calibration, size_t *ret_n_errors)
{
    *ret_n_errors = calibration->n_errors;
    return calibration->errors;
}

size_t calibration_n_rows(const struct calibration *calibration)
{
    return calibration->n_rows;
}
