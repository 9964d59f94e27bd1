/* blas - OpenBLAS set up for us: one thread, so that results do not depend on the machine's number
 * of cores and no thread catches our signals. */
#pragma once

#include <stddef.h>

void blas_use_one_thread(void); /* call first in main() */
/* ret[n] = matrix[n][n] · x[n]; reads one triangle of the matrix. */
void blas_multiply_symmetric(const float *matrix, size_t n, const float *x, float *ret);

const char *blas_kernel(void); /* what OpenBLAS chose for this processor, "Haswell" */
