#include "detector/prototypes.h"

#include "nn/kmeans.h"
#include "nn/norm.h"
#include "nn/packed.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_ROUNDS 8 /* of k-means: more changed nothing */

int prototypes_new(const float *centroids, size_t n_centroids, size_t n_features,
                   struct prototypes **ret_prototypes)
{
    assert(centroids && n_centroids > 0 && n_features > 0 && ret_prototypes);
    const size_t n = n_centroids * n_features;
    CLEANUP(prototypes_freep) struct prototypes *prototypes = calloc(1, sizeof(*prototypes));

    for (size_t i = 0; i < n; i++)
        if (!isfinite(centroids[i]))
            return -EINVAL;
    if (!prototypes)
        return -ENOMEM;
    prototypes->n_features = n_features;
    prototypes->n_centroids = n_centroids;
    prototypes->centroids = calloc(n_centroids, n_features * sizeof(float));
    if (!prototypes->centroids)
        return -ENOMEM;
    memcpy(prototypes->centroids, centroids, n * sizeof(float));
    int r = packed_new(centroids, NULL, n_features, n_centroids, &prototypes->packed);
    if (r < 0)
        return r;
    *ret_prototypes = TAKE(prototypes);
    return 0;
}

void prototypes_free(struct prototypes *prototypes)
{
    if (!prototypes)
        return;
    free(prototypes->centroids);
    packed_free(prototypes->packed);
    free(prototypes);
}

int prototypes_fit(const float *rows, size_t n_rows, size_t n_features, size_t n_centroids,
                   struct random *random, struct prototypes **ret_prototypes)
{
    assert(rows && n_rows > 0 && n_centroids > 0);
    size_t k = n_centroids < n_rows ? n_centroids : n_rows;
    AUTO_FREE float *centroids = malloc(k * n_features * sizeof(*centroids));
    if (!centroids)
        return -ENOMEM;

    int r = kmeans(rows, n_rows, n_features, k, N_ROUNDS, random, centroids, &k, NULL);
    return r < 0 ? r : prototypes_new(centroids, k, n_features, ret_prototypes);
}

size_t prototypes_scratch_floats(const struct prototypes *prototypes, size_t n_rows)
{
    return n_rows * packed_stride(prototypes->packed) + 2 * prototypes->n_features;
}

static size_t count_present(const bool *is_missing, size_t d)
{
    size_t n = 0;

    for (size_t j = 0; j < d; j++)
        n += !is_missing[j];
    return n;
}

/* squares[n_centroids] over the values that are there. Taking the others out of a sum over all
 * would leave its rounding error. scratch[2 n_features]. */
static void squares_of_present(const struct prototypes *prototypes, const float *row,
                               const bool *is_missing, float *scratch, float *squares)
{
    const size_t d = prototypes->n_features;
    float *off = scratch, *is_there = scratch + d;

    for (size_t j = 0; j < d; j++)
        is_there[j] = is_missing[j] ? 0.0F : 1.0F;
    for (size_t k = 0; k < prototypes->n_centroids; k++) {
        const float *centroid = prototypes->centroids + k * d;
        for (size_t j = 0; j < d; j++)
            off[j] = row[j] - centroid[j];
        squares[k] = (float)norm_scaled_squares(off, is_there, d);
    }
}

void prototypes_distances(const struct prototypes *prototypes, float *scratch, const float *rows,
                          const bool *is_missing, size_t n_rows, double *ret_distances)
{
    const size_t d = prototypes->n_features, stride = packed_stride(prototypes->packed);
    float *more_scratch = scratch + n_rows * stride;

    packed_distances(prototypes->packed, scratch, rows, d, n_rows);
    for (size_t i = 0; i < n_rows; i++) {
        float *squares = scratch + i * stride;
        const size_t n_present = is_missing ? count_present(is_missing + i * d, d) : d;

        if (n_present < d)
            squares_of_present(prototypes, rows + i * d, is_missing + i * d, more_scratch, squares);
        const double distance = sqrt((double)norm_smallest(squares, prototypes->n_centroids));
        ret_distances[i] = n_present ? distance * sqrt((double)d / (double)n_present) : 0.0;
    }
}
