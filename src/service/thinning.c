#include "service/thinning.h"

#include <assert.h>
#include <math.h>

#define SUSPECT_BINS 9   /* those below 0.1 */
#define CROWDED      2.5 /* times its share in a bin: what is less is left to thinning */
#define MIDDLE_END   12  /* the bins from there to 0.3 */
#define MIDDLE_SHARE 1.3 /* times what is expected of them: measured, see docs/learning.md */

static const double edges[THINNING_BINS + 1] = {0.0,   0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05,
                                                0.075, 0.1,    0.15,  0.2,  0.3,   0.5,  1.0};

double thinning_bin_edge(size_t bin)
{
    assert(bin <= THINNING_BINS);
    return edges[bin];
}

static double expected_share(size_t bin)
{
    return edges[bin + 1] - edges[bin];
}

static size_t bin_of(double p_value)
{
    assert(p_value >= 0.0 && p_value <= 1.0);
    size_t bin = 0;

    while (p_value > edges[bin + 1])
        bin++;
    return bin;
}

static void count_bins(const double *p_values, size_t n, size_t ret_counts[THINNING_BINS])
{
    assert(p_values || n == 0);
    for (size_t bin = 0; bin < THINNING_BINS; bin++)
        ret_counts[bin] = 0;
    for (size_t i = 0; i < n; i++)
        ret_counts[bin_of(p_values[i])]++;
}

size_t thinning_keep(const double *p_values, size_t n, size_t m, struct random *random,
                     bool *ret_keep)
{
    size_t counts[THINNING_BINS], n_kept = 0;
    double probability[THINNING_BINS];

    count_bins(p_values, n, counts);
    for (size_t bin = 0; bin < THINNING_BINS; bin++) {
        const double e = expected_share(bin), o = (double)counts[bin] / (double)n;
        const double chance = sqrt(e / (double)n + e / (double)m);
        probability[bin] = (1.25 * e + 2.0 * chance) / o; /* above 1: all */
    }
    for (size_t i = 0; i < n; i++) {
        ret_keep[i] = random_uniform(random) < probability[bin_of(p_values[i])];
        n_kept += ret_keep[i];
    }
    return n_kept;
}

bool thinning_has_excess(const double *p_values, size_t n, size_t m, size_t *ret_bin)
{
    size_t counts[THINNING_BINS];

    count_bins(p_values, n, counts);
    for (size_t bin = 0; bin < SUSPECT_BINS; bin++) {
        const double expected = (double)n * expected_share(bin);
        const double variance = expected + expected * (double)n / (double)m + 1.0;
        if ((double)counts[bin] > 1.25 * expected + 5.0 * sqrt(variance)) {
            *ret_bin = bin;
            return true;
        }
    }
    return false;
}

bool thinning_is_pushed(const double *p_values, size_t n)
{
    const double middle_share =
        (edges[MIDDLE_END] - edges[SUSPECT_BINS]) / (1.0 - edges[SUSPECT_BINS]);
    size_t counts[THINNING_BINS], n_middle = 0, n_usual = 0;
    double most = 0.0; /* times its share in a suspect bin */

    count_bins(p_values, n, counts);
    for (size_t bin = 0; bin < SUSPECT_BINS; bin++)
        most = fmax(most, (double)counts[bin] / ((double)n * expected_share(bin)));
    for (size_t bin = SUSPECT_BINS; bin < THINNING_BINS; bin++) {
        n_middle += bin < MIDDLE_END ? counts[bin] : 0;
        n_usual += counts[bin];
    }
    return most > CROWDED && 2 * n_usual >= n &&
           (double)n_middle <= MIDDLE_SHARE * middle_share * (double)n_usual;
}
