/* kernel_check - does this machine compute what it should? The kernels that serve and train (ours,
 * in the machine code that was chosen for this processor, and those of OpenBLAS) against plain
 * loops in double precision. */
#pragma once

#include "base/cleanup.h"

/* What differs by more than a rounding, relative to what is summed up. */
#define KERNEL_TOLERANCE 1e-5

/* About 0.1 ms. 0; -EIO: *ret_what is which kernel differs by more than the tolerance; -ENOMEM. Any
 * thread, after blas_use_one_thread(). */
MUST_CHECK int kernel_check(double tolerance, const char **ret_what);
