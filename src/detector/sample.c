#include "detector/sample.h"

#include "base/random.h"
#include "detector/outliers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void sample_clear(struct sample *sample)
{
    free(sample->own);
    free(sample->is_drawn);
    *sample = (struct sample){0};
}

/* Knuth's algorithm S. */
static int draw(struct sample *sample, const float *given, size_t n_given, size_t n_features,
                size_t most, struct random *random)
{
    size_t n = 0;

    sample->own = malloc(most * n_features * sizeof(*sample->own));
    sample->is_drawn = calloc(n_given, sizeof(*sample->is_drawn));
    if (!sample->own || !sample->is_drawn)
        return -ENOMEM;
    for (size_t i = 0; i < n_given; i++) {
        if (random_below(random, n_given - i) >= most - n)
            continue;
        sample->is_drawn[i] = true;
        memcpy(sample->own + n++ * n_features, given + i * n_features, n_features * sizeof(*given));
    }
    sample->rows = sample->own;
    sample->n_rows = n;
    return 0;
}

static int remove_outliers(struct sample *sample, size_t n_features, double share)
{
    const size_t n_values = sample->n_rows * n_features;
    const size_t by_share = (size_t)(share * (double)sample->n_rows);
    const size_t most = by_share > 0 ? by_share : 1;
    AUTO_FREE float *range = malloc(2 * n_features * sizeof(*range));
    if (!range)
        return -ENOMEM;

    const long found =
        outliers_find(sample->rows, sample->n_rows, n_features, most, range, range + n_features);
    if (found <= 0)
        return (int)found;
    if (!sample->own) {
        sample->own = malloc(n_values * sizeof(*sample->own));
        if (!sample->own)
            return -ENOMEM;
        memcpy(sample->own, sample->rows, n_values * sizeof(*sample->own));
        sample->rows = sample->own;
    }
    outliers_remove(sample->own, sample->n_rows, n_features, range, range + n_features);
    sample->n_outliers = (size_t)found;
    return 0;
}

int sample_draw(const float *given, size_t n_given, size_t n_features, size_t most,
                double outlier_share, struct random *random, struct sample *ret_sample)
{
    assert(given && n_given > 0 && n_features > 0 && most > 0 && ret_sample);
    CLEANUP(sample_clear) struct sample sample = {.rows = given, .n_rows = n_given};

    int r = n_given > most ? draw(&sample, given, n_given, n_features, most, random) : 0;
    sample.n_drawn = sample.n_rows;
    if (r == 0)
        r = remove_outliers(&sample, n_features, outlier_share);
    if (r < 0)
        return r;
    *ret_sample = sample;
    sample = (struct sample){0};
    return 0;
}

/* Appends the rows of one verdict, in their order, to n others; returns how many they are then. */
static size_t append_rows(const struct sample *sample, size_t n_features,
                          const enum trim_verdict *verdicts, enum trim_verdict verdict, float *rows,
                          size_t n)
{
    for (size_t i = 0; i < sample->n_rows; i++)
        if (verdicts[i] == verdict)
            memcpy(rows + n++ * n_features, sample->rows + i * n_features,
                   n_features * sizeof(*rows));
    return n;
}

int sample_leave_out(struct sample *sample, size_t n_features, const enum trim_verdict *verdicts)
{
    float *rows = malloc(sample->n_rows * n_features * sizeof(*rows));
    if (!rows)
        return -ENOMEM;

    const size_t n_kept = append_rows(sample, n_features, verdicts, TRIM_KEEP, rows, 0);
    const size_t n = append_rows(sample, n_features, verdicts, TRIM_DOUBT, rows, n_kept);
    free(sample->own);
    sample->own = rows;
    sample->rows = rows;
    sample->n_rows = n_kept;
    sample->spare = rows + n_kept * n_features;
    sample->n_spare = n - n_kept;
    return 0;
}
