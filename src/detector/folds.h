/* folds - rows dealt into four parts, equal within one row, so that each part can be judged by what
 * was trained on the others.
 *
 * Rows are dealt in blocks of neighbours, at most FOLDS_BLOCKS of them, in a random order: rows
 * that follow each other in time are alike, and single ones held out would look easier than the
 * future is. The blocks stand in a ring that is cut into the parts, so that all rows outside a part
 * are one stretch. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

#define N_FOLDS      4
#define FOLDS_BLOCKS 48

struct random;

struct folds {
    size_t n_rows;
    size_t begin[N_FOLDS + 1]; /* of each fold in the ring; the last is n_rows */
    size_t *order;             /* [2 n_rows] the rows' numbers along the ring, twice around */
};

/* n_rows >= 2 N_FOLDS. -ENOMEM. */
MUST_CHECK int folds_deal(size_t n_rows, struct random *random, struct folds *ret_folds);
void folds_clear(struct folds *folds);

/* A stretch of the ring. */
struct stretch {
    size_t begin, n;
};
struct stretch folds_inside(const struct folds *folds, size_t fold);
struct stretch folds_outside(const struct folds *folds, size_t fold);
