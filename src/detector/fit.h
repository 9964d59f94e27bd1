/* fit - one network and its companions, trained on the rows outside one fold. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "nn/training.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clusters;
struct folds;
struct network;
struct encoding;
struct plan;
struct prototypes;
struct residual;
struct scaler;

/* Rows in the order of the folds' ring; read by all fits. */
struct fit_rows {
    const struct folds *folds;
    size_t n_features, n_values;
    const float *blended; /* [ring][n_features] standardised, blended */
    const float *encoded; /* [ring][n_values] */
};

struct fit {
    /* what to do */
    size_t fold;
    size_t shape;    /* which of the plan's networks */
    bool with_parts; /* prototypes and clusters too */
    uint64_t seed;
    struct scaler *scaler;     /* of its own; NULL: the one that all share */
    struct encoding *encoding; /* the same */
    /* Weights to begin with as well (borrowed); NULL or other layers: none. What then has the lower
     * validation loss is kept. */
    const struct network *start;
    /* what came out; NULL for what is not in the plan */
    struct network *network;
    struct residual *residual;
    struct prototypes *prototypes;
    struct clusters *clusters;
    struct training_result result;
    bool is_warm;                   /* the network that began with start's weights was better */
    size_t n_trained, n_validation; /* rows; n_validation 0: none decided when to stop */
    struct error error;
};

/* 0; -EDOM with the reason in fit->error: the training diverged; -ECANCELED; -ENOMEM. */
MUST_CHECK int fit_run(struct fit *fit, const struct plan *plan, const struct fit_rows *rows,
                       bool (*on_epoch)(void *userdata, const struct training_progress *),
                       void *userdata);
void fit_clear(struct fit *fit);
