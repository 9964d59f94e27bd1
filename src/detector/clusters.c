#include "detector/clusters.h"

#include "nn/covariance.h"
#include "nn/kmeans.h"
#include "nn/norm.h"
#include "nn/packed.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define N_ROUNDS       8
#define ROWS_A_CLUSTER 10   /* at least, on average */
#define RIDGE          1e-4 /* variance that every direction has */

static struct clusters *allocate(size_t n_clusters, size_t n_features)
{
    CLEANUP(clusters_freep) struct clusters *clusters = calloc(1, sizeof(*clusters));
    if (!clusters)
        return NULL;
    clusters->n_clusters = n_clusters;
    clusters->n_features = n_features;
    clusters->centers = calloc(n_clusters, n_features * sizeof(float));
    clusters->whitening = calloc(n_clusters, n_features * n_features * sizeof(float));
    clusters->packed = calloc(n_clusters, sizeof(struct packed *));
    if (!clusters->centers || !clusters->whitening || !clusters->packed)
        return NULL;
    return TAKE(clusters);
}

void clusters_free(struct clusters *clusters)
{
    if (!clusters)
        return;
    for (size_t k = 0; clusters->packed && k < clusters->n_clusters; k++)
        packed_free(clusters->packed[k]);
    free(clusters->packed);
    free(clusters->centers);
    free(clusters->whitening);
    free(clusters);
}

/* whitening · (row - center) as matrix and bias. */
static int pack(struct clusters *clusters)
{
    const size_t d = clusters->n_features;
    AUTO_FREE float *bias = malloc(d * sizeof(*bias));
    if (!bias)
        return -ENOMEM;

    for (size_t k = 0; k < clusters->n_clusters; k++) {
        const float *whitening = clusters->whitening + k * d * d;
        for (size_t i = 0; i < d; i++) {
            double sum = 0.0;
            for (size_t j = 0; j <= i; j++)
                sum -= (double)whitening[i * d + j] * (double)clusters->centers[k * d + j];
            bias[i] = (float)sum;
        }
        int r = packed_new(whitening, bias, d, d, &clusters->packed[k]);
        if (r < 0)
            return r;
    }
    return 0;
}

int clusters_new(const float *centers, const float *whitening, size_t n_clusters, size_t n_features,
                 struct clusters **ret_clusters)
{
    assert(centers && whitening && n_clusters > 0 && n_features > 0 && ret_clusters);
    const size_t n = n_clusters * n_features;

    for (size_t i = 0; i < n; i++)
        if (!isfinite(centers[i]))
            return -EINVAL;
    for (size_t i = 0; i < n * n_features; i++)
        if (!isfinite(whitening[i]))
            return -EINVAL;
    CLEANUP(clusters_freep) struct clusters *clusters = allocate(n_clusters, n_features);
    if (!clusters)
        return -ENOMEM;
    memcpy(clusters->centers, centers, n * sizeof(float));
    memcpy(clusters->whitening, whitening, n * n_features * sizeof(float));
    int r = pack(clusters);
    if (r < 0)
        return r;
    *ret_clusters = TAKE(clusters);
    return 0;
}

/* off[n_rows][d] = each row's way from its center. */
static void subtract_centers(const struct clusters *clusters, const float *rows, size_t n_rows,
                             const uint32_t *nearest, float *off)
{
    const size_t d = clusters->n_features;

    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < d; j++)
            off[i * d + j] = rows[i * d + j] - clusters->centers[nearest[i] * d + j];
}

/* Adds the outer products of the rows of cluster k; the lower triangle only. Returns their number.
 */
static size_t add_scatter(const float *off, const uint32_t *nearest, size_t n_rows, size_t d,
                          uint32_t k, double *scatter)
{
    size_t n = 0;

    for (size_t row = 0; row < n_rows; row++) {
        if (nearest[row] != k)
            continue;
        n++;
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j <= i; j++)
                scatter[i * d + j] += (double)off[row * d + i] * (double)off[row * d + j];
    }
    return n;
}

static int fit_shapes(struct clusters *clusters, const float *off, const uint32_t *nearest,
                      size_t n_rows)
{
    const size_t d = clusters->n_features;
    AUTO_FREE double *mean = calloc(d, sizeof(*mean));
    AUTO_FREE double *pooled = calloc(d * d, sizeof(*pooled));
    AUTO_FREE double *own = calloc(d * d, sizeof(*own));
    AUTO_FREE double *whitening = calloc(d * d, sizeof(*whitening));
    if (!mean || !pooled || !own || !whitening)
        return -ENOMEM;

    int r = covariance_ledoit_wolf(off, n_rows, d, mean, pooled, NULL);
    for (size_t k = 0; r == 0 && k < clusters->n_clusters; k++) {
        const double weight = 2.0 * (double)d;
        memset(own, 0, d * d * sizeof(*own));
        const size_t n = add_scatter(off, nearest, n_rows, d, (uint32_t)k, own);
        for (size_t i = 0; i < d * d; i++)
            own[i] = (own[i] + weight * pooled[i]) / ((double)n + weight);
        for (size_t i = 0; i < d; i++)
            own[i * d + i] += RIDGE;
        r = covariance_whiten(own, d, whitening);
        for (size_t i = 0; i < d * d; i++)
            clusters->whitening[k * d * d + i] = (float)whitening[i];
    }
    return r == -EINVAL ? -EDOM : r;
}

int clusters_fit(const float *rows, size_t n_rows, size_t n_features, size_t n_clusters,
                 struct random *random, struct clusters **ret_clusters)
{
    assert(rows && n_rows > 0 && n_features > 0 && n_clusters > 0 && ret_clusters);
    size_t k = n_rows / ROWS_A_CLUSTER < n_clusters ? n_rows / ROWS_A_CLUSTER : n_clusters;
    k = k ? k : 1;
    CLEANUP(clusters_freep) struct clusters *clusters = allocate(k, n_features);
    AUTO_FREE uint32_t *nearest = calloc(n_rows, sizeof(*nearest));
    AUTO_FREE float *off = malloc(n_rows * n_features * sizeof(*off));
    if (!clusters || !nearest || !off)
        return -ENOMEM;

    int r = kmeans(rows, n_rows, n_features, k, N_ROUNDS, random, clusters->centers,
                   &clusters->n_clusters, nearest);
    if (r == 0) {
        subtract_centers(clusters, rows, n_rows, nearest, off);
        r = fit_shapes(clusters, off, nearest, n_rows);
    }
    if (r == 0)
        r = pack(clusters);
    if (r < 0)
        return r;
    *ret_clusters = TAKE(clusters);
    return 0;
}

size_t clusters_scratch_floats(const struct clusters *clusters, size_t n_rows)
{
    return n_rows * packed_stride(clusters->packed[0]) + clusters->n_features;
}

static size_t count_present(const bool *is_missing, size_t d)
{
    size_t n = 0;

    for (size_t j = 0; j < d; j++)
        n += !is_missing[j];
    return n;
}

/* Squared distance to cluster k, missing values taken to be at its center. white and filled are
 * scratch. */
static double squares_of_present(const struct clusters *clusters, size_t k, const float *row,
                                 const bool *is_missing, float *white, float *filled)
{
    const size_t d = clusters->n_features;
    const float *center = clusters->centers + k * d;

    for (size_t j = 0; j < d; j++)
        filled[j] = is_missing[j] ? center[j] : row[j];
    packed_multiply(clusters->packed[k], white, filled, d, 1);
    return norm_squares(white, d);
}

void clusters_distances(const struct clusters *clusters, float *scratch, const float *rows,
                        const bool *is_missing, size_t n_rows, double *ret_distances)
{
    const size_t d = clusters->n_features, stride = packed_stride(clusters->packed[0]);
    float *filled = scratch + n_rows * stride;

    for (size_t i = 0; i < n_rows; i++)
        ret_distances[i] = HUGE_VAL;
    for (size_t k = 0; k < clusters->n_clusters; k++) {
        packed_multiply(clusters->packed[k], scratch, rows, d, n_rows);
        for (size_t i = 0; i < n_rows; i++) {
            float *white = scratch + i * stride;
            const bool *missing = is_missing ? is_missing + i * d : NULL;
            const double squares =
                missing && count_present(missing, d) < d
                    ? squares_of_present(clusters, k, rows + i * d, missing, white, filled)
                    : norm_squares(white, d);
            ret_distances[i] = fmin(ret_distances[i], squares);
        }
    }
    for (size_t i = 0; i < n_rows; i++) {
        const size_t n_present = is_missing ? count_present(is_missing + i * d, d) : d;
        ret_distances[i] = n_present ? sqrt(ret_distances[i] * (double)d / (double)n_present) : 0.0;
    }
}
