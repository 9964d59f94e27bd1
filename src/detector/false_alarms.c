#include "detector/false_alarms.h"

#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define N_SAMPLES 2000
#define N_TAIL    50 /* samples beyond each end of the 95 % interval */

struct stretch {
    size_t first, n_rows;
    size_t n_before; /* normal rows in front of it */
};

static size_t find_stretches(const bool *is_normal, size_t n_rows, struct stretch *stretches)
{
    size_t n = 0, n_normal = 0;

    for (size_t i = 0; i < n_rows; i++) {
        if (!is_normal[i])
            continue;
        if (i == 0 || !is_normal[i - 1])
            stretches[n++] = (struct stretch){.first = i, .n_before = n_normal};
        stretches[n - 1].n_rows++;
        n_normal++;
    }
    return n;
}

/* Alarms in n rows of a stretch from its row `from` on, wrapped around; alarms_before[i] counts
 * the alarms in front of row i of the file. */
static size_t alarms_in_block(const size_t *alarms_before, const struct stretch *stretch,
                              size_t from, size_t n)
{
    const size_t *before = alarms_before + stretch->first;
    const size_t end = from + n;

    if (end <= stretch->n_rows)
        return before[end] - before[from];
    return before[stretch->n_rows] - before[from] + before[end - stretch->n_rows] - before[0];
}

/* The stretch that holds the row-th normal row. */
static const struct stretch *stretch_of(const struct stretch *stretches, size_t n_stretches,
                                        size_t row)
{
    size_t low = 0, high = n_stretches; /* it is one of stretches[low..high) */

    while (high - low > 1) {
        const size_t middle = (low + high) / 2;
        if (stretches[middle].n_before <= row)
            low = middle;
        else
            high = middle;
    }
    return &stretches[low];
}

/* Alarms in as many rows as there are, put together from blocks that each begin at a normal row
 * drawn at random. */
static size_t resample(const size_t *alarms_before, const struct stretch *stretches,
                       size_t n_stretches, size_t n_rows, size_t block_rows, struct random *random)
{
    size_t alarms = 0;

    for (size_t left = n_rows; left > 0;) {
        const size_t row = random_below(random, n_rows);
        const struct stretch *stretch = stretch_of(stretches, n_stretches, row);
        const size_t block = block_rows < stretch->n_rows ? block_rows : stretch->n_rows;
        const size_t n = block < left ? block : left;
        alarms += alarms_in_block(alarms_before, stretch, row - stretch->n_before, n);
        left -= n;
    }
    return alarms;
}

static int by_size(const void *left, const void *right)
{
    const size_t a = *(const size_t *)left, b = *(const size_t *)right;

    return (a > b) - (a < b);
}

static int find_interval(const size_t *alarms_before, const struct stretch *stretches,
                         size_t block_rows, uint64_t seed, struct false_alarms *found)
{
    AUTO_FREE size_t *samples = calloc(N_SAMPLES, sizeof(*samples));
    if (!samples)
        return -ENOMEM;

    struct random random;
    random_seed(&random, seed);
    for (size_t i = 0; i < N_SAMPLES; i++)
        samples[i] = resample(alarms_before, stretches, found->n_stretches, found->n_rows,
                              block_rows, &random);
    qsort(samples, N_SAMPLES, sizeof(*samples), by_size);
    found->low = (double)samples[N_TAIL] / (double)found->n_rows;
    found->high = (double)samples[N_SAMPLES - 1 - N_TAIL] / (double)found->n_rows;
    return 0;
}

static double highest_rate_without_alarm(const struct stretch *stretches, size_t n_stretches,
                                         size_t block_rows)
{
    size_t n_blocks = 0;

    for (size_t i = 0; i < n_stretches; i++)
        n_blocks += (stretches[i].n_rows + block_rows - 1) / block_rows;
    return 1 - pow(0.025, 1 / (double)n_blocks);
}

int false_alarms_count(const bool *is_normal, const bool *flagged, size_t n_rows, size_t block_rows,
                       uint64_t seed, struct false_alarms *ret_false_alarms)
{
    assert((is_normal && flagged) || n_rows == 0);
    assert(block_rows > 0 && ret_false_alarms);

    AUTO_FREE struct stretch *stretches = calloc(n_rows + 1, sizeof(*stretches));
    AUTO_FREE size_t *alarms_before = calloc(n_rows + 1, sizeof(*alarms_before));
    if (!stretches || !alarms_before)
        return -ENOMEM;

    struct false_alarms found = {.rate = NAN, .low = NAN, .high = NAN};
    found.n_stretches = find_stretches(is_normal, n_rows, stretches);
    for (size_t i = 0; i < n_rows; i++) {
        const bool alarm = is_normal[i] && flagged[i];
        const bool alarm_before = i > 0 && is_normal[i - 1] && flagged[i - 1];
        found.n_rows += is_normal[i];
        found.n_alarms += alarm;
        found.n_episodes += alarm && !alarm_before;
        alarms_before[i + 1] = alarms_before[i] + alarm;
    }
    if (found.n_rows > 0) {
        found.rate = (double)found.n_alarms / (double)found.n_rows;
        int r = find_interval(alarms_before, stretches, block_rows, seed, &found);
        if (r < 0)
            return r;
        if (found.n_alarms == 0)
            found.high = highest_rate_without_alarm(stretches, found.n_stretches, block_rows);
    }
    *ret_false_alarms = found;
    return 0;
}
