/* Rows are taken in blocks, so that a batch loads each weight once for several rows. Scratch of a
 * block: z[n][d], blended[n][d], encoded[n][D], residuals[n][D], is_missing[n][d], then what a part
 * needs.
 */
#include "detector/ensemble.h"

#include "detector/clusters.h"
#include "detector/encoding.h"
#include "detector/explanation.h"
#include "detector/prototypes.h"
#include "detector/residual.h"
#include "detector/scaler.h"
#include "nn/network.h"
#include "nn/norm.h"
#include "nn/packed.h"
#include "nn/vector.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#define BLOCK 16

/* Weights of a hostile file may overflow on the way; all must stay numbers. */
#define RESIDUAL_LIMIT 1e15F
#define ERROR_LIMIT    1e30

#define LEAST_RATIO 0.1 /* of a distance to its median */

void ensemble_clear(struct ensemble *ensemble)
{
    scaler_free(ensemble->scaler);
    encoding_free(ensemble->encoding);
    for (size_t i = 0; i < ENSEMBLE_MAX_NETWORKS; i++) {
        network_free(ensemble->networks[i]);
        residual_free(ensemble->residuals[i]);
    }
    prototypes_free(ensemble->prototypes);
    clusters_free(ensemble->clusters);
    *ensemble = (struct ensemble){0};
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

struct block {
    size_t n_rows;
    float *z, *blended, *encoded, *residuals; /* [BLOCK][…] */
    bool *is_missing;                         /* [BLOCK][d] */
    bool some_missing;
    size_t n_missing[BLOCK];
    float *scratch;
};

static size_t part_scratch(const struct ensemble *ensemble)
{
    size_t n = 0;

    for (size_t i = 0; i < ensemble->n_networks; i++) {
        n = larger(n, network_inference_floats(ensemble->networks[i], BLOCK));
        if (ensemble->residuals[i])
            n = larger(n, residual_scratch_floats(ensemble->residuals[i], BLOCK));
    }
    if (ensemble->prototypes)
        n = larger(n, prototypes_scratch_floats(ensemble->prototypes, BLOCK));
    if (ensemble->clusters)
        n = larger(n, clusters_scratch_floats(ensemble->clusters, BLOCK));
    return n;
}

/* Areas begin at multiples of 64 bytes. */
static size_t aligned(size_t n_floats)
{
    return (n_floats + 15) / 16 * 16;
}

size_t ensemble_scratch_floats(const struct ensemble *ensemble)
{
    const size_t d = ensemble->encoding->n_features, n_values = ensemble->encoding->n_values;

    return 2 * aligned(BLOCK * d) + 2 * aligned(BLOCK * n_values) +
           aligned(BLOCK * d * sizeof(bool) / sizeof(float) + 1) + part_scratch(ensemble);
}

static void begin_block(const struct ensemble *ensemble, float *scratch, const float *rows,
                        size_t n_rows, struct block *block)
{
    const size_t d = ensemble->encoding->n_features, n_values = ensemble->encoding->n_values;

    block->n_rows = n_rows;
    block->z = scratch;
    block->blended = block->z + aligned(BLOCK * d);
    block->encoded = block->blended + aligned(BLOCK * d);
    block->residuals = block->encoded + aligned(BLOCK * n_values);
    block->is_missing = (bool *)(block->residuals + aligned(BLOCK * n_values));
    block->scratch = block->residuals + aligned(BLOCK * n_values) +
                     aligned(BLOCK * d * sizeof(bool) / sizeof(float) + 1);
    block->some_missing = false;
    for (size_t i = 0; i < n_rows; i++) {
        float *z = block->z + i * d, *encoded = block->encoded + i * n_values;
        block->n_missing[i] = scaler_apply(ensemble->scaler, rows + i * d, z);
        block->some_missing |= block->n_missing[i] > 0;
        if (block->n_missing[i] > 0 && ensemble->imputer && ensemble->imputer->precision)
            explanation_impute(ensemble->imputer, rows + i * d, z);
        encoding_apply(ensemble->encoding, z, encoded);
        encoding_blend(ensemble->encoding, z, encoded, block->blended + i * d);
    }
    for (size_t i = 0; block->some_missing && i < n_rows * d; i++)
        block->is_missing[i] = isnan(rows[i]);
}

VECTOR_CLONES static void subtract(float *restrict residuals, const float *restrict encoded,
                                   const float *restrict out, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        const float residual = encoded[j] - out[j];
        /* NaN: the limit */
        const float below = residual < RESIDUAL_LIMIT ? residual : RESIDUAL_LIMIT;
        residuals[j] = below > -RESIDUAL_LIMIT ? below : -RESIDUAL_LIMIT;
    }
}

/* encoded - output; what is missing takes the residual that it has on average. */
static void find_residuals(const struct ensemble *ensemble, struct block *block, size_t which)
{
    const struct network *network = ensemble->networks[which];
    const struct residual *statistics = ensemble->residuals[which];
    const size_t d = ensemble->encoding->n_features, n_values = ensemble->encoding->n_values;
    const size_t stride = network_output_stride(network);
    const float *out = network_infer(network, block->scratch, block->encoded, block->n_rows);

    assert(d > 0);
    for (size_t i = 0; i < block->n_rows; i++) {
        float *residuals = block->residuals + i * n_values;
        subtract(residuals, block->encoded + i * n_values, out + i * stride, n_values);
        for (size_t j = 0; block->n_missing[i] > 0 && j < n_values; j++)
            if (block->is_missing[i * d + j % d])
                residuals[j] = statistics ? statistics->mean[j] : 0.0F;
    }
}

/* The distance that all values together would have, were the missing ones like the others. */
static double without_missing(double distance, size_t d, size_t n_missing)
{
    return n_missing == 0  ? distance
           : n_missing < d ? distance * sqrt((double)d / (double)(d - n_missing))
                           : 0.0;
}

static void network_terms(const struct ensemble *ensemble, struct block *block, size_t n_networks,
                          struct ensemble_terms *terms)
{
    const size_t d = ensemble->encoding->n_features, n_values = ensemble->encoding->n_values;
    const size_t n = n_networks < ensemble->n_networks ? n_networks : ensemble->n_networks;
    double distances[BLOCK];

    for (size_t which = 0; which < n; which++) {
        const struct residual *statistics = ensemble->residuals[which];
        find_residuals(ensemble, block, which);
        if (statistics)
            residual_distances(statistics, block->scratch, block->residuals, n_values,
                               block->n_rows, distances);
        for (size_t i = 0; i < block->n_rows; i++) {
            if (!statistics)
                distances[i] = sqrt(norm_squares(block->residuals + i * n_values, n_values) /
                                    (double)n_values);
            terms[i].networks += without_missing(distances[i], d, block->n_missing[i]) / (double)n;
        }
    }
}

static void block_terms(const struct ensemble *ensemble, struct block *block, size_t n_networks,
                        struct ensemble_terms *terms)
{
    const bool *is_missing = block->some_missing ? block->is_missing : NULL;
    double prototypes[BLOCK] = {0}, clusters[BLOCK] = {0};

    if (ensemble->prototypes)
        prototypes_distances(ensemble->prototypes, block->scratch, block->blended, is_missing,
                             block->n_rows, prototypes);
    if (ensemble->clusters)
        clusters_distances(ensemble->clusters, block->scratch, block->blended, is_missing,
                           block->n_rows, clusters);
    for (size_t i = 0; i < block->n_rows; i++)
        terms[i] = (struct ensemble_terms){
            .prototypes = prototypes[i], .clusters = clusters[i], .n_missing = block->n_missing[i]};
    network_terms(ensemble, block, n_networks, terms);
}

void ensemble_terms(const struct ensemble *ensemble, float *scratch, const float *rows,
                    size_t n_rows, size_t n_networks, struct ensemble_terms *ret_terms)
{
    const size_t d = ensemble->encoding->n_features;
    struct block block;

    for (size_t begin = 0; begin < n_rows; begin += BLOCK) {
        const size_t left = n_rows - begin;
        begin_block(ensemble, scratch, rows + begin * d, left < BLOCK ? left : BLOCK, &block);
        block_terms(ensemble, &block, n_networks, ret_terms + begin);
    }
}

/* Over the median, in logarithms; held from below, because a row that is itself a prototype must
 * not hide what the networks find. */
static double excess(double distance, double median)
{
    return log(fmax(distance / median, LEAST_RATIO));
}

double ensemble_error(const struct ensemble *ensemble, const struct ensemble_terms *terms)
{
    if (!ensemble->residuals[0])
        return fmin(terms->networks * terms->networks, ERROR_LIMIT);

    double sum = excess(terms->networks, ensemble->median_networks), weights = 1.0;
    if (ensemble->prototypes) {
        sum += ENSEMBLE_PROTOTYPES_WEIGHT * excess(terms->prototypes, ensemble->median_prototypes);
        weights += ENSEMBLE_PROTOTYPES_WEIGHT;
    }
    if (ensemble->clusters) {
        sum += ENSEMBLE_CLUSTERS_WEIGHT * excess(terms->clusters, ensemble->median_clusters);
        weights += ENSEMBLE_CLUSTERS_WEIGHT;
    }
    return fmin(exp(sum / weights), ERROR_LIMIT);
}

bool ensemble_has_finite_weights(const struct ensemble *ensemble)
{
    for (size_t k = 0; k < ensemble->n_networks; k++)
        for (size_t i = 0; i < ensemble->networks[k]->n_params; i++)
            if (!isfinite(ensemble->networks[k]->params[i]))
                return false;
    return true;
}

void ensemble_squares(const struct ensemble *ensemble, float *scratch, const float *row,
                      double *ret_squares)
{
    const size_t d = ensemble->encoding->n_features, n_values = ensemble->encoding->n_values;
    struct block block;

    assert(d > 0);
    for (size_t j = 0; j < d; j++)
        ret_squares[j] = 0.0;
    begin_block(ensemble, scratch, row, 1, &block);
    for (size_t which = 0; which < ensemble->n_networks; which++) {
        find_residuals(ensemble, &block, which);
        for (size_t j = 0; j < n_values; j++)
            ret_squares[j % d] += (double)block.residuals[j] * (double)block.residuals[j] /
                                  (double)ensemble->n_networks;
    }
    for (size_t j = 0; j < d; j++)
        ret_squares[j] = isnan(row[j]) ? 0.0 : ret_squares[j];
}

void ensemble_parts(const struct ensemble *ensemble, float *scratch, const float *row,
                    double *ret_parts)
{
    const size_t d = ensemble->encoding->n_features;

    ensemble_squares(ensemble, scratch, row, ret_parts);
    (void)scaler_apply(ensemble->scaler, row, scratch);
    for (size_t j = 0; j < d; j++) {
        const double z = fabs((double)scratch[j]);
        ret_parts[j] =
            isnan(row[j]) ? 0.0 : fmax(z - 3.0, 0.0) + 0.1 * z + 0.1 * sqrt(ret_parts[j]);
    }
}

int ensemble_typical_rows(const struct ensemble *ensemble, float *ret_rows)
{
    const struct prototypes *prototypes = ensemble->prototypes;
    const float *mean = scaler_mean(ensemble->scaler), *std = scaler_std(ensemble->scaler);
    const size_t d = ensemble->encoding->n_features;

    for (size_t i = 0; prototypes && i < prototypes->n_centroids; i++) {
        float *const row = ret_rows + i * d;
        int r = encoding_unblend(ensemble->encoding, prototypes->centroids + i * d, row);
        if (r < 0)
            return r;
        for (size_t j = 0; j < d; j++)
            row[j] = mean[j] + std[j] * row[j];
    }
    return 0;
}

/* Two lines of memory to find the knot in, and its other two numbers. */
#define RANK_GAUSS_BYTES ((size_t)4 * 64)

static void add_matrix(struct ensemble_cost *cost, const struct packed *packed)
{
    cost->multiply_adds += packed_multiply_adds(packed);
    cost->bytes += packed_bytes(packed);
}

struct ensemble_cost ensemble_cost(const struct ensemble *ensemble)
{
    const size_t d = ensemble->encoding->n_features;
    struct ensemble_cost cost = {.multiply_adds = 2 * d, .bytes = 5 * d * sizeof(float)};

    if (ensemble->encoding->rank_gauss) {
        cost.multiply_adds += d;
        cost.bytes += d * RANK_GAUSS_BYTES;
    }
    for (size_t i = 0; i < ensemble->n_networks; i++) {
        for (size_t l = 0; l < ensemble->networks[i]->n_layers; l++)
            add_matrix(&cost, ensemble->networks[i]->layers[l].packed);
        if (ensemble->residuals[i]) {
            add_matrix(&cost, ensemble->residuals[i]->packed);
            cost.multiply_adds += 2 * ensemble->encoding->n_values;
            cost.bytes += ensemble->encoding->n_values * sizeof(float);
        }
    }
    if (ensemble->prototypes)
        add_matrix(&cost, ensemble->prototypes->packed);
    for (size_t k = 0; ensemble->clusters && k < ensemble->clusters->n_clusters; k++)
        add_matrix(&cost, ensemble->clusters->packed[k]);
    return cost;
}
