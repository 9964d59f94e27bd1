/* prototypes - a few hundred typical rows: how far a row is from the nearest tells what the
 * networks are blind to, such as a gap between clusters that they interpolate through.
 *
 * Centroids of k-means on blended rows (detector/encoding.h). Immutable; safe to share between
 * threads. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

#define PROTOTYPES_MAX 4096

struct packed;
struct random;

/* Read its fields, do not change them. */
struct prototypes {
    size_t n_features, n_centroids;
    float *centroids; /* [n_centroids][n_features] */
    struct packed *packed;
};

/* At most n_centroids of rows[n_rows][n_features]. -ENOMEM. */
MUST_CHECK int prototypes_fit(const float *rows, size_t n_rows, size_t n_features,
                              size_t n_centroids, struct random *random,
                              struct prototypes **ret_prototypes);

/* From a model file. -EINVAL: not finite. */
MUST_CHECK int prototypes_new(const float *centroids, size_t n_centroids, size_t n_features,
                              struct prototypes **ret_prototypes);
void prototypes_free(struct prototypes *prototypes);
DEFINE_CLEANUP(struct prototypes *, prototypes_free)

/* ret_distances[n_rows]: Euclidean distance of rows[n_rows][n_features] to the nearest centroid;
 * the same bits for a row alone or in a batch. is_missing[n_rows][n_features] (NULL: nothing is)
 * leaves values out; the distance is then that of as many values as are there, scaled up to all.
 * scratch holds prototypes_scratch_floats(n_rows). */
size_t prototypes_scratch_floats(const struct prototypes *prototypes, size_t n_rows);
void prototypes_distances(const struct prototypes *prototypes, float *scratch, const float *rows,
                          const bool *is_missing, size_t n_rows, double *ret_distances);
