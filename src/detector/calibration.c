#include "detector/calibration.h"

#include "base/sort.h"
#include "detector/pareto_tail.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Below this an error is nothing: the threshold must be above 0 for the score to exist. */
#define LEAST_THRESHOLD 1e-12

/* No tail that was fitted to some dozens of errors can tell smaller probabilities apart. */
#define LEAST_P_VALUE 1e-12

#define TAIL_DIVISOR 20 /* the tail is fitted to the largest 1 / 20 of the errors */

struct calibration {
    bool has_tail;
    struct pareto_tail tail;
    size_t n_rows, n_errors;
    double errors[]; /* [n_errors] sorted */
};

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
                    const struct pareto_tail *tail, struct calibration **ret_calibration)
{
    if (n_errors == 0 || n_errors > CALIBRATION_MAX_ERRORS || n_rows < n_errors)
        return -EINVAL;
    for (size_t i = 0; i < n_errors; i++)
        if (!isfinite(errors[i]) || errors[i] < (i ? errors[i - 1] : 0.0))
            return -EINVAL;
    if (tail && !pareto_tail_is_valid(tail))
        return -EINVAL;

    struct calibration *calibration = malloc(sizeof(*calibration) + n_errors * sizeof(*errors));
    if (!calibration)
        return -ENOMEM;
    calibration->has_tail = tail != NULL;
    calibration->tail = tail ? *tail : (struct pareto_tail){0};
    calibration->n_rows = n_rows;
    calibration->n_errors = n_errors;
    memcpy(calibration->errors, errors, n_errors * sizeof(*errors));
    *ret_calibration = calibration;
    return 0;
}

/* False: there is no tail to fit. */
static bool fit_tail(const double *sorted, size_t n_errors, struct pareto_tail *ret_tail)
{
    const size_t n_half = n_errors / 2, n_share = n_errors / TAIL_DIVISOR;
    const size_t n_least = n_half < CALIBRATION_MIN_EXCEEDING ? n_half : CALIBRATION_MIN_EXCEEDING;
    size_t first = n_errors - (n_share > n_least ? n_share : n_least);
    const double level = sorted[first - 1];

    while (first < n_errors && sorted[first] <= level)
        first++;
    /* The probability that a further row exceeds this order statistic, the conformal one. */
    const double share = (double)(n_errors - first + 1) / ((double)n_errors + 1.0);
    return pareto_tail_fit(sorted + first, n_errors - first, level, share, ret_tail) == 0;
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
    sort_doubles(sorted, n_errors);

    struct pareto_tail tail;
    const bool has_tail = fit_tail(sorted, n_errors, &tail);
    const size_t n_kept = n_errors < CALIBRATION_MAX_ERRORS ? n_errors : CALIBRATION_MAX_ERRORS;
    for (size_t i = 0; i < n_kept; i++) /* forwards: a rank is never below its index */
        sorted[i] = sorted[rank_of(i, n_kept, n_errors) - 1];
    return calibration_new(sorted, n_kept, n_errors, has_tail ? &tail : NULL, ret_calibration);
}

void calibration_free(struct calibration *calibration)
{
    free(calibration);
}

/* The least whole number that is not below value; a small number undoes rounding in it. */
static size_t count_of(double value)
{
    return (size_t)fmin(ceil(value * (1.0 - 1e-12)), 1e18);
}

size_t calibration_rows_needed(double rate)
{
    return count_of(CALIBRATION_MIN_EXCEEDING / rate);
}

enum calibration_basis calibration_basis(const struct calibration *calibration, double rate)
{
    const size_t n_rows = calibration->n_rows;

    assert(rate > 0.0 && rate < 1.0);
    if (calibration->has_tail && n_rows < calibration_rows_needed(rate) &&
        rate < calibration->tail.share)
        return CALIBRATION_TAIL_FIT;
    return n_rows + 1 >= count_of(1.0 / rate) ? CALIBRATION_CONFORMAL : CALIBRATION_LARGEST_ERROR;
}

const char *calibration_basis_name(enum calibration_basis basis)
{
    static const char *const names[] = {
        [CALIBRATION_CONFORMAL] = "conformal",
        [CALIBRATION_TAIL_FIT] = "tail-fit",
        [CALIBRATION_LARGEST_ERROR] = "largest-error",
    };

    return names[basis];
}

/* The conformal threshold; the largest error where the rows do not suffice. */
static double order_statistic(const struct calibration *calibration, double rate)
{
    const size_t n_rows = calibration->n_rows, n_errors = calibration->n_errors;
    /* The small number undoes rounding such as 100 · (1 - 0.01) = 99.00000000000001. */
    const double exact = ((double)n_rows + 1.0) * (1.0 - rate);
    const double rank = ceil(exact - 1e-9 * exact);

    size_t i = 0;
    while (i + 1 < n_errors && (double)rank_of(i, n_errors, n_rows) < rank)
        i++;
    return calibration->errors[i];
}

/* The rate below which the tail takes over. */
static double switch_rate(const struct calibration *calibration)
{
    return fmin(CALIBRATION_MIN_EXCEEDING / (double)calibration->n_rows, calibration->tail.share);
}

static double tail_threshold(const struct calibration *calibration, double rate)
{
    return fmax(pareto_tail_quantile(&calibration->tail, rate),
                order_statistic(calibration, switch_rate(calibration)));
}

double calibration_threshold(const struct calibration *calibration, double rate)
{
    const double threshold = calibration_basis(calibration, rate) == CALIBRATION_TAIL_FIT
                                 ? tail_threshold(calibration, rate)
                                 : order_statistic(calibration, rate);

    return fmax(threshold, LEAST_THRESHOLD);
}

/* How many of the kept errors are below. Without branches: whether one is taken is a coin toss each
 * time, and a wrong guess of the processor costs more than the rest of the step. */
static size_t count_below(const struct calibration *calibration, double error)
{
    const double *from = calibration->errors; /* all before it are below */
    size_t n = calibration->n_errors;

    while (n > 1) {
        const size_t half = n / 2;
        const double *const upper = from + half;
        from = upper[-1] < error ? upper : from;
        n -= half;
    }
    return (size_t)(from - calibration->errors) + (*from < error);
}

size_t calibration_n_rows_from(const struct calibration *calibration, double error)
{
    const size_t n_below = count_below(calibration, error), n_rows = calibration->n_rows;

    return n_rows - (n_below ? rank_of(n_below - 1, calibration->n_errors, n_rows) : 0);
}

static double conformal_p_value(const struct calibration *calibration, size_t n_from)
{
    return (1.0 + (double)n_from) / ((double)calibration->n_rows + 1.0);
}

/* Not above what smaller errors have: the last of them that are counted, or that of the level. */
static double tail_p_value(const struct calibration *calibration, double error)
{
    const struct pareto_tail *tail = &calibration->tail;
    const size_t n_from = calibration_n_rows_from(calibration, tail->level);
    const double highest = fmin(switch_rate(calibration), conformal_p_value(calibration, n_from));

    return fmin(fmax(pareto_tail_survival(tail, error), LEAST_P_VALUE), highest);
}

double calibration_p_value(const struct calibration *calibration, double error)
{
    const size_t n_from = calibration_n_rows_from(calibration, error);

    if (calibration->has_tail && error > calibration->tail.level &&
        n_from < CALIBRATION_MIN_EXCEEDING)
        return tail_p_value(calibration, error);
    return conformal_p_value(calibration, n_from);
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

const struct pareto_tail *calibration_tail(const struct calibration *calibration)
{
    return calibration->has_tail ? &calibration->tail : NULL;
}
