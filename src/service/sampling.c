#include "service/sampling.h"

#include "base/clock.h"
#include "base/random.h"

#include <assert.h>
#include <math.h>

/* What a series begins with: so much that one at exactly the rate never misses the random part. */
#define FIRST_ALLOWANCE 2.0

/* Time that the allowance grows by. A clock that is a little behind (there are several sources, or
 * rows overtake each other) brings nothing; one that was set back by more begins anew from there.
 */
static uint64_t pass_time(struct sampling *sampling, uint64_t time_us)
{
    const uint64_t newest_us = sampling->newest_us;

    if (time_us > newest_us) {
        sampling->newest_us = time_us;
        return time_us - newest_us;
    }
    if (newest_us - time_us > SAMPLING_SAVED_S * US_PER_S)
        sampling->newest_us = time_us;
    return 0;
}

void sampling_begin(struct sampling *sampling, double rate, uint64_t time_us, size_t n_rows,
                    struct random *random)
{
    assert(rate > 0.0 && n_rows > 0);
    const double most = FIRST_ALLOWANCE + rate * SAMPLING_SAVED_S;

    if (!sampling->has_begun) {
        *sampling = (struct sampling){
            .has_begun = true,
            .newest_us = time_us,
            .allowance = FIRST_ALLOWANCE,
            .kept_back = random_uniform(random),
        };
    }
    const double passed_s = (double)pass_time(sampling, time_us) / (double)US_PER_S;
    sampling->allowance = fmin(sampling->allowance + rate * passed_s, most);

    const double spent = floor(fmax(sampling->allowance - sampling->kept_back, 0.0));
    sampling->n_left = n_rows;
    sampling->n_chosen = spent < (double)n_rows ? (size_t)spent : n_rows;
    sampling->allowance -= (double)sampling->n_chosen;
    if (sampling->n_chosen > 0)
        sampling->kept_back = random_uniform(random);
}

/* Knuth's algorithm S: each choice of n_chosen of n_left rows is equally likely. */
bool sampling_next(struct sampling *sampling, struct random *random)
{
    assert(sampling->n_left > 0);
    const bool counts = sampling->n_chosen == sampling->n_left ||
                        random_below(random, sampling->n_left) < sampling->n_chosen;

    sampling->n_left--;
    sampling->n_chosen -= counts;
    return counts;
}
