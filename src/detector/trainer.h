/* trainer - makes a detector from normal rows.
 *
 * The recipe says what is trained (detector/plan.h). The rows are dealt into four folds
 * (detector/folds.h): network j learns from the rows outside fold j, prototypes and clusters from
 * those outside fold 0, and the threshold comes from the rows of fold 0, which network 0 has not
 * seen. With fewer than TRAINER_SMALL rows a quarter is too few to tell a threshold: then all is
 * fitted again without each of the other folds, and every row gives an error of parts that have not
 * seen it.
 *
 * Rows that do not belong are left out first if the recipe says so (detector/trim.h). Those of them
 * that may be normal calibrate: to leave out the farthest normal rows would make the threshold too
 * low. Rows that were not drawn, and those given to calibrate, are not looked at.
 *
 * Same rows and recipe → the same detector, bit for bit, on one kernel and any number of threads.
 */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "detector/recipe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct detector;
struct preparation;
struct relevance;

#define TRAINER_MIN_ROWS 20
#define TRAINER_SMALL    4000
/* Of more rows, this many drawn at random train; the others calibrate if the rate needs them. */
#define TRAINER_MAX_ROWS 100000

struct trainer_options {
    struct recipe recipe;
    size_t n_threads;  /* at least 1 */
    size_t n_left_out; /* for the summary only */
    /* How the rows were prepared, for those that will be judged; shared. NULL: they were not. */
    struct preparation *preparation;
    /* [n_calibration][n_features] rows that no network sees and that alone decide the threshold;
     * NULL: those of the folds. Borrowed, as is start: whose weights are tried as a beginning
     * beside a fresh one; the better on held-out rows is kept. NULL, or with other layers: fresh
     * only. */
    const float *calibration;
    size_t n_calibration;
    const struct detector *start;
    struct relevance *relevance; /* which deviations matter in serving, shared; NULL: all do */
    /* [n_rows], all false at first: set for the rows that the recipe's trim leaves out; NULL:
     * nobody asks. */
    bool *ret_trimmed;
};

struct trainer_progress {
    size_t network, n_networks;   /* which of all that are trained, those of other folds included */
    bool is_kept;                 /* it will serve; else it only calibrates */
    size_t epoch, epochs;         /* epoch from 1 */
    double loss, validation_loss; /* validation_loss NaN: none */
    double gradient_norm;
    double seconds; /* since this network's training began */
    double done;    /* share of all the work, 0 to 1 */
};

/* Trains on rows[n_rows][n_features], finite or NaN (missing: the median of the column), columns
 * named by names. on_epoch (may be NULL) is called after each epoch, by one thread at a time; false
 * cancels. -EINVAL with the reason: too few rows, a recipe that contradicts itself or the rows, a
 * relevance of features that are not there, a column with no value at all; -EDOM: the training
 * diverged; -ECANCELED; -ENOMEM. */
MUST_CHECK int detector_train(const float *rows, size_t n_rows, const char *const *names,
                              size_t n_features, const struct trainer_options *options,
                              bool (*on_epoch)(void *userdata, const struct trainer_progress *),
                              void *userdata, struct detector **ret_detector, struct error *reterr);
