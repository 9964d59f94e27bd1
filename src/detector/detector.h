/* detector - all that it takes to judge a row: schema, scaler, network, calibration.
 *
 * Immutable once made, safe to share between threads; only the workspace belongs to one thread.
 * Made by detector_train() (detector/trainer.h) or model_file_load() (detector/model_file.h). */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct calibration;
struct detector;
struct network;
struct scaler;
struct schema;
struct workspace; /* nn/workspace.h */

/* Sets the maths library up (one thread). Call first in main(), before any thread starts. */
void detector_init(void);
const char *detector_kernel(void); /* what OpenBLAS chose for this processor, "Haswell" */

#define TRAINING_MAX_HIDDEN 8 /* hidden layers that can be asked for */

/* What training was told and what it found; kept in the model file. No date and no duration: the
 * same rows and options give the same file, byte for byte. */
struct training_summary {
    uint64_t seed;
    double false_alarm_rate; /* that the threshold was chosen for */
    size_t n_rows;           /* all rows that were used: the three parts below together */
    size_t n_train, n_validation, n_calibration;
    size_t n_left_out; /* rows whose label was not 0 */
    size_t epochs;     /* that were run */
    size_t best_epoch; /* whose weights were kept; from 1 */
    size_t batch_size;
    size_t max_epochs;
    double learning_rate;
    size_t latent;                                /* as asked for; 0: chosen */
    size_t n_hidden, hidden[TRAINING_MAX_HIDDEN]; /* as asked for; none: chosen */
    char kernel[32];                              /* of OpenBLAS, that trained it */
    double train_loss, validation_loss; /* mean squared error of scaled values, best epoch */
};

/* Takes over the four parts, also when it fails. Their numbers of features agree, the network is
 * packed (network_pack()). */
MUST_CHECK int detector_new(struct schema *schema, struct scaler *scaler, struct network *network,
                            struct calibration *calibration, const struct training_summary *summary,
                            struct detector **ret_detector);
void detector_free(struct detector *detector);
DEFINE_CLEANUP(struct detector *, detector_free)

const struct schema *detector_schema(const struct detector *detector);
const struct scaler *detector_scaler(const struct detector *detector);
const struct network *detector_network(const struct detector *detector);
const struct calibration *detector_calibration(const struct detector *detector);
const struct training_summary *detector_summary(const struct detector *detector);
size_t detector_n_features(const struct detector *detector);

/* One row judged. anomaly ⇔ score > 1 ⇔ reconstruction_error > threshold. */
struct verdict {
    double reconstruction_error; /* mean squared residual of the scaled features that were given */
    double score;                /* reconstruction_error / threshold */
    double p_value;              /* P(a normal row has at least this error), in (0, 1] */
    bool anomaly;
    unsigned n_imputed; /* features that were missing (NaN), taken as their training median */
};

/* Scratch memory of one thread, for any number of detectors. */
MUST_CHECK int detector_workspace_new(struct workspace **ret_workspace);
void detector_workspace_free(struct workspace *workspace);
DEFINE_CLEANUP(struct workspace *, detector_workspace_free)

/* Judges rows[n_rows][n_features]; NaN is a missing value. threshold > 0, in the unit of the error.
 * Bit-equal for a row alone or in a batch. The workspace grows when it must: 0 or -ENOMEM, and
 * never fails once it served a row of this detector. */
MUST_CHECK int detector_score(const struct detector *detector, struct workspace *workspace,
                              const float *rows, size_t n_rows, double threshold,
                              struct verdict *ret_verdicts);

/* A feature's part in a row's error. */
struct contribution {
    size_t feature;
    float value;    /* as given; NaN if it was missing */
    float expected; /* training median */
    double
        share; /* of the squared scaled residual; all features together 1 (0 if the error is 0) */
};

/* Explains one row[n_features]: ret_contributions[n_features], largest share first, equal shares in
 * the order of the schema; a missing feature has share 0. 0 or -ENOMEM. */
MUST_CHECK int detector_explain(const struct detector *detector, struct workspace *workspace,
                                const float *row, struct contribution *ret_contributions);
