#include "detector/trim.h"

#include "base/parallel.h"
#include "base/random.h"
#include "base/sort.h"
#include "detector/recipe.h"
#include "nn/packed.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_REFERENCES 1000
#define CROWD           20  /* 1 / share of the references that make a crowd */
#define BLOCK           256 /* rows a job */

/* The tail of the distances is taken to go on as from the middle to the upper tenth: Pareto's. */
#define BODY        0.5
#define SHOULDER    0.9
#define ROWS_BEYOND 1.0 /* that it may lead one to expect beyond its end */

/* Of a feature's deviation: where most rows repeat, distances tell nothing. */
#define LEAST_DISTANCE 0.02

#define TENTHS       2.563 /* deviations between the first and the last tenth of normal values */
#define LEAST_SPREAD 0.01  /* of the deviation */

struct crowd {
    size_t n_rows, n_features, n_nearest;
    float *rows; /* [n_rows][n_features] scaled */
    struct packed *references;
    double *distances; /* [n_rows] */
};

static void crowd_clear(struct crowd *crowd)
{
    free(crowd->rows);
    packed_free(crowd->references);
    free(crowd->distances);
}

/* Where most of a column's values are: sorted[n]. A few far ones move neither median nor spread. */
struct column {
    double median, spread;
};

static struct column find_column(const float *sorted, size_t n)
{
    struct column column = {.spread = 1.0};
    double sum = 0.0, squares = 0.0;
    if (n == 0)
        return column;

    column.median = (double)sorted[n / 2];
    for (size_t i = 0; i < n; i++)
        sum += (double)sorted[i];
    for (size_t i = 0; i < n; i++)
        squares += pow((double)sorted[i] - sum / (double)n, 2);
    const double std = sqrt(squares / (double)n);
    const double spread = ((double)sorted[n - 1 - n / 10] - (double)sorted[n / 10]) / TENTHS;
    /* Of a feature that hardly ever moves the tenths tell nothing. */
    if (spread > LEAST_SPREAD * std)
        column.spread = spread;
    else if (std > 0.0)
        column.spread = std;
    return column;
}

/* Deviations from the median, large ones as their logarithm; 0 for a missing value. */
static int scale_rows(struct crowd *crowd, const float *rows)
{
    const size_t d = crowd->n_features;
    AUTO_FREE float *values = malloc(2 * crowd->n_rows * sizeof(*values));
    if (!values)
        return -ENOMEM;

    for (size_t j = 0; j < d; j++) {
        size_t n = 0;
        for (size_t i = 0; i < crowd->n_rows; i++)
            if (!isnan(rows[i * d + j]))
                values[n++] = rows[i * d + j];
        sort_floats(values, n, values + crowd->n_rows);
        const struct column column = find_column(values, n);
        for (size_t i = 0; i < crowd->n_rows; i++) {
            const double off = ((double)rows[i * d + j] - column.median) / column.spread;
            crowd->rows[i * d + j] = isnan(off) ? 0.0F : (float)asinh(off);
        }
    }
    return 0;
}

static int draw_references(struct crowd *crowd, struct random *random)
{
    const size_t d = crowd->n_features, n = crowd->n_rows;
    const size_t n_references = n < MOST_REFERENCES ? n : MOST_REFERENCES;
    AUTO_FREE float *references = malloc(n_references * d * sizeof(*references));
    if (!references)
        return -ENOMEM;

    size_t drawn = 0; /* Knuth's algorithm S */
    for (size_t i = 0; i < n; i++)
        if (random_below(random, n - i) < n_references - drawn)
            memcpy(references + drawn++ * d, crowd->rows + i * d, d * sizeof(float));
    crowd->n_nearest = n_references / CROWD + 1;
    return packed_new(references, NULL, d, n_references, &crowd->references);
}

/* The largest of the nearest[n_nearest] smallest of values[n]. */
static float select_nearest(const float *values, size_t n, float *nearest, size_t n_nearest)
{
    size_t n_found = 0;

    for (size_t i = 0; i < n; i++) {
        if (n_found == n_nearest && values[i] >= nearest[n_found - 1])
            continue;
        size_t at = n_found < n_nearest ? n_found++ : n_nearest - 1;
        for (; at > 0 && nearest[at - 1] > values[i]; at--)
            nearest[at] = nearest[at - 1];
        nearest[at] = values[i];
    }
    return nearest[n_nearest - 1];
}

static int measure_block(void *userdata, size_t which)
{
    const struct crowd *crowd = userdata;
    const size_t begin = which * BLOCK, d = crowd->n_features;
    const size_t n = crowd->n_rows - begin < BLOCK ? crowd->n_rows - begin : BLOCK;
    const size_t stride = packed_stride(crowd->references);
    const double least = LEAST_DISTANCE * sqrt((double)d);
    AUTO_FREE float *squares = malloc(n * stride * sizeof(*squares));
    AUTO_FREE float *nearest = malloc(crowd->n_nearest * sizeof(*nearest));
    if (!squares || !nearest)
        return -ENOMEM;

    packed_distances(crowd->references, squares, crowd->rows + begin * d, d, n);
    for (size_t i = 0; i < n; i++) {
        const float square = select_nearest(squares + i * stride, packed_n_out(crowd->references),
                                            nearest, crowd->n_nearest);
        crowd->distances[begin + i] = fmax(sqrt((double)square), least);
    }
    return 0;
}

/* Where the tail of sorted[n] expects ROWS_BEYOND rows; infinite if most rows repeat, or values are
 * so few that the distances tell no tail. */
static double find_end_of_tail(const double *sorted, size_t n, double least)
{
    const double body = sorted[(size_t)(BODY * (double)n)];
    const double shoulder = sorted[(size_t)(SHOULDER * (double)n)];

    if (body <= least || shoulder <= body)
        return INFINITY;
    const double shape = log(shoulder / body) / log((1.0 - BODY) / (1.0 - SHOULDER));
    return body * pow((1.0 - BODY) * (double)n / ROWS_BEYOND, shape);
}

static int judge(const struct crowd *crowd, double trim, enum trim_verdict *ret_verdicts)
{
    const size_t n = crowd->n_rows;
    AUTO_FREE double *sorted = malloc(n * sizeof(*sorted));
    if (!sorted)
        return -ENOMEM;

    memcpy(sorted, crowd->distances, n * sizeof(*sorted));
    sort_doubles(sorted, n);
    const double end =
        find_end_of_tail(sorted, n, LEAST_DISTANCE * sqrt((double)crowd->n_features));
    const double doubt =
        trim == RECIPE_TRIM_AUTO ? end : sorted[n - 1 - (size_t)(trim * (double)n)];
    for (size_t i = 0; i < n; i++)
        ret_verdicts[i] = crowd->distances[i] <= doubt ? TRIM_KEEP
                          : crowd->distances[i] <= end ? TRIM_DOUBT
                                                       : TRIM_DISCARD;
    return 0;
}

int trim_find(const float *rows, size_t n_rows, size_t n_features, double trim, size_t n_threads,
              struct random *random, enum trim_verdict *ret_verdicts)
{
    assert(rows && n_rows > 0 && n_features > 0 && trim < 1.0);
    CLEANUP(crowd_clear)
    struct crowd crowd = {
        .n_rows = n_rows,
        .n_features = n_features,
        .rows = malloc(n_rows * n_features * sizeof(float)),
        .distances = malloc(n_rows * sizeof(double)),
    };
    if (!crowd.rows || !crowd.distances)
        return -ENOMEM;

    int r = scale_rows(&crowd, rows);
    if (r == 0)
        r = draw_references(&crowd, random);
    if (r == 0)
        r = parallel_run((n_rows + BLOCK - 1) / BLOCK, n_threads, measure_block, &crowd);
    return r < 0 ? r : judge(&crowd, trim, ret_verdicts);
}
