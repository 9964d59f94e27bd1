/* norm - sums over a row, in double, in an order that does not depend on where the row stands. */
#pragma once

#include <stddef.h>

double norm_squares(const float *x, size_t n); /* Σ x² */

/* Σ (scale x)² */
double norm_scaled_squares(const float *x, const float *scale, size_t n);

/* The two smallest of x[n], n > 0; with n = 1 the same twice. */
void norm_two_smallest(const float *x, size_t n, float ret_smallest[2]);
