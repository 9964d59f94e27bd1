#include "service/stretch.h"

#include "service/learning.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROWS    64  /* flagged, whose blame counts each; */
#define CHEAP         128 /* features; of more, fewer rows: a blame costs their square */
#define LEAST_OF_ROWS 4

void stretch_clear(struct stretch *stretch)
{
    free(stretch->peak_values);
    free(stretch->blame);
    *stretch = (struct stretch){0};
}

static void copy_values(struct stretch *stretch, const float *values, size_t n_features)
{
    if (!stretch->peak_values)
        stretch->peak_values = malloc(n_features * sizeof(*values));
    stretch->n_features = n_features;
    if (stretch->peak_values)
        memcpy(stretch->peak_values, values, n_features * sizeof(*values));
}

uint64_t stretch_step(const struct stretch *stretch, size_t n_features)
{
    const uint64_t wide = n_features > CHEAP ? n_features : CHEAP;
    const uint64_t all = (uint64_t)FIRST_ROWS * CHEAP * CHEAP / (wide * wide);
    const uint64_t first = all > LEAST_OF_ROWS ? all : LEAST_OF_ROWS;
    uint64_t step = 1;

    while (stretch->n_anomalies / step >= first)
        step *= 2;
    return stretch->n_anomalies % step == 0 ? step : 0;
}

static void add_blame(struct stretch *stretch, const double *blame, uint64_t times,
                      size_t n_features)
{
    if (!stretch->blame)
        stretch->blame = calloc(n_features, sizeof(*blame));
    if (!stretch->blame)
        return;
    for (size_t j = 0; j < n_features; j++)
        stretch->blame[j] += (double)times * blame[j];
    stretch->n_blamed += times;
}

void stretch_take(struct stretch *stretch, const struct scored_row *row, const double *blame,
                  size_t n_features)
{
    const uint64_t step = blame ? stretch_step(stretch, n_features) : 0;

    if (stretch->n_rows == 0)
        stretch->began_us = row->time_us;
    if (stretch->n_rows == 0 || row->score > stretch->peak_score) {
        stretch->peak_score = row->score;
        stretch->peak_us = row->time_us;
        stretch->peak_version = row->version;
        copy_values(stretch, row->values, n_features);
    }
    stretch->n_rows++;
    stretch->n_anomalies += row->is_flagged;
    if (step > 0)
        add_blame(stretch, blame, step, n_features);
}

/* The longer one has the rows of the other, too. */
static void join_blame(struct stretch *stretch, const struct stretch *other)
{
    if (other->n_blamed <= stretch->n_blamed)
        return;
    free(stretch->blame);
    stretch->blame = NULL;
    add_blame(stretch, other->blame, 1, other->n_features);
    stretch->n_blamed = stretch->blame ? other->n_blamed : 0;
}

void stretch_join(struct stretch *stretch, const struct stretch *other)
{
    if (other->n_rows > stretch->n_rows) {
        stretch->n_rows = other->n_rows;
        stretch->began_us = other->began_us;
    }
    if (other->n_anomalies > stretch->n_anomalies)
        stretch->n_anomalies = other->n_anomalies;
    join_blame(stretch, other);
    if (!other->peak_values || (stretch->peak_values && other->peak_score <= stretch->peak_score))
        return;
    stretch->peak_score = other->peak_score;
    stretch->peak_us = other->peak_us;
    stretch->peak_version = other->peak_version;
    copy_values(stretch, other->peak_values, other->n_features);
}
