/* trainer - makes a detector from normal rows.
 *
 * The rows, in blocks of their file order so that neighbours in time stay together, are split into
 * training (64 %), validation (16 %, early stopping) and calibration (20 %, threshold). A plain
 * undercomplete autoencoder with tanh layers and a linear output learns the training rows: MSE,
 * mini-batches, Adam. Same rows and options → the same detector, bit for bit. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct detector;

#define TRAINER_MIN_ROWS  20
#define TRAINER_MAX_COUNT 1000000000 /* epochs, rows in a batch */

struct trainer_options {
    const size_t *hidden; /* [n_hidden] widths of the encoder's hidden layers, mirrored in the
                           * decoder; n_hidden 0: chosen from the number of features */
    size_t n_hidden;
    size_t latent;           /* width of the code; 0: chosen from the number of features */
    double false_alarm_rate; /* in (0, 1) */
    double learning_rate;
    size_t epochs; /* at most; early stopping usually ends before */
    size_t batch_size;
    uint64_t seed;
    size_t n_left_out; /* for the summary only */
};

/* The defaults: rate 0.001, learning rate 0.002, 400 epochs, batches of 64, seed 1. */
void trainer_options_init(struct trainer_options *options);

struct trainer_progress {
    size_t epoch, epochs; /* epoch from 1 */
    double train_loss, validation_loss;
};

/* Trains on rows[n_rows][n_features], finite or NaN (missing: the median of the column), columns
 * named by names. on_epoch (may be NULL) is called after each epoch; false cancels.
 * -EINVAL with the reason: too few rows, a layer that is not narrower than the features, an option
 * out of range, a column with no value at all; -EDOM: the training diverged; -ECANCELED; -ENOMEM.
 */
MUST_CHECK int detector_train(const float *rows, size_t n_rows, const char *const *names,
                              size_t n_features, const struct trainer_options *options,
                              bool (*on_epoch)(void *userdata, const struct trainer_progress *),
                              void *userdata, struct detector **ret_detector, struct error *reterr);
