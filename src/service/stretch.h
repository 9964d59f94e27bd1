/* stretch - what a stretch of rows of one series comes to: when it began, how many, the worst.
 *
 * All zero is an empty one. One thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct scored_row;

struct stretch {
    uint64_t began_us, n_rows, n_anomalies;
    double peak_score; /* the largest, the first of equal ones: */
    uint64_t peak_us;
    unsigned peak_version; /* that judged it */
    float *peak_values;    /* [n_features]; NULL: no row yet, or there was no memory for them */
    size_t n_features;
};
void stretch_clear(struct stretch *stretch); /* empty again */

/* One more row; values of n_features. */
void stretch_take(struct stretch *stretch, const struct scored_row *row, size_t n_features);

/* What of two that end with the same row is longer or worse becomes that of the first. */
void stretch_join(struct stretch *stretch, const struct stretch *other);
