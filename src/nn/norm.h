/* norm - one number of a row: a sum in double, in an order that does not depend on where the row
 * stands, or the smallest. */
#pragma once

#include <stddef.h>

double norm_squares(const float *x, size_t n); /* Σ x² */

/* Σ (scale x)² */
double norm_scaled_squares(const float *x, const float *scale, size_t n);

float norm_smallest(const float *x, size_t n); /* n > 0 */
