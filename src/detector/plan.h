/* plan - a recipe made concrete for the rows at hand: layers, loss, steps, parts. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "detector/ensemble.h"
#include "detector/recipe.h"
#include "nn/network.h"
#include "nn/training.h"

#include <stdbool.h>
#include <stddef.h>

#define PLAN_MAX_LAYERS (2 * RECIPE_MAX_HIDDEN + 2)

/* Above this many features two encodings, their full covariance, prototypes and clusters cost more
 * than they tell. */
#define PLAN_MOST_FEATURES 200

/* What a preset takes where nothing was asked for. */
#define PLAN_STEPS         3000 /* best and balanced */
#define PLAN_EPOCHS        400  /* fast, at most */
#define PLAN_BATCH_SIZE    64
#define PLAN_LEARNING_RATE 0.002
#define PLAN_NOISE         0.5 /* best and balanced */
#define PLAN_PROTOTYPES    400
#define PLAN_CLUSTERS      4
#define PLAN_NOISE_PAIR    0.8 /* the same where a row is encoded twice, and the noise Gaussian */

enum plan_encoding {
    PLAN_ENCODING_STANDARD, /* standardised */
    PLAN_ENCODING_PAIR,     /* kurtosis-scaled and rank-gauss */
    PLAN_ENCODING_BOUNDED   /* values in [0, 1] as they are, others standardised */
};

struct plan_network {
    size_t n_layers, n_encoder_layers;
    size_t widths[PLAN_MAX_LAYERS + 1];
    enum activation activations[PLAN_MAX_LAYERS];
};

struct plan {
    enum plan_encoding encoding;
    bool *bounded;    /* [n_features] judged by cross-entropy; NULL: none */
    bool is_whitened; /* residual statistics; else the plain mean square */
    bool is_pca;
    bool is_tied;
    size_t n_networks;
    struct plan_network networks[ENSEMBLE_MAX_NETWORKS];
    enum network_init init;
    size_t n_prototypes, n_clusters;  /* 0: none */
    struct training_options training; /* but for n_steps and seed */
    size_t n_steps, n_epochs;         /* one of them is 0 */
};

/* rows[n_rows][n_features], unscaled, decide what is bounded; names are for messages. -EINVAL with
 * the reason: the rows contradict the recipe; -ENOMEM. The recipe was checked. */
MUST_CHECK int plan_make(const struct recipe *recipe, const float *rows, size_t n_rows,
                         size_t n_features, const char *const *names, struct plan *ret_plan,
                         struct error *reterr);
void plan_clear(struct plan *plan);

/* How much noise a recipe trains with: a deviation, or the share that is masked. is_pair: a row is
 * encoded twice. */
double plan_noise(const struct recipe *recipe, bool is_pair);
