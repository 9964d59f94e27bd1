#include "nn/blas.h"

#include <cblas.h>

/* OpenBLAS starts a thread for each further processor when it is loaded, and each spins for 25 ms
 * before it sleeps, which is most of a short command. This ends them; the library calls it itself
 * before fork(). An OpenBLAS without threads lacks it. */
/* NOLINTNEXTLINE(readability-identifier-naming): the library's symbol */
int blas_thread_shutdown_(void) __attribute__((weak));

void blas_use_one_thread(void)
{
    openblas_set_num_threads(1);
    if (blas_thread_shutdown_)
        (void)blas_thread_shutdown_();
}

const char *blas_kernel(void)
{
    return openblas_get_corename();
}

void blas_multiply_symmetric(const float *matrix, size_t n, const float *x, float *ret)
{
    cblas_ssymv(CblasRowMajor, CblasUpper, (int)n, 1.0F, matrix, (int)n, x, 1, 0.0F, ret, 1);
}
