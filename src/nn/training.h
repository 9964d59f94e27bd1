/* training - gradient descent on a network: mini-batches, noise, penalties, schedule, early
 * stopping.
 *
 * Same network, rows and options → the same weights, bit for bit, on one kernel. One training
 * belongs to one thread; several may run side by side. */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "nn/noise.h"
#include "nn/optimizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct network;

struct training_options {
    struct optimizer_options optimizer;
    double learning_rate; /* at its highest */
    size_t warmup_steps;  /* over which it rises in a line from 0 */
    bool cosine;          /* then falls to 0 at the last step along half a cosine (Loshchilov &
                           * Hutter 2017); else it stays */
    size_t n_steps;       /* at most; 0: the weights are only judged */
    bool full_passes;     /* an epoch is a pass over the rows, however many that makes */
    size_t batch_size;
    bool with_replacement; /* batches are drawn from all rows; else every row once a pass, in an
                            * order shuffled anew, the last batch shorter */
    enum noise_kind noise;
    double noise_amount; /* the network sees noisy rows and must give the clean ones */
    double code_l1;      /* adds code_l1 · mean over rows of Σ |code| to the loss */
    double sparsity; /* adds sparsity · Σ over codes of KL(target ‖ mean activation) (Ng 2011);
                      * only for sigmoid codes: their mean over the batch is a probability */
    double sparsity_target; /* in (0, 1) */
    double clip;            /* largest norm of the gradient; 0: any */
    size_t patience; /* epochs without a better validation loss before training ends, and the best
                      * weights are kept; 0, or no validation rows: all steps are done, and the
                      * last weights kept */
    uint64_t seed;
};

/* Without full_passes: where passes over the rows would make more than TRAINING_MAX_EPOCHS reports
 * with n_steps steps and patience 0, an epoch is a hundredth of the steps. */
#define TRAINING_MAX_EPOCHS 100

struct training_progress {
    size_t epoch, epochs; /* epoch from 1; epochs at most */
    double loss,
        validation_loss;  /* mean per value, without penalties; loss of noisy rows as trained */
    double gradient_norm; /* mean over the epoch's steps, before clipping */
    double seconds;       /* since the training began */
};

struct training_result {
    size_t epochs, best_epoch; /* run; whose weights were kept */
    double loss, validation_loss;
};

/* Trains from the weights that network has on rows[n_rows][n_features], judged after each epoch on
 * validation[n_validation][n_features] (n_validation 0: on nothing, validation_loss is NaN).
 * on_epoch (may be NULL) is called in the caller's thread; false cancels. -EDOM with the reason:
 * the training diverged (loss not finite, or a hundred times that of a network that always answers
 * 0); -ECANCELED; -ENOMEM. The weights are undefined then. Call network_pack() afterwards. */
MUST_CHECK int training_run(struct network *network, const float *rows, size_t n_rows,
                            const float *validation, size_t n_validation,
                            const struct training_options *options,
                            bool (*on_epoch)(void *userdata, const struct training_progress *),
                            void *userdata, struct training_result *ret_result,
                            struct error *reterr);
