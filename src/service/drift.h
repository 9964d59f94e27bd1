/* drift - a meter with a stated false-alarm bound: whether errors are still exchangeable with the
 * calibration errors (Shiryaev–Roberts mixture of betting martingales; Vovk et al. 2021).
 *
 * Six bets on the p-value p: log(1 + K (p - 1/2)), K in {-1, -1/2, 1/2, 1}, and
 * log e + (e - 1) log p, e in {1/2, 4/5}. Each l = logaddexp(l, 0) + bet - 0.14/√m, minus infinity
 * at first; the meter is logsumexp(l) - ln 6. It proposes, never acts.
 *
 * P(a false alarm within T exchangeable rows) <= T / 10⁶ if their p-values are independent and
 * uniform. Against m fixed calibration errors they are not quite: a sample that lies a little off
 * feeds the bets with every row. Hence the fee of 0.14/√m. Measured with m = 5,000 and normal
 * scores, 3,000 seeds: 20,000 exchangeable rows alarm in 1.3 % (without the fee: 3.8 %); a shift of
 * 0.25, 0.5, 1 standard deviations is found after 392, 123, 36 rows in the mean (368, 121, 36).
 *
 * Pure; deterministic for a seed; one thread at a time. */
#pragma once

#include "base/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRIFT_BETS     6
#define DRIFT_ALARM    13.815510557964274 /* ln 10⁶ */
#define DRIFT_MIN_ROWS 5000               /* of calibration, below which it does not run */

struct drift {
    double log_bets[DRIFT_BETS];
    double meter;     /* natural logarithm; 0 before the first row */
    bool is_alarming; /* it has passed DRIFT_ALARM since the reset */
    struct random random;
};

void drift_init(struct drift *drift, uint64_t seed);
void drift_reset(struct drift *drift); /* the calibration changed */

/* One row: n_greater of the m calibration errors are above its error, n_equal equal. Its p-value is
 * (n_greater + U (n_equal + 1)) / (m + 1), U uniform in [0, 1), at least 1e-6. True: the meter
 * passes DRIFT_ALARM with this row for the first time since the reset. With m below DRIFT_MIN_ROWS
 * nothing happens. */
bool drift_update(struct drift *drift, size_t n_greater, size_t n_equal, size_t m);
