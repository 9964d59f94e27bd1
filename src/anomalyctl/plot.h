/* plot - the charts of evaluate --plot and train --plot, each one SVG file.
 *
 * Files are written as a whole or not at all. reterr without text: -ENOMEM. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct evaluation; /* detector/evaluation.h */

/* Before long work: whether path can be written as far as one can tell without writing. */
MUST_CHECK int plot_check(const char *path, struct error *reterr);

/* Rows that were judged and compared with their labels. */
struct plot_rows {
    const char *data, *model; /* what they are called; of a path the last part is shown */
    const double *scores;     /* [n_rows], finite: what the curves rank */
    const double *errors;     /* [n_rows]: what the histogram counts */
    const bool *is_anomaly;   /* [n_rows] */
    size_t n_rows;
    double threshold; /* of the errors, above 0 */
};

/* ROC curve, precision-recall curve and the errors of normal rows and anomalies. found: of the same
 * rows. Negative errno as from file_write(). */
MUST_CHECK int plot_evaluation(const char *path, const struct plot_rows *rows,
                               const struct evaluation *found, struct error *reterr);

/* One epoch of one network. */
struct plot_loss {
    size_t network;               /* from 0 */
    size_t epoch;                 /* rising within a network */
    double loss, validation_loss; /* NaN: none */
};

/* The losses of training, in any order of networks. best_epochs[n_networks]: whose weights were
 * kept; 0: not marked. Every network is below n_networks. */
MUST_CHECK int plot_losses(const char *path, const struct plot_loss *losses, size_t n_losses,
                           const size_t *best_epochs, size_t n_networks, struct error *reterr);
