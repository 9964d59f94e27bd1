/* pca - principal components: directions in which rows vary most (Pearson 1901), and the linear
 * autoencoder that no gradient descent can beat. Eigenvectors by LAPACK's dsyevr. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct network;

/* Of rows[n_rows][n]: mean[n], the n_components largest eigenvalues of the covariance (largest
 * first), their unit vectors[n_components][n] (the entry of largest size is positive), and the
 * trace of the covariance. n_components <= n. If n_rows < n, components beyond n_rows may have
 * variance 0 and are then any orthogonal ones. -ENOMEM; -EDOM: rows that are not finite, or LAPACK
 * gave up. */
MUST_CHECK int pca_fit(const float *rows, size_t n_rows, size_t n, size_t n_components,
                       float *ret_mean, float *ret_vectors, double *ret_values, double *ret_trace);

/* Sets the weights of a network of two linear layers (n - k - n, tied or not) to the PCA of rows:
 * code = V (x - mean), output = Vᵀ code + mean. network_pack() is the caller's. As pca_fit(). */
MUST_CHECK int pca_init_network(struct network *network, const float *rows, size_t n_rows);
