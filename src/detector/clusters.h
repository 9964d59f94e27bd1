/* clusters - up to a handful of clouds of rows, each with its own shape: how far a row is from the
 * nearest, in deviations along the cloud's own axes (Mahalanobis).
 *
 * k-means on blended rows (detector/encoding.h); each cluster's covariance is its own, shrunk
 * towards the pooled one within clusters: S = (scatter + 2 d W) / (n + 2 d) + 1e-4 I, d features, W
 * by Ledoit & Wolf. Immutable; safe to share between threads. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

#define CLUSTERS_MAX 64

struct packed;
struct random;

/* Read its fields, do not change them. */
struct clusters {
    size_t n_features, n_clusters;
    float *centers;         /* [n_clusters][n_features] */
    float *whitening;       /* [n_clusters][n_features][n_features] lower triangular: the inverse of
                             * the Cholesky factor of S */
    struct packed **packed; /* [n_clusters] whitening · (row - center) */
};

/* At most n_clusters, and one for ten rows, of rows[n_rows][n_features]. -ENOMEM;
 * -EDOM: the linear algebra failed. */
MUST_CHECK int clusters_fit(const float *rows, size_t n_rows, size_t n_features, size_t n_clusters,
                            struct random *random, struct clusters **ret_clusters);

/* From a model file. -EINVAL: not finite. */
MUST_CHECK int clusters_new(const float *centers, const float *whitening, size_t n_clusters,
                            size_t n_features, struct clusters **ret_clusters);
void clusters_free(struct clusters *clusters);
DEFINE_CLEANUP(struct clusters *, clusters_free)

/* ret_distances[n_rows] to the nearest cluster; arguments as for prototypes_distances(). A missing
 * value is taken to be at the cluster's center, and the distance scaled up to all values. */
size_t clusters_scratch_floats(const struct clusters *clusters, size_t n_rows);
void clusters_distances(const struct clusters *clusters, float *scratch, const float *rows,
                        const bool *is_missing, size_t n_rows, double *ret_distances);
