/* movement - how far each feature of one series has moved of late, for explanations: what moved
 * first and most is where to look.
 *
 * Per feature two moving averages of its standardised value z, over MOVEMENT_SHORT and
 * MOVEMENT_LONG rows, and a hold: the larger distance of z from them, each over what is usual in
 * normal rows, which fades by a tenth a row, so that cause and consequence of the last rows count
 * together. Averages and hold begin at 0, the mean of the training rows, that the first row is held
 * against; over the first MOVEMENT_SHORT rows both are their mean, so that a series which is on
 * another level than the training rows is not blamed for that all day. Windows are in rows, tuned
 * at one a minute: 20 minutes and a day. Not thread-safe. */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>

struct scaler;

#define MOVEMENT_SHORT   20
#define MOVEMENT_LONG    1440
#define MOVEMENT_WINDOWS 2

/* Of one series. Read hold, do not change anything. */
struct movement {
    size_t n_features, n_rows; /* that it has followed */
    float *averages;           /* [MOVEMENT_WINDOWS][n_features] */
    float *hold;               /* [n_features] */
};

MUST_CHECK int movement_new(size_t n_features, struct movement **ret_movement);
MUST_CHECK int movement_copy(const struct movement *movement, struct movement **ret_copy);
void movement_free(struct movement *movement);
DEFINE_CLEANUP(struct movement *, movement_free)

/* Takes the next row of the series, standardised to z[n_features]; a feature that is missing in
 * row[n_features] (NaN) does not move. jumps: as from movement_find_jumps(). */
void movement_follow(struct movement *movement, const float *jumps, const float *row,
                     const float *z);

/* The scaler that z comes from is another one from now on. */
void movement_rescale(struct movement *movement, const struct scaler *from,
                      const struct scaler *to);

/* As bytes, for a machine of the same kind and any scaler: averages are in the user's units there.
 * -EINVAL: the bytes are no movement of so many features; it is as it was. */
size_t movement_size(size_t n_features);
void movement_save(const struct movement *movement, const struct scaler *scaler, void *ret_bytes);
MUST_CHECK int movement_load(struct movement *movement, const struct scaler *scaler,
                             const void *bytes, size_t size);

/* What is usual: ret_jumps[MOVEMENT_WINDOWS][n_features], the 90 % quantile of the hold of each
 * window alone over standardised rows[n_rows][n_features] in their order, n_rows > 0. -ENOMEM. */
MUST_CHECK int movement_find_jumps(const float *rows, size_t n_rows, size_t n_features,
                                   float *ret_jumps);
