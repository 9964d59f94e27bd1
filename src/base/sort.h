/* sort - numbers in order. NaN is not allowed. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Ascending, by radix; scratch[n]. 10,000 floats take a tenth of qsort()'s time. */
void sort_floats(float *values, size_t n, float *scratch);
void sort_doubles(double *values, size_t n);

struct sort_item {
    float value;
    uint32_t index; /* what it belongs to */
};
/* The largest value first, equal ones in the order in which they are, by radix; scratch[n]. */
void sort_items_down(struct sort_item *items, size_t n, struct sort_item *scratch);

/* The middle one, or the mean of the middle two; reorders values. n > 0. */
double sort_median(double *values, size_t n);
