#include "nn/blas.h"

#include <cblas.h>

void blas_use_one_thread(void)
{
    openblas_set_num_threads(1);
}

const char *blas_kernel(void)
{
    return openblas_get_corename();
}
