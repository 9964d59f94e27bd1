/* detector - all that it takes to judge a row: schema, scaler, network, calibration.
 *
 * Immutable once made, safe to share between threads; only the workspace belongs to one thread.
 * Made by detector_train() (detector/trainer.h) or model_file_load() (detector/model_file.h). */
#pragma once

#include "base/cleanup.h"

#include "detector/ensemble.h"
#include "detector/recipe.h"
#include "detector/vocabulary.h"

#include <stdbool.h>
#include <stddef.h>

struct calibration;
struct detector;
struct explanation;
struct movement;
struct preparation;
struct relevance;
struct schema;
struct workspace; /* nn/workspace.h */

/* Sets the maths library up (one thread). Call first in main(), before any thread starts. */
void detector_init(void);
const char *detector_kernel(void); /* what OpenBLAS chose for this processor, "Haswell" */

/* That, and which of ours (nn/vector.h) runs: "Haswell fma". */
#define DETECTOR_KERNELS_SIZE 48
void detector_print_kernels(char ret_kernels[DETECTOR_KERNELS_SIZE]);

/* Whether these compute what they should on this machine (nn/kernel_check.h). 0; -EIO: reterr says
 * what does not; -ENOMEM. */
MUST_CHECK int detector_check(struct error *reterr);

struct network_summary {
    size_t epochs, best_epoch;    /* run; whose weights were kept; from 1 */
    double loss, validation_loss; /* of that epoch, mean per encoded value; NaN: there is none */
    bool is_warm;                 /* began with the weights of an earlier version */
};

/* What training was told and what it found; kept in the model file. No date and no duration: the
 * same rows and recipe give the same file, byte for byte. */
struct training_summary {
    struct recipe recipe;
    size_t n_rows;       /* all that were given */
    size_t n_drawn;      /* that training worked with: all, or as many drawn at random */
    size_t n_train;      /* that network 0 learnt from */
    size_t n_validation; /* that decided when to stop; 0: none did */
    size_t n_calibration;
    size_t n_left_out; /* rows whose label was not 0 */
    size_t n_trimmed;  /* rows that do not belong (detector/trim.h) */
    size_t n_outliers; /* values taken as missing (detector/outliers.h) */
    size_t n_folds;    /* that calibrate: 1, or all four of a small sample */
    size_t n_networks;
    struct network_summary networks[ENSEMBLE_MAX_NETWORKS];
    char kernel[DETECTOR_KERNELS_SIZE]; /* that trained it */
};

/* Takes over the parts, also when it fails (*ensemble is empty then and afterwards). Their numbers
 * of features agree. preparation NULL: rows are judged as they come; else its features are those of
 * the schema. explanation NULL: a model file of before has none. relevance NULL: every deviation
 * matters. */
MUST_CHECK int detector_new(struct schema *schema, struct preparation *preparation,
                            struct ensemble *ensemble, struct calibration *calibration,
                            struct explanation *explanation, struct relevance *relevance,
                            const struct training_summary *summary, struct detector **ret_detector);
void detector_free(struct detector *detector);
DEFINE_CLEANUP(struct detector *, detector_free)

/* What the model sees. */
const struct schema *detector_schema(const struct detector *detector);
/* How that is made of what users send; NULL: it is the same. */
struct preparation *detector_preparation(const struct detector *detector);
/* What users send: the preparation's values, or the schema. */
const struct schema *detector_values(const struct detector *detector);
/* What users read about: the preparation's inputs, or the schema. */
struct vocabulary detector_vocabulary(const struct detector *detector);
const struct ensemble *detector_ensemble(const struct detector *detector);
const struct calibration *detector_calibration(const struct detector *detector);
const struct explanation *detector_explanation(const struct detector *detector); /* or NULL */
struct relevance *detector_relevance(const struct detector *detector);           /* or NULL */
const struct training_summary *detector_summary(const struct detector *detector);
size_t detector_n_features(const struct detector *detector);

/* One row judged. anomaly ⇔ score > 1 ⇔ reconstruction_error > threshold. */
struct verdict {
    double reconstruction_error; /* detector/ensemble.h; 1 is the median normal row, except of a
                                  * classic network */
    double score;                /* reconstruction_error / threshold */
    double p_value;              /* P(a normal row has at least this error), in (0, 1] */
    bool anomaly;
    bool is_late;         /* the row is not newer than one before of its series: set by who
                           * has prepared it */
    unsigned n_imputed;   /* features that were missing (NaN), taken as their training median */
    unsigned n_set_aside; /* inputs whose deviation does not matter: judge_rows() sets them aside */
    uint64_t event;       /* its id, which the service may give an anomaly; else 0 */
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

/* One feature in the explanation of a row, in the user's units. */
struct contribution {
    size_t feature;
    float value;    /* as given; NaN if it was missing */
    float expected; /* what the other features let expect (detector/explanation.h), of a category
                     * or time all its columns (detector/whole.h); the training median of a model
                     * that cannot tell */
    float usual_low, usual_high; /* 1 % and 99 % quantile in training; NaN: not known */
    double share;                /* of the blame; of all features together 1 (0: none) */
    /* Of a model that sees several rows at once (detector/vocabulary.h): */
    size_t rows_back; /* the row before this one that is to be told of instead; 0: none */
    struct {
        float value, expected;
    } back; /* there */
};

/* Takes the next row[n_features] of a series into its movement (detector/movement.h). 0 or -ENOMEM.
 */
MUST_CHECK int detector_follow(const struct detector *detector, struct workspace *workspace,
                               const float *row, struct movement *movement);

/* Which features make one row[n_features] unusual: ret_contributions[n_features], largest share
 * first, equal shares in the order of the schema; a missing feature has share 0, and so does one of
 * which is_aside[n_features] (NULL: none) is set: it is blamed for nothing, and tells nothing of
 * the others. 0 or -ENOMEM.
 *
 * With hold[n_features], the movement of its series up to this row, a share is proportional to
 * hold^0.7 unusual^0.3, unusual being the distance of the value from what the others let expect in
 * conditional deviations. NULL: an independent row, max(|z| - 3, 0) + 0.1 |z| + 0.1 unusual. Models
 * of more than EXPLANATION_MAX_FEATURES features have ensemble_parts() for unusual; those without
 * an explanation, which format 1 lacks, have nothing but these parts. */
MUST_CHECK int detector_explain(const struct detector *detector, struct workspace *workspace,
                                const float *row, const float *hold, const bool *is_aside,
                                struct contribution *ret_contributions);

/* Only what its shares are made of: ret_weights[n_features], 0 or above, in the order of the
 * schema; to be summed over rows. 0 or -ENOMEM. */
MUST_CHECK int detector_blame(const struct detector *detector, struct workspace *workspace,
                              const float *row, const float *hold, const bool *is_aside,
                              double *ret_weights);

/* Only what detector_explain() says is expected: ret_expected[n_features]. 0 or -ENOMEM. */
MUST_CHECK int detector_expect(const struct detector *detector, struct workspace *workspace,
                               const float *row, const bool *is_aside, float *ret_expected);
