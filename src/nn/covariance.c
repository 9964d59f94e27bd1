#include "nn/covariance.h"

#include "nn/lapack.h"

#include <assert.h>
#include <cblas.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Rows that are doubles at a time: the only memory beside the results. */
#define BLOCK_ROWS 256

static void mean_of(const float *rows, size_t n_rows, size_t n, double *mean)
{
    memset(mean, 0, n * sizeof(*mean));
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n; j++)
            mean[j] += (double)rows[i * n + j];
    for (size_t j = 0; j < n; j++)
        mean[j] /= (double)n_rows;
}

static void center(const float *rows, size_t n_rows, size_t n, const double *mean, double *block)
{
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n; j++)
            block[i * n + j] = (double)rows[i * n + j] - mean[j];
}

/* Sum of |x|⁴ over the rows of a centred block. */
static double fourth_powers(const double *block, size_t n_rows, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n_rows; i++) {
        const double square = cblas_ddot((int)n, block + i * n, 1, block + i * n, 1);
        sum += square * square;
    }
    return sum;
}

static void mirror_lower(double *matrix, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            matrix[j * n + i] = matrix[i * n + j];
}

/* *ret_fourth: mean of |x - mean|⁴. */
static int fit(const float *rows, size_t n_rows, size_t n, double *ret_mean, double *ret_covariance,
               double *ret_fourth)
{
    assert(rows && n_rows > 0 && n > 0 && ret_mean && ret_covariance);
    const size_t block_rows = n_rows < BLOCK_ROWS ? n_rows : BLOCK_ROWS;
    AUTO_FREE double *block = calloc(block_rows * n, sizeof(*block));
    if (!block)
        return -ENOMEM;

    double fourth = 0.0;
    mean_of(rows, n_rows, n, ret_mean);
    for (size_t i = 0; i < n_rows; i += block_rows) {
        const size_t here = n_rows - i < block_rows ? n_rows - i : block_rows;
        center(rows + i * n, here, n, ret_mean, block);
        /* covariance += blockᵀ · block / n_rows */
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (int)n, (int)here, 1.0 / (double)n_rows,
                    block, (int)n, i == 0 ? 0.0 : 1.0, ret_covariance, (int)n);
        fourth += fourth_powers(block, here, n);
    }
    mirror_lower(ret_covariance, n);
    *ret_fourth = fourth / (double)n_rows;
    return 0;
}

int covariance_empirical(const float *rows, size_t n_rows, size_t n, double *ret_mean,
                         double *ret_covariance)
{
    double fourth;

    return fit(rows, n_rows, n, ret_mean, ret_covariance, &fourth);
}

static double trace(const double *matrix, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += matrix[i * n + i];
    return sum;
}

/* How much of the distance of the covariance from mu I is chance: Ledoit & Wolf's beta / delta. */
static double shrinkage_of(const double *covariance, size_t n_rows, size_t n, double fourth)
{
    const double mu = trace(covariance, n) / (double)n;
    double squares = 0.0, delta = 0.0;

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            const double value = covariance[i * n + j];
            const double distance = i == j ? value - mu : value;
            squares += value * value;
            delta += distance * distance;
        }
    const double beta = fmax((fourth - squares) / (double)n_rows, 0.0);
    return delta == 0.0 ? 0.0 : fmin(beta / delta, 1.0);
}

int covariance_ledoit_wolf(const float *rows, size_t n_rows, size_t n, double *ret_mean,
                           double *ret_covariance, double *ret_shrinkage)
{
    double fourth;
    int r = fit(rows, n_rows, n, ret_mean, ret_covariance, &fourth);
    if (r < 0)
        return r;

    const double shrinkage = shrinkage_of(ret_covariance, n_rows, n, fourth);
    const double mu = trace(ret_covariance, n) / (double)n;
    for (size_t i = 0; i < n * n; i++)
        ret_covariance[i] *= 1.0 - shrinkage;
    for (size_t i = 0; i < n; i++)
        ret_covariance[i * n + i] += shrinkage * mu;
    if (ret_shrinkage)
        *ret_shrinkage = shrinkage;
    return 0;
}

/* A variance of floats is below 1e78; this far from infinity nothing below can overflow. */
static bool lower_is_sane(const double *covariance, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            if (!(fabs(covariance[i * n + j]) < 1e100))
                return false;
    return true;
}

/* ret_factor = L. A pivot that is all rounding error counts as none. */
static bool factorise(const double *covariance, size_t n, double *ret_factor)
{
    const int width = (int)n;
    int info = 0;

    for (size_t i = 0; i < n; i++) {
        memcpy(ret_factor + i * n, covariance + i * n, (i + 1) * sizeof(double));
        memset(ret_factor + i * n + i + 1, 0, (n - i - 1) * sizeof(double));
    }
    dpotrf_("U", &width, ret_factor, &width, &info, 1);
    if (info != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        const double pivot = ret_factor[i * n + i];
        if (pivot * pivot <= (double)n * DBL_EPSILON * covariance[i * n + i])
            return false;
    }
    return true;
}

int covariance_whiten(double *covariance, size_t n, double *ret_whitening)
{
    assert(covariance && n > 0 && ret_whitening);
    if (!lower_is_sane(covariance, n))
        return -EINVAL;

    const double mean = trace(covariance, n) / (double)n;
    double step = 1e-6 * (mean > (double)FLT_MIN ? mean : 1.0);
    while (!factorise(covariance, n, ret_whitening)) {
        for (size_t i = 0; i < n; i++)
            covariance[i * n + i] += step;
        step *= 10;
    }

    const int width = (int)n;
    int info = 0;
    dtrtri_("U", "N", &width, ret_whitening, &width, &info, 1, 1);
    assert(info == 0); /* the diagonal of a Cholesky factor is positive */
    return 0;
}

int covariance_invert(double *covariance, size_t n, double *ret_inverse)
{
    AUTO_FREE double *whitening = malloc(n * n * sizeof(*whitening));
    if (!whitening)
        return -ENOMEM;

    int r = covariance_whiten(covariance, n, whitening);
    if (r < 0)
        return r;
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (int)n, (int)n, 1.0, whitening, (int)n, 0.0,
                ret_inverse, (int)n);
    mirror_lower(ret_inverse, n);
    return 0;
}
