#include "detector/pareto_tail.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>

/* Closer to 0 the general formula divides nothing by nothing. */
#define LEAST_SHAPE 1e-9

int pareto_tail_fit(const double *errors, size_t n_errors, double level, double share,
                    struct pareto_tail *ret_tail)
{
    double sum = 0.0, weighted = 0.0;

    for (size_t i = 0; i < n_errors; i++) {
        const double position = ((double)i + 0.65) / (double)n_errors; /* i counts from 0 */
        sum += errors[i] - level;
        weighted += (1.0 - position) * (errors[i] - level);
    }
    /* sum - 2 · weighted is above 0 for any rising excesses. */
    const double shape = 2.0 - sum / (sum - 2.0 * weighted);
    const double bounded = fmin(fmax(shape, PARETO_TAIL_MIN_SHAPE), PARETO_TAIL_MAX_SHAPE);
    const struct pareto_tail tail = {.level = level,
                                     .scale = sum / (double)n_errors * (1.0 - bounded),
                                     .shape = bounded,
                                     .share = share};

    if (n_errors == 0 || !pareto_tail_is_valid(&tail))
        return -EINVAL;
    *ret_tail = tail;
    return 0;
}

bool pareto_tail_is_valid(const struct pareto_tail *tail)
{
    return isfinite(tail->level) && tail->level >= 0.0 && isfinite(tail->scale) &&
           tail->scale > 0.0 && tail->shape >= PARETO_TAIL_MIN_SHAPE &&
           tail->shape <= PARETO_TAIL_MAX_SHAPE && tail->share > 0.0 && tail->share < 1.0;
}

double pareto_tail_survival(const struct pareto_tail *tail, double error)
{
    const double excess = (error - tail->level) / tail->scale;

    if (!(excess > 0.0))
        return tail->share;
    if (fabs(tail->shape) < LEAST_SHAPE)
        return tail->share * exp(-excess);
    if (tail->shape * excess <= -1.0)
        return 0.0; /* beyond the end of a bounded tail */
    return tail->share * exp(-log1p(tail->shape * excess) / tail->shape);
}

double pareto_tail_quantile(const struct pareto_tail *tail, double probability)
{
    assert(probability > 0.0 && probability < 1.0);
    if (probability >= tail->share)
        return tail->level;

    const double depth = log(tail->share) - log(probability);
    const double excess =
        fabs(tail->shape) < LEAST_SHAPE ? depth : expm1(tail->shape * depth) / tail->shape;
    return fmin(tail->level + tail->scale * excess, DBL_MAX);
}
