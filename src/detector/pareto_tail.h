/* pareto_tail - how errors are spread beyond the largest ones that were seen.
 *
 * Above a high level almost every distribution looks like a generalised Pareto one (Pickands 1975):
 * P(error > x) = share · (1 + shape (x - level) / scale)^(-1 / shape), with shape 0 the
 * exponential. Fitted by probability-weighted moments, which are steadier than maximum likelihood
 * for a few dozen excesses (Hosking & Wallis 1987, plotting positions (i - 0.35) / n). The shape is
 * held within the bounds below; the scale always keeps the mean excess. Pure functions, any thread.
 */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

#define PARETO_TAIL_MIN_SHAPE (-0.5) /* an end not far beyond the sample */
#define PARETO_TAIL_MAX_SHAPE 0.9    /* from 1 on there is no mean */

struct pareto_tail {
    double level; /* not below 0 */
    double scale; /* above 0; in units of the error */
    double shape;
    double share; /* P(error > level), in (0, 1) */
};

/* From errors[n_errors], rising and all above level. -EINVAL: none, or they give no finite scale.
 */
MUST_CHECK int pareto_tail_fit(const double *errors, size_t n_errors, double level, double share,
                               struct pareto_tail *ret_tail);

/* Whether numbers that come from a file make a tail. */
bool pareto_tail_is_valid(const struct pareto_tail *tail);

/* P(a normal row's error > error): from share at the level down to 0. */
double pareto_tail_survival(const struct pareto_tail *tail, double error);

/* The error that is exceeded with this probability, in (0, 1): the level from share on; finite. */
double pareto_tail_quantile(const struct pareto_tail *tail, double probability);
