#include "service/drift.h"

#include <assert.h>
#include <math.h>

#define LEAST_P 1e-6
#define FEE     0.14 /* times 1/sqrt(m): see the header */

/* log(exp(a) + exp(b)) without overflow; either may be minus infinity, not both. */
static double log_add(double a, double b)
{
    return fmax(a, b) + log1p(exp(-fabs(a - b)));
}

void drift_init(struct drift *drift, uint64_t seed)
{
    random_seed(&drift->random, seed);
    drift_reset(drift);
}

void drift_reset(struct drift *drift)
{
    for (size_t i = 0; i < DRIFT_BETS; i++)
        drift->log_bets[i] = -INFINITY;
    drift->meter = 0;
    drift->is_alarming = false;
}

bool drift_update(struct drift *drift, size_t n_greater, size_t n_equal, size_t m)
{
    assert(n_greater <= m && n_equal <= m - n_greater);
    if (m < DRIFT_MIN_ROWS)
        return false;

    const double rank = (double)n_greater + random_uniform(&drift->random) * (double)(n_equal + 1);
    const double p = fmax(rank / (double)(m + 1), LEAST_P);
    const double log_p = log(p);
    const double bets[DRIFT_BETS] = {
        log(1.5 - p), log(1.25 - p / 2),      log(0.75 + p / 2),
        log(0.5 + p), log(0.5) - 0.5 * log_p, log(0.8) - 0.2 * log_p,
    };
    const double fee = FEE / sqrt((double)m);
    double sum = -INFINITY;
    for (size_t i = 0; i < DRIFT_BETS; i++) {
        drift->log_bets[i] = log_add(drift->log_bets[i], 0) + bets[i] - fee;
        sum = log_add(sum, drift->log_bets[i]);
    }
    drift->meter = sum - log(DRIFT_BETS);

    const bool passes = drift->meter >= DRIFT_ALARM && !drift->is_alarming;
    drift->is_alarming = drift->is_alarming || passes;
    return passes;
}
