/* blas - OpenBLAS set up for us: one thread, so that results do not depend on the machine's number
 * of cores and no thread catches our signals. */
#pragma once

void blas_use_one_thread(void); /* call first in main() */
const char *blas_kernel(void);  /* what OpenBLAS chose for this processor, "Haswell" */
