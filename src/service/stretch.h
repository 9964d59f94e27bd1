/* stretch - what a stretch of rows of one series comes to: when it began, how many, the worst, and
 * which features are to blame.
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
    double *blame;     /* [n_features] sums over rows; NULL: of no row, or there was no memory */
    uint64_t n_blamed; /* flagged rows that it stands for */
    size_t n_features;
};
void stretch_clear(struct stretch *stretch); /* empty again */

/* How many flagged rows the next one's blame stands for; 0: another's stands for it. An incident
 * may last, and a blame of many features is dear: the first rows are all looked at, of further ones
 * each 2nd, then each 4th, and so on, so that the work grows with the logarithm of their number. */
uint64_t stretch_step(const struct stretch *stretch, size_t n_features);

/* One more row; values of n_features, and what it is blamed on (service/learning_blame.c), which
 * counts if stretch_step() wants it; NULL: nothing. */
void stretch_take(struct stretch *stretch, const struct scored_row *row, const double *blame,
                  size_t n_features);

/* What of two that end with the same row is longer or worse becomes that of the first. */
void stretch_join(struct stretch *stretch, const struct stretch *other);
