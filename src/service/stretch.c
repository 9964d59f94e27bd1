#include "service/stretch.h"

#include "service/learning.h"

#include <stdlib.h>
#include <string.h>

void stretch_clear(struct stretch *stretch)
{
    free(stretch->peak_values);
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

void stretch_take(struct stretch *stretch, const struct scored_row *row, size_t n_features)
{
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
}

void stretch_join(struct stretch *stretch, const struct stretch *other)
{
    if (other->n_rows > stretch->n_rows) {
        stretch->n_rows = other->n_rows;
        stretch->began_us = other->began_us;
    }
    if (other->n_anomalies > stretch->n_anomalies)
        stretch->n_anomalies = other->n_anomalies;
    if (!other->peak_values || (stretch->peak_values && other->peak_score <= stretch->peak_score))
        return;
    stretch->peak_score = other->peak_score;
    stretch->peak_us = other->peak_us;
    stretch->peak_version = other->peak_version;
    copy_values(stretch, other->peak_values, other->n_features);
}
