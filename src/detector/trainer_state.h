/* trainer_state - what trainer.c and trainer_judge.c have in common: a training on its way. */
#pragma once

#include "detector/ensemble.h"
#include "detector/fit.h"
#include "detector/folds.h"
#include "detector/plan.h"
#include "detector/sample.h"
#include "detector/trainer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct calibration;

#define MAX_FITS (ENSEMBLE_MAX_NETWORKS + N_FOLDS - 1)

/* Everything that a training holds on to. */
struct training {
    const float *given; /* [n_given][n_features] */
    size_t n_given, n_features;
    const struct trainer_options *options;
    struct sample sample; /* of them */
    struct plan plan;
    struct folds folds;
    struct fit_rows fit_rows;
    float *blended, *encoded; /* along the ring */
    struct fit fits[MAX_FITS];
    size_t n_fits, n_folds; /* n_folds: that calibrate, 1 or all */
    struct ensemble ensemble;
    const struct explanation *imputer; /* of values that are missing where rows are judged */
    /* progress */
    bool (*on_epoch)(void *userdata, const struct trainer_progress *);
    void *userdata;
    pthread_mutex_t lock;
    double done[MAX_FITS]; /* share of each fit */
    bool is_cancelled;
};

/* After the fits: the medians of the distances on rows that the parts have not seen. -ENOMEM. */
MUST_CHECK int trainer_find_medians(struct training *training);

/* Errors of the folds' rows by parts that have not seen them, and of rows that were not drawn if
 * the rate needs more. -ENOMEM. */
MUST_CHECK int trainer_calibrate_on_folds(const struct training *training,
                                          struct calibration **ret_calibration);

/* By all that serves (training->ensemble is complete), on options->calibration. -ENOMEM. */
MUST_CHECK int trainer_calibrate_on_given(const struct training *training,
                                          struct calibration **ret_calibration);
