#include "nn/kmeans.h"

#include "base/random.h"
#include "nn/vector.h"

#include <assert.h>
#include <cblas.h>
#include <errno.h>
#include <math.h>
#include <string.h>

/* Rows compared with all centroids at a time. */
#define BLOCK_ROWS 256

struct search {
    size_t n, k;
    float *centroids; /* [k][n], the caller's */
    double *sums;     /* [k][n] of the rows of each cluster */
    size_t *counts;   /* [k] */
    float *norms;     /* [k], |c|² */
    float *products;  /* [k][BLOCK_ROWS], -2 c · z */
    float distances[BLOCK_ROWS];
    uint32_t nearest[BLOCK_ROWS];
};

static void search_free(struct search *search)
{
    if (!search)
        return;
    free(search->sums);
    free(search->counts);
    free(search->norms);
    free(search->products);
    free(search);
}
DEFINE_CLEANUP(struct search *, search_free)

static struct search *search_new(float *centroids, size_t k, size_t n)
{
    CLEANUP(search_freep) struct search *search = calloc(1, sizeof(*search));
    if (!search)
        return NULL;
    search->n = n;
    search->k = k;
    search->centroids = centroids;
    search->sums = calloc(k * n, sizeof(*search->sums));
    search->counts = calloc(k, sizeof(*search->counts));
    search->norms = calloc(k, sizeof(*search->norms));
    search->products = calloc(k * BLOCK_ROWS, sizeof(*search->products));
    if (!search->sums || !search->counts || !search->norms || !search->products)
        return NULL;
    return TAKE(search);
}

/* k rows of n_rows, in their order, every choice equally likely (Knuth 3.4.2, algorithm S). */
static void sample_rows(const float *rows, size_t n_rows, size_t n, size_t k, struct random *random,
                        float *centroids)
{
    for (size_t i = 0, n_taken = 0; n_taken < k; i++)
        if (random_below(random, n_rows - i) < k - n_taken)
            memcpy(centroids + n_taken++ * n, rows + i * n, n * sizeof(*rows));
}

static void measure_centroids(struct search *search)
{
    for (size_t c = 0; c < search->k; c++) {
        const float *centroid = search->centroids + c * search->n;
        double square = 0.0;
        for (size_t j = 0; j < search->n; j++)
            square += (double)centroid[j] * (double)centroid[j];
        search->norms[c] = (float)square;
    }
}

/* One centroid against a block: rows side by side fill the vector registers. |z|² is left out, as
 * it is the same for all centroids. */
VECTOR_CLONES
static void keep_nearer(float *restrict distances, uint32_t *restrict nearest,
                        const float *restrict products, float norm, uint32_t centroid)
{
    for (size_t i = 0; i < BLOCK_ROWS; i++) {
        const float distance = norm + products[i];
        nearest[i] = distance < distances[i] ? centroid : nearest[i];
        distances[i] = distance < distances[i] ? distance : distances[i];
    }
}

/* search->nearest of at most BLOCK_ROWS rows; the first of equally near centroids. */
static void find_nearest(struct search *search, const float *rows, size_t n_rows)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)search->k, (int)n_rows,
                (int)search->n, -2.0F, search->centroids, (int)search->n, rows, (int)search->n,
                0.0F, search->products, BLOCK_ROWS);
    for (size_t i = 0; i < BLOCK_ROWS; i++) {
        search->distances[i] = INFINITY;
        search->nearest[i] = 0;
    }
    for (size_t c = 0; c < search->k; c++)
        keep_nearer(search->distances, search->nearest, search->products + c * BLOCK_ROWS,
                    search->norms[c], (uint32_t)c);
}

static void add_to_clusters(struct search *search, const float *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++, rows += search->n) {
        double *sum = search->sums + search->nearest[i] * search->n;
        for (size_t j = 0; j < search->n; j++)
            sum[j] += (double)rows[j];
        search->counts[search->nearest[i]]++;
    }
}

/* Every centroid goes to the mean of its rows; those without any are dropped. */
static void move_centroids(struct search *search)
{
    size_t n_kept = 0;

    for (size_t c = 0; c < search->k; c++) {
        if (search->counts[c] == 0)
            continue;
        for (size_t j = 0; j < search->n; j++)
            search->centroids[n_kept * search->n + j] =
                (float)(search->sums[c * search->n + j] / (double)search->counts[c]);
        n_kept++;
    }
    search->k = n_kept;
}

static size_t block_length(size_t first, size_t n_rows)
{
    return n_rows - first < BLOCK_ROWS ? n_rows - first : BLOCK_ROWS;
}

static void run_round(struct search *search, const float *rows, size_t n_rows)
{
    memset(search->sums, 0, search->k * search->n * sizeof(*search->sums));
    memset(search->counts, 0, search->k * sizeof(*search->counts));
    measure_centroids(search);
    for (size_t i = 0; i < n_rows; i += BLOCK_ROWS) {
        const size_t here = block_length(i, n_rows);
        find_nearest(search, rows + i * search->n, here);
        add_to_clusters(search, rows + i * search->n, here);
    }
    move_centroids(search);
}

static void write_nearest(struct search *search, const float *rows, size_t n_rows,
                          uint32_t *nearest)
{
    measure_centroids(search);
    for (size_t i = 0; i < n_rows; i += BLOCK_ROWS) {
        const size_t here = block_length(i, n_rows);
        find_nearest(search, rows + i * search->n, here);
        memcpy(nearest + i, search->nearest, here * sizeof(*nearest));
    }
}

static void use_rows_themselves(const float *rows, size_t n_rows, size_t n, float *centroids,
                                uint32_t *nearest)
{
    memcpy(centroids, rows, n_rows * n * sizeof(*rows));
    for (size_t i = 0; nearest && i < n_rows; i++)
        nearest[i] = (uint32_t)i;
}

int kmeans(const float *rows, size_t n_rows, size_t n, size_t k, size_t n_rounds,
           struct random *random, float *ret_centroids, size_t *ret_k, uint32_t *ret_nearest)
{
    assert(rows && n_rows > 0 && n > 0 && k > 0 && k <= UINT32_MAX && ret_centroids && ret_k);
    if (k >= n_rows) {
        use_rows_themselves(rows, n_rows, n, ret_centroids, ret_nearest);
        *ret_k = n_rows;
        return 0;
    }

    CLEANUP(search_freep) struct search *search = search_new(ret_centroids, k, n);
    if (!search)
        return -ENOMEM;
    sample_rows(rows, n_rows, n, k, random, ret_centroids);
    for (size_t round = 0; round < n_rounds; round++)
        run_round(search, rows, n_rows);
    if (ret_nearest)
        write_nearest(search, rows, n_rows, ret_nearest);
    *ret_k = search->k;
    return 0;
}
