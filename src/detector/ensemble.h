/* ensemble - the trained parts of a detector, and how they make one number of a row, the
 * reconstruction error.
 *
 *   row → scaler → encoding → each network → its residual → distance ┐
 *                         ├→ prototypes → distance                   ├→ reconstruction error
 *                         └→ clusters   → distance                   ┘
 *
 * With residual statistics: the geometric mean of N / n, P / p and C / c with the weights 1, 1 and
 * 0.5, where N is the mean of the networks' distances, P and C those of prototypes and clusters
 * where they are there, and n, p, c their medians over rows that the parts have not seen, so that 1
 * is about the median normal row (less where rows repeat). Without (a classic autoencoder): the
 * mean square of the encoded row minus its reconstruction.
 *
 * Immutable once made; safe to share between threads, each with its own scratch memory. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct clusters;
struct encoding;
struct explanation;
struct network;
struct prototypes;
struct residual;
struct scaler;

#define ENSEMBLE_MAX_NETWORKS 8

/* Its maker fills it in and owns the parts: the networks are packed (network_pack()), widths agree.
 */
struct ensemble {
    struct scaler *scaler;
    struct encoding *encoding;
    size_t n_networks; /* at least 1 */
    struct network *networks[ENSEMBLE_MAX_NETWORKS];
    struct residual *residuals[ENSEMBLE_MAX_NETWORKS]; /* for each network, or NULL for the only one
                                                        */
    struct prototypes *prototypes;                     /* NULL: none, as for clusters */
    struct clusters *clusters;
    double median_networks, median_prototypes, median_clusters; /* above 0 */
    /* Borrowed: what is missing in a row reaches the networks as the other values let expect it;
     * NULL, or one without a precision: as its median. */
    const struct explanation *imputer;
};

#define ENSEMBLE_PROTOTYPES_WEIGHT 1.0
#define ENSEMBLE_CLUSTERS_WEIGHT   0.5

void ensemble_clear(struct ensemble *ensemble); /* frees the parts */

/* A row's distances by part, before the medians; 0 for a part that is not there. */
struct ensemble_terms {
    double networks, prototypes, clusters;
    size_t n_missing; /* values that are not given (NaN): left out of all terms */
};

/* Of rows[n_rows][n_features], unscaled; only the first n_networks count (all of them: at least
 * ensemble->n_networks). The same bits for a row alone or in a batch. scratch holds
 * ensemble_scratch_floats(). */
size_t ensemble_scratch_floats(const struct ensemble *ensemble);
void ensemble_terms(const struct ensemble *ensemble, float *scratch, const float *rows,
                    size_t n_rows, size_t n_networks, struct ensemble_terms *ret_terms);

/* The reconstruction error: finite, not negative. */
double ensemble_error(const struct ensemble *ensemble, const struct ensemble_terms *terms);

/* Whether all weights of the networks are finite. The error does not tell: it is finite always. */
bool ensemble_has_finite_weights(const struct ensemble *ensemble);

/* ret_squares[n_features]: each feature's squared residuals, mean over the networks; 0 for a
 * missing one. */
void ensemble_squares(const struct ensemble *ensemble, float *scratch, const float *row,
                      double *ret_squares);

/* ret_parts[n_features]: how much each feature makes a row unusual, max(|z| - 3, 0) + 0.1 |z| +
 * 0.1 |r| with z its standardised value and r the root of its squared residuals, mean over the
 * networks; 0 for a missing one. Of a row's residual alone the network spreads the blame over all
 * features that hang together: on labelled incidents of servers |z| names the cause more often. */
void ensemble_parts(const struct ensemble *ensemble, float *scratch, const float *row,
                    double *ret_parts);

/* Rows that stand for what it has learnt, unscaled: its prototypes, as many as it has (NULL: none).
 * ret_rows[n][n_features]. Means of rows that are alike, so a feature that counts may have values
 * between two counts. -ENOMEM. */
MUST_CHECK int ensemble_typical_rows(const struct ensemble *ensemble, float *ret_rows);

/* What judging one row costs: multiply-adds of all parts, and bytes of them that it reads. */
struct ensemble_cost {
    size_t multiply_adds, bytes;
};
struct ensemble_cost ensemble_cost(const struct ensemble *ensemble);
