/* lapack - the routines of LAPACK that OpenBLAS brings along but declares in no header.
 *
 * Fortran: everything by pointer, 32-bit int, matrices column-major, so that "upper" there is the
 * lower triangle of our row-major ones; the length of every string comes last. */
#pragma once

#include <stddef.h>

/* Cholesky: a = Uᵀ U. *info > 0: not positive definite. */
/* NOLINTNEXTLINE(readability-identifier-naming): the Fortran symbol */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info,
             size_t uplo_length);

/* Inverse of a triangular matrix, in place. */
/* NOLINTNEXTLINE(readability-identifier-naming): the Fortran symbol */
void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info,
             size_t uplo_length, size_t diag_length);

/* Some eigenvalues and vectors of a symmetric matrix, which it destroys; smallest first. */
/* NOLINTNEXTLINE(readability-identifier-naming): the Fortran symbol */
void dsyevr_(const char *jobz, const char *range, const char *uplo, const int *n, double *a,
             const int *lda, const double *vl, const double *vu, const int *il, const int *iu,
             const double *abstol, int *m, double *w, double *z, const int *ldz, int *isuppz,
             double *work, const int *lwork, int *iwork, const int *liwork, int *info,
             size_t jobz_length, size_t range_length, size_t uplo_length);
